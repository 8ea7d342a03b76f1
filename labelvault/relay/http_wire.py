"""What both ends of the HTTP transport agree on: headers, bounds, bodies and the kinds of errors (docs/http.md).

Nothing here talks HTTP: the server is `labelvault.vendor.http`, the client `labelvault.relay.http`. Bodies are
canonical msgpack through `labelvault.wire.codec`; item payloads travel as they are, beside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

from labelvault.errors import ConflictError, FormatError, LabelVaultError, NotFoundError, StoreError
from labelvault.stores.values import MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES, MAX_STREAM_PAYLOAD_BYTES, StoredItem
from labelvault.wire.codec import MAX_BYTES, decode, encode
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import LEAF_BYTES, MAX_HEADER_BYTES
from labelvault.wire.schema import Between, Count, Fixed, UInt, decode_record, encode_record, from_value, to_value

VERSION_HEADER: Final = "labelvault-version"
"""Every request carries it. A web page of another origin can't send it without asking first, and is never allowed."""
VERSION: Final = "1"
ITEM_HEADER: Final = "labelvault-item"
"""The item's canonical header, in hex, beside its payload."""
BINARY: Final = "application/octet-stream"
MAX_BATCH_BYTES: Final = 112 * 1024 * 1024
"""A whole window of sealed items (`labelvault.client.sealing`): 32 MiB and one item of the largest size."""
MAX_PAGE_MESSAGES: Final = 500
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Messages in one answer; what is left follows in the next."""
MAX_WAIT_S: Final = 20.0
"""How long a request for messages may stay open."""
MAX_LEAVES: Final = -(-MAX_PAYLOAD_BYTES // LEAF_BYTES)
"""Of a payload that is put in one piece."""
MAX_STORED_LEAVES: Final = -(-MAX_STREAM_PAYLOAD_BYTES // LEAF_BYTES)
LEAF_HASH_BYTES: Final = 32
HEAD_SIZE_BYTES: Final = 4
MAX_ENCODED_PAGE: Final = MAX_PAGE_BYTES + MAX_MESSAGE_BYTES + 64 * MAX_PAGE_MESSAGES
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)

ERRORS: Final[dict[str, tuple[int, type[LabelVaultError]]]] = {
    "FormatError": (400, FormatError),
    "NotFoundError": (404, NotFoundError),
    "ConflictError": (409, ConflictError),
    "StoreError": (507, StoreError),
}
"""The library's errors that cross the wire, with the one status each has. The other end makes no others."""


@dataclass(frozen=True, slots=True)
class ItemHead:
    """What goes before each payload in a batch.

    Attributes:
        header: canonical bytes of an `ItemHeader`.
        queue: 16 bytes, or None.
        size: bytes of the payload that follows.
        leaves: its leaf hashes.
    """

    header: Annotated[bytes, Between(1, MAX_HEADER_BYTES)]
    queue: Annotated[bytes, Fixed(ID_BYTES)] | None
    size: Annotated[int, UInt(1, MAX_PAYLOAD_BYTES)]
    leaves: Annotated[tuple[Annotated[bytes, Fixed(LEAF_HASH_BYTES)], ...], Count(1, MAX_LEAVES)]


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to a batch.

    Attributes:
        new: how many were not stored before.
    """

    new: Annotated[int, UInt(0, 10_000)]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message in a page."""

    number: Annotated[int, UInt(1)]
    message: Annotated[bytes, Between(1, MAX_MESSAGE_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that wait.

    Attributes:
        messages: oldest first.
        more: others wait that did not fit.
    """

    messages: Annotated[tuple[Waiting, ...], Count(0, MAX_PAGE_MESSAGES)]
    more: bool


def item_head(item: StoredItem) -> bytes:
    """Return what goes before an item's payload: u32 length, canonical `ItemHead`.

    Raises:
        FormatError: a field is out of its bounds.
    """
    head = encode_record(ItemHead(item.header, item.queue, len(item.payload), item.leaves))
    return len(head).to_bytes(HEAD_SIZE_BYTES, "big") + head


def parse_item_head(data: bytes) -> ItemHead:
    """Parse a head, without its length.

    Raises:
        FormatError: not canonical, or out of bounds.
    """
    return decode_record(ItemHead, data, max_bytes=MAX_BYTES)


def encode_page(messages: list[tuple[int, bytes]], *, more: bool) -> bytes:
    """Encode as many messages as fit; at least the first, so that whoever reads on comes to an end."""
    taken: list[Waiting] = []
    size = 0
    for number, message in messages[:MAX_PAGE_MESSAGES]:
        size += len(message)
        if taken and size > MAX_PAGE_BYTES:
            break
        taken.append(Waiting(number, message))
    page = Page(tuple(taken), more or len(taken) < len(messages))
    return encode(to_value(page), max_bytes=MAX_ENCODED_PAGE)


def parse_page(data: bytes) -> Page:
    """Parse a page.

    Raises:
        FormatError: not canonical, or out of bounds.
    """
    return from_value(Page, decode(data, max_bytes=MAX_ENCODED_PAGE))


def parse_item_header(text: str) -> bytes:
    """Read what `LabelVault-Item` holds; what the bytes say is not looked at.

    Raises:
        FormatError: not lowercase hex, or too long.
    """
    if not _HEX.fullmatch(text) or len(text) > 2 * MAX_HEADER_BYTES:
        raise FormatError(f"{ITEM_HEADER} is an item's header in hex")
    return bytes.fromhex(text)


def split_leaves(data: bytes) -> tuple[bytes, ...]:
    """Split leaf hashes that were sent one after another.

    Raises:
        FormatError: none, too many, or not whole ones.
    """
    count, rest = divmod(len(data), LEAF_HASH_BYTES)
    if rest or not 1 <= count <= MAX_STORED_LEAVES:
        raise FormatError(f"leaf hashes are 1 to {MAX_STORED_LEAVES} times {LEAF_HASH_BYTES} bytes")
    return tuple(_pieces(data, LEAF_HASH_BYTES))


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
