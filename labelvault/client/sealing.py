"""Sealing a folder: only what changed, whole windows at a time, so that a crash loses nothing and repeats little.

A window is reserved in the catalog (version numbers and wraps), stored at the vault, then made current with its ledger
entries. A crash in between leaves reserved versions that nothing names; the next run seals those items again under the
next number. Decoys that wait go along, and windows are sorted by their random ids before they are stored, so that order
says nothing. A large file goes alone, as a stream: interrupted, it alone is sealed again.

While a full window is stored, by a process that sees ciphertext only, the next one is read and sealed: two cores are
busy, and a crash costs two windows at most.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from labelvault.errors import FormatError, ProjectError, StoreError
from labelvault.issuer.catalog import opened_together
from labelvault.relay.beside import Beside
from labelvault.relay.protocol import StoredItem
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record

WINDOW_ITEMS: Final = 4096
"""Rows go under random ids, all over their tables: a longer window touches each page of them less often. With as many
decoys it is still a batch that a vault takes."""
WINDOW_BYTES: Final = 32 * 1024 * 1024
_LOOKED_UP_ITEMS: Final = 512
_LOOKED_UP_BYTES: Final = 8 * 1024 * 1024


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
    under_way: list[NewVersion] = field(default_factory=list)
    beside: Beside | None = None
    batches: dict[tuple[str | None, bool], bytes | None] = field(default_factory=dict)
    groups: dict[tuple[str, tuple[str, ...]], _Group] = field(default_factory=dict)

    def add(self, pending: _Pending) -> None:
        """Put a sealed version into the window."""
        self.window.append(pending)
        self.window_bytes += len(pending.sealed.payload)


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
    try:
        for sources in _looked_up(folder.items()):
            known = _known(target, sources)
            for source in sources:
                try:
                    _take(source, known.get(source.source), target, run)
                except ProjectError as error:
                    folder.errors.append(error)
                except FormatError as error:
                    folder.errors.append(ProjectError(str(error), *source.place))
                if len(run.window) >= WINDOW_ITEMS or run.window_bytes >= WINDOW_BYTES:
                    _begin(target, run)
                run.meter.finished(source.size)
        _finish(target, run)
    finally:
        if run.beside is not None:
            run.beside.close()
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


def _looked_up(sources: Iterable[SourceItem]) -> Iterator[list[SourceItem]]:
    """Yield sources, as many at once as are looked up in the catalog by one statement."""
    part, size = list[SourceItem](), 0
    for source in sources:
        part.append(source)
        size += len(source.content)
        if len(part) >= _LOOKED_UP_ITEMS or size >= _LOOKED_UP_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalog has of a source.

    Attributes:
        item: its id.
        version: that is current; None if none is.
        highest: number that was taken; 0 if none was.
        source_hash: of the current version; None if there is none.
    """

    item: bytes
    version: int | None
    highest: int
    source_hash: bytes | None


def _known(target: SealTarget, sources: Sequence[SourceItem]) -> dict[str, _Known]:
    """Look sources up in the catalog."""
    rows = target.database.rows(
        "SELECT i.source, i.item, i.version, (SELECT max(version) FROM versions v WHERE v.item = i.item), c.source_hash"
        " FROM items i LEFT JOIN versions c ON c.item = i.item AND c.version = i.version"
        " WHERE i.project = ? AND i.source IN (?" + ", ?" * (_LOOKED_UP_ITEMS - 1) + ")",
        target.project,
        *(source.source for source in sources),
        *[None] * (_LOOKED_UP_ITEMS - len(sources)),
    )
    return {source: _Known(item, version, highest or 0, hashed) for source, item, version, highest, hashed in rows}


def _take(source: SourceItem, known: _Known | None, target: SealTarget, run: _Run) -> None:
    """Seal one source item into the window, unless it is in the catalog as it is."""
    metadata = item_metadata(source, run.items)
    encoded = encode_record(metadata)
    item = random_bytes(ID_BYTES) if known is None else known.item
    current = None if known is None else known.source_hash
    # A large file that is new is read once only: there is nothing to compare it with.
    found = None if source.large is not None and current is None else source_hash(source, encoded)
    if current is not None and found == current:
        run.tally["same"] += 1
    else:
        version = 1 if known is None else known.highest + 1
        header = ItemHeader(ITEM_FORMAT, target.client, target.project, item, version)
        if source.large is not None:
            _finish(target, run)
            _seal_large(source, source.large, header, metadata, found, target, run.meter)
        else:
            run.add(_sealed(source, header, metadata, encoded, found or b"", target, run))
        run.tally["new" if known is None or known.version is None else "changed"] += 1
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


def _begin(target: SealTarget, run: _Run) -> None:
    """Have a full window stored, once the one before it is; it becomes current with the next step."""
    if run.beside is None and target.beside is not None:
        run.beside = target.beside()
    window = _reserved(target, run)
    if run.beside is None:
        _put(target, window)
    else:
        run.beside.begin([_stored(pending) for pending in window])
    # Without the payloads, which may be 32 MiB.
    run.under_way = [pending.version for pending in window]


def _finish(target: SealTarget, run: _Run) -> None:
    """Store what is in the window, and make all that is stored current."""
    if window := _reserved(target, run):
        _put(target, window)
        with target.database.transaction():
            make_current(target, [pending.version for pending in window])


def _put(target: SealTarget, window: Sequence[_Pending]) -> None:
    with _as_refused():
        target.relay.put_items([_stored(pending) for pending in window])


def _reserved(target: SealTarget, run: _Run) -> list[_Pending]:
    """Make the window that was under way current, and reserve the next: whole each, or sealed again by the next run."""
    if run.under_way and run.beside is not None:
        with _as_refused():
            run.beside.settle()
    before, run.under_way = run.under_way, []
    window, run.window, run.window_bytes = run.window, [], 0
    if before or window:
        with target.database.transaction():
            if before:
                make_current(target, before)
            decoys = decoys_for(target, [pending.version for pending in window])
            window += [_Pending(decoy.version, decoy.sealed) for decoy in decoys]
            window.sort(key=lambda pending: pending.version.header.item)
            reserve(target, [pending.version for pending in window])
        run.tally["honey"] += len(decoys)
    return window


@contextmanager
def _as_refused() -> Iterator[None]:
    """Raise what a vault finds malformed as its failure, which ends the run: no source's fault, to go on after."""
    try:
        yield
    except FormatError as error:
        raise StoreError(f"the vault took nothing of a window: {error}") from error


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
