"""Handing urgent events to somebody who may be slow or away, in a thread, so that the issuer never waits for him."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from labelvault.client.events import Event
from labelvault.errors import OutputError

URGENT: Final = frozenset({"alarm", "clock", "fork"})
"""Kinds of events that are delivered."""
MAX_POSTED: Final = 100
"""Events in one delivery."""
RETRY_S: Final = 30.0
RETRY_MAX_S: Final = 600.0
Post = Callable[[Sequence[Event]], None]
"""Delivers events within a few seconds, or raises OutputError."""


class _Delivery:
    """One delivery under way."""

    def __init__(self, post: Post, events: Sequence[Event]) -> None:
        # Until it ends as it should: what ends in any other way delivered nothing.
        self.error: OutputError | None = OutputError("a delivery broke off; it is tried again")
        self._post = post
        self._events = events
        self.thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._post(self._events)
        except OutputError as error:
            self.error = error
        else:
            self.error = None


class Deliveries:
    """Delivers one batch after another, and after a failure waits: 30 s, then ever longer, up to 10 minutes."""

    def __init__(self, post: Post, failed: Callable[[], None]) -> None:
        """Take who delivers.

        Args:
            post: is called in a thread of its own, never twice at a time.
            failed: is called, in the caller's thread, for each delivery that failed.
        """
        self._post = post
        self._failed = failed
        self._under_way: _Delivery | None = None
        self._wait_s = 0.0
        self._due_s = 0.0

    @property
    def under_way(self) -> bool:
        """Whether a delivery was begun and its outcome was not taken yet."""
        return self._under_way is not None

    def ready(self) -> bool:
        """Tell whether nothing is under way, and enough time has passed since it failed last."""
        if self._under_way is not None:
            return not self._under_way.thread.is_alive()
        return time.monotonic() >= self._due_s

    def take(self, events: Sequence[Event]) -> bool:
        """Begin to deliver what is urgent, or say what became of it when the same events are given again.

        Returns:
            Whether it is done; if not, the same events have to be given again once it is ready.

        Raises:
            OutputError: it failed; the same events may be given again once it is ready.
        """
        urgent = [event for event in events if event.kind in URGENT]
        if not urgent:
            return True
        if self._under_way is None:
            self._under_way = _Delivery(self._post, urgent)
            return False
        delivery, self._under_way = self._under_way, None
        delivery.thread.join()
        if delivery.error is not None:
            self._wait_s = min(RETRY_MAX_S, max(RETRY_S, 2 * self._wait_s))
            self._due_s = time.monotonic() + self._wait_s
            self._failed()
            raise delivery.error
        self._wait_s = 0.0
        return True

    def wait(self, timeout_s: float) -> None:
        """Wait for what is under way, in seconds at most."""
        if self._under_way is not None:
            self._under_way.thread.join(timeout_s)

    def deliver(self, event: Event) -> None:
        """Deliver one urgent event at once, and wait for it.

        Raises:
            OutputError: it failed.
        """
        self._post([event])
