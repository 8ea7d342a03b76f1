"""How an item is named at the vault: its public header (docs/spec.md, section 5.1)."""

from dataclasses import dataclass
from typing import Annotated, Final

from labelvault.wire.schema import Fixed, UInt, decode_record, encode_record

ITEM_FORMAT: Final = 1
"""One suite per format: XChaCha20-Poly1305 wraps, Cobblestone-256 payloads, SHA-256 digests. Nothing is negotiated."""
MAX_HEADER_BYTES: Final = 256
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
    item: Annotated[bytes, Fixed(16)]
    version: Annotated[int, UInt(1, 2**32)]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode_record(self)


def parse_header(data: bytes) -> ItemHeader:
    """Parse a header.

    Raises:
        FormatError: not canonical, another format, or malformed.
    """
    return decode_record(ItemHeader, data, max_bytes=MAX_HEADER_BYTES)
