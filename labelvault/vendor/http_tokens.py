"""Bearer tokens from files, one `name:token` a line: who may talk to a vault that `labelvault vendor serve` runs."""

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from labelvault.errors import FormatError, StoreError

_MAX_BYTES: Final = 1024 * 1024
_LINE: Final = re.compile(r"([A-Za-z0-9._@-]{1,100}):([A-Za-z0-9._~+/=-]{22,1024})", re.ASCII)
"""At least 22 characters: 128 random bits in base64."""
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Tokens:
    """Knows callers by the hashes of their tokens; the tokens themselves are not kept."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read `name:token` lines; empty ones and comments (`#`) are passed over.

        Raises:
            FormatError: a malformed line, or the same token twice.
        """
        self._hashes: list[tuple[bytes, str]] = []
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                raise FormatError(f"line {number}: not name:token, with a token of at least 22 characters")
            hashed = _hash(match[2])
            if any(hashed == each for each, _ in self._hashes):
                raise FormatError(f"line {number}: this token is there already")
            self._hashes.append((hashed, match[1]))

    def __len__(self) -> int:
        return len(self._hashes)

    def __call__(self, headers: Mapping[str, str]) -> str | None:
        """Return the name of the token in `Authorization: Bearer …`; None if it is none of ours."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        hashed = _hash(token.strip())
        found = None
        # All of them, in constant time each: how long it takes says nothing about which came close.
        for each, name in self._hashes:
            if hmac.compare_digest(each, hashed):
                found = name
        return found


def read_tokens(paths: Iterable[Path]) -> Tokens:
    """Read token files, which nobody but their owner may read.

    Raises:
        StoreError: a file can't be read, is no file, or others can read it.
        FormatError: a malformed line.
    """
    return Tokens(line for path in paths for line in _read(path).splitlines())


def _read(path: Path) -> str:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as source:
            info = os.fstat(source.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise StoreError(f"{path} is no regular file")
            if stat.S_IMODE(info.st_mode) & 0o077:
                raise StoreError(f"{path} can be read by others; chmod 600 it, and make new tokens")
            data = source.read(_MAX_BYTES + 1)
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise StoreError(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        # `from None`: the original error holds the bytes.
        raise FormatError(f"{path} is not ASCII") from None


def _hash(token: str) -> bytes:
    # Tokens have 128 random bits at least, so a plain hash can't be guessed back.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
