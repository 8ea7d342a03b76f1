"""All ledgers of a client: the one that is written, and those of before each restore, as far as they are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from labelvault.client.records import LedgerSummary
from labelvault.database import Database
from labelvault.errors import ForkError, LedgerError
from labelvault.issuer.log import Log
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, issuer_key_name, verify_checkpoint
from labelvault.ledger.entries import Restored, decode_entry
from labelvault.ledger.export import VerifiedLedger, export_ledger, verify_export
from labelvault.ledger.note import VerifierKey
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
        checkpoint, note = _checkpoint(ledger, older if origin == ledger.log.origin else None)
        _check_follows(previous, _restored(ledger.log.stream(checkpoint.size)))
        key = str(VerifierKey(ledger.name, ledger.certificate.message.issuer))
        found.append(LedgerSummary(checkpoint.size, ledger.log.origin, note, key))
        previous = ledger
    return replace(found[-1], before=tuple(found[:-1]))


def _checkpoint(ledger: KnownLedger, older: str | None) -> tuple[Checkpoint, str]:
    """Return a ledger's newest checkpoint, once all entries give it; as `verify_export`, and never holding all."""
    log, issuer = ledger.log, ledger.certificate.message.issuer
    note = log.newest_checkpoint()
    checkpoint = verify_checkpoint(note, ledger.name, issuer, log.origin)
    size = log.size()
    if size < checkpoint.size:
        raise LedgerError(f"the ledger is cut: {size} entries where the checkpoint covers {checkpoint.size}")
    if size > checkpoint.size:
        raise LedgerError("the newest checkpoint does not cover all entries")
    if not _begins_with(log, checkpoint.size, checkpoint.root):
        raise LedgerError("entries are missing, reordered or rewritten: they do not give the checkpoint's root")
    if older is not None:
        before = verify_checkpoint(older, ledger.name, issuer, log.origin)
        if not _begins_with(log, before.size, before.root):
            raise ForkError(f"the ledger does not begin with the {before.size} entries that were signed", older, note)
    return checkpoint, note


def _begins_with(log: Log, size: int, root: bytes) -> bool:
    reading = log.reread(size)
    return (reading.size, reading.root) == (size, root)


def _check_follows(before: KnownLedger | None, restored: Restored | None) -> None:
    """Check that what a ledger says of the one before it is true of it."""
    if before is None and restored is None:
        return
    if (
        before is None
        or restored is None
        or restored.epoch != before.log.epoch
        or not _begins_with(before.log, restored.size, restored.root)
    ):
        raise LedgerError("a ledger does not follow the one before it as it says")


def _restored(raw: Iterable[bytes]) -> Restored | None:
    """Return what a ledger says of the one before it, once every entry was decoded."""
    first = [entry for number, entry in enumerate(map(decode_entry, raw)) if number < 2]
    return next((entry for entry in first if isinstance(entry, Restored)), None)
