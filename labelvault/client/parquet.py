"""Rows of Parquet files, read by a process of their own (`parquet_child`) with the extra `parquet` (pyarrow)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, Final, cast

from labelvault.client import parquet_child
from labelvault.client.rowfiles import Rows, rows_in_pieces
from labelvault.client.rows import MAX_COLUMNS
from labelvault.errors import ProjectError

_MAX_FAULT_BYTES: Final = 8192
_KEPT_ENVIRONMENT: Final = ("SYSTEMROOT",)


def parquet_rows(path: Path, name: str) -> Rows:
    """Yield each row's number from 1, and the row as a JSON object or what is wrong with it; in bounded memory.

    What is wrong with the file as a whole comes with number 0: it can't be opened, or the extra is not installed.

    Args:
        path: where the file is.
        name: its name in the folder, for messages.
    """
    return rows_in_pieces(path, name, _read)


def _read(source: BinaryIO, name: str) -> Rows:
    process = _start(source, name)
    answers = cast(BinaryIO, process.stdout)
    row = 0
    try:
        while True:
            head = answers.read(parquet_child.HEAD_BYTES)
            kind, at, size = _parsed(head)
            most = parquet_child.MAX_ROW_BYTES if kind == parquet_child.ROW else _MAX_FAULT_BYTES
            data = answers.read(size) if size <= most else b""
            if len(head) < parquet_child.HEAD_BYTES or len(data) != size:
                # Killed by its own limit, or by a fault in the decoder.
                yield row + 1, ProjectError("can't be decoded; no row from here on was read", name, row + 1)
                return
            if kind == parquet_child.END:
                return
            if kind == parquet_child.FILE_FAULT:
                yield _fault_of_file(data, name, row)
                return
            row = at
            yield row, data if kind == parquet_child.ROW else ProjectError(data.decode("utf-8", "replace"), name, row)
    finally:
        # Whoever stops early ends it too.
        process.kill()
        process.wait()
        answers.close()


def _parsed(head: bytes) -> tuple[int, int, int]:
    return (head[0] if head else parquet_child.END, int.from_bytes(head[1:9], "big"), int.from_bytes(head[9:], "big"))


def _fault_of_file(message: bytes, name: str, row: int) -> tuple[int, ProjectError]:
    text = message.decode("utf-8", "replace")
    if row == 0:
        return 0, ProjectError(text, name)
    return row + 1, ProjectError(f"{text}; no row from here on was read", name, row + 1)


def _start(source: BinaryIO, name: str) -> "subprocess.Popen[bytes]":
    # Found and not imported: the decoder is never loaded into a process that holds keys.
    found = importlib.util.find_spec("pyarrow")
    if found is None or found.origin is None:
        raise ProjectError("Parquet needs an extra: pip install 'labelvault[parquet]'", name)
    where = str(Path(found.origin).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-I", parquet_child.__file__, where, str(MAX_COLUMNS)],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={key: os.environ[key] for key in _KEPT_ENVIRONMENT if key in os.environ},
        # Ctrl-C is for the parent, which ends it.
        start_new_session=True,
    )
