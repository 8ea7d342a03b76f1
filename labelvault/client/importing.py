"""Reading a project folder: files as they are, tasks one a row or one a file; every fault with its file and line.

Nothing outside the folder is read: no symlink is followed, and paths in rows must name a file that the folder has.
"""

import os
import random
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from labelvault.client.columns import Row, row_source
from labelvault.client.files import STREAM_ABOVE_BYTES, LargeFile, changed, open_regular
from labelvault.client.parquet import parquet_rows
from labelvault.client.places import FOLDERS, Place, file_place
from labelvault.client.rowfiles import Rows, long_jsonl
from labelvault.client.rows import count_rows, holds_rows, is_jsonl, is_parquet, iter_rows, parse_row
from labelvault.client.settings import FILE_NAME, Settings
from labelvault.envelope.metadata import MAX_CONTENT_BYTES, MAX_REQUIRES, MAX_STREAM_BYTES, Label
from labelvault.errors import ProjectError

_GIVE_FOLDER: Final = "Give the folder that holds guidelines/, rubrics/, gold/, tasks/ or attachments/."
_MARK: Final = 2**60 - 1
"""Of a hash, as much as a short integer holds: 32 bytes of memory."""
MAX_FILE_DEPTH: Final = 3
"""Levels that files may require below a task; with the task's own, four (`issuer.catalog.MAX_REQUIRES_DEPTH`)."""


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One item as the folder has it.

    Attributes:
        source: names it within the project: a path, or a path, `#` and a row's id.
        requires: paths of what opens with it.
        content: empty if `large` has it.
        place: where it stands, for messages: file, and line if it is a row.
        large: the file of an item that is sealed as a stream.
    """

    source: str
    kind: str
    name: str
    media_type: str
    batch: str | None
    labels: tuple[Label, ...]
    requires: tuple[str, ...]
    content: bytes = field(repr=False)
    place: tuple[str, int | None]
    large: LargeFile | None = None

    @property
    def size(self) -> int:
        """Of the content, in bytes."""
        return len(self.content) if self.large is None else self.large.size

    def __reduce__(self) -> NoReturn:
        raise TypeError("a project's items are not pickled or copied")


class ProjectFolder:
    """A folder with `guidelines/ rubrics/ gold/ tasks/ attachments/`, all optional, and perhaps a `labelvault.toml`.

    Attributes:
        settings: of the `labelvault.toml`, or the defaults.
        errors: what could not be read so far; filled as items are read.
    """

    def __init__(self, path: Path) -> None:
        """List the folder.

        Args:
            path: the folder.

        Raises:
            ProjectError: it is no folder, holds nothing to seal, or its `labelvault.toml` is wrong.
        """
        if not path.is_dir():
            raise ProjectError(f"{path} is not a folder", next_step=_GIVE_FOLDER)
        self._path = path
        self.errors: list[ProjectError] = []
        self._large: dict[str, LargeFile] = {}
        self._size = 0
        self.settings = self._read_settings()
        self._files = {folder: self._list(folder) for folder in (*FOLDERS, "tasks")}
        self._known = {name for folder in FOLDERS for name in self._files[folder]}
        if not any(self._files.values()) and not self.errors:
            raise ProjectError(
                f"{path} has no files under guidelines, rubrics, gold, tasks or attachments", next_step=_GIVE_FOLDER
            )
        for name in self.settings.file_requires:
            if name not in self._known:
                self.errors.append(ProjectError(f"[requires] names {name!r}, which is not there", FILE_NAME))

    def _read_settings(self) -> Settings:
        # A dangling link is there: taken for absent, it would mean the defaults.
        if not os.path.lexists(self._path / FILE_NAME):
            return Settings()
        # Imported here: pydantic looks for plugins to load when its models are made, so a folder without settings, and
        # whoever only imports this package, never comes to that.
        from labelvault.client.projectfile import parse_project_file

        try:
            return parse_project_file(self._read(FILE_NAME).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ProjectError("not UTF-8", FILE_NAME) from error

    def _list(self, folder: str) -> list[str]:
        """Return relative paths of regular files, sorted; report what is neither file nor directory."""
        found = []
        top = self._path / folder
        if top.is_symlink():
            self.errors.append(ProjectError("a symlink is not followed", folder))
            return []
        for directory, names, files in os.walk(top, onerror=self._walk_error):
            for name in sorted(names):
                if (Path(directory) / name).is_symlink():
                    self.errors.append(
                        ProjectError("a symlink is not followed", self._relative(Path(directory) / name))
                    )
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                path = Path(directory) / name
                if name.startswith("."):
                    continue
                info, relative = path.lstat(), self._relative(path)
                if not stat.S_ISREG(info.st_mode):
                    self.errors.append(ProjectError("neither a file nor a folder; not followed", relative))
                    continue
                if info.st_size > STREAM_ABOVE_BYTES and folder in FOLDERS:
                    self._large[relative] = LargeFile(path, relative, info.st_size, info.st_mtime_ns)
                self._size += info.st_size
                found.append(relative)
        return sorted(found)

    def _walk_error(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self.errors.append(ProjectError(f"can't be read: {error.strerror}", self._relative(Path(error.filename))))

    def _relative(self, path: Path) -> str:
        # Names that are not UTF-8 become visible escapes; the file is then reported when it is read.
        return os.fsencode(path.relative_to(self._path)).decode("utf-8", "backslashreplace")

    def _read(self, name: str) -> bytes:
        """Read a regular file of the folder, at most one item's size; refuse one that changes meanwhile."""
        try:
            with open(self._path / name, "rb", opener=open_regular) as stream:
                before = os.fstat(stream.fileno())
                if before.st_size > MAX_CONTENT_BYTES:
                    raise ProjectError(
                        f"{before.st_size} bytes; at most {MAX_CONTENT_BYTES} (64 MiB) are read at once", name
                    )
                data = stream.read(before.st_size + 1)
                after = os.fstat(stream.fileno())
        except OSError as error:
            raise ProjectError(f"can't be read: {error.strerror or error}", name) from error
        if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (
            after.st_size,
            after.st_mtime_ns,
        ):
            raise changed(name)
        return data

    @property
    def size(self) -> int:
        """Of all files when they were listed, in bytes."""
        return self._size

    def count(self) -> int:
        """Return about how many items there are, for a progress bar: files, and lines of task files.

        Rows of Parquet are not counted beforehand: only its decoder could.
        """
        total = sum(len(self._files[folder]) for folder in FOLDERS)
        for name in self._files["tasks"]:
            try:
                whole = not holds_rows(name) or is_parquet(name)
                total += 1 if whole else count_rows(name, self._read(name))
            except ProjectError:
                total += 1  # reported when its rows are read
        return total

    def _required_first(self) -> Iterator[str]:
        """Yield paths of all files but tasks, what others require before them.

        A file that requires itself, or nests too deep, goes to `errors` and is left out.
        """
        names = [name for folder in FOLDERS for name in self._files[folder]]
        depth: dict[str, int] = {}

        def visit(name: str, above: tuple[str, ...]) -> Iterator[str]:
            if name in depth or name not in self._known:
                return
            if name in above:
                raise ProjectError(f"[requires] of {name!r} leads back to itself", FILE_NAME)
            if len(above) > MAX_FILE_DEPTH:
                raise ProjectError(f"[requires] nests deeper than {MAX_FILE_DEPTH} below {above[0]!r}", FILE_NAME)
            below = self.settings.file_requires.get(name, ())
            for part in below:
                yield from visit(part, (*above, name))
            depth[name] = 1 + max((depth.get(part, 0) for part in below), default=0)
            if depth[name] > MAX_FILE_DEPTH:
                raise ProjectError(f"[requires] nests deeper than {MAX_FILE_DEPTH} below {name!r}", FILE_NAME)
            yield name

        # Large ones go to the vault one by one, as they come: at random, so that order says nothing.
        large = random.SystemRandom().sample(sorted(self._large), len(self._large))
        for start in (*large, *names):
            try:
                yield from visit(start, ())
            except ProjectError as error:
                depth[start] = MAX_FILE_DEPTH
                self.errors.append(error)

    def items(self) -> Iterator[SourceItem]:
        """Yield every item that can be read, what others require first; faults go to `errors`."""
        for name in self._required_first():
            try:
                item = self._file_item(name)
            except ProjectError as error:
                self.errors.append(error)
                continue
            yield item
        for name in self._files["tasks"]:
            yield from self._task_items(name)

    def _file_item(self, path: str) -> SourceItem:
        place = file_place(path)
        requires = self._known_paths(self.settings.file_requires.get(path, ()), FILE_NAME, None)
        large = self._large.get(path)
        if large is not None and large.size > MAX_STREAM_BYTES:
            raise ProjectError(f"{large.size} bytes; an item holds at most {MAX_STREAM_BYTES} (64 GiB)", path)
        return self._item(place, requires, b"" if large is not None else self._read(path), large)

    def _item(
        self, place: Place, requires: tuple[str, ...], content: bytes, large: LargeFile | None = None
    ) -> SourceItem:
        about = (place.source, place.kind, place.name, place.media_type, place.batch)
        return SourceItem(*about, (), requires, content, (place.path, None), large)

    def _rows(self, path: str) -> Rows:
        place = self._path / path
        if is_parquet(path):
            return parquet_rows(place, path)
        # One that is gone, or whose name is not UTF-8, is reported when it is read.
        with suppress(OSError):
            if is_jsonl(path) and place.lstat().st_size > MAX_CONTENT_BYTES:
                return long_jsonl(place, path)
        return iter_rows(path, self._read(path))

    def _task_items(self, path: str) -> Iterator[SourceItem]:
        try:
            if not holds_rows(path):
                yield self._task_file(path)
                return
            rows = self._rows(path)
        except ProjectError as error:
            self.errors.append(error)
            return
        # Ids may be millions: of each, only a short hash is kept. What has the hash of another is looked at once more.
        seen: set[int] = set()
        again: dict[str, set[int]] = {}
        before = len(self.errors)
        batch = Path(path).stem
        for number, content in rows:
            try:
                if isinstance(content, ProjectError):
                    raise content
                item = self._row_item(path, number, content, batch)
            except ProjectError as error:
                self.errors.append(error)
                continue
            mark = hash(item.source) & _MARK
            if mark in seen:
                again.setdefault(item.source, set()).add(number)
                continue
            seen.add(mark)
            yield item
        if again:
            yield from self._repeated(path, again)
            self.errors[before:] = sorted(self.errors[before:], key=lambda error: error.line or 0)

    def _repeated(self, path: str, again: dict[str, set[int]]) -> Iterator[SourceItem]:
        """Report rows whose id an earlier one has; yield those of which only the hash was another's.

        Args:
            path: the file, which is read anew.
            again: sources, and the numbers of their rows that were put aside.
        """
        first: dict[str, int] = {}
        batch = Path(path).stem
        for number, content in self._rows(path):
            with suppress(ProjectError):
                # What can't be read was reported before.
                item = None if isinstance(content, ProjectError) else self._row_item(path, number, content, batch)
                if item is None or item.source not in again:
                    continue
                its_first = first.setdefault(item.source, number)
                if number not in again[item.source]:
                    continue
                again[item.source].remove(number)
                if number == its_first:
                    yield item
                else:
                    what = "row" if is_parquet(path) else "line"
                    self.errors.append(ProjectError(f"the id of {what} {its_first} again", path, number))
        if any(again.values()):
            self.errors.append(changed(path))

    def _task_file(self, path: str) -> SourceItem:
        """Return a file that is one task as it is; its folder is its batch."""
        place = file_place(path)
        return self._item(place, self._known_paths(self._task_requires(), path, None), self._read(path))

    def _task_requires(self) -> list[str]:
        required = self.settings.task_requires
        return list(self._files["guidelines"] if required is None else required)

    def _row_item(self, path: str, line: int, content: bytes, batch: str) -> SourceItem:
        """Return a row as an item; of this batch, unless rows name their own."""
        row, settings = Row(path, line, parse_row(path, line, content)), self.settings
        name = row.id(content, settings.id_column)
        if settings.batch_column is not None:
            batch = row.scalar(settings.batch_column)
        labels = row.labels(settings)
        requires = self._known_paths([*self._task_requires(), *row.paths(settings)], path, line)
        return SourceItem(
            row_source(path, name), "task", name, "application/json", batch, labels, requires, content, (path, line)
        )

    def _known_paths(self, paths: Sequence[str], file: str, line: int | None) -> tuple[str, ...]:
        unique = tuple(dict.fromkeys(paths))
        for name in unique:
            # A path counts only if the folder's own listing has it: no traversal, no absolute path can be meant.
            if name not in self._known or name in self._files["gold"]:
                raise ProjectError(f"requires {name!r}, which is no guideline, rubric or attachment here", file, line)
        if len(unique) > MAX_REQUIRES:
            raise ProjectError(f"requires {len(unique)} files; at most {MAX_REQUIRES}", file, line)
        return unique
