"""Sealing folders: only what changed, across crashes and races, and nothing of it at the vendor's."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, Limits, Progress, Project
from labelvault.client import sealing as module
from labelvault.client.opened import OpenedClient
from labelvault.errors import LabelVaultError, ProjectError, RelayError, StoreError
from labelvault.ledger.entries import Sealed
from labelvault.relay import Relay, StoredItem
from labelvault.relay.beside import Beside
from labelvault.vendor import Vault
from tests.world import GOLD, GUIDELINE, PICTURE, RUBRIC, TASK, World, bytes_of, dump, rows, write_file, write_project

MIB = 1024 * 1024

SOURCES = 9
LIMITS_WIDE = Limits(max_open=50, max_total=50, per_hour=50, lease_ttl_s=600)


def summary(report: Any) -> tuple[int, int, int, int, int]:
    return report.new, report.changed, report.same, report.gone, len(report.errors)


def versions(project: Project) -> dict[str, int]:
    return {item.name: item.version for item in project.items()}


def test_sealing_again_seals_only_what_changed(world: World) -> None:
    """New, changed, same and gone are told apart, by content and by what stands around it."""
    project, source = world.project, world.source
    assert summary(project.seal(source)) == (0, 0, SOURCES, 0, 0)
    write_file(source, "guidelines/how.md", GUIDELINE + " always")
    write_file(source, "tasks/w2.jsonl", rows("four", "six"))
    write_file(source, "rubrics/extra.md", "more")
    # A guideline's new version needs no new version of the tasks that require it.
    assert summary(project.seal(source)) == (2, 1, 7, 1, 0)
    assert versions(project)["how.md"] == 2
    assert versions(project)["five"] == 1
    assert summary(project.seal(source)) == (0, 0, SOURCES + 1, 1, 0)


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ('labels = ["prompt"]', 5),
        ('batch = "id"', 5),
        ("requires = []", 5),
        ('id = "id"', 0),
    ],
)
def test_a_setting_that_changes_tasks_makes_new_versions(world: World, setting: str, changed: int) -> None:
    """Labels, batch and requirements are sealed with a task, so they are part of what is compared."""
    settings = {"attachments": '["picture"]', "labels": '["id"]'}
    key, _, value = setting.partition(" = ")
    settings[key] = value
    write_file(
        world.source, "labelvault.toml", "[tasks]\n" + "".join(f"{name} = {v}\n" for name, v in settings.items())
    )
    assert summary(world.project.seal(world.source)) == (0, changed, SOURCES - changed, 0, 0)


def test_what_one_opening_brings_is_said(world: World) -> None:
    """Without a word on it every task requires all guidelines and no rubrics; attachments come by their column."""
    openings = world.project.seal(world.source).openings
    assert [(o.batch, o.tasks, o.requires) for o in openings] == [
        ("w1", 3, ("how.md", "picture.png")),
        ("w2", 2, ("how.md",)),
    ]


def test_progress_counts_up_to_the_total(world: World) -> None:
    """Called for every item, ending at the total."""
    seen: list[tuple[int, int]] = []
    world.project.seal(world.source, progress=lambda each: seen.append((each.done, each.total)))
    assert [done for done, _ in seen] == list(range(1, SOURCES + 1))
    assert seen[-1] == (SOURCES, SOURCES)


def test_progress_within_a_large_file(world: World) -> None:
    """Its bytes count as they pass, before it is done, when it is sealed and when it is given back."""
    (world.source / "attachments/film.bin").write_bytes(bytes(9 * MIB))
    sealing: list[Progress] = []
    world.project.seal(world.source, progress=sealing.append)
    exporting: list[Progress] = []
    world.project.export(world.folder / "back", progress=exporting.append)
    for seen in (sealing, exporting):
        count = [each.content_bytes for each in seen]
        assert count == sorted(count)
        assert max(after - before for before, after in zip(count, count[1:], strict=False)) <= 2 * MIB
        assert 9 * MIB <= count[-1] <= seen[-1].total_bytes
        assert seen[-1].done == seen[-1].total == SOURCES + 1


def test_each_version_is_in_the_ledger_with_its_digest(world: World) -> None:
    """One entry a version, from the catalog's own digests."""
    write_file(world.source, "guidelines/how.md", "changed")
    world.project.seal(world.source)
    entries = [entry for entry in world.lab.ledger_entries() if isinstance(entry, Sealed)]
    with closing(sqlite3.connect(world.client_db)) as db:
        stored = {tuple(row) for row in db.execute("SELECT item, version, digest FROM versions")}
    assert {(entry.item, entry.version, entry.digest) for entry in entries} == stored
    assert len(entries) == SOURCES + 1


