"""Reading requests: bodies piece by piece under a bound, ranges and numbers (docs/http.md)."""

import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_INT

_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.ASCII)


class Refused(Exception):
    """A request that is answered before it reaches the vault.

    Attributes:
        status: HTTP status.
        kind: for the caller's software.
        retry_s: when to come again, in seconds; 0 for never.
    """

    def __init__(self, status: int, kind: str, message: str, *, retry_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_s = retry_s


class _Request(Protocol):
    """What `Body` needs of a request."""

    @property
    def headers(self) -> "_Headers": ...

    def stream(self) -> AsyncIterator[bytes]: ...


class _Headers(Protocol):
    def getlist(self, key: str) -> list[str]: ...


class Body:
    """A request's body, read in order. Its size must be declared, so that it can be refused before it is read."""

    def __init__(self, request: _Request, most: int) -> None:
        """Take at most `most` bytes.

        Raises:
            Refused: its size is not declared, or too large.
        """
        declared = request.headers.getlist("content-length")
        if len(declared) != 1 or not _DIGITS.fullmatch(declared[0]):
            raise Refused(411, "LengthRequired", "say the size of the body")
        self._declared = int(declared[0])
        if self._declared > most:
            raise Refused(413, "TooLarge", f"a body of {self._declared} bytes; at most {most}")
        self._left = self._declared
        self._stream = request.stream()
        self._held = b""

    def declared(self) -> int:
        """Return how many bytes the sender announced."""
        return self._declared

    async def at_end(self) -> bool:
        """Tell whether nothing follows."""
        return self._left == 0

    async def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            FormatError: the body ends before.
        """
        # Checked against what was announced, before anything of this size is held.
        if size > self._left:
            raise FormatError("the body ends too early")
        parts: list[bytes] = []
        missing = size
        while missing:
            piece = self._held or await self._next()
            parts.append(piece[:missing])
            self._held = piece[missing:]
            missing -= len(parts[-1])
        self._left -= size
        return b"".join(parts)

    async def whole(self) -> bytes:
        """Return all that is left."""
        return await self.exactly(self._left)

    async def _next(self) -> bytes:
        async for piece in self._stream:
            if piece:
                return piece
        raise FormatError("the body ends too early")


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end of a single byte range, cut to `size`; (0, 0) if it holds nothing; None to ignore it.

    Several ranges, other units and malformed ones are ignored, as RFC 9110 (section 14.2) allows: the whole is sent.
    """
    match = _RANGE.fullmatch(text or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        suffix = int(last)
        return (max(0, size - suffix), size) if suffix else (0, 0)
    start = int(first)
    if last and int(last) < start:
        return None
    end = min(size, int(last) + 1) if last else size
    return (start, end) if start < size else (0, 0)


def number(text: str, what: str) -> int:
    """Read a number in a path or query.

    Raises:
        FormatError: not decimal digits, or above 2^63 - 1.
    """
    if not _DIGITS.fullmatch(text) or int(text) > MAX_INT:
        raise FormatError(f"{what} is a number")
    return int(text)
