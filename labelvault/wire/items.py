"""How an item is named at the vault: its public header (docs/spec.md, section 5.1)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

from labelvault.crypto.random import random_bytes
from labelvault.errors import FormatError
from labelvault.wire.schema import Fixed, UInt, decode_record, encode_record

ITEM_FORMAT: Final = 1
"""One suite per format: XChaCha20-Poly1305 wraps, Cobblestone-256 payloads, SHA-256 digests. Nothing is negotiated."""
MAX_HEADER_BYTES: Final = 256
_ITEM_BYTES: Final = 16
_KINDS: Final = (int, bytes, bytes, bytes, int)
LEAF_BYTES: Final = 1024 * 1024
"""A payload's digest is a tree over pieces of this size, so that a range can be checked alone."""


@dataclass(frozen=True, slots=True)
class ItemHeader:
    """Which item version a payload belongs to. All of it is public, and bound to payload and wrap alike.

    Attributes:
        format: 1; any other is refused.
        client: 32 bytes.
        project: 16 bytes.
        item: 16 bytes, the same for every version.
        version: from 1 upward.
    """

    format: Annotated[int, UInt(ITEM_FORMAT, ITEM_FORMAT)]
    client: Annotated[bytes, Fixed(32)]
    project: Annotated[bytes, Fixed(16)]
    item: Annotated[bytes, Fixed(_ITEM_BYTES)]
    version: Annotated[int, UInt(1, 2**32)]

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            FormatError: a field is out of its bounds.
        """
        kinds = (type(self.format), type(self.client), type(self.project), type(self.item), type(self.version))
        # Values that are equal to others but of another kind (True and 1) must not find what was kept for those.
        if kinds != _KINDS or len(self.item) != _ITEM_BYTES:
            return encode_record(self)
        before, behind = _around_item(self.format, self.client, self.project, self.version)
        return before + self.item + behind


@lru_cache(maxsize=64)
def _around_item(format: int, client: bytes, project: bytes, version: int) -> tuple[bytes, bytes]:
    """Return what stands before and behind the item's id, which is all that differs between most of many headers."""
    item = random_bytes(_ITEM_BYTES)
    before, behind = encode_record(ItemHeader(format, client, project, item, version)).split(item)
    return before, behind


def parse_header(data: bytes) -> ItemHeader:
    """Parse a header.

    Raises:
        FormatError: not canonical, another format, or malformed.
    """
    item = data[_ITEM_AT : _ITEM_AT + _ITEM_BYTES]
    # Without its item's id, a header is that of most others of its project, and was parsed before.
    around = _parsed_around(data[:_ITEM_AT], data[_ITEM_AT + _ITEM_BYTES :]) if len(item) == _ITEM_BYTES else None
    if around is None:
        return _parsed(data)
    return ItemHeader(around.format, around.client, around.project, item, around.version)


@lru_cache(maxsize=64)
def _parsed_around(before: bytes, behind: bytes) -> ItemHeader | None:
    """Return a header of whatever item, if its id stands between these; then every id may. Else None.

    Raises:
        FormatError: as `parse_header`.
    """
    item = random_bytes(_ITEM_BYTES)
    header = _parsed(before + item + behind)
    return header if header.item == item else None


def _parsed(data: bytes) -> ItemHeader:
    if len(data) > MAX_HEADER_BYTES:
        raise FormatError(f"{len(data)} bytes, more than the {MAX_HEADER_BYTES} allowed")
    return decode_record(ItemHeader, data)


_ITEM_AT: Final = encode_record(ItemHeader(ITEM_FORMAT, bytes(32), bytes(16), b"i" * _ITEM_BYTES, 1)).index(
    b"i" * _ITEM_BYTES
)
"""Where the item's id stands in a header: what is before it has one size."""
