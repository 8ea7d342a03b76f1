"""What a window means for each item: one verdict a version, computed from ledger entries alone.

`labelvault.ledger.exposure` says which leases a surface could give away; here each item version that was ever sealed
gets the worst that its leases say of it. Entries come once, from one ledger after another, oldest epoch first; memory
grows with what was sealed, some hundred bytes a version, and with leases of the surface that were not closed for good.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from itertools import groupby, pairwise, takewhile
from typing import Annotated, Final

from labelvault.ledger.entries import Entry, Released, Sealed, Version
from labelvault.ledger.exposure import Exposure, OpenLeases
from labelvault.wire.messages import Id16, Key32, Tier
from labelvault.wire.schema import Count, OneOf, UInt
from labelvault.wire.times import from_ms, to_ms

VERDICTS: Final = ("exposed", "unknown", "unconfirmed", "after", "closed-before", "elsewhere", "never-opened")
"""From the worst to the best:

- `exposed`: the surface could read it in the window, or with a key that was copied in it.
- `unknown`: sealed before a gap in the ledger, in which releases may have been made that nobody recorded.
- `unconfirmed`: opened at the surface and over before the window, but no receipt that counts says that it was erased.
- `after`: released only after the window, to no key that could have been taken in it.
- `closed-before`: opened at the surface, and its process had exited before the window.
- `elsewhere`: opened, but never at the surface.
- `never-opened`: no lease ever named it.
"""
WITH_INTERVALS: Final = ("exposed", "unknown", "unconfirmed")
"""Verdicts of what a surface could give away, or may have."""
MAX_INTERVALS: Final = 200
"""Of one row. Where an item has more, each contractor's are drawn into one of each kind, or even all contractors'."""

_Kind = tuple[bytes | None, str, str, str]
"""Contractor, tier, erasure, reason."""
Verdict = Annotated[str, OneOf(*VERDICTS)]


@dataclass(frozen=True, slots=True)
class Interval:
    """A time in which the surface could give an item version away, by leases of one contractor that overlap.

    Attributes:
        contractor: whose leases, 32 bytes; None for several, where one row would hold too much.
        task: the task that was opened, where it was one: the item itself, or what required it. None for several.
        leases: how many.
        since: when the first was issued.
        until: when the last one's best-effort receipt was entered, or else its expiry. Copies may have outlived it.
        erasure: `best-effort` where receipts that count say so, else `unconfirmed`.
        reason: `open` in the window; `not-erased` before it; or `key-taken`: released after it to a key that lay there.
    """

    contractor: Key32 | None
    tier: Tier
    task: Id16 | None
    leases: Annotated[int, UInt(1, 2**32)]
    since: datetime
    until: datetime
    erasure: Annotated[str, OneOf("best-effort", "unconfirmed")]
    reason: Annotated[str, OneOf("open", "not-erased", "key-taken")]


@dataclass(frozen=True, slots=True)
class VersionVerdict:
    """One item version, and the worst that can be said of it.

    Attributes:
        sealed_at: of its first `sealed` entry; of its first release, if no ledger here says that it was sealed.
        tasks: by how many different tasks the intervals' leases opened it: for a guideline, those that required it.
        intervals: when, by whom and how the surface could give it away.
    """

    project: Id16
    item: Id16
    version: Version
    sealed_at: datetime
    verdict: Verdict
    tasks: Annotated[int, UInt(0, 2**32)]
    intervals: Annotated[tuple[Interval, ...], Count(0, MAX_INTERVALS)]


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked: who may have held which keys, from when until when; both times are included.

    Attributes:
        contractors: keys on the surface, 32 bytes each.
        project: only items of this one, 16 bytes; all if None.
        gaps: (from, to) during which releases may be missing from the ledgers: between a backup and its restore.
    """

    contractors: frozenset[bytes]
    start: datetime
    end: datetime
    project: bytes | None = None
    gaps: tuple[tuple[datetime, datetime], ...] = ()


