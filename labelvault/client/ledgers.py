"""All ledgers of a client: the one that is written, and those of before each restore, as far as they are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from labelvault.client.records import LedgerSummary
from labelvault.database import Database
from labelvault.errors import LedgerError
from labelvault.issuer.log import Log
from labelvault.ledger.checkpoint import claimed_checkpoint, issuer_key_name
from labelvault.ledger.entries import Entry, Restored
from labelvault.ledger.export import VerifiedLedger, export_ledger, verify_export
from labelvault.ledger.note import VerifierKey
from labelvault.ledger.tree import leaf_hash, root_of_leaves
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.messages import IssuerCertificate


@dataclass(frozen=True, slots=True)
class KnownLedger:
    """One epoch's ledger.

    Attributes:
        certificate: of the issuer that signs its checkpoints.
    """

    log: Log
    certificate: Signed[IssuerCertificate]

    @property
    def name(self) -> str:
        """The name that its issuer signs under."""
        return issuer_key_name(self.certificate.message.client)

    def export(self) -> bytes:
        """Return entries and newest checkpoint as one file, which need not hold together."""
        return export_ledger(self.log.raw_entries(), self.log.newest_checkpoint())

    def verify(self, data: bytes, older: str | None = None) -> VerifiedLedger:
        """Verify an export of this ledger; see `labelvault.ledger.export.verify_export`."""
        return verify_export(
            data, origin=self.log.origin, name=self.name, public_key=self.certificate.message.issuer, older=older
        )


def known_ledgers(database: Database, identity_key: bytes) -> list[KnownLedger]:
    """Return all ledgers, oldest first.

    Raises:
        SignatureError: a certificate is not signed by the client's identity key.
    """
    found: dict[bytes, KnownLedger] = {}
    for (frame,) in database.rows("SELECT frame FROM certificates ORDER BY serial"):
        certificate = open_frame(bytes(frame), IssuerCertificate, identity_key)
        message = certificate.message
        found[message.epoch] = KnownLedger(Log(database, message.client, message.epoch), certificate)
    return list(found.values())


def ledger_of(ledgers: Sequence[KnownLedger], epoch: bytes | None) -> KnownLedger:
    """Return the ledger of an epoch; the newest if it is None.

    Raises:
        LedgerError: there is none.
    """
    if epoch is None:
        return ledgers[-1]
    for ledger in ledgers:
        if ledger.log.epoch == epoch:
            return ledger
    raise LedgerError(
        f"no ledger of epoch {epoch.hex()} is known here",
        next_step="See which are: labelvault client ledger verify.",
    )


def verify_ledgers(ledgers: Sequence[KnownLedger], older: str | None) -> LedgerSummary:
    """Recompute every ledger against its newest checkpoint, and one against an older note of it, if there is one.

    Raises:
        LedgerError: one does not hold together, does not extend `older`, or does not follow the one before.
        FormatError: `older` is no checkpoint.
    """
    origin = None if older is None else claimed_checkpoint(older).origin
    if origin is not None and all(ledger.log.origin != origin for ledger in ledgers):
        raise LedgerError("the checkpoint is about another ledger")
    found: list[LedgerSummary] = []
    previous: KnownLedger | None = None
    for ledger in ledgers:
        verified = ledger.verify(ledger.export(), older if origin == ledger.log.origin else None)
        if verified.checkpoint.size != ledger.log.size():
            raise LedgerError("the newest checkpoint does not cover all entries")
        _check_follows(previous, verified)
        key = str(VerifierKey(ledger.name, ledger.certificate.message.issuer))
        found.append(LedgerSummary(verified.checkpoint.size, ledger.log.origin, verified.note, key))
        previous = ledger
    return replace(found[-1], before=tuple(found[:-1]))


def _check_follows(before: KnownLedger | None, after: VerifiedLedger) -> None:
    """Check that what a ledger says of the one before it is true of it."""
    restored = _restored(after.entries)
    if before is None and restored is None:
        return
    if before is not None and restored is not None and restored.epoch == before.log.epoch:
        leaves = [leaf_hash(data) for data in before.log.raw_entries()[: restored.size]]
        if len(leaves) == restored.size and root_of_leaves(leaves) == restored.root:
            return
    raise LedgerError("a ledger does not follow the one before it as it says")


def _restored(entries: Sequence[Entry]) -> Restored | None:
    return next((entry for entry in entries[:2] if isinstance(entry, Restored)), None)
