"""The ledgers' place in `client.db`: entries, tree nodes and the newest checkpoint, appended in one transaction.

There is one ledger for each epoch; after a restore the older ones are kept, and no longer appended to.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from labelvault.database import Database
from labelvault.errors import LedgerError
from labelvault.ledger.checkpoint import Checkpoint, ledger_origin, sign_checkpoint
from labelvault.ledger.entries import Entry, decode_entry, encode_entry
from labelvault.ledger.scan import Reading
from labelvault.ledger.tree import append, extend, leaf_hash, root
from labelvault.wire.frame import Signer

_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Position:
    """Where an entry stands: its index from 0, and its 32-byte RFC 6962 leaf hash."""

    index: int
    leaf: bytes


class Log:
    """The ledger of one certificate's epoch. All writing happens inside the caller's transaction."""

    def __init__(self, database: Database, client: bytes, epoch: bytes) -> None:
        """Use a database's ledger.

        Args:
            database: open `client.db`.
            client: the client's id, 32 bytes.
            epoch: the ledger's epoch, 16 bytes.
        """
        self._database = database
        self.epoch = epoch
        self.origin = ledger_origin(client, epoch)

    def size(self) -> int:
        """Return how many entries there are."""
        memo, name = self._database.memo, (Log, self.epoch)
        if name not in memo:
            (newest,) = self._database.rows("SELECT max(number) FROM ledger_entries WHERE epoch = ?", self.epoch)[0]
            memo[name] = 0 if newest is None else newest + 1
        size: int = memo[name]
        return size

    def read_node(self, level: int, position: int) -> bytes:
        """Return a stored tree node; see `labelvault.ledger.tree`.

        Raises:
            LedgerError: it is missing.
        """
        found = self._database.memo.get((Log, self.epoch, level, position))
        if found is not None:
            return bytes(found)
        row = self._database.row(
            "SELECT hash FROM ledger_nodes WHERE epoch = ? AND level = ? AND position = ?", self.epoch, level, position
        )
        if row is None:
            raise LedgerError(f"the ledger lacks node {level}/{position}")
        return bytes(row[0])

    def position_of(self, data: bytes) -> Position:
        """Return where an entry will stand if it is the next one that this transaction appends.

        Args:
            data: its exact bytes.
        """
        return Position(self.size(), leaf_hash(data))

    def append(self, entry: Entry) -> Position:
        """Add an entry; durable when the surrounding transaction commits."""
        return self.append_raw(encode_entry(entry))

    def append_raw(self, data: bytes) -> Position:
        """Add an entry by its exact bytes, as it was encoded, or as another copy of this ledger has it."""
        size, leaf, epoch = self.size(), leaf_hash(data), self.epoch
        made = append(size, leaf, self.read_node)
        self._database.execute("INSERT INTO ledger_entries VALUES (?, ?, ?)", epoch, size, data)
        self._database.execute_many(
            "INSERT INTO ledger_nodes VALUES (?, ?, ?, ?)",
            [(epoch, each.level, each.position, each.hash) for each in made],
        )
        memo = self._database.memo
        memo[Log, epoch] = size + 1
        # Of what is covered by another node, neither an append nor the newest root asks any more.
        for node in made[:-1]:
            memo.pop((Log, epoch, node.level, node.position - 1), None)
        memo[Log, epoch, made[-1].level, made[-1].position] = made[-1].hash
        return Position(size, leaf)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add entries, as `append` one after the other, with one statement for all."""
        size, encoded = self.size(), [encode_entry(entry) for entry in entries]
        made = extend(size, [leaf_hash(data) for data in encoded], self.read_node)
        self._database.execute_many(
            "INSERT INTO ledger_entries VALUES (?, ?, ?)",
            [(self.epoch, number, data) for number, data in enumerate(encoded, size)],
        )
        self._database.execute_many(
            "INSERT INTO ledger_nodes VALUES (?, ?, ?, ?)", [(self.epoch, *node) for node in made]
        )
        self._database.memo.pop((Log, self.epoch), None)

    def sign(self, name: str, signer: Signer) -> str:
        """Sign a checkpoint over all entries, and keep it as the newest.

        Returns:
            The signed note's text (C2SP tlog-checkpoint).
        """
        size = self.size()
        text = sign_checkpoint(Checkpoint(self.origin, size, root(size, self.read_node)), name, signer)
        self.keep_checkpoint(text)
        return text

    def keep_checkpoint(self, note: str) -> None:
        """Keep a signed note as the newest."""
        self._database.execute(
            "INSERT INTO ledger_checkpoints VALUES (?, ?) ON CONFLICT (epoch) DO UPDATE SET note = excluded.note",
            self.epoch,
            note,
        )

    def newest_checkpoint(self) -> str:
        """Return the newest signed note.

        Raises:
            LedgerError: none was ever signed.
        """
        row = self._database.row("SELECT note FROM ledger_checkpoints WHERE epoch = ?", self.epoch)
        if row is None:
            raise LedgerError("the ledger has no checkpoint")
        return str(row[0])

    def raw_entries(self) -> list[bytes]:
        """Return all entries' exact bytes, in order."""
        rows: list[tuple[Any, ...]] = self._database.rows(
            "SELECT entry FROM ledger_entries WHERE epoch = ? ORDER BY number", self.epoch
        )
        return [bytes(row[0]) for row in rows]

    def stream(self, size: int, begin: int = 0) -> Iterator[bytes]:
        """Yield the first entries' exact bytes, in order, few at a time; what is appended meanwhile changes nothing.

        Args:
            size: how many.
            begin: of these, only from this number on.
        """
        for start in range(begin, size, _PAGE):
            rows = self._database.rows(
                "SELECT entry FROM ledger_entries WHERE epoch = ? AND number >= ? AND number < ? ORDER BY number",
                self.epoch,
                start,
                min(start + _PAGE, size),
            )
            for (entry,) in rows:
                yield entry

    def reread(self, size: int) -> Reading:
        """Hash the first entries anew, as they are stored: size, root and latest time of what is there.

        Args:
            size: how many; fewer are read if there are fewer.
        """
        reading = Reading()
        deque(reading.through(self.stream(size)), maxlen=0)
        return reading

    def page(self, before: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (number, exact bytes) of the entries before a number, newest first.

        Args:
            before: only lower numbers.
            limit: at most so many.
        """
        rows = self._database.rows(
            "SELECT number, entry FROM ledger_entries WHERE epoch = ? AND number < ? ORDER BY number DESC LIMIT ?",
            self.epoch,
            before,
            limit,
        )
        return [(int(number), bytes(entry)) for number, entry in rows]

    def entries(self) -> list[Entry]:
        """Return all entries, decoded."""
        return [decode_entry(data) for data in self.raw_entries()]
