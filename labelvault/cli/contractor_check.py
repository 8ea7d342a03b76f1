"""`labelvault contractor check-ledger`: does the client's ledger hold what was released to this device?"""

from pathlib import Path

import click

from labelvault.auditor import HeldLease, check_leases
from labelvault.cli.contractor_home import contractor_options, opened
from labelvault.cli.files import read_input
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table
from labelvault.errors import EnrolmentError
from labelvault.ledger.export import MAX_EXPORT_BYTES


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(check_ledger)


@click.command("check-ledger", epilog=examples("labelvault contractor check-ledger ledger.jsonl"))
@click.argument("export", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@contractor_options
def check_ledger(export: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Check that every lease that was opened here stands in EXPORT, the client's ledger, where the lease said.

    With a ledger that lacks them a client could deny that it released anything. Leases that are newer than the export
    are counted apart: check them with a newer one.
    """
    with opened(home, passphrase) as me:
        membership, openings = me.joined, me.openings()
    if membership is None:
        raise EnrolmentError(
            "this contractor has joined no client", next_step="Join first: labelvault contractor join INVITE."
        )
    leases = [HeldLease(each.lease_id, *each.recorded) for each in openings if each.recorded is not None]
    issuer = membership.certificate.message
    data = read_input(export, MAX_EXPORT_BYTES)
    checked = check_leases(data, leases, issuer.client, issuer.epoch, issuer.issuer)
    facts = {
        "size": checked.size,
        "found": [each.lease_id.hex() for each in checked.found],
        "later": [each.lease_id.hex() for each in checked.later],
        "other_epoch": [each.lease_id.hex() for each in checked.other_epoch],
        "never_opened": sum(each.recorded is None for each in openings),
        "checkpoint": checked.note,
    }
    rows = [
        ("entries in the export", checked.size),
        ("leases found in it", len(checked.found)),
        ("leases newer than it", len(checked.later)),
        ("leases of an older ledger", len(checked.other_epoch)),
    ]
    whole = not checked.later and not checked.other_epoch
    verdict = (
        "Every lease of this device stands in the ledger." if whole else "Those that are found stand as they should."
    )
    out.result(facts, facts_table(rows), cell(verdict, "bold green" if whole else "magenta"))
