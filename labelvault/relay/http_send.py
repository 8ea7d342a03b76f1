"""One HTTP exchange with a server that nobody trusts: bounded in size, in time and in how often it is tried.

Needs httpx, from the extra `service`. No redirects, cookies, proxies or environment; certificates are always checked.
"""

import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from labelvault.errors import RelayError

ATTEMPTS: Final = 4
CONNECT_S: Final = 5.0
SILENCE_S: Final = 15.0
"""How long nothing may come or go in a started exchange."""
GRACE_S: Final = 30.0
SLOWEST_BYTES_PER_S: Final = 32 * 1024
"""After `GRACE_S`, a server that sends or takes less on average is given up."""
_AGAIN: Final = "Run it again: what is whole at the vault is not sent twice."
_PAUSE_S: Final = 0.1
_PAUSE_MAX_S: Final = 5.0
_MAX_HEADERS: Final = 64
_MAX_ERROR_BYTES: Final = 4096
_TRANSIENT: Final = frozenset({408, 429, 502, 503, 504})
_SURPLUS_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status, 200 to 599.
        headers: as the server sent them.
        body: not longer than was allowed.
    """

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What to send.

    Attributes:
        method: GET, HEAD, POST or PUT.
        path: with its query, below the vault's address.
        most: bytes that the answer's body may have.
        headers: besides the usual ones.
        body: makes the body's pieces anew for each attempt.
        size: of that body, in bytes.
        wait_s: how long the server may be silent on purpose.
        once: where the body's pieces can be taken once only. No attempt follows one that took any, and each piece has
            its own time to go out.
    """

    method: str
    path: str
    most: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    size: int = 0
    wait_s: float = 0.0
    once: "Once | None" = field(default=None, repr=False)


class Once:
    """A body whose pieces can be taken once.

    Attributes:
        begun: whether any was asked for.
        failed: what their source raised, which no broken connection must hide.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Hold the pieces; nothing is taken yet."""
        self._pieces = pieces
        self.begun = False
        self.failed: Exception | None = None

    def take(self) -> Iterator[bytes]:
        """Yield the pieces."""
        self.begun = True
        try:
            yield from self._pieces
        except Exception as error:
            self.failed = error
            raise


