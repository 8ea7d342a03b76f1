"""A vendor's host in the thief's hand: he reads all that is written to its disk, and writes there as he likes."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from labelvault.story.simulator.rules import Version

_ITEM: Final = "client = ? AND item = ? AND version = ?"
_PIECE: Final = f"number = (SELECT first_piece FROM items WHERE {_ITEM})"  # noqa: S608 - words of this module
"""Whatever is sealed here is small: one piece."""
_VERSIONS: Final = slice(18, 20)
"""Of a database file: how it is written and read (SQLite file format, section 1.3)."""


class Host:
    """A vault's database, without the vault's code.

    Attributes:
        path: of the database.
        url: as clients and contractors know the vault.
    """

    def __init__(self, path: Path) -> None:
        """Use a vault's database."""
        self.path = path
        self.url = f"sqlite:///{path}"
        self._db = sqlite3.connect(path, isolation_level=None)
        self._changed = -1
        self._read = 0
        self._items: set[Version] = set()
        self._copy: bytes | None = None

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def read_new(self, message: Callable[[bytes], None], item: Callable[[bytes, bytes], None]) -> None:
        """Read what came since the last time: messages, in order, then sealed items.

        Args:
            message: gets each message.
            item: gets header and payload of each item.
        """
        (changed,) = self._db.execute("PRAGMA data_version").fetchone()
        if changed == self._changed:
            return
        self._changed = changed
        for number, data in self._db.execute(
            "SELECT number, message FROM messages WHERE number > ? ORDER BY number", (self._read,)
        ):
            self._read = number
            message(data)
        for client, name, version, header in self._db.execute("SELECT client, item, version, header FROM items"):
            if (client, name, version) not in self._items:
                self._items.add((client, name, version))
                item(header, self.payload((client, name, version)))

    def payload(self, version: Version) -> bytes:
        """Read one payload."""
        return bytes(self._db.execute(f"SELECT data FROM pieces WHERE {_PIECE}", version).fetchone()[0])  # noqa: S608

    def has(self, version: Version) -> bool:
        """Whether an item's version is there."""
        return self._db.execute(f"SELECT 1 FROM items WHERE {_ITEM}", version).fetchone() is not None  # noqa: S608

    def write_payload(self, version: Version, payload: bytes) -> None:
        """Put other bytes in a payload's place."""
        self._db.execute(f"UPDATE pieces SET data = ? WHERE {_PIECE}", (payload, *version))  # noqa: S608

    def waiting(self, mailbox: bytes) -> list[tuple[int, bytes]]:
        """What waits in a mailbox."""
        return self._db.execute(
            "SELECT number, message FROM messages WHERE mailbox = ? AND acked = 0 ORDER BY number", (mailbox,)
        ).fetchall()

    def lose(self, mailbox: bytes) -> list[bytes]:
        """Drop what waits in a mailbox, and return it."""
        lost = self.waiting(mailbox)
        for number, _ in lost:
            self._db.execute("UPDATE messages SET acked = 1 WHERE number = ?", (number,))
        return [data for _, data in lost]

    def keep_copy(self) -> None:
        """Copy the whole vault."""
        with closing(sqlite3.connect(":memory:")) as copy:
            self._db.backup(copy)
            data = bytearray(copy.serialize())
        # A database in memory has no write-ahead log, and its header must not ask for one.
        data[_VERSIONS] = b"\1\1"
        self._copy = bytes(data)

    @property
    def has_copy(self) -> bool:
        """Whether there is a copy to put back."""
        return self._copy is not None

    def roll_back(self) -> None:
        """Put the copy back in the vault's place, under all who use it."""
        with closing(sqlite3.connect(":memory:")) as copy:
            copy.deserialize(self._copy or b"")
            copy.backup(self._db)
        (self._read,) = self._db.execute("SELECT coalesce(max(number), 0) FROM messages").fetchone()
