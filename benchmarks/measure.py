"""Taking times so that the machine's noise falls on all alike: contenders run in turn, and ratios are of one round."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

Work = Callable[[int], object]
"""Does something so many times."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a run takes upon itself.

    Attributes:
        quick: small sizes, to see that everything runs; its figures say little.
        folder: for temporary files, on the file system that is measured.
        long: seal also what takes minutes, where its catalog would do.
    """

    quick: bool
    folder: Path
    long: bool = False

    def size(self, whole: int, quick: int) -> int:
        """Return a size, by how thorough this run is."""
        return quick if self.quick else whole

    @property
    def rounds(self) -> int:
        """How often each contender's turn comes."""
        return 3 if self.quick else 15

    @property
    def turn_s(self) -> float:
        """How long a turn of work that takes microseconds is made, in seconds."""
        return 0.01 if self.quick else 0.15


class Times:
    """Seconds of one unit of work, by contender and round."""

    def __init__(self, names: list[str]) -> None:
        """Begin without any."""
        self._seconds: dict[str, list[float]] = {name: [] for name in names}

    def add(self, name: str, seconds: float) -> None:
        """Add a contender's time of one round."""
        self._seconds[name].append(seconds)

    def median(self, name: str) -> float:
        """Return a contender's median, in seconds."""
        return statistics.median(self._seconds[name])

    def percentile(self, name: str, part: float) -> float:
        """Return the time that `part` of a contender's rounds stayed within, from 0 to 1."""
        ordered = sorted(self._seconds[name])
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    def times_as_fast(self, name: str, other: str) -> float:
        """Return how many times as fast `name` is as `other`: the median of each round's ratio."""
        return statistics.median(
            theirs / own for own, theirs in zip(self._seconds[name], self._seconds[other], strict=True)
        )


def in_turn(contenders: Mapping[str, Work], effort: Effort) -> Times:
    """Time short work: each turn repeats it for `effort.turn_s`, and the order changes from round to round."""
    counts = {name: _repeats(work, effort.turn_s) for name, work in contenders.items()}
    turns = {name: partial(_timed, work, counts[name]) for name, work in contenders.items()}
    return once_in_turn(turns, effort.rounds)


def once_in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """Collect times that contenders take by themselves, each once a round, in an order that changes.

    Args:
        contenders: each returns the seconds of one unit of its work.
        rounds: how many.
    """
    names = list(contenders)
    times = Times(names)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            times.add(name, contenders[name]())
    return times


def seconds(work: Callable[[], object]) -> float:
    """Return how long something took on the clock."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _timed(work: Work, count: int) -> float:
    begun = time.perf_counter()
    work(count)
    return (time.perf_counter() - begun) / count


def _repeats(work: Work, turn_s: float) -> int:
    """Return how often work fits into a turn; this warms it up, too."""
    count = 1
    while True:
        took = _timed(work, count) * count
        if took >= turn_s / 4:
            return max(1, round(count * turn_s / took))
        count *= 4
