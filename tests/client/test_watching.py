"""What an issuer's watchers are told: from the ledger, all of it, in ids only, whatever fails meanwhile."""

import errno
import json
import os
import re
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.client import Event, Limits, Watch, event_file, metrics, watching
from labelvault.client.deliveries import Deliveries
from labelvault.client.events import event_of
from labelvault.client.following import Mark, read_mark, write_mark
from labelvault.errors import ClockError, LedgerError, OutputError, StoreError
from labelvault.issuer.log import Log
from labelvault.issuer.service import Issuer
from labelvault.keys.files import write_all
from labelvault.ledger.entries import Denied
from labelvault.ledger.tree import leaf_hash
from labelvault.wire.messages import DENIAL_CODES
from tests.world import GOLD, GUIDELINE, RUBRIC, TASK, World, write_file

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "events.schema.json").read_text(encoding="utf-8"))
SECRET = re.compile(rb'"ada"|eval|w1|how\.md|vault\.db')


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits the part of JSON Schema that the events' schema uses; anything else in it is an error."""
    assert schema.keys() <= {"type", "pattern", "minimum", "enum", "const", "anyOf"}, schema
    kinds = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
    return (
        ("type" not in schema or type(value) is kinds[schema["type"]])
        and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
        and ("minimum" not in schema or value >= schema["minimum"])
        and ("enum" not in schema or value in schema["enum"])
        and ("const" not in schema or value == schema["const"])
        and ("anyOf" not in schema or any(fits(value, each) for each in schema["anyOf"]))
    )


def checked(line: bytes) -> dict[str, Any]:
    """One event that fits the schema of its kind, with all fields and no other."""
    event = json.loads(line)
    (shape,) = [each for each in SCHEMA["oneOf"] if each["properties"]["event"]["const"] == event["event"]]
    assert event.keys() == set(shape["required"]) == shape["properties"].keys()
    for name, value in event.items():
        assert fits(value, shape["properties"][name]), (name, value)
    return event


def told(path: Path) -> list[dict[str, Any]]:
    """The events of a file, each checked; nothing in it is a name or a text."""
    data = path.read_bytes()
    assert not SECRET.search(data)
    for canary in (GUIDELINE, RUBRIC, GOLD, TASK):
        assert canary.split()[0].encode() not in data
    return [checked(line) for line in data.splitlines()]


