"""Giving back what was sealed: keys from the catalog, bytes from the vault, checked before any of them is written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

from labelvault.client.columns import source_place
from labelvault.client.records import ExportFault, ExportReport
from labelvault.client.tree import NewFile, NewTree
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.envelope.ranges import SealedReader
from labelvault.envelope.seal import open_item
from labelvault.errors import LabelVaultError, OutputError, ProjectError, RelayError, TamperedError
from labelvault.keys.kek import Kek, KekFiles, unwrap_dek, wrap_context
from labelvault.relay.protocol import MAX_STREAM_PAYLOAD_BYTES, Relay
from labelvault.wire.items import ITEM_FORMAT, LEAF_BYTES, ItemHeader

_MAX_AWAY: Final = 3
"""A vault that does not answer for so many items in a row is away, not hiding one."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """Where items are read from.

    Attributes:
        client: 32 bytes.
        project: 16 bytes.
    """

    database: Database
    relay: Relay
    keks: KekFiles
    client: bytes
    project: bytes


@dataclass(frozen=True, slots=True)
class _Version:
    header: ItemHeader
    source: str
    path: str
    is_row: bool
    digest: bytes
    wrapped: bytes
    kek_id: bytes
    generation: int


class _Run:
    """One export: what it has opened, and what went wrong."""

    def __init__(self, origin: ExportSource, tree: NewTree) -> None:
        self._origin, self._tree = origin, tree
        self._keks: dict[tuple[bytes, int], Kek] = {}
        self._away = 0
        self.items = self.files = 0
        self.faults: list[ExportFault] = []

    def file(self, version: _Version, target: str) -> None:
        """Write an item as a file of its own, whole or not at all."""
        try:
            with self._tree.new_file(target) as stream:
                fault = self._copied(version, stream)
        except OutputError as error:
            self._failed(version, error)
            return
        if fault is None:
            self.items, self.files = self.items + 1, self.files + 1
            return
        # Every byte of it was checked, but its end is missing.
        self._tree.remove(target)
        if not isinstance(fault, LabelVaultError):
            raise fault
        self._failed(version, fault)

    def _copied(self, version: _Version, stream: NewFile) -> BaseException | None:
        try:
            for piece in self._pieces(version):
                stream.write(piece)
        except BaseException as error:  # noqa: BLE001 - raised again or reported by the caller, who removes the file
            return error
        return None

    def rows(self, versions: Iterable[_Version], target: str) -> None:
        """Write rows into one file, each whole or not at all; a file without any row is not made."""
        stream: NewFile | None = None
        try:
            for version in versions:
                try:
                    row = b"".join(self._pieces(version))
                    stream = stream or self._tree.new_file(target)
                    stream.write(row + b"\n")
                    self.items += 1
                except LabelVaultError as error:
                    self._failed(version, error)
        finally:
            if stream is not None:
                self.files += 1
                stream.close()

    def _failed(self, version: _Version, error: LabelVaultError) -> None:
        self._away = self._away + 1 if isinstance(error, RelayError) else 0
        if self._away >= _MAX_AWAY:
            raise error
        self.faults.append(ExportFault(version.source, version.header.item, version.header.version, error))

    def _pieces(self, version: _Version) -> Iterator[bytes]:
        """Yield an item's content; each piece is checked against the catalog's digest before it is handed out."""
        header, relay = version.header, self._origin.relay
        dek = self._dek(version)
        name = (header.client, header.item, header.version)
        first = relay.read_item(*name, 0, LEAF_BYTES)
        if first.size <= LEAF_BYTES:
            opened = open_item(first.header, first.data, dek, expected=header, digest=version.digest)
            self._away = 0
            yield opened.content
            return
        if first.size > MAX_STREAM_PAYLOAD_BYTES:
            raise TamperedError("the vault served an item of a size that none has")
        leaves = relay.read_leaves(*name)
        read = partial(_read, relay, header)
        reader = SealedReader(first.header, header, version.digest, dek, first.size, leaves, read)
        self._away = 0
        try:
            yield from reader.pieces()
        finally:
            reader.close()

    def _dek(self, version: _Version) -> SecretBytes:
        place = (version.kek_id, version.generation)
        if place not in self._keks:
            self._keks[place] = self._origin.keks.load(self._origin.project, *place)
        context = wrap_context(version.header.encode(), version.digest, *place)
        return unwrap_dek(self._keks[place], version.wrapped, context)


def export_project(origin: ExportSource, folder: Path, versions: Sequence[tuple[bytes, int]] | None) -> ExportReport:
    """Write what was sealed into a new directory.

    Args:
        origin: where items are read from.
        folder: made, with mode 0700.
        versions: (item id, version) of all that is exported; by default the current version of every item.

    Returns:
        What was written, and what was not, item by item.

    Raises:
        ProjectError: there is no such version, or an item is named twice.
        OutputError: the directory is there already, or can't be written any more; what is in it is whole.
        RelayError: the vault is away.
        StoreError: the catalog can't be read.
    """
    if versions is not None and len({item for item, _ in versions}) < len(versions):
        raise ProjectError("of each item one version is exported")
    named = _current(origin) if versions is None else [_named(origin, *each) for each in versions]
    found = sorted(named, key=_order)
    targets = _targets(found)
    with NewTree(folder) as tree:
        run = _Run(origin, tree)
        for (path, is_row), group in groupby(found, key=lambda version: (version.path, version.is_row)):
            if is_row:
                run.rows(group, targets[path, True])
                continue
            for version in group:
                run.file(version, targets[path, False])
    return ExportReport(run.items, run.files, tuple(run.faults))


_SELECT: Final = (
    "SELECT i.item, i.kind, i.source, v.version, v.digest, v.wrapped, v.kek_id, v.kek_generation"
    " FROM items i JOIN versions v ON v.item = i.item"
)


def _current(origin: ExportSource) -> list[_Version]:
    rows = origin.database.rows(f"{_SELECT} AND v.version = i.version WHERE i.project = ?", origin.project)
    return [_version(origin, *row) for row in rows]


def _named(origin: ExportSource, item: bytes, version: int) -> _Version:
    # A version without a digest was reserved, and never stored.
    row = origin.database.row(
        f"{_SELECT} WHERE i.project = ? AND i.item = ? AND v.version = ? AND v.digest != x''",
        origin.project,
        item,
        version,
    )
    if row is None:
        raise ProjectError(f"item {item.hex()} has no version {version} in this project")
    return _version(origin, *row)


def _version(
    origin: ExportSource,
    item: bytes,
    kind: str,
    source: str,
    version: int,
    digest: bytes,
    wrapped: bytes,
    kek_id: bytes,
    generation: int,
) -> _Version:
    header = ItemHeader(ITEM_FORMAT, origin.client, origin.project, bytes(item), version)
    path, is_row = source_place(kind, source)
    return _Version(header, source, path, is_row, bytes(digest), bytes(wrapped), bytes(kek_id), generation)


def _order(version: _Version) -> tuple[str, bool, str]:
    return version.path, version.is_row, version.source


def _targets(versions: Iterable[_Version]) -> dict[tuple[str, bool], str]:
    """Return each file's name: its own, or for rows of what was no JSONL, that with `.jsonl` behind it."""
    places = dict.fromkeys((version.path, version.is_row) for version in versions)
    kept = {place: place[0] for place in places if not place[1] or place[0].lower().endswith(".jsonl")}
    taken = set(kept.values())
    for place in places:
        if place not in kept:
            name = f"{place[0]}.jsonl"
            while name in taken:
                name = f"{name.removesuffix('.jsonl')}-2.jsonl"
            taken.add(name)
            kept[place] = name
    return kept


def _read(relay: Relay, header: ItemHeader, offset: int, length: int) -> bytes:
    return relay.read_item(header.client, header.item, header.version, offset, length).data
