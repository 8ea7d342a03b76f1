"""Sealing a folder: only what changed, whole windows at a time, so that a crash loses nothing and repeats little.

A window is reserved in the catalog (version numbers and wraps), stored at the vault, then made current with its ledger
entries. A crash in between leaves reserved versions that nothing names; the next run seals those items again under the
next number. Decoys that wait go along, and windows are shuffled before they are stored, so that order says nothing. A
large file goes alone, as a stream: interrupted, it alone is sealed again.

While one window is stored, in a thread of its own, the next is read and sealed: disk and cores are busy at once, and a
crash costs two windows at most.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from labelvault.client.files import HashedSource, LargeFile
from labelvault.client.honey import count_pending, decoys_for
from labelvault.client.importing import ProjectFolder, SourceItem
from labelvault.client.meter import Meter
from labelvault.client.records import OpeningSummary, Progress, SealReport
from labelvault.client.streaming import seal_as_stream, source_state
from labelvault.client.taken import Taken
from labelvault.client.versions import NewVersion, SealTarget, batch_id, make_current, reserve
from labelvault.crypto.random import random_bytes
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import SealedItem, seal_item
from labelvault.errors import FormatError, ProjectError
from labelvault.issuer.catalog import opened_together
from labelvault.relay.protocol import StoredItem
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record

WINDOW_ITEMS: Final = 512
WINDOW_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Pending:
    """One sealed item version on its way to vault and catalog."""

    version: NewVersion
    sealed: SealedItem


@dataclass(slots=True)
class _Group:
    """Tasks of one batch that bring the same with them: the first of them, and how many they are."""

    first: bytes
    count: int = 0


@dataclass(slots=True)
class _Run:
    """What one run has done so far."""

    meter: Meter
    items: dict[str, bytes] = field(default_factory=dict)
    taken: Taken = field(default_factory=Taken)
    tally: Counter[str] = field(default_factory=Counter)
    window: list[_Pending] = field(default_factory=list)
    window_bytes: int = 0
    store: Callable[..., Future[None]] | None = None
    under_way: Future[None] | None = None
    batches: dict[tuple[str | None, bool], bytes | None] = field(default_factory=dict)
    groups: dict[tuple[str, tuple[str, ...]], _Group] = field(default_factory=dict)

    def add(self, pending: _Pending) -> None:
        """Put a sealed version into the window."""
        self.window.append(pending)
        self.window_bytes += len(pending.sealed.payload)

    def settle(self) -> None:
        """Wait for the window that is being stored; raise what it raised."""
        under_way, self.under_way = self.under_way, None
        if under_way is not None:
            under_way.result()


def seal_folder(
    folder: ProjectFolder, target: SealTarget, progress: Callable[[Progress], None] | None = None
) -> SealReport:
    """Seal what changed in a folder since it was last sealed.

    Args:
        folder: to read.
        target: where to.
        progress: called after each item, and after each piece of a large one.

    Returns:
        What was done, with every fault's file and line.

    Raises:
        StoreError, RelayError: catalog or vault failed; whole windows are done or not, and sealing again goes on.
    """
    run = _Run(Meter(progress, folder.count() if progress else 0, folder.size))
    # Leaving the block waits for the window that is under way: it becomes whole, or raises.
    with ThreadPoolExecutor(1, thread_name_prefix="labelvault-seal") as storing:
        run.store = storing.submit
        for source in folder.items():
            try:
                _take(source, target, run)
            except ProjectError as error:
                folder.errors.append(error)
            except FormatError as error:
                folder.errors.append(ProjectError(str(error), *source.place))
            if len(run.window) >= WINDOW_ITEMS or run.window_bytes >= WINDOW_BYTES:
                _flush(target, run)
            run.meter.finished(source.size)
        _flush(target, run)
        run.settle()
    openings = _openings(folder, target, run)
    return SealReport(
        run.tally["new"],
        run.tally["changed"],
        run.tally["same"],
        run.taken.gone(target.database, target.project, folder.errors),
        tuple(folder.errors),
        openings,
        run.tally["honey"],
        count_pending(target.database, target.project),
    )


def _take(source: SourceItem, target: SealTarget, run: _Run) -> None:
    """Seal one source item into the window, unless it is in the catalog as it is."""
    metadata = item_metadata(source, run.items)
    encoded = encode_record(metadata)
    row = target.database.row(
        "SELECT i.item, i.version, (SELECT max(version) FROM versions v WHERE v.item = i.item), c.source_hash"
        " FROM items i LEFT JOIN versions c ON c.item = i.item AND c.version = i.version"
        " WHERE i.project = ? AND i.source = ?",
        target.project,
        source.source,
    )
    item = bytes(row[0]) if row else random_bytes(ID_BYTES)
    known = bytes(row[3]) if row and row[3] is not None else None
    # A large file that is new is read once only: there is nothing to compare it with.
    found = None if source.large is not None and known is None else source_hash(source, encoded)
    if known is not None and found == known:
        run.tally["same"] += 1
    else:
        header = ItemHeader(ITEM_FORMAT, target.client, target.project, item, (row[2] or 0) + 1 if row else 1)
        if source.large is not None:
            _flush(target, run)
            run.settle()
            _seal_large(source, source.large, header, metadata, found, target, run.meter)
        else:
            run.add(_sealed(source, header, metadata, encoded, found or b"", target, run))
        run.tally["new" if row is None or row[1] is None else "changed"] += 1
    run.taken.add(source)
    if source.kind != "task":
        run.items[source.source] = item
    else:
        run.groups.setdefault((source.batch or "", source.requires), _Group(item)).count += 1


def item_metadata(source: SourceItem, items: Mapping[str, bytes]) -> Metadata:
    """Return what is sealed with a source item.

    Args:
        source: the item.
        items: ids of files that were read before it, by source.

    Raises:
        ProjectError: it requires what is not among them.
    """
    requires = []
    for path in source.requires:
        if path not in items:
            raise ProjectError(f"requires {path!r}, which could not be sealed", *source.place)
        requires.append(items[path])
    return Metadata(
        source.kind,
        source.name,
        source.media_type,
        source.size,
        source.labels,
        tuple(sorted(set(requires))),
    )


def source_hash(source: SourceItem, encoded: bytes) -> bytes:
    """Return the hash by which a change is noticed: over batch, metadata and content.

    Raises:
        ProjectError: a large file can't be read, or changed meanwhile.
    """
    state = source_state(source.batch, encoded)
    if source.large is not None:
        return source.large.hash(state)
    state.update(source.content)
    return bytes(state.digest())


def _sealed(
    source: SourceItem,
    header: ItemHeader,
    metadata: Metadata,
    encoded: bytes,
    hashed: bytes,
    target: SealTarget,
    run: _Run,
) -> _Pending:
    sealed, dek = seal_item(header, metadata, source.content, floor_bytes=target.floor_bytes, encoded=encoded)
    batch = (source.batch, source.kind == "gold")
    if batch not in run.batches:
        run.batches[batch] = batch_id(target, source)
    new = NewVersion(
        source,
        header,
        run.batches[batch],
        encoded,
        len(sealed.payload),
        hashed,
        sealed.digest,
        dek,
    )
    return _Pending(new, sealed)


def _seal_large(
    source: SourceItem,
    large: LargeFile,
    header: ItemHeader,
    metadata: Metadata,
    expected: bytes | None,
    target: SealTarget,
    meter: Meter,
) -> None:
    state = source_state(source.batch, encode_record(metadata))
    with large.open() as stream:
        hashed = HashedSource(stream, state, expected, large.place, meter.passed)
        seal_as_stream(source, hashed, header, metadata, target)


def _flush(target: SealTarget, run: _Run) -> None:
    """Hand the window over to be stored, once the one before it is."""
    window, run.window, run.window_bytes = run.window, [], 0
    run.settle()
    if window and run.store is not None:
        run.under_way = run.store(_store, target, window, run.tally)


def _store(target: SealTarget, window: list[_Pending], tally: Counter[str]) -> None:
    """Reserve, store, make current: the window is whole in vault, catalog and ledger, or will be sealed again."""
    database = target.database
    with database.transaction():
        decoys = decoys_for(target, [pending.version for pending in window])
        window += [_Pending(decoy.version, decoy.sealed) for decoy in decoys]
        random.SystemRandom().shuffle(window)
        reserve(target, [pending.version for pending in window])
    target.relay.put_items([_stored(pending) for pending in window])
    with database.transaction():
        make_current(target, [pending.version for pending in window])
    tally["honey"] += len(decoys)


def _stored(pending: _Pending) -> StoredItem:
    return StoredItem(pending.sealed.header, pending.sealed.payload, pending.sealed.leaves, pending.version.queue)


def _openings(folder: ProjectFolder, target: SealTarget, run: _Run) -> tuple[OpeningSummary, ...]:
    """Say what one opening brings, batch by batch; a task that could not be opened is a fault to report now."""
    found = []
    for (batch, _), group in sorted(run.groups.items(), key=lambda each: each[0]):
        try:
            versions = opened_together(target.database, target.client, group.first)
        except FormatError as error:
            folder.errors.append(ProjectError(f"tasks of batch {batch!r} could not be opened: {error}"))
            continue
        found.append(OpeningSummary(batch, group.count, tuple(sorted(v.metadata.name for v in versions[1:]))))
    return tuple(found)
