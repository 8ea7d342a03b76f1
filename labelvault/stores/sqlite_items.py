"""Sealed items in SQLite. Each function runs inside a transaction of its caller."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from labelvault.errors import ConflictError, FormatError, NotFoundError, StoreError
from labelvault.stores.checks import HOUR_S, CheckedItem, check_int, item_checksum, moment, split
from labelvault.stores.payload_files import Key, PayloadFiles
from labelvault.stores.sqlite_claims import place_task
from labelvault.stores.values import MAX_PAYLOAD_BYTES, ItemInfo, ItemPart
from labelvault.wire.items import LEAF_BYTES, ItemHeader


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item version to store, its payload elsewhere. Made of what was checked only.

    Attributes:
        header: parsed.
        header_bytes: as it came.
        size: of the payload.
        leaves: 32-byte leaf hashes that the payload gives.
        queue: 16 bytes, or None.
    """

    header: ItemHeader
    header_bytes: bytes
    size: int
    leaves: tuple[bytes, ...] = field(repr=False)
    queue: bytes | None

    @property
    def key(self) -> Key:
        """Client, item and version."""
        return self.header.client, self.header.item, self.header.version


def put(db: sqlite3.Connection, item: CheckedItem, hour: int) -> bool:
    """Store an item version with its payload; return whether it is new.

    Raises:
        ConflictError: something else is stored under its key.
    """
    stored = item.stored
    new = NewItem(item.header, stored.header, len(stored.payload), stored.leaves, stored.queue)
    if is_stored(db, new):
        return False
    insert(db, new, split(stored.payload), hour)
    return True


def is_stored(db: sqlite3.Connection, item: NewItem) -> bool:
    """Say whether exactly this item version is stored already.

    Raises:
        ConflictError: something else is stored under its key.
    """
    row = db.execute(
        "SELECT header, size, queue FROM items WHERE client = ? AND item = ? AND version = ?", item.key
    ).fetchone()
    if row is None:
        return False
    # Equal leaves are equal bytes: both sides were hashed when they came in.
    if row != (item.header_bytes, item.size, item.queue) or leaves(db, item.key) != item.leaves:
        raise ConflictError(
            f"item {item.header.item.hex()} version {item.header.version}: other bytes, project or queue are stored"
        )
    return True


def insert(db: sqlite3.Connection, item: NewItem, pieces: Iterable[bytes], hour: int) -> None:
    """Store an item version that is not there yet.

    Args:
        db: the transaction.
        item: what to store.
        pieces: its payload's; each empty if the payload rests in a file.
        hour: hours since 1970.
    """
    checksum = item_checksum(item.header_bytes, item.size, item.queue, hour, item.leaves)
    db.execute(
        "INSERT INTO items (client, item, version, project, header, size, queue, stored_hour, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*item.key, item.header.project, item.header_bytes, item.size, item.queue, hour, checksum),
    )
    db.executemany(
        "INSERT INTO pieces (client, item, version, piece, leaf, data) VALUES (?, ?, ?, ?, ?, ?)",
        ((*item.key, number, leaf, data) for number, (leaf, data) in enumerate(zip(item.leaves, pieces, strict=True))),
    )
    place_task(db, item.header, item.queue)


def read(db: sqlite3.Connection, key: Key, offset: int, length: int | None, files: PayloadFiles) -> ItemPart:
    """Return a range of a payload, reading only the pieces that it touches, or the range of its file.

    Raises:
        NotFoundError: no such item version.
        FormatError: the range is out of bounds, or is too large to be held in memory.
        StoreError: pieces or the file are missing.
    """
    row = db.execute("SELECT header, size FROM items WHERE client = ? AND item = ? AND version = ?", key).fetchone()
    if row is None:
        raise _not_found(key)
    header, size = row
    check_int(offset, "an offset", 0, size)
    if length is not None:
        check_int(length, "a length")
    end = size if length is None else min(size, offset + length)
    if end - offset > MAX_PAYLOAD_BYTES:
        raise FormatError(f"a range of {end - offset} bytes; at most {MAX_PAYLOAD_BYTES} are read at once")
    first = offset // LEAF_BYTES
    pieces = db.execute(
        "SELECT data FROM pieces WHERE client = ? AND item = ? AND version = ? AND piece BETWEEN ? AND ?"
        " ORDER BY piece",
        (*key, first, (end - 1) // LEAF_BYTES),
    )
    found = [piece for (piece,) in pieces]
    if found and not any(found):
        data = files.read(key, offset, end - offset)
    else:
        data = b"".join(found)[offset - first * LEAF_BYTES : end - first * LEAF_BYTES]
    if len(data) != end - offset:
        raise StoreError(f"item {key[1].hex()} version {key[2]} is damaged: pieces are missing")
    return ItemPart(header, size, data)


def read_leaves(db: sqlite3.Connection, key: Key) -> tuple[bytes, ...]:
    """Return stored leaf hashes.

    Raises:
        NotFoundError: no such item version.
    """
    found = leaves(db, key)
    if not found:
        # A payload has at least one byte, and so one leaf.
        raise _not_found(key)
    return found


def leaves(db: sqlite3.Connection, key: Key) -> tuple[bytes, ...]:
    """Return stored leaf hashes; none for an unknown key."""
    rows = db.execute("SELECT leaf FROM pieces WHERE client = ? AND item = ? AND version = ? ORDER BY piece", key)
    return tuple(leaf for (leaf,) in rows)


def page(db: sqlite3.Connection, client: bytes | None, project: bytes | None, after: Key, limit: int) -> list[ItemInfo]:
    """Return item versions above a key, in order."""
    begins = "(client, item, version) > (?1, ?2, ?3)"
    if client is not None:
        # One client's lie together: others' are read neither before them nor behind them.
        begins = "client = ?1 AND (item, version) > (?2, ?3)"
        if after[0] != client:
            if after[0] > client:
                return []
            after = (client, b"", 0)
    # `begins` is one of the two above.
    rows = db.execute(
        f"SELECT client, project, item, version, size, stored_hour, queue FROM items WHERE {begins}"  # noqa: S608
        " AND (?4 IS NULL OR project = ?4) ORDER BY client, item, version LIMIT ?5",
        (*after, project, limit),
    )
    return [
        ItemInfo(owner, of, item, version, size, moment(hour, HOUR_S), queue)
        for owner, of, item, version, size, hour, queue in rows
    ]


def _not_found(key: Key) -> NotFoundError:
    return NotFoundError(f"no version {key[2]} of item {key[1].hex()} is stored")


def has_row(db: sqlite3.Connection, key: Key) -> bool:
    """Say whether anything is stored under a key."""
    found = db.execute("SELECT 1 FROM items WHERE client = ? AND item = ? AND version = ?", key).fetchone()
    return found is not None
