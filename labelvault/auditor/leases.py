"""Whether a contractor's leases stand in a ledger, where each lease said that it would."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from labelvault.auditor.ledgers import read_exports, verify_ledger
from labelvault.errors import LedgerError
from labelvault.ledger.entries import Released


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as its holder knows it.

    Attributes:
        lease_id: 32 bytes.
        item: the task that it opened, 16 bytes.
        issued_at: when, by the issuer's time.
        epoch: of the ledger that it says it stands in, 16 bytes.
        index: at which entry.
        entry_hash: that entry's leaf hash, 32 bytes.
    """

    lease_id: bytes
    item: bytes
    issued_at: datetime
    epoch: bytes
    index: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """What was found.

    Attributes:
        size: entries in the export.
        found: leases that stand in it where they should.
        later: leases that are newer than its last entry, and whose place lies behind it: a newer export is needed.
        other_epoch: leases of another ledger.
        missing: ids of leases that were never opened, and so say no place, and that stand nowhere in it.
        note: the export's signed checkpoint; keep it.
    """

    size: int
    found: tuple[HeldLease, ...]
    later: tuple[HeldLease, ...]
    other_epoch: tuple[HeldLease, ...]
    missing: tuple[bytes, ...]
    note: str


def check_leases(
    export: bytes,
    leases: Sequence[HeldLease],
    client: bytes,
    epoch: bytes,
    issuer: bytes,
    *,
    contractor: bytes,
    unopened: Sequence[bytes] = (),
) -> LeaseCheck:
    """Check that a client's ledger holds what its issuer said when it released.

    A lease that is missing is one that the client's statements would not count, and could deny.

    Args:
        export: of the ledger.
        leases: that its contractor holds.
        client: the client's id, 32 bytes.
        epoch: which ledger, 16 bytes.
        issuer: the key that signs its checkpoints, 32 bytes.
        contractor: whose leases these are, 32 bytes.
        unopened: ids of leases at hand that were never opened; they say where they stand only to who opens them.

    Raises:
        LedgerError: a lease is not where it should be, or its entry says something else, or the export ends before it
            though it should not by their times: the ledger was rewritten, or the issuer named another entry. Or the
            export does not hold together.
        SignatureError, FormatError: not an export of this issuer.
    """
    ledger = verify_ledger(read_exports([export]), client, epoch, issuer)
    mine = [each for each in leases if each.epoch == epoch]
    found = [each for each in mine if each.index < len(ledger.leaves)]
    for each in found:
        entry = ledger.entries[each.index]
        # The hash alone would let an issuer name one entry, of anything, in every lease.
        says = isinstance(entry, Released) and (entry.lease_id, entry.contractor, entry.task)
        if ledger.leaves[each.index] != each.entry_hash or says != (each.lease_id, contractor, each.item):
            raise LedgerError(
                f"entry {each.index} is not the one that lease {each.lease_id.hex()} was released with",
                next_step="Keep the export: the issuer signed a ledger without your lease. Tell whoever audits it.",
            )
    later = [each for each in mine if each.index >= len(ledger.leaves)]
    # Or an issuer could name a place that its ledger never reaches, and every export would be too old.
    for each in later:
        if ledger.entries and each.issued_at < ledger.entries[-1].at:
            raise LedgerError(
                f"lease {each.lease_id.hex()} is older than the ledger's last entry, and names one behind it",
                next_step="Keep the export: the issuer signed a ledger without your lease. Tell whoever audits it.",
            )
    released = {entry.lease_id for entry in ledger.entries if isinstance(entry, Released)}
    return LeaseCheck(
        len(ledger.leaves),
        tuple(found),
        tuple(later),
        tuple(each for each in leases if each.epoch != epoch),
        tuple(each for each in unopened if each not in released),
        ledger.note,
    )
