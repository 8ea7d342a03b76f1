"""Making pieces in a thread while those before them are used, so that reading, hashing and writing overlap.

SHA-256 and AES release the interpreter's lock for pieces of a mebibyte, so two cores work at once. Memory stays flat:
one piece is made ahead.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
_READ_BYTES: Final = 1024 * 1024
_OUT_BYTES: Final = 8 * 1024 * 1024


class _End:
    """What follows the last piece."""


class Readable(Protocol):
    """What gives bytes until it gives none."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end only."""
        ...


@contextmanager
def ahead(pieces: Iterable[T]) -> Iterator[Iterator[T]]:
    """Lend an iterator over pieces that are made in a thread, one ahead.

    What making a piece raises is raised where that piece is asked for. Leaving the block stops the making.

    Args:
        pieces: iterated in the thread alone, one piece at a time.
    """
    source = iter(pieces)
    with ThreadPoolExecutor(1, thread_name_prefix="labelvault-ahead") as maker:
        due: deque[Future[T | _End]] = deque()

        def order() -> None:
            due.append(maker.submit(next, source, _End()))

        def made() -> Iterator[T]:
            order()
            while not isinstance(piece := due.popleft().result(), _End):
                order()
                yield piece

        try:
            yield made()
        finally:
            for each in due:
                each.cancel()


class _Ahead:
    """Gives what pieces hold."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end only."""
        if not self._ready:
            self._ready = next(self._pieces, b"")
        given, self._ready = self._ready[:size], self._ready[size:]
        return given


@contextmanager
def read_ahead(source: Readable) -> Iterator[Readable]:
    """Lend a source that gives what `source` gives, read in a thread; as `ahead`.

    Args:
        source: read in the thread alone, a mebibyte at a time.
    """

    def pieces() -> Iterator[bytes]:
        while data := source.read(_READ_BYTES):
            yield data

    with ahead(pieces()) as found:
        yield _Ahead(found)


class Writer:
    """Writes a file from its beginning on, and has the system bring to the disk what is written while more comes.

    Left to itself the system begins when it is asked to flush, and whoever asks waits for all of it. Says nothing of
    what is durable: that is so once the descriptor was flushed.
    """

    __slots__ = ("_begun", "_descriptor", "_written")

    def __init__(self, descriptor: int) -> None:
        """Write to an empty file, which others close."""
        self._descriptor, self._written, self._begun = descriptor, 0, 0

    def write(self, piece: bytes) -> None:
        """Write all of a piece; `os.write` alone may stop early.

        Raises:
            OSError: the file system refused.
        """
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._written += len(piece)
        if self._written - self._begun >= _OUT_BYTES:
            self._begin()

    def _begin(self) -> None:
        # Pages that are not on the disk yet can't be dropped: this begins to write them, and waits for nothing.
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                place = self._begun, self._written - self._begun
                os.posix_fadvise(self._descriptor, *place, os.POSIX_FADV_DONTNEED)
        self._begun = self._written
