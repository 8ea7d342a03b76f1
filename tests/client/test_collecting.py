"""Collecting answers: each into one file, once, with what it answers; what does not open is kept aside."""

import json
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import collecting
from labelvault.contractor import Contractor
from labelvault.crypto.hpke import OneTimeKey
from labelvault.envelope.answer import MAX_INLINE_BYTES
from labelvault.errors import FormatError, KeystoreError, OutputError, ProjectError
from labelvault.wire.ids import issuer_mailbox
from tests.world import World, dump


def opened(world: World, me: Contractor, task: str = "one") -> bytes:
    """Open a task and close it again; return its lease."""
    with me.open_task(world.task(task), exchange=world.issuer().handle) as task_:
        return task_.lease_id


def lines(path: Path) -> list[dict[str, Any]]:
    """A file's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def collected(world: World) -> list[tuple[Any, ...]]:
    """What the database says of collections."""
    return dump(world.client_db)["collections"]


def test_a_line_says_what_was_answered_by_whom_and_when(world: World) -> None:
    """Without a running issuer: the pass takes what waits. A second run finds nothing and writes nothing."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.submit(lease, {"label": "good"})
    to = world.folder / "answers"
    report = world.project.collect(to)
    assert (report.answers, report.attachments, report.aside) == (1, 0, 0)
    assert report.files == (to / "answers-0001.jsonl",)
    at = world.clock().isoformat().replace("+00:00", "Z")
    assert lines(report.files[0]) == [
        {
            "item": world.task().hex(),
            "name": "one",
            "batch": "w1",
            "version": 1,
            "lease": lease.hex(),
            "contractor": "ada",
            "sequence": 1,
            "at": at,
            "received_at": at,
            "presence": "device",
            "answer_name": "answer",
            "media_type": "application/json",
            "answer": {"label": "good"},
            "file": None,
        }
    ]
    assert stat.S_IMODE(report.files[0].stat().st_mode) == 0o600
    assert world.project.collect(to).files == ()
    assert [each.name for each in to.iterdir()] == ["answers-0001.jsonl"]
    me.submit(lease, {"label": "better"})
    assert [each["sequence"] for each in lines(world.project.collect(to).files[0])] == [2]
    me.sync()
    assert [each.state for each in me.submissions()] == ["accepted"] * 2


ANSWERS: list[tuple[Any, dict[str, Any], Any]] = [
    ("text", {}, "text"),
    ('{"a": 1}', {"media_type": "application/json"}, {"a": 1}),
    ('{"a": 1}', {"media_type": "application/vnd.x+json; charset=utf-8"}, {"a": 1}),
    ("not json", {"media_type": "application/json"}, "not json"),
    ("NaN", {"media_type": "application/json"}, "NaN"),
    ("1e999", {"media_type": "application/json"}, "1e999"),
    ("[" * 20000, {"media_type": "application/json"}, "[" * 20000),
    ('"\\ud800"', {"media_type": "application/json"}, "\ud800"),
    (None, {}, None),
    ("line\u2028one\nline two", {}, "line\u2028one\nline two"),
]


@pytest.mark.parametrize(("answer", "options", "expected"), ANSWERS)
def test_a_json_or_text_answer_stands_in_its_line(
    world: World, answer: Any, options: dict[str, Any], expected: Any
) -> None:
    """As its value where it has one that JSON can hold, else as its text."""
    me, _ = world.worker()
    me.submit(opened(world, me), answer, **options)
    report = world.project.collect(world.folder / "answers")
    (line,) = lines(report.files[0])
    assert (line["answer"], line["file"]) == (expected, None)


