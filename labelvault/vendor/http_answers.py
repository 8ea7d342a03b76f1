"""Answers of the HTTP service: refusals as a kind out of a closed list, and headers that every answer carries."""

import asyncio
import logging
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelvault.errors import LabelVaultError
from labelvault.relay.http_wire import ERRORS
from labelvault.vendor.http_body import Refused

_DRAIN_BYTES: Final = 1024 * 1024
_DRAIN_S: Final = 2.0
_SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_log: Final = logging.getLogger("labelvault.vendor.http")


def failed(error: Exception, name: str) -> Response:
    """Say what went wrong: a kind out of a closed list, and text of our own."""
    if isinstance(error, Refused):
        headers = {"retry-after": str(error.retry_s)} if error.retry_s else {}
        if error.status == 401:
            headers["www-authenticate"] = 'Bearer realm="labelvault"'
        return _error(error.status, error.kind, str(error), headers)
    if isinstance(error, TimeoutError):
        return _error(408, "Timeout", "the body came too slowly", {"connection": "close"})
    kind = next((kind for kind, (_, made) in ERRORS.items() if type(error) is made), None)
    if kind is not None and isinstance(error, LabelVaultError):
        # Our own texts hold ids and sizes only. What a database says may hold a path, and stays here.
        message = "the vault's storage refused or failed" if kind == "StoreError" else str(error)
        if kind == "StoreError":
            _log.warning("%s: %s", name, error)
        return _error(ERRORS[kind][0], kind, message, {})
    _log.error("%s: unexpected %s", name, type(error).__name__)
    return _error(500, "Internal", "unexpected error", {})


def _error(status: int, kind: str, message: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"error": kind, "message": message}, status, headers)


def no_route(request: Request, error: Exception) -> Response:
    """Answer what no route takes."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(status, "NoRoute", "no such route or method", {})


async def drain(request: Request) -> bool:
    """Read on a little, so that a refused sender gets to read its answer and no reset instead.

    Returns:
        Whether nothing is left to come. If not, the connection is to be closed: the server would read all of it.
    """
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for piece in request.stream():
                left -= len(piece)
                if left < 0:
                    return False
    except (TimeoutError, ClientDisconnect):
        return False
    except RuntimeError:
        # Read to its end already.
        return True
    return True


def with_headers(app: ASGIApp) -> ASGIApp:
    """Put the security headers on every answer."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_SECURITY_HEADERS]
            await send(message)

        await app(scope, receive, sending)

    return wrapped
