"""What a run has read of a folder: how much of each file, not which rows, of which there may be millions."""

from collections import Counter
from collections.abc import Sequence

from labelvault.client.columns import source_place, task_source
from labelvault.client.importing import SourceItem
from labelvault.database import Database
from labelvault.errors import ProjectError


class Taken:
    """Counts items that were read, and are in the catalog; each comes once."""

    def __init__(self) -> None:
        self._whole = 0
        self._rows: Counter[str] = Counter()

    def add(self, source: SourceItem) -> None:
        """Count one."""
        path, is_row = source_place(source.kind, source.source)
        if is_row:
            self._rows[path] += 1
        else:
            self._whole += 1

    def gone(self, database: Database, project: bytes, errors: Sequence[ProjectError]) -> int:
        """Return how many items the catalog has that were not read; what is in a file with faults may still be there.

        Args:
            database: open `client.db`.
            project: 16 bytes.
            errors: what could not be read.
        """
        # In the order of the table: looked up by source, each row lies elsewhere in the file.
        left = database.scalar(
            "SELECT (SELECT count(*) FROM items NOT INDEXED WHERE project = ?1 AND version IS NOT NULL) -"
            " (SELECT count(*) FROM honey h JOIN items i ON i.item = h.item"
            "  WHERE h.project = ?1 AND i.version IS NOT NULL)",
            project,
        )
        left -= self._whole + self._rows.total()
        for file in {error.file for error in errors if error.file is not None}:
            name = task_source(file)
            # `$` is what sorts next to `#`.
            left += self._rows[file] - database.scalar(
                "SELECT count(*) FROM real_items WHERE project = ?1 AND version IS NOT NULL"
                " AND (source IN (?2, ?3) OR source > ?3 || '#' AND source < ?3 || '$')",
                project,
                file,
                name,
            )
        return int(left)
