"""What a store takes: bounds on every argument, checked before anything is touched. All backends use it."""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.merkle import leaf_hash
from labelvault.errors import FormatError, SignatureError
from labelvault.stores.values import (
    MAX_BATCH_ITEMS,
    MAX_CLAIM_TTL_S,
    MAX_CONTRACTOR_ID_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PAGE,
    MAX_PAYLOAD_BYTES,
    MAX_STREAM_PAYLOAD_BYTES,
    StoredItem,
)
from labelvault.wire.ahead import Status
from labelvault.wire.answers import Ack
from labelvault.wire.certified import open_certified
from labelvault.wire.codec import MAX_INT
from labelvault.wire.frame import Frame, Signed, open_parsed, parse_frame
from labelvault.wire.ids import ID_BYTES, KEY_ID_BYTES, ClientId, lease_mailbox, status_mailbox
from labelvault.wire.items import LEAF_BYTES, ItemHeader, parse_header
from labelvault.wire.messages import Lease, LeaseOuter, Receipt
from labelvault.wire.schema import decode_record
from labelvault.wire.times import to_ms, truncate

MINUTE_S: Final = 60
HOUR_S: Final = 3600
_ITEM_LABEL: Final = b"labelvault/v1/stored-item\0"
_MESSAGE_LABEL: Final = b"labelvault/v1/stored-message\0"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """An item version whose header parsed and whose payload gave its leaves. Only `check_items` makes one."""

    header: ItemHeader
    stored: StoredItem = field(repr=False)

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """Client, item and version: what it is found by."""
        return self.header.client, self.header.item, self.header.version


def check_items(items: Sequence[StoredItem]) -> list[CheckedItem]:
    """Check a batch, payload bytes included.

    Raises:
        FormatError: too many items, a malformed header or queue, a size out of bounds, or leaves that don't
            fit.
    """
    if len(items) > MAX_BATCH_ITEMS:
        raise FormatError(f"{len(items)} items at once; at most {MAX_BATCH_ITEMS}")
    return [_check_item(item) for item in items]


def _check_item(item: StoredItem) -> CheckedItem:
    header = parse_header(item.header)
    if item.queue is not None:
        check_id(item.queue, "a queue id")
    if not 1 <= len(item.payload) <= MAX_PAYLOAD_BYTES:
        raise FormatError(f"a payload of {len(item.payload)} bytes; 1 to {MAX_PAYLOAD_BYTES} are allowed")
    found = tuple(leaf_hash(piece) for piece in split(item.payload))
    if len(item.leaves) != len(found) or not all(map(hmac.compare_digest, found, item.leaves)):
        raise FormatError(f"the payload of item {header.item.hex()} does not give its leaf hashes")
    return CheckedItem(header, item)


def check_stream(header: bytes, size: int, queue: bytes | None) -> ItemHeader:
    """Check what goes before a payload that comes as a stream; return the header, parsed.

    Raises:
        FormatError: a malformed header or queue, or a size out of bounds.
    """
    if queue is not None:
        check_id(queue, "a queue id")
    check_int(size, "a payload's size", 1, MAX_STREAM_PAYLOAD_BYTES)
    return parse_header(header)


def whole(pieces: Iterable[bytes], size: int) -> bytes:
    """Return a payload that comes in pieces.

    Raises:
        FormatError: it has another size; not more than that is held.
    """
    found, held = [], 0
    for piece in pieces:
        held += len(piece)
        if held > size:
            break
        found.append(piece)
    if held != size:
        raise FormatError(f"the payload has not the {size} bytes that were announced")
    return b"".join(found)


