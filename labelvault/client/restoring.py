"""Making an old version current again: it is read back from the vault and sealed anew, never pointed at.

The new version has its own number, DEK and ledger entry, so that what contractors saw as current only ever moves on.
"""

from collections.abc import Iterator
from dataclasses import replace

from labelvault.client.files import HashedSource
from labelvault.client.importing import SourceItem
from labelvault.client.reading import Origin, StoredVersion, VersionReader, named_version
from labelvault.client.records import RestoredVersion
from labelvault.client.streaming import seal_as_stream, source_state
from labelvault.client.versions import SealTarget
from labelvault.crypto.aead import opened_size
from labelvault.errors import ProjectError
from labelvault.wire.items import ITEM_FORMAT, ItemHeader


class PieceSource:
    """Gives what pieces hold, in reads of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Take pieces one by one, as they are needed."""
        self._pieces = pieces
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end. What the pieces raise goes through."""
        while not self._ready:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._ready = piece
        given, self._ready = self._ready[:size], self._ready[size:]
        return given


def restore_version(origin: Origin, target: SealTarget, item: bytes, version: int) -> RestoredVersion:
    """Seal the content and metadata of an old version again, in constant memory; see `Project.restore_version`.

    Args:
        origin: where it is read from.
        target: where it is sealed to.
        item: 16 bytes.
        version: not the current one.

    Raises:
        ProjectError: no such version, or it is current.
    """
    old = named_version(origin, item, version)
    if version == _state(target, item)[0]:
        raise ProjectError(f"version {version} of {old.source!r} is the current one already")
    made = seal_again(origin, target, old)
    return RestoredVersion(item, old.source, old.path, version, made, old.metadata.size)


def seal_again(origin: Origin, target: SealTarget, old: StoredVersion) -> int:
    """Seal content and metadata of a version again, as the item's next version, and return that one's number.

    Raises:
        TamperedError, DecryptionError: the vault served other bytes than were sealed; nothing was changed.
        StoreError, RelayError, ShreddedError, FormatError, KeystoreError: as `Project.restore_version`.
    """
    item, metadata = old.header.item, old.metadata
    _, last, batch = _state(target, item)
    source = SourceItem(
        old.source,
        metadata.kind,
        metadata.name,
        metadata.media_type,
        batch,
        metadata.labels,
        (),
        b"",
        (old.path, None),
    )
    header = ItemHeader(ITEM_FORMAT, target.client, target.project, item, last + 1)
    content = PieceSource(VersionReader(origin).pieces(old))
    hashed = HashedSource(content, source_state(batch, old.encoded), None, old.path)
    # Padded as it was then: a floor of that time's labelvault.toml is nowhere else on record.
    floor_bytes = max(target.floor_bytes, opened_size(old.payload_bytes))
    seal_as_stream(source, hashed, header, metadata, replace(target, floor_bytes=floor_bytes))
    return header.version


def _state(target: SealTarget, item: bytes) -> tuple[int, int, str | None]:
    """Return an item's current and last version, and the name of its batch, which is the item's and no version's."""
    current, last, batch = target.database.rows(
        "SELECT i.version, (SELECT max(version) FROM versions v WHERE v.item = i.item), b.name"
        " FROM items i LEFT JOIN batches b ON b.batch = i.batch WHERE i.item = ?",
        item,
    )[0]
    return int(current or 0), int(last), None if batch is None else str(batch)
