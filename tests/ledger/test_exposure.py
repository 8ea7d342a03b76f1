"""Exposure: each rule, a brute-force model of all, and a thief who must never open more than is stated."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.ledger.entries import (
    Denied,
    Enrolled,
    Entry,
    Frozen,
    Granted,
    ReceiptEntry,
    Released,
    ReleasedItem,
    Revoked,
    Sealed,
)
from labelvault.ledger.exposure import Exposure, open_items, vendor_host

ADA, BEN, DESK = b"a" * 32, b"b" * 32, b"d" * 32
TASK, GUIDE, OTHER = b"t" * 16, b"g" * 16, b"o" * 16
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = START + timedelta(hours=2)


def at(minutes: float) -> datetime:
    """Minutes after the window's start."""
    return START + timedelta(minutes=minutes)


def lease(number: int) -> bytes:
    return number.to_bytes(32, "big")


def released(
    number: int,
    minutes: float,
    contractor: bytes = ADA,
    *,
    tier: str = "helper",
    presence: str = "device",
    ttl: float = 60,
    items: tuple[bytes, ...] = (TASK,),
) -> Released:
    return Released(
        at=at(minutes),
        lease_id=lease(number),
        grant_hash=bytes(32),
        contractor=contractor,
        project=bytes(16),
        tier=tier,
        presence=presence,
        task=items[0],
        items=tuple(ReleasedItem(item, 1, bytes(32)) for item in items),
        issued_at=at(minutes),
        expires_at=at(minutes + ttl),
        replaces=None,
    )


def closed(number: int, minutes: float, erased: str = "process-exit", contractor: bytes = ADA) -> ReceiptEntry:
    return ReceiptEntry(at=at(minutes), lease_id=lease(number), contractor=contractor, event="closed", erased=erased)


def revoked(minutes: float, contractor: bytes = ADA) -> Revoked:
    return Revoked(at=at(minutes), kind="contractor", id=contractor)


def stated(*entries: Entry, contractors: frozenset[bytes] = frozenset({ADA})) -> tuple[Exposure, ...]:
    return open_items(entries, contractors=contractors, start=START, end=END)


def only(*entries: Entry, contractors: frozenset[bytes] = frozenset({ADA})) -> Exposure:
    (exposure,) = stated(*entries, contractors=contractors)
    return exposure


@pytest.mark.parametrize("minutes", [-30, 0, 60, 120])
def test_open_in_the_window(minutes: float) -> None:
    """A lease that lives at some moment of the window, edges included, is exposed from issue to expiry."""
    assert only(released(1, minutes)) == Exposure(
        item=TASK,
        version=1,
        lease_id=lease(1),
        task=TASK,
        contractor=ADA,
        tier="helper",
        since=at(minutes),
        until=at(minutes + 60),
        erasure="unconfirmed",
        reason="open",
    )


def test_a_lease_opens_all_its_items() -> None:
    """What a task requires is exposed with it, in the lease's order."""
    found = stated(released(1, 0, items=(TASK, GUIDE, OTHER)), released(2, 1, items=(OTHER,)))
    assert [(one.lease_id, one.item) for one in found] == [
        (lease(1), TASK),
        (lease(1), GUIDE),
        (lease(1), OTHER),
        (lease(2), OTHER),
    ]


def test_other_surfaces_are_not_stated() -> None:
    """Only leases of keys on the surface count."""
    assert stated(released(1, 0, BEN)) == ()
    assert stated(released(1, 0), contractors=frozenset()) == ()


def test_closed_by_process_exit_before_the_window() -> None:
    """A process that had exited before the window leaves nothing to find."""
    assert stated(released(1, -30), closed(1, -1 / 60)) == ()


def test_closed_best_effort_before_the_window() -> None:
    """A best-effort close ends the lease, but the surface may still hold what it opened."""
    exposure = only(released(1, -30), closed(1, -10, "best-effort"))
    assert (exposure.until, exposure.erasure, exposure.reason) == (at(-10), "best-effort", "not-erased")