def kinds(path: Path) -> list[str]:
    return [event["event"] for event in told(path)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def watch(world: World, issuer: Issuer, log: Path | None = None, **more: Any) -> Watch:
    return Watch(world.lab, issuer, events=log, clock=world.clock, **more)


def decoy(world: World) -> bytes:
    """Plant one and seal it."""
    world.project.plant_honey(1)
    write_file(world.source, "guidelines/more.md", "more of it")
    world.project.seal(world.source)
    return world.project.honey()[0].item


def test_every_kind_of_entry_that_counts_is_one_line_of_ids(world: World, log: Path) -> None:
    """Release, denial, caps, alarms, freeze, revocation and status; each fits the published schema, nothing names."""
    item = decoy(world)
    me, joined = world.worker(limits=Limits(max_open=1, max_total=2, per_hour=50, lease_ttl_s=3600))
    issuer = world.lab.issuer(freeze_on_alarm=True)
    with issuer:
        watched = watch(world, issuer, log)
        first = world.ask(me, joined, world.task())
        issuer.handle(first.data)
        issuer.handle(world.ask(me, joined, world.task("two")).data)
        issuer.handle(world.receipt(me, first))
        issuer.handle(world.ask(me, joined, bytes(16)).data)
        issuer.handle(world.ask(me, joined, world.id_of("gold")).data)
        issuer.handle(world.ask(me, joined, item).data)
        issuer.answer()
        world.lab.revoke_contractor("ada")
        watched.turn()
    events = told(log)
    assert [event["event"] for event in events] == [
        "release", "cap-reached", "denial", "denial", "alarm", "denial", "alarm", "freeze", "revoke", "status",
    ]  # fmt: skip
    release, cap, denial, _, gold, _, honey, freeze, revoke, status = events
    assert (release["lease"], release["task"], release["items"]) == (first.hash.hex(), world.task().hex(), 4)
    assert {event["contractor"] for event in (release, cap, denial, gold, honey)} == {me.public_key.hex()}
    assert {event["client"] for event in events} == {world.lab.client_id.hex()}
    assert cap["cap"] == "max_open"
    assert denial["code"] == "unknown"
    assert (gold["about"], honey["about"], honey["item"]) == ("not-a-task", "honey", item.hex())
    assert (freeze["project"], freeze["frozen"]) == (world.project.project_id.hex(), True)
    assert (revoke["what"], revoke["id"]) == ("contractor", me.public_key.hex())
    assert (status["revoked"], status["frozen"]) == (0, 1)
    numbers = [event["entry"] for event in events if "entry" in event]
    assert numbers == sorted(set(numbers))


@given(st.sampled_from(sorted(DENIAL_CODES)), st.binary(min_size=16, max_size=16), st.integers(0, 2**40))
def test_every_denial_code_fits_the_schema(code: str, project: bytes, number: int) -> None:
    """None is missing in it, and those of limits say which."""
    entry = Denied(datetime(2026, 7, 1, 9, tzinfo=UTC), bytes(32), bytes(32), project, code)
    event = event_of(entry, bytes(32), bytes(16), number)
    assert event is not None
    found = checked(json.dumps(event.flat()).encode())
    assert (found["event"] == "cap-reached") == code.startswith("limit-")


def test_nothing_is_missed_between_two_issuers_and_nothing_comes_twice(world: World, log: Path) -> None:
    """What other processes did while nobody watched is told first; a new file begins at the end."""
    me, joined = world.worker()
    with world.lab.issuer() as issuer:
        issuer.handle(world.ask(me, joined, world.task()).data)
        watched = watch(world, issuer, log)
        assert told(log) == []
        issuer.handle(world.ask(me, joined, bytes(16)).data)
        watched.turn()
        watched.turn()
        assert kinds(log) == ["denial"]
        watched.close()
    world.lab.freeze("eval")
    world.lab.unfreeze("eval")
    with world.lab.issuer() as issuer:
        again = watch(world, issuer, log)
        assert kinds(log) == ["denial", "freeze", "freeze"]
        again.close()
    assert kinds(log) == ["denial", "freeze", "freeze"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.with_name("events.jsonl.position").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_rotated_away_gets_nothing_more(world: World, log: Path) -> None:
    """Renamed between two writes: the next goes into a new file, 0600 whatever the umask."""
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log)
        world.lab.freeze("eval")
        watched.turn()
        log.rename(log.with_name("events.jsonl.1"))
        world.lab.unfreeze("eval")
        watched.turn()
    assert [event["frozen"] for event in told(log.with_name("events.jsonl.1"))] == [True]
    assert [event["frozen"] for event in told(log)] == [False]
    assert log.stat().st_mode & 0o777 == 0o600


def test_C3_a_full_disk_loses_no_event_and_stops_nobody(world: World, log: Path, monkeypatch) -> None:
    """Said once; the line that was cut short is ended, and all events come once there is room."""
    faults: list[str] = []
    real = write_all

    def full(descriptor: int, data: bytes) -> None:
        real(descriptor, data[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log, on_fault=faults.append)
        with monkeypatch.context() as patched:
            patched.setattr(event_file, "write_all", full)
            world.lab.freeze("eval")
            watched.turn()
            watched.turn()
        world.lab.unfreeze("eval")
        watched.turn()
    assert len(faults) == 1
    assert "No space left" in faults[0]
    *torn, freeze, thaw = log.read_bytes().splitlines()
    assert all(line == freeze[: len(line)] for line in torn)
    assert [checked(line)["frozen"] for line in (freeze, thaw)] == [True, False]


def copied(world: World) -> Path:
    """A copy of client.db as it is now."""
    copy = world.folder / "old.db"
    with closing(sqlite3.connect(world.client_db)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def set_back(world: World, copy: Path) -> None:
    """Put the copy in place of client.db, by hand, and open it."""
    world.lab.close()
    for path in world.home.glob("client.db*"):
        path.unlink()
    shutil.copy(copy, world.client_db)
    world.lab = world.open_client()


def test_L2_a_ledger_that_was_set_back_is_a_fork(world: World, log: Path) -> None:
    """An older client.db in place of the one that was told of: said, and refused from then on."""
    copy = copied(world)
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log)
        world.lab.freeze("eval")
        watched.close()
    set_back(world, copy)
    with world.lab.issuer() as issuer:
        for _ in range(2):
            with pytest.raises(LedgerError):
                watch(world, issuer, log)
    assert kinds(log) == ["freeze", "fork", "fork"]


@pytest.mark.parametrize("more", [1, 2])
def test_L2_a_ledger_that_grew_another_way_is_a_fork(world: World, log: Path, more: int) -> None:
    """Set back and gone on from there, as large as before or larger: every signature holds, the past does not."""
    copy = copied(world)
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log)
        world.lab.freeze("eval")
        watched.close()
    set_back(world, copy)
    world.clock.advance(timedelta(seconds=1))
    for _ in range(more):
        world.lab.freeze("eval")
    with world.lab.issuer() as issuer, pytest.raises(LedgerError):
        watch(world, issuer, log)
    assert kinds(log) == ["freeze", "fork"]


@pytest.mark.parametrize("how", ["entry", "entry and leaf", "checkpoint", "node"])
def test_L2_a_ledger_that_was_rewritten_is_a_fork(world: World, log: Path, how: str) -> None:
    """Another entry, another signature, another tree: noticed as soon as something is read on."""
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log)
        world.lab.freeze("eval")
        if (size := len(world.lab.ledger_entries())) % 2 == 0:
            world.lab.unfreeze("eval")
            size += 1
        # The last entry's leaf is now a whole part of the tree by itself.
        with world.lab.database.transaction():
            if how == "entry and leaf":
                (first,) = world.lab.database.row("SELECT entry FROM ledger_entries WHERE number = 0") or ()
                world.lab.database.execute("UPDATE ledger_entries SET entry = ? WHERE number = ?", first, size - 1)
                world.lab.database.execute(
                    "UPDATE ledger_nodes SET hash = ? WHERE level = 0 AND position = ?", leaf_hash(first), size - 1
                )
            elif how == "entry":
                world.lab.database.execute(
                    "UPDATE ledger_entries SET entry = (SELECT entry FROM ledger_entries WHERE number = 0)"
                    " WHERE number = ?",
                    size - 1,
                )
            elif how == "checkpoint":
                world.lab.database.execute("UPDATE ledger_checkpoints SET note = replace(note, '— ', '— x')")
            else:
                world.lab.database.execute("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 0")
        with pytest.raises(LedgerError):
            watched.turn()
        watched.close()
    assert kinds(log) == ["fork"]


