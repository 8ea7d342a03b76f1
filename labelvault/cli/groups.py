"""Groups of commands whose help says in whole sentences what each command does."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

_WHOLE: Final = 1000


class Group(click.Group):
    """Lists its commands with their first sentence, folded and not cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in the order of their names."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, each.get_short_help_str(_WHOLE)) for name, each in found if each is not None and not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyGroup(Group):
    """Loads the module that a command is in when the command is used: somebody waits while modules load."""

    def __init__(self, *args: Any, homes: Mapping[str, str], **options: Any) -> None:
        """Take, for each command, the name of its module in this room; its `add_to` adds it."""
        super().__init__(*args, **options)
        self._homes = homes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(self._homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the one command that is asked for."""
        if cmd_name in self._homes and cmd_name not in self.commands:
            import_module(f"labelvault.cli.{self._homes[cmd_name]}").add_to(self)
        return super().get_command(ctx, cmd_name)
