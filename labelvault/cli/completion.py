"""`labelvault completion`: what a shell needs to complete commands, options, names and ids."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from labelvault.cli.options import examples

PROGRAM: Final = "labelvault"
VARIABLE: Final = "_LABELVAULT_COMPLETE"
_INSTALL: Final = {
    "bash": 'eval "$(labelvault completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(labelvault completion zsh)" in ~/.zshrc, behind compinit',
    "fish": "labelvault completion fish > ~/.config/fish/completions/labelvault.fish",
}


@click.command(epilog=examples("labelvault completion bash", "labelvault completion fish"))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def command(shell: str) -> None:
    """Print the script that makes a shell complete commands, options, names and ids.

    Names of projects, contractors and batches, and ids of grants and leases, come from the home that --home names, if
    it stands before them. No passphrase is asked for and no key is loaded.
    """
    from labelvault.cli.app import root

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"this version of click has nothing for {shell}")
    click.echo(f"# {_INSTALL[shell]}")
    click.echo(made(root, {}, PROGRAM, VARIABLE).source())


Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _from(module: str, function: str, actor: str, wanted: str) -> Completer:
    def complete(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
        home = context.params.get("home") or Path.home() / ".labelvault" / actor
        try:
            found: list[str] = getattr(import_module(module), function)(home, wanted)
        except Exception:  # noqa: BLE001 - a shell that is completing has no place for errors
            return []
        return [each for each in found if each.startswith(start) and each.isprintable()]

    return complete


PROJECTS: Final = _from("labelvault.client.hints", "client_hints", "client", "projects")
CONTRACTORS: Final = _from("labelvault.client.hints", "client_hints", "client", "contractors")
BATCHES: Final = _from("labelvault.client.hints", "client_hints", "client", "batches")
GRANTS: Final = _from("labelvault.client.hints", "client_hints", "client", "grants")
LEASES: Final = _from("labelvault.contractor.hints", "contractor_hints", "contractor", "leases")
ITEMS: Final = _from("labelvault.contractor.hints", "contractor_hints", "contractor", "items")
JOINED: Final = _from("labelvault.contractor.hints", "contractor_hints", "contractor", "grants")
