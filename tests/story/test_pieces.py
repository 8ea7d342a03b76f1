"""The story's pieces: the cast, what the attacker is told, how finds are held against the ledger."""

import os
import sys
import time

import pytest

from labelvault.errors import OutputError, ProjectError
from labelvault.story import EXAMPLE, Findings, StoryError, Theft, run
from labelvault.story.cast import choose
from labelvault.story.known import Known
from labelvault.story.thefts import capture_before, carried_off, compare, not_measured, steal
from labelvault.story.world import Actor, Running, shown, wait_until


def task(number, batch):
    """One row of `client ls`."""
    return {"item": f"{number:032x}", "name": f"t{number}", "batch": batch}


def test_the_cast_is_one_batch_and_a_task_of_another():
    """With several batches one of them is granted as a whole."""
    cast = choose([task(1, "a"), task(2, "b"), task(3, "b")])
    assert cast.scope == ("--batch", "b")
    assert cast.inside == (f"{2:032x}", f"{3:032x}")
    assert cast.outside == f"{1:032x}"


def test_the_cast_of_a_single_batch_is_some_of_its_tasks():
    """With one batch tasks are granted by id, and one stays outside."""
    cast = choose([task(number, "a") for number in range(3)])
    assert cast.scope == ("--item", f"{0:032x}", "--item", f"{1:032x}")
    assert cast.outside not in cast.inside
    assert len(choose([task(number, "a") for number in range(80)]).inside) == 4


def test_a_project_with_too_few_tasks_is_refused():
    """The story needs three."""
    with pytest.raises(ProjectError, match="3 tasks"):
        choose([task(1, "a"), task(2, "b")])


def test_what_is_told_is_every_text_and_every_name(tmp_path):
    """One file an item, one line a name; stated items come first."""
    known = Known(EXAMPLE, ["the project"])
    told = known.write(tmp_path / "told", {("task", "fa-1052")})
    texts = {label: owner for label, owner in told.owners.items() if not label.startswith("names")}
    assert len(texts) == 13
    assert texts["text-000000"] == ("task", "fa-1052")
    assert b"bicycle ticket" in (tmp_path / "told" / "text-000000").read_bytes()
    names = (tmp_path / "told" / "names.txt").read_text().splitlines()
    assert {"the project", "week-14", "week-15", "fa-1041", "rating.md"} <= set(names)
    assert told.owners[f"names.txt:{names.index('rating.md') + 1}"] == ("guideline", "rating.md")
    assert told.owners[f"names.txt:{names.index('the project') + 1}"] is None
    assert known.owner_of((EXAMPLE / "guidelines" / "tone.md").read_bytes()) == ("guideline", "tone.md")
    assert known.owner_of(b"something else") is None


@pytest.fixture
def told(tmp_path):
    """The example's texts, for a drill."""
    return Known(EXAMPLE, ["the project"]).write(tmp_path / "told", set())


def found(opened=(), plaintext=()):
    """A drill's report."""
    return {"opened": list(opened), "plaintext": list(plaintext), "plaintext_hits": sum(e["runs"] for e in plaintext)}


def label_of(told, owner):
    """The drill's label for an item's text."""
    return next(label for label, each in told.owners.items() if each == owner)


def test_what_is_stated_may_open(told, stated):
    """An opened item version that the ledger states is no find."""
    item = {"name": "fa-1041", "kind": "task", "item": "0a" * 16, "version": 1}
    theft = compare("x", found([item]), [stated("fa-1041")], told)
    assert theft.holds
    assert (theft.stated, theft.opened) == (("fa-1041",), ("fa-1041",))


@pytest.mark.parametrize("change", [{"version": 2}, {"item": "0b" * 16}])
def test_another_item_or_version_is_more_than_stated(told, stated, change):
    """Names alone excuse nothing: item and version have to be stated."""
    item = {"name": "fa-1041", "kind": "task", "item": "0a" * 16, "version": 1} | change
    theft = compare("x", found([item]), [stated("fa-1041")], told)
    assert not theft.holds
    assert theft.more == ("fa-1041 (task) was opened",)


def test_text_of_a_stated_item_is_explained_and_other_text_is_not(told, stated):
    """A run that several items share is explained by any of them; a project's name by none."""
    mine, other = label_of(told, ("task", "fa-1041")), label_of(told, ("gold", "calibration.jsonl"))
    name = next(label for label, owner in told.owners.items() if owner is None)
    shared = found(plaintext=[{"known": [other, mine], "runs": 2, "longest": 20}])
    assert compare("x", shared, [stated("fa-1041")], told).holds
    for label, text in ((other, "calibration.jsonl"), (name, name)):
        theft = compare("x", found(plaintext=[{"known": [label], "runs": 1, "longest": 20}]), [stated("fa-1041")], told)
        assert not theft.holds
        assert theft.more == (f"text of {text} was found (1)",)
        assert theft.plaintext_hits == 1