# G1, L5


def _seen_by_the_vendor(world: World) -> bytes:
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        cells = [repr(db.execute(f"SELECT * FROM {name}").fetchall()).encode() for name in names]  # noqa: S608
    return bytes_of(world.folder / "vendor") + b"".join(cells)


def assert_blind(held: bytes, texts: list[bytes], run: int = 12) -> None:
    """No `run` bytes in a row of any text stand in what is held."""
    seen = {held[at : at + run] for at in range(len(held) - run + 1)}
    for text in texts:
        for at in range(max(1, len(text) - run + 1)):
            piece = text[at : at + run]
            assert piece not in (seen if len(piece) == run else held)


def test_the_check_of_blindness_finds_what_is_there() -> None:
    """Twelve bytes of a long text, and a short name, are found; eleven are not."""
    text = b"the quick brown fox jumps"
    assert_blind(b"....quick brown...", [text], run=12)
    with pytest.raises(AssertionError):
        assert_blind(b"....quick brown f...", [text], run=12)
    with pytest.raises(AssertionError):
        assert_blind(b"....name...", [b"name"])


def test_G1_the_vendor_holds_nothing_of_the_small_project(world: World) -> None:
    """Names, ids, labels, batches, project names and content: in no byte of file, WAL or column."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle):
        pass
    known = [GUIDELINE, RUBRIC, GOLD, TASK, "how.md", "score.md", "answers.jsonl", "picture.png", "guideline"]
    known += ["attachment", "application/json", "text/markdown", "prompt", "three"]
    assert_blind(_seen_by_the_vendor(world), [word.encode() for word in known] + [PICTURE])


def test_G1_the_vendor_holds_nothing_of_a_real_project(world: World, real_data: Path) -> None:
    """Every file, row, name and id of a real project: no 12 bytes in a row at the vendor's; a second run seals 0."""
    project = world.lab.create_project("real")
    report = project.seal(real_data)
    assert not report.errors
    total = report.new
    assert total == len(project.items())
    again = project.seal(real_data)
    assert summary(again) == (0, 0, total, 0, 0)
    files = [path for path in sorted(real_data.rglob("*")) if path.is_file()]
    texts = [path.read_bytes() for path in files]
    texts += [str(path.relative_to(real_data)).encode() for path in files]
    # A short id such as `81` stands in random bytes by chance; a name of five bytes or more does not.
    texts += [item.name.encode() for item in project.items() if len(item.name) >= 5]
    assert_blind(_seen_by_the_vendor(world), texts)


def test_L5_the_ledger_holds_no_title_and_no_plaintext(world: World) -> None:
    """Its export is what auditors read: ids, hashes, times and words of closed lists."""
    import base64

    me, _ = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle):
        pass
    issuer.answer()
    export = world.lab.export_ledger()
    decoded = b"".join(
        base64.b64decode(line.split(b'"')[3]) for line in export.splitlines() if line.startswith(b'{"entry"')
    )
    assert len(decoded) > 1000
    known = [GUIDELINE, RUBRIC, GOLD, TASK, "how.md", "score.md", "picture.png", "guidelines"]
    for word in known:
        assert word.encode() not in decoded + export


# Crashes


STEPS = ["reserve", "put", "after put", "finalise", "after record"]


