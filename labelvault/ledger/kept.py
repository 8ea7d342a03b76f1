r"""A ledger's copy that is kept elsewhere and grows with it (docs/spec.md, section 7.8).

The lines of an export (`labelvault.ledger.export`), but with a checkpoint after the entries of each commit, and with
lines that say how the copy is kept:

    {"kept":"closed"}       from here on nothing leaves the issuer before it is in this copy
    {"kept":"best-effort"}  from here on entries may be missing
    {"kept":"ended"}        the last line: the ledger went on without this copy
    {"kept":"taken"}        the last line: a restored home took the copy over, and the ledger ends here

What follows the last checkpoint, and is none of the last lines, was torn off by a crash and counts for nothing.
"""

from dataclasses import dataclass
from typing import Final

from labelvault.errors import FormatError
from labelvault.ledger.export import MAX_EXPORT_BYTES, read_checkpoint, read_entry

POLICIES: Final = ("closed", "best-effort")
ENDINGS: Final = ("ended", "taken")
_CHECKPOINT: Final = b'{"checkpoint":'
_ENTRY: Final = b'{"entry":'


@dataclass(frozen=True, slots=True)
class KeptCopy:
    """A copy as it was read; nothing of it is verified.

    Attributes:
        entries: exact bytes, as many as its newest checkpoint covers.
        note: that checkpoint.
        policy: how it was kept last; None of an export.
        ending: `ended` or `taken`; None if it goes on.
    """

    entries: tuple[bytes, ...]
    note: str
    policy: str | None
    ending: str | None

    @property
    def complete(self) -> bool:
        """Whether nothing left the issuer that is not in it, if this is the copy itself and no copy of the copy."""
        return self.policy == "closed" and self.ending != "ended"


def kept_line(word: str) -> bytes:
    """Return the line that says how a copy is kept, without its newline."""
    return b'{"kept":"' + word.encode() + b'"}'


def read_kept(data: bytes) -> KeptCopy:
    """Read a copy, or an export.

    Raises:
        FormatError: it is neither, or has no checkpoint.
    """
    if len(data) > MAX_EXPORT_BYTES:
        raise FormatError(f"a ledger's copy of {len(data)} bytes, more than the {MAX_EXPORT_BYTES} allowed")
    entries: list[bytes] = []
    covered, note, policy, said, ending = 0, "", None, None, None
    words = {kept_line(word): word for word in (*POLICIES, *ENDINGS)}
    for line in data.split(b"\n")[:-1]:  # What has no newline was torn off.
        if ending is not None:
            raise FormatError("a ledger's copy goes on after its end")
        if line in words:
            said = words[line]
            ending = said if said in ENDINGS and note else None
        elif line.startswith(_ENTRY):
            entries.append(read_entry(line, len(entries)))
        else:
            note, covered, policy = read_checkpoint(line), len(entries), said
    if not note:
        raise FormatError("a ledger's copy without a checkpoint")
    return KeptCopy(tuple(entries[:covered]), note, policy, ending)


def newest_checkpoint(tail: bytes) -> tuple[str, int, str | None] | None:
    """Find the newest checkpoint in the end of a copy.

    Args:
        tail: the copy's last bytes, from the beginning of any line or within one.

    Returns:
        The note, unverified; how many bytes of `tail` its line ends after; and the ending that follows, if one does.
        None if there is no whole checkpoint's line in it.

    Raises:
        FormatError: it has another spelling.
    """
    place = len(tail)
    while (start := tail.rfind(_CHECKPOINT, 0, place)) >= 0:
        end = tail.find(b"\n", start)
        if end >= 0 and (start == 0 or tail[start - 1 : start] == b"\n"):
            rest = tail[end + 1 :].split(b"\n")[:-1]
            ending = next((word for word in ENDINGS if kept_line(word) in rest), None)
            return read_checkpoint(tail[start:end]), end + 1, ending
        place = start
    return None
