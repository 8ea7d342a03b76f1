"""What a row's columns say: its id, its labels, the paths that it names.

A column that a row lacks is looked up in its `data`, where Label Studio keeps what a person wrote.
"""

import hashlib
import json
from typing import Any, Final

from labelvault.client.settings import Settings
from labelvault.envelope.metadata import MAX_REQUIRES, Label
from labelvault.errors import ProjectError

MAX_NAME_BYTES: Final = 1000
_ID_COLUMNS: Final = ("id", "task_id", "question_id", "uid")
_MAX_LABEL_BYTES: Final = 1000


class Row:
    """One row, with where it stands."""

    __slots__ = ("_columns", "_inner", "_line", "_path")

    def __init__(self, path: str, line: int, columns: dict[str, Any]) -> None:
        """Take a parsed row; path and line are for messages."""
        inner = columns.get("data")
        self._path, self._line, self._columns = path, line, columns
        self._inner: dict[str, Any] = inner if isinstance(inner, dict) else {}

    def get(self, column: str) -> Any:
        """Return a column of the row, or else of its `data`; None if neither has it."""
        value = self._columns.get(column)
        return self._inner.get(column) if value is None else value

    def id(self, content: bytes, column: str | None) -> str:
        """Return what names the row.

        Args:
            content: the row's bytes; a row without an id is named by their hash.
            column: that must hold the id; by default the first that the row has of four, then of its `data`.

        Raises:
            ProjectError: no text or number, empty or too long.
        """
        if column is None:
            tables = (self._columns, self._inner)
            column = next((name for table in tables for name in _ID_COLUMNS if table.get(name) is not None), None)
        if column is None:
            return hashlib.sha256(content).hexdigest()[:16]
        name = self.scalar(column)
        if not name or len(name.encode()) > MAX_NAME_BYTES // 2:
            raise self._error(f"column {column!r} must hold an id of 1 to {MAX_NAME_BYTES // 2} bytes")
        return name

    def scalar(self, column: str) -> str:
        """Return a text, or a number as JSON has it.

        Raises:
            ProjectError: the column holds something else, or nothing.
        """
        value = self.get(column)
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)):
            return json.dumps(value)
        raise self._error(f"column {column!r} must hold a text or number")

    def labels(self, settings: Settings) -> tuple[Label, ...]:
        """Return the labels that the row has of those declared.

        Raises:
            ProjectError: one is no text or number, or too long.
        """
        columns = [column for column in settings.label_columns if self.get(column) is not None]
        labels = tuple(Label(column, self.scalar(column)) for column in columns)
        for label in labels:
            if len(label.value.encode()) > _MAX_LABEL_BYTES:
                raise self._error(f"label column {label.name!r} holds more than 1,000 bytes")
        return labels

    def paths(self, settings: Settings) -> list[str]:
        """Return what the row requires by its columns.

        Raises:
            ProjectError: a column holds neither a path nor a list of paths, or too many.
        """
        wanted = [] if settings.requires_column is None else self._paths(settings.requires_column)
        for column in settings.attachment_columns:
            wanted += [_under_attachments(name) for name in self._paths(column)]
        return wanted

    def _paths(self, column: str) -> list[str]:
        value = self.get(column)
        # Tables have no other way to say that there is none.
        if value is None or value == "":
            return []
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._error(f"column {column!r} must hold a path or a list of paths")
        if len(names) > MAX_REQUIRES:
            raise self._error(f"column {column!r} holds more than {MAX_REQUIRES} paths")
        return list(names)

    def _error(self, message: str) -> ProjectError:
        return ProjectError(message, self._path, self._line)


def _under_attachments(name: str) -> str:
    return name if name.startswith("attachments/") else f"attachments/{name}"


def row_source(path: str, name: str) -> str:
    """Return what names a row within the project; `#` in the path is escaped, so that no two rows share a name."""
    return f"{task_source(path)}#{name}"


def task_source(path: str) -> str:
    """Return what names a file that is one task; it has no `#`, so no row has this name."""
    return path.replace("%", "%25").replace("#", "%23")


def source_place(kind: str, source: str) -> tuple[str, bool]:
    """Return the path of the file that a source names, and whether it is a row of it.

    Args:
        kind: of the item.
        source: as the catalog has it.
    """
    if kind != "task":
        return source, False
    path, mark, _ = source.partition("#")
    return path.replace("%23", "#").replace("%25", "%"), bool(mark)
