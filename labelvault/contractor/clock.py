"""Time at the contractor: a wall clock that may lie, the highest issuer time ever seen, and time that only elapses."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from labelvault.errors import ClockError
from labelvault.wire.messages import LeaseOuter
from labelvault.wire.times import truncate

_TOLERANCE: Final = timedelta(seconds=120)


def elapsed_s() -> float:
    """Return seconds since some fixed point, never running backwards, counting suspend where the system can."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def checked_now(clock: Callable[[], datetime], high_water: datetime) -> datetime:
    """Return the wall clock's time, unless it contradicts an issuer time that was seen before.

    Raises:
        ClockError: it is set back: what expired by then would revive.
    """
    now = truncate(clock())
    if now < high_water - _TOLERANCE:
        raise ClockError(
            f"this machine's clock says {now.isoformat()}, but the issuer's {high_water.isoformat()} has passed already"
        )
    return now


class Deadline:
    """When a lease ends here: by elapsed time since it was asked for, or by the wall clock, whichever comes first.

    The lease was issued after it was asked for, so counting its lifetime from then never overshoots.
    """

    def __init__(self, outer: LeaseOuter, asked_s: float, clock: Callable[[], datetime]) -> None:
        """Take a verified lease.

        Args:
            outer: its readable part.
            asked_s: `elapsed_s()` before the request was sent.
            clock: the wall clock, aware UTC.
        """
        self._lock = threading.Lock()
        self._clock = clock
        self.renew(outer, asked_s)

    def renew(self, outer: LeaseOuter, asked_s: float) -> None:
        """Go by the lease that renews this one from now on: nothing of the old one's time is added to it.

        Args:
            outer: the new lease's readable part, verified.
            asked_s: `elapsed_s()` before the renewal was asked for.
        """
        with self._lock:
            self._end_s = asked_s + (outer.expires_at - outer.issued_at).total_seconds()
            self._expires_at = outer.expires_at

    def remaining_s(self) -> float:
        """Return seconds left, 0 once it has ended.

        Only a renewal makes it grow: a clock that is set back later adds nothing.
        """
        with self._lock:
            now_s = elapsed_s()
            self._end_s = min(self._end_s, now_s + (self._expires_at - self._clock()).total_seconds())
            return max(0.0, self._end_s - now_s)

    @classmethod
    def since_issue(cls, outer: LeaseOuter, now: datetime, clock: Callable[[], datetime]) -> "Deadline":
        """Return the end of a lease that was issued ahead: what has passed since its issue, by the wall clock, is gone.

        A machine that restarted with its clock set back to later than the last issuer time it saw gains that much.
        """
        passed_s = max(0.0, (now - outer.issued_at).total_seconds())
        deadline = cls(outer, elapsed_s() - passed_s, clock)
        deadline.remaining_s()
        return deadline
