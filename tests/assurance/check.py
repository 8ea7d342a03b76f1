"""What a check is: cases that are numbered, so that any one of them can be tried again by seed and number."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

DEFAULT_SEED = 20260304


@dataclass(frozen=True)
class Cases:
    """The cases of a check, ready to be tried.

    Attributes:
        attempt: tries one; gets its number, and randomness that depends on nothing but seed, check and number.
            Whatever it raises is a failure of the claim. A case of many steps returns how many it tried.
        total: how many there are; None where there is no end of them.
    """

    attempt: Callable[[int, Random], int | None]
    total: int | None = None


@dataclass(frozen=True)
class Counts:
    """How many cases each profile tries; None is all there are."""

    slice: int
    default: int | None
    long: int | None


@dataclass(frozen=True)
class Check:
    """One claim, and how to attack it.

    Attributes:
        name: in the table and in `build/assurance.json`.
        what: one line on what is tried.
        attacks: the lines of the catalogue that it makes systematic.
        prepare: makes the cases; gets an empty folder that is its own.
        counts: by profile.
        missing: says what this machine lacks to try it, or None.
    """

    name: str
    what: str
    attacks: tuple[str, ...]
    prepare: Callable[[Path], Cases]
    counts: Counts
    missing: Callable[[], str | None] = lambda: None


def chosen(total: int | None, count: int | None) -> list[int]:
    """The numbers of the cases to try: all, or as many as wanted, spread evenly over all."""
    if total is None:
        if count is None:
            raise ValueError("a check without end needs a count")
        return list(range(count))
    if count is None or count >= total:
        return list(range(total))
    return [place * total // count for place in range(count)]


def randomness(seed: int, check: str, number: int) -> Random:
    """The randomness of one case."""
    return Random(f"{seed}/{check}/{number}")