def in_leaves(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield a stream's pieces as they come, once each is what it must be.

    Args:
        pieces: the payload in 1 MiB leaves, the last one shorter.
        size: of the payload, in bytes.

    Raises:
        FormatError: they have other sizes, or don't give the whole. What `pieces` raises goes through.
    """
    left = size
    for piece in pieces:
        # An empty piece where none is left would be stored as no piece at all.
        if not piece or len(piece) != min(left, LEAF_BYTES):
            raise FormatError(f"a payload of {size} bytes comes in pieces of {LEAF_BYTES}, the last one shorter")
        left -= len(piece)
        yield piece
    if left:
        raise FormatError(f"a payload of {size} bytes ends {left} bytes early")


def split(payload: bytes) -> Iterator[bytes]:
    """Yield a payload's 1 MiB pieces; the last may be shorter."""
    for start in range(0, len(payload), LEAF_BYTES):
        yield payload[start : start + LEAF_BYTES]


def item_checksum(header: bytes, size: int, queue: bytes | None, stored_hour: int, leaves: Sequence[bytes]) -> bytes:
    """Return 32 bytes over all that is stored of an item version, so that bit rot in any of it shows.

    No protection against whoever writes to the store: the digest in catalog and lease is.
    """
    return tagged_hash(
        _ITEM_LABEL,
        len(header).to_bytes(2, "big") + header,
        size.to_bytes(8, "big"),
        b"\0" if queue is None else b"\1" + queue,
        stored_hour.to_bytes(8, "big"),
        *leaves,
    )


def message_hash(mailbox: bytes, message: bytes) -> bytes:
    """Return the 32-byte hash by which a mailbox knows a message."""
    return tagged_hash(_MESSAGE_LABEL, mailbox, message)


def parse_receipt(message: bytes) -> Signed[Receipt] | None:
    """Return the receipt in a message if its own signer signed it; None for any other message.

    This says that the named key signed, and nothing about whose key it is.
    """
    try:
        return _receipt(parse_frame(message), message)
    except FormatError:
        return None


def _receipt(frame: Frame, message: bytes) -> Signed[Receipt] | None:
    try:
        return open_parsed(frame, message, Receipt, frame.signer)
    except (FormatError, SignatureError):
        # Not a failure: to the vault every other message is opaque, and its receiver is the one to judge it.
        return None


@dataclass(frozen=True, slots=True)
class PostedStatus:
    """A client's status that verified, and the serial of the certificate that it brought. `parse_status` makes it."""

    status: Signed[Status]
    serial: int


def parse_lease(mailbox: bytes, message: bytes) -> LeaseOuter | None:
    """Return the readable part of a lease that stands in its contractor's mailbox of leases; None for all else.

    Nothing of it is verified: a store knows no issuer.
    """
    try:
        frame = parse_frame(message)
    except FormatError:
        return None
    return _lease(frame, mailbox) if frame.type == Lease.TYPE else None


def _lease(frame: Frame, mailbox: bytes) -> LeaseOuter | None:
    try:
        outer = decode_record(LeaseOuter, decode_record(Lease, frame.body).outer)
    except FormatError:
        return None
    return outer if mailbox == lease_mailbox(ClientId(outer.client), outer.contractor) else None


def parse_status(mailbox: bytes, message: bytes) -> PostedStatus | None:
    """Return a client's status if it verifies and stands in that client's own mailbox; None for all else."""
    try:
        frame = parse_frame(message)
        if frame.type != Status.TYPE:
            return None
        client = ClientId(decode_record(Status, frame.body).client)
        if mailbox != status_mailbox(client):
            return None
        status, certificate = open_certified(message, Status, client)
    except (FormatError, SignatureError):
        return None
    return PostedStatus(status, certificate.message.serial)


def parse_ack(message: bytes) -> Signed[Ack] | None:
    """Return the ack in a message if the issuer of the client that it names signed it; None for any other message.

    This says nothing about whose client that is.
    """
    try:
        frame = parse_frame(message)
        if frame.type != Ack.TYPE:
            return None
        return open_certified(message, Ack, decode_record(Ack, frame.body).client)[0]
    except (FormatError, SignatureError):
        return None


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that can be posted, and what it is to a store, if anything. `check_post` makes it."""

    mailbox: bytes
    message: bytes = field(repr=False)
    receipt: Signed[Receipt] | None = None
    lease: LeaseOuter | None = None
    status: PostedStatus | None = None
    ack: Signed[Ack] | None = None


def check_post(mailbox: bytes, message: bytes) -> Posted:
    """Look at a message that is to be posted.

    Raises:
        FormatError: mailbox or message are out of bounds.
    """
    check_message(mailbox, message)
    try:
        frame = parse_frame(message)
    except FormatError:
        return Posted(mailbox, message)
    # What says that it is something else is verified as nothing else.
    match frame.type:
        case Receipt.TYPE:
            return Posted(mailbox, message, receipt=_receipt(frame, message))
        case Lease.TYPE:
            return Posted(mailbox, message, lease=_lease(frame, mailbox))
        case Status.TYPE:
            return Posted(mailbox, message, status=parse_status(mailbox, message))
        case Ack.TYPE:
            return Posted(mailbox, message, ack=parse_ack(message))
    return Posted(mailbox, message)


def check_id(value: object, what: str, size: int = ID_BYTES) -> None:
    """Refuse anything but `size` bytes."""
    if not isinstance(value, bytes) or len(value) != size:
        raise FormatError(f"{what} has {size} bytes")


def check_key(client: bytes, item: bytes, version: int) -> None:
    """Refuse what can't name an item version."""
    check_id(client, "a client id", KEY_ID_BYTES)
    check_id(item, "an item id")
    check_int(version, "a version", 1, 2**32)


def check_owner(client: bytes | None, project: bytes | None) -> None:
    """Refuse what can't name a client or project; None names all."""
    if client is not None:
        check_id(client, "a client id", KEY_ID_BYTES)
    if project is not None:
        check_id(project, "a project id")


def check_message(mailbox: object, message: object) -> None:
    """Refuse what can't be posted."""
    check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
    if not isinstance(message, bytes) or not 1 <= len(message) <= MAX_MESSAGE_BYTES:
        raise FormatError(f"a message has 1 to {MAX_MESSAGE_BYTES} bytes")


def check_int(value: object, what: str, least: int = 0, most: int = MAX_INT) -> None:
    """Refuse an integer out of bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise FormatError(f"{what} is an integer from {least} to {most}")


def check_page(after: int, limit: int) -> None:
    """Refuse a cursor or page size out of bounds."""
    check_int(after, "a cursor")
    check_int(limit, "a page", 1, MAX_PAGE)


def check_claim(contractor: str, ttl_s: int) -> None:
    """Refuse a contractor id or lifetime that a claim can't have."""
    try:
        size = len(contractor.encode())
    except (AttributeError, UnicodeEncodeError) as error:
        raise FormatError("a contractor id is a text") from error
    if not 1 <= size <= MAX_CONTRACTOR_ID_BYTES:
        raise FormatError(f"a contractor id has 1 to {MAX_CONTRACTOR_ID_BYTES} bytes")
    check_int(ttl_s, "a claim's ttl_s", 1, MAX_CLAIM_TTL_S)


def milliseconds(now: datetime) -> int:
    """Return Unix milliseconds, rounded down.

    Raises:
        FormatError: naive or not UTC.
    """
    return to_ms(truncate(now))


def coarse(now: datetime, unit_s: int) -> int:
    """Return how many whole units have passed since 1970."""
    return milliseconds(now) // (1000 * unit_s)


def moment(count: int, unit_s: int) -> datetime:
    """Return the start of a unit that `coarse` counted."""
    return _EPOCH + timedelta(seconds=count * unit_s)
