"""Exports of a client's ledgers, told apart and verified."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelvault.crypto.verify import check_public_key
from labelvault.errors import LedgerError
from labelvault.ledger.checkpoint import issuer_key_name, ledger_origin
from labelvault.ledger.entries import Certified, Entry
from labelvault.ledger.export import VerifiedLedger, claims, verify_export


@dataclass(frozen=True, slots=True)
class Exported:
    """One export, and what it says of itself; nothing of it is verified.

    Attributes:
        origin: of its checkpoint.
        size: how many entries that covers.
        note: the checkpoint.
        first: its first entry.
        data: the file.
    """

    origin: str
    size: int
    note: str
    first: Entry | None
    data: bytes


def read_exports(exports: Sequence[bytes]) -> list[Exported]:
    """Return exports, the longest first.

    Raises:
        FormatError: one is no export.
    """
    found = []
    for data in exports:
        note, claimed, first = claims(data)
        found.append(Exported(claimed.origin, claimed.size, note, first, data))
    return sorted(found, key=lambda each: -each.size)


def verify_ledger(
    exports: Sequence[Exported], client: bytes, epoch: bytes, issuer: bytes | None = None
) -> VerifiedLedger:
    """Verify the longest export of a ledger, and that it continues all shorter ones.

    Args:
        exports: from `read_exports`; those of other ledgers are left alone.
        client: the client's id, 32 bytes.
        epoch: whose ledger, 16 bytes.
        issuer: the key that signs its checkpoints. None for the one that its first entry certifies: only for a
            ledger that a newer one covers, as nobody else vouches for that entry.

    Raises:
        LedgerError: there is none of it, or it does not hold together.
        ForkError: two of them contradict each other; carries both checkpoints.
        SignatureError, FormatError: as `labelvault.ledger.export.verify_export`.
    """
    origin, name = ledger_origin(client, epoch), issuer_key_name(client)
    same = [each for each in exports if each.origin == origin]
    if not same:
        raise LedgerError(
            f"no export of the ledger {origin} is here",
            next_step="Have it exported (labelvault client ledger export), and give the file with --ledger.",
        )
    longest = same[0]
    if issuer is None:
        if not isinstance(longest.first, Certified):
            raise LedgerError("a ledger does not begin with its certificate")
        check_public_key(longest.first.issuer)
        issuer = longest.first.issuer
    ledger = verify_export(longest.data, origin=origin, name=name, public_key=issuer)
    for each in same[1:]:
        ledger.check_continues(each.note, name=name, public_key=issuer)
    return ledger
