"""How many item versions a surface could give away over time, as one inline SVG: steps, stacked, the window marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import accumulate
from typing import Final

from labelvault.client.exposure import ExposureStatement, StatedInterval
from labelvault.ledger.verdicts import WITH_INTERVALS

SERIES: Final = {
    "desk-waived": "open at a desk, presence waived",
    "desk": "open at a desk",
    "helper": "open on a helper's device",
    "taken": "released after the window to a key that lay there",
    "unconfirmed": "over, erasure unconfirmed",
}
"""From the bottom up: the gravest first."""
_ORDER: Final = tuple(SERIES)
_BINS: Final = 240
_WIDTH: Final = 960
_HEIGHT: Final = 300
_LEFT: Final = 52
_RIGHT: Final = 16
_TOP: Final = 34
_BOTTOM: Final = 44
_MARGIN: Final = timedelta(minutes=10)
_LEAST_MARGIN: Final = timedelta(seconds=10)
_TICKS_S: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn.

    Attributes:
        start: of the axis.
        end: of the axis.
        counts: for each series, how many item versions at some moment of each of the axis's equal parts.
    """

    start: datetime
    end: datetime
    counts: dict[str, list[int]]

    @property
    def most(self) -> int:
        """The highest pile."""
        return max(map(sum, zip(*self.counts.values(), strict=True)))


def timeline(stated: ExposureStatement) -> Timeline:
    """Count over time; a version that falls under several series at once counts under the gravest."""
    statement = stated.statement
    length = statement.end - statement.start
    # A window of seconds is not to be a mere line.
    margin = max(length / 3, min(_MARGIN, max(length, _LEAST_MARGIN)))
    versions = [
        version.intervals
        for verdict in WITH_INTERVALS
        for item in stated.items.of(verdict)
        for version in item.versions
        if version.intervals
    ]
    start = statement.start - margin
    # What came after the window is worth showing, as far as it does not press the window together.
    last = max((each.until for some in versions for each in some if each.reason == "key-taken"), default=statement.end)
    end = max(statement.end + margin, min(last, statement.end + 4 * margin))
    changes = {name: [0] * (_BINS + 1) for name in _ORDER}
    for intervals in versions:
        _add(changes, _ranked(intervals, start, (end - start) / _BINS))
    return Timeline(start, end, {name: list(accumulate(each))[:_BINS] for name, each in changes.items()})


def _ranked(intervals: Sequence[StatedInterval], start: datetime, step: timedelta) -> list[tuple[int, int, str]]:
    """Return (first bin, last bin, series) of one version's intervals, which may overlap."""
    found = []
    for each in intervals:
        first, last = (each.since - start) // step, (each.until - start) // step
        if each.reason == "not-erased":
            # It is in doubt for ever, so also at the window's time.
            found.append((max(0, last), _BINS - 1, "unconfirmed"))
            last = min(last, _BINS - 1)
        name = "taken" if each.reason == "key-taken" else "desk-waived" if each.waived else each.tier
        if last >= 0 and first < _BINS:
            found.append((max(0, first), min(last, _BINS - 1), name))
    return [each for each in found if each[0] <= each[1]]


def _add(changes: dict[str, list[int]], spans: list[tuple[int, int, str]]) -> None:
    if len(spans) > 1:
        best: list[int | None] = [None] * _BINS
        for first, last, name in spans:
            rank = _ORDER.index(name)
            for place in range(first, last + 1):
                there = best[place]
                best[place] = rank if there is None else min(rank, there)
        spans = [(place, place, _ORDER[rank]) for place, rank in enumerate(best) if rank is not None]
    for first, last, name in spans:
        changes[name][first] += 1
        changes[name][last + 1] -= 1


