r"""A ledger in one file that anyone verifies offline, with public keys only.

JSON lines: one for each entry, in order, then one for the checkpoint that covers exactly them:

    {"entry":"<base64>"}
    {"checkpoint":"<signed note>"}

Each line has one spelling (no spaces, `\n` as the only escape), so that equal ledgers are equal files.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from labelvault.errors import ForkError, FormatError, LedgerError
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, verify_checkpoint
from labelvault.ledger.entries import MAX_ENTRY_BYTES, Entry, decode_entry
from labelvault.ledger.note import MAX_NOTE_CHARACTERS
from labelvault.ledger.tree import leaf_hash, root_of_leaves

MAX_EXPORT_BYTES: Final = 1024**3

_ENTRY_START: Final = b'{"entry":"'
_ENTRY_END: Final = b'"}'
_CHECKPOINT_START: Final = b'{"checkpoint":"'
_MAX_ENTRY_LINE_BYTES: Final = len(_ENTRY_START) + (MAX_ENTRY_BYTES + 2) // 3 * 4 + len(_ENTRY_END)
# A character has up to four bytes, and a newline is escaped.
_MAX_NOTE_LINE_BYTES: Final = 4 * MAX_NOTE_CHARACTERS


@dataclass(frozen=True, slots=True)
class VerifiedLedger:
    """Entries that a verified checkpoint covers: all of them, in its order, and no others.

    Only `verify_export` makes one.

    Attributes:
        entries: decoded, in order.
        checkpoint: what they were checked against.
        note: the signed checkpoint as text; keep it, to hand in as `older` next time.
        leaves: the entries' leaf hashes.
    """

    entries: tuple[Entry, ...]
    checkpoint: Checkpoint
    note: str
    leaves: tuple[bytes, ...]

    def check_continues(self, older: str, *, name: str, public_key: bytes) -> None:
        """Check that the ledger continues a checkpoint of it that someone kept.

        Args:
            older: the signed note.
            name: the issuer's key name.
            public_key: the issuer's 32-byte key.

        Raises:
            SignatureError, FormatError, LedgerError: the note is not this issuer's, or about another ledger.
            ForkError: it does not continue it; carries both signed checkpoints.
        """
        fault = _discontinuity(verify_checkpoint(older, name, public_key, self.checkpoint.origin), self.leaves)
        if fault:
            raise ForkError(fault, older, self.note)


def export_ledger(entries: Iterable[bytes], note: str) -> bytes:
    """Return a ledger as one file.

    Args:
        entries: every entry's exact bytes, in order.
        note: the signed checkpoint over exactly these entries.
    """
    return b"\n".join([*map(entry_line, entries), checkpoint_line(note), b""])


def verify_export(
    data: bytes,
    *,
    origin: str,
    name: str,
    public_key: bytes,
    older: str | None = None,
    max_bytes: int = MAX_EXPORT_BYTES,
) -> VerifiedLedger:
    """Verify a whole ledger: the issuer signed exactly these entries, and they continue what was seen before.

    Without `older`, a ledger that was signed twice with different content is not found out, nor is an old one
    that is passed off as new: keep the newest checkpoint that you have seen.

    Args:
        data: the export.
        origin: the ledger that is asked about, as `ledger_origin` names it.
        name: the issuer's key name, as `issuer_key_name` gives it.
        public_key: the issuer's 32-byte key.
        older: a signed checkpoint of the same ledger that someone kept, as text.
        max_bytes: refuse anything longer.

    Raises:
        FormatError: not an export, or an entry that is not canonical.
        SignatureError: a checkpoint's signature is not valid.
        LedgerError: a checkpoint is not this issuer's or about another ledger, or entries are missing, left
            over, reordered or rewritten.
        ForkError: the ledger does not continue `older`; carries both signed checkpoints.
    """
    if len(data) > max_bytes:
        raise FormatError(f"an export of {len(data)} bytes, more than the {max_bytes} allowed")
    lines = data.split(b"\n")
    if len(lines) < 2 or lines.pop() != b"":
        raise FormatError("an export ends with a checkpoint and a newline")
    # Signature first: nothing else in the file is looked at unless the issuer vouches for it.
    note = read_checkpoint(lines.pop())
    checkpoint = verify_checkpoint(note, name, public_key, origin)
    size = checkpoint.size
    if len(lines) < size:
        raise LedgerError(f"the export is cut: {len(lines)} entries where the checkpoint covers {size}")
    if len(lines) > size:
        raise LedgerError(f"the export has {len(lines)} entries where the checkpoint covers {size}")
    raw = [read_entry(line, index) for index, line in enumerate(lines)]
    leaves = [leaf_hash(entry) for entry in raw]
    if root_of_leaves(leaves) != checkpoint.root:
        raise LedgerError("entries were reordered or rewritten: they do not give the checkpoint's root")
    entries = tuple(_decode(entry, index) for index, entry in enumerate(raw))
    ledger = VerifiedLedger(entries, checkpoint, note, tuple(leaves))
    if older is not None:
        ledger.check_continues(older, name=name, public_key=public_key)
    return ledger


def claims(data: bytes) -> tuple[str, Checkpoint, Entry | None]:
    """Return what an export says of itself: its checkpoint's note, that read, and its first entry, if it has any.

    Nothing of it is verified: it is for finding out which key and origin to hand to `verify_export`.

    Raises:
        FormatError: not an export.
    """
    first, _, rest = data.partition(b"\n")
    last = data.rstrip(b"\n").rpartition(b"\n")[2]
    note = read_checkpoint(last)
    checkpoint = claimed_checkpoint(note)
    return note, checkpoint, _decode(read_entry(first, 0), 0) if rest else None


def _discontinuity(before: Checkpoint, leaves: Sequence[bytes]) -> str:
    """Say how the ledger fails to continue an older checkpoint; nothing if it continues it."""
    if before.size > len(leaves):
        return f"the ledger shrank from {before.size} to {len(leaves)} entries"
    if root_of_leaves(leaves[: before.size]) != before.root:
        return f"the ledger's first {before.size} entries are not those that were signed before"
    return ""


def read_entry(line: bytes, index: int) -> bytes:
    """Return the entry's exact bytes of a line, without its newline.

    Raises:
        FormatError: not an entry's line, or not its one spelling.
    """
    if len(line) > _MAX_ENTRY_LINE_BYTES:
        raise FormatError(f"entry {index} has more than {MAX_ENTRY_BYTES} bytes")
    try:
        entry = base64.b64decode(line[len(_ENTRY_START) : -len(_ENTRY_END)], validate=True)
    except binascii.Error as error:
        raise FormatError(f"entry {index} is not base64") from error
    # Comparing with what we would write covers the start and the end of the line, too.
    if entry_line(entry) != line:
        raise FormatError(f"entry {index} is not in its canonical form")
    return entry


def entry_line(entry: bytes) -> bytes:
    """Return an entry's line, without its newline."""
    return _ENTRY_START + base64.b64encode(entry) + _ENTRY_END


def _decode(entry: bytes, index: int) -> Entry:
    try:
        return decode_entry(entry)
    except FormatError as error:
        raise FormatError(f"entry {index}: {error}") from error


def read_checkpoint(line: bytes) -> str:
    """Return the signed note of a line, without its newline; unverified.

    Raises:
        FormatError: not a checkpoint's line, or not its one spelling.
    """
    if not (line.startswith(_CHECKPOINT_START) and len(line) <= _MAX_NOTE_LINE_BYTES):
        raise FormatError("an export ends with a checkpoint")
    try:
        note: str = json.loads(line)["checkpoint"]
    except (ValueError, RecursionError) as error:
        raise FormatError("the export's checkpoint is not JSON") from error
    # Comparing with what we would write refuses other keys, values, escapes and whatever else JSON allows.
    if checkpoint_line(note) != line:
        raise FormatError("the export's checkpoint is not in its canonical form")
    return note


def checkpoint_line(note: str) -> bytes:
    """Return a signed note's line, without its newline."""
    text = json.dumps({"checkpoint": note}, ensure_ascii=False, separators=(",", ":"))
    # Lone surrogates have no bytes; a line that spells one never compares equal.
    return text.encode("utf-8", "replace")
