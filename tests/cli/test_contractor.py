"""`labelvault contractor ...`: join, open, list, close, and what is refused."""

import json
import subprocess
import sys

import pytest

from labelvault.cli import exits


def test_a_wrong_client_fingerprint_joins_nothing(world):
    """An invite from somebody else is refused, and the home stays free."""
    world.enrol()
    assert world.grant().code == exits.OK
    words = ("join", world.folder / "ada.invite", "--fingerprint", "-".join(["lusab"] * 8))
    ran = world.contractor(*words, "--json")
    assert ran.code == exits.KEYS
    assert world.contractor("list", "--json").json["joined"] is None
    assert "Not joined yet" in world.contractor("list").out
    assert world.contractor("join", world.folder / "ada.invite").code == exits.USAGE


def test_join_reports_what_was_joined(world):
    """Client, tier, presence and the end of the access."""
    world.enrol()
    granted = world.grant("ada", "--json").json
    words = ("join", world.folder / "ada.invite", "--fingerprint", world.fingerprint)
    facts = world.contractor(*words, "--json").json
    assert facts["grant"] == granted["grant"]
    assert (facts["tier"], facts["presence"], facts["vault"]) == ("helper", "device", world.vault)
    # Once joined, the client's key is pinned, and a further invite needs no fingerprint.
    assert world.contractor("join", world.folder / "ada.invite").code == exits.OK


def test_opening_shows_the_task_and_what_it_requires_and_closes_at_the_end_of_input(world, issuer):
    """A foreground session: the texts come out, then it closes. The output is a file here, and the receipt says so."""
    world.admit()
    ran = world.contractor("open", world.tasks["fa-1042"])
    assert ran.code == exits.OK, ran
    assert "taxi around the whole fjord" in ran.out
    assert "calm deckhand" in ran.out
    assert "cello" not in ran.out
    (opening,) = world.contractor("list", "--json").json["openings"]
    assert (opening["state"], opening["erased"], opening["left_s"]) == ("closed", "best-effort", 0)


def test_opening_with_json_shows_ids_only(world, issuer):
    """The text is for a terminal, not for a script's log."""
    world.admit()
    ran = world.contractor("open", world.tasks["fa-1042"], "--json", stdin="\n")
    assert ran.json["state"] == "closed"
    assert ran.json["item"] == world.tasks["fa-1042"]
    assert "taxi" not in ran.out + ran.err


def test_files_stay_until_close(world, issuer):
    """`--to` writes 0600 files; close erases them and says best-effort, since they were on a disk."""
    world.admit()
    folder = world.folder / "task"
    opened = world.contractor("open", world.tasks["fa-1041"], "--to", folder, "--json").json
    assert opened["state"] == "open"
    names = {file.name for file in folder.iterdir()}
    assert names == {"fa-1041", "rating.md", "tone.md", "winter-sailings.png"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())
    (listed,) = world.contractor("list", "--json").json["openings"]
    assert (listed["state"], listed["lease"]) == ("open", opened["lease"])
    assert 0 < listed["left_s"] <= 1800
    assert "29 min" in world.contractor("list").out
    closed = world.contractor("close", opened["lease"][:12], "--json").json
    assert (closed["lease"], closed["erased"]) == (opened["lease"], "best-effort")
    assert not folder.exists()


def test_a_folder_that_holds_something_is_refused(world, issuer):
    """Nothing is overwritten."""
    world.admit()
    folder = world.folder / "taken"
    folder.mkdir()
    (folder / "mine").write_text("x")
    ran = world.contractor("open", world.tasks["fa-1041"], "--to", folder, "--json")
    assert ran.code == exits.BAD_INPUT
    assert ran.json["error"]["kind"] == "OutputError"
    assert [file.name for file in folder.iterdir()] == ["mine"]


def test_a_denied_task_exits_3_and_its_code_is_in_the_json(world, issuer):
    """Out of scope and no such task give the same code."""
    world.admit()
    for item in (world.tasks["fa-1052"], "00" * 16):
        ran = world.contractor("open", item, "--json")
        assert ran.code == exits.REFUSED
        assert ran.json["error"]["kind"] == "DeniedError"
        assert ran.json["error"]["code"] == "unknown"
    assert world.contractor("list", "--json").json["openings"] == []


def test_nobody_answers_in_time(world):
    """Without an issuer the request ends in a timeout that says what to look at."""
    world.admit()
    ran = world.contractor("open", world.tasks["fa-1041"], "--timeout", "0.2", "--json")
    assert ran.code == exits.UNREACHABLE
    assert ran.json["error"]["kind"] == "RequestTimeoutError"
    assert "issuer" in ran.json["error"]["next"]


def test_opening_before_joining_is_refused(world):
    """The error says to join first."""
    assert world.contractor("init", "--label", "x").code == exits.OK
    ran = world.contractor("open", "00" * 16)
    assert ran.code == exits.REFUSED


@pytest.mark.parametrize("lease", ["00" * 32, "xyz", "0" * 7])
def test_closing_what_was_not_opened_is_wrong_usage(world, lease):
    """A mistyped lease changes nothing."""
    world.admit()
    assert world.contractor("close", lease).code == exits.USAGE


