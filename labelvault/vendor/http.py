"""The vault over HTTP: a Starlette application that a platform mounts or `labelvault vendor serve` runs (docs/http.md).

As blind as the store behind it. Needs the extra `service`, and an asyncio server. Every answer is bounded, uncacheable,
and sets no cookie; errors are a kind out of a closed list; log lines hold names, sizes and times.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from labelvault.errors import FormatError
from labelvault.relay.http_wire import (
    BINARY,
    HEAD_SIZE_BYTES,
    ITEM_HEADER,
    MAX_PAGE_MESSAGES,
    VERSION,
    VERSION_HEADER,
    Stored,
    encode_page,
    parse_item_head,
    parse_item_header,
)
from labelvault.stores.values import MAX_BATCH_ITEMS, MAX_MESSAGE_BYTES, MAX_PAGE, MAX_PAYLOAD_BYTES, StoredItem
from labelvault.vendor import http_claims
from labelvault.vendor.http_answers import drain, failed, no_route, with_headers
from labelvault.vendor.http_body import Body, Refused, byte_range, number
from labelvault.vendor.http_callers import Caller
from labelvault.vendor.http_limits import Bells, HttpLimits, InFlight, RateLimit
from labelvault.vendor.http_stream import Streams
from labelvault.vendor.vault import Vault
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.ids import KEY_ID_BYTES, parse_hex_id
from labelvault.wire.items import parse_header
from labelvault.wire.schema import encode_record

Authenticate = Callable[[Mapping[str, str]], "str | Caller | None | Awaitable[str | Caller | None]"]
"""Gets a request's headers; returns who sends it, or None for a stranger. May block: it runs in a thread."""

_PIECE_BYTES: Final = 1024 * 1024
_LOOK_S: Final = 0.5
_log: Final = logging.getLogger(__name__)


