"""A task and what it requires, opened: small parts in memory, large ones in ranges."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from labelvault.envelope.metadata import Metadata
from labelvault.envelope.ranges import SealedReader
from labelvault.errors import LargePartError
from labelvault.pipeline import ahead
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import LeaseOuter

ItemBytes: TypeAlias = tuple[bytes, int, bytes]
"""Item id, version and digest: which bytes a lease named."""


@dataclass(frozen=True, slots=True)
class LargeItems:
    """How payloads above 70 MiB are read, which are never held in memory.

    Attributes:
        leaves: fetches leaf hashes.
        read: fetches a range of the payload: offset and length in bytes.
        guard: called before any content is handed out; raises once the opening is over.
    """

    leaves: Callable[[ItemHeader], tuple[bytes, ...]]
    read: Callable[[ItemHeader, int, int], bytes]
    guard: Callable[[], None]


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """One opened item. Its content is kept out of repr, pickle and copy."""

    item: bytes
    version: int
    metadata: Metadata = field(repr=False)
    _content: bytes = field(repr=False)
    _reader: SealedReader | None = field(default=None, repr=False)

    @property
    def content(self) -> bytes:
        """All of it.

        Raises:
            LargePartError: its payload is above 70 MiB, so it is not held in memory; `open()` gives it as a file.
        """
        if self._reader is not None:
            raise LargePartError(f"{self.size} bytes are not held in memory; .open() gives them as a file")
        return self._content

    def open(self) -> io.BufferedReader:
        """Return the content as a seekable binary file, of any size; every byte is checked before it is handed out.

        The file of a large item fetches what is read, and fails once the opening is closed or has expired.
        """
        if self._reader is not None:
            return self._reader.file()
        return io.BufferedReader(io.BytesIO(self._content))  # type: ignore[type-var, unused-ignore]

    def pieces(self) -> Iterator[bytes]:
        """Yield the content in order: 1 MiB at a time of a large item, else in one piece."""
        if self._reader is not None:
            yield from self._reader.pieces(ahead)
        else:
            yield self._content

    def close(self) -> None:
        """Let go of a large item's key, and end its files."""
        if self._reader is not None:
            self._reader.close()

    @property
    def is_large(self) -> bool:
        """Whether only `open()` gives the content."""
        return self._reader is not None

    @property
    def size(self) -> int:
        """Of the content, in bytes."""
        return self.metadata.size

    @property
    def name(self) -> str:
        """What people call it."""
        return self.metadata.name

    @property
    def kind(self) -> str:
        """guideline, rubric, task or attachment."""
        return self.metadata.kind

    @property
    def media_type(self) -> str:
        """Of the content."""
        return self.metadata.media_type

    @property
    def labels(self) -> dict[str, str]:
        """What the client attached."""
        return {label.name: label.value for label in self.metadata.labels}

    @property
    def text(self) -> str:
        """The content as UTF-8 text; bytes that are none show as replacement characters."""
        return self.content.decode("utf-8", "replace")

    def __reduce__(self) -> NoReturn:
        raise TypeError("opened items are not pickled or copied")


@dataclass(frozen=True, slots=True)
class OpenedAs:
    """What may be known of an opening outside the process that holds it: nothing of it is secret.

    Attributes:
        version: of the task, which an answer to it names.
        epoch: of the client's ledger that records the release, 16 bytes.
        index: at which entry.
        entry_hash: that entry's leaf hash, 32 bytes.
    """

    version: int
    epoch: bytes
    index: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A task and what it requires, opened.

    Attributes:
        outer: the lease's readable part.
        task: the task itself.
        required: what opened with it.
        named: which bytes these are, in the lease's order.
        known: what may be known of it outside.
    """

    outer: LeaseOuter
    task: OpenedPart
    required: tuple[OpenedPart, ...]
    named: tuple[ItemBytes, ...]
    known: OpenedAs

    def close(self) -> None:
        """Let go of all that large items hold."""
        for part in (self.task, *self.required):
            part.close()