def test_a_second_contractor_in_one_home_is_refused(world):
    """Init never overwrites an identity."""
    world.enrol()
    before = (world.folder / "ada" / "identity.key").read_bytes()
    assert world.contractor("init", "--label", "y").code == exits.KEYS
    assert (world.folder / "ada" / "identity.key").read_bytes() == before


# --- the desk ---


def events(ran):
    """The JSON lines of a desk."""
    return [json.loads(line) for line in ran.out.splitlines()]


def test_a_desk_holds_several_openings_and_closes_them_at_the_end(world, issuer):
    """Each opening is a process of its own; the end of input closes all, and nothing but ids is printed."""
    world.admit("desk", "desk", max_open=2)
    first, second = world.tasks["fa-1041"], world.tasks["fa-1042"]
    ran = world.contractor("desk", "--json", home="desk", stdin=f"open {first}\nopen {second}\nlist\n")
    assert ran.code == exits.OK, ran
    ready, one, two, listed, *closed, ended = events(ran)
    assert (ready["event"], ended["event"]) == ("ready", "ended")
    assert [each["event"] for each in (one, two, *closed)] == ["opened", "opened", "closed", "closed"]
    assert one["pid"] != two["pid"]
    assert {each["lease"] for each in listed["openings"]} == {one["lease"], two["lease"]}
    assert {each["erased"] for each in closed} == {"process-exit"}
    assert "cello" not in ran.out
    assert {each["state"] for each in world.contractor("list", "--json", home="desk").json["openings"]} == {"closed"}


def test_a_desk_renews_what_it_holds(world, issuer):
    """The task stays open in its process under a new lease, which ends later; the old one's id is nobody's any more."""
    world.admit("desk", "desk")
    where = ("--home", world.folder / "desk", "--passphrase-file", world.passphrase_file, "--json")
    command = [sys.executable, "-m", "labelvault", "contractor", "desk", *map(str, where)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def ask(line):
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(f"{line}\n")
            running.stdin.flush()
            return json.loads(running.stdout.readline())

        assert json.loads(running.stdout.readline()) == {"event": "ready"}
        opened = ask(f"open {world.tasks['fa-1041']}")
        renewed = ask(f"renew {opened['lease'][:12]}")
        assert (renewed["event"], renewed["replaces"], renewed["newer"]) == ("renewed", opened["lease"], False)
        assert renewed["expires_at"] >= opened["expires_at"]
        (held,) = ask("list")["openings"]
        assert (held["lease"], held["pid"]) == (renewed["lease"], opened["pid"])
        assert ask(f"renew {opened['lease']}")["error"]["kind"] == "UsageError"
        assert ask(f"close {renewed['lease']}")["erased"] == "process-exit"
        assert ask("quit") == {"event": "ended"}
    assert {each["state"] for each in world.contractor("list", "--json", home="desk").json["openings"]} == {"closed"}


def test_a_desk_tells_what_goes_wrong_and_stays_up(world, issuer):
    """Denials, unknown leases and mistyped commands are events; the next command works."""
    world.admit("desk", "desk")
    lines = ["dance", f"open {world.tasks['fa-1052']}", "close 00000000", "open zz", "x" * 5000, "", "quit"]
    ran = world.contractor("desk", "--json", home="desk", stdin="\n".join(lines) + "\n")
    assert ran.code == exits.OK
    kinds = [each.get("error", {}).get("kind") for each in events(ran)]
    assert kinds.count("DeniedError") == 1
    assert kinds.count("BadParameter") + kinds.count("UsageError") >= 3
    assert events(ran)[-1] == {"event": "ended"}


def test_a_desk_shows_a_task_to_people_only(world, issuer):
    """`show` prints the text without --json, and is refused with it."""
    world.admit("desk", "desk", max_open=2)
    item = world.tasks["fa-1041"]
    opened = world.contractor("desk", "--json", home="desk", stdin=f"open {item}\nshow 00000000\n")
    assert "cello" not in opened.out
    ran = world.contractor("desk", home="desk", stdin=f"open {item}\nlist\nquit\n")
    assert item in ran.out
    assert "its process has exited" in ran.out


def test_list_and_join_show_the_grants_older_ones_too(world):
    """Newest first, each by its id, which can be shortened to choose it."""
    world.admit()
    first = world.client("grants", "--json").json["grants"][0]["grant"]
    assert world.grant("ada", "--not-before", "1d").code == 0
    joined = world.contractor("join", world.folder / "ada.invite")
    second = world.client("grants", "--json").json["grants"][1]["grant"]
    assert second in joined.out
    listed = world.contractor("list", "--json").json
    assert [each["grant"] for each in listed["grants"]] == [second, first]
    assert listed["joined"]["grant"] == second
    shown = world.contractor("list").out
    assert all(word in shown for word in (first, second, "not begun", "active"))
    ran = world.contractor("open", "0" * 32, "--grant", second[:8], "--json")
    assert ran.json["error"]["kind"] == "GrantNotYetValidError"
    assert world.contractor("open", "0" * 32, "--grant", "0" * 8, "--json").json["error"]["kind"] == "UsageError"


def test_a_task_that_was_opened_before_can_be_named_shortly(world, issuer):
    """A new one can't: nothing here knows which there are."""
    world.admit()
    task = world.tasks["fa-1042"]
    assert "all 32 digits" in world.contractor("open", task[:8]).err
    assert world.contractor("open", task).code == 0
    assert world.contractor("open", task[:8], "--json").json["item"] == task