@pytest.mark.parametrize("form", ["jsonl", "label-studio"])
@pytest.mark.parametrize(("depth", "stays_text"), [(98, False), (99, True), (981, True), (20_000, True)])
def test_an_answer_nested_too_deep_stops_no_other(world: World, form: str, depth: int, stays_text: bool) -> None:
    """What nests deeper than 100 arrays and objects stays text, so that the answers beside it are collected too."""
    me, _ = world.worker()
    region = {"from_name": "a", "to_name": "b", "type": "c", "value": 0}
    deep = json.dumps([region]).replace("0", "[" * depth + "]" * depth)
    for answer in (deep, json.dumps([region])):
        me.submit(opened(world, me), answer, media_type="application/json")
    report = world.project.collect(world.folder / "answers", format=form)
    assert report.answers == 2
    rows = lines(report.files[0]) if form == "jsonl" else json.loads(report.files[0].read_bytes())
    answers = [row["answer"] if form == "jsonl" else row["annotations"][0]["result"] for row in rows]
    assert [region] in answers
    answers.remove([region])
    (other,) = answers
    if not stays_text:
        assert other == json.loads(deep)
    elif form == "jsonl":
        assert other == deep
    else:
        assert other[0]["value"]["text"] == [deep]


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (b"\0\1\2", {}),
        (b"\xff\xfe", {"media_type": "text/plain"}),
        (b"x" * (MAX_INLINE_BYTES + 1), {"media_type": "text/plain"}),
        (bytes(3_000_000), {}),
    ],
)
@pytest.mark.parametrize("name", ["notes.bin", "../../etc/passwd", "..", "a/b\\c\0d", ".hidden"])
def test_other_answers_and_large_ones_are_files_with_harmless_names(
    world: World, answer: bytes, options: dict[str, Any], name: str
) -> None:
    """Beside the line that names them, 0600, within the folder, byte for byte."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.submit(lease, answer, name=name, **options)
    to = world.folder / "answers"
    report = world.project.collect(to)
    (line,) = lines(report.files[0])
    assert (line["answer"], line["answer_name"], report.attachments) == (None, name, 1)
    assert line["file"].startswith(f"answers-0001-files/{lease.hex()[:16]}-1-")
    file = to / line["file"]
    assert file.resolve().parent == to / "answers-0001-files"
    assert file.read_bytes() == answer
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_label_studio_gets_tasks_with_one_annotation_each(world: World) -> None:
    """A result of its own form stands as it is, anything else in a text area."""
    me, _ = world.worker()
    lease = opened(world, me)
    region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["good"]}}
    for answer in ([region], {"result": [region], "lead_time": 3}, {"label": "good"}, "words", b"\0"):
        me.submit(lease, answer)
    report = world.project.collect(world.folder / "answers", format="label-studio")
    (file,) = report.files
    assert file.name == "answers-0001.json"
    tasks = sorted(json.loads(file.read_text()), key=lambda task: task["data"]["sequence"])
    assert all(set(task) == {"data", "annotations"} and len(task["annotations"]) == 1 for task in tasks)
    assert tasks[0]["data"]["name"] == "one"
    results = [task["annotations"][0]["result"] for task in tasks]
    assert results[:2] == [[region], [region]]
    texts = [result[0]["value"]["text"] for result in results[2:]]
    assert texts[:2] == [['{"label": "good"}'], ["words"]]
    assert texts[2] == [tasks[4]["data"]["file"]]


def test_what_does_not_open_is_kept_aside_with_the_reason(world: World) -> None:
    """Sealed to another key, or with a large part that the vault lost or altered; all others are collected."""
    me, joined = world.worker()
    lease = opened(world, me)
    me.submit(lease, "good")
    me.submit(lease, bytes(100_000))
    request = world.ask(me, joined, world.task("two"))
    world.issuer().handle(request.data)
    stranger = OneTimeKey.generate().public_key
    with world.lab.database.transaction():
        true = world.lab.database.scalar("SELECT submission_public FROM projects")
        world.lab.database.execute("UPDATE projects SET submission_public = ?", stranger)
    bad = world.submission(me, request)
    with world.lab.database.transaction():
        world.lab.database.execute("UPDATE projects SET submission_public = ?", true)
    world.relay().post(issuer_mailbox(world.lab.client_id), bad)
    with sqlite3.connect(world.folder / "vendor" / "vault.db") as db:
        db.execute("UPDATE pieces SET data = zeroblob(length(data)) WHERE length(data) > 100000")
    db.close()
    report = world.project.collect(world.folder / "answers")
    assert (report.answers, report.aside) == (1, 2)
    assert [each["answer"] for each in lines(report.files[0])] == ["good"]
    aside = {each.reason.partition(":")[0]: each for each in world.project.aside()}
    assert set(aside) == {"DecryptionError", "TamperedError"}
    assert aside["TamperedError"].item == world.task()
    again = world.project.collect(world.folder / "answers")
    assert (again.files, again.aside) == ((), 1), "only the one that the vault altered is tried again"


def test_what_the_vault_kept_from_being_opened_is_tried_again(world: World) -> None:
    """Altered or lost for a while: aside with its reason meanwhile, collected once when the vault has it again."""
    me, _ = world.worker()
    lease, to = opened(world, me), world.folder / "answers"
    me.submit(lease, bytes(100_000))
    world.issuer().answer()
    vault = world.folder / "vendor" / "vault.db"

    def vendor(*statements: str) -> None:
        with sqlite3.connect(vault) as db:
            for each in statements:
                db.execute(each)
        db.close()

    vendor("CREATE TABLE kept AS SELECT * FROM pieces", "DELETE FROM pieces WHERE length(data) > 100000")
    for _ in range(2):
        report = world.project.collect(to)
        assert (report.files, report.aside) == ((), 1)
        (record,) = world.project.aside()
        assert record.item == world.task()
    vendor("DELETE FROM pieces", "INSERT INTO pieces SELECT * FROM kept", "DROP TABLE kept")
    report = world.project.collect(to)
    assert (report.answers, report.attachments, report.aside) == (1, 1, 0)
    assert world.project.aside() == []
    assert world.project.collect(to).files == ()


def test_refused_answers_are_listed_aside_and_never_collected(world: World) -> None:
    """With their verdict, contractor and task."""
    me, _ = world.worker()
    lease = opened(world, me)
    world.lab.revoke_contractor("ada")
    me.submit(lease, "too late")
    assert world.project.collect(world.folder / "answers").answers == 0
    (record,) = world.project.aside()
    assert (record.reason, record.contractor, record.item, record.lease_id) == ("revoked", "ada", world.task(), lease)
    assert list((world.folder / "answers").iterdir()) == []


def test_what_is_there_already_is_never_overwritten(world: World) -> None:
    """Another file of the next name is passed over; one that came between is an error, and nothing is lost."""
    me, _ = world.worker()
    lease = opened(world, me)
    to = world.folder / "answers"
    to.mkdir()
    (to / "answers-0001.jsonl").write_text("another client's")
    me.submit(lease, "one")
    report = world.project.collect(to)
    assert [each.name for each in report.files] == ["answers-0002.jsonl"]
    assert (to / "answers-0001.jsonl").read_text() == "another client's"


def test_C1_an_unfinished_collection_is_finished_first_into_its_own_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the write, or between write and mark: the next run, elsewhere, gives no answer twice."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.submit(lease, "first")
    first, second = world.folder / "first", world.folder / "second"

    def full(*_: Any, **__: Any) -> None:
        raise KeystoreError("no space left")

    monkeypatch.setattr(collecting, "write_private", full, raising=True)
    with pytest.raises(OutputError):
        world.project.collect(first)
    assert list(first.iterdir()) == []
    monkeypatch.undo()
    me.submit(lease, "second")
    report = world.project.collect(second)
    assert report.files == (first / "answers-0001.jsonl", second / "answers-0002.jsonl")
    assert [[each["answer"] for each in lines(path)] for path in report.files] == [["first"], ["second"]]
    with world.lab.database.transaction():
        world.lab.database.execute("UPDATE collections SET done = 0")
    before = [path.stat().st_ino for path in report.files]
    assert world.project.collect(second).files == report.files
    assert [path.stat().st_ino for path in report.files] == before
    assert all(row[-1] == 1 for row in collected(world))


def test_a_collection_can_be_written_again_elsewhere(world: World) -> None:
    """The same bytes, without counting as collected twice; of an unknown number nothing is written."""
    me, _ = world.worker()
    me.submit(opened(world, me), b"\0")
    (first,) = world.project.collect(world.folder / "first").files
    before = dump(world.client_db)
    (again,) = world.project.collect_again(1, world.folder / "again").files
    assert again.read_bytes() == first.read_bytes()
    assert (again.parent / lines(again)[0]["file"]).read_bytes() == b"\0"
    assert dump(world.client_db) == before
    with pytest.raises(ProjectError):
        world.project.collect_again(2, world.folder / "other")
    assert not (world.folder / "other").exists()


def test_G7_each_project_collects_its_own(world: World) -> None:
    """And a format that there is not writes nothing."""
    me, _ = world.worker()
    me.submit(opened(world, me), "one")
    other = world.lab.create_project("other")
    assert other.collect(world.folder / "other").answers == 0
    with pytest.raises(FormatError):
        world.project.collect(world.folder / "answers", format="csv")
    assert not (world.folder / "answers").exists()
    assert world.project.collect(world.folder / "answers").answers == 1


def worker(world: World, folder: Path, calls: int) -> subprocess.CompletedProcess[str]:
    """Collect in a process that dies at its N-th call."""
    command = [sys.executable, "-m", "tests.client.collect_worker", str(world.home), str(folder), str(calls)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_C1_killed_at_any_step_each_answer_stands_in_one_finished_file_once(world: World) -> None:
    """Runs that die at ever other steps, with answers of all sorts between them; the last one finishes."""
    me, _ = world.worker()
    leases = {}
    for name in ("one", "two", "three"):
        leases[name] = opened(world, me, name)
        world.issuer().answer()
    to = world.folder / "answers"
    for lease in leases.values():
        me.submit(lease, "first")
        me.submit(lease, b"\0first")
    calls = int(worker(world, world.folder / "measured", 10**6).stdout)
    assert calls > 30
    steps, sent = random.Random(7), 6
    killed = 0
    for number in range(10):
        lease = leases[steps.choice(sorted(leases))]
        answer = f"answer {number}"
        me.submit(lease, answer if steps.random() < 0.7 else answer.encode())
        sent += 1
        ended = worker(world, to, steps.randrange(2, calls))
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    assert killed > 3
    assert worker(world, to, 10**6).returncode == 0
    found = []
    for folder in (world.folder / "measured", to):
        for path in folder.glob("*.jsonl"):
            found += lines(path)
            assert all((folder / line["file"]).is_file() for line in lines(path) if line["file"])
    keys = [(line["lease"], line["sequence"]) for line in found]
    assert len(keys) == len(set(keys)) == sent
    assert not [path for path in to.rglob("*") if path.name.endswith(".tmp")]
    assert all(row[-1] == 1 for row in collected(world))
