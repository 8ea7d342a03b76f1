"""docs/assurance.md: every attack of the catalogue is tried by something, and what the page names is there."""

import json
import re

import pytest

from docs.build_assurance import FIGURES, PAGE, named_by_line, page
from tests.assurance.attacks import AREAS, ATTACKS
from tests.assurance.checks import CHECKS


@pytest.mark.parametrize("line", ATTACKS)
def test_every_attack_is_tried_by_a_test_that_bears_its_number(line: str) -> None:
    """So that nobody has to believe a table."""
    assert line[0] in AREAS
    assert named_by_line()[line]


def test_every_check_names_attacks_of_the_catalogue() -> None:
    """And nothing else."""
    for check in CHECKS:
        assert set(check.attacks) <= set(ATTACKS), check.name


def test_the_page_names_tests_that_exist() -> None:
    """Tests that came since are added by `make docs`; none that is named may be gone."""
    known = {test for tests in named_by_line().values() for test in tests}
    named = set(re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 300
    assert named <= known, sorted(named - known)


def test_the_page_shows_the_recorded_figures() -> None:
    """Its tables, up to the tests' names, are what `make docs` writes now, save for how many tests there are."""

    def told(text: str) -> list[str]:
        rows = text.partition("## Tests by attack")[0].splitlines()
        return [re.sub(r"^(\| [A-Z]\d+ \|[^|]*\|) \d+ \|", r"\1", row) for row in rows]

    assert told(PAGE.read_text(encoding="utf-8")) == told(page()), "run `make docs`"


def test_no_recorded_check_failed() -> None:
    """And none that has no name any more is among the figures."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert set(figures["checks"]) <= {check.name for check in CHECKS}
    assert all(check["failed"] == 0 and check["tried"] > 0 for check in figures["checks"].values())