def test_what_a_thief_was_handed_is_recognised_by_its_content(tmp_path, stated):
    """A stated file is within the caps; another item, or a file that is none, is more than stated."""
    known = Known(EXAMPLE, [])
    kept = tmp_path / "kept-1"
    kept.mkdir()
    (kept / "whatever").write_bytes((EXAMPLE / "guidelines" / "tone.md").read_bytes())
    nothing = Theft("x", (), (), 0)
    theft = carried_off(nothing, tmp_path, known, [stated("tone.md", "guideline")])
    assert theft.holds
    assert theft.opened == ("tone.md",)
    (kept / "gold").write_bytes((EXAMPLE / "gold" / "calibration.jsonl").read_bytes())
    (kept / "odd").write_bytes(b"no item")
    theft = carried_off(nothing, tmp_path, known, [stated("tone.md", "guideline")])
    assert theft.more == (
        "calibration.jsonl (gold) was handed out",
        "a file that is no item of the project was handed out",
    )


def test_what_cannot_be_measured_claims_nothing(tmp_path, stated, monkeypatch):
    """Where memory can't be captured the theft says so, and neither passes nor fails."""
    monkeypatch.setattr(sys, "platform", "darwin")
    desk = Actor.create("contractor", tmp_path / "desk", "the desk")
    assert capture_before(os.getpid(), tmp_path / "before.mem") is None
    loot = steal("3-desk", tmp_path / "thief", {"desk": desk}, live=os.getpid())
    assert loot.unmeasured
    theft = not_measured("a desk", [stated("fa-1041")], loot)
    assert not theft.measured
    assert theft.note.startswith("not measured here")
    assert (theft.stated, theft.opened, theft.plaintext_hits) == (("fa-1041",), (), 0)


def test_findings_hold_only_if_every_theft_does():
    """One theft that shows more is enough."""
    good, bad = Theft("x", (), (), 0), Theft("y", (), ("z",), 0, more=("z (task) was opened",))
    assert Findings(1, 0, 1, (), (good,), 0, 0, 1.0).holds
    assert not Findings(1, 0, 1, (), (good, bad), 0, 0, 1.0).holds


def test_a_kept_folder_has_to_be_new_or_empty(tmp_path):
    """Nothing of anybody's is touched."""
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError):
        run(keep=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(OutputError):
        run(keep=tmp_path / "mine")


def test_a_passphrase_is_private_and_each_actors_own(tmp_path):
    """0600, random; the vendor has none."""
    one, other = (Actor.create("contractor", tmp_path / name, name) for name in ("a", "b"))
    assert one.passphrase != other.passphrase
    assert (one.home / "passphrase").stat().st_mode & 0o777 == 0o600
    vendor = Actor.create("vendor", tmp_path / "v", "the vendor")
    assert list(vendor.home.iterdir()) == []


def test_a_command_that_ends_otherwise_stops_the_story(tmp_path):
    """A refusal that was not expected, or an expected one that did not come, is an error."""
    vendor = Actor.create("vendor", tmp_path / "v", "the vendor")
    with pytest.raises(StoryError, match="vendor status ended with 2"):
        vendor.run("status")
    with pytest.raises(StoryError, match="vendor status ended with 2"):
        vendor.read("status")
    with pytest.raises(StoryError, match="vendor init ended with 0"):
        vendor.run("init", refused=True)


def test_commands_are_shown_as_a_person_types_them(tmp_path):
    """Long ids are shortened, paths are names, and what has spaces is quoted."""
    text = shown("client", ("seal", "my project", tmp_path / "folder", "0a" * 16))
    assert text == "labelvault client seal 'my project' folder 0a0a0a0a..."


def running(tmp_path, code):
    """A command that stays up: a Python program of the test's."""
    return Running("the program", [sys.executable, "-c", code], tmp_path / "log")


def test_a_running_command_is_talked_to_and_ended(tmp_path):
    """Lines in, events out, SIGTERM at the end."""
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "for line in sys.stdin: print('{\"event\": \"' + line.strip() + '\"}', flush=True)\n"
    )
    program = running(tmp_path, code)
    program.say("hello")
    assert program.next_event("hello") == {"event": "hello"}
    program.say("other")
    with pytest.raises(StoryError, match="instead of hello"):
        program.next_event("hello")
    assert not program.ended
    program.end()
    assert program.ended


def test_a_running_command_that_fails_stops_the_story(tmp_path):
    """A bad exit code, silence and a sudden end are errors."""
    failing = running(tmp_path, "import sys; sys.exit(5)")
    with pytest.raises(StoryError, match="ended with 5"):
        failing.wait()
    with pytest.raises(StoryError, match="ended or said nothing"):
        failing.next_event("ready")
    failing.kill()
    silent = running(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StoryError, match=r"said nothing for 0\.1 s"):
        silent.next_event("ready", timeout_s=0.1)
    with pytest.raises(StoryError, match="ended with -15"):
        silent.end()


def test_waiting_ends_in_time():
    """What doesn't happen is an error with its name."""
    begun = time.monotonic()
    with pytest.raises(StoryError, match="the impossible did not happen"):
        wait_until(lambda: False, "the impossible", timeout_s=0.1)
    assert time.monotonic() - begun < 5
