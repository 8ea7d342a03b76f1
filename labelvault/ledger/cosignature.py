"""Cosignatures: a witness's word that a checkpoint extends all that it saw of a ledger before (C2SP tlog-cosignature).

    cosignature/v1
    time <Unix seconds, decimal>
    <the checkpoint's text>

is what is signed; the note's line holds u64 time ‖ signature. Of the two types in the specification
(https://c2sp.org/tlog-cosignature) this is the one for Ed25519, whose signature type is 04. It says: at that time no
larger checkpoint of this ledger was known to the witness, and this one continues all that were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from labelvault.crypto.verify import SIGNATURE_BYTES, verify
from labelvault.errors import FormatError, LedgerError, QuorumError
from labelvault.ledger.checkpoint import claimed_checkpoint
from labelvault.ledger.note import VerifierKey, parse_key, signature_line, signatures_by, split_note
from labelvault.wire.frame import Signer
from labelvault.wire.times import MAX_MS, from_ms, to_ms

_HEADER: Final = "cosignature/v1"
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class CosignerKey(VerifierKey):
    """A witness's key, and the name that it cosigns under."""

    ALGORITHM: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """That a witness cosigned a checkpoint; verified.

    Attributes:
        key: whose.
        size: of the checkpoint.
        at: when, by the witness's clock, in whole seconds.
    """

    key: CosignerKey
    size: int
    at: datetime


def parse_cosigner_key(text: str) -> CosignerKey:
    """Read `name+hash+base64` of a witness.

    Raises:
        FormatError, SignatureError: as `labelvault.ledger.note.parse_key`.
    """
    return parse_key(CosignerKey, text)


def cosign(note: str, name: str, signer: Signer, at: datetime) -> str:
    """Add a cosignature to a checkpoint's note. Whether it may be is the caller's to have checked.

    Args:
        note: of a checkpoint, verified; its other lines stay, but for an older one by this key.
        name: the witness's.
        signer: its key.
        at: its time; the part of a second is left out.

    Raises:
        FormatError: not a checkpoint's note, or another name than can stand in one.
    """
    text, _ = split_note(note)
    claimed_checkpoint(note)
    seconds = to_ms(at) // 1000
    key = CosignerKey(name, signer.public_key)
    signature = seconds.to_bytes(_TIME_BYTES, "big") + signer.sign(_message(text, seconds))
    line = signature_line(key.name, key.key_id, signature)
    return add_lines(note, f"{text}\n{line}", [key])


def only_lines(note: str, keys: Sequence[VerifierKey]) -> str:
    """Return a note with the lines of these keys, and no others.

    Raises:
        FormatError: no note.
    """
    text, lines = split_note(note)
    names = {(key.name, key.key_id) for key in keys}
    return f"{text}\n" + "".join(signature_line(*line) for line in lines if line[:2] in names)


def add_lines(note: str, other: str, keys: Sequence[CosignerKey]) -> str:
    """Return a note with the lines that these keys have in another note of the same text, in place of their older ones.

    Raises:
        FormatError: one is no note, or both together have more lines than a note may have.
        LedgerError: they are about two texts.
    """
    text, lines = split_note(note)
    other_text, others = split_note(other)
    if text != other_text:
        raise LedgerError("the two notes are about two checkpoints")
    names = {(key.name, key.key_id) for key in keys}
    added = [line for line in others if line[:2] in names]
    replaced = {line[:2] for line in added}
    whole = [line for line in lines if line[:2] not in replaced] + added
    made = f"{text}\n" + "".join(signature_line(*line) for line in whole)
    split_note(made)
    return made


def cosignature_by(note: str, key: CosignerKey) -> Cosignature | None:
    """Return what a witness says in a checkpoint's note, verified; None if it says nothing there.

    Raises:
        FormatError: not a checkpoint's note, or no cosignature in the witness's line.
        LedgerError: the witness has more than one line.
        SignatureError: its signature is not valid.
    """
    text, lines = split_note(note)
    size = claimed_checkpoint(note).size
    own = signatures_by(key, lines)
    if not own:
        return None
    if len(own) > 1:
        raise LedgerError(f"{len(own)} cosignatures by one witness")
    if len(own[0]) != _TIME_BYTES + SIGNATURE_BYTES:
        raise FormatError("a cosignature is a time and an Ed25519 signature")
    seconds = int.from_bytes(own[0][:_TIME_BYTES], "big")
    if seconds > MAX_MS // 1000:
        raise FormatError("a cosignature of after the year 9999")
    verify(key.public_key, _message(text, seconds), own[0][_TIME_BYTES:])
    return Cosignature(key, size, from_ms(seconds * 1000))


def covered_by(notes: Sequence[str], keys: Sequence[CosignerKey], quorum: int) -> tuple[int, tuple[Cosignature, ...]]:
    """Find how far a ledger is vouched for by a quorum of witnesses.

    A witness that cosigned a checkpoint vouches for all before it. So the ledger is covered up to the largest size that
    so many witnesses cosigned at least.

    Args:
        notes: checkpoints of one ledger, each known to be continued by the next; verified.
        keys: witnesses that the reader trusts, each once.
        quorum: how many of them are needed, 1 or more.

    Returns:
        That size, and the largest cosignature of each witness that has any, the largest first.

    Raises:
        QuorumError: fewer of them cosigned any of these, or there are fewer at all.
        FormatError, LedgerError, SignatureError: as `cosignature_by`: a witness's line that does not verify is no line
            to be passed over.
    """
    people = {key.public_key for key in keys}
    if len(people) < len(keys):
        raise QuorumError("a witness is named twice, and counts once")
    if not 1 <= quorum <= len(keys):
        raise QuorumError(f"{quorum} of {len(keys)} witnesses is no quorum")
    best: list[Cosignature] = []
    for key in keys:
        found = [each for each in (cosignature_by(note, key) for note in notes) if each is not None]
        if found:
            best.append(max(found, key=lambda each: (each.size, each.at)))
    if len(best) < quorum:
        raise QuorumError(f"{len(best)} of {len(keys)} witnesses cosigned this ledger; {quorum} are asked for")
    best.sort(key=lambda each: -each.size)
    return best[quorum - 1].size, tuple(best)


def _message(text: str, seconds: int) -> bytes:
    return f"{_HEADER}\ntime {seconds}\n{text}".encode()
