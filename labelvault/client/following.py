"""Following the ledger from where one stopped: nothing is missed over a restart, and nothing may have been rewritten.

What was read is kept as a mark: the size and root of the ledger's beginning that was read. Whoever goes on from a mark
first makes sure that the ledger still has that root at that size, as a witness does.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labelvault.errors import FormatError, KeystoreError, LedgerError, OutputError, SignatureError
from labelvault.issuer.log import Log
from labelvault.keys.files import read_private, write_private
from labelvault.ledger.checkpoint import Checkpoint, verify_checkpoint
from labelvault.ledger.entries import Entry, decode_entry
from labelvault.ledger.tree import leaf_hash, root

MAX_ENTRIES: Final = 1000
"""Given out at once, unless somebody wants fewer."""
_MAX_MARK_BYTES: Final = 4096
_HEX16: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEX32: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where a ledger was read.

    Attributes:
        epoch: the ledger's, 16 bytes.
        size: how many entries.
        root: of the tree over those, 32 bytes.
    """

    epoch: bytes
    size: int
    root: bytes


class Follower:
    """Reads a ledger on, a part at a time.

    Attributes:
        mark: up to where; None until the first look, which begins at the ledger's end.
    """

    def __init__(
        self, log: Log, verify: Callable[[str], Checkpoint], mark: Mark | None, page: int = MAX_ENTRIES
    ) -> None:
        """Begin.

        Args:
            log: the ledger.
            verify: returns the checkpoint of a signed note, or raises what `verify_checkpoint` does.
            mark: from where; one of an older epoch means this ledger's beginning.
            page: so many entries are given out at once, at most.
        """
        self._page = page
        self._log = log
        self._verify = verify
        if mark is not None and mark.epoch != log.epoch:
            mark = Mark(log.epoch, 0, b"")
        self.mark = mark

    def more(self) -> list[tuple[int, Entry]]:
        """Return (number, entry) of what came behind the mark, as many as a page has; the mark stays.

        Raises:
            LedgerError: the ledger is not the one that was marked, or not what its newest checkpoint signs.
        """
        newest = self._checked(self._log.newest_checkpoint())
        if self.mark is None:
            self.mark = Mark(self._log.epoch, newest.size, newest.root)
        marked = self.mark
        if newest.size < marked.size:
            raise LedgerError(f"the ledger has {newest.size} entries; {marked.size} were seen before")
        if newest.size == marked.size and newest.root == marked.root:
            return []
        if self._root(newest.size) != newest.root or (marked.size and self._root(marked.size) != marked.root):
            raise LedgerError(f"the ledger's first {marked.size} entries are not those that were seen before")
        end = min(newest.size, marked.size + self._page)
        page = sorted(self._log.page(end, end - marked.size)) if end > marked.size else []
        if [number for number, _ in page] != list(range(marked.size, end)):
            raise LedgerError("the ledger lacks entries")
        for number, data in page:
            if self._log.read_node(0, number) != leaf_hash(data):
                raise LedgerError(f"entry {number} of the ledger is not the one that its tree has")
        return [(number, decode_entry(data)) for number, data in page]

    def passed(self, count: int) -> Mark:
        """Move the mark on by so many entries, and return it."""
        before = self.mark or Mark(self._log.epoch, 0, b"")
        if count:
            size = before.size + count
            self.mark = Mark(self._log.epoch, size, self._root(size))
        return self.mark or before

    def _root(self, size: int) -> bytes:
        return root(size, self._log.read_node)

    def _checked(self, note: str) -> Checkpoint:
        try:
            return self._verify(note)
        except (FormatError, SignatureError) as error:
            raise LedgerError("the ledger's newest checkpoint is not its issuer's") from error


def checkpoint_verifier(log: Log, name: str, public_key: bytes) -> Callable[[str], Checkpoint]:
    """Return what a follower verifies a ledger's notes with."""
    return lambda note: verify_checkpoint(note, name, public_key, log.origin)


def read_mark(path: Path) -> Mark | None:
    """Return the mark that a file keeps; None if there is no file.

    Raises:
        OutputError: it can't be read, or holds no mark.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        value = json.loads(read_private(path, _MAX_MARK_BYTES))
        epoch, size, root_hash = value["epoch"], value["size"], value["root"]
        if not (_HEX16.fullmatch(epoch) and type(size) is int and size >= 0):
            raise ValueError
        if not (_HEX32.fullmatch(root_hash) or (root_hash == "" and size == 0)):
            raise ValueError
    except KeystoreError as error:
        raise OutputError(str(error)) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OutputError(
            f"{path} does not say up to where the ledger was read",
            next_step="Put it back from a copy; or remove it, and what came since is not told again.",
        ) from error
    return Mark(bytes.fromhex(epoch), size, bytes.fromhex(root_hash))


def write_mark(path: Path, mark: Mark) -> None:
    """Keep a mark in a file, mode 0600, in place of the one before.

    Raises:
        OutputError: the file system refused.
    """
    facts = {"epoch": mark.epoch.hex(), "size": mark.size, "root": mark.root.hex()}
    try:
        write_private(path, (json.dumps(facts) + "\n").encode(), replace=True)
    except KeystoreError as error:
        raise OutputError(str(error)) from error
