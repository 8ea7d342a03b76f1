"""Making pieces in a thread while those before them are used, so that reading, hashing and writing overlap.

Reading, writing and SHA-256 of a mebibyte release the interpreter's lock, so two cores work at once. (AES-GCM does not,
in cryptography 50; it takes a quarter of the time of SHA-256.) Memory stays flat: one piece is made ahead.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
_OUT_BYTES: Final = 8 * 1024 * 1024


class _End:
    """What follows the last piece."""


@contextmanager
def ahead(pieces: Iterable[T]) -> Iterator[Iterator[T]]:
    """Lend an iterator over pieces that are made in a thread, one ahead.

    What making a piece raises is raised where that piece is asked for. Leaving the block stops the making.

    Args:
        pieces: iterated in the thread alone, one piece at a time.
    """
    # Loaded here, with the logging that comes along: most processes make nothing ahead.
    from concurrent.futures import ThreadPoolExecutor

    source = iter(pieces)
    try:
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
    finally:
        # What makes its own pieces out of a thread's ends that, too, and not only once nobody knows it any more.
        if isinstance(source, Generator):
            source.close()


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
