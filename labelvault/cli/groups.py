"""Groups of commands whose help says in whole sentences what each command does."""

from typing import Final

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
