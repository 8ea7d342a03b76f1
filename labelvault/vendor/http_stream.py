"""Payloads that come as streams: from the event loop into a thread that stores them, one MiB at a time.

The store pulls, so a piece is asked for only once the one before it was written: neither side holds more than a few.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from labelvault.vendor.http_body import Body, Refused
from labelvault.vendor.http_limits import HttpLimits, Slots
from labelvault.wire.items import LEAF_BYTES

Put: TypeAlias = Callable[[int, Iterator[bytes]], tuple[bytes, ...]]
"""Stores a payload of this size from these pieces, whole or not at all; returns its leaf hashes."""


class Streams:
    """Takes streams, within the limits of one service."""

    def __init__(self, limits: HttpLimits) -> None:
        """Prepare; no thread is started yet."""
        self._limits = limits
        self._slots = Slots(limits.streams, limits.streams_each)
        self._coming: set[_Coming] = set()
        self._ended = False
        # Threads of their own, since each is held as long as its stream takes to come.
        self._threads = ThreadPoolExecutor(max(1, limits.streams), thread_name_prefix="labelvault-stream")

    async def take(self, who: str, body: Body, put: Put) -> tuple[bytes, ...]:
        """Store a body as it comes.

        Args:
            who: the principal that sends it.
            body: nothing of it was read yet.
            put: runs in a thread.

        Raises:
            Refused: too many streams are under way, or the service ends.
            TimeoutError: a piece came too slowly. What `put` raises goes through. In all cases nothing was stored.
        """
        with self._slots.hold(who) as free:
            if not free or self._ended:
                raise Refused(503, "Busy", "too many streams are on their way", retry_s=1)
            coming = _Coming(body, self._limits)
            self._coming.add(coming)
            try:
                storing = partial(put, body.declared(), coming.pieces())
                return await asyncio.get_running_loop().run_in_executor(self._threads, storing)
            finally:
                self._coming.discard(coming)
                coming.end()

    def end(self) -> None:
        """Break off all streams, and take no more."""
        self._ended = True
        for coming in self._coming:
            coming.end()


class _Coming:
    """A body's pieces, pulled by another thread than the one that its event loop runs in."""

    def __init__(self, body: Body, limits: HttpLimits) -> None:
        self._body = body
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._next: Future[bytes] | None = None
        self._ended = False

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in leaves; for the thread."""
        size = self._body.declared()
        for at in range(0, size, LEAF_BYTES):
            with self._lock:
                if self._ended:
                    raise _ended()
                wanted = self._read(min(LEAF_BYTES, size - at))
                self._next = asyncio.run_coroutine_threadsafe(wanted, self._loop)
            try:
                piece = self._next.result()
            except CancelledError:
                raise _ended() from None
            yield piece

    def end(self) -> None:
        """Let the thread wait for nothing any more."""
        with self._lock:
            self._ended = True
            if self._next is not None:
                self._next.cancel()

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(self._limits.body_s + size / self._limits.body_bytes_per_s):
            return await self._body.exactly(size)


def _ended() -> Refused:
    return Refused(503, "Busy", "the service ends", retry_s=1)