def test_a_new_epoch_is_told_from_its_beginning(world: World, log: Path) -> None:
    """After a restore the mark is of another ledger; that is no fork."""
    with world.lab.issuer() as issuer:
        watch(world, issuer, log).close()
        position = log.with_name("events.jsonl.position")
        write_mark(position, Mark(bytes(16), 10_000, bytes(32)))
        world.lab.freeze("eval")
        watch(world, issuer, log).close()
    assert kinds(log) == ["freeze"]
    mark = read_mark(position)
    assert mark is not None
    assert (mark.epoch, mark.size) == (world.lab.certificate.message.epoch, len(world.lab.ledger_entries()))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"1", b'{"epoch": "00", "size": 1, "root": ""}', b"\xff" * 10, b'{"epoch": 1, "size": 1}',
     b'{"epoch": "' + b"0" * 32 + b'", "size": true, "root": "' + b"0" * 64 + b'"}', b"[" * 4000],
)  # fmt: skip
def test_a_position_that_is_none_is_refused_and_kept(world: World, log: Path, content: bytes) -> None:
    """Guessing would miss events or tell all of them again."""
    position = log.with_name("events.jsonl.position")
    position.write_bytes(content)
    position.chmod(0o600)
    with world.lab.issuer() as issuer, pytest.raises(OutputError):
        watch(world, issuer, log)
    assert position.read_bytes() == content
    assert not log.exists() or log.read_bytes() == b""


