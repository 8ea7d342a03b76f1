"""How a folder becomes items: the defaults, and what a `labelvault.toml` may change (docs/cli.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES

FILE_NAME: Final = "labelvault.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one folder.

    Attributes:
        id_column: names a row; by default the first of `id`, `task_id`, `question_id`, `uid` that the row has.
        batch_column: names a row's batch; by default the file's stem does.
        label_columns: copied into sealed labels.
        task_requires: files that every task requires; by default all guidelines.
        requires_column: holds a path, or a list of paths, that a row requires besides.
        attachment_columns: each holds a path, or a list of paths, under `attachments/`.
        file_requires: what a file requires: path to paths.
        floor_bytes: nothing is padded to less.
    """

    id_column: str | None = None
    batch_column: str | None = None
    label_columns: tuple[str, ...] = ()
    task_requires: tuple[str, ...] | None = None
    requires_column: str | None = None
    attachment_columns: tuple[str, ...] = ()
    file_requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    floor_bytes: int = DEFAULT_FLOOR_BYTES
