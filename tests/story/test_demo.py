"""The demo: on the shipped project, on a real one, and with planted leaks that it has to find."""

import base64
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelvault import story
from labelvault.cli import demo, exits
from labelvault.cli.app import run
from labelvault.client import Client, PassphraseRoot
from labelvault.contractor import Contractor
from labelvault.contractor.exchange import MailboxExchange, acceptor
from labelvault.contractor.opening import make_receipt, make_request, read_lease
from labelvault.crypto.hpke import OneTimeKey
from labelvault.drill.capture import descendants
from labelvault.issuer.catalog import opened_together
from labelvault.keys.kek import unwrap_dek, wrap_context
from labelvault.relay import open_relay
from labelvault.story import EXAMPLE, Act, Did, Findings, Said, Stolen, Theft
from labelvault.story.acts import DESK_SEVEN
from labelvault.story.cast import PROJECT
from labelvault.story.thefts import present
from labelvault.wire.ids import issuer_mailbox

DENIALS = ["expired", "unknown", "limit-open", "frozen", "limit-total", "revoked", "presence"]
LINUX = sys.platform.startswith("linux")


def demo_process(*arguments):
    """Run the demo as a user does."""
    command = [sys.executable, "-m", "labelvault", "demo", "--json", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def check(facts):
    """What every honest run of the demo says, whatever the project."""
    assert facts["denials"] == DENIALS
    assert facts["sealed_again"] == 0
    assert facts["vault_bytes"] > 0
    vault, device, desk, thief, approved, ahead = facts["thefts"]
    for theft in (vault, device):
        assert (theft["stated"], theft["opened"], theft["plaintext_hits"]) == ([], [], 0)
    if LINUX:
        assert desk["measured"]
        assert sorted(desk["opened"]) == sorted(desk["stated"])
        assert desk["plaintext_hits"] > 0
        # One task was approved, and the desk's key, memory and old approvals open no other.
        assert sorted(approved["opened"]) == sorted(approved["stated"])
        assert approved["opened"]
    assert sorted(thief["opened"]) == sorted(thief["stated"])
    # Of two leases that were issued ahead, one is closed and one is not.
    assert sorted(ahead["opened"]) == sorted(ahead["stated"])
    assert ahead["opened"]
    assert (facts["answers"], facts["to_pay"]) == (1, 1)
    assert all(theft["more"] == [] for theft in facts["thefts"])
    return desk, thief


def test_the_demo_holds_on_the_shipped_project_and_leaves_one_folder_an_actor(tmp_path):
    """Exit 0; each theft opens what the ledger states and nothing else; --keep has the actors' folders."""
    done = demo_process("--keep", tmp_path / "kept")
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    desk, thief = check(facts)
    assert facts["sealed_items"] == 13
    assert {"fa-1041", "fa-1042", "rating.md", "tone.md"} <= set(desk["stated"])
    assert "fa-1051" not in desk["stated"] + thief["stated"]
    assert {each.name for each in (tmp_path / "kept").iterdir()} == {
        "client",
        "vendor",
        "contractor",
        "desk",
        "desk-8",
        "phone",
        "ahead",
        "thief",
        "drill",
    }
    again = demo_process("--keep", tmp_path / "kept")
    assert again.returncode == exits.BAD_INPUT
    assert json.loads(again.stdout)["error"]["kind"] == "OutputError"


def test_the_demo_holds_on_a_real_project(real_data):
    """Eighty tasks, guidelines, rubrics, an image: sealed, and nothing opens that isn't stated."""
    done = demo_process("--input", real_data)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    check(facts)
    assert facts["sealed_items"] == 88


class Insider:
    """Plants what a careless or lying implementation would have left behind."""

    def __init__(self, folder):
        self.folder = folder
        self.one_time_seeds = []
        self._desk_is_ready = False

    def client(self):
        """The client's home, opened in this process."""
        passphrase = (self.folder / "client" / "passphrase").read_text().strip()
        return Client.open(self.folder / "client", PassphraseRoot(passphrase))

    def dek_of(self, client, name):
        """Unwrap one item's DEK."""
        (item,) = (each.item for each in client.project(PROJECT).items() if each.name == name)
        (version, *_) = opened_together(client.database, client.client_id, item)
        kek = client.keks.load(version.header.project, version.kek_id, version.kek_generation)
        context = wrap_context(version.header.encode(), version.digest, version.kek_id, version.kek_generation)
        return unwrap_dek(kek, version.wrapped, context).reveal()

    def tell(self, event):
        """Act at the desk as soon as it has joined, before it opens anything."""
        if isinstance(event, Said) and event.warning:
            with self.client() as client:
                (item,) = (each.item for each in client.project(PROJECT).items("task") if each.name == "fa-1044")
                for _ in range(4):
                    self.one_time_seeds.append(self._open_and_lie(item))
                while client.stated([DESK_SEVEN], present(), present()):
                    time.sleep(0.02)

    def _open_and_lie(self, item):
        """Open a task, keep its one-time key, and sign that the process has exited."""
        passphrase = (self.folder / "desk" / "passphrase").read_text().strip()
        with Contractor.open(self.folder / "desk", passphrase) as me:
            (joined,), key = me.memberships(), OneTimeKey.generate()
            relay = open_relay(joined.vault)
            request = make_request(joined, me._identity, item, key.public_key, me.now())
            lease = MailboxExchange(relay, joined).ask(request, acceptor(request, joined, me.now), 30)
            _, outer = read_lease(lease, request, joined, me.now())
            closed = make_receipt(outer, me._identity, "closed", "process-exit", me.now())
            relay.post(issuer_mailbox(joined.client), closed)
            relay.close()
        return key.seed().reveal()

    def tamper(self, name, loot):
        """Put leaks into the copies that the thief carries away."""
        if name == "1-vendor":
            with self.client() as client:
                (loot / "vendor" / "core.1234").write_bytes(b"\x7fELF" + self.dek_of(client, "fa-1051"))
        elif name == "2-device":
            gold = (EXAMPLE / "gold" / "calibration.jsonl").read_bytes()
            (loot / "contractor" / "cache.tmp").write_bytes(b"\0" * 64 + gold[100:160])
        elif name == "3-desk":
            raw, in_hex, in_base64, in_wal = self.one_time_seeds
            (loot / "desk" / "raw.bin").write_bytes(b"\x01" * 13 + raw)
            (loot / "desk" / "debug.log").write_text(f"key={in_hex.hex()}\n")
            (loot / "desk" / "state.json").write_text(json.dumps({"k": base64.b64encode(in_base64).decode()}))
            self._write_wal(loot / "desk", in_wal)

    def _write_wal(self, folder, key):
        """Leave a key in a write-ahead log only: the row was deleted, the database file never had it."""
        work = self.folder / "wal"
        work.mkdir()
        database = sqlite3.connect(work / "keys.db", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE prekeys (key BLOB)")
        database.execute("INSERT INTO prekeys VALUES (?)", (key,))
        database.execute("DELETE FROM prekeys")
        for file in work.iterdir():
            shutil.copy(file, folder)
        database.close()
        assert key in (folder / "keys.db-wal").read_bytes()
        assert key not in (folder / "keys.db").read_bytes()


def test_C9_planted_keys_and_plaintext_are_found_and_the_demo_exits_9(tmp_path, monkeypatch, capfd):
    """A DEK, plaintext, and one-time keys raw, in hex, in base64 and in a WAL: each is found, none is stated."""
    folder = tmp_path / "kept"
    insider = Insider(folder)

    def with_insider(project, *, keep, tell):
        return story.run(project, keep=keep, tell=insider.tell, tamper=insider.tamper)

    monkeypatch.setattr(demo, "run", with_insider)
    assert run(["demo", "--json", "--keep", str(folder)]) == exits.MORE_THAN_STATED
    facts = json.loads(capfd.readouterr().out)
    assert not facts["holds"]
    vault, device, desk, thief, _, _ = facts["thefts"]
    assert (vault["stated"], vault["opened"]) == ([], ["fa-1051"])
    assert vault["more"] == ["fa-1051 (task) was opened"]
    assert (device["stated"], device["opened"]) == ([], [])
    assert device["plaintext_hits"] == 1
    assert device["more"] == ["text of calibration.jsonl was found (1)"]
    if LINUX:
        assert "fa-1044" in desk["opened"]
        assert "fa-1044" not in desk["stated"]
        assert "fa-1044 (task) was opened" in desk["more"]
        report = json.loads((folder / "drill" / "3-desk.json").read_text())
        found = {(each["sort"], each["place"], each["encoding"]) for each in report["keys_found"]}
        planted = {("raw.bin", "raw"), ("debug.log", "hex"), ("state.json", "base64"), ("keys.db-wal", "raw")}
        assert {("one-time", f"desk/{file}", encoding) for file, encoding in planted} <= found
    assert thief["more"] == []


@pytest.mark.skipif(not LINUX, reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_ended_leaves_no_process_and_no_folder(tmp_path, number):
    """A CI's timeout, or Ctrl-C, takes the issuer along."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "labelvault", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout or ():
        if "denied: expired" in line:
            break
    issuers = [pid for pid in descendants(process.pid) if b"issuer" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert issuers
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == exits.INTERRUPTED
    assert "Traceback" not in err
    assert not [pid for pid in issuers if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


# --- how it is shown ---


GOOD = Theft("the vault at rest", (), (), 0)
OPEN = Theft("a desk", ("fa-1041",), ("fa-1041",), 3)
BAD = Theft("a device", (), ("fa-1042",), 1, more=("fa-1042 (task) was opened",))
UNMEASURED = Theft("a desk", ("fa-1041",), (), 0, measured=False, note="not measured here: no /proc")


@pytest.fixture
def shown(monkeypatch, capfd):
    """Show a short story without playing it."""
    monkeypatch.setenv("COLUMNS", "160")

    def show(*thefts, arguments=()):
        def play(project, *, keep, tell):
            for event in (
                Act("An act"),
                Did("the client", "labelvault client init", "done [bold]"),
                Did("the thief", "labelvault contractor open", "denied: revoked", refused=True),
                Said("a limit", warning=True),
                Said("a remark"),
                *map(Stolen, thefts),
            ):
                if tell is not None:
                    tell(event)
            return Findings(13, 0, 2048, ("unknown",), thefts, 1, 1, 1.0)

        monkeypatch.setattr(demo, "run", play)
        code = run(["demo", *arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return show


def test_the_story_is_readable_in_a_pipe(shown):
    """Acts, commands, outcomes and findings, without colours and without interpreting markup."""
    code, out, err = shown(GOOD, OPEN)
    assert code == exits.OK
    assert err == ""
    assert "\x1b" not in out
    for text in ("An act", "labelvault client init", "done [bold]", "denied: revoked", "a limit", "the vault at rest"):
        assert text in out
    assert "Nothing opened that the ledger does not state." in out
    assert "13 items sealed, 0 when sealed again; the vault holds 2.0 KiB; refused as it should: unknown." in out
    assert "1 answer came back, collected as it was submitted; 1 task is to be paid." in out


def test_more_than_stated_is_said_and_exits_9(shown):
    """The finding names what it is, and the exit code tells scripts."""
    code, out, _ = shown(GOOD, BAD)
    assert code == exits.MORE_THAN_STATED
    assert "fa-1042 (task) was opened" in " ".join(out.split())
    assert "Something opened that the ledger does not state." in out


def test_what_was_not_measured_is_said(shown):
    """Neither a pass nor a failure is claimed."""
    code, out, _ = shown(GOOD, UNMEASURED)
    assert code == exits.OK
    assert "not measured here" in out


def test_json_is_one_object_and_nothing_else(shown):
    """Scripts get one line; prose is left out where stderr is no terminal."""
    code, out, err = shown(GOOD, BAD, arguments=["--json"])
    assert code == exits.MORE_THAN_STATED
    assert err == ""
    facts = json.loads(out)
    assert len(out.splitlines()) == 1
    assert {"sealed_items", "vault_bytes", "denials", "thefts"} <= set(facts)
    for theft in facts["thefts"]:
        assert {"surface", "stated", "opened", "plaintext_hits"} <= set(theft)
    assert facts["thefts"][1]["more"] == ["fa-1042 (task) was opened"]


def test_the_readers_own_bad_row_is_named(tmp_path):
    """A project with a broken row ends the demo with the place of the row."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    (project / "tasks" / "week-16.jsonl").write_text("{broken\n")
    done = demo_process("--input", project)
    assert done.returncode == exits.BAD_INPUT
    assert "tasks/week-16.jsonl:1" in json.loads(done.stdout)["error"]["message"]