def verdicts(entries: Iterable[Entry], window: Window) -> list[VersionVerdict]:
    """Return a verdict for every item version that was ever sealed; see `Verdicts`."""
    return list(Verdicts(entries, window))


# What is kept of a version, in one string of bytes, as there may be millions: sorted, they are in the order of rows,
# and what was sealed first stands first. Item and version are what leases name it by.
_ITEM: Final = slice(0, 16)
_VERSION: Final = slice(16, 24)
_KEY: Final = slice(0, 24)
_AT_MS: Final = slice(32, 40)
_PROJECT: Final = slice(40, 56)


class Verdicts:
    """A verdict for every item version that was ever sealed, by project, item and version.

    Rows are made whenever they are asked for.
    """

    def __init__(self, entries: Iterable[Entry], window: Window) -> None:
        """Read ledgers.

        Args:
            entries: all of them, oldest ledger first; or those that `labelvault.ledger.scan.needed` leaves.
            window: what is asked.

        Raises:
            FormatError: a time that can't stand on the wire, or a window that ends before it begins.
        """
        self._window = window
        self._marks: dict[bytes, int] = {}
        leases = OpenLeases(window.contractors, window.start, window.end)
        self._sealed = sorted(self._versions(entries, leases))
        self._exposures: dict[bytes, list[Exposure]] = {}
        for exposure in leases.exposures():
            self._exposures.setdefault(_key(exposure.item, exposure.version), []).append(exposure)
        self._by_project()

    def _versions(self, entries: Iterable[Entry], leases: OpenLeases) -> Iterator[bytes]:
        number = 0
        for entry in entries:
            match entry:
                case Sealed():
                    yield _kept(_key(entry.item, entry.version), number, entry.at, entry.project)
                    number += 1
                case Released():
                    mark = _mark(entry, self._window)
                    for item in entry.items:
                        key = _key(item.item, item.version)
                        if key not in self._marks:
                            # Lost with a ledger's end, perhaps; what was released is stated all the same.
                            yield _kept(key, number, entry.issued_at, entry.project)
                            number += 1
                        self._marks[key] = self._marks.get(key, 0) | mark
                case _:
                    pass
            leases.take(entry)

    def _by_project(self) -> None:
        """Keep the first that is known of each version, project by project."""
        wanted = self._window.project
        before = b""
        firsts = []
        for kept in self._sealed:
            if kept[_KEY] != before:
                before = kept[_KEY]
                if wanted in (None, kept[_PROJECT]):
                    firsts.append(kept)
        projects = sorted({kept[_PROJECT] for kept in firsts})
        if len(projects) > 1:
            places = {project: place for place, project in enumerate(projects)}
            firsts.sort(key=lambda kept: places[kept[_PROJECT]])
        self._sealed = firsts
        ends = [bisect_right(firsts, project, key=lambda kept: kept[_PROJECT]) for project in projects]
        self._spans = dict(zip(projects, pairwise([0, *ends]), strict=True))

    def __len__(self) -> int:
        return len(self._sealed)

    def __iter__(self) -> Iterator[VersionVerdict]:
        return map(self._row, self._sealed)

    @property
    def projects(self) -> tuple[bytes, ...]:
        """Whose items there are, 16 bytes each, sorted."""
        return tuple(self._spans)

    def of(self, project: bytes, item: bytes) -> list[VersionVerdict]:
        """Return the rows of one item, by version; none if there are none."""
        begin, end = self._spans.get(project, (0, 0))
        place = bisect_left(self._sealed, item, begin, end)
        those = takewhile(lambda kept: kept[_ITEM] == item, map(self._sealed.__getitem__, range(place, end)))
        return [self._row(kept) for kept in those]

    def worst(self) -> Iterator[tuple[bytes, bytes, str]]:
        """Yield (project, item, verdict) of each item: the worst of its versions, as one may hold what another held."""
        for (project, item), group in groupby(self._sealed, key=lambda kept: (kept[_PROJECT], kept[_ITEM])):
            yield project, item, min(map(self._verdict, group), key=VERDICTS.index)

    def _verdict(self, kept: bytes) -> str:
        key = kept[_KEY]
        return _verdict(_sealed_at(kept), self._exposures.get(key, ()), self._marks.get(key, 0), self._window)

    def _row(self, kept: bytes) -> VersionVerdict:
        shown = self._exposures.get(kept[_KEY], ())
        return VersionVerdict(
            project=kept[_PROJECT],
            item=kept[_ITEM],
            version=int.from_bytes(kept[_VERSION], "big"),
            sealed_at=_sealed_at(kept),
            verdict=self._verdict(kept),
            tasks=len({exposure.task for exposure in shown}),
            intervals=_intervals(shown) if shown else (),
        )


