"""Alarms: who asks for a decoy, or for anything that is in no queue, is answered as always, and is on record."""

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import Any

import pytest

from labelvault.client import PassphraseRoot, Scope, restore
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.errors import IssueRefusedError, RelayError
from labelvault.issuer.passes import AnswerReport
from labelvault.ledger.entries import Alarmed, Denied, Frozen, Released
from labelvault.wire.ahead import Status
from labelvault.wire.frame import open_frame, parse_frame, sign_message
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.ids import issuer_mailbox, status_mailbox
from labelvault.wire.messages import Denial, Lease
from labelvault.wire.schema import decode_record
from tests.issuer.test_processes import race, racers
from tests.issuer.worker import DURABLE_FROM, STEPS
from tests.world import DAY, MINUTE, PASSPHRASE, World, denial_code, dump, entries, rows, write_file


def decoy(world: World) -> bytes:
    """Plant one, and have it sealed with a new guideline."""
    world.project.plant_honey(1)
    write_file(world.source, "guidelines/more.md", "more of it")
    assert world.project.seal(world.source).honey == 1
    (found,) = world.project.honey()
    return found.item


def outcome(answer: bytes | None) -> tuple[str, bytes]:
    """What a contractor learns from a denial, but for the request that it answers."""
    assert answer is not None
    denial = decode_record(Denial, parse_frame(answer).body)
    return denial.code, denial.project


@pytest.mark.parametrize("kind", ["honey", "guideline", "rubric", "gold", "attachment"])
def test_what_is_in_no_queue_raises_an_alarm_and_the_common_denial(world: World, kind: str) -> None:
    """Denial and alarm stand side by side in the ledger; the answer is that of an id that does not exist."""
    me, joined = world.worker()
    item = decoy(world) if kind == "honey" else world.id_of(kind)
    issuer = world.issuer()
    nothing = issuer.handle(world.ask(me, joined, bytes(16)).data)
    assert entries(world, Alarmed) == []
    request = world.ask(me, joined, item)
    answer = issuer.handle(request.data)
    assert outcome(answer) == outcome(nothing) == ("unknown", joined.grant.message.project)
    assert len(answer or b"") == len(nothing or b"")
    denied, alarmed = world.lab.ledger_entries()[-2:]
    assert isinstance(denied, Denied)
    assert denied.request_hash == request.hash
    about = "honey" if kind == "honey" else "not-a-task"
    assert alarmed == Alarmed(world.clock(), request.hash, me.public_key, joined.grant.message.project, item, about)
    assert not world.project.frozen
    world.lab.verify_ledger()
    # The same bytes again are answered alike, and add nothing.
    before = dump(world.client_db)
    assert issuer.handle(request.data) == answer
    assert dump(world.client_db) == before


def test_no_alarm_where_a_request_says_nothing_of_who_asks(world: World) -> None:
    """Real tasks out of scope, other projects, foreign grants and wrong parties are denied, and raise none."""
    item = decoy(world)
    me, joined = world.worker()
    eve, hers = world.worker("eve", scope=Scope(batches=["w1"]))
    issuer = world.issuer()
    other = world.lab.create_project("other", floor_bytes=256)
    folder = world.folder / "second"
    write_file(folder, "tasks/w1.jsonl", rows("one"))
    write_file(folder, "guidelines/how.md", "another")
    other.seal(folder)
    quiet = [
        world.ask(me, joined, bytes(16)),
        world.ask(me, joined, world.task(project=other)),
        world.ask(me, joined, other.items("guideline")[0].item),
        world.ask(me, joined, item, project=other.project_id),
        world.ask(me, joined, other.items("guideline")[0].item, project=other.project_id),
        world.ask(eve, hers, world.task("four")),
        world.ask(me, joined, item, grant_hash=bytes(32)),
        world.ask(eve, hers, item, grant_hash=joined.grant.hash),
    ]
    assert [denial_code(issuer.handle(request.data)) for request in quiet] == ["unknown"] * len(quiet)
    assert entries(world, Alarmed) == []
    assert len(entries(world, Denied)) == len(quiet)


