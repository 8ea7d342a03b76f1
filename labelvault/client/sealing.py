"""Sealing a folder: only what changed, whole windows at a time, so that a crash loses nothing and repeats little.

A window is reserved in the catalog (version numbers and wraps), stored at the vault, then made current with its ledger
entries. A crash in between leaves reserved versions that nothing names; the next run seals those items again under the
next number. Windows are shuffled before they are stored, so that order says nothing.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from labelvault.client.importing import ProjectFolder, SourceItem
from labelvault.client.records import OpeningSummary, SealReport
from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import SealedItem, seal_item
from labelvault.errors import FormatError, ProjectError
from labelvault.issuer.catalog import opened_together
from labelvault.keys.kek import Kek, wrap_context, wrap_dek
from labelvault.ledger.entries import Sealed
from labelvault.relay.protocol import Relay, StoredItem
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record
from labelvault.wire.times import to_ms

WINDOW_ITEMS: Final = 256
WINDOW_BYTES: Final = 32 * 1024 * 1024
_SOURCE_LABEL: Final = b"labelvault/v1/source\0"

Record = Callable[[list[Sealed]], None]
"""Appends entries to the ledger and signs a checkpoint, inside the open transaction."""


@dataclass(frozen=True, slots=True)
class SealTarget:
    """Where sealed items go.

    Attributes:
        client: 32 bytes.
        project: 16 bytes.
        floor_bytes: padding floor.
        kek: the project's.
        record: writes the ledger.
        now: the client's time.
    """

    database: Database
    relay: Relay
    client: bytes
    project: bytes
    floor_bytes: int
    kek: Kek
    record: Record
    now: datetime


@dataclass(frozen=True, slots=True)
class _Pending:
    """One sealed item version on its way to vault and catalog."""

    source: SourceItem
    header: ItemHeader
    sealed: SealedItem
    wrapped: bytes
    metadata: bytes
    source_hash: bytes
    batch: bytes | None
    is_new: bool


@dataclass(slots=True)
class _Run:
    """What one run has done so far."""

    items: dict[str, bytes] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    window: list[_Pending] = field(default_factory=list)
    groups: dict[tuple[str, tuple[str, ...]], list[bytes]] = field(default_factory=dict)


def seal_folder(
    folder: ProjectFolder, target: SealTarget, progress: Callable[[int, int], None] | None = None
) -> SealReport:
    """Seal what changed in a folder since it was last sealed.

    Args:
        folder: to read.
        target: where to.
        progress: called with items done and about how many there are.

    Returns:
        What was done, with every fault's file and line.

    Raises:
        StoreError, RelayError: catalog or vault failed; whole windows are done or not, and sealing again goes on.
    """
    run = _Run()
    total = folder.count() if progress else 0
    for done, source in enumerate(folder.items(), 1):
        try:
            _take(source, target, run)
        except ProjectError as error:
            folder.errors.append(error)
        except FormatError as error:
            folder.errors.append(ProjectError(str(error), *source.place))
        if len(run.window) >= WINDOW_ITEMS or sum(len(p.sealed.payload) for p in run.window) >= WINDOW_BYTES:
            _flush(target, run)
        if progress:
            progress(done, max(done, total))
    _flush(target, run)
    openings = _openings(folder, target, run)
    return SealReport(
        run.tally["new"],
        run.tally["changed"],
        run.tally["same"],
        _count_gone(folder, target, run),
        tuple(folder.errors),
        openings,
    )


def _take(source: SourceItem, target: SealTarget, run: _Run) -> None:
    """Seal one source item into the window, unless it is in the catalog as it is."""
    requires = []
    for path in source.requires:
        if path not in run.items:
            raise ProjectError(f"requires {path!r}, which could not be sealed", *source.place)
        requires.append(run.items[path])
    metadata = Metadata(
        source.kind,
        source.name,
        source.media_type,
        len(source.content),
        source.labels,
        tuple(sorted(set(requires))),
    )
    encoded = encode_record(metadata)
    batch_name = (source.batch or "").encode()
    source_hash = tagged_hash(
        _SOURCE_LABEL,
        len(batch_name).to_bytes(4, "big"),
        batch_name,
        len(encoded).to_bytes(4, "big"),
        encoded,
        source.content,
    )
    row = target.database.row(
        "SELECT i.item, i.version, (SELECT max(version) FROM versions v WHERE v.item = i.item), c.source_hash"
        " FROM items i LEFT JOIN versions c ON c.item = i.item AND c.version = i.version"
        " WHERE i.project = ? AND i.source = ?",
        target.project,
        source.source,
    )
    item = bytes(row[0]) if row else random_bytes(ID_BYTES)
    if row and row[3] is not None and bytes(row[3]) == source_hash:
        run.tally["same"] += 1
    else:
        header = ItemHeader(ITEM_FORMAT, target.client, target.project, item, (row[2] or 0) + 1 if row else 1)
        sealed, dek = seal_item(header, metadata, source.content, floor_bytes=target.floor_bytes)
        context = wrap_context(sealed.header, sealed.digest, target.kek.kek_id, target.kek.generation)
        wrapped = wrap_dek(target.kek, dek, context)
        is_new = row is None or row[1] is None
        batch = _batch_id(source, target)
        run.window.append(_Pending(source, header, sealed, wrapped, encoded, source_hash, batch, is_new))
        run.tally["new" if is_new else "changed"] += 1
    run.items[source.source] = item
    if source.kind == "task":
        run.groups.setdefault((source.batch or "", source.requires), []).append(item)


def _batch_id(source: SourceItem, target: SealTarget) -> bytes | None:
    if source.batch is None:
        return None
    gold = source.kind == "gold"
    with target.database.transaction():
        target.database.execute(
            "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?)",
            random_bytes(ID_BYTES),
            target.project,
            source.batch,
            gold,
        )
    return bytes(
        target.database.scalar(
            "SELECT batch FROM batches WHERE project = ? AND name = ? AND gold = ?",
            target.project,
            source.batch,
            gold,
        )
    )


def _flush(target: SealTarget, run: _Run) -> None:
    """Reserve, store, make current: the window is whole in vault, catalog and ledger, or will be sealed again."""
    window, run.window = run.window, []
    if not window:
        return
    random.SystemRandom().shuffle(window)
    database = target.database
    with database.transaction():
        for pending in window:
            _reserve(database, target, pending)
    target.relay.put_items([_stored(pending) for pending in window])
    with database.transaction():
        for pending in window:
            # Another run may have sealed a later version meanwhile: an older one never becomes current again.
            database.execute(
                "UPDATE items SET version = ?, name = ?, batch = ? WHERE item = ? AND coalesce(version, 0) < ?",
                pending.header.version,
                pending.source.name,
                pending.batch,
                pending.header.item,
                pending.header.version,
            )
        target.record(
            [
                Sealed(
                    at=target.now,
                    project=target.project,
                    item=pending.header.item,
                    version=pending.header.version,
                    digest=pending.sealed.digest,
                )
                for pending in window
            ]
        )


def _reserve(database: Database, target: SealTarget, pending: _Pending) -> None:
    source = pending.source
    database.execute(
        "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?, NULL)",
        pending.header.item,
        target.project,
        source.kind,
        source.source,
        source.name,
        pending.batch,
    )
    database.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        pending.header.item,
        pending.header.version,
        pending.sealed.digest,
        len(pending.sealed.payload),
        pending.wrapped,
        target.kek.kek_id,
        target.kek.generation,
        pending.source_hash,
        pending.metadata,
        to_ms(target.now),
    )


def _stored(pending: _Pending) -> StoredItem:
    # Only tasks stand in a queue: nothing tells the vendor what the rest is.
    queue = pending.batch if pending.source.kind == "task" else None
    return StoredItem(pending.sealed.header, pending.sealed.payload, pending.sealed.leaves, queue)


def _openings(folder: ProjectFolder, target: SealTarget, run: _Run) -> tuple[OpeningSummary, ...]:
    """Say what one opening brings, batch by batch; a task that could not be opened is a fault to report now."""
    found = []
    for (batch, _), items in sorted(run.groups.items()):
        try:
            versions = opened_together(target.database, target.client, items[0])
        except FormatError as error:
            folder.errors.append(ProjectError(f"tasks of batch {batch!r} could not be opened: {error}"))
            continue
        found.append(OpeningSummary(batch, len(items), tuple(sorted(v.metadata.name for v in versions[1:]))))
    return tuple(found)


def _count_gone(folder: ProjectFolder, target: SealTarget, run: _Run) -> int:
    faulty = {error.file for error in folder.errors}
    rows = target.database.rows("SELECT source FROM items WHERE project = ? AND version IS NOT NULL", target.project)
    return sum(1 for (source,) in rows if source not in run.items and source.partition("#")[0] not in faulty)
