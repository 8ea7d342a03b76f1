"""The breach, played: what the day leaves behind holds together, and a leak that is planted makes it fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labelvault import story
from labelvault.auditor import verify_statement
from labelvault.cli import demo, exits
from labelvault.cli.app import run
from labelvault.client import Client, PassphraseRoot
from labelvault.story import Incident
from labelvault.story.cast import PROJECT
from labelvault.story.incident import BEN, DESK, NEW_DESK
from tests.browser import CHROMIUM, browse, pixels
from tests.client.test_rekeying import dek

LINUX = sys.platform.startswith("linux")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play it once, as a user does."""
    folder = tmp_path_factory.mktemp("incident") / "kept"
    command = [sys.executable, "-m", "labelvault", "demo", "--incident", "--json", "--keep", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert done.stderr == ""
    return folder, json.loads(done.stdout)


def kept(folder, name):
    """One of the report's files."""
    return json.loads((folder / "report" / f"{name}.json").read_text())


def test_the_day_ends_contained_and_leaves_a_report(played):
    """Plan, run and drill say the same of one breach; the thief opens what is stated and nothing that replaced it."""
    folder, facts = played
    assert facts["holds"]
    plan, contained, finding = (kept(folder, name) for name in ("plan", "contained", "finding"))
    assert plan["counts"]["rekey"]["to_do"] == facts["stated"] == facts["renewed"] >= 4
    assert plan["counts"]["revoke"] == {"to_do": 1, "done": 0}
    assert contained["revoked"] == [DESK]
    assert [each["contractor"] for each in contained["granted"]] == [NEW_DESK]
    assert contained["left"]["is_done"]
    stated = {
        (item["item"], version["version"])
        for item in kept(folder, "vendor.exposure")["items"]
        for version in item["versions"]
        if version["verdict"] == "exposed"
    }
    assert {(each["item"], each["version"]) for each in finding["opened"]} <= stated
    assert facts["totals"]["closed-before"] > 0
    assert facts["dropped"] == 2
    assert kept(folder, "laptop.contained")["revoked"] == [BEN]
    assert facts["denials"] == ["revoked"]
    if LINUX:
        # Not vacuous: memory was captured, and the task that was open there opens.
        assert facts["measured"]
        assert "fa-1042" in facts["opened"]
        assert finding["keys"]["dek"] > 0


def test_an_auditor_gets_the_same_from_the_report_alone(played):
    """The signed statement is what the exported ledger gives."""
    folder, facts = played
    report = folder / "report"
    with Client.open(folder / "client", PassphraseRoot((folder / "client" / "passphrase").read_text().strip())) as lab:
        fingerprint = lab.fingerprint
        assert all(each.version == 2 for each in lab.project(PROJECT).items() if each.name in facts["opened"])
    statement, ledger = ((report / name).read_bytes() for name in ("vendor.statement", "ledger.jsonl"))
    checked = verify_statement(statement, [ledger], fingerprint)
    assert checked.statement.totals.exposed == facts["stated"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; .ci/run installs it")
def test_a_browser_shows_the_window_and_what_was_open_in_it(played, tmp_path):
    """The marked window, its edges and the series of a desk without presence are areas of the picture, not traces."""
    folder, facts = played
    page = tmp_path / "vendor.html"
    page.write_bytes((folder / "report" / "vendor.html").read_bytes())
    size = ("--window-size=1100,2200",)
    dom = browse(page, tmp_path, *size, "--dump-dom").stdout.decode()
    assert facts["headline"] in dom
    assert '<path class="s-desk-waived"' in dom
    browse(page, tmp_path, *size, "--screenshot=shot.png")
    colours = pixels(tmp_path / "shot.png")
    window, edge, waived = (0xE6, 0xEC, 0xF7), (0x3A, 0x5A, 0x9B), (0xB3, 0x26, 0x1E)
    # How wide it is follows from how fast the machine played: 4,210 on a slow one.
    assert colours.get(window, 0) > 2000
    assert colours.get(edge, 0) > 50
    # The headline's letters have this colour too, and far less of it.
    assert colours.get(waived, 0) > 20000


def test_C9_a_new_key_among_the_loot_fails_the_day(tmp_path, monkeypatch, capfd):
    """The key of a version that was only just made, planted among what was stolen, is found: exit 9, in words too."""
    folder = tmp_path / "kept"

    def with_insider(project, *, keep, tell):
        def watch(event):
            command = getattr(event, "command", "")
            if "sealed again" in getattr(event, "outcome", "") and "vendor.statement" in command:
                passphrase = (folder / "client" / "passphrase").read_text().strip()
                with Client.open(folder / "client", PassphraseRoot(passphrase)) as lab:
                    item = next(each.item for each in lab.project(PROJECT).items("task") if each.name == "fa-1042")
                    key = dek(lab, item, 2)[2]
                (folder / "thief" / "vendor" / "vendor" / "core.77").write_bytes(b"\x7fELF" + key)

        return story.run_incident(project, keep=keep, tell=watch)

    monkeypatch.setattr(demo, "run_incident", with_insider)
    assert run(["demo", "--incident", "--json", "--keep", str(folder)]) == exits.MORE_THAN_STATED
    assert not json.loads(capfd.readouterr().out)["holds"]
    (opened,) = (each for each in kept(folder, "finding")["opened"] if not each["stated"])
    assert (opened["name"], opened["version"], opened["current"]) == ("fa-1042", 2, True)


DAY = Incident(
    report=Path("report"),
    headline="5 of 13 items could be read at the vendor's host.",
    totals={"exposed": 5},
    counts={"freeze": {"to_do": 1, "done": 0}, "rekey": {"to_do": 5, "done": 1}},
    stated=5,
    renewed=5,
    opened=("fa-1042",),
    dropped=2,
    denials=("revoked",),
    measured=False,
    holds=True,
    seconds=1.0,
)


def test_the_end_is_told_in_a_pipe(monkeypatch, capfd):
    """What was contained, what the thief opens, and what could not be measured."""
    monkeypatch.setattr(demo, "run_incident", lambda project, *, keep, tell: DAY)
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["demo", "--incident"]) == exits.OK
    out = capfd.readouterr().out
    for words in (DAY.headline, "freeze 1, rekey 6", "opens fa-1042", "Memory can't be captured", "Contained."):
        assert words in out
