"""What one service takes from its callers: rates, bytes in flight, open waits. On by default (docs/http.md)."""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from labelvault.relay.http_wire import MAX_BATCH_BYTES, MAX_WAIT_S
from labelvault.stores.values import MAX_STREAM_PAYLOAD_BYTES

_MAX_PRINCIPALS: Final = 10_000


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one HTTP service.

    Attributes:
        requests_per_s: for each principal, over time.
        burst: requests that a principal may make at once.
        batch_bytes: the largest batch of items.
        in_flight_bytes: bodies that are held in memory at once, for all callers together.
        stream_bytes: the largest payload that may come as a stream.
        streams: how many may come at once, each with a thread and about 3 MiB of memory.
        streams_each: of these, from one principal.
        wait_s: how long a request for messages may stay open, in seconds.
        waiting: how many may stay open at once; any more are answered at once.
        body_s: how long a body, or each MiB of a stream, may take to come, in seconds, besides what its size takes at
            `body_bytes_per_s`.
        body_bytes_per_s: the slowest sender that is waited for.
    """

    requests_per_s: float = 50.0
    burst: int = 200
    batch_bytes: int = MAX_BATCH_BYTES
    in_flight_bytes: int = 256 * 1024 * 1024
    stream_bytes: int = MAX_STREAM_PAYLOAD_BYTES
    streams: int = 16
    streams_each: int = 4
    wait_s: float = MAX_WAIT_S
    waiting: int = 1000
    body_s: float = 30.0
    body_bytes_per_s: int = 32 * 1024


class RateLimit:
    """A token bucket for each principal."""

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Give each principal `burst` requests at once and `rate` a second."""
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, principal: str) -> int:
        """Take one request; return 0, or in how many whole seconds to come again."""
        now = self._monotonic()
        left, then = self._buckets.pop(principal, (float(self._burst), now))
        left = min(float(self._burst), left + (now - then) * self._rate)
        wait_s = 0 if left >= 1 else math.ceil((1 - left) / self._rate)
        self._buckets[principal] = (left if wait_s else left - 1, now)
        # Whoever was not seen for longest has the fullest bucket: forgetting it gives the least away.
        while len(self._buckets) > _MAX_PRINCIPALS:
            self._buckets.popitem(last=False)
        return wait_s


class InFlight:
    """Bytes of bodies that are in memory."""

    def __init__(self, most: int) -> None:
        """Hold at most so many bytes."""
        self._left = most

    @contextmanager
    def hold(self, size: int) -> Iterator[bool]:
        """Reserve `size` bytes while the block runs; gives False, and reserves nothing, if they are not free."""
        free = size <= self._left
        if free:
            self._left -= size
        try:
            yield free
        finally:
            if free:
                self._left += size


class Slots:
    """Streams under way, in all and of each principal."""

    def __init__(self, most: int, each: int) -> None:
        """Have `most` slots, of which a principal gets `each`."""
        self._left = most
        self._each = each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, principal: str) -> Iterator[bool]:
        """Take a slot while the block runs; gives False, and takes none, if none is free."""
        free = self._left > 0 and self._taken[principal] < self._each
        if free:
            self._left -= 1
            self._taken[principal] += 1
        try:
            yield free
        finally:
            if free:
                self._left += 1
                self._taken[principal] -= 1
            # No name is kept that holds nothing.
            self._taken += Counter()


class Bells:
    """Wakes those who wait for a mailbox. A waiter is a task and no thread; belongs to one event loop."""

    def __init__(self, most: int) -> None:
        """Let at most so many wait."""
        self._most = most
        self._count = 0
        self._waiters: dict[bytes, set[asyncio.Event]] = {}
        self._ended = False

    @contextmanager
    def listen(self, mailbox: bytes) -> Iterator[asyncio.Event | None]:
        """Give an event that is set when a message comes; None if too many wait already, or the service ends."""
        if self._count >= self._most or self._ended:
            yield None
            return
        event = asyncio.Event()
        self._count += 1
        self._waiters.setdefault(mailbox, set()).add(event)
        try:
            yield event
        finally:
            self._count -= 1
            waiting = self._waiters[mailbox]
            waiting.discard(event)
            if not waiting:
                del self._waiters[mailbox]

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._count

    @property
    def ended(self) -> bool:
        """Whether the service ends."""
        return self._ended

    def ring(self, mailbox: bytes) -> None:
        """Wake those who wait for this mailbox."""
        for event in self._waiters.get(mailbox, ()):
            event.set()

    def end(self) -> None:
        """Wake everybody, for good."""
        self._ended = True
        for mailbox in list(self._waiters):
            self.ring(mailbox)
