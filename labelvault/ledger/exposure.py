"""Which item versions someone who held a surface during a window could have read, from the ledger alone.

A surface is a set of contractor keys: one device, one desk, all desks at a vendor's host. Whoever held it in
[start, end] had what lay on it, could sign with its keys from `start` on, and kept copies of those keys. So
only what was signed before `start` is believed, and every doubt counts as exposed:

- A lease begins when it was issued. It is over only where a `closed` receipt by its own contractor was
  entered before `start` and says `process-exit`: by then the process that held key and plaintext had ended.
  The time is the issuer's, of the entry; what a contractor claims is not even recorded.
- A receipt that says `best-effort`, or expiry without a receipt, ends the lease but not the doubt.
- After `end`, a release to a key of the surface still goes to whoever copied that key, until the key's
  revocation stands in the ledger. Excepted is a desk's release that its presence device approved, as that
  device's key was never there; but not at once: a request approved in the window stays good for some minutes.

The answer is an upper bound. It is not signed, and it covers one ledger: one epoch, as far as the entries go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from labelvault.errors import FormatError
from labelvault.ledger.entries import Enrolled, Entry, Granted, ReceiptEntry, Released, Revoked
from labelvault.wire.messages import MAX_REQUEST_LIFETIME
from labelvault.wire.times import check_time

Erasure: TypeAlias = Literal["best-effort", "unconfirmed"]
Reason: TypeAlias = Literal["open", "not-erased", "key-taken"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One item version that the surface could give away.

    Attributes:
        item: 16 bytes.
        version: from 1.
        lease_id: the lease that opened it, 32 bytes.
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
    check_time(start)
    check_time(end)
    if end < start:
        raise FormatError("a window ends before it begins")
    leases: list[_Lease] = []
    # A receipt counts only after its release, and only by the lease's own contractor: another's says nothing.
    newest: dict[tuple[bytes, bytes], _Lease] = {}
    revoked: set[bytes] = set()
    latest = None
    for entry in entries:
        # An entry is no older than those before it, whatever its clock said.
        latest = entry.at if latest is None else max(latest, entry.at)
        match entry:
            case Released() if entry.contractor in contractors:
                lease = newest[entry.lease_id, entry.contractor] = _Lease(entry)
                if entry.issued_at <= end or not _out_of_reach(entry, revoked, end):
                    leases.append(lease)
            case ReceiptEntry(event="closed") if latest < start:
                if found := newest.get((entry.lease_id, entry.contractor)):
                    found.closed.append(entry)
            case Revoked(kind="contractor"):
                revoked.add(entry.id)
            case _:
                continue
    return tuple(exposure for lease in leases for exposure in _exposures(lease, start, end))


@dataclass(frozen=True, slots=True)
class _Lease:
    """A release to the surface, and the closing receipts that count."""

    released: Released
    closed: list[ReceiptEntry] = field(default_factory=list)


def _out_of_reach(released: Released, revoked: set[bytes], end: datetime) -> bool:
    """Tell whether a copied key could neither bring about nor open this release after the window."""
    if released.contractor in revoked:
        return True
    # The one-time key is newer than the window only if no request out of the window can still have been good.
    return released.presence == "key" and released.issued_at - end > MAX_REQUEST_LIFETIME


def _exposures(lease: _Lease, start: datetime, end: datetime) -> Iterator[Exposure]:
    released = lease.released
    if any(receipt.erased == "process-exit" for receipt in lease.closed):
        return
    until = min((receipt.at for receipt in lease.closed), default=released.expires_at)
    erasure: Erasure = "best-effort" if lease.closed else "unconfirmed"
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
            contractor=released.contractor,
            tier=released.tier,
            since=released.issued_at,
            until=until,
            erasure=erasure,
            reason=reason,
        )
