"""A project as its catalog has it: looked at, compared, given back. Nothing here seals, grants or destroys."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelvault.client.browsing import ItemFilter, ItemPage, find_item, page_items
from labelvault.client.comparing import compare_versions
from labelvault.client.export import export_project
from labelvault.client.honey import records
from labelvault.client.reading import Origin
from labelvault.client.records import ExportReport, HoneyRecord, ItemRecord, Progress, VersionComparison, VersionRecord
from labelvault.envelope.metadata import Metadata
from labelvault.wire.ids import ProjectId
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms

if TYPE_CHECKING:
    from labelvault.client.client import Client


class CatalogProject:
    """What a project consists of; `labelvault.client.Project` is what is used."""

    def __init__(self, client: "Client", project_id: ProjectId, name: str) -> None:
        self._client = client
        self.project_id = project_id
        self.name = name

    @property
    def shredded(self) -> bool:
        """Whether its keys are destroyed, or about to be."""
        query = "SELECT shredded_ms IS NOT NULL FROM projects WHERE project = ?"
        return bool(self._client.database.scalar(query, self.project_id))

    @property
    def frozen(self) -> bool:
        """Whether all releases are stopped."""
        return bool(self._client.database.scalar("SELECT frozen FROM projects WHERE project = ?", self.project_id))

    def items(self, kind: str | None = None) -> list[ItemRecord]:
        """List current versions, ordered by path, and rows of one file by their ids.

        Args:
            kind: only this one of guideline, rubric, gold, task, attachment.

        Raises:
            FormatError: no such kind.
        """
        return list(self.page(ItemFilter(kind=kind)).items)

    def page(self, wanted: ItemFilter, after: bytes | None = None, limit: int | None = None) -> ItemPage:
        """List a part of the current versions, ordered by path, and rows of one file by their ids.

        A part costs what it holds, however many items there are; only for the first one all are counted.

        Args:
            wanted: which.
            after: begin behind this item, 16 bytes: `next` of the part before.
            limit: at most so many; by default all.

        Raises:
            FormatError: no such kind.
            ProjectError: no such batch, or no such item to begin behind.
        """
        return page_items(self._client.database, self.project_id, wanted, after, limit)

    def find(self, name: str) -> bytes:
        """Return the id of an item.

        Args:
            name: a source as `ExportFault` has it, a name that one item alone has, or the id in hex, of which eight
                digits or more are enough where they fit one item alone.

        Raises:
            ProjectError: no item is named so, or several are.
        """
        return find_item(self._client.database, self.project_id, name)

    def versions(self, item: bytes) -> list[VersionRecord]:
        """List all versions of an item that were sealed, oldest first.

        Args:
            item: 16 bytes.
        """
        rows = self._client.database.rows(
            "SELECT v.version, v.metadata, v.payload_bytes, v.sealed_ms, v.version IS i.version"
            " FROM items i JOIN versions v ON v.item = i.item"
            " WHERE i.project = ? AND i.item = ? AND v.digest != x'' ORDER BY v.version",
            self.project_id,
            item,
        )
        return [
            VersionRecord(number, decode_record(Metadata, bytes(encoded)).size, payload, from_ms(ms), bool(current))
            for number, encoded, payload, ms, current in rows
        ]

    def export(
        self,
        folder: Path,
        versions: Sequence[tuple[bytes, int]] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ExportReport:
        """Give back what was sealed, byte for byte, out of catalog and vault.

        Files get their paths. Rows go into one file for each that they came from, in the order of their ids: `.jsonl`
        under its own name, other forms with `.jsonl` behind theirs. Settings are not sealed, and not given back.

        Args:
            folder: made, with mode 0700; it must not exist.
            versions: (item id, version) of all that is exported, each item once; by default every item's current one.
            progress: called after each item.

        Returns:
            What was written, and what was missing or altered at the vault, item by item.

        Raises:
            ProjectError: there is no such version, or an item is named twice; nothing was written.
            OutputError: the directory is there already or can't be made, or what was cut short can't be removed.
            RelayError: the vault can't be reached; what was written by then is whole.
            StoreError: the catalog can't be read.
        """
        return export_project(self._origin(), Path(folder), versions, progress)

    def compare(self, item: bytes, old: int, new: int | None = None) -> VersionComparison:
        """Compare two versions of an item: texts of up to 1 MiB line by line, everything by size and hash.

        Args:
            item: 16 bytes.
            old: a version.
            new: another one; by default the current one.

        Returns:
            Both, and perhaps their diff, which is plaintext.

        Raises:
            ProjectError: there is no such version.
            FormatError: both are one.
            TamperedError, DecryptionError: the vault served other bytes than were sealed.
            NotFoundError, RelayError: it has none, or is away.
        """
        if new is None:
            new = next((each.version for each in self.versions(item) if each.current), 0)
        return compare_versions(self._origin(), item, old, new)

    def honey(self) -> list[HoneyRecord]:
        """List the project's decoys, which nothing else here lists: those that wait to be sealed first."""
        return records(self._client.database, self.project_id)

    def batches(self) -> list[str]:
        """List the names of batches of tasks."""
        rows = self._client.database.rows(
            "SELECT name FROM batches WHERE project = ? AND gold = 0 ORDER BY name", self.project_id
        )
        return [str(row[0]) for row in rows]

    def _origin(self) -> Origin:
        client = self._client
        return Origin(client.database, client.relay, client.keks, client.client_id, self.project_id)
