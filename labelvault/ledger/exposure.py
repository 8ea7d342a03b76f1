"""Which item versions someone who held a surface during a window could have read, from the ledger alone.

A surface is a set of contractor keys: one device, one desk, all desks at a vendor's host. Whoever held it in
[start, end] had what lay on it, could sign with its keys from `start` on, and kept copies of those keys. So
only what was signed before `start` is believed, and every doubt counts as exposed:

- A lease begins when it was issued. It is over only where a `closed` receipt by its own contractor was
  entered before `start` and says `process-exit`: by then the process that held key and plaintext had ended.
  The time is the issuer's, of the entry; what a contractor claims is not even recorded.
- A receipt that says `best-effort`, or expiry without a receipt, ends the lease but not the doubt.
- After `end`, a release to a key of the surface still goes to whoever copied that key. Only a revocation ends
  that, as an issuer then releases nothing more; were an entry to say that one did, it counts. Excepted is a
  desk's release that its presence device approved, as that device's key was never there; but not at once: a
  request approved in the window stays good for some minutes.

The answer is an upper bound. It is not signed, and it covers one ledger: one epoch, as far as the entries go.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from labelvault.errors import FormatError
from labelvault.ledger.entries import Enrolled, Entry, Granted, ReceiptEntry, Released
from labelvault.wire.messages import MAX_REQUEST_LIFETIME
from labelvault.wire.times import check_time, from_ms

_EARLIEST: Final = from_ms(0)

Erasure: TypeAlias = Literal["best-effort", "unconfirmed"]
Reason: TypeAlias = Literal["open", "not-erased", "key-taken"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One item version that the surface could give away.

    Attributes:
        item: 16 bytes.
        version: from 1.
        lease_id: the lease that opened it, 32 bytes.
        task: the task that was asked for: the item itself, or what required it; 16 bytes.
        contractor: whose lease it was, 32 bytes.
        tier: `helper` or `desk`.
        since: when the lease was issued.
        until: when a best-effort receipt was entered, or else expiry. Copies may have outlived it.
        erasure: `best-effort` where a receipt that counts says so, else `unconfirmed`.
        reason: `open` in the window; ended before it but `not-erased`; or `key-taken`: released after the
            window to a key that lay on the surface.
    """

    item: bytes
    version: int
    lease_id: bytes
    task: bytes
    contractor: bytes
    tier: str
    since: datetime
    until: datetime
    erasure: Erasure
    reason: Reason


def vendor_host(entries: Iterable[Entry]) -> frozenset[bytes]:
    """Return the contractor keys that lie on the vendor's host: those of every desk.

    Keys of helpers (tier 1) never do, so an exposure on this surface states nothing about their leases.
    """
    return frozenset(
        entry.contractor
        for entry in entries
        if isinstance(entry, (Enrolled, Granted, Released)) and entry.tier == "desk"
    )


def all_contractors(entries: Iterable[Entry]) -> frozenset[bytes]:
    """Return every contractor key that a ledger names."""
    return frozenset(entry.contractor for entry in entries if isinstance(entry, (Enrolled, Granted, Released)))


class OpenLeases:
    """What is known of the surface's leases, entry by entry; a lease that is over for good is forgotten at once."""

    def __init__(self, contractors: Collection[bytes], start: datetime, end: datetime) -> None:
        """Ask about a surface and a window.

        Args:
            contractors: the keys on the surface.
            start: when someone may first have held it.
            end: when that was over; both are included.

        Raises:
            FormatError: a time that can't stand on the wire, or a window that ends before it begins.
        """
        check_time(start)
        check_time(end)
        if end < start:
            raise FormatError("a window ends before it begins")
        self._contractors = contractors
        self._start = start
        self._end = end
        self._latest = _EARLIEST
        self._count = 0
        self._leases: dict[int, _Lease] = {}
        # A receipt counts only after its release, and only by the lease's own contractor: another's says nothing.
        self._newest: dict[tuple[bytes, bytes], int] = {}

    def take(self, entry: Entry) -> None:
        """Take the next entry, in the ledger's order; one ledger's after another's."""
        # An entry is no older than those before it, whatever its clock said.
        self._latest = max(self._latest, entry.at)
        match entry:
            case Released() if entry.contractor in self._contractors:
                self._count += 1
                self._newest[entry.lease_id, entry.contractor] = self._count
                if entry.issued_at <= self._end or not _out_of_reach(entry, self._end):
                    self._leases[self._count] = _Lease(entry)
            case ReceiptEntry(event="closed") if self._latest < self._start:
                name = (entry.lease_id, entry.contractor)
                number = self._newest.get(name)
                if number is None or (lease := self._leases.get(number)) is None:
                    return
                if entry.erased == "process-exit":
                    del self._leases[number], self._newest[name]
                else:
                    lease.closed_at = entry.at if lease.closed_at is None else min(lease.closed_at, entry.at)
            case _:
                return

    def exposures(self) -> Iterator[Exposure]:
        """Yield all that the surface could give away, by releases, and within one in the order of its items."""
        for lease in self._leases.values():
            yield from _exposures(lease, self._start, self._end)


def open_items(
    entries: Iterable[Entry], *, contractors: frozenset[bytes], start: datetime, end: datetime
) -> tuple[Exposure, ...]:
    """Return all that a surface could give away: one exposure for each lease and item version.

    Args:
        entries: of one ledger, in its order.
        contractors: the keys on the surface.
        start: when someone may first have held it.
        end: when that was over; both are included.

    Returns:
        In the order of the releases, and within one in the order of its items.

    Raises:
        FormatError: a time that can't stand on the wire, or a window that ends before it begins.
    """
    leases = OpenLeases(contractors, start, end)
    for entry in entries:
        leases.take(entry)
    return tuple(leases.exposures())


class _Lease:
    """A release to the surface, and the time of the first best-effort receipt that counts."""

    __slots__ = ("closed_at", "released")

    def __init__(self, released: Released) -> None:
        self.released = released
        self.closed_at: datetime | None = None


def _out_of_reach(released: Released, end: datetime) -> bool:
    """Tell whether a copied key could neither bring about nor open this release after the window.

    The one-time key is newer than the window only if no request out of the window can still have been good.
    """
    return released.presence == "key" and released.issued_at - end > MAX_REQUEST_LIFETIME


def _exposures(lease: _Lease, start: datetime, end: datetime) -> Iterator[Exposure]:
    released = lease.released
    until = released.expires_at if lease.closed_at is None else lease.closed_at
    erasure: Erasure = "unconfirmed" if lease.closed_at is None else "best-effort"
    reason: Reason = "open"
    if released.issued_at > end:
        reason = "key-taken"
    elif until <= start:
        reason = "not-erased"
    for item in released.items:
        yield Exposure(
            item=item.item,
            version=item.version,
            lease_id=released.lease_id,
            task=released.task,
            contractor=released.contractor,
            tier=released.tier,
            since=released.issued_at,
            until=until,
            erasure=erasure,
            reason=reason,
        )
