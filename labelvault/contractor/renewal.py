"""Renewing a lease before it ends: the leases of one opening, first to last, and the request that is on its way.

A renewal is a request like any other that names the lease it replaces. The issuer passes the open slot on in one
transaction; what it refuses leaves the old lease as it is. Until a request is settled the same one is put again, so
that a lost answer costs no second lease (docs/spec.md, section 6.5).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from labelvault.contractor.approval import Approving
from labelvault.contractor.asking import AnyExchange, Asking
from labelvault.contractor.exchange import EpochChanged
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import read_lease
from labelvault.contractor.parts import OpenedAs
from labelvault.contractor.post import Post
from labelvault.contractor.records import OpeningLog
from labelvault.errors import (
    DeniedError,
    LabelVaultError,
    LeaseClosedError,
    RelayError,
    RequestTimeoutError,
    StoreError,
)
from labelvault.wire.frame import Signed
from labelvault.wire.messages import LeaseOuter, OpenRequest


@dataclass(frozen=True, slots=True)
class Renewed:
    """A verified lease that renews one, recorded and not opened yet."""

    membership: Membership
    request: Signed[OpenRequest]
    data: bytes
    outer: LeaseOuter


class Leases:
    """The leases of one opening. Not for two threads at once; `Opening` and `Task` hold a lock."""

    def __init__(
        self,
        membership: Membership,
        outer: LeaseOuter,
        asking: Asking,
        post: Post,
        log: OpeningLog,
        now: Callable[[], datetime],
    ) -> None:
        """Begin with the lease that opened it.

        Args:
            membership: under which grant.
            outer: the lease's readable part.
            asking: puts requests to the issuer.
            post: says what is opened and closed.
            log: where leases are recorded.
            now: the checked time; raises ClockError.
        """
        self._membership = membership
        self._all = [outer]
        self._asking = asking
        self._post = post
        self._log = log
        self._now = now
        self._pending: Signed[OpenRequest] | None = None

    @property
    def outer(self) -> LeaseOuter:
        """The newest lease's readable part."""
        return self._all[-1]

    def renew(
        self, make_key: Callable[[], bytes], timeout_s: float, exchange: AnyExchange, approving: Approving
    ) -> Renewed:
        """Get the lease that renews the newest one; from then on it is the newest.

        Args:
            make_key: makes a one-time key and returns its public half; not called while a request is on its way.
            timeout_s: how long to wait for the issuer, in seconds.
            exchange: how to reach it.
            approving: at a desk, how to reach its presence device.

        Raises:
            As `Contractor.open_task`; the old lease is as it was. After a RequestTimeoutError, RelayError or StoreError
            the request is still on its way, and the next call puts it again.
        """
        return self._asking.anew(
            self._membership, lambda membership: self._ask(membership, make_key, timeout_s, exchange, approving)
        )

    def _ask(
        self,
        membership: Membership,
        make_key: Callable[[], bytes],
        timeout_s: float,
        exchange: AnyExchange,
        approving: Approving,
    ) -> Renewed:
        self._membership = membership
        if self._pending is None:
            old = self.outer
            self._pending = self._asking.request(membership, old.item, make_key(), approving, old.lease_id)
        request = self._pending
        try:
            data = self._asking.put(membership, request, timeout_s, exchange)
            _, outer = read_lease(data, request, membership, self._now())
            self._log.leased(outer, self._now(), None)
        except (RequestTimeoutError, RelayError, StoreError):
            raise
        except (DeniedError, EpochChanged):
            self._pending = None
            raise
        except LabelVaultError:
            self._give_up()
            raise
        self._pending = None
        self._all.append(outer)
        return Renewed(membership, request, data, outer)

    def _give_up(self) -> None:
        if self._pending is not None:
            self._post.given_up(self._pending)
            self._pending = None

    def opened(self, known: OpenedAs, files: list[tuple[int, int]]) -> None:
        """Record that the newest lease was opened, and say so; `known` and `files` as in `Post.opened`."""
        self._post.opened(self.outer, known, files)

    def closed(self, erased: str) -> None:
        """Record that every lease of this opening is closed, and say so.

        Args:
            erased: `process-exit` or `best-effort`.
        """
        self._give_up()
        for outer in reversed(self._all):
            self._post.closed(outer, erased)


def closed_with_both(error: LabelVaultError) -> LeaseClosedError:
    """Return the error for a renewal that was granted and did not open."""
    return LeaseClosedError(f"the renewed task did not open, so it was closed: {error}", next_step=error.next_step)
