"""The form of `labelvault.toml`. An edge: the one place where pydantic reads what a person wrote."""

import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labelvault.client.settings import FILE_NAME, Settings
from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES
from labelvault.errors import ProjectError

_Column = Annotated[str, Field(min_length=1, max_length=200)]
_Path = Annotated[str, Field(min_length=1, max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class _Tasks(_Strict):
    id: _Column | None = None
    batch: _Column | None = None
    labels: list[_Column] = Field(default=[], max_length=64)
    requires: list[_Path] | None = Field(default=None, max_length=255)
    requires_column: _Column | None = None
    attachments: list[_Column] = Field(default=[], max_length=64)


class _Project(_Strict):
    floor_bytes: int = Field(default=DEFAULT_FLOOR_BYTES, ge=256, le=1024 * 1024)


class _ProjectFile(_Strict):
    tasks: _Tasks = _Tasks()
    requires: dict[_Path, list[_Path]] = {}
    project: _Project = _Project()


def parse_project_file(text: str) -> Settings:
    """Parse the file's text.

    Raises:
        ProjectError: not TOML, an unknown setting, or a value out of its bounds.
    """
    try:
        file = _ProjectFile.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProjectError(f"{place}: {first['msg']}", FILE_NAME) from None
    except (ValueError, RecursionError) as error:
        # ValueError and not only its TOML kind: an integer of thousands of digits raises the bare one.
        raise ProjectError(f"not valid TOML: {error}", FILE_NAME) from error
    tasks = file.tasks
    return Settings(
        id_column=tasks.id,
        batch_column=tasks.batch,
        label_columns=tuple(tasks.labels),
        task_requires=None if tasks.requires is None else tuple(tasks.requires),
        requires_column=tasks.requires_column,
        attachment_columns=tuple(tasks.attachments),
        file_requires={path: tuple(paths) for path, paths in file.requires.items()},
        floor_bytes=file.project.floor_bytes,
    )