@pytest.mark.parametrize("what", ["symlink", "directory", "fifo", "readable", "no folder"])
def test_X1_an_event_log_that_is_no_private_file_is_refused(world: World, log: Path, what: str) -> None:
    """Nothing is written anywhere, and an issuer doesn't start."""
    target = log.with_name("target")
    if what == "symlink":
        target.write_bytes(b"")
        log.symlink_to(target)
    elif what == "directory":
        log.mkdir()
    elif what == "fifo":
        os.mkfifo(log)
    elif what == "readable":
        log.write_bytes(b"before\n")
        log.chmod(0o644)
    else:
        log = log.with_name("none") / "events.jsonl"
    with world.lab.issuer() as issuer, pytest.raises(OutputError) as refused:
        watch(world, issuer, log)
    assert (what == "symlink") == ("another --event-log FILE" in str(refused.value.next_step))
    assert not target.exists() or target.read_bytes() == b""
    assert what != "readable" or log.read_bytes() == b"before\n"


class Receiver:
    """Takes deliveries, or fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.got: list[Event] = []

    def __call__(self, events: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise OutputError("nobody there")
        self.got += events


def settle(watched: Watch) -> None:
    """Take turns until no delivery is under way."""
    deliveries = watched._deliveries
    assert deliveries is not None
    watched.turn()
    while deliveries.under_way:
        deliveries.wait(30)
        watched.turn()


def test_alarms_are_delivered_in_the_end_and_other_events_are_not(world: World, log: Path, monkeypatch) -> None:
    """A failure is an event, and is tried again later, also by the next issuer, which goes on where it was."""
    item = decoy(world)
    me, joined = world.worker()
    receiver = Receiver(failures=2)
    faults: list[str] = []
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log, post=receiver, on_fault=faults.append)
        issuer.handle(world.ask(me, joined, world.task()).data)
        issuer.handle(world.ask(me, joined, item).data)
        settle(watched)
        assert (receiver.got, receiver.failures) == ([], 1)
        now_s[0] += 29
        settle(watched)
        assert receiver.failures == 1
        now_s[0] += 1
        settle(watched)
        assert receiver.failures == 0
        # Twice as long by now.
        now_s[0] += 59
        settle(watched)
        assert receiver.got == []
        watched.close()
    assert kinds(log) == ["release", "denial", "alarm", "webhook", "webhook"]
    with world.lab.issuer() as issuer:
        watch(world, issuer, log, post=receiver, on_fault=faults.append).close()
    assert [event.kind for event in receiver.got] == ["alarm"]
    assert receiver.got[0].facts["item"] == item.hex()
    assert len(faults) == 1
    assert (world.home / "webhook.position").stat().st_mode & 0o777 == 0o600


def test_a_receiver_that_is_slow_holds_nothing_up(world: World, log: Path) -> None:
    """Turns go on while a delivery hangs, other listeners are told, and nothing is delivered twice."""
    item = decoy(world)
    me, joined = world.worker()
    go, got = threading.Event(), []

    def slow(events: Any) -> None:
        assert go.wait(60)
        got.extend(events)

    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log, post=slow)
        issuer.handle(world.ask(me, joined, item).data)
        watched.turn()
        issuer.handle(world.ask(me, joined, item).data)
        for _ in range(3):
            watched.turn()
        assert kinds(log) == ["denial", "alarm"] * 2
        assert got == []
        go.set()
        watched.close()
    assert [event.facts["entry"] for event in got] == [event["entry"] for event in told(log) if "about" in event]


def test_many_alarms_go_in_bounded_deliveries(world: World, monkeypatch) -> None:
    """None has more than its bound, and together they are all, once."""
    monkeypatch.setattr(watching, "MAX_POSTED", 5)
    item = decoy(world)
    me, joined = world.worker()
    sizes: list[int] = []
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, post=lambda events: sizes.append(len(events)))
        for _ in range(10):
            issuer.handle(world.ask(me, joined, item).data)
        settle(watched)
    assert sum(sizes) == 10
    assert max(sizes) <= 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_delivery_that_breaks_off_is_none() -> None:
    """Whatever its thread ends with: the alarm is given again, and delivered then."""
    got: list[Event] = []
    broken, failures = [ValueError("not foreseen")], []

    def post(events: Any) -> None:
        if broken:
            raise broken.pop()
        got.extend(events)

    deliveries = Deliveries(post, lambda: failures.append(1))
    alarm = Event("alarm", datetime(2026, 5, 1, tzinfo=UTC), {})
    assert not deliveries.take([alarm])
    deliveries.wait(5)
    with pytest.raises(OutputError):
        deliveries.take([alarm])
    assert failures == [1]
    assert not deliveries.take([alarm])
    deliveries.wait(5)
    assert deliveries.take([alarm])
    assert got == [alarm]


def test_a_fork_is_delivered_at_once(world: World) -> None:
    """The issuer is about to end; whoever is on call hears why."""
    receiver = Receiver()
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, post=receiver)
        with world.lab.database.transaction():
            world.lab.database.execute("UPDATE ledger_checkpoints SET note = replace(note, '— ', '— x')")
        with pytest.raises(LedgerError):
            watched.turn()
        watched.close()
    assert [event.kind for event in receiver.got] == ["fork"]


def test_a_database_that_is_busy_is_read_in_the_next_turn(world: World, log: Path, monkeypatch) -> None:
    """Said, and nothing is lost; the issuer goes on."""
    faults: list[str] = []

    def busy(self: object) -> str:
        raise StoreError("client.db: database is locked")

    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log, on_fault=faults.append)
        world.lab.freeze("eval")
        with monkeypatch.context() as patched:
            patched.setattr(Log, "newest_checkpoint", busy)
            watched.turn()
        assert (told(log), faults) == ([], ["client.db: database is locked"])
        watched.close()
    assert kinds(log) == ["freeze"]


def samples(path: Path) -> dict[str, float]:
    """A metrics file as its collector reads it: each sample once, each metric announced once, before its samples."""
    found: dict[str, float] = {}
    announced: list[str] = []
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("# TYPE "):
            announced.append(line.split()[2])
        elif not line.startswith("# HELP "):
            parts = re.fullmatch(r'([a-z_]+\{(?:[a-z]+="[0-9a-z_-]+",?)+\}) ([0-9.e+-]+)', line)
            assert parts is not None, line
            name, value = parts.groups()
            assert name.partition("{")[0] == announced[-1]
            assert name not in found
            found[name] = float(value)
    assert len(announced) == len(set(announced))
    assert set(announced) <= metrics.METRICS.keys()
    return found


def test_numbers_are_those_of_the_ledger_with_ids_of_the_clients_own_as_labels(world: World, tmp_path: Path) -> None:
    """Counters by project and code, gauges of now; a project that only a request names can't grow the file."""
    item = decoy(world)
    me, joined = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3600))
    path = tmp_path / "labelvault.prom"
    with world.lab.issuer(freeze_on_alarm=True) as issuer:
        watched = watch(world, issuer, metrics=path)
        issuer.handle(world.ask(me, joined, world.task()).data)
        issuer.handle(world.ask(me, joined, world.task("two")).data)
        for number in range(3):
            issuer.handle(world.ask(me, joined, bytes(16), project=bytes([number]) * 16).data)
        issuer.handle(b"junk")
        issuer.handle(world.ask(me, joined, item).data)
        issuer.answer()
        watched.close()
    found = samples(path)
    client = f'client="{world.lab.client_id.hex()}"'
    project = f'{client},project="{world.project.project_id.hex()}"'
    assert found[f"labelvault_releases_total{{{project}}}"] == 1
    assert found[f'labelvault_denials_total{{{project},code="unknown"}}'] == 1
    assert found[f'labelvault_denials_total{{{client},project="other",code="unknown"}}'] == 3
    assert found[f'labelvault_caps_reached_total{{{project},cap="max_open"}}'] == 1
    assert found[f'labelvault_alarms_total{{{project},about="honey"}}'] == 1
    assert found[f"labelvault_open_leases{{{project}}}"] == 1
    assert found[f"labelvault_project_frozen{{{project}}}"] == 1
    assert found[f"labelvault_ledger_entries{{{client}}}"] == len(world.lab.ledger_entries())
    assert found[f"labelvault_issuer_up{{{client}}}"] == 0
    assert found[f"labelvault_vault_reachable{{{client}}}"] == 1
    assert found[f"labelvault_written_timestamp_seconds{{{client}}}"] == world.clock().timestamp()
    assert [each.name for each in tmp_path.glob("*labelvault.prom*")] == ["labelvault.prom"]


