"""Content whose size nobody knows beforehand: written to a private temporary file first, then read from there."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from labelvault.envelope.metadata import MAX_STREAM_BYTES
from labelvault.envelope.stream import ByteSource
from labelvault.errors import FormatError, StoreError

_READ_BYTES: Final = 1024 * 1024


@contextmanager
def spooled(source: ByteSource, *, max_bytes: int = MAX_STREAM_BYTES) -> Iterator[tuple[BinaryIO, int]]:
    """Lend a file that holds what a source gives, and its size, as `labelvault.envelope.stream.seal_stream` takes them.

    The file is readable by this user only and has no name from the start (or loses it at once), so that nothing of it
    outlives the process. It is plaintext on this machine's disk while it is there.

    Args:
        source: read to its end.
        max_bytes: refuse more, before more is written.

    Raises:
        FormatError: the source gives more than `max_bytes`.
        StoreError: the temporary file can't be written. What the source raises goes through.
    """
    try:
        target = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise StoreError(f"no temporary file can be made: {error.strerror}") from error
    with target:
        size = 0
        while data := source.read(_READ_BYTES):
            size += len(data)
            if size > max_bytes:
                del data
                raise FormatError(f"more than {max_bytes} bytes; an item holds no more")
            _write(target, data)
            # No name for it when the next read fails: a traceback may be logged with its locals.
            del data
        target.seek(0)
        yield target, size


def _write(target: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[target.write(rest) :]
    except OSError as error:
        reason = error.strerror
        del data, rest
        raise StoreError(f"the temporary file can't be written: {reason}") from None