class _Retry(Exception):
    """An attempt that may be made again: everything that a relay asks for can be repeated."""

    def __init__(self, message: str, after_s: float = 0.0, next_step: str | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.next_step = next_step


class Sender:
    """Sends to one server, over connections that are kept; threads may share it."""

    def __init__(self, base: str, headers: tuple[tuple[str, str], ...], sleep: Callable[[float], None]) -> None:
        """Prepare; nothing is connected yet.

        Args:
            base: the address without a trailing slash.
            headers: on every request.
            sleep: pauses between attempts.
        """
        context = httpx.create_ssl_context(trust_env=False)
        # The system's own authorities too, so that a private one is trusted where the system trusts it.
        context.load_default_certs()
        # The transport and no client: nothing in it follows a redirect, keeps a cookie or logs an address.
        self._transport = httpx.HTTPTransport(
            verify=context, trust_env=False, limits=httpx.Limits(max_keepalive_connections=_SURPLUS_CONNECTIONS)
        )
        self._base = base
        self._headers = headers
        self._sleep = sleep
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def alone(self) -> "Sender":
        """Return another sender to the same server, whose exchanges nothing else can break off."""
        return Sender(self._base, self._headers, self._sleep)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def send(self, call: Call) -> Answer:
        """Send until there is an answer, or often enough.

        Raises:
            RelayError: no server there, not the one it should be, or one that breaks the rules of HTTP or ours. What
                the source of a body that is taken once raises goes through.
        """
        pause_s = _PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(call)
            except _Retry as retry:
                if call.once is not None and call.once.failed is not None:
                    raise call.once.failed from None
                if call.once is not None and call.once.begun:
                    raise RelayError(f"{retry}, in the middle of an upload", next_step=_AGAIN) from retry
                if attempt == ATTEMPTS:
                    raise RelayError(f"{retry}; tried {ATTEMPTS} times", next_step=retry.next_step) from retry
                # Jitter keeps many callers from coming back at the same moment.
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
                self._sleep(max(min(retry.after_s, _PAUSE_MAX_S), jitter * pause_s))
                pause_s = min(4 * pause_s, _PAUSE_MAX_S)
        raise RelayError("the vault was not tried")

    def _attempt(self, call: Call) -> Answer:
        try:
            return self._exchange(call)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise RelayError("the vault's address is no address that can be reached") from error
        except httpx.ConnectError as error:
            # Said by the system or by TLS on this side, not by the server.
            said = str(error)[:200]
            raise _Retry(f"the vault can't be reached: {said}", next_step=_advice(said)) from error
        except httpx.TimeoutException as error:
            raise _Retry("the vault did not answer in time") from error
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
            raise _Retry(f"the connection to the vault broke off ({type(error).__name__})") from error

    def _exchange(self, call: Call) -> Answer:
        silence_s = SILENCE_S + call.wait_s
        # A read timeout starts anew with each byte: only an end to the whole stops a server that drips.
        guard = _Guard(self._break_off)
        content = None if call.body is None else call.body()
        if content is not None and call.once is not None:
            content = _paced(content, guard, GRACE_S + call.wait_s)
        request = httpx.Request(
            call.method,
            self._base + call.path,
            headers=[*self._headers, *call.headers],
            content=content,
            extensions={
                "timeout": {"connect": CONNECT_S, "read": silence_s, "write": SILENCE_S, "pool": CONNECT_S},
                "trace": self._note_socket,
            },
        )
        guard.within(GRACE_S + call.wait_s + (0 if call.once else call.size / SLOWEST_BYTES_PER_S))
        try:
            response = self._transport.handle_request(request)
        finally:
            guard.off()
        try:
            return _read(response, call)
        finally:
            response.close()

    def _note_socket(self, event: str, facts: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            found = facts["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets.add(found)

    def _break_off(self) -> None:
        """End every exchange under way: which socket carries which is not told, and all can be repeated."""
        for each in list(self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Closed already, and so not what somebody waits for.
                continue


def _advice(said: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "Check the address; a private authority has to be among those that this machine trusts."
    return "Check the address, that this machine is online, and that the vault's server runs."


class _Guard:
    """Ends what takes too long; belongs to one exchange."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._timer: threading.Timer | None = None

    def within(self, seconds: float) -> None:
        """End it unless it is put off within so many seconds."""
        self.off()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def off(self) -> None:
        """Put it off."""
        if self._timer is not None:
            self._timer.cancel()


def _paced(pieces: Iterator[bytes], guard: _Guard, answer_s: float) -> Iterator[bytes]:
    """Give each piece its own time to go out, and the answer its own; where pieces come from may take its time."""
    guard.off()
    for piece in pieces:
        guard.within(GRACE_S + len(piece) / SLOWEST_BYTES_PER_S)
        yield piece
        guard.off()
    guard.within(answer_s)


def _read(response: httpx.Response, call: Call) -> Answer:
    status = response.status_code
    if status in _TRANSIENT:
        raise _Retry(f"the vault is not ready (HTTP {status})", _retry_after(response))
    if 300 <= status < 400:
        raise RelayError(f"the vault answers with a redirect (HTTP {status}), which is not followed; check its address")
    if len(response.headers) > _MAX_HEADERS or "content-encoding" in response.headers:
        raise RelayError("the vault's answer has headers that no vault sends")
    body = b"" if call.method == "HEAD" else _read_body(response, call.most if status < 400 else _MAX_ERROR_BYTES)
    return Answer(status, response.headers, body)


def _read_body(response: httpx.Response, most: int) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_long(most)
    started = time.monotonic()
    parts: list[bytes] = []
    size = 0
    # Raw: nothing is decompressed, so what comes over the wire is all that is held.
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_long(most)
        if time.monotonic() - started > GRACE_S + size / SLOWEST_BYTES_PER_S:
            raise _Retry("the vault answers too slowly")
    return b"".join(parts)


def _too_long(most: int) -> RelayError:
    return RelayError(f"the vault's answer is longer than the {most} bytes that it can be")


def _retry_after(response: httpx.Response) -> float:
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 0.0
