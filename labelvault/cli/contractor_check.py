"""`labelvault contractor check-ledger`: does the client's ledger hold what was released to this device?"""

from pathlib import Path

import click

from labelvault.auditor import HeldLease, check_leases, verify_witnessed
from labelvault.cli.contractor_home import contractor_options, opened
from labelvault.cli.files import read_input
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table
from labelvault.cli.verifier_keys import read_keys
from labelvault.errors import EnrolmentError
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.cosignature import parse_cosigner_key
from labelvault.ledger.export import MAX_EXPORT_BYTES
from labelvault.ledger.note import VerifierKey


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(check_ledger)


@click.command(
    "check-ledger",
    epilog=examples(
        "labelvault contractor check-ledger ledger.jsonl",
        "labelvault contractor check-ledger ledger.jsonl --witness w1.key",
    ),
)
@click.argument("export", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--witness", "witnesses", metavar="KEY|FILE", multiple=True, help="A witness that you trust. Repeatable.")
@click.option(
    "--quorum", type=click.IntRange(min=1), metavar="K", help="So many of the witnesses have to vouch. [default: all]"
)
@contractor_options
def check_ledger(
    export: Path, witnesses: tuple[str, ...], quorum: int | None, home: Path, passphrase: Passphrase, out: Output
) -> None:
    """Check that every lease that was opened here stands in EXPORT, the client's ledger, where the lease said.

    With a ledger that lacks them a client could deny that it released anything. Leases that are newer than the export
    are counted apart, and so are those that were never opened and are not in it: check them with a newer one. With
    --witness it says, too, how far witnesses vouch that there is no other ledger.
    """
    with opened(home, passphrase) as me:
        membership, openings, contractor = me.joined, me.openings(), me.public_key
        at_hand = [] if membership is None else [each.outer.lease_id for each in me.ahead.leases()]
    if membership is None:
        raise EnrolmentError(
            "this contractor has joined no client", next_step="Join first: labelvault contractor join INVITE."
        )
    leases = [
        HeldLease(each.lease_id, each.item, each.issued_at, *each.recorded)
        for each in openings
        if each.recorded is not None
    ]
    unopened = [*(each.lease_id for each in openings if each.recorded is None), *at_hand]
    issuer = membership.certificate.message
    data = read_input(export, MAX_EXPORT_BYTES)
    checked = check_leases(
        data, leases, issuer.client, issuer.epoch, issuer.issuer, contractor=contractor, unopened=unopened
    )
    covered = None
    if witnesses:
        key, keys = VerifierKey(issuer_key_name(issuer.client), issuer.issuer), read_keys(witnesses, parse_cosigner_key)
        covered = verify_witnessed(data, key, witnesses=keys, quorum=quorum or len(keys)).covered
    facts = {
        "size": checked.size,
        "found": [each.lease_id.hex() for each in checked.found],
        "later": [each.lease_id.hex() for each in checked.later],
        "other_epoch": [each.lease_id.hex() for each in checked.other_epoch],
        "never_opened": len(unopened),
        "missing": list(checked.missing),
        "covered": covered,
        "checkpoint": checked.note,
    }
    rows: list[tuple[str, object]] = [
        ("entries in the export", checked.size),
        ("leases found in it", len(checked.found)),
        ("leases newer than it", len(checked.later)),
        ("leases of an older ledger", len(checked.other_epoch)),
    ]
    if unopened:
        rows.append(("never opened, and not in it", f"{len(checked.missing)} of {len(unopened)}"))
    if covered is not None:
        rows.append(("witnessed", f"the first {covered} entries"))
    whole = not checked.later and not checked.other_epoch and not checked.missing
    verdict = (
        "Every lease of this device stands in the ledger." if whole else "Those that are found stand as they should."
    )
    out.result(facts, facts_table(rows), cell(verdict, "bold green" if whole else "magenta"))
