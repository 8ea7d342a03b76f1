"""Sealed items in SQLite. Each function runs inside a transaction of its caller."""

import sqlite3
from typing import TypeAlias

from labelvault.errors import ConflictError, NotFoundError, StoreError
from labelvault.stores.checks import HOUR_S, CheckedItem, check_int, item_checksum, moment, split
from labelvault.stores.sqlite_claims import place_task
from labelvault.stores.values import ItemInfo, ItemPart
from labelvault.wire.items import LEAF_BYTES

Key: TypeAlias = tuple[bytes, bytes, int]
"""Client, item, version."""


def put(db: sqlite3.Connection, item: CheckedItem, hour: int) -> bool:
    """Store an item version; return whether it is new.

    Raises:
        ConflictError: something else is stored under its key.
    """
    header, stored = item.header, item.stored
    row = db.execute(
        "SELECT header, size, queue FROM items WHERE client = ? AND item = ? AND version = ?", item.key
    ).fetchone()
    if row is not None:
        # Equal leaves are equal bytes: both sides were hashed when they came in.
        same = row == (stored.header, len(stored.payload), stored.queue)
        if not same or leaves(db, item.key) != stored.leaves:
            raise ConflictError(
                f"item {header.item.hex()} version {header.version}: other bytes, project or queue are stored"
            )
        return False
    checksum = item_checksum(stored.header, len(stored.payload), stored.queue, hour, stored.leaves)
    db.execute(
        "INSERT INTO items (client, item, version, project, header, size, queue, stored_hour, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*item.key, header.project, stored.header, len(stored.payload), stored.queue, hour, checksum),
    )
    db.executemany(
        "INSERT INTO pieces (client, item, version, piece, leaf, data) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (*item.key, number, leaf, data)
            for number, (leaf, data) in enumerate(zip(stored.leaves, split(stored.payload), strict=True))
        ),
    )
    place_task(db, header, stored.queue)
    return True


def read(db: sqlite3.Connection, key: Key, offset: int, length: int | None) -> ItemPart:
    """Return a range of a payload, reading only the pieces that it touches.

    Raises:
        NotFoundError: no such item version.
        FormatError: the range is out of bounds.
        StoreError: pieces are missing.
    """
    row = db.execute("SELECT header, size FROM items WHERE client = ? AND item = ? AND version = ?", key).fetchone()
    if row is None:
        raise _not_found(key)
    header, size = row
    check_int(offset, "an offset", 0, size)
    if length is not None:
        check_int(length, "a length")
    end = size if length is None else min(size, offset + length)
    first = offset // LEAF_BYTES
    pieces = db.execute(
        "SELECT data FROM pieces WHERE client = ? AND item = ? AND version = ? AND piece BETWEEN ? AND ?"
        " ORDER BY piece",
        (*key, first, (end - 1) // LEAF_BYTES),
    )
    data = b"".join(piece for (piece,) in pieces)[offset - first * LEAF_BYTES : end - first * LEAF_BYTES]
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
    rows = db.execute(
        "SELECT client, project, item, version, size, stored_hour, queue FROM items"
        " WHERE (client, item, version) > (?1, ?2, ?3)"
        " AND (?4 IS NULL OR client = ?4) AND (?5 IS NULL OR project = ?5)"
        " ORDER BY client, item, version LIMIT ?6",
        (*after, client, project, limit),
    )
    return [
        ItemInfo(owner, of, item, version, size, moment(hour, HOUR_S), queue)
        for owner, of, item, version, size, hour, queue in rows
    ]


def _not_found(key: Key) -> NotFoundError:
    return NotFoundError(f"no version {key[2]} of item {key[1].hex()} is stored")
