"""Whether a contractor's leases stand in a ledger, where each lease said that it would."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelvault.auditor.ledgers import read_exports, verify_ledger
from labelvault.errors import LedgerError


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as its holder knows it.

    Attributes:
        lease_id: 32 bytes.
        epoch: of the ledger that it says it stands in, 16 bytes.
        index: at which entry.
        entry_hash: that entry's leaf hash, 32 bytes.
    """

    lease_id: bytes
    epoch: bytes
    index: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """What was found.

    Attributes:
        size: entries in the export.
        found: leases that stand in it where they should.
        later: leases whose place lies behind its end: a newer export is needed.
        other_epoch: leases of another ledger.
        note: the export's signed checkpoint; keep it.
    """

    size: int
    found: tuple[HeldLease, ...]
    later: tuple[HeldLease, ...]
    other_epoch: tuple[HeldLease, ...]
    note: str


def check_leases(export: bytes, leases: Sequence[HeldLease], client: bytes, epoch: bytes, issuer: bytes) -> LeaseCheck:
    """Check that a client's ledger holds what its issuer said when it released.

    A lease that is missing is one that the client's statements would not count, and could deny.

    Args:
        export: of the ledger.
        leases: that its contractor holds.
        client: the client's id, 32 bytes.
        epoch: which ledger, 16 bytes.
        issuer: the key that signs its checkpoints, 32 bytes.

    Raises:
        LedgerError: a lease is not where it should be: the ledger was rewritten; or the export does not hold together.
        SignatureError, FormatError: not an export of this issuer.
    """
    ledger = verify_ledger(read_exports([export]), client, epoch, issuer)
    mine = [each for each in leases if each.epoch == epoch]
    found = [each for each in mine if each.index < len(ledger.leaves)]
    for each in found:
        if ledger.leaves[each.index] != each.entry_hash:
            raise LedgerError(
                f"entry {each.index} is not the one that lease {each.lease_id.hex()} was released with",
                next_step="Keep the export: the issuer signed a ledger without your lease. Tell whoever audits it.",
            )
    return LeaseCheck(
        len(ledger.leaves),
        tuple(found),
        tuple(each for each in mine if each.index >= len(ledger.leaves)),
        tuple(each for each in leases if each.epoch != epoch),
        ledger.note,
    )
