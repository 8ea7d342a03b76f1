"""What changed between two states of a file, in pages, written and put in place in constant memory (docs/spec.md, 8.7).

    changes = u64 size of the newer state ‖ (u32 number ‖ page)…, by rising number

Only what is authenticated is applied: the bounds here keep a fault from growing, they are no check of origin.
"""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from labelvault.errors import FormatError

PAGE_BYTES: Final = 4096
"""SQLite's page, so that a changed row costs its pages and no others. The last one is filled up with zeros."""
_RUN_PAGES: Final = 256
_SIZE_BYTES: Final = 8
_NUMBER_BYTES: Final = 4


def write_changes(older: BinaryIO, newer: BinaryIO, target: BinaryIO) -> None:
    """Write what makes the newer state out of the older one.

    Args:
        older: read from its beginning.
        newer: read from its beginning.
        target: written at its place.
    """
    target.write(newer.seek(0, os.SEEK_END).to_bytes(_SIZE_BYTES, "big"))
    older.seek(0)
    newer.seek(0)
    first = 0
    while run := newer.read(_RUN_PAGES * PAGE_BYTES):
        before = older.read(len(run))
        if run != before:
            for place in range(0, len(run), PAGE_BYTES):
                page = run[place : place + PAGE_BYTES]
                if page != before[place : place + PAGE_BYTES]:
                    number = first + place // PAGE_BYTES
                    target.write(number.to_bytes(_NUMBER_BYTES, "big") + page.ljust(PAGE_BYTES, b"\0"))
        first += _RUN_PAGES


def apply_changes(pieces: Iterable[bytes], file: BinaryIO) -> None:
    """Put changes in place.

    Args:
        pieces: of what `write_changes` wrote, of any sizes.
        file: the older state; becomes the newer one.

    Raises:
        FormatError: cut, out of order, or beyond the size that they say.
    """
    size, last = None, -1
    for record in _records(pieces):
        if size is None:
            size = int.from_bytes(record, "big")
            continue
        number = int.from_bytes(record[:_NUMBER_BYTES], "big")
        if number <= last or number * PAGE_BYTES >= size:
            raise FormatError("changed pages out of order")
        last = number
        file.seek(number * PAGE_BYTES)
        file.write(record[_NUMBER_BYTES:])
    if size is None:
        raise FormatError("changes without a size")
    file.flush()
    file.truncate(size)


def _records(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the size, then each number with its page."""
    ready, wanted = bytearray(), _SIZE_BYTES
    for piece in pieces:
        ready += piece
        place = 0
        while len(ready) - place >= wanted:
            yield bytes(ready[place : place + wanted])
            place += wanted
            wanted = _NUMBER_BYTES + PAGE_BYTES
        del ready[:place]
    if ready:
        raise FormatError("changed pages are cut")
