"""Content whose size nobody knows beforehand: read to its end into a file first, encrypted, then sealed from there.

The file has no name, and what is in it opens under a key that only this process has, in memory: on the disk there is
never plaintext, and after a crash nothing that anybody could open. It is Cobblestone-256, as payloads are.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from labelvault.crypto.aead import KEY_BYTES, PAYLOAD_PREFIX_BYTES, PayloadSealer
from labelvault.crypto.chunks import ChunkOpener
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.metadata import MAX_STREAM_BYTES
from labelvault.envelope.stream import ByteSource
from labelvault.errors import ProjectError, StoreError

_READ_BYTES: Final = 1024 * 1024
_SPOOL_LABEL: Final = b"labelvault/v1/spool\0"


class Spool:
    """What a source gave. Made by `spooled`, and of use within it only.

    Attributes:
        size: in bytes.
    """

    __slots__ = ("_file", "_opener", "size")

    def __init__(self, file: BinaryIO, opener: ChunkOpener, size: int) -> None:
        """Take over a filled file."""
        self._file, self._opener, self.size = file, opener, size

    def reader(self) -> "SpoolReader":
        """Return a source that gives the content from its beginning; any number of them."""
        return SpoolReader(self._file, self._opener)

    def __reduce__(self) -> NoReturn:
        raise TypeError("spools are not pickled or copied")


class SpoolReader:
    """Gives a spool's content; each chunk is authenticated before it is handed out."""

    __slots__ = ("_file", "_number", "_opener", "_ready")

    def __init__(self, file: BinaryIO, opener: ChunkOpener) -> None:
        """Begin at the beginning."""
        self._file, self._opener, self._number, self._ready = file, opener, 0, b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end.

        Raises:
            StoreError: the file can't be read.
            DecryptionError: it was altered.
        """
        while not self._ready and self._number < self._opener.chunks:
            offset, length = self._opener.place(self._number)
            self._ready = self._opener.open(self._number, _read(self._file, offset, length))
            self._number += 1
        given, self._ready = self._ready[:size], self._ready[size:]
        return given


@contextmanager
def spooled(source: ByteSource, folder: Path, *, place: str, max_bytes: int = MAX_STREAM_BYTES) -> Iterator[Spool]:
    """Lend all that a source gives.

    Args:
        source: read to its end, which nothing but its end marks: who wrote into a pipe may have failed.
        folder: on whose file system the file is; it takes the content's size there.
        place: what the source is called in messages.
        max_bytes: refuse more, before more is written.

    Raises:
        ProjectError: the source can't be read, gives no bytes, or more than `max_bytes`.
        StoreError: the file can't be written.
    """
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise StoreError(f"no temporary file can be made in {folder}: {error.strerror}") from error
    with file:
        key, size = SecretBytes(random_bytes(KEY_BYTES)), 0
        sealer = PayloadSealer(key, _SPOOL_LABEL)
        while data := _given(source, place):
            size += len(data)
            if size > max_bytes:
                del data
                raise ProjectError(f"more than {max_bytes} bytes; an item holds no more", place)
            sealed = sealer.update(data)
            # No name for it when the next step fails: a traceback may be logged with its locals.
            del data
            _write(file, sealed)
        _write(file, sealer.finish())
        prefix = _read(file, 0, PAYLOAD_PREFIX_BYTES)
        yield Spool(file, ChunkOpener(key, prefix, _SPOOL_LABEL, os.fstat(file.fileno()).st_size), size)


def _given(source: ByteSource, place: str) -> bytes:
    try:
        data = source.read(_READ_BYTES)
    except OSError as error:
        raise ProjectError(f"can't be read: {error.strerror or error}", place) from error
    # A text, or None from a pipe that does not block: taken for the end, it would cut the content short.
    if not isinstance(data, bytes):
        raise ProjectError("gives no bytes; a binary stream that blocks is needed", place)
    return data


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise StoreError(f"the temporary file can't be written: {error.strerror}") from error


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        data = os.pread(file.fileno(), length, offset)
    except OSError as error:
        raise StoreError(f"the temporary file can't be read: {error.strerror}") from error
    if len(data) != length:
        raise StoreError("the temporary file is shorter than what was written")
    return data
