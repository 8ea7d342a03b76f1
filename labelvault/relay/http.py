"""The vault over HTTP(S): a relay to a server that is trusted with nothing (docs/http.md).

It can withhold, delay and lie about what it stores, as the vault itself can. It can't choose an error's class, make
this side read without end, send it elsewhere, or learn more than the vault learns. Needs the extra `service`.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlencode

from labelvault.crypto.merkle import leaf_hash
from labelvault.errors import ConflictError, FormatError, LabelVaultError, NotFoundError, RelayError, StoreError
from labelvault.relay.http_address import parse_address
from labelvault.relay.http_send import Answer, Call, Sender
from labelvault.relay.http_wire import (
    BINARY,
    ERRORS,
    ITEM_HEADER,
    LEAF_HASH_BYTES,
    MAX_BATCH_BYTES,
    MAX_ENCODED_PAGE,
    MAX_STORED_LEAVES,
    MAX_WAIT_S,
    VERSION,
    VERSION_HEADER,
    Stored,
    item_head,
    parse_page,
    split_leaves,
)
from labelvault.stores.checks import (
    check_id,
    check_int,
    check_key,
    check_message,
    check_page,
    check_stream,
    split,
    whole,
)
from labelvault.stores.values import MAX_BATCH_ITEMS, MAX_PAYLOAD_BYTES, MAX_STREAM_PAYLOAD_BYTES, ItemPart, StoredItem
from labelvault.wire.ids import KEY_ID_BYTES
from labelvault.wire.items import MAX_HEADER_BYTES
from labelvault.wire.schema import decode_record

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}", re.ASCII)
_CONTENT_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19})", re.ASCII)
_SMALL: Final = 4096
_ASK_FOR_ONE: Final = "Write the token that the vendor gave you into the file vault.token in the home, mode 0600."
_T = TypeVar("_T")


class HttpRelay:
    """A `labelvault.relay.protocol.Relay` over HTTP(S).

    Every operation is tried again a few times, since all can be repeated. A repeated `put_items` whose first answer was
    lost counts what it had stored already as not new.
    """

    def __init__(self, address: str, *, token: str | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        """Reach a vault; nothing is sent yet.

        Args:
            address: `https://host[:port][/path]`; `http://` only where the host is this machine.
            token: proves to the vault who we are; it authorises nothing else.
            sleep: pauses between attempts.

        Raises:
            RelayError: no such address, plain HTTP to another machine, or a malformed token.
        """
        base = parse_address(address)
        if token is not None and not _TOKEN.fullmatch(token):
            raise RelayError("the vault's token has characters that no token has")
        headers = [(VERSION_HEADER, VERSION), ("accept-encoding", "identity"), ("user-agent", "labelvault")]
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        self._open_sender: Sender | None = Sender(base, tuple(headers), sleep)

    def put_items(self, items: Sequence[StoredItem]) -> int:
        """Store item versions, all or none; see `Relay`. A batch has at most 112 MiB.

        Raises:
            FormatError: also a batch that is larger.
        """
        if len(items) > MAX_BATCH_ITEMS:
            raise FormatError(f"{len(items)} items at once; at most {MAX_BATCH_ITEMS}")
        heads = [item_head(item) for item in items]
        size = sum(len(head) + len(item.payload) for head, item in zip(heads, items, strict=True))
        if size > MAX_BATCH_BYTES:
            raise FormatError(f"{size} bytes of items at once; at most {MAX_BATCH_BYTES}")

        def pieces() -> Iterator[bytes]:
            for head, item in zip(heads, items, strict=True):
                yield head
                yield item.payload

        call = Call("PUT", "/v1/items", _SMALL, _sized(size), pieces, size)
        answer = self._send(call, "storing items", "ConflictError", "FormatError")
        stored = _parsed(partial(decode_record, Stored, _body(answer, 200)))
        if stored.new > len(items):
            raise _no_sense("more items than it was sent")
        return stored.new

    def put_stream(self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None) -> tuple[bytes, ...]:
        """Store an item version whose payload comes in pieces; see `Relay`. It is held in memory: at most 70 MiB.

        Raises:
            FormatError: also a payload that is larger.
        """
        check_stream(header, size, queue)
        if size > MAX_PAYLOAD_BYTES:
            raise FormatError(f"{size} bytes sealed; at most {MAX_PAYLOAD_BYTES} (70 MiB) go over HTTP")
        payload = whole(pieces, size)
        leaves = tuple(map(leaf_hash, split(payload)))
        self.put_items([StoredItem(header, payload, leaves, queue)])
        return leaves

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """Return a range of a payload; see `Relay`."""
        check_key(client, item, version)
        check_int(offset, "an offset")
        if length is not None:
            check_int(length, "a length")
        path, what = _item_path(client, item, version), f"item {item.hex()}"
        if (offset, length) == (0, None):
            answer = self._send(Call("GET", path, MAX_PAYLOAD_BYTES), what, "NotFoundError")
            return _part(answer, 200, len(answer.body), answer.body)
        # A range can't be empty, so for nothing one byte is asked for. And nothing lies beyond the largest payload.
        most = min(MAX_PAYLOAD_BYTES if length is None else max(length, 1), MAX_PAYLOAD_BYTES)
        asked = f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + most - 1}"
        answer = self._send(Call("GET", path, most, (("range", asked),)), what, "NotFoundError")
        if answer.status == 416:
            return _nothing(answer, offset)
        start, end, size = _content_range(answer)
        if start != offset or not len(answer.body) == end - start == min(most, size - offset):
            raise _no_sense("another range than it was asked for")
        return _part(answer, 206, size, b"" if length == 0 else answer.body)

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return stored leaf hashes; see `Relay`."""
        check_key(client, item, version)
        path = f"{_item_path(client, item, version)}/leaves"
        call = Call("GET", path, MAX_STORED_LEAVES * LEAF_HASH_BYTES)
        answer = self._send(call, f"item {item.hex()}", "NotFoundError")
        return _parsed(partial(split_leaves, _body(answer, 200)))

    def post(self, mailbox: bytes, message: bytes) -> None:
        """Leave a message; see `Relay`."""
        check_message(mailbox, message)
        call = Call("POST", _mailbox_path(mailbox), 0, _sized(len(message)), lambda: iter((message,)), len(message))
        _body(self._send(call, "posting a message"), 204)

    def fetch(
        self, mailbox: bytes, *, after: int = 0, limit: int = 100, wait_s: float = 0.0
    ) -> list[tuple[int, bytes]]:
        """Return what waits, or wait for it; see `Relay`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        check_page(after, limit)
        found: list[tuple[int, bytes]] = []
        # The vault cuts a page by its bytes and says so; each further one brings a message at least.
        while True:
            wait_ms = int(1000 * min(max(wait_s, 0.0), MAX_WAIT_S)) if not found else 0
            query = urlencode({"after": after, "limit": limit - len(found), "wait_ms": wait_ms})
            call = Call("GET", f"{_mailbox_path(mailbox)}?{query}", MAX_ENCODED_PAGE, wait_s=wait_ms / 1000)
            answer = self._send(call, "fetching messages")
            page = _parsed(partial(parse_page, _body(answer, 200)))
            if len(found) + len(page.messages) > limit or (page.more and not page.messages):
                raise _no_sense("another number of messages than it was asked for")
            for each in page.messages:
                if each.number <= after:
                    raise _no_sense("messages out of order")
                after = each.number
                found.append((each.number, each.message))
            if not page.more or len(found) == limit:
                return found

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message; see `Relay`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        check_int(number, "a message number")
        call = Call("POST", f"{_mailbox_path(mailbox)}/{number}/ack", 0, _sized(0))
        _body(self._send(call, "acknowledging a message"), 204)

    def close(self) -> None:
        """Close the connections; see `Relay`."""
        sender, self._open_sender = self._open_sender, None
        if sender is not None:
            sender.close()

    def _send(self, call: Call, what: str, *kinds: str) -> Answer:
        """Send; raise StoreError or one of the `kinds` that this operation can end in, RelayError for whatever else."""
        if self._open_sender is None:
            raise StoreError("the relay is closed")
        answer = self._open_sender.send(call)
        if answer.status >= 400 and answer.status != 416:
            raise _refusal(answer, what, ("StoreError", *kinds))
        return answer


def _refusal(answer: Answer, what: str, kinds: tuple[str, ...]) -> LabelVaultError:
    """Return the error for a refusal: a kind of ours where status and kind agree, in our own words; else RelayError."""
    try:
        said = json.loads(answer.body)
        kind = said["error"] if isinstance(said, dict) else None
    except (ValueError, KeyError, RecursionError):
        kind = None
    if kind in kinds and ERRORS[kind][0] == answer.status:
        return _of_kind(kind, what)
    return _by_status(answer.status, what)


def _of_kind(kind: str, what: str) -> LabelVaultError:
    texts: dict[str, LabelVaultError] = {
        "FormatError": FormatError(f"{what}: the vault refuses it as malformed or out of bounds"),
        "NotFoundError": NotFoundError(f"{what}: the vault has no such thing stored"),
        "ConflictError": ConflictError(f"{what}: the vault has something else stored under this name"),
        "StoreError": StoreError(f"{what}: the vault's storage or mailbox is full, or failed"),
    }
    return texts[kind]


def _by_status(status: int, what: str) -> LabelVaultError:
    if status in (401, 403):
        said = f"{what}: the vault refuses our token, or its absence (HTTP {status})"
        return RelayError(said, next_step=_ASK_FOR_ONE)
    if status == 413:
        return RelayError(f"{what}: more bytes than this vault takes at once (HTTP 413)")
    return RelayError(f"{what}: the vault answers with HTTP {status}; check its address")


def _body(answer: Answer, status: int) -> bytes:
    if answer.status != status:
        raise _by_status(answer.status, "a request")
    return answer.body


def _parsed(parse: Callable[[], _T]) -> _T:
    try:
        return parse()
    except FormatError as error:
        # Not ours to mend: what we sent was in order, what came back is not.
        raise _no_sense("bytes that are no answer") from error


def _no_sense(what: str) -> RelayError:
    return RelayError(f"the vault answers with {what}")


def _item_header(answer: Answer) -> bytes:
    said = answer.headers.get(ITEM_HEADER, "")
    if not re.fullmatch(r"(?:[0-9a-f]{2})+", said) or len(said) > 2 * MAX_HEADER_BYTES:
        raise _no_sense("an item without its header")
    return bytes.fromhex(said)


def _content_range(answer: Answer) -> tuple[int, int, int]:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if answer.status != 206 or match is None or match[1] is None:
        raise _no_sense("no range")
    start, end, size = int(match[1]), int(match[2]) + 1, int(match[3])
    if not start < end <= size <= MAX_STREAM_PAYLOAD_BYTES:
        raise _no_sense("a range that can't be")
    return start, end, size


def _nothing(answer: Answer, offset: int) -> ItemPart:
    """Return the empty part at a payload's very end; refuse an offset beyond it."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if (
        match is None
        or match[1] is not None
        or not 1 <= int(match[3]) <= MAX_STREAM_PAYLOAD_BYTES
        or offset < int(match[3])
    ):
        raise _no_sense("no range where there is one")
    check_int(offset, "an offset", 0, int(match[3]))
    return ItemPart(_item_header(answer), int(match[3]), b"")


def _part(answer: Answer, status: int, size: int, data: bytes) -> ItemPart:
    _body(answer, status)
    if not 1 <= size <= MAX_STREAM_PAYLOAD_BYTES:
        raise _no_sense("a size that no item has")
    return ItemPart(_item_header(answer), size, data)


def _item_path(client: bytes, item: bytes, version: int) -> str:
    return f"/v1/items/{client.hex()}/{item.hex()}/{version}"


def _mailbox_path(mailbox: bytes) -> str:
    return f"/v1/mailboxes/{mailbox.hex()}/messages"


def _sized(size: int) -> tuple[tuple[str, str], ...]:
    return ("content-length", str(size)), ("content-type", BINARY)
