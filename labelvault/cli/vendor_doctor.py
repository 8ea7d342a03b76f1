"""`labelvault vendor doctor`: is this vault in order, and what mends it?"""

from datetime import UTC, datetime
from pathlib import Path

import click

from labelvault.cli.doctor_view import report
from labelvault.cli.homes import ADDRESS_FILE, read_address
from labelvault.cli.options import examples, home_option, json_option
from labelvault.cli.output import Output
from labelvault.cli.values import WrongUsage
from labelvault.health import Check
from labelvault.vendor.doctor import examine_vendor


def examine(home: Path, now: datetime, vault: str | None = None) -> list[Check]:
    """Look at a vendor's home, and at the vault that it names unless another one is given."""
    if vault is None:
        try:
            vault = read_address(home)
        except WrongUsage:
            vault = None
    return examine_vendor(home, vault, now, (ADDRESS_FILE,))


@click.command(epilog=examples("labelvault vendor doctor", "labelvault vendor doctor --json"))
@home_option("vendor")
@click.option("--vault", metavar="URL", help="The vault, instead of the one that init stored in the home.")
@json_option
def doctor(home: Path, vault: str | None, out: Output) -> int:
    """Look whether vault, home and machine are in order, and say what mends what is not.

    Changes nothing. Exits with 10 if there is a problem.
    """
    return report("vendor", home, examine(home, datetime.now(UTC), vault), out)
