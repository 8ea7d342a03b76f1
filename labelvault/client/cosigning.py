"""What a client shows witnesses, and what it keeps of their word: proofs, and checkpoints with cosignatures."""

from collections.abc import Sequence
from typing import Final

from labelvault.client.ledgers import KnownLedger
from labelvault.client.records import CosignedLedger
from labelvault.database import Database
from labelvault.errors import ForkError, LedgerError
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, verify_checkpoint
from labelvault.ledger.cosignature import CosignerKey, add_lines, cosignature_by, only_lines
from labelvault.ledger.export import export_ledger
from labelvault.ledger.extension import Extension
from labelvault.ledger.note import VerifierKey
from labelvault.ledger.tree import consistency_proof, root

_EXPORT: Final = "Give witnesses the newest checkpoint: labelvault client ledger prove."


def prove(ledger: KnownLedger, old: int) -> bytes:
    """Return the newest checkpoint, with the proof that it continues the one of `old` entries.

    Raises:
        LedgerError: it never had so many, or it does not hold together.
    """
    note = ledger.log.newest_checkpoint()
    new = _checkpoint(ledger, note)
    if not 0 <= old <= new.size:
        raise LedgerError(f"the ledger has {new.size} entries; a proof can't begin at {old}")
    proof = consistency_proof(old, new.size, ledger.log.read_node) if old else ()
    made = Extension(old, proof, note)
    made.check(Checkpoint(new.origin, old, root(old, ledger.log.read_node)), new)
    return made.text().encode()


def add_cosignatures(
    database: Database, ledgers: Sequence[KnownLedger], note: str, witnesses: Sequence[CosignerKey]
) -> CosignedLedger:
    """Keep a checkpoint with what witnesses say in it, beside what they said of it before.

    Raises:
        ForkError: our own issuer signed it, and it is not of our ledger: the key, or an older copy of this home, is in
            use elsewhere.
        LedgerError: it is about no ledger of ours, not signed by its issuer, or none of the witnesses cosigned it.
        SignatureError, FormatError: it is no note, or a signature in it is not valid.
    """
    claimed = claimed_checkpoint(note)
    ledger = next((each for each in ledgers if each.log.origin == claimed.origin), None)
    if ledger is None:
        raise LedgerError("the checkpoint is about another ledger")
    checkpoint = _checkpoint(ledger, note)
    if checkpoint.size > ledger.log.size() or root(checkpoint.size, ledger.log.read_node) != checkpoint.root:
        raise ForkError(
            "a checkpoint that our issuer signed, and that is not of this ledger",
            note,
            ledger.log.newest_checkpoint(),
            next_step="Keep the file. The issuer's key or an older copy of this home is in use elsewhere; find it.",
        )
    if not [key for key in witnesses if cosignature_by(note, key) is not None]:
        raise LedgerError("no cosignature of these witnesses is in it", next_step=_EXPORT)
    epoch, size = ledger.log.epoch, checkpoint.size
    with database.transaction():
        row = database.row("SELECT note FROM ledger_cosigned WHERE epoch = ? AND size = ?", epoch, size)
        own = VerifierKey(ledger.name, ledger.certificate.message.issuer)
        # What strangers added is nothing to keep.
        made = add_lines(only_lines(note, [own]) if row is None else str(row[0]), note, witnesses)
        database.execute(
            "INSERT INTO ledger_cosigned VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET note = excluded.note",
            epoch,
            size,
            made,
        )
    return CosignedLedger(claimed.origin, size, made)


def newest_cosigned(database: Database, ledger: KnownLedger) -> CosignedLedger | None:
    """Return a ledger's largest checkpoint that a witness cosigned; None if there is none."""
    row = database.row(
        "SELECT size, note FROM ledger_cosigned WHERE epoch = ? ORDER BY size DESC LIMIT 1", ledger.log.epoch
    )
    return None if row is None else CosignedLedger(ledger.log.origin, int(row[0]), str(row[1]))


def cosigned_export(database: Database, ledger: KnownLedger) -> bytes:
    """Return the ledger as far as witnesses cosigned it, with the checkpoint that they cosigned.

    Raises:
        LedgerError: nobody cosigned any of it; or it does not hold together.
    """
    found = newest_cosigned(database, ledger)
    if found is None:
        raise LedgerError("no witness cosigned this ledger yet", next_step=_EXPORT)
    data = export_ledger(ledger.log.stream(found.size), found.note)
    ledger.verify(data)
    return data


def _checkpoint(ledger: KnownLedger, note: str) -> Checkpoint:
    return verify_checkpoint(note, ledger.name, ledger.certificate.message.issuer, ledger.log.origin)