def test_no_alarm_for_what_was_never_sealed_to_its_end(world: World, monkeypatch) -> None:
    """A decoy that a crash cut off is there for nobody; the next run seals it, and then it counts."""
    world.project.plant_honey(1)
    write_file(world.source, "guidelines/more.md", "more of it")

    def away(items: object) -> int:
        raise RelayError("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.lab.relay(), "put_items", away)
        with pytest.raises(RelayError):
            world.project.seal(world.source)
    me, joined = world.worker()
    (item,) = [each.item for each in world.project.honey()]
    assert denial_code(world.issuer().handle(world.ask(me, joined, item).data)) == "unknown"
    assert entries(world, Alarmed) == []
    world.project.seal(world.source)
    world.issuer().handle(world.ask(me, joined, item).data)
    assert len(entries(world, Alarmed)) == 1


def test_R8_grants_of_before_a_restore_raise_none_and_new_ones_do(world: World) -> None:
    """A grant that names the issuer of before says nothing of who asks now; decoys come back with the catalog."""
    item = decoy(world)
    me, joined = world.worker()
    world.lab.backup(world.folder / "monday.backup")
    home, keystore = world.folder / "again", world.home / "root.keystore"
    restore(home, PassphraseRoot(PASSPHRASE), world.folder / "monday.backup", keystore=keystore, clock=world.clock)
    lab = world.open_client("again")
    world.clock.advance(5 * MINUTE)
    epoch = lab.certificate.message.epoch
    with lab.issuer() as issuer:
        old = world.ask(me, joined, item, epoch=epoch)
        assert denial_code(issuer.handle(old.data)) == "unknown"
        assert not [entry for entry in lab.ledger_entries() if isinstance(entry, Alarmed)]
        again = world.join(me, "ada", lab=lab, project=lab.project("eval"))
        issuer.handle(world.ask(me, again, item).data)
    assert [entry.item for entry in lab.ledger_entries() if isinstance(entry, Alarmed)] == [item]


@pytest.mark.parametrize("why", ["stale", "not-yet-valid", "expired", "revoked", "frozen", "replayed", "epoch"])
def test_no_alarm_where_something_else_refused_first(world: World, why: str) -> None:
    """What is refused before the item is looked at says its own code; the spec says that there is no alarm."""
    item = decoy(world)
    me, joined = world.worker()
    issuer = world.issuer()
    fields: dict[str, Any] = {}
    if why == "stale":
        fields = {"at": world.clock() + 5 * MINUTE, "expires_at": world.clock() + 8 * MINUTE}
    elif why == "not-yet-valid":
        later = world.project.grant(
            "ada",
            Scope(batches=world.project.batches()),
            not_before=world.clock() + MINUTE,
            expires_at=world.clock() + DAY,
            limits=joined.grant.message.limits,
        )
        row = world.lab.database.row("SELECT hash FROM grants WHERE grant_id = ?", later.grant_id)
        assert row is not None
        fields = {"grant_hash": bytes(row[0])}
    elif why == "expired":
        world.clock.advance(DAY)
    elif why == "revoked":
        world.lab.revoke_contractor("ada")
    elif why == "frozen":
        world.lab.freeze("eval")
    elif why == "epoch":
        fields = {"epoch": bytes(16)}
    key = OneTimeKey.generate()
    if why == "replayed":
        issuer.handle(world.ask(me, joined, world.task(), key=key).data)
    assert denial_code(issuer.handle(world.ask(me, joined, item, key=key, **fields).data)) == why
    assert entries(world, Alarmed) == []


def test_F14_a_desk_needs_no_approval_to_raise_an_alarm(world: World) -> None:
    """Scope is looked at before presence, so the thief at a desk who tries without its device is noticed too."""
    item = decoy(world)
    desk, _, joined = world.desk()
    assert denial_code(world.issuer().handle(world.ask(desk, joined, item).data)) == "unknown"
    assert [entry.about for entry in entries(world, Alarmed)] == ["honey"]


def test_L6_strangers_raise_no_alarm(world: World) -> None:
    """A request of a key that was never enrolled is junk, whatever it names."""
    item = decoy(world)
    me, joined = world.worker()
    before = dump(world.client_db)
    request = sign_message(world.ask(me, joined, item).message, SigningKey.generate())
    assert world.issuer().handle(request.data) is None
    assert dump(world.client_db) == before


def test_a_decoy_freezes_its_project_where_that_is_wanted(world: World) -> None:
    """Denial, alarm and freeze are one transaction; the next pass says it at the vault, and live leases' bytes stop."""
    item = decoy(world)
    me, joined = world.worker()
    issuer = world.lab.issuer(freeze_on_alarm=True)
    with issuer:
        lease = world.ask(me, joined, world.task())
        assert parse_frame(issuer.handle(lease.data) or b"").type == Lease.TYPE
        assert denial_code(issuer.handle(world.ask(me, joined, world.id_of("guideline")).data)) == "unknown"
        assert not world.project.frozen
        world.relay().post(issuer_mailbox(world.lab.client_id), world.ask(me, joined, item).data)
        report = issuer.answer()
        assert report.alarms == {"honey": 1}
        assert world.project.frozen
        assert [type(entry) for entry in world.lab.ledger_entries()[-3:]] == [Denied, Alarmed, Frozen]
        assert denial_code(issuer.handle(world.ask(me, joined, world.task("two")).data)) == "frozen"
        assert denial_code(issuer.handle(lease.data)) == "replayed"
    ((_, posted),) = world.relay().fetch(status_mailbox(world.lab.client_id), after=0, limit=10)
    status = open_frame(posted, Status, world.lab.certificate.message.issuer).message
    assert status.frozen == (world.project.project_id,)
    # Thawed by the client, everything goes on; the ledger keeps what was.
    world.lab.unfreeze("eval")
    assert parse_frame(world.issuer().handle(world.ask(me, joined, world.task("two")).data) or b"").type == Lease.TYPE


def test_a_status_that_can_not_be_posted_is_posted_by_the_next_pass(world: World, monkeypatch) -> None:
    """The freeze holds at once, and the pass ends as ever; nothing waits for a vault that is away."""
    item = decoy(world)
    me, joined = world.worker()
    with world.lab.issuer(freeze_on_alarm=True) as issuer:
        issuer.handle(world.ask(me, joined, item).data)
        assert world.project.frozen

        def away() -> None:
            raise RelayError("away")

        with monkeypatch.context() as patched:
            patched.setattr(issuer.ahead, "post_status", away)
            assert issuer.answer().undelivered == 0
        assert world.relay().fetch(status_mailbox(world.lab.client_id), after=0, limit=10) == []
        issuer.answer()
        assert len(world.relay().fetch(status_mailbox(world.lab.client_id), after=0, limit=10)) == 1


def test_issuing_ahead_raises_no_alarm(world: World) -> None:
    """There it is the client itself who names items; it is told, and nothing is recorded."""
    item = decoy(world)
    me, joined = world.worker()
    before = len(world.lab.ledger_entries())
    with pytest.raises(IssueRefusedError) as refused:
        world.issuer().issue(joined.grant.message.grant_id, [item], unpack_frames(me.ahead.make_prekeys(1)))
    assert refused.value.code == "unknown"
    assert len(world.lab.ledger_entries()) == before


class _Killed(BaseException):
    """Stands for a process that ends at once."""


@contextmanager
def dying(issuer, owner: str, name: str, call: int):
    """Let the n-th call of something be the last thing that happens."""
    target = getattr(issuer, owner)
    real, seen = getattr(target, name), []

    def broken(*arguments, **options):
        result = real(*arguments, **options)
        seen.append(name)
        if len(seen) == call:
            raise _Killed
        return result

    setattr(target, name, broken)
    try:
        with pytest.raises(_Killed):
            yield
    finally:
        setattr(target, name, real)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [("_log", "append", 1), ("_log", "append", 2), ("_log", "append", 3), ("_log", "sign", 1)],
)
def test_C1_no_end_comes_between_denial_alarm_and_freeze(world: World, owner: str, name: str, call: int) -> None:
    """Ended after any of them, none is there; handled again, all are, once."""
    item = decoy(world)
    me, joined = world.worker()
    request = world.ask(me, joined, item)
    before = dump(world.client_db)
    issuer = world.lab.issuer(freeze_on_alarm=True)
    with dying(issuer, owner, name, call):
        issuer.handle(request.data)
    issuer.close()
    assert dump(world.client_db) == before
    with world.lab.issuer(freeze_on_alarm=True) as again:
        assert denial_code(again.handle(request.data)) == "unknown"
    found = [len(entries(world, kind)) for kind in (Denied, Alarmed, Frozen)]
    assert found == [1, 1, 1]


