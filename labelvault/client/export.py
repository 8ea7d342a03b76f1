"""Giving back what was sealed: files and rows of a new directory, each whole or not at all."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from labelvault.client.meter import Meter
from labelvault.client.reading import Origin, StoredVersion, VersionReader, current_versions, named_version
from labelvault.client.records import ExportFault, ExportReport, Progress
from labelvault.client.tree import NewFile, NewTree
from labelvault.envelope.metadata import Metadata
from labelvault.errors import LabelVaultError, OutputError, ProjectError, RelayError
from labelvault.wire.schema import decode_record

_MAX_AWAY: Final = 3
"""A vault that does not answer for so many items in a row is away, not hiding one."""


class _Run:
    """One export: what it has opened, and what went wrong."""

    def __init__(self, origin: Origin, tree: NewTree, meter: Meter) -> None:
        self._reader, self._tree, self._meter = VersionReader(origin), tree, meter
        self._away = 0
        self.items = self.files = 0
        self.faults: list[ExportFault] = []

    def file(self, version: StoredVersion, target: str) -> None:
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

    def _copied(self, version: StoredVersion, stream: NewFile) -> BaseException | None:
        try:
            for piece in self._reader.pieces(version):
                self._away = 0
                stream.write(piece)
                self._meter.passed(len(piece))
        except BaseException as error:  # noqa: BLE001 - raised again or reported by the caller, who removes the file
            return error
        return None

    def rows(self, versions: Iterable[StoredVersion], target: str) -> None:
        """Write rows into one file, each whole or not at all; a file without any row is not made."""
        stream: NewFile | None = None
        try:
            for version in versions:
                try:
                    row = b"".join(self._reader.pieces(version))
                    self._away = 0
                    stream = stream or self._tree.new_file(target)
                    stream.write(row + b"\n")
                    self.items += 1
                except LabelVaultError as error:
                    self._failed(version, error)
        finally:
            if stream is not None:
                self.files += 1
                stream.close()

    def _failed(self, version: StoredVersion, error: LabelVaultError) -> None:
        self._away = self._away + 1 if isinstance(error, RelayError) else 0
        if self._away >= _MAX_AWAY:
            raise error
        self.faults.append(ExportFault(version.source, version.header.item, version.header.version, error))


def export_project(
    origin: Origin,
    folder: Path,
    versions: Sequence[tuple[bytes, int]] | None,
    progress: Callable[[Progress], None] | None = None,
) -> ExportReport:
    """Write what was sealed into a new directory.

    Args:
        origin: where items are read from.
        folder: made, with mode 0700.
        versions: (item id, version) of all that is exported; by default the current version of every item.
        progress: called after each item, and after each piece of a large one.

    Returns:
        What was written, and what was not, item by item.

    Raises:
        ProjectError: there is no such version, or an item is named twice.
        OutputError: the directory is there already, or can't be written any more; what is in it is whole.
        RelayError: the vault is away.
        StoreError: the catalog can't be read.
    """
    if versions is not None and len({item for item, _ in versions}) < len(versions):
        raise ProjectError("of each item one version is exported", next_step="Name each item once.")
    named = current_versions(origin) if versions is None else [named_version(origin, *each) for each in versions]
    found = sorted(named, key=_order)
    targets = _targets(found)
    with NewTree(folder) as tree:
        meter = Meter(progress, len(found), sum(_size(version) for version in found))
        run = _Run(origin, tree, meter)
        for (path, is_row), group in groupby(
            _watched(found, meter), key=lambda version: (version.path, version.is_row)
        ):
            if is_row:
                run.rows(group, targets[path, True])
                continue
            for version in group:
                run.file(version, targets[path, False])
    return ExportReport(run.items, run.files, tuple(run.faults))


def _watched(versions: Sequence[StoredVersion], meter: Meter) -> Iterator[StoredVersion]:
    """Yield versions, and report each once the next one is asked for: it is done by then."""
    for version in versions:
        yield version
        meter.finished(_size(version))


def _size(version: StoredVersion) -> int:
    return decode_record(Metadata, version.encoded).size


def _order(version: StoredVersion) -> tuple[str, bool, str]:
    return version.path, version.is_row, version.source


def _targets(versions: Iterable[StoredVersion]) -> dict[tuple[str, bool], str]:
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
