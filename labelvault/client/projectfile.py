"""`labelvault.toml`: how a folder becomes items. All of it is optional (docs/cli.md)."""

import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES
from labelvault.errors import ProjectError

FILE_NAME = "labelvault.toml"
MAX_FLOOR_BYTES = 1024 * 1024

_Column = Annotated[str, Field(min_length=1, max_length=200)]
_Path = Annotated[str, Field(min_length=1, max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class TaskColumns(_Strict):
    """Which columns of a task's row mean what.

    Attributes:
        id: names the row; by default the first of `id`, `task_id`, `question_id`, `uid` that the row has.
        batch: names its batch; by default the file's stem does.
        labels: copied into sealed labels.
        requires: files that every task requires; by default all guidelines.
        requires_column: holds a path, or a list of paths, that this row requires besides.
        attachments: each holds a path, or a list of paths, under `attachments/`.
    """

    id: _Column | None = None
    batch: _Column | None = None
    labels: list[_Column] = Field(default=[], max_length=64)
    requires: list[_Path] | None = Field(default=None, max_length=255)
    requires_column: _Column | None = None
    attachments: list[_Column] = Field(default=[], max_length=64)


class ProjectSettings(_Strict):
    """Settings of the whole project.

    Attributes:
        floor_bytes: nothing is padded to less.
    """

    floor_bytes: int = Field(default=DEFAULT_FLOOR_BYTES, ge=256, le=MAX_FLOOR_BYTES)


class ProjectFile(_Strict):
    """The whole file.

    Attributes:
        requires: what a file requires: path to list of paths.
    """

    tasks: TaskColumns = TaskColumns()
    requires: dict[_Path, list[_Path]] = {}
    project: ProjectSettings = ProjectSettings()


def parse_project_file(text: str) -> ProjectFile:
    """Parse the file's text.

    Raises:
        ProjectError: not TOML, an unknown setting, or a value out of its bounds.
    """
    try:
        return ProjectFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"not valid TOML: {error}", FILE_NAME) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProjectError(f"{place}: {first['msg']}", FILE_NAME) from None
