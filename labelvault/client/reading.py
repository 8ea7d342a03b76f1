"""Reading back what was sealed: keys from the catalog, bytes from the vault, each checked before it is handed out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from labelvault.client.columns import source_place
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.ranges import SealedReader
from labelvault.envelope.seal import open_item
from labelvault.errors import ProjectError, ShreddedError, TamperedError
from labelvault.keys.kek import Kek, KekFiles, unwrap_dek, wrap_context
from labelvault.pipeline import ahead
from labelvault.relay.protocol import MAX_STREAM_PAYLOAD_BYTES, Relay
from labelvault.wire.items import ITEM_FORMAT, LEAF_BYTES, ItemHeader
from labelvault.wire.schema import decode_record


@dataclass(frozen=True, slots=True)
class Origin:
    """Where items are read from.

    Attributes:
        open_relay: reaches the vault, when it is needed first.
        client: 32 bytes.
        project: 16 bytes.
    """

    database: Database
    open_relay: Callable[[], Relay]
    keks: KekFiles
    client: bytes
    project: bytes

    @property
    def relay(self) -> Relay:
        """The way to the vault; may raise what opening it does."""
        return self.open_relay()


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of an item, as the catalog has it.

    Attributes:
        source: names the item within the project.
        path: of the file that the source names.
        is_row: whether it is a row of that file.
        digest: 32 bytes.
        encoded: its metadata.
        payload_bytes: size of what was stored.
    """

    header: ItemHeader
    source: str
    path: str
    is_row: bool
    digest: bytes
    encoded: bytes
    payload_bytes: int

    @property
    def metadata(self) -> Metadata:
        """What was sealed with the content."""
        return decode_record(Metadata, self.encoded)


_COLUMNS: Final = "SELECT i.item, i.kind, i.source, v.version, v.digest, v.metadata, v.payload_bytes"


def current_versions(origin: Origin) -> list[StoredVersion]:
    """Return the current version of every item of the project, but its decoys."""
    rows = origin.database.rows(
        f"{_COLUMNS} FROM real_items i JOIN versions v ON v.item = i.item AND v.version = i.version"
        " WHERE i.project = ?",
        origin.project,
    )
    return [_version(origin, *row) for row in rows]


def named_version(origin: Origin, item: bytes, version: int) -> StoredVersion:
    """Return one version of one item.

    Raises:
        ProjectError: there is none.
    """
    # A version without a digest was reserved, and never stored.
    row = origin.database.row(
        f"{_COLUMNS} FROM items i JOIN versions v ON v.item = i.item"
        " WHERE i.project = ? AND i.item = ? AND v.version = ? AND v.digest != x''",
        origin.project,
        item,
        version,
    )
    if row is None:
        raise ProjectError(
            f"item {item.hex()} has no version {version} in this project",
            next_step=f"See which there are: labelvault client ls PROJECT --versions {item.hex()}.",
        )
    return _version(origin, *row)


def _version(
    origin: Origin,
    item: bytes,
    kind: str,
    source: str,
    version: int,
    digest: bytes,
    encoded: bytes,
    payload_bytes: int,
) -> StoredVersion:
    header = ItemHeader(ITEM_FORMAT, origin.client, origin.project, bytes(item), version)
    path, is_row = source_place(kind, source)
    return StoredVersion(header, source, path, is_row, bytes(digest), bytes(encoded), payload_bytes)


class VersionReader:
    """Opens versions of one project's items; keeps the KEKs that it needed."""

    def __init__(self, origin: Origin) -> None:
        """Read from there."""
        self._origin = origin
        self._keks: dict[tuple[bytes, int], Kek] = {}

    def pieces(self, version: StoredVersion) -> Iterator[bytes]:
        """Yield an item's content in constant memory; a piece is checked against the catalog's digest before it leaves.

        Raises:
            TamperedError, DecryptionError: the vault served other bytes than were sealed.
            NotFoundError, RelayError: it has none, or is away.
            KeystoreError: the KEK can't be used.
        """
        header, relay = version.header, self._origin.relay
        dek = self._dek(version)
        name = (header.client, header.item, header.version)
        first = relay.read_item(*name, 0, LEAF_BYTES)
        if first.size <= LEAF_BYTES:
            opened = open_item(first.header, first.data, dek, expected=header, digest=version.digest)
            yield opened.content
            return
        if first.size > MAX_STREAM_PAYLOAD_BYTES:
            raise TamperedError("the vault served an item of a size that none has")
        leaves = relay.read_leaves(*name)
        read = partial(_read, relay, header)
        reader = SealedReader(first.header, header, version.digest, dek, first.size, leaves, read)
        try:
            yield from reader.pieces(ahead)
        finally:
            reader.close()

    def _dek(self, version: StoredVersion) -> SecretBytes:
        # Read only now, and in one transaction with its KEK: a rotation that goes on meanwhile destroys a generation
        # once no row names it.
        with self._origin.database.transaction():
            wrapped, kek_id, generation = self._origin.database.rows(
                "SELECT wrapped, kek_id, kek_generation FROM versions WHERE item = ? AND version = ?",
                version.header.item,
                version.header.version,
            )[0]
            if not wrapped:
                raise ShreddedError(f"the key of version {version.header.version} of {version.source!r} was destroyed")
            place = (bytes(kek_id), int(generation))
            if place not in self._keks:
                self._keks[place] = self._origin.keks.load(self._origin.project, *place)
        context = wrap_context(version.header.encode(), version.digest, *place)
        return unwrap_dek(self._keks[place], bytes(wrapped), context)


def _read(relay: Relay, header: ItemHeader, offset: int, length: int) -> bytes:
    return relay.read_item(header.client, header.item, header.version, offset, length).data