def _fail_at(step: str, lab: Client, set_attribute: Any, fail: Any) -> None:
    """Make sealing fail at a step of its first window."""

    def before(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def broken(*arguments: Any, **named: Any) -> Any:
            fail()
            return real(*arguments, **named)

        set_attribute(owner, name, broken)

    def after(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def broken(*arguments: Any, **named: Any) -> Any:
            real(*arguments, **named)
            fail()

        set_attribute(owner, name, broken)

    if step == "reserve":
        after(module, "reserve")
    elif step == "put":
        before(lab.relay(), "put_items")
    elif step == "after put":
        after(lab.relay(), "put_items")
    elif step == "finalise":
        before(lab, "record")
    else:
        after(lab, "record")


def _change(world: World) -> Path:
    """Change one item of each kind, and add one."""
    write_file(world.source, "guidelines/how.md", GUIDELINE + " changed")
    write_file(world.source, "tasks/w1.jsonl", rows("one", "two", "three", "seven", more="x", picture="picture.png"))
    return world.source


def _all_open(world: World) -> None:
    """Every task opens, with what the folder has now."""
    me, _ = world.worker("auditor", limits=LIMITS_WIDE)
    issuer = world.issuer()
    for item in world.project.items("task"):
        with me.open_task(item.item, exchange=issuer.handle) as task:
            assert json.loads(task.content)["id"] == item.name
            assert ("more" in json.loads(task.content)) == (item.name in ("one", "two", "three", "seven"))
            assert (GUIDELINE + " changed").encode() in [part.content for part in task.required]


@pytest.mark.parametrize("step", STEPS)
def test_C1_an_error_while_sealing_loses_nothing(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserve, put, finalise: whatever fails, the catalog is as before, and a second run seals all and all opens."""
    before = versions(world.project)
    source = _change(world)

    def fail() -> None:
        raise StoreError("injected")

    with monkeypatch.context() as patched:
        _fail_at(step, world.lab, patched.setattr, fail)
        with pytest.raises(StoreError, match="injected"):
            world.project.seal(source)
    assert versions(world.project) == before
    world.lab.verify_ledger()
    assert summary(world.project.seal(source)) == (1, 4, 5, 0, 0)
    assert summary(world.project.seal(source)) == (0, 0, 10, 0, 0)
    world.lab.verify_ledger()
    _all_open(world)


_KILLED = """
import os, signal, sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot
from tests.client.test_sealing import _fail_at
from tests.world import CHEAP, PASSPHRASE
folder = Path(sys.argv[1])
lab = Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP))
_fail_at(sys.argv[2], lab, setattr, lambda: os.kill(os.getpid(), signal.SIGKILL))
lab.project("eval").seal(folder / "source")
"""


@pytest.mark.parametrize("step", ["reserve", "after put", "after record"])
def test_C1_a_kill_while_sealing_loses_nothing(world: World, step: str) -> None:
    """SIGKILL inside the first transaction, after the vault has it, and inside the second: a new run completes it."""
    before = versions(world.project)
    source = _change(world)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(world.folder), step], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert versions(world.project) == before
    again = world.open_client()
    assert summary(again.project("eval").seal(source)) == (1, 4, 5, 0, 0)
    again.verify_ledger()
    _all_open(world)


def test_two_seals_at_once_leave_a_whole_project(world: World) -> None:
    """Each one completes or says that storage refused; after one more run everything is sealed and opens."""
    source = _change(world)
    outcomes: list[object] = []

    def seal(lab: Client) -> None:
        try:
            outcomes.append(summary(lab.project("eval").seal(source)))
        except LabelVaultError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=seal, args=(world.open_client(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 3
    assert {type(outcome) for outcome in outcomes} <= {tuple, type}
    assert {outcome for outcome in outcomes if isinstance(outcome, type)} <= {StoreError}
    again = world.project.seal(source)
    assert not again.errors
    assert summary(world.project.seal(source)) == (0, 0, 10, 0, 0)
    world.lab.verify_ledger()
    _all_open(world)


def test_a_slower_run_does_not_put_an_older_version_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that reserved first and finalises last must not make its own version current again."""
    path = write_file(world.source, "guidelines/how.md", "the first change")
    relay = world.lab.relay()
    put = relay.put_items

    def slow(items: Any) -> int:
        stored = put(items)
        write_file(world.source, "guidelines/how.md", "the second change")
        other = world.open_client()
        assert other.project("eval").seal(world.source).changed == 1
        return stored

    with monkeypatch.context() as patched:
        patched.setattr(relay, "put_items", slow)
        world.project.seal(world.source)
    assert path.read_text() == "the second change"
    assert versions(world.project)["how.md"] == 3
    assert summary(world.project.seal(world.source))[:3] == (0, 0, SOURCES)


class _Failing:
    """Stands for the process that stores beside: whole batches, until the vault fails."""

    def __init__(self, relay: Relay, fail_at: int) -> None:
        self.relay, self.fail_at, self.sizes, self.closed = relay, fail_at, list[int](), False

    def begin(self, items: Sequence[StoredItem]) -> None:
        self.sizes.append(len(items))
        self.items = items

    def settle(self) -> None:
        if len(self.sizes) == self.fail_at:
            raise StoreError("injected")
        self.relay.put_items(self.items)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("fail_at", "kept"), [(1, 0), (2, 4)])
