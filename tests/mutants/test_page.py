"""What survived mutation has a reason each, and the page says of how large a sample it speaks."""

import re
import tomllib

import pytest

from tests.mutants.__main__ import PAGE, REASONS, interval

TEXT = PAGE.read_text(encoding="utf-8")


def test_every_survivor_has_a_reason_and_every_reason_a_survivor() -> None:
    """Nothing stands in the table unlooked at, and no reason is left over from another run."""
    _, _, table = TEXT.partition("|---|---|\n")
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))["reasons"]
    survivors = re.findall(r"^\| `(.*)` \| (.*) \|$", TEXT.partition("## What survived")[2], re.MULTILINE)
    assert table
    assert [change for change, reason in survivors if reason not in reasons.values()] == []
    assert len(survivors) == len(reasons)


def test_the_score_is_what_was_asked_for() -> None:
    """85 % of the sample or more is caught; the figures of the page agree with each other."""
    found = re.search(
        r"sample of \*\*([\d,]+)\*\* .*?\*\*([\d,]+)\*\*.*?\*\*([\d.]+)%\*\* \(95 % interval: ([\d.]+)% to ([\d.]+)%",
        TEXT,
        re.DOTALL,
    )
    assert found is not None
    tried, caught, share, low, high = (float(figure.replace(",", "")) for figure in found.groups())
    assert share == pytest.approx(100 * caught / tried, abs=0.05)
    assert [low, high] == [pytest.approx(100 * bound, abs=0.05) for bound in interval(int(caught), int(tried))]
    assert share >= 85


def test_the_interval_is_wilsons() -> None:
    """Against published values: 81 of 263, and all of 10."""
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-4)
    assert interval(10, 10) == pytest.approx((0.7225, 1.0), abs=5e-4)