@pytest.mark.parametrize(
    "step", ["after entry", "after checkpoint", "before commit", "after commit", "before post", "after post"]
)
def test_C1_killed_at_any_step_denial_alarm_and_freeze_are_one(world: World, step: str) -> None:
    """By SIGKILL in a process of its own: all or none, and the next pass has all, once, and the one answer."""
    item = decoy(world)
    me, joined = world.worker()
    world.relay().post(issuer_mailbox(world.lab.client_id), world.ask(me, joined, item).data)
    command = [sys.executable, "-m", "tests.issuer.worker", str(world.folder), "die-freezing", step]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == -signal.SIGKILL
    durable = list(STEPS).index(step) >= DURABLE_FROM
    found = [len(entries(world, kind)) for kind in (Denied, Alarmed, Frozen)]
    assert found == [int(durable)] * 3
    assert world.project.frozen is durable
    with world.lab.issuer(freeze_on_alarm=True) as again:
        again.answer()
    assert [len(entries(world, kind)) for kind in (Denied, Alarmed, Frozen)] == [1, 1, 1]
    assert world.project.frozen
    # Also where the one that froze it came to no status any more.
    assert len(world.relay().fetch(status_mailbox(world.lab.client_id), after=0, limit=10)) == 1
    world.lab.verify_ledger()