def test_C3_metrics_that_can_not_be_written_stay_as_they_were(world: World, tmp_path: Path, monkeypatch) -> None:
    """Said once; nothing half is left beside the file."""
    path = tmp_path / "labelvault.prom"
    faults: list[str] = []
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, metrics=path, on_fault=faults.append)
        before = path.read_bytes()

        def refused(self: Path, target: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", refused)
            watched.close()
            watched.close()
        assert path.read_bytes() == before
        assert len(faults) == 1
        watched.close()
    assert path.read_bytes() != before
    assert [each.name for each in tmp_path.glob("*labelvault.prom*")] == ["labelvault.prom"]


def test_an_issuer_that_runs_takes_a_turn_after_every_pass_and_every_failure(world: World, monkeypatch) -> None:
    """With whether the vault was reached, so that watchers hear of both."""
    turns: list[bool] = []
    stop = threading.Event()
    issuer = world.issuer()
    real = issuer.answer

    def sometimes(**options: Any) -> Any:
        if len(turns) == 1:
            raise StoreError("away")
        return real()

    monkeypatch.setattr(issuer, "answer", sometimes)

    def on_turn(reached: bool) -> None:
        turns.append(reached)
        if len(turns) == 3:
            stop.set()

    issuer.run(stop, poll_s=0.001, on_away=lambda error: None, on_turn=on_turn)
    assert turns == [True, False, True]
    assert issuer.ahead.posted is not None


def test_a_clock_that_runs_behind_is_told_on_the_way_out(world: World, log: Path) -> None:
    """With the time that was reached already."""
    with world.lab.issuer() as issuer:
        watched = watch(world, issuer, log)
        issuer.ahead.status()
        reached = world.clock()
        world.clock.advance(-timedelta(days=1))
        with pytest.raises(ClockError) as behind:
            issuer.ahead.status()
        watched.clock_failed(behind.value)
        watched.close()
    (event,) = told(log)
    assert event["event"] == "clock"
    assert event["reached"] == reached.isoformat(timespec="milliseconds").replace("+00:00", "Z")
