"""The benchmarks run, hide no row, and write what they found; nothing is asserted about time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.__main__ import GROUPS
from benchmarks.lines import Line, at_least, at_most, table
from benchmarks.measure import once_in_turn
from benchmarks.simulate import World, simulate

ROOT = Path(__file__).resolve().parent.parent
KEYS = ["row", "work", "ours", "against", "peer", "ratio", "target", "met"]


def test_a_quick_run_writes_every_line_of_its_rows(tmp_path: Path) -> None:
    """Table and JSON hold the same lines, each with all fields; nothing is left in the folder for temporary files."""
    where, out = tmp_path / "where", tmp_path / "out"
    where.mkdir()
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rows", "1,8,10,11,14", "--out", str(out)]
    ran = subprocess.run([*command, "--where", str(where)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = json.loads((out / "latest.json").read_text(encoding="utf-8"))
    assert [list(line) for line in lines] == [KEYS] * len(lines)
    assert {line["row"] for line in lines} == {1, 2, 3, 8, 10, 11, 14}
    assert len(ran.stdout.splitlines()) == 1 + len(lines)
    for line in lines:
        assert line["ours"] > 0
        assert line["peer"] is not None or line["against"] == "nothing" or "is not installed" in line["against"]
    assert list(where.iterdir()) == []


@pytest.mark.parametrize("peer", [peers.tink, peers.aws, peers.age, peers.ironcore])
def test_a_peer_that_is_not_installed_says_so(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row stays, with the reason, and nothing of it is called."""
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    found = peer()
    assert "is not installed" in found.absent
    with pytest.raises(RuntimeError, match="absent"):
        found.seal(b"", 1)


def test_a_target_is_met_or_not_and_the_table_says_which() -> None:
    """At the target itself it is met."""
    lines = [
        at_least(1, "a", 2.0, "b", 1.0, 0.8, 0.8),
        at_least(2, "a", 2.0, "b", 1.0, 0.79, 0.8),
        at_most(3, "a", 2.0, "b", 1.0, 1.2, 1.2),
        at_most(4, "a", 2.0, "b", 1.0, 1.21, 1.2),
        Line(5, "a", 2.0, "b", 1.0, 1.0),
    ]
    assert [line.met for line in lines] == [True, False, True, False, None]
    shown = [line.split()[-1] for line in table(lines).splitlines()]
    assert shown == ["met", "yes", "no", "yes", "no", "1.00"]


def test_ratios_are_of_one_round_each() -> None:
    """A round in which everything was slow moves no ratio, and every contender begins a round in its turn."""
    slowness, order = iter([1.0, 1.0, 50.0, 50.0, 1.0, 1.0]), []

    def contender(name: str, own: float):
        def run() -> float:
            order.append(name)
            return own * next(slowness)

        return run

    times = once_in_turn({"ours": contender("ours", 2.0), "theirs": contender("theirs", 3.0)}, 3)
    assert times.times_as_fast("ours", "theirs") == 1.5
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_every_row_has_one_that_measures_it() -> None:
    """No row of the table is left out of a run of all."""
    measured = [row for rows, _ in GROUPS for row in rows]
    assert sorted(measured) == list(range(1, 15))


def test_the_simulated_workforce_keeps_to_its_caps_and_waits_as_long_as_its_issuers_take() -> None:
    """Nobody opens more in an hour than the grant allows; with twice the people on one issuer, it is twice as busy."""
    quick = World(contractors=200, work_s=20, shift_s=60, hours=0.2, per_hour=1000)
    few, many = simulate(quick), simulate(replace(quick, contractors=400))
    assert few.limited == many.limited == 0
    assert 1.8 < many.opened / few.opened < 2.2
    assert 1.5 < many.busy / few.busy < 2.2
    assert few.percentile_s(0) >= quick.way_s + quick.commit_s + quick.release_s
    capped = simulate(replace(quick, per_hour=5))
    assert capped.most_in_an_hour == 5
    assert capped.opened == 5 * 200
    assert capped.limited == 200
    swamped = simulate(replace(quick, release_s=0.5))
    assert swamped.busy > 0.99
    assert swamped.percentile_s(0.5) > 10
