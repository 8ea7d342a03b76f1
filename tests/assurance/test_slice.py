"""A slice of every check in each run of the tests; `make assurance` tries many more cases."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.assurance.check import DEFAULT_SEED, Cases, Check, Counts, chosen, randomness
from tests.assurance.checks import CHECKS
from tests.assurance.run import here, run
from tests.assurance.selftest import BREAKS, Break, caught_by

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name.replace(" ", "-"))
def test_the_claim_holds_on_a_slice_of_the_cases(check: Check) -> None:
    """As many cases as the profile says, or all there are, and none fails."""
    if lacks := check.missing():
        pytest.skip(lacks)
    tally = here(check, DEFAULT_SEED, None)
    assert not tally.failed, tally.failures[0]
    assert tally.tried >= min(check.counts.slice, tally.tried) > 0


def test_checks_are_named_once_and_rise_from_slice_to_long() -> None:
    """No two rows of the table are called alike, and no profile tries less than the one below it."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        counts = [check.counts.slice, check.counts.default, check.counts.long]
        assert counts == sorted(counts, key=lambda count: float("inf") if count is None else count)
        assert check.attacks


def test_the_same_cases_are_chosen_each_time_and_spread_over_all() -> None:
    """All where that is what is wanted; else as many as wanted, the first among them; and endless ones by count."""
    assert chosen(10, None) == chosen(10, 10) == chosen(10, 99) == list(range(10))
    assert chosen(10, 4) == [0, 2, 5, 7]
    assert chosen(None, 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="needs a count"):
        chosen(None, None)
    assert randomness(1, "a", 2).random() == randomness(1, "a", 2).random() != randomness(1, "a", 3).random()


def failing(_: Path) -> Cases:
    """Every tenth case breaks its claim."""

    def attempt(number: int, _: Random) -> None:
        assert number % 10, "broken"

    return Cases(attempt, 100)


def impossible(_: Path) -> Cases:
    """A check that can't even be prepared."""
    raise OSError("no such thing")


def test_failures_are_counted_and_told(tmp_path: Path) -> None:
    """By number and with what was raised; a check that can't begin has failed."""
    counts = Counts(100, None, None)
    # A function that can't be sent to another process, as some checks' are.
    broken = (
        Check("broken", "", ("F1",), lambda place: failing(place), counts),
        Check("no", "", ("F1",), impossible, counts),
    )
    found = run(broken, "default", 1, processes=2)
    assert (found["broken"].tried, found["broken"].failed) == (100, 10)
    assert all(number % 10 == 0 and "broken" in text for number, text in found["broken"].failures)
    assert found["no"].failed
    assert "no such thing" in found["no"].failures[0][1]


def test_what_pytest_calls_a_failure_counts_as_one() -> None:
    """`pytest.raises` that sees nothing raised ends in no Exception, and is caught all the same."""

    def unmoved(_: int, __: Random) -> None:
        with pytest.raises(ValueError, match="never"):
            pass

    check = Check("unmoved", "", ("F1",), lambda _: Cases(unmoved, 3), Counts(3, None, None))
    assert here(check, 1, None).failed == 3


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.name)
def test_what_the_self_test_deletes_is_there(broken: Break, tmp_path: Path) -> None:
    """Each text stands once in its file, and what is left is still Python."""
    target = tmp_path / broken.file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text((ROOT / "labelvault" / broken.file).read_text())
    broken.apply(tmp_path)
    ast.parse(target.read_text())
    with pytest.raises(ValueError, match="holds its text"):
        broken.apply(tmp_path)


def test_the_self_test_tells_caught_from_uncaught() -> None:
    """One deleted check, tried against a check that sees it; and the whole copy, which nothing finds fault with."""
    rate = next(each for each in BREAKS if each.name == "the rate")
    assert caught_by(rate, ["decisions", "swap matrix"]) == (["decisions"], "")
    assert caught_by(None, ["swap matrix"]) == ([], "")


def test_the_table_is_printed_and_written(tmp_path: Path) -> None:
    """`python -m tests.assurance` says what it tried, and writes just that."""
    output = tmp_path / "build" / "assurance.json"
    command = [sys.executable, "-m", "tests.assurance", "--profile", "slice", "--only", "swap matrix"]
    done = subprocess.run([*command, "--output", output], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "swap matrix" in done.stdout
    assert "seed 20260304" in done.stdout
    assert "cryptography" in done.stdout
    assert json.loads(output.read_text()) == [{"check": "swap matrix", "tried": 200, "failed": 0}]
