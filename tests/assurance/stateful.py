"""Walks through the simulated world by plain seeds: as many steps as there is time for, each judged by itself.

Another walk over the same steps is hypothesis's, which makes a failure small: tests/story/test_simulator.py.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

from labelvault.story.simulator import Start
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.walk import STEPS, Walk

T = TypeVar("T")
LENGTH = 80
"""Steps of one walk: long enough for a backup, a theft and a restore, short enough that not all is stolen yet."""


class Seeded:
    """Chooses by a seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def one(self, among: Sequence[T]) -> T:
        return self._rng.choice(among)


def walks(folder: Path) -> Cases:
    """Walks of so many steps, by turns with both labs on one vault and on two."""
    starts = []
    for shared in (True, False):
        place = folder / f"{shared}"
        place.mkdir()
        starts.append(Start(place, shared=shared))

    def attempt(number: int, rng: Random) -> int:
        walk, choose, taken = Walk(starts[number % 2]), Seeded(rng), list[str]()
        try:
            for _ in range(LENGTH):
                can = [each for each in STEPS if each.can(walk)]
                (step,) = rng.choices(can, [each.weight for each in can])
                taken.append(step.name)
                walk.take(step, choose)
            walk.finish()
        except AssertionError as error:
            raise AssertionError(f"after {len(taken)} steps, the last {taken[-10:]}: {error}") from error
        finally:
            walk.close()
        return len(taken)

    return Cases(attempt)


CHECKS = (
    Check(
        "the world at random",
        f"steps, in walks of {LENGTH}, of two labs, their vendors, three helpers and two desks: open, renew, close, "
        "issue ahead, grant, revoke, freeze, seal, rotate, crash, set clocks, put labs, devices and vaults back; mail "
        "is lost, late, doubled, altered or another's; thieves take devices, memory, phones, KEKs and catalogs, and go "
        "on asking: after each step a thief with all that he has opens just what the rules allow, and the ledgers have "
        "just what was released",
        ("F4", "F9", "F12", "F14", "F15", "R1", "R2", "R4", "R7", "R8", "C4", "C5", "C6", "L3"),
        walks,
        Counts(60, 1_250, 25_000),
    ),
)