def test_best_effort_then_process_exit() -> None:
    """The process may exit later than the lease is closed; what counts is that it did before the window."""
    assert stated(released(1, -30), closed(1, -20, "best-effort"), closed(1, -10)) == ()
    exposure = only(released(1, -30), closed(1, -20, "best-effort"), closed(1, 10))
    assert (exposure.until, exposure.erasure) == (at(-20), "best-effort")


@pytest.mark.parametrize("second", [-10, -25], ids=["later", "by a clock that went back"])
def test_of_two_best_effort_receipts_the_earlier_one_counts(second: float) -> None:
    """A lease that was closed twice was over at the first close, in whichever order their times stand."""
    exposure = only(released(1, -30), closed(1, -20, "best-effort"), closed(1, second, "best-effort"))
    assert (exposure.until, exposure.reason) == (at(min(-20, second)), "not-erased")


def test_expired_without_a_receipt() -> None:
    """Expiry frees the slot; the device stays in doubt for ever."""
    exposure = only(released(1, -1000))
    assert (exposure.until, exposure.erasure, exposure.reason) == (at(-940), "unconfirmed", "not-erased")
    assert only(released(1, -60)).reason == "not-erased"
    assert only(released(1, -60, ttl=60.001)).reason == "open"


@pytest.mark.parametrize("minutes", [0, 1, 500])
def test_F12_receipts_after_the_theft_do_not_count(minutes: float) -> None:
    """From the window's start on, whoever holds the surface signs its receipts."""
    exposure = only(released(1, -30), closed(1, minutes))
    assert (exposure.until, exposure.erasure, exposure.reason) == (at(30), "unconfirmed", "open")


def test_F12_a_receipt_is_bound_to_its_lease_and_contractor() -> None:
    """Another contractor's receipt for this lease, or this contractor's for another lease, closes nothing."""
    assert only(released(1, -30), closed(1, -10, contractor=BEN)).reason == "open"
    assert only(released(1, -30), closed(2, -10)).reason == "open"
    both = frozenset({ADA, BEN})
    assert len(stated(released(1, -30), closed(1, -10, contractor=BEN), contractors=both)) == 1


def test_other_receipts_close_nothing() -> None:
    """Opening and submitting are no end."""
    for event in ("opened", "submitted"):
        entry = ReceiptEntry(at=at(-10), lease_id=lease(1), contractor=ADA, event=event, erased=None)
        assert only(released(1, -30), entry).reason == "open"


def test_a_receipt_before_its_release_closes_nothing() -> None:
    """The ledger's order decides: a receipt that stands before the release is of something else."""
    assert only(closed(1, -40), released(1, -30)).reason == "open"


def test_a_clock_that_went_back_shortens_nothing() -> None:
    """An entry is no older than those before it, so a receipt that claims to be is not believed."""
    late = Frozen(at=at(5), project=bytes(16), frozen=True)
    assert only(released(1, -30), late, closed(1, -10)).reason == "open"
    assert stated(released(1, -30), closed(1, -10), late) == ()


def test_one_lease_id_twice_hides_nothing() -> None:
    """Were a lease id ever to come twice, closing one release would not close the other."""
    first, second = (
        released(1, -50),
        replace(released(1, -30), task=GUIDE, items=released(1, 0, items=(GUIDE,)).items),
    )
    found = stated(first, second, closed(1, -10))
    assert [one.item for one in found] == [TASK]


def test_L7_a_taken_key_is_stated_until_its_revocation() -> None:
    """A release after the window goes to whoever copied the key; after the key's revocation there is none."""
    exposure = only(released(1, 500), revoked(600))
    assert (exposure.lease_id, exposure.reason) == (lease(1), "key-taken")


def test_L7_only_that_contractors_revocation_counts() -> None:
    """Revoking another contractor, or a grant, leaves the taken key in use."""
    grant = Revoked(at=at(130), kind="grant", id=bytes(16))
    assert only(revoked(130, BEN), grant, released(1, 500)).reason == "key-taken"


