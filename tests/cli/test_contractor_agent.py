"""`labelvault contractor agent`, and what the other commands do while one runs."""

import os
import signal
import sys

import pytest

from labelvault.cli import exits
from labelvault.contractor import agent_status, stop_agent
from tests.cli.test_terminal import terminal

__all__ = ["terminal"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the agent needs Linux")


@pytest.fixture
def home(world):
    """A home that has joined, whose agent is stopped afterwards."""
    world.admit()
    yield world.folder / "ada"
    stop_agent(world.folder / "ada")


def test_while_an_agent_runs_no_passphrase_is_asked_for(world, home, cli, issuer):
    """Listing and opening work without any source of it; `--no-agent` and the time after the stop do not."""
    bare = ("contractor", "list", "--json", "--home", home)
    assert cli(*bare).code == exits.USAGE
    started = world.contractor("agent", "start", "--for", "2h", "--idle", "10m", "--json").json
    assert started["running"] is True
    assert 7100 < started["left_s"] <= 7200
    assert 500 < started["idle_left_s"] <= 600
    assert {step["step"] for step in started["hardening"] if step["done"]} >= {"no core file", "no new privileges"}
    assert cli(*bare).json["openings"] == []
    assert cli(*bare, "--no-agent").code == exits.USAGE
    ran = cli("contractor", "open", world.tasks["fa-1042"], "--json", "--home", home, stdin="\n")
    assert ran.json["state"] == "closed"
    assert cli("contractor", "agent", "status", "--home", home, "--json").json["pid"] == started["pid"]
    assert "Hardening" in cli("contractor", "agent", "status", "--home", home).out
    assert cli("contractor", "agent", "stop", "--home", home, "--json").json == {"stopped": True}
    assert cli("contractor", "agent", "stop", "--home", home, "--json").json == {"stopped": False}
    assert cli("contractor", "agent", "status", "--home", home, "--json").json == {"running": False}
    assert cli(*bare).code == exits.USAGE


def test_a_second_agent_and_a_life_without_end_are_refused(world, home):
    """With the reason, and the first one runs on."""
    assert world.contractor("agent", "start").code == exits.OK
    ran = world.contractor("agent", "start", "--json")
    assert ran.code == exits.KEYS
    assert "runs already" in ran.json["error"]["message"]
    assert world.contractor("agent", "start", "--for", "3d").code == exits.BAD_INPUT
    assert agent_status(home) is not None


def test_the_doctor_tells_of_agent_and_hardening(world, home):
    """Both have a line; a step that does not hold is a warning that says which."""
    assert world.contractor("agent", "start").code == exits.OK
    checks = world.contractor("doctor", "--json").json["checks"]
    (agent,) = (each["found"] for each in checks if each["name"] == "agent")
    assert "it runs for 4" in agent
    steps = [each for each in checks if each["name"] == "hardening"]
    for part in ("read its memory", "core file", "privileges", "swapped", "but Python", "TCP", "connections"):
        (step,) = (each for each in steps if part in each["found"])
        assert step["verdict"] == "ok" or (": no, " in step["found"] and step["mend"])
    assert len(steps) == 7


def test_a_session_renews_by_itself_and_says_so(world, home, issuer, terminal):
    """With a lease of some seconds, the countdown begins anew until Enter; each renewal is in the list."""
    assert world.grant("ada", "--lease-ttl", "8s").code == exits.OK
    assert world.contractor("join", home.parent / "ada.invite").code == exits.OK
    words = ("open", world.tasks["fa-1042"], "--renew", "--home", home, "--passphrase-file", world.passphrase_file)
    shown = terminal("contractor", *words)
    shown.until("Renewed until")
    shown.until("Renewed until")
    shown.type("\n")
    shown.until("Closed; the key and the text are gone.")
    assert shown.end()[0] == exits.OK
    openings = world.contractor("list", "--json").json["openings"]
    assert len(openings) >= 3
    assert {(each["state"], each["erased"]) for each in openings} == {("closed", "process-exit")}


def test_what_is_not_renewed_ends_in_its_time(world, home, issuer, terminal):
    """The grant is used up: the session warns, and closes when the lease ends."""
    assert world.grant("ada", "--lease-ttl", "4s", "--max-total", "1").code == exits.OK
    assert world.contractor("join", home.parent / "ada.invite").code == exits.OK
    words = ("open", world.tasks["fa-1042"], "--renew", "--home", home, "--passphrase-file", world.passphrase_file)
    shown = terminal("contractor", *words)
    shown.until("Not renewed")
    shown.until("Closed")
    assert shown.end()[0] == exits.OK
    (opening,) = world.contractor("list", "--json").json["openings"]
    assert opening["state"] == "closed"


def test_ctrl_c_at_the_agents_passphrase_leaves_the_terminal_as_it_was(home, terminal):
    """Nothing is started."""
    shown = terminal("contractor", "agent", "start", "--home", home)
    shown.until("Passphrase")
    os.kill(shown.process.pid, signal.SIGINT)
    assert shown.end()[0] == exits.INTERRUPTED
    assert shown.restored()
    assert agent_status(home) is None
