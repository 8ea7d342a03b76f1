"""Files of rows that are read in pieces, because as a whole they may not fit into memory."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from labelvault.client.files import changed, open_regular
from labelvault.envelope.metadata import MAX_CONTENT_BYTES, MAX_STREAM_BYTES
from labelvault.errors import ProjectError

Rows = Iterator[tuple[int, bytes | ProjectError]]
"""Each row's number from 1, and the row or what is wrong with it; number 0 for the file as a whole."""


def rows_in_pieces(path: Path, name: str, read: Callable[[BinaryIO, str], Rows]) -> Rows:
    """Yield what is read from a file, then what is wrong with the file, if something is.

    Args:
        path: where the file is; nothing but a regular file is opened, and no symlink followed.
        name: its name in the folder, for messages.
        read: yields rows from the open file.
    """
    try:
        with open(path, "rb", opener=open_regular) as source:
            before = os.fstat(source.fileno())
            if before.st_size > MAX_STREAM_BYTES:
                raise ProjectError(f"{before.st_size} bytes; at most {MAX_STREAM_BYTES} (64 GiB) are read", name)
            yield from read(source, name)
            after = os.fstat(source.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                # Rows that were read before may be sealed by now; sealing again mends it.
                raise changed(name)
    except OSError as error:
        yield 0, ProjectError(f"can't be read: {error.strerror or error}", name)
    except ProjectError as error:
        yield 0, error


def long_jsonl(path: Path, name: str) -> Rows:
    """Yield the rows of a JSONL file of up to 64 GiB, as `labelvault.client.rows.iter_rows` does of a shorter one."""
    return rows_in_pieces(path, name, _lines)


def _lines(source: BinaryIO, name: str) -> Rows:
    number = 0
    while data := source.readline(MAX_CONTENT_BYTES + 1):
        number += 1
        if len(data) > MAX_CONTENT_BYTES and not data.endswith(b"\n"):
            yield number, ProjectError(f"a row holds at most {MAX_CONTENT_BYTES} bytes (64 MiB)", name, number)
            while data and not data.endswith(b"\n"):
                data = source.readline(MAX_CONTENT_BYTES)
        elif row := data.strip():
            yield number, row
