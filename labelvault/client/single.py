"""Sealing one file of a project from a stream of unknown length, without its folder."""

from dataclasses import dataclass
from pathlib import Path

from labelvault.client.files import HashedSource
from labelvault.client.importing import SourceItem
from labelvault.client.places import Place, given_place
from labelvault.client.records import SealedFile
from labelvault.client.spool import Spool, spooled
from labelvault.client.streaming import seal_as_stream, source_state
from labelvault.client.versions import SealTarget
from labelvault.crypto.random import random_bytes
from labelvault.envelope.metadata import MAX_CONTENT_BYTES, MAX_REQUIRES, MAX_STREAM_BYTES, Label, Metadata
from labelvault.envelope.stream import ByteSource
from labelvault.errors import FormatError, ProjectError
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import decode_record, encode_record


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalog has of a file.

    Attributes:
        item: 16 bytes; drawn now if there is none yet.
        version: the current one; 0 if there is none.
        last: the last number that was taken.
        source_hash: of the current version; 32 bytes, or none.
    """

    item: bytes
    version: int
    last: int
    source_hash: bytes
    labels: tuple[Label, ...]
    requires: tuple[bytes, ...]


def seal_file(target: SealTarget, path: str, stream: ByteSource, spool_folder: Path) -> SealedFile:
    """Seal what a stream gives as one file; see `Project.seal_file`.

    Args:
        target: where to.
        path: in the project.
        stream: read to its end.
        spool_folder: on whose file system the content waits, encrypted.

    Raises:
        ProjectError: no such path, or what the stream gives is no file of one item.
        FormatError: too large for the way to the vault.
        StoreError, RelayError: spool, catalog or vault failed.
    """
    place = given_place(path)
    most = MAX_CONTENT_BYTES if place.kind == "task" else MAX_STREAM_BYTES
    with spooled(stream, spool_folder, place=path, max_bytes=most) as spool:
        return _seal(target, place, spool)


def _seal(target: SealTarget, place: Place, spool: Spool) -> SealedFile:
    known = _known(target, place)
    metadata = Metadata(place.kind, place.name, place.media_type, spool.size, known.labels, known.requires)
    encoded = encode_record(metadata)
    expected: bytes | None = None
    if known.version:
        expected = _hash(spool, place, encoded)
        if expected == known.source_hash:
            return SealedFile(known.item, "same", known.version, spool.size)
    source = SourceItem(
        place.source,
        place.kind,
        place.name,
        place.media_type,
        place.batch,
        known.labels,
        (),
        b"",
        (place.path, None),
    )
    header = ItemHeader(ITEM_FORMAT, target.client, target.project, known.item, known.last + 1)
    hashed = HashedSource(spool.reader(), source_state(place.batch, encoded), expected, place.path)
    try:
        seal_as_stream(source, hashed, header, metadata, target)
    except FormatError as error:
        raise ProjectError(str(error), place.path) from error
    return SealedFile(known.item, "changed" if known.version else "new", header.version, spool.size)


def _hash(spool: Spool, place: Place, encoded: bytes) -> bytes:
    state, reader = source_state(place.batch, encoded), spool.reader()
    while data := reader.read(1024 * 1024):
        state.update(data)
    return bytes(state.digest())


def _known(target: SealTarget, place: Place) -> _Known:
    row = target.database.row(
        "SELECT i.item, i.version, (SELECT max(version) FROM versions v WHERE v.item = i.item),"
        " c.source_hash, c.metadata"
        " FROM items i LEFT JOIN versions c ON c.item = i.item AND c.version = i.version"
        " WHERE i.project = ? AND i.source = ?",
        target.project,
        place.source,
    )
    item, last = (bytes(row[0]), int(row[2] or 0)) if row else (random_bytes(ID_BYTES), 0)
    if row is not None and row[1] is not None:
        metadata = decode_record(Metadata, bytes(row[4]))
        return _Known(item, int(row[1]), last, bytes(row[3]), metadata.labels, metadata.requires)
    return _Known(item, 0, last, b"", (), _guidelines(target) if place.kind == "task" else ())


def _guidelines(target: SealTarget) -> tuple[bytes, ...]:
    """Return what a task without settings requires: every guideline that is sealed."""
    rows = target.database.rows(
        "SELECT item FROM items WHERE project = ? AND kind = 'guideline' AND version IS NOT NULL ORDER BY item",
        target.project,
    )
    if len(rows) > MAX_REQUIRES:
        raise ProjectError(f"the project has {len(rows)} guidelines, and a task requires at most {MAX_REQUIRES}")
    return tuple(bytes(row[0]) for row in rows)