class HttpService:
    """The application's state and its endpoints.

    Attributes:
        app: the ASGI application.
    """

    def __init__(
        self,
        vault: Vault,
        authenticate: Authenticate,
        *,
        platform: Authenticate | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        """Serve a vault; `Vault.asgi` is the usual way.

        Args:
            vault: stays open as long as the application runs.
            authenticate: says who may use items and mailboxes.
            platform: says who may use queues and claims; without it there are no such routes.
            limits: the defaults unless given.
        """
        limits = limits or HttpLimits()
        self._vault = vault
        self._relay = vault.relay()
        self._limits = limits
        self._rate = RateLimit(limits.requests_per_s, limits.burst)
        self._in_flight = InFlight(limits.in_flight_bytes)
        self._streams = Streams(limits)
        self._bells = Bells(limits.waiting)
        item = "/v1/items/{client}/{item}/{version}"
        mailbox = "/v1/mailboxes/{mailbox}/messages"
        routes = [
            self._route("/v1/items", "PUT", self._put_items, authenticate),
            self._route(item, "PUT", self._put_stream, authenticate),
            self._route(item, "GET", self._read_item, authenticate),
            self._route(f"{item}/leaves", "GET", self._read_leaves, authenticate),
            self._route(mailbox, "POST", self._post, authenticate),
            self._route(mailbox, "GET", self._fetch, authenticate),
            self._route(f"{mailbox}/{{number}}/ack", "POST", self._ack, authenticate),
        ]
        if platform is not None:
            claims = http_claims.ClaimRoutes(vault)
            routes += [
                self._route("/v1/queues", "GET", claims.queues, platform, of_platform=True),
                self._route("/v1/claims", "POST", claims.claim, platform, of_platform=True),
                self._route("/v1/claims/{claim}/finish", "POST", claims.finish, platform, of_platform=True),
                self._route("/v1/claims/{claim}/release", "POST", claims.release, platform, of_platform=True),
            ]
        # Starlette's own redirects to a path with or without "/" would send a token along to whatever Host names.
        inner = Starlette(routes=routes, exception_handlers={HTTPException: no_route})
        inner.router.redirect_slashes = False
        self.app: ASGIApp = with_headers(inner)

    def end(self) -> None:
        """Answer all who wait for messages and break off streams, for good; call it in the event loop."""
        self._bells.end()
        self._streams.end()

    @property
    def waiting(self) -> int:
        """How many requests wait for messages."""
        return self._bells.waiting

    def _route(
        self,
        path: str,
        method: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        authenticate: Authenticate,
        *,
        of_platform: bool = False,
    ) -> Route:
        name = endpoint.__name__.strip("_")

        async def guarded(request: Request) -> Response:
            started = time.monotonic()
            who = "-"
            try:
                caller = request.state.caller = await self._admit(request, authenticate)
                who = caller.name
                _allow(not (of_platform and caller.is_bound), "use queues and claims")
                response = await endpoint(request)
            except ClientDisconnect:
                # Nobody is left to read an answer.
                response = Response(status_code=499)
            except Exception as error:  # noqa: BLE001 - nothing of a foreign error may reach an answer or a log
                response = failed(error, name)
                if not isinstance(error, TimeoutError) and not await drain(request):
                    response.headers["connection"] = "close"
            # `ascii`: the platform names its principals, and a name must not forge a line.
            _log.info("%s %s %d %.0f ms", name, ascii(who), response.status_code, 1000 * (time.monotonic() - started))
            return response

        return Route(path, guarded, methods=[method], name=name)

    async def _admit(self, request: Request, authenticate: Authenticate) -> Caller:
        """Refuse strangers and whoever asks too often, before any byte of a body is read."""
        found = await run_in_threadpool(authenticate, request.headers)
        if inspect.isawaitable(found):
            found = await found
        caller = Caller(found) if isinstance(found, str) else found
        if not isinstance(caller, Caller) or not caller.name:
            raise Refused(401, "Unauthorized", "no valid token")
        if wait_s := self._rate.take(caller.name):
            raise Refused(429, "RateLimited", "too many requests", retry_s=wait_s)
        if request.headers.get(VERSION_HEADER) != VERSION:
            raise Refused(400, "Version", f"requests say {VERSION_HEADER}: {VERSION}")
        return caller

    async def _put_items(self, request: Request) -> Response:
        body = Body(request, self._limits.batch_bytes)
        with self._in_flight.hold(body.declared()) as free:
            if not free:
                raise Refused(503, "Busy", "too many bytes are on their way", retry_s=1)
            async with asyncio.timeout(self._limits.body_s + body.declared() / self._limits.body_bytes_per_s):
                items = await self._items(body, request.state.caller)
            new = await run_in_threadpool(self._relay.put_items, items)
        return Response(encode_record(Stored(new)), media_type=BINARY)

    async def _items(self, body: Body, caller: Caller) -> list[StoredItem]:
        items: list[StoredItem] = []
        while not await body.at_end():
            if len(items) >= MAX_BATCH_ITEMS:
                raise FormatError(f"more than {MAX_BATCH_ITEMS} items at once")
            size = int.from_bytes(await body.exactly(HEAD_SIZE_BYTES), "big")
            if size > MAX_BYTES:
                raise FormatError("an item's head is too long")
            head = parse_item_head(await body.exactly(size))
            _allow(caller.may_store(parse_header(head.header), head.queue), "store items of this client")
            items.append(StoredItem(head.header, await body.exactly(head.size), head.leaves, head.queue))
        return items

    async def _put_stream(self, request: Request) -> Response:
        header = parse_item_header(request.headers.get(ITEM_HEADER, ""))
        parsed = parse_header(header)
        if (parsed.client, parsed.item, parsed.version) != _item_key(request):
            raise FormatError("the path names another item than its header")
        caller: Caller = request.state.caller
        queue = request.query_params.get("queue")
        queue_id = None if queue is None else parse_hex_id(queue)
        _allow(caller.may_store(parsed, queue_id), "store items of this client")
        most = self._limits.stream_bytes
        body = Body(request, most if caller.contractor is None else min(most, MAX_PAYLOAD_BYTES))

        def put(size: int, pieces: Iterator[bytes]) -> tuple[bytes, ...]:
            return self._relay.put_stream(header, size, pieces, queue_id)

        leaves = await self._streams.take(caller.name, body, put)
        return Response(b"".join(leaves), media_type=BINARY)

    async def _read_item(self, request: Request) -> Response:
        key = _readable_item(request)
        probe = await run_in_threadpool(self._relay.read_item, *key, 0, 0)
        headers = {ITEM_HEADER: probe.header.hex(), "accept-ranges": "bytes"}
        size = probe.size
        start, end, partial = 0, size, False
        if "if-range" not in request.headers:
            found = byte_range(request.headers.get("range"), size)
            if found is not None:
                start, end = found
                partial = True
        if partial and start >= end:
            headers["content-range"] = f"bytes */{size}"
            return JSONResponse({"error": "Range", "message": "nothing there"}, 416, headers)
        if partial:
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        headers["content-length"] = str(end - start)
        status = 206 if partial else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=BINARY)
        return StreamingResponse(self._pieces(key, start, end), status, headers, media_type=BINARY)

    async def _pieces(self, key: tuple[bytes, bytes, int], start: int, end: int) -> AsyncIterator[bytes]:
        # Item versions never change, so pieces read one after another belong together.
        for at in range(start, end, _PIECE_BYTES):
            part = await run_in_threadpool(self._relay.read_item, *key, at, min(_PIECE_BYTES, end - at))
            yield part.data

    async def _read_leaves(self, request: Request) -> Response:
        leaves = await run_in_threadpool(self._relay.read_leaves, *_readable_item(request))
        return Response(b"".join(leaves), media_type=BINARY)

    async def _post(self, request: Request) -> Response:
        mailbox = _mailbox(request)
        _allow(request.state.caller.may_post(mailbox), "post to this mailbox")
        async with asyncio.timeout(self._limits.body_s):
            message = await Body(request, MAX_MESSAGE_BYTES).whole()
        await run_in_threadpool(self._relay.post, mailbox, message)
        self._bells.ring(mailbox)
        return Response(status_code=204)

    async def _fetch(self, request: Request) -> Response:
        mailbox = _mailbox(request)
        _allow(request.state.caller.may_fetch(mailbox), "read this mailbox")
        query = request.query_params
        after = number(query.get("after", "0"), "after")
        limit = number(query.get("limit", "100"), "limit")
        wait_s = min(number(query.get("wait_ms", "0"), "wait_ms") / 1000, self._limits.wait_s)
        most = min(limit, MAX_PAGE_MESSAGES) if 1 <= limit <= MAX_PAGE else limit
        found = await self._wait(request, mailbox, after, most, wait_s)
        more = len(found) == most and most < limit
        return Response(encode_page(found, more=more), media_type=BINARY)

    async def _wait(
        self, request: Request, mailbox: bytes, after: int, limit: int, wait_s: float
    ) -> list[tuple[int, bytes]]:
        """Return what waits, or wait for it: until a post here rings, and looking now and then for others' posts."""
        until = time.monotonic() + wait_s
        # Listening begins before looking, so that no message falls between.
        with self._bells.listen(mailbox) as bell:
            while True:
                found = await run_in_threadpool(self._relay.fetch, mailbox, after=after, limit=limit)
                left_s = until - time.monotonic()
                if found or bell is None or left_s <= 0 or self._bells.ended or await request.is_disconnected():
                    return found
                try:
                    await asyncio.wait_for(bell.wait(), min(left_s, _LOOK_S))
                    bell.clear()
                except TimeoutError:
                    continue

    async def _ack(self, request: Request) -> Response:
        mailbox = _mailbox(request)
        _allow(request.state.caller.may_ack(mailbox), "acknowledge in this mailbox")
        await run_in_threadpool(self._relay.ack, mailbox, number(request.path_params["number"], "a message number"))
        return Response(status_code=204)


def _allow(allowed: bool, what: str) -> None:
    if not allowed:
        raise Refused(403, "Forbidden", f"this token is bound, and may not {what}")


def _readable_item(request: Request) -> tuple[bytes, bytes, int]:
    key = _item_key(request)
    _allow(request.state.caller.may_read(key[0]), "read items of this client")
    return key


def _item_key(request: Request) -> tuple[bytes, bytes, int]:
    path = request.path_params
    return (
        parse_hex_id(path["client"], KEY_ID_BYTES),
        parse_hex_id(path["item"]),
        number(path["version"], "a version"),
    )


def _mailbox(request: Request) -> bytes:
    return parse_hex_id(request.path_params["mailbox"], KEY_ID_BYTES)
