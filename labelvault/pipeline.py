"""Making pieces in a thread while those before them are used, so that reading, hashing and writing overlap.

Reading, writing and SHA-256 of a mebibyte release the interpreter's lock, so two cores work at once. (AES-GCM does not,
in cryptography 50; it takes a quarter of the time of SHA-256.) Memory stays flat: two pieces are made ahead.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_AHEAD: Final = 2
"""With one, its maker waits whenever it is done before that one is asked for: until it hears that it is."""
_OUT_BYTES: Final = 8 * 1024 * 1024


class _End:
    """What follows the last piece."""


@contextmanager
def ahead(pieces: Iterable[T]) -> Iterator[Iterator[T]]:
    """Lend an iterator over pieces that are made in a thread, two ahead.

    What making a piece raises is raised where that piece is asked for. Leaving the block stops the making.

    Args:
        pieces: iterated in the thread alone, one piece at a time.
    """
    source = iter(pieces)
    maker = _Maker(source)
    try:
        yield maker.pieces()
    finally:
        maker.end()
        # What makes its own pieces out of a thread's ends that, too, and not only once nobody knows it any more.
        if isinstance(source, Generator):
            source.close()


class _Maker(Generic[T]):
    """The thread of `ahead`, and the two queues between it and whoever uses what it makes.

    They are of C, and wait without the interpreter's lock: the futures of an executor took a tenth of the whole rate.
    """

    def __init__(self, source: Iterator[T]) -> None:
        self._source, self._ended = source, False
        self._wanted: SimpleQueue[None] = SimpleQueue()
        self._made: SimpleQueue[T | _End | _Failed] = SimpleQueue()
        # A daemon: nothing that it makes counts any more once nobody asks for it.
        self._thread = Thread(target=self._make, name="labelvault-ahead", daemon=True)
        self._thread.start()

    def _make(self) -> None:
        while True:
            self._wanted.get()
            if self._ended:
                return
            try:
                self._made.put(next(self._source, _End()))
            except BaseException as error:  # noqa: BLE001 - raised where the piece is asked for
                self._made.put(_Failed(error))

    def pieces(self) -> Iterator[T]:
        for _ in range(_AHEAD):
            self._wanted.put(None)
        while not isinstance(piece := self._made.get(), _End):
            if isinstance(piece, _Failed):
                raise piece.error
            self._wanted.put(None)
            yield piece

    def end(self) -> None:
        """Wait for the piece that is being made, and make no more."""
        self._ended = True
        self._wanted.put(None)
        self._thread.join()


class _Failed:
    """What was raised instead of a piece."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


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
