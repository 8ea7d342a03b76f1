"""Files of a project folder: only regular ones, never through a symlink, and whole or not at all."""

import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from labelvault.envelope.stream import ByteSource
from labelvault.errors import ProjectError

STREAM_ABOVE_BYTES: Final = 8 * 1024 * 1024
"""Larger files are sealed as streams, and never held in memory."""
_READ_BYTES: Final = 1024 * 1024
_MEDIA_TYPES: Final = {
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Of what projects consist of: the same on every machine, since a type that differs seals a file again."""


def media_type(path: str) -> str:
    """Return a file's media type by its suffix."""
    suffix = Path(path).suffix.lower()
    return _MEDIA_TYPES.get(suffix) or _built_in_types().get(suffix, "application/octet-stream")


@cache
def _built_in_types() -> dict[str, str]:
    """Return Python's own table: the module's global one takes in whatever lists of types a machine has."""
    return mimetypes.MimeTypes().types_map[True]


def open_regular(path: str, flags: int) -> int:
    """Open a file for `open(opener=)`: not through a symlink, and nothing but a regular file."""
    # Non-blocking, so that a FIFO put there since the listing can't hang the run; then only regular files are read.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def changed(place: str) -> ProjectError:
    """Return the fault of a file that was not at rest."""
    return ProjectError("changed while it was read; seal again when it is at rest", place)


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file too large to be held in memory, as it was when the folder was read.

    Attributes:
        path: where it is.
        place: its name in the folder, for messages.
        size: in bytes.
        mtime_ns: when it was changed last.
    """

    path: Path = field(repr=False)
    place: str
    size: int
    mtime_ns: int

    @contextmanager
    def open(self) -> Iterator["CheckedFile"]:
        """Open it for one reading from begin to end.

        Raises:
            ProjectError: it can't be read, or is not the file any more that it was.
        """
        try:
            stream = open(self.path, "rb", buffering=0, opener=open_regular)  # noqa: SIM115 - closed below
        except OSError as error:
            raise ProjectError(f"can't be read: {error.strerror or error}", self.place) from error
        with stream:
            checked = CheckedFile(self, stream)
            checked.check()
            yield checked

    def hash(self, state: Any) -> bytes:
        """Return a hash over what `state` has taken already, and the content.

        Args:
            state: of `hashlib`; it is changed.

        Raises:
            ProjectError: as `open`; or it changed meanwhile.
        """
        with self.open() as stream:
            while data := stream.read(_READ_BYTES):
                state.update(data)
        return bytes(state.digest())


class CheckedFile:
    """Gives a large file's content, and its end only if the file is then still as it was listed."""

    def __init__(self, large: LargeFile, stream: "BinaryIO | Any") -> None:
        """Read a file that is open."""
        self._large = large
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end.

        Raises:
            ProjectError: it can't be read, or changed.
        """
        try:
            data: bytes = self._stream.read(size)
        except OSError as error:
            raise ProjectError(f"can't be read: {error.strerror or error}", self._large.place) from error
        if not data:
            self.check()
        return data

    def check(self) -> None:
        """Refuse a file of another size or time.

        Raises:
            ProjectError: it changed since it was listed.
        """
        now = os.fstat(self._stream.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._large.size, self._large.mtime_ns):
            raise changed(self._large.place)


class HashedSource:
    """A content source that hashes what it gives, and refuses to end with another hash than expected."""

    def __init__(
        self,
        source: ByteSource,
        state: Any,
        expected: bytes | None,
        place: str,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Read through a source.

        Args:
            source: gives the content.
            state: of `hashlib`, with what goes before the content.
            expected: the hash that an earlier reading gave, if there was one.
            place: for messages.
            on_read: called with the size of each piece.
        """
        self._source = source
        self._state = state
        self._expected = expected
        self._place = place
        self._on_read = on_read

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end.

        Raises:
            ProjectError: the content is not what it was when it was hashed before.
        """
        data = self._source.read(size)
        if data:
            self._state.update(data)
            if self._on_read is not None:
                self._on_read(len(data))
        elif self._expected is not None and self._state.digest() != self._expected:
            raise changed(self._place)
        return data

    def digest(self) -> bytes:
        """Return the hash over all that was read."""
        return bytes(self._state.digest())
