"""`labelvault contractor ...`: a labeler's own device, or a desk. Everything that it opens is untrusted."""

from typing import Final

import click

from labelvault.cli.groups import LazyGroup

_COMMANDS: Final = {
    "contractor_enrol": ("init", "card", "join", "list", "close"),
    "contractor_session": ("open",),
    "contractor_ahead": ("prekeys", "import", "status"),
    "contractor_submit": ("submit", "sync"),
    "contractor_desk": ("desk",),
    "contractor_device": ("device",),
    "contractor_approve": ("approve",),
    "contractor_agent": ("agent",),
    "contractor_keyring": ("keyring",),
    "contractor_doctor": ("doctor",),
    "contractor_check": ("check-ledger",),
}


@click.group(cls=LazyGroup, homes={name: home for home, names in _COMMANDS.items() for name in names})
def command() -> None:
    """A labeler's device, or a desk: asks for one task at a time and forgets it on close."""
