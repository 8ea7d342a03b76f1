"""Whether a ledger is the one that its issuer signed, and how far witnesses vouch that there is no other."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelvault.ledger.cosignature import Cosignature, CosignerKey, covered_by
from labelvault.ledger.export import claims, verify_export
from labelvault.ledger.note import VerifierKey


@dataclass(frozen=True, slots=True)
class WitnessedLedger:
    """A ledger that was verified.

    Attributes:
        origin: which.
        size: entries in the export.
        note: its signed checkpoint; keep it.
        covered: so many first entries are vouched for by the quorum; None if no witness was asked for.
        cosignatures: the largest of each witness that was asked for and has one, the largest first.
    """

    origin: str
    size: int
    note: str
    covered: int | None
    cosignatures: tuple[Cosignature, ...]


def verify_witnessed(
    export: bytes,
    issuer: VerifierKey,
    *,
    kept: Sequence[str] = (),
    witnesses: Sequence[CosignerKey] = (),
    quorum: int = 1,
) -> WitnessedLedger:
    """Verify an export: its issuer's signature, all entries, every checkpoint that was kept, and the witnesses.

    A witness that cosigned a checkpoint vouches that it knew no other ledger of this name, up to there. So where any
    two quorums share an honest witness, two readers see the same ledger as far as it is covered for both.

    Args:
        export: the ledger's.
        issuer: the key that signs it, from elsewhere than the export.
        kept: notes of the same ledger, cosigned or not, which it has to continue.
        witnesses: whose cosignatures count, in the export's checkpoint and in `kept`.
        quorum: how many of them there have to be; not looked at without witnesses.

    Raises:
        ForkError: the ledger does not continue a note that was kept; carries both checkpoints.
        QuorumError: fewer witnesses cosigned it.
        LedgerError, SignatureError, FormatError: as `labelvault.ledger.export.verify_export`, and a witness's line that
            does not verify.
    """
    _, claimed, _ = claims(export)
    ledger = verify_export(export, origin=claimed.origin, name=issuer.name, public_key=issuer.public_key)
    for note in kept:
        ledger.check_continues(note, name=issuer.name, public_key=issuer.public_key)
    found = covered_by([ledger.note, *kept], witnesses, quorum) if witnesses else (None, ())
    return WitnessedLedger(claimed.origin, ledger.checkpoint.size, ledger.note, *found)
