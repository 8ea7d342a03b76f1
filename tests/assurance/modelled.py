"""The model of the protocol (tests/model) in the table: states that were searched, and conditions that were missed."""

from importlib.util import find_spec
from pathlib import Path
from random import Random

from tests.assurance.check import Cases, Check, Counts
from tests.model.search import BOUNDS, MUTANTS, explore


def searches(_: Path) -> Cases:
    """All states within each of the bounds."""
    bounds = list(BOUNDS.values())

    def attempt(number: int, _: Random) -> int:
        found = explore(bounds[number])
        assert not found.broken, f"{found.path} breaks {found.broken}"
        return found.states

    return Cases(attempt, len(bounds))


def mutants(_: Path) -> Cases:
    """Every condition turned off: its claim breaks."""
    flags = list(MUTANTS.items())

    def attempt(number: int, _: Random) -> None:
        flag, mutant = flags[number]
        assert mutant.claim in explore(BOUNDS[mutant.bounds], flag).broken, f"nothing shows that {mutant.without}"

    return Cases(attempt, len(flags))


def needs_maude() -> str | None:
    """The search engine has no wheel for every platform."""
    return None if find_spec("maude") else "maude is not installed"


CHECKS = (
    Check(
        "model",
        "states of the protocol's model, all within the bounds of docs/model.md: every claim of G3 to G5 and of the "
        "desk tier holds in each",
        ("F12", "F14", "F15", "R1", "R7", "C4", "L3"),
        searches,
        Counts(1, None, None),
        needs_maude,
    ),
    Check(
        "model's mutants",
        "conditions of the model, each turned off: the claim that rests on it breaks",
        ("F12", "F14", "F15", "R1", "R7", "C4", "L3"),
        mutants,
        Counts(1, None, None),
        needs_maude,
    ),
)
