"""Honey items: decoys that nobody has a reason to ask for, so that whoever does gives himself away.

A decoy is sealed like any item and stands in no queue, as a guideline or a gold answer does; no grant can name it and
nothing requires it. Planting only writes down how many there are to be. They go to the vault in windows of ordinary
sealing, among real items of their like, so that neither an hour nor an order tells them apart (docs/spec.md, 11.6).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from labelvault.client.files import STREAM_ABOVE_BYTES
from labelvault.client.importing import SourceItem
from labelvault.client.records import HoneyRecord
from labelvault.client.versions import NewVersion, SealTarget, current_kek
from labelvault.crypto.aead import opened_size, sealed_size
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import SealedItem, seal_item
from labelvault.errors import ProjectError
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record
from labelvault.wire.times import from_ms, to_ms

MAX_HONEY: Final = 10_000
"""Decoys of one project."""
MAX_WINDOW_BYTES: Final = 64 * 1024 * 1024
"""No decoy is added to a window that would be larger with it."""
_CONTENT_BYTES: Final = 32
_CURRENT: Final = "SELECT 1 FROM items WHERE item = ? AND version IS NOT NULL"
_MAX_PAYLOAD_BYTES: Final = sealed_size(STREAM_ABOVE_BYTES)


@dataclass(frozen=True, slots=True)
class Decoy:
    """A decoy that was sealed just now."""

    version: NewVersion
    sealed: SealedItem


def plant(database: Database, project: bytes, count: int, now: datetime) -> int:
    """Write down that so many decoys more are wanted; return how many wait to be sealed now.

    Args:
        database: open `client.db`.
        project: 16 bytes.
        count: how many more.
        now: the client's time.

    Raises:
        ProjectError: fewer than one, or more than a project may have.
        ShreddedError: the project was shredded.
    """
    with database.transaction():
        current_kek(database, project)
        planted = int(database.scalar("SELECT count(*) FROM honey WHERE project = ?", project))
        if not 1 <= count <= MAX_HONEY - planted:
            raise ProjectError(
                f"{count} decoys can't be planted: a project has at most {MAX_HONEY}, and this one has {planted}",
                next_step="Choose another -n.",
            )
        rows = [(random_bytes(ID_BYTES), project, to_ms(now)) for _ in range(count)]
        database.execute_many("INSERT INTO honey VALUES (?, ?, ?)", rows)
        return count_pending(database, project)


def count_pending(database: Database, project: bytes) -> int:
    """Return how many of a project's decoys wait to be sealed."""
    return int(
        database.scalar(
            "SELECT count(*) FROM honey h LEFT JOIN items i ON i.item = h.item"
            " WHERE h.project = ? AND i.version IS NULL",
            project,
        )
    )


def records(database: Database, project: bytes) -> list[HoneyRecord]:
    """List a project's decoys, those that wait first, then by their ids."""
    rows = database.rows(
        "SELECT h.item, h.planted_ms, v.sealed_ms, v.payload_bytes FROM honey h"
        " LEFT JOIN items i ON i.item = h.item LEFT JOIN versions v ON v.item = i.item AND v.version = i.version"
        " WHERE h.project = ? ORDER BY v.sealed_ms IS NOT NULL, h.item",
        project,
    )
    return [
        HoneyRecord(bytes(item), from_ms(planted), None if sealed is None else from_ms(sealed), size)
        for item, planted, sealed, size in rows
    ]


def decoys_for(target: SealTarget, window: Sequence[NewVersion]) -> list[Decoy]:
    """Seal the waiting decoys that go along with a window, inside the transaction that reserves it.

    Never more than it has new items that stand in no queue, since that is what a decoy passes for: among items of its
    like that came at the same time it is one of at least twice as many, and a window of tasks alone takes none along.

    Args:
        target: where the window goes.
        window: new versions, each sealed.
    """
    like = [new for new in window if new.queue is None]
    database = target.database
    # By what is current, not by number: what a crash cut off is new again, and so are its decoys.
    room = sum(1 for new in like if not database.rows(_CURRENT, new.header.item))
    if not room:
        return []
    waiting = database.rows(
        "SELECT h.item, coalesce((SELECT max(version) FROM versions v WHERE v.item = h.item), 0) + 1 FROM honey h"
        " LEFT JOIN items i ON i.item = h.item WHERE h.project = ? AND i.version IS NULL ORDER BY h.item LIMIT ?",
        target.project,
        room,
    )
    if not waiting:
        return []
    sizes = _sizes(target, like)
    total = sum(new.payload_bytes for new in window)
    found = []
    for item, version in waiting:
        size = secrets.choice(sizes)
        if total + size > MAX_WINDOW_BYTES:
            break
        total += size
        found.append(
            _sealed(target, ItemHeader(ITEM_FORMAT, target.client, target.project, bytes(item), version), size)
        )
    return found


def _sizes(target: SealTarget, like: Sequence[NewVersion]) -> list[int]:
    """Return the sizes at the vault of all real items in no queue, but of those that go alone, as streams."""
    rows = target.database.rows(
        "SELECT v.payload_bytes FROM real_items i JOIN versions v ON v.item = i.item AND v.version = i.version"
        " WHERE i.project = ? AND i.kind != 'task'",
        target.project,
    )
    sizes = [size for (size,) in rows] + [new.payload_bytes for new in like]
    return [size for size in sizes if size <= _MAX_PAYLOAD_BYTES] or [sealed_size(target.floor_bytes)]


def _sealed(target: SealTarget, header: ItemHeader, payload_bytes: int) -> Decoy:
    name = header.item.hex()
    content = random_bytes(_CONTENT_BYTES)
    # A kind that nothing requires unless a row names its path; this one has none.
    metadata = Metadata("attachment", name, "application/octet-stream", len(content), (), ())
    sealed, dek = seal_item(header, metadata, content, floor_bytes=opened_size(payload_bytes))
    source = SourceItem(
        f"honey/{name}", metadata.kind, name, metadata.media_type, None, (), (), b"", (f"honey/{name}", None)
    )
    encoded = encode_record(metadata)
    return Decoy(
        NewVersion(source, header, None, encoded, len(sealed.payload), b"", sealed.digest, dek),
        sealed,
    )