def test_L7_receipts_for_later_releases_do_not_count() -> None:
    """A thief closes what the thief opened; the statement does not believe it."""
    assert only(released(1, 500), closed(1, 501)).reason == "key-taken"


def test_L7_a_release_counts_even_after_revocation() -> None:
    """A revocation means that nothing comes after it: what came all the same could be read, and is not left out."""
    assert only(revoked(10), released(1, 20)).reason == "open"
    assert only(revoked(10), released(1, 120)).reason == "open"
    assert only(revoked(10), released(1, 120.001)).reason == "key-taken"


def test_a_desks_release_after_the_window() -> None:
    """With the presence device's approval it is not the thief's, once no request out of the window lives."""
    desk = frozenset({DESK})
    approved = {"tier": "desk", "presence": "key"}
    assert only(released(1, 125, DESK, **approved), contractors=desk).reason == "key-taken"  # type: ignore[arg-type]
    assert only(released(1, 130, DESK, **approved), contractors=desk).reason == "key-taken"  # type: ignore[arg-type]
    assert stated(released(1, 130.001, DESK, **approved), contractors=desk) == ()  # type: ignore[arg-type]
    waived = only(released(1, 500, DESK, tier="desk", presence="waived"), contractors=desk)
    assert waived.reason == "key-taken"


def test_vendor_host_has_the_desks_and_no_helper() -> None:
    """The vendor's host holds every desk's key, however the ledger came to name it, and no helper's."""
    enrolled = Enrolled(at=START, contractor=DESK, tier="desk", presence_key=True)
    helper = Enrolled(at=START, contractor=ADA, tier="helper", presence_key=False)
    granted = Granted(
        at=START,
        grant_hash=bytes(32),
        grant_id=bytes(16),
        contractor=BEN,
        project=bytes(16),
        tier="desk",
        presence="waived",
        expires_at=END,
    )
    opened = released(1, 0, b"e" * 32, tier="desk", presence="key")
    frozen = Frozen(at=START, project=bytes(16), frozen=True)
    entries: list[Entry] = [enrolled, helper, granted, opened, released(2, 0), frozen]
    assert vendor_host(entries) == {DESK, BEN, b"e" * 32}
    found = open_items(entries, contractors=vendor_host(entries), start=START, end=END)
    assert [one.lease_id for one in found] == [lease(1)]


def test_windows_are_checked() -> None:
    """Naive times, finer ones than the ledger's, and a window that ends before it begins are refused."""
    for start, end in (
        (END, START),
        (START.replace(tzinfo=None), END),
        (START, END.replace(tzinfo=None)),
        (START, END + timedelta(microseconds=1)),
    ):
        with pytest.raises(FormatError):
            open_items([], contractors=frozenset(), start=start, end=end)
    assert open_items([], contractors=frozenset(), start=START, end=START) == ()


def test_the_last_day_of_time() -> None:
    """A window that reaches the end of the calendar is one like any other."""
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    desk = released(1, 10, DESK, tier="desk", presence="key")
    assert len(open_items([desk], contractors=frozenset({DESK}), start=START, end=last)) == 1


# The model: every rule as one condition over the whole ledger, for each release by itself.

KEYS = (ADA, BEN, DESK)


def model(entries: list[Entry], surface: frozenset[bytes], start: datetime, end: datetime) -> list[Exposure]:
    entered = list(itertools.accumulate((entry.at for entry in entries), max))
    found = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, Released) or entry.contractor not in surface:
            continue
        same = [
            index
            for index, other in enumerate(entries)
            if isinstance(other, Released) and (other.lease_id, other.contractor) == (entry.lease_id, entry.contractor)
        ]
        until_place = min((index for index in same if index > place), default=len(entries))
        counted = [
            other
            for index, other in enumerate(entries)
            if place < index < until_place
            and isinstance(other, ReceiptEntry)
            and other.event == "closed"
            and (other.lease_id, other.contractor) == (entry.lease_id, entry.contractor)
            and entered[index] < start
        ]
        after = entry.issued_at > end
        approved = entry.tier == "desk" and entry.presence == "key"
        stale = entry.issued_at > end + timedelta(minutes=10)
        if "process-exit" in {receipt.erased for receipt in counted} or (after and approved and stale):
            continue
        until = min([receipt.at for receipt in counted]) if counted else entry.expires_at
        for item in entry.items:
            found.append(
                Exposure(
                    item.item,
                    item.version,
                    entry.lease_id,
                    entry.task,
                    entry.contractor,
                    entry.tier,
                    entry.issued_at,
                    until,
                    "best-effort" if counted else "unconfirmed",
                    "key-taken" if after else "not-erased" if until <= start else "open",
                )
            )
    return found