def test_a_freeze_and_releases_in_flight_have_one_order(world: World) -> None:
    """Three issuers race, one with a decoy among its requests: no release stands after the freeze in the ledger."""
    item = decoy(world)
    me, joined = world.worker()
    work = [[world.ask(me, joined, world.task()) for _ in range(6)] for _ in range(3)]
    work[1][2] = world.ask(me, joined, item)
    with racers(world, 3, "race-freezing") as processes:
        race(processes, work)
    order = [entry for entry in world.lab.ledger_entries() if isinstance(entry, Released | Frozen)]
    (at,) = [place for place, entry in enumerate(order) if isinstance(entry, Frozen)]
    assert at == len(order) - 1
    assert len(entries(world, Alarmed)) == 1


def test_service_reports_alarms_in_the_pass_that_raised_them(world: World) -> None:
    """A report counts them by what was asked for, apart from the denials that they are too."""
    item = decoy(world)
    me, joined = world.worker()
    mailbox = issuer_mailbox(world.lab.client_id)
    for asked in (item, item, world.id_of("gold"), bytes(16)):
        world.relay().post(mailbox, world.ask(me, joined, asked).data)
    seen: list[AnswerReport] = []
    stop = threading.Event()

    def on_pass(report: AnswerReport) -> None:
        seen.append(report)
        stop.set()

    world.issuer().run(stop, poll_s=0.001, on_pass=on_pass)
    assert seen[0].alarms == {"honey": 2, "not-a-task": 1}
    assert seen[0].denied == {"unknown": 4}
