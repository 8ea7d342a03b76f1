"""The model of the protocol holds its claims in every state within its bounds; what is turned off shows."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("maude", reason="the search engine has no wheel for this platform")

from tests.model.search import BOUNDS, MUTANTS, WITNESSES, Found, explore, module, rules

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/model.md").read_text(encoding="utf-8")
FLOOR = 70_000
"""States in all; below that the bounds are not what docs/model.md says."""
MUTANTS_OWN_RULES = {"early-receipt"}


@pytest.fixture(scope="module")
def searched() -> dict[str, Found]:
    return {name: explore(bounds) for name, bounds in BOUNDS.items()}


def test_G3_G4_G5_every_claim_holds_in_every_state_within_the_bounds(searched: dict[str, Found]) -> None:
    """No order of events, thefts and crashes breaks a claim; the page states how many states that were."""
    for name, found in searched.items():
        assert (found.broken, found.path) == ((), ()), name
        row = f"| `{name}` | {BOUNDS[name].ticks} | `{BOUNDS[name].events}` | {found.states:,} |"
        assert row in PAGE, f"docs/model.md has to say: {row}"
    total = sum(found.states for found in searched.values())
    sys.stdout.write(f"{total:,} states searched, within {len(searched)} bounds; every claim holds in each\n")
    assert total >= FLOOR
    assert f"**{total:,}** states" in PAGE


def test_every_rule_fires_and_every_witness_is_seen(searched: dict[str, Found]) -> None:
    """Claims hold of something: honest runs complete, and thieves read what they are said to read."""
    fired = frozenset().union(*(found.rules for found in searched.values()))
    assert rules() - fired == MUTANTS_OWN_RULES
    assert {name for name, bounds in WITNESSES.items() if name not in searched[bounds].seen} == set()


@pytest.mark.parametrize("flag", MUTANTS)
def test_a_condition_that_is_turned_off_breaks_its_claim(flag: str) -> None:
    """The shortest way to the broken claim is found."""
    mutant = MUTANTS[flag]
    found = explore(BOUNDS[mutant.bounds], flag)
    way, broken = ", ".join(found.path), ", ".join(found.broken)
    sys.stdout.write(f"without “{mutant.without}”: {way} breaks {broken} ({found.states:,} states)\n")
    assert mutant.claim in found.broken
    row = f"| {mutant.without} | `{flag}` |"
    assert row in PAGE, f"docs/model.md has to have a row: {row}"


def test_every_condition_of_the_model_has_a_mutant() -> None:
    """Nothing can be turned off in the model without a test that turns it off."""
    constants = [op for op in module().getSymbols() if op.arity() == 0 and str(op.getRangeSort()) == "Flag"]
    assert {str(op) for op in constants} - {"intact", "Flag"} == set(MUTANTS)


def test_the_page_names_code_that_is_there() -> None:
    """Each condition of the model is traced to a function or a constant that still exists."""
    named = re.findall(r"`(labelvault/[\w/]+\.py)`: `([\w.]+)`", PAGE)
    assert len(named) == len(MUTANTS) - 1, "all conditions but what the statement assumes of people"
    gone = [
        (path, name) for path, name in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert gone == []
