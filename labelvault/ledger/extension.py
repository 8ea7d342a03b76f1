"""What a log's owner hands to a witness: a checkpoint, and the proof that it continues a smaller one.

The body of an `add-checkpoint` request (C2SP tlog-witness, https://c2sp.org/tlog-witness), as a file:

    old <size, decimal>
    <each hash of the consistency proof, base64>

    <the checkpoint's note>
"""

import re
from dataclasses import dataclass
from typing import Final

from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.merkle import EMPTY_ROOT
from labelvault.errors import FormatError, LedgerError
from labelvault.ledger.checkpoint import Checkpoint
from labelvault.ledger.note import MAX_NOTE_CHARACTERS, from_base64, to_base64
from labelvault.ledger.tree import MAX_SIZE, verify_consistency

MAX_PROOF_HASHES: Final = 63
_MAX_CHARACTERS: Final = MAX_NOTE_CHARACTERS + 4096
_START: Final = "old "
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Extension:
    """A checkpoint with a proof; nothing of it is verified.

    Attributes:
        old: size of the smaller tree.
        proof: RFC 6962, section 2.1.2; empty where `old` is 0.
        note: the checkpoint's.
    """

    old: int
    proof: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """Return the file."""
        hashes = "".join(f"{to_base64(each)}\n" for each in self.proof)
        return f"{_START}{self.old}\n{hashes}\n{self.note}"

    def check(self, older: Checkpoint, newer: Checkpoint) -> None:
        """Check that the tree of `newer` begins with that of `older`.

        Raises:
            LedgerError: it does not follow from this proof, or it is about another size.
        """
        if older.size != self.old:
            raise LedgerError(f"the proof begins at entry {self.old}, not at {older.size}")
        if self.old == 0:
            # An empty tree is the beginning of any other, and no proof says so.
            if self.proof or older.root != EMPTY_ROOT:
                raise LedgerError("a proof that begins at nothing is empty")
            return
        verify_consistency(older.size, newer.size, self.proof, older.root, newer.root)


def is_extension(text: str) -> bool:
    """Tell whether a file claims to be one."""
    return text.startswith(_START)


def parse_extension(text: str) -> Extension:
    """Read the file.

    Raises:
        FormatError: it is none, or over a bound.
    """
    if len(text) > _MAX_CHARACTERS:
        raise FormatError(f"a proof of more than {_MAX_CHARACTERS} characters")
    head, blank, note = text.partition("\n\n")
    first, *hashes = head.split("\n")
    found = _OLD.fullmatch(first)
    if not blank or found is None or int(found[1]) > MAX_SIZE:
        raise FormatError("a proof begins with the size that it starts from")
    if len(hashes) > MAX_PROOF_HASHES:
        raise FormatError(f"a proof has at most {MAX_PROOF_HASHES} hashes")
    proof = tuple(from_base64(each) for each in hashes)
    if any(len(each) != HASH_BYTES for each in proof):
        raise FormatError(f"a hash has {HASH_BYTES} bytes")
    return Extension(int(found[1]), proof, note)