def test_windows_are_whole(world: World, monkeypatch: pytest.MonkeyPatch, fail_at: int, kept: int) -> None:
    """Small windows: the vault gets them one by one, and a failure keeps those before."""
    monkeypatch.setattr(module, "WINDOW_ITEMS", 4)
    project = world.lab.create_project("other", floor_bytes=256)
    failing = _Failing(world.lab.relay(), fail_at)
    with monkeypatch.context() as patched:
        patched.setattr(OpenedClient, "beside", lambda _: failing)
        with pytest.raises(StoreError, match="injected"):
            project.seal(world.source)
    assert failing.sizes == [4] * fail_at
    assert failing.closed
    assert len(project.items()) == kept
    assert summary(project.seal(world.source)) == (9 - kept, 0, kept, 0, 0)
    assert {item.version for item in project.items()} <= {1, 2}


def test_many_windows_go_through_a_process_beside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real one: all is stored and opens, whatever the window, and the process has ended."""
    monkeypatch.setattr(module, "WINDOW_ITEMS", 3)
    started = list[Beside]()
    begin = OpenedClient.beside

    def beside(self: OpenedClient) -> Beside:
        started.append(begin(self))
        return started[-1]

    monkeypatch.setattr(OpenedClient, "beside", beside)
    write_file(world.source, "tasks/many.jsonl", "".join(json.dumps({"id": n}) + "\n" for n in range(50)))
    project = world.lab.create_project("other", floor_bytes=256)
    assert summary(project.seal(world.source)) == (59, 0, 0, 0, 0)
    assert [each.alive() for each in started] == [False]
    assert summary(project.seal(world.source)) == (0, 0, 59, 0, 0)
    assert not project.export(world.folder / "out").faults
    with Vault.open(world.vault) as vault:
        assert vault.check() == []


def test_C1_the_process_beside_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had not acknowledged is sealed again by the next run, under the next version."""
    monkeypatch.setattr(module, "WINDOW_ITEMS", 3)
    begin = OpenedClient.beside

    def killed(self: OpenedClient) -> Beside:
        beside = begin(self)
        os.kill(beside.pid, signal.SIGKILL)
        return beside

    project = world.lab.create_project("other", floor_bytes=256)
    with monkeypatch.context() as patched:
        patched.setattr(OpenedClient, "beside", killed)
        with pytest.raises(RelayError, match="has ended"):
            project.seal(world.source)
    assert project.items() == []
    assert summary(project.seal(world.source)) == (9, 0, 0, 0, 0)
    assert not project.export(world.folder / "out").faults


# Names


NAMES = [
    "a b",
    "ü\u0301ber",
    "日本",
    "e\u200bvil",
    "-rf",
    "..",
    "x#y",
    "con",
    "'; DROP TABLE items; --",
    "a" * 200,
    "\n",
    "\x1b[31m",
    "%s{0}",
]