def plot(stated: ExposureStatement) -> str:
    """Return the SVG; its colours are classes of the page's style."""
    line = timeline(stated)
    statement = stated.statement
    top = _nice(line.most)
    inner, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(time: datetime) -> float:
        return _LEFT + inner * ((time - line.start) / (line.end - line.start))

    def y(number: float) -> float:
        return _TOP + high * (1 - number / top)

    label = f"Item versions open over time, at most {line.most} at once; the window is marked."
    parts = [
        f'<svg id="plot" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-label="{escape(label)}">',
        f'<rect class="window" x="{x(statement.start):.1f}" y="{_TOP}" '
        f'width="{max(1.5, x(statement.end) - x(statement.start)):.1f}" height="{high}"/>',
    ]
    for number in range(0, top + 1, max(1, top // 4)):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(number):.1f}" y2="{y(number):.1f}"/>'
        )
        parts.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 8}" y="{y(number) + 4:.1f}">{number:,}</text>')
    below = [0] * _BINS
    for name, counts in line.counts.items():
        above = [one + other for one, other in zip(below, counts, strict=True)]
        if any(counts):
            parts.append(
                f'<path class="s-{name}" d="{_area(below, above, inner, y)}"><title>{SERIES[name]}</title></path>'
            )
        below = above
    for time, anchor, words in ((statement.start, "end", "window begins"), (statement.end, "start", "window ends")):
        at, shift = x(time), -5 if anchor == "end" else 5
        parts.append(f'<line class="edge" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 12}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text class="mark" text-anchor="{anchor}" x="{at + shift:.1f}" y="{_TOP - 8}">{words}</text>')
    parts.append(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_HEIGHT - _BOTTOM}" y2="{_HEIGHT - _BOTTOM}"/>'
    )
    for place, (time, words) in enumerate(_ticks(line.start, line.end)):
        parts.append(
            f'<text class="tick time{" odd" if place % 2 else ""}" text-anchor="middle" '
            f'x="{x(time):.1f}" y="{_HEIGHT - _BOTTOM + 18}">{words}</text>'
        )
    parts.append(f'<text class="tick" text-anchor="end" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}">UTC</text></svg>')
    return "\n".join(parts)


def _area(below: Sequence[int], above: Sequence[int], inner: int, y: Callable[[float], float]) -> str:
    """Return the path round the steps between two lines; steps of equal height are one."""
    step = inner / _BINS
    forth = [f"M{_LEFT},{y(below[0]):.1f}"]
    forth += [
        f"L{_LEFT + first * step:.1f},{y(value):.1f}L{_LEFT + last * step:.1f},{y(value):.1f}"
        for first, last, value in _runs(above)
    ]
    back = [
        f"L{_LEFT + last * step:.1f},{y(value):.1f}L{_LEFT + first * step:.1f},{y(value):.1f}"
        for first, last, value in reversed(_runs(below))
    ]
    return "".join([*forth, *back, "Z"])


def _runs(values: Sequence[int]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for place, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], place + 1, value)
        else:
            found.append((place, place + 1, value))
    return found


def _nice(most: int) -> int:
    """Return a round number, not below the highest pile, that four lines divide where it is large."""
    if most <= 4:
        return max(1, most)
    unit = 10 ** (len(str(most)) - 2) if most >= 10 else 1
    quarters = (each * unit for each in (1, 2, 3, 4, 5, 8, 10, 15, 20, 25))
    return next(4 * each for each in quarters if 4 * each >= most)


def _ticks(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Return at most eight times on round hours, minutes or days, and how they are written."""
    seconds = (end - start).total_seconds()
    steps = [*_TICKS_S, *(_DAY_S * days for days in (1, 2, 7, 14, 30, 90, 365, 3650, 36500))]
    step = next((each for each in steps if seconds / each <= 7), steps[-1])
    form = "%m-%d" if step >= _DAY_S else "%m-%d %H:%M" if step >= 60 else "%H:%M:%S"
    if step >= 90 * _DAY_S:
        form = "%Y-%m"
    first = (int(start.timestamp()) // step + 1) * step
    times = [datetime.fromtimestamp(each, UTC) for each in range(first, int(end.timestamp()) + 1, step)]
    return [(time, time.strftime(form)) for time in times]
