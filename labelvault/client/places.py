"""What a path in a project folder makes of a file: its kind, name, batch and media type."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from labelvault.client.columns import MAX_NAME_BYTES, task_source
from labelvault.client.files import media_type
from labelvault.client.rows import holds_rows
from labelvault.errors import ProjectError

FOLDERS: Final = {
    "attachments": "attachment",
    "guidelines": "guideline",
    "rubrics": "rubric",
    "gold": "gold",
}
TASKS: Final = "tasks"
_TASK_TYPES: Final = (
    "text/",
    "image/",
    "audio/",
    "video/",
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)
"""Of files that are a task each; others, spreadsheets and backups for example, more likely lie there by mistake."""
_MAX_PART_BYTES: Final = 255
"""Of a file's or folder's name on common file systems."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one file belongs.

    Attributes:
        path: relative to the folder.
        source: names the item within the project.
        name: what people call it.
        batch: its name, for tasks and gold.
    """

    path: str
    kind: str
    source: str
    name: str
    media_type: str
    batch: str | None


def file_place(path: str) -> Place:
    """Return the place of a file that is one item.

    Args:
        path: begins with `tasks` or one of `FOLDERS`.

    Raises:
        ProjectError: the path is too long, or no task is read from such a file.
    """
    folder, _, name = path.partition("/")
    is_task, kind = folder == TASKS, media_type(path)
    if is_task and not kind.startswith(_TASK_TYPES):
        raise ProjectError("no kind of file that tasks are read from", path)
    most = MAX_NAME_BYTES // 2 if is_task else MAX_NAME_BYTES
    if len(path.encode()) > most:
        raise ProjectError(f"a path of more than {most} bytes", path)
    if is_task:
        batch = str(PurePosixPath(path).parent).removeprefix(TASKS + "/")
        return Place(path, "task", task_source(path), name, kind, batch)
    return Place(path, FOLDERS[folder], path, name, kind, "gold" if folder == "gold" else None)


def given_place(path: str) -> Place:
    """Return the place of a path that somebody gave, as a folder could have it.

    Raises:
        ProjectError: no file of a folder has this path, or it holds rows.
    """
    folder, *parts = path.split("/")
    if folder not in (*FOLDERS, TASKS) or not parts:
        raise ProjectError(f"{path!r} is not under guidelines, rubrics, gold, tasks or attachments")
    for part in parts:
        try:
            size = len(part.encode())
        except UnicodeEncodeError:
            raise ProjectError(f"{path!r} is not UTF-8") from None
        if part.startswith(".") or "\0" in part or not 1 <= size <= _MAX_PART_BYTES:
            raise ProjectError(f"{path!r} is no path that a folder's file can have")
    if folder == TASKS and holds_rows(path):
        raise ProjectError("tasks in rows are sealed from a folder", path)
    return file_place(path)
