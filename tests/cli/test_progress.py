"""Long work says how far it is: as events for programs, as a bar on a terminal, and not at all where nobody looks."""

import json

import pytest

from labelvault.cli import exits
from tests.cli.conftest import EXAMPLE


def events(ran):
    """Return the objects on stdout."""
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.parametrize("what", ["seal", "export"])
def test_events_are_one_object_a_line_and_the_result_is_last(world, tmp_path, what):
    """Each progress event has all its fields; the last says that all is done; nothing else is on stdout."""
    folder = EXAMPLE if what == "seal" else tmp_path / "out"
    ran = world.client(what, "ferry", folder, "--json", "--events")
    assert ran.code == exits.OK
    *progress, result = events(ran)
    assert progress
    for each in progress:
        assert set(each) == {"event", "done", "total", "bytes", "total_bytes", "rate", "left_s"}
        assert each["event"] == "progress"
    assert (progress[-1]["done"], progress[-1]["total"], progress[-1]["left_s"]) == (13, 13, 0.0)
    assert progress[-1]["bytes"] > 1000
    assert result["event"] == "result"
    assert (result["same"] if what == "seal" else result["items"]) == 13
    assert ran.err == ""


def test_an_error_is_the_last_event(world, tmp_path):
    """A reader that waits for `result` or `error` always gets one."""
    (tmp_path / "out").mkdir()
    ran = world.client("export", "ferry", tmp_path / "out", "--json", "--events")
    assert ran.code == exits.BAD_INPUT
    assert (events(ran)[-1]["event"], events(ran)[-1]["error"]["kind"]) == ("error", "OutputError")
    ran = world.client("seal", "ferry", tmp_path / "none", "--json", "--events")
    assert events(ran)[-1]["event"] == "error"


def test_json_alone_stays_one_object(world):
    """Without --events nothing has changed for those who read one object."""
    assert "event" not in world.client("seal", "ferry", EXAMPLE, "--json").json


def test_events_without_json_are_wrong_usage(world):
    """Events are objects."""
    ran = world.client("seal", "ferry", EXAMPLE, "--events")
    assert (ran.code, "--json" in ran.err) == (exits.USAGE, True)
