"""The `labelvault` command: its groups, loaded when used, and one place where errors become exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from labelvault import __version__
from labelvault.cli import exits
from labelvault.cli.output import Output
from labelvault.errors import LabelVaultError

_GROUPS: Final = {
    "demo": ("labelvault.cli.demo", "Play the whole story, thefts included, and show what opened."),
    "client": ("labelvault.cli.client", "The AI lab: seal, grant, answer, revoke; holds every key."),
    "vendor": ("labelvault.cli.vendor", "The platform: stores and relays; can read nothing."),
    "contractor": ("labelvault.cli.contractor", "A labeler's device, or a desk: opens one task at a time."),
    "verify-statement": (
        "labelvault.cli.verify_statement",
        "Anyone: recompute an exposure statement from exported ledgers.",
    ),
    "ledger": ("labelvault.cli.ledger", "Anyone: verify a client's ledger, or be a witness that cosigns it."),
    "doctor": ("labelvault.cli.doctor", "Look whether homes, machine and vault are in order."),
    "completion": ("labelvault.cli.completion", "Make bash, zsh or fish complete commands, names and ids."),
    "drill": ("labelvault.cli.drill", "The attacker: try every key in stolen folders on everything."),
}

_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exits.MEANINGS.items())


class LazyGroup(click.Group):
    """Loads a group's module when it is used: a vendor's process never loads what can decrypt."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the story."""
        return list(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one group that is asked for."""
        if cmd_name not in _GROUPS:
            return None
        command: click.Command = import_module(_GROUPS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the groups without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _GROUPS.items()])


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="labelvault", message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an unexpected error came from.")
def root(traceback: bool) -> None:
    """Labeling projects that stay sealed: access is scoped, expires, and the host can read nothing.

    Start with `labelvault demo`. Commands that report take --json; passphrases are asked for, or come from
    --passphrase-file; homes are ~/.labelvault/ACTOR unless --home says otherwise.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an error ends as what went wrong and what to do next."""
    # Asked of the raw arguments, because the error may be that they don't parse.
    out = Output("--json" in arguments, "--events" in arguments)
    try:
        result = root.main(args=list(arguments), prog_name="labelvault", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return exits.USAGE
    except click.ClickException as error:
        out.failed("UsageError", error.format_message(), getattr(error, "next_step", f"{_help_for(error)} --help"))
        return exits.USAGE
    except (click.Abort, KeyboardInterrupt):
        out.failed("Interrupted", "interrupted", "Run the command again; what was done so far stays done.")
        return exits.INTERRUPTED
    except LabelVaultError as error:
        return out.library_error(error)
    except BrokenPipeError:
        # Whoever read stdout has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.UNEXPECTED
    except OSError as error:
        where = f": {error.filename}" if error.filename is not None else ""
        out.failed(type(error).__name__, f"{error.strerror}{where}", "Check the path, its permissions and the disk.")
        return exits.BAD_INPUT
    except Exception as error:  # noqa: BLE001  (the last resort: no traceback on a user's screen unless asked for)
        _unexpected(out, error, "--traceback" in arguments)
        return exits.UNEXPECTED
    return result if isinstance(result, int) else exits.OK


def _help_for(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"See {context.command_path if context is not None else 'labelvault'}"


def _unexpected(out: Output, error: Exception, with_traceback: bool) -> None:
    """Name the kind and the place only: the message of a foreign error may quote what must not be shown."""
    if with_traceback:
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(last.filename)}:{last.lineno}"
    out.failed(
        type(error).__name__,
        f"unexpected {type(error).__name__} at {place}",
        "Please report it; `labelvault --traceback ...` shows more.",
    )
