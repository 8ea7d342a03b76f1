"""`labelvault contractor doctor`: is this home in order, and what mends it?"""

from datetime import UTC, datetime
from pathlib import Path

import click

from labelvault.cli.contractor_home import contractor_options
from labelvault.cli.doctor_view import report
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output
from labelvault.contractor.doctor import examine_contractor as examine


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(doctor)


@click.command(epilog=examples("labelvault contractor doctor", "labelvault contractor doctor --home ./desk --json"))
@contractor_options
def doctor(home: Path, passphrase: Passphrase, out: Output) -> int:
    """Look whether home, machine, openings and vault are in order, and say what mends what is not.

    Changes nothing. No passphrase is asked for; one that is given opens the identity too. Exits with 10 if there is a
    problem.
    """
    given = passphrase.read() if passphrase.given else None
    return report("contractor", home, examine(home, datetime.now(UTC), given), out)