def _sealed_at(kept: bytes) -> datetime:
    return from_ms(int.from_bytes(kept[_AT_MS], "big"))


def _key(item: bytes, version: int) -> bytes:
    return item + version.to_bytes(8, "big")


def _kept(key: bytes, number: int, at: datetime, project: bytes) -> bytes:
    return b"".join((key, number.to_bytes(8, "big"), to_ms(at).to_bytes(8, "big"), project))


_HERE: Final = 1
_ELSEWHERE: Final = 2
_AFTER: Final = 4


def _mark(released: Released, window: Window) -> int:
    if released.issued_at > window.end:
        return _AFTER
    return _HERE if released.contractor in window.contractors else _ELSEWHERE


def _verdict(sealed_at: datetime, exposures: Sequence[Exposure], marks: int, window: Window) -> str:
    if any(exposure.reason != "not-erased" for exposure in exposures):
        return "exposed"
    # Any release may be missing, to any key and for up to a lease's whole life: nothing better can be said of what
    # there was to release.
    if any(sealed_at <= to for _, to in window.gaps):
        return "unknown"
    if exposures:
        return "unconfirmed"
    # What was over before the window weighs less than what came after it, so that a re-opened item is not overlooked.
    for mark, verdict in ((_AFTER, "after"), (_HERE, "closed-before"), (_ELSEWHERE, "elsewhere")):
        if marks & mark:
            return verdict
    return "never-opened"


def _intervals(exposures: Sequence[Exposure]) -> tuple[Interval, ...]:
    """Draw overlapping leases of one contractor together; a guideline may have been opened with each of its tasks."""
    alike: dict[_Kind, list[Interval]] = {}
    for exposure in sorted(exposures, key=lambda each: (each.since, each.until, each.lease_id)):
        new = Interval(
            contractor=exposure.contractor,
            tier=exposure.tier,
            task=exposure.task,
            leases=1,
            since=exposure.since,
            until=exposure.until,
            erasure=exposure.erasure,
            reason=exposure.reason,
        )
        drawn = alike.setdefault((new.contractor, new.tier, new.erasure, new.reason), [])
        if drawn and new.since <= drawn[-1].until:
            drawn[-1] = _joined(drawn[-1], new)
        else:
            drawn.append(new)
    if sum(map(len, alike.values())) > MAX_INTERVALS:
        alike = {kind: [reduce(_joined, drawn)] for kind, drawn in alike.items()}
    if len(alike) > MAX_INTERVALS:
        together: dict[_Kind, list[Interval]] = {}
        for (_, tier, erasure, reason), (one,) in alike.items():
            together.setdefault((None, tier, erasure, reason), []).append(one)
        alike = {kind: [reduce(_joined, drawn)] for kind, drawn in together.items()}
    found = [interval for drawn in alike.values() for interval in drawn]
    return tuple(sorted(found, key=lambda each: (each.since, each.until, each.contractor or b"", each.erasure)))


def _joined(one: Interval, other: Interval) -> Interval:
    return replace(
        one,
        contractor=one.contractor if one.contractor == other.contractor else None,
        task=one.task if one.task == other.task else None,
        leases=one.leases + other.leases,
        since=min(one.since, other.since),
        until=max(one.until, other.until),
    )
