"""Sealed items in SQLite. Each function runs inside a transaction of its caller."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from labelvault.errors import ConflictError, FormatError, NotFoundError, StoreError
from labelvault.stores.checks import HOUR_S, CheckedItem, check_int, item_checksum, moment, split
from labelvault.stores.payload_files import Key, PayloadFiles
from labelvault.stores.sqlite_claims import place_tasks
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


def put(db: sqlite3.Connection, items: Sequence[CheckedItem], hour: int) -> int:
    """Store item versions with their payloads; return how many are new.

    Raises:
        ConflictError: something else is stored under the key of one, or two of them share one and differ.
    """
    made: dict[Key, tuple[NewItem, Iterable[bytes]]] = {}
    for each in items:
        stored = each.stored
        new = NewItem(each.header, stored.header, len(stored.payload), stored.leaves, stored.queue)
        if made.setdefault(new.key, (new, split(stored.payload)))[0] != new:
            raise _conflict(new)
    return insert(db, list(made.values()), hour)


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
        raise _conflict(item)
    return True


def _conflict(item: NewItem) -> ConflictError:
    return ConflictError(
        f"item {item.header.item.hex()} version {item.header.version}: other bytes, project or queue are stored"
    )


def insert(db: sqlite3.Connection, items: Sequence[tuple[NewItem, Iterable[bytes]]], hour: int) -> int:
    """Store item versions, each statement for all of them; return how many are new.

    Args:
        db: the transaction.
        items: what to store, and its payload's pieces; each empty if the payload rests in a file. Keys differ.
        hour: hours since 1970.

    Raises:
        ConflictError: something else is stored under a key.
    """
    (last,) = db.execute("SELECT coalesce(max(number), 0) FROM pieces").fetchone()
    firsts = accumulate((len(new.leaves) for new, _ in items), initial=last + 1)
    placed = [(new, pieces, first) for (new, pieces), first in zip(items, firsts, strict=False)]
    inserted = db.executemany(
        "INSERT INTO items (client, item, version, project, header, size, queue, stored_hour, checksum, first_piece)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            (
                *new.key,
                new.header.project,
                new.header_bytes,
                new.size,
                new.queue,
                hour,
                item_checksum(new.header_bytes, new.size, new.queue, hour, new.leaves),
                first,
            )
            for new, _, first in placed
        ),
    ).rowcount
    if inserted < len(placed):
        placed = [each for each in placed if not _was_there(db, each[0], each[2])]
    # One after the other, so that they fill their pages. That shows in which order batches came, as the place of
    # their pages in the file does anyway, and nothing of the order within a batch.
    db.executemany(
        "INSERT INTO pieces (number, leaf, data) VALUES (?, ?, ?)",
        (
            (number, leaf, data)
            for new, pieces, first in placed
            for number, (leaf, data) in enumerate(zip(new.leaves, pieces, strict=True), first)
        ),
    )
    place_tasks(db, [(new.header, new.queue) for new, _, _ in placed])
    return len(placed)


def _was_there(db: sqlite3.Connection, item: NewItem, first_piece: int) -> bool:
    """Say whether an item's row is an earlier one, which is not to have the pieces that were meant for it."""
    (found,) = db.execute(
        "SELECT first_piece FROM items WHERE client = ? AND item = ? AND version = ?", item.key
    ).fetchone()
    return found != first_piece and is_stored(db, item)


def read(db: sqlite3.Connection, key: Key, offset: int, length: int | None, files: PayloadFiles) -> ItemPart:
    """Return a range of a payload, reading only the pieces that it touches, or the range of its file.

    Raises:
        NotFoundError: no such item version.
        FormatError: the range is out of bounds, or is too large to be held in memory.
        StoreError: pieces or the file are missing.
    """
    row = db.execute(
        "SELECT header, size, first_piece FROM items WHERE client = ? AND item = ? AND version = ?", key
    ).fetchone()
    if row is None:
        raise _not_found(key)
    header, size, first_piece = row
    check_int(offset, "an offset", 0, size)
    if length is not None:
        check_int(length, "a length")
    end = size if length is None else min(size, offset + length)
    if end - offset > MAX_PAYLOAD_BYTES:
        raise FormatError(f"a range of {end - offset} bytes; at most {MAX_PAYLOAD_BYTES} are read at once")
    first = offset // LEAF_BYTES
    pieces = db.execute(
        "SELECT data FROM pieces WHERE number BETWEEN ? AND ? ORDER BY number",
        (first_piece + first, first_piece + (end - 1) // LEAF_BYTES),
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
    rows = db.execute(
        "SELECT p.leaf FROM items i JOIN pieces p"
        " ON p.number >= i.first_piece AND p.number < i.first_piece + (i.size + ?4 - 1) / ?4"
        " WHERE i.client = ?1 AND i.item = ?2 AND i.version = ?3 ORDER BY p.number",
        (*key, LEAF_BYTES),
    )
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
