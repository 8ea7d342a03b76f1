"""`labelvault client doctor`: is this home in order, and what mends it?"""

from datetime import UTC, datetime
from pathlib import Path

import click

from labelvault.cli.client_home import client_options
from labelvault.cli.doctor_view import report
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output
from labelvault.client import PassphraseRoot
from labelvault.client.doctor import examine_client as examine


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault client`."""
    group.add_command(doctor)


@click.command(epilog=examples("labelvault client doctor", "labelvault client doctor --passphrase-file pass --json"))
@client_options
def doctor(home: Path, passphrase: Passphrase, out: Output) -> int:
    """Look whether home, machine, ledger and vault are in order, and say what mends what is not.

    Changes nothing. No passphrase is asked for; one that is given opens the keys too. Exits with 10 if there is a
    problem.
    """
    root = PassphraseRoot(passphrase.read()) if passphrase.given else None
    return report("client", home, examine(home, datetime.now(UTC), root), out)
