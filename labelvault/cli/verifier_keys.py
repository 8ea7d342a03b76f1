"""Keys that verify notes, on the command line: `name+hash+base64`, or a file with one."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from labelvault.cli.files import read_text
from labelvault.ledger.note import VerifierKey

_Key = TypeVar("_Key", bound=VerifierKey)


def read_key(value: str, parse: Callable[[str], _Key]) -> _Key:
    """Take a key as it is, or out of a file.

    Raises:
        FormatError, SignatureError: it is none.
    """
    # Not `Path.is_file`, which fails on what is too long for a name.
    return parse(read_text(Path(value)).strip() if os.path.isfile(value) else value)


def read_keys(values: Iterable[str], parse: Callable[[str], _Key]) -> list[_Key]:
    """Take several; see `read_key`."""
    return [read_key(each, parse) for each in values]