MINUTES = st.integers(-40, 60).map(lambda number: 5 * number / 2)
NUMBERS = st.integers(0, 3)
CONTRACTORS = st.sampled_from(KEYS)


@st.composite
def releases(draw: st.DrawFn) -> Released:
    tier, presence = draw(st.sampled_from([("helper", "device"), ("desk", "key"), ("desk", "waived")]))
    entry = released(
        draw(NUMBERS),
        draw(MINUTES),
        draw(CONTRACTORS),
        tier=tier,
        presence=presence,
        ttl=draw(st.sampled_from([5, 30, 120])),
        items=draw(st.sampled_from([(TASK,), (TASK, GUIDE), (OTHER,)])),
    )
    return replace(entry, at=entry.at + timedelta(minutes=draw(st.sampled_from([0, 0, 0, 20]))))


ENTRIES = st.one_of(
    releases(),
    releases(),
    st.builds(closed, NUMBERS, MINUTES, st.sampled_from(["process-exit", "best-effort"]), CONTRACTORS),
    st.builds(closed, NUMBERS, MINUTES, st.just("process-exit"), CONTRACTORS),
    st.builds(revoked, MINUTES, CONTRACTORS),
    st.builds(
        lambda number, minutes: ReceiptEntry(
            at=at(minutes), lease_id=lease(number), contractor=ADA, event="submitted", erased=None
        ),
        NUMBERS,
        MINUTES,
    ),
    st.just(Revoked(at=START, kind="grant", id=bytes(16))),
    st.just(Sealed(at=START, project=bytes(16), item=TASK, version=1, digest=bytes(32))),
    st.just(Denied(at=START, request_hash=bytes(32), contractor=ADA, project=bytes(16), code="unknown")),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(ENTRIES, max_size=12), st.booleans(), st.frozensets(CONTRACTORS), MINUTES, st.integers(0, 120))
def test_L4_statement_equals_the_model(
    entries: list[Entry], ordered: bool, surface: frozenset[bytes], minutes: float, length: int
) -> None:
    """For any ledger, surface and window, the statement is exactly what the rules say of each release."""
    if ordered:
        entries = sorted(entries, key=lambda entry: entry.at)
    start, end = at(minutes), at(minutes + length)
    assert list(open_items(entries, contractors=surface, start=start, end=end)) == model(entries, surface, start, end)


# The world: devices that hold what they opened, a thief who takes all of it, and a ledger that knows neither.


@dataclass
class Lease:
    """What is true of a lease, as no ledger knows it."""

    contractor: bytes
    held: bool = True
    opened_by_thief: bool = False


@dataclass
class Request:
    """An open request on its way, and whether the thief has its one-time key."""

    contractor: bytes
    made: float
    taken: bool


