"""A hostile relay: an ASGI application in front of the true service that does to requests and answers what it likes.

It plays a vendor with full control of its host: whatever it does, only availability may suffer.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from labelvault.relay.http_wire import Page, encode_page, parse_page

# --- requests and answers as values ---


@dataclass
class Asked:
    """A whole request."""

    scope: dict
    body: bytes

    @property
    def route(self) -> str:
        """Method and last word of the path that is no id."""
        words = [word for word in self.scope["path"].split("/") if word.isalpha()]
        return f"{self.scope['method']} {words[-1]}"


@dataclass
class Answered:
    """A whole answer; `cut` sends that many bytes of the body and then breaks the connection."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    cut: int | None = None

    def header(self, name: bytes) -> bytes | None:
        """One header's value."""
        return next((value for key, value in self.headers if key == name), None)

    def with_body(self, body: bytes) -> "Answered":
        """Another body, with its size."""
        headers = [(key, value) for key, value in self.headers if key != b"content-length"]
        return replace(self, body=body, headers=[*headers, (b"content-length", str(len(body)).encode())])


LOST = Answered(0, [], b"", cut=0)
"""The connection breaks before any answer."""


def answer(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Answered:
    """Make an answer up."""
    return Answered(status, [(b"content-length", str(len(body)).encode()), *headers], body)


@dataclass
class Hostile:
    """The application. `plan` names the fault for each request, or None for honest service.

    Attributes:
        inner: the true service.
        plan: asked once a request.
        done: the faults that were played, with the route each.
    """

    inner: Callable
    plan: Callable[[Asked], str | None]
    done: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[str, list[Answered]] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def __call__(self, scope, receive, send) -> None:
        """Serve one request."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = Asked(dict(scope), body)
        fault = self.plan(asked)
        if fault is None:
            answered = await self._honest(asked)
        else:
            self.done.append((fault, asked.route))
            answered = await FAULTS[fault](self, asked)
        await _send(answered, send, receive)

    async def _honest(self, asked: Asked) -> Answered:
        answered = await _call(self.inner, asked)
        kept = self.seen.setdefault(asked.route, [])
        if answered.status in (200, 206):
            kept.append(answered)
            del kept[:-50]
        return answered


async def _call(app, asked: Asked) -> Answered:
    messages: list[dict] = []
    given = False
    ended = asyncio.Event()

    async def receive():
        nonlocal given
        if given:
            await ended.wait()
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def send(message):
        messages.append(message)

    await app(asked.scope, receive, send)
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return Answered(messages[0]["status"], list(messages[0]["headers"]), body)


async def _send(answered: Answered, send, receive) -> None:
    transport = receive.__self__.transport
    if answered.status == 0:
        transport.abort()
        return
    body = answered.body if answered.cut is None else answered.body[: answered.cut]
    await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if answered.cut is not None:
        # What was written goes out, and then the end comes too early.
        transport.close()
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


# --- the faults ---


async def lost_request(self: Hostile, asked: Asked) -> Answered:
    return LOST


async def lost_reply(self: Hostile, asked: Asked) -> Answered:
    await self._honest(asked)
    return LOST


async def delay(self: Hostile, asked: Asked) -> Answered:
    await asyncio.sleep(0.1)
    return await self._honest(asked)


async def twice(self: Hostile, asked: Asked) -> Answered:
    await self._honest(asked)
    return await self._honest(asked)


async def swallowed(self: Hostile, asked: Asked) -> Answered:
    """It says done, and did nothing."""
    return answer(204) if asked.scope["method"] == "POST" else answer(200, encode_page([], more=False))


async def replayed(self: Hostile, asked: Asked) -> Answered:
    """An older answer to a question of this kind: another item, an older page."""
    kept = self.seen.get(asked.route)
    return self.chance.choice(kept) if kept else LOST


async def flipped(self: Hostile, asked: Asked) -> Answered:
    answered = await self._honest(asked)
    if not answered.body:
        return answered
    body = bytearray(answered.body)
    body[self.chance.randrange(len(body))] ^= 1 << self.chance.randrange(8)
    return replace(answered, body=bytes(body))


async def truncated(self: Hostile, asked: Asked) -> Answered:
    answered = await self._honest(asked)
    return replace(answered, cut=len(answered.body) // 2) if answered.body else LOST


async def shortened(self: Hostile, asked: Asked) -> Answered:
    answered = await self._honest(asked)
    return answered.with_body(answered.body[: len(answered.body) // 2])


async def lengthened(self: Hostile, asked: Asked) -> Answered:
    answered = await self._honest(asked)
    return answered.with_body(answered.body + bytes(1000))


async def garbage(self: Hostile, asked: Asked) -> Answered:
    return answer(200, self.chance.randbytes(self.chance.randrange(300)))


async def no_sense(self: Hostile, asked: Asked) -> Answered:
    return answer(self.chance.choice([200, 201, 206, 226, 299, 400, 403, 404, 418, 451, 500, 501, 507, 599]))


async def busy(self: Hostile, asked: Asked) -> Answered:
    return answer(self.chance.choice([429, 502, 503, 504]), b"", (b"retry-after", b"0"))


async def redirected(self: Hostile, asked: Asked) -> Answered:
    status = self.chance.choice([301, 302, 303, 307, 308])
    return answer(status, b"", (b"location", b"http://127.0.0.9:9/elsewhere"))


async def lying_error(self: Hostile, asked: Asked) -> Answered:
    """Errors of ours that are not true, and ones that the other end must not make."""
    status, kind = self.chance.choice(
        [
            (404, b"NotFoundError"),
            (409, b"ConflictError"),
            (507, b"StoreError"),
            (400, b"FormatError"),
            (409, b"DeniedError"),
            (400, b"SystemExit"),
            (404, b"LeaseExpiredError"),
            (507, b"ConflictError"),
        ]
    )
    return answer(status, b'{"error": "%s", "message": "from-the-server"}' % kind)


async def compressed(self: Hostile, asked: Asked) -> Answered:
    answered = await self._honest(asked)
    return replace(answered, headers=[*answered.headers, (b"content-encoding", b"gzip")])


async def reordered(self: Hostile, asked: Asked) -> Answered:
    """Messages in another order, under numbers that rise all the same."""
    answered = await self._honest(asked)
    if asked.route != "GET messages" or answered.status != 200:
        return answered
    page = parse_page(answered.body)
    numbers = [each.number for each in page.messages]
    mixed = [each.message for each in page.messages]
    self.chance.shuffle(mixed)
    return answered.with_body(encode_page(list(zip(numbers, mixed, strict=True)), more=page.more))


async def old_messages(self: Hostile, asked: Asked) -> Answered:
    """Every message that was ever seen, again, under new numbers, and some that are none."""
    answered = await self._honest(asked)
    if asked.route != "GET messages" or answered.status != 200:
        return answered
    pages: list[Page] = [parse_page(each.body) for each in self.seen["GET messages"]]
    found = {each.message for page in pages for each in page.messages} | {b"\x00", self.chance.randbytes(99)}
    limit = 50
    numbered = [(2**40 + number, message) for number, message in enumerate(sorted(found)[:limit])]
    return answered.with_body(encode_page(numbered, more=False))


FAULTS: dict[str, Callable] = {
    each.__name__: each
    for each in (
        lost_request,
        lost_reply,
        delay,
        twice,
        swallowed,
        replayed,
        flipped,
        truncated,
        shortened,
        lengthened,
        garbage,
        no_sense,
        busy,
        redirected,
        lying_error,
        compressed,
        reordered,
        old_messages,
    )
}


class Forward:
    """An ASGI application that hands requests to a server elsewhere."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def __call__(self, scope, receive, send) -> None:
        """Forward one request."""
        message = await receive()
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        headers = [(key, value) for key, value in scope["headers"] if key != b"host"]
        asked = {"headers": headers, "content": message["body"]}
        async with httpx.AsyncClient(trust_env=False, timeout=60, base_url=self._upstream) as client:
            got = await client.request(scope["method"], f"{scope['path']}{query}", **asked)
        passed = [(key.lower(), value) for key, value in got.headers.raw if key.lower() != b"date"]
        await send({"type": "http.response.start", "status": got.status_code, "headers": passed})
        await send({"type": "http.response.body", "body": got.content})
