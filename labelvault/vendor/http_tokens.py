"""Bearer tokens from files, one `name:token` or `name:token:binding` a line: who may talk to a vault over HTTP.

A binding is `client=` with a client's id, or `contractor=` with a client's id and a contractor's key, and for desks and
presence devices each other's keys: `contractor=CLIENT/KEY/PEER`, or more of them; all in lowercase hex. `Caller` says
what each may do.
"""

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from labelvault.errors import FormatError, StoreError
from labelvault.vendor.http_callers import Caller

_MAX_BYTES: Final = 1024 * 1024
_LINE: Final = re.compile(
    r"([A-Za-z0-9._@-]{1,100}):([A-Za-z0-9._~+/=-]{22,1024})"
    r"(?::(?:client=([0-9a-f]{64})|contractor=([0-9a-f]{64})/([0-9a-f]{64})((?:/[0-9a-f]{64}){0,1000})))?",
    re.ASCII,
)
"""At least 22 characters: 128 random bits in base64."""
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Tokens:
    """Knows callers by the hashes of their tokens; the tokens themselves are not kept.

    Attributes:
        unbound: how many tokens have no binding, so that each holder may do everything.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Read `name:token` and `name:token:binding` lines; empty ones and comments (`#`) are passed over.

        Raises:
            FormatError: a malformed line, or the same token twice.
        """
        self._hashes: list[tuple[bytes, str | Caller]] = []
        self.unbound = 0
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                raise FormatError(
                    f"line {number}: not name:token, with a token of at least 22 characters, and if it is bound"
                    " :client=CLIENT or :contractor=CLIENT/KEY, with 64 lowercase hex digits each"
                )
            hashed = _hash(match[2])
            if any(hmac.compare_digest(hashed, each) for each, _ in self._hashes):
                raise FormatError(f"line {number}: this token is there already")
            caller = _caller(match)
            self.unbound += not caller.is_bound
            self._hashes.append((hashed, caller if caller.is_bound else caller.name))

    def __len__(self) -> int:
        return len(self._hashes)

    def __call__(self, headers: Mapping[str, str]) -> str | Caller | None:
        """Return whose the token in `Authorization: Bearer …` is: a name, or a Caller if it is bound; else None."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        hashed = _hash(token.strip())
        found: str | Caller | None = None
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


def _caller(match: re.Match[str]) -> Caller:
    name, _, client, of, contractor, peers = match.groups()
    others = tuple(bytes.fromhex(each) for each in (peers or "").split("/") if each)
    return Caller(name, _id(client or of), _id(contractor), others)


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


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
