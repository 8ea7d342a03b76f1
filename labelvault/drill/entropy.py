"""Which 32 bytes can be a key at all: filters that lose a uniformly random key once in tens of millions.

Every secret here is 32 uniformly random bytes. Text, pointers, counters and tables are not, and are most of
what was stolen. The bounds, for 32 uniform bytes:

- fewer than 21 different byte values: 3.6e-9 (summing the occupancy distribution of 32 draws out of 256);
- fewer than two bytes from 0x80 upward: 33 / 2^32 = 7.7e-9; fewer than two below 0x80: the same;
- eight zero bytes in a row: below 25 / 2^64;
- of four 64-bit words at least two below 2^48 (as pointers and small integers are): 6 / 2^32 = 1.4e-9.
"""

import re
import sys
from collections.abc import Iterator
from typing import Final

from labelvault.drill.evidence import View

KEY_BYTES: Final = 32
_LEAST_DIFFERENT: Final = 21
_LEAST_OF_EACH_HALF: Final = 2
_LOW: Final = bytes(range(0x80))

# A stretch begins and ends with a byte from 0x80 upward, and never has 32 lower ones in a row (2^-32 for a
# key).
_STRETCH: Final = re.compile(rb"[\x80-\xff](?>[\x00-\x7f]{0,31}+[\x80-\xff])*+", re.DOTALL)
_ZEROS: Final = re.compile(rb"\0{8,}")
_MARGIN: Final = KEY_BYTES - _LEAST_OF_EACH_HALF

_PIECE: Final = 4 << 20
_WORD: Final = 8
# Flags of one 64-bit word: 1 if it is 2^48 or more, and 2 more if some byte of it is 0x80 or above. The four
# words of a key: at least three of the first sort, and at least one of the second (2^-32 that a key has
# none).
_WORDS: Final = re.compile(
    rb"(?=[\1\3]{3}|[\1\3]{2}.[\1\3]|[\1\3].[\1\3]{2}|.[\1\3]{3})(?=.{0,3}[\2\3]).(?=.{3})", re.DOTALL
)


def may_be_key(window: bytes) -> bool:
    """Tell whether 32 bytes look random enough to be a key."""
    if len(set(window)) < _LEAST_DIFFERENT:
        return False
    low = KEY_BYTES - len(window.translate(None, _LOW))
    return _LEAST_OF_EACH_HALF <= low <= KEY_BYTES - _LEAST_OF_EACH_HALF


def windows(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, 32 bytes) for every offset at which a key may stand."""
    end = 0
    for match in _STRETCH.finditer(data):
        first = max(match.start() - _MARGIN, end)
        end = min(match.end() + _MARGIN, len(data))
        for start, stop in _without_zeros(data, first, end):
            for at in range(start, stop - KEY_BYTES + 1):
                window = data[at : at + KEY_BYTES]
                if may_be_key(window):
                    yield at, window
        # Two stretches lie 32 bytes apart or more; margins may overlap, and windows across are looked at
        # once.
        end = max(end - KEY_BYTES + 1, 0)


def aligned_offsets(data: View, start: int) -> Iterator[int]:
    """Yield every offset from `start` on, in steps of 8, at which a key may stand.

    Memory managers hand out addresses that are multiples of 8 at least, and a Python bytes object keeps its
    bytes 32 bytes behind its own; whole regions are captured, so offsets are aligned as addresses are.
    """
    for base in range(start, len(data) - KEY_BYTES + 1, _PIECE):
        piece = data[base : base + _PIECE + KEY_BYTES - _WORD]
        piece = piece[: len(piece) // _WORD * _WORD]
        for match in _WORDS.finditer(_flags(piece)):
            at = _WORD * match.start()
            if may_be_key(piece[at : at + KEY_BYTES]):
                yield base + at


def _flags(piece: bytes) -> bytes:
    """Return one byte for each word of a piece."""
    lanes = [int.from_bytes(piece[lane::_WORD], "little") for lane in range(_WORD)]
    top = lanes[6] | lanes[7] if sys.byteorder == "little" else lanes[0] | lanes[1]
    every = 0
    for lane in lanes:
        every |= lane
    count = len(piece) // _WORD
    large = top.to_bytes(count, "little").translate(_NON_ZERO)
    high = every.to_bytes(count, "little").translate(_HIGH)
    return (int.from_bytes(large, "little") | int.from_bytes(high, "little")).to_bytes(count, "little")


_NON_ZERO: Final = b"\0" + b"\1" * 255
_HIGH: Final = b"\0" * 128 + b"\2" * 128


def _without_zeros(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a stretch at runs of zeros that no key holds, leaving seven of them to either side."""
    for match in _ZEROS.finditer(data, start, end):
        yield start, min(match.start() + 7, end)
        start = max(match.end() - 7, start)
    yield start, end
