"""The vault over HTTP(S): a relay to a server that is trusted with nothing (docs/http.md).

It can withhold, delay and lie about what it stores, as the vault itself can. It can't choose an error's class, make
this side read without end, send it elsewhere, or learn more than the vault learns. Needs the extra `service`.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Final
from urllib.parse import urlencode

from labelvault.crypto.merkle import leaf_hash
from labelvault.errors import FormatError, RelayError, StoreError
from labelvault.relay.http_address import parse_address
from labelvault.relay.http_answers import body_of, content_range, no_sense, nothing_at, parsed, part_of, refusal
from labelvault.relay.http_send import Answer, Call, Once, Sender
from labelvault.relay.http_wire import (
    BINARY,
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
    in_leaves,
    split,
    whole,
)
from labelvault.stores.values import MAX_BATCH_ITEMS, MAX_PAYLOAD_BYTES, ItemPart, Reply, StoredItem
from labelvault.wire.ids import KEY_ID_BYTES
from labelvault.wire.items import LEAF_BYTES
from labelvault.wire.schema import decode_record

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}", re.ASCII)
_SMALL: Final = 4096
_HELD_BYTES: Final = 16 * 1024 * 1024
"""Payloads of streams that are held in memory all the same, so that a lost connection can be made good."""
_FLUSH_BYTES_PER_S: Final = 8 * 1024 * 1024
"""How fast, at the least, a vault's disk takes a stream that has come: it answers once all is durable."""


class HttpRelay:
    """A `labelvault.relay.protocol.Relay` over HTTP(S).

    Every operation is tried again a few times, since all can be repeated; but not a stream that has begun, whose pieces
    can be taken once. A repeated `put_items` whose first answer was lost counts what it had stored already as not new.
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
        stored = parsed(partial(decode_record, Stored, body_of(answer, 200)))
        if stored.new > len(items):
            raise no_sense("more items than it was sent")
        return stored.new

    def put_stream(self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None) -> tuple[bytes, ...]:
        """Store an item version whose payload comes in pieces; see `Relay`.

        Above 16 MiB it goes out as it comes, over a connection of its own, and so once only.
        """
        parsed_header = check_stream(header, size, queue)
        if size <= _HELD_BYTES:
            payload = whole(pieces, size)
            leaves = tuple(map(leaf_hash, split(payload)))
            self.put_items([StoredItem(header, payload, leaves, queue)])
            return leaves
        path = _item_path(parsed_header.client, parsed_header.item, parsed_header.version)
        count = -(-size // LEAF_BYTES)
        once = Once(in_leaves(pieces, size))
        call = Call(
            "PUT",
            path if queue is None else f"{path}?queue={queue.hex()}",
            count * LEAF_HASH_BYTES,
            (*_sized(size), (ITEM_HEADER, header.hex())),
            once.take,
            wait_s=size / _FLUSH_BYTES_PER_S,
            once=once,
        )
        with closing(self._sender().alone()) as sender:
            answer = self._send(
                call, f"storing item {parsed_header.item.hex()}", "ConflictError", "FormatError", by=sender
            )
        found = parsed(partial(split_leaves, body_of(answer, 200)))
        if len(found) != count:
            raise no_sense("another number of leaf hashes than it was sent")
        return found

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
            return part_of(answer, 200, len(answer.body), answer.body)
        # A range can't be empty, so for nothing one byte is asked for. And nothing lies beyond the largest payload.
        most = min(MAX_PAYLOAD_BYTES if length is None else max(length, 1), MAX_PAYLOAD_BYTES)
        asked = f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + most - 1}"
        answer = self._send(Call("GET", path, most, (("range", asked),)), what, "NotFoundError")
        if answer.status == 416:
            return nothing_at(answer, offset)
        start, end, size = content_range(answer)
        if start != offset or not len(answer.body) == end - start == min(most, size - offset):
            raise no_sense("another range than it was asked for")
        return part_of(answer, 206, size, b"" if length == 0 else answer.body)

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return stored leaf hashes; see `Relay`."""
        check_key(client, item, version)
        path = f"{_item_path(client, item, version)}/leaves"
        call = Call("GET", path, MAX_STORED_LEAVES * LEAF_HASH_BYTES)
        answer = self._send(call, f"item {item.hex()}", "NotFoundError")
        return parsed(partial(split_leaves, body_of(answer, 200)))

    def post(self, mailbox: bytes, message: bytes) -> None:
        """Leave a message; see `Relay`."""
        check_message(mailbox, message)
        call = Call("POST", _mailbox_path(mailbox), 0, _sized(len(message)), lambda: iter((message,)), len(message))
        body_of(self._send(call, "posting a message"), 204)

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
            page = parsed(partial(parse_page, body_of(answer, 200)))
            if len(found) + len(page.messages) > limit or (page.more and not page.messages):
                raise no_sense("another number of messages than it was asked for")
            for each in page.messages:
                if each.number <= after:
                    raise no_sense("messages out of order")
                after = each.number
                found.append((each.number, each.message))
            if not page.more or len(found) == limit:
                return found

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message; see `Relay`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        check_int(number, "a message number")
        call = Call("POST", f"{_mailbox_path(mailbox)}/{number}/ack", 0, _sized(0))
        body_of(self._send(call, "acknowledging a message"), 204)

    def reply(self, mailbox: bytes, replies: Sequence[Reply]) -> list[int]:
        """Post answers, and stop delivering what they answer, one by one; see `Relay`."""
        refused = []
        for at, each in enumerate(replies):
            try:
                if each.message is not None:
                    self.post(each.to, each.message)
            except StoreError:
                refused.append(at)
                continue
            if each.number is not None:
                self.ack(mailbox, each.number)
        return refused

    def close(self) -> None:
        """Close the connections; see `Relay`."""
        sender, self._open_sender = self._open_sender, None
        if sender is not None:
            sender.close()

    def _sender(self) -> Sender:
        if self._open_sender is None:
            raise StoreError("the relay is closed")
        return self._open_sender

    def _send(self, call: Call, what: str, *kinds: str, by: Sender | None = None) -> Answer:
        """Send; raise StoreError or one of the `kinds` that this operation can end in, RelayError for whatever else."""
        answer = (by or self._sender()).send(call)
        if answer.status >= 400 and answer.status != 416:
            raise refusal(answer, what, ("StoreError", *kinds))
        return answer


def _item_path(client: bytes, item: bytes, version: int) -> str:
    return f"/v1/items/{client.hex()}/{item.hex()}/{version}"


def _mailbox_path(mailbox: bytes) -> str:
    return f"/v1/mailboxes/{mailbox.hex()}/messages"


def _sized(size: int) -> tuple[tuple[str, str], ...]:
    return ("content-length", str(size)), ("content-type", BINARY)
