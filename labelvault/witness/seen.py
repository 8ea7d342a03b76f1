"""What a witness saw: each ledger's issuer key, every checkpoint that it cosigned, and evidence of forks, in files.

    ledgers/<SHA-256 of the origin, hex>/issuer      the issuer's verifier key, pinned
    ledgers/<…>/<size, 19 digits>.note               a checkpoint, with our cosignature; the largest counts
    evidence/<…>/older.note newer.note proof         two checkpoints that can't both be true

All are public. Each is whole or not there, and none is ever replaced by a smaller one.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labelvault.errors import KeystoreError
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint
from labelvault.ledger.note import MAX_NOTE_CHARACTERS, VerifierKey, parse_verifier_key

_MAX_BYTES: Final = 4 * MAX_NOTE_CHARACTERS
_NOTE: Final = re.compile(r"([0-9]{19})\.note")


@dataclass(frozen=True, slots=True)
class Seen:
    """One ledger, as far as a witness saw it.

    Attributes:
        origin: which.
        issuer: the key that signs its checkpoints.
        checkpoint: the largest that was cosigned.
        note: that, with our cosignature.
        evidence: the folder with what shows that it was forked; None if it was not.
    """

    origin: str
    issuer: VerifierKey
    checkpoint: Checkpoint
    note: str
    evidence: Path | None


class SeenLedgers:
    """The files of a witness's home. Whoever writes holds the witness's lock."""

    def __init__(self, home: Path) -> None:
        """Use a home's `ledgers/` and `evidence/`."""
        self._ledgers = home / "ledgers"
        self._evidence = home / "evidence"

    def all(self) -> list[Seen]:
        """Return every ledger that was seen, by origin.

        Raises:
            KeystoreError, FormatError: a file can't be read, or is not what was written.
        """
        folders = sorted(self._ledgers.iterdir()) if self._ledgers.is_dir() else []
        found = [each for each in map(self._seen, folders) if each is not None]
        return sorted(found, key=lambda each: each.origin)

    def find(self, origin: str) -> Seen | None:
        """Return one ledger, or None if nothing of it was cosigned yet."""
        return self._seen(self._ledgers / _tag(origin))

    def within(self, origin: str, size: int) -> tuple[Checkpoint, str] | None:
        """Return the largest checkpoint of a ledger that was cosigned and has at most so many entries, and its note.

        It stands for all smaller ones, as each that was cosigned extends those before it. None if there is none.
        """
        folder = self._ledgers / _tag(origin)
        sizes = [each for each in _sizes(folder) if each <= size]
        if not sizes:
            return None
        note = _text(_note(folder, sizes[-1]))
        return claimed_checkpoint(note), note

    def keep(self, checkpoint: Checkpoint, note: str, issuer: VerifierKey) -> None:
        """Keep a checkpoint before its cosignature leaves; durable when this returns.

        Raises:
            KeystoreError: the file system refused.
        """
        folder = self._ledgers / _tag(checkpoint.origin)
        make_private_dir(folder)
        if not (folder / "issuer").exists():
            write_private(folder / "issuer", str(issuer).encode(), replace=True)
        write_private(_note(folder, checkpoint.size), note.encode(), replace=True)

    def evidence(self, origin: str) -> Path | None:
        """Return the folder with the evidence against a ledger, or None if there is none."""
        folder = self._evidence / _tag(origin)
        return folder if (folder / "newer.note").exists() else None

    def accuse(self, origin: str, older: str, newer: str, proof: str | None) -> tuple[Path, Path]:
        """Keep two checkpoints that contradict each other; the first ones of a ledger stay.

        Args:
            origin: the ledger that is not cosigned any more.
            older: the note that was cosigned.
            newer: the one that contradicts it.
            proof: what the newer one begins with instead, for whoever has neither ledger.
        """
        folder = self._evidence / _tag(origin)
        if self.evidence(origin) is None:
            make_private_dir(folder)
            if proof is not None:
                write_private(folder / "proof", proof.encode(), replace=True)
            write_private(folder / "older.note", older.encode(), replace=True)
            write_private(folder / "newer.note", newer.encode(), replace=True)
        return folder / "older.note", folder / "newer.note"

    def accused(self, origin: str) -> tuple[str, str]:
        """Return the two notes of the evidence against a ledger."""
        folder = self._evidence / _tag(origin)
        return _text(folder / "older.note"), _text(folder / "newer.note")

    def _seen(self, folder: Path) -> Seen | None:
        sizes = _sizes(folder)
        if not sizes:
            return None
        note = _text(_note(folder, sizes[-1]))
        checkpoint = claimed_checkpoint(note)
        if _tag(checkpoint.origin) != folder.name:
            raise KeystoreError(f"{folder} holds checkpoints of another ledger")
        issuer = parse_verifier_key(_text(folder / "issuer"))
        return Seen(checkpoint.origin, issuer, checkpoint, note, self.evidence(checkpoint.origin))


def _note(folder: Path, size: int) -> Path:
    return folder / f"{size:019}.note"


def _sizes(folder: Path) -> list[int]:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(found[1]) for found in map(_NOTE.fullmatch, names) if found)


def _tag(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _text(path: Path) -> str:
    try:
        return read_private(path, _MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise KeystoreError(f"{path} is not what was written") from error