@dataclass
class World:
    """Contractors at work, a thief on ADA's device and at DESK, an issuer who records first."""

    kinds: dict[bytes, tuple[str, str]]
    surface: frozenset[bytes] = frozenset({ADA, DESK})
    now: float = 0
    entries: list[Entry] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    receipts: list[ReceiptEntry] = field(default_factory=list)
    came: float | None = None
    left: float | None = None

    @property
    def inside(self) -> bool:
        return self.came is not None and self.left is None

    def holds_surface(self, contractor: bytes) -> bool:
        return self.inside and contractor in self.surface

    def wait(self, minutes: int) -> None:
        self.now += minutes

    def ask(self, choice: int) -> None:
        contractor = KEYS[choice % 3]
        self.requests.append(Request(contractor, self.now, self.holds_surface(contractor)))

    def answer(self, choice: int) -> None:
        if not self.requests:
            return
        request = self.requests.pop(choice % len(self.requests))
        if self.now < request.made + 10:
            self.release(request.contractor, request.taken)

    def release(self, contractor: bytes, taken: bool) -> None:
        if any(isinstance(entry, Revoked) and entry.id == contractor for entry in self.entries):
            return
        tier, presence = self.kinds[contractor]
        self.entries.append(released(len(self.leases), self.now, contractor, tier=tier, presence=presence, ttl=30))
        self.leases.append(Lease(contractor, opened_by_thief=taken or self.holds_surface(contractor)))

    def close(self, choice: int) -> None:
        """The device closes a lease; one in three only says so, and receipts may travel for long."""
        if not self.leases:
            return
        number = choice % len(self.leases)
        erased = "best-effort" if choice % 3 == 0 else "process-exit"
        if erased == "process-exit":
            self.leases[number].held = False
        contractor = self.leases[number].contractor
        self.receipts.append(closed(number, self.now, erased, contractor))
        if choice % 2:
            self.deliver(-1)

    def deliver(self, choice: int) -> None:
        if self.receipts:
            receipt = self.receipts.pop(choice % len(self.receipts))
            self.entries.append(replace(receipt, at=at(self.now)))

    def come(self, choice: int) -> None:
        if self.came is None:
            self.came = self.now
            for one in self.leases:
                one.opened_by_thief |= one.held and one.contractor in self.surface
            for request in self.requests:
                request.taken |= request.contractor in self.surface

    def leave(self, choice: int) -> None:
        if self.inside:
            self.left = self.now

    def forge(self, choice: int) -> None:
        """The thief closes a lease with a key from the surface."""
        mine = [n for n, one in enumerate(self.leases) if one.contractor in self.surface]
        if self.came is not None and mine:
            number = mine[choice % len(mine)]
            self.entries.append(closed(number, self.now, "process-exit", self.leases[number].contractor))

    def misuse(self, choice: int) -> None:
        """The thief asks with a key from the surface, where the key alone is enough."""
        contractor = (ADA, DESK)[choice % 2]
        if self.came is not None and self.kinds[contractor][1] != "key":
            self.release(contractor, taken=True)

    def revoke(self, choice: int) -> None:
        self.entries.append(revoked(self.now, KEYS[choice % 3]))


STEPS = st.tuples(
    st.sampled_from(
        ["wait", "wait", "ask", "answer", "close", "deliver", "come", "leave", "forge", "misuse", "revoke"]
        + ["ask", "answer", "close"]
    ),
    st.integers(0, 11),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from(["key", "waived"]))
@example([("ask", 2), ("come", 0), ("leave", 0), ("wait", 9), ("answer", 0)], "key")
@example([("ask", 0), ("answer", 0), ("close", 1), ("wait", 1), ("come", 0)], "key")
@example([("come", 0), ("leave", 0), ("wait", 11), ("misuse", 0), ("forge", 0)], "key")
def test_L3_a_thief_never_opens_more_than_is_stated(steps: list[tuple[str, int]], desk: str) -> None:
    """Whatever a thief on the surface opens, then or later, with keys, leases or requests, is stated."""
    world = World({ADA: ("helper", "device"), BEN: ("helper", "device"), DESK: ("desk", desk)})
    for name, choice in steps:
        getattr(world, name)(choice)
    came = world.now if world.came is None else world.came
    left = world.now if world.left is None else world.left
    found = open_items(world.entries, contractors=world.surface, start=at(came), end=at(left))
    opened = {lease(number) for number, one in enumerate(world.leases) if one.opened_by_thief}
    assert opened <= {exposure.lease_id for exposure in found}
    assert not {exposure.contractor for exposure in found} & {BEN}