def test_names_with_weird_characters_are_only_names(world: World) -> None:
    """As row ids and as file names: sealed, listed and opened as they are."""
    folder = write_project(world.folder / "weird")
    (folder / "tasks" / "w1.jsonl").write_text("".join(json.dumps({"id": name}) + "\n" for name in NAMES))
    files = [name for name in NAMES if name not in ("..", "\n") and len(name) < 100]
    for name in files:
        write_file(folder, f"guidelines/{name}.md", f"guideline {name}")
    project = world.lab.create_project("weird ünïcode '; --", floor_bytes=256)
    report = project.seal(folder)
    assert not report.errors
    assert {item.name for item in project.items("task")} == {*NAMES, "four", "five"}
    assert {item.name for item in project.items("guideline")} == {f"{name}.md" for name in files} | {"how.md"}
    me = world.contractor("ada")
    world.enrol(me, "ada")
    world.join(me, "ada", project=project)
    task = next(item for item in project.items("task") if item.name == "'; DROP TABLE items; --")
    with me.open_task(task.item, exchange=world.issuer().handle) as opened:
        assert opened.name == "'; DROP TABLE items; --"
    assert summary(project.seal(folder))[:2] == (0, 0)


def test_rows_and_files_that_would_share_a_name_stay_apart(world: World) -> None:
    """A `#` in a task file's name and in an id, and what stands for it when escaped: each row is its own item."""
    folder = write_project(world.folder / "clash")
    write_file(folder, "tasks/w1.jsonl", rows("b.jsonl#x"))
    write_file(folder, "tasks/w1.jsonl#b.jsonl", rows("x"))
    write_file(folder, "tasks/w1.jsonl%23b.jsonl", rows("x"))
    project = world.lab.create_project("clash")
    report = project.seal(folder)
    assert summary(report) == (9, 0, 0, 0, 0)
    assert summary(project.seal(folder)) == (0, 0, 9, 0, 0)


def test_a_project_folder_that_is_none_is_refused_and_changes_nothing(world: World) -> None:
    """Absent, a file, empty, or without any of the folders."""
    before = dump(world.client_db)
    empty = world.folder / "empty"
    (empty / "other").mkdir(parents=True)
    for folder in (world.folder / "absent", world.source / "labelvault.toml", empty):
        with pytest.raises(ProjectError):
            world.project.seal(folder)
    assert dump(world.client_db) == before


def test_a_vault_that_is_away_changes_nothing(world: World) -> None:
    """Its file is gone: a typed error, and the catalog is as it was but for reserved names."""
    world.lab.relay().close()
    world.lab._relay = None
    moved = world.folder / "moved"
    os.rename(world.folder / "vendor", moved)
    before = dump(world.client_db)
    _change(world)
    with pytest.raises(LabelVaultError):
        world.project.seal(world.source)
    assert dump(world.client_db) == before
    os.rename(moved, world.folder / "vendor")
    assert summary(world.project.seal(world.source)) == (1, 4, 5, 0, 0)


def test_what_is_gone_is_counted_by_file(world: World) -> None:
    """Rows of a file with a fault may still be there; of one that is whole, they are gone, whatever its name."""
    write_file(world.source, "tasks/w#3.jsonl", rows("a", "b"))
    write_file(world.source, "tasks/w#3.jsonl-x/c.txt", "another")
    assert world.project.seal(world.source).gone == 0
    write_file(world.source, "tasks/w#3.jsonl", rows("a") + '{"id": \n')
    (world.source / "tasks" / "w1.jsonl").unlink()
    found = world.project.plan(world.source)
    assert (found.gone, [(error.file, error.line) for error in found.errors]) == (3, [("tasks/w#3.jsonl", 2)])
    assert world.project.seal(world.source).gone == 3
    write_file(world.source, "tasks/w#3.jsonl", rows("a"))
    (world.source / "tasks" / "w#3.jsonl-x" / "c.txt").unlink()
    assert world.project.plan(world.source).gone == world.project.seal(world.source).gone == 5
