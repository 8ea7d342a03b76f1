"""Cards, invites and exports: files that hold no secret, read whole and written whole."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from labelvault.errors import FormatError, KeystoreError, OutputError
from labelvault.keys.files import write_private

MAX_INPUT_BYTES: Final = 256 * 1024 * 1024


def read_input(file: Path, max_bytes: int = MAX_INPUT_BYTES) -> bytes:
    """Read a file that somebody sent.

    Args:
        file: where it is.
        max_bytes: refuse anything longer.

    Raises:
        FormatError: it is larger than anything that is ever sent.
        OSError: it can't be read.
    """
    with file.open("rb") as source:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FormatError(f"{file} has more than {max_bytes} bytes")
    return data


def read_text(file: Path) -> str:
    """Read a text that somebody sent.

    Raises:
        FormatError: it is too large, or not UTF-8.
        OSError: it can't be read.
    """
    try:
        return read_input(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 text") from error


def write_output(file: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file whole, out of its pieces if it is long, mode 0600, over an older one.

    Raises:
        OutputError: the file system refused; the older file is as it was.
    """
    try:
        write_private(file, data, replace=True)
    except KeystoreError as error:
        raise OutputError(str(error)) from error
