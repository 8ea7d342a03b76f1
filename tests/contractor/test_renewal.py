"""Renewal: the task stays open, only the deadline moves, and no schedule of renewals gets more than one live lease."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.client import Limits
from labelvault.contractor import Approving, Contractor, Opening, Task
from labelvault.contractor.clock import Deadline, elapsed_s
from labelvault.contractor.worker import Worker
from labelvault.crypto.hpke import SEED_BYTES, OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    DeniedError,
    LabelVaultError,
    LeaseClosedError,
    LeaseError,
    LeaseExpiredError,
    RequestTimeoutError,
)
from labelvault.ledger.entries import ReceiptEntry, Released
from labelvault.story.simulator.memory import bytes_held
from labelvault.wire.frame import Signed, open_frame, parse_frame
from labelvault.wire.messages import LeaseOuter, OpenRequest
from labelvault.wire.schema import decode_record
from tests.contractor.test_begin import shown
from tests.world import DAY, MINUTE, TASK, World, wait_gone, write_file

HOUR = timedelta(hours=1)


def limits(**changed: int) -> Limits:
    """Generous limits, with some of them changed."""
    return Limits(**{"max_open": 1, "max_total": 50, "per_hour": 50, "lease_ttl_s": 3600} | changed)


def live_leases(world: World) -> list[bytes]:
    """Leases that hold a slot at the issuer."""
    return [lease for lease, _, _, ended in leases(world) if ended is None]


def leases(world: World) -> list[tuple[bytes, int, int, int | None]]:
    """What the issuer keeps of each lease: its id, issue, end, and when its slot ended."""
    with contextlib.closing(sqlite3.connect(world.client_db)) as db:
        return db.execute("SELECT lease_id, issued_ms, expires_ms, slot_ended_ms FROM leases").fetchall()


def receipts(world: World) -> list[tuple[str, str | None]]:
    """Receipts in the ledger, oldest first."""
    return [(e.event, e.erased) for e in world.lab.ledger_entries() if isinstance(e, ReceiptEntry)]


def released(world: World) -> int:
    """Releases in the ledger."""
    return sum(isinstance(e, Released) for e in world.lab.ledger_entries())


@contextmanager
def opening(world: World, me: Contractor, name: str = "one") -> Iterator[Opening]:
    """A task open in a process of its own, with an issuer on the mailbox."""
    with world.serving():
        held = me.begin(world.task(name), timeout_s=60)
        try:
            yield held
        finally:
            held.close()


def here(world: World, me: Contractor, name: str = "one") -> Task:
    """A task open in this process."""
    return me.open_task(world.task(name), exchange=world.issuer().handle)


def test_a_process_renews_and_goes_on_showing_the_same_task(world: World) -> None:
    """Same process, same text, a new lease with a later end; at the close both leases get `process-exit`."""
    me, _ = world.worker(limits=limits())
    with opening(world, me) as held:
        first, pid, end = held.lease_id, held.pid, held.expires_at
        world.clock.advance(timedelta(seconds=20))
        assert held.renew(timeout_s=60) is False
        assert held.lease_id != first
        assert held.expires_at == end + timedelta(seconds=20)
        assert live_leases(world) == [held.lease_id]
        assert (held.pid, held.alive, shown(held)) == (pid, True, "[True, True, True, True]")
        assert [each.state for each in me.openings()] == ["open", "open"]
    wait_gone(pid)
    world.issuer().answer()
    assert live_leases(world) == []
    assert receipts(world) == [("opened", None)] * 2 + [("closed", "process-exit")] * 2
    assert [each.state for each in me.openings()] == ["closed", "closed"]


def test_a_task_in_this_process_renews(world: World) -> None:
    """Its time left grows to the new lease's, the content object stays the same one."""
    me, _ = world.worker(limits=limits())
    issuer = world.issuer()
    with here(world, me) as task:
        part, first = task.part, task.lease_id
        world.clock.advance(30 * MINUTE)
        assert task.remaining_s() <= 1800
        assert task.renew(exchange=issuer.handle) is False
        assert 3590 < task.remaining_s() <= 3600
        assert task.part is part
        assert task.lease_id != first
        assert live_leases(world) == [task.lease_id]
    issuer.answer()
    assert receipts(world)[2:] == [("closed", "best-effort")] * 2


def test_a_renewal_never_reaches_beyond_its_lease(world: World) -> None:
    """Counted from before the request, by elapsed time and wall clock, whatever was left of the old lease."""
    outer = _outer(world)
    deadline = Deadline(outer, elapsed_s(), world.clock)
    shorter = LeaseOuter(**_fields(outer) | {"expires_at": outer.issued_at + 2 * MINUTE})
    asked_s = elapsed_s() - 50
    deadline.renew(shorter, asked_s)
    assert 60 < deadline.remaining_s() <= 70
    world.clock.advance(2 * MINUTE)
    assert deadline.remaining_s() == 0
    world.clock.advance(-DAY)
    assert deadline.remaining_s() == 0
    deadline.renew(outer, elapsed_s())
    assert 3590 < deadline.remaining_s() <= 3600


def _outer(world: World) -> LeaseOuter:
    me, _ = world.worker()
    with here(world, me) as task:
        return me._log.outer(task.lease_id)


def _fields(outer: LeaseOuter) -> dict[str, Any]:
    return {name: getattr(outer, name) for name in LeaseOuter.__slots__}


@pytest.mark.parametrize("in_process", [True, False])
def test_a_newer_version_is_opened_in_full(world: World, in_process: bool) -> None:
    """What was sealed anew meanwhile shows after the renewal, and the caller is told."""
    me, _ = world.worker(limits=limits())
    if in_process:
        issuer = world.issuer()
        with here(world, me) as task:
            _seal_anew(world)
            assert task.renew(exchange=issuer.handle) is True
            assert [part.text for part in task.required if part.kind == "guideline"] == ["other words"]
            assert TASK in task.text
        return
    with opening(world, me) as held:
        assert shown(held) == "[True, True, True, True]"
        _seal_anew(world)
        assert held.renew(timeout_s=60) is True
        assert shown(held) == "[True, False, True, True]"


def _seal_anew(world: World) -> None:
    write_file(world.source, "guidelines/how.md", "other words")
    assert world.project.seal(world.source).changed


@pytest.mark.parametrize("in_process", [True, False])
def test_a_newer_version_that_does_not_open_closes_both(world: World, in_process: bool) -> None:
    """The old lease's slot went to the new one, so nothing may stay open; and it is said so."""
    me, _ = world.worker(limits=limits())
    if in_process:
        issuer = world.issuer()
        task = here(world, me)
        _seal_anew(world)
        _break_vault(world)
        with pytest.raises(LeaseClosedError, match="so it was closed"):
            task.renew(exchange=issuer.handle)
        with pytest.raises(LeaseClosedError):
            _ = task.text
        erased = "best-effort"
    else:
        with opening(world, me) as held:
            _seal_anew(world)
            _break_vault(world)
            with pytest.raises(LeaseClosedError, match="so it was closed"):
                held.renew(timeout_s=60)
            assert not held.alive
        erased = "process-exit"
    world.issuer().answer()
    assert live_leases(world) == []
    assert [each for each in receipts(world) if each[0] == "closed"] == [("closed", erased)] * 2
    assert {each.state for each in me.openings()} == {"closed"}


def _break_vault(world: World) -> None:
    """Flip a byte of every stored payload."""
    with contextlib.closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        for number, data in db.execute("SELECT number, data FROM pieces").fetchall():
            altered = data[:-1] + bytes([data[-1] ^ 1])
            db.execute("UPDATE pieces SET data = ? WHERE number = ?", (altered, number))
        db.commit()


@pytest.mark.parametrize(
    ("code", "terms", "act"),
    [
        ("limit-total", {"max_total": 1}, None),
        ("limit-rate", {"per_hour": 1}, None),
        ("revoked", {}, lambda world: world.lab.revoke_contractor("ada")),
        ("frozen", {}, lambda world: world.lab.freeze("eval")),
    ],
)
def test_F15_what_the_issuer_refuses_leaves_the_old_lease_as_it_is(
    world: World, code: str, terms: dict[str, int], act: Any
) -> None:
    """Denied, the task stays open until the old end and no further; nothing was released."""
    me, _ = world.worker(limits=limits(**terms))
    issuer = world.issuer()
    task = here(world, me)
    lease, end = task.lease_id, task.expires_at
    if act is not None:
        act(world)
    with pytest.raises(DeniedError) as denied:
        task.renew(exchange=issuer.handle)
    assert denied.value.code == code
    assert (task.lease_id, task.expires_at, TASK in task.text) == (lease, end, True)
    assert released(world) == 1
    world.clock.advance(HOUR)
    with pytest.raises(LeaseExpiredError):
        _ = task.text


def test_C7_a_lost_answer_is_asked_for_again_and_costs_no_second_lease(world: World) -> None:
    """The same request is put until it is settled; after a timeout the old lease goes on."""
    me, _ = world.worker(limits=limits(max_total=2))
    issuer = world.issuer()
    with here(world, me) as task:
        first = task.lease_id

        def lost(data: bytes) -> None:
            assert issuer.handle(data) is not None

        for _ in range(3):
            with pytest.raises(RequestTimeoutError):
                task.renew(exchange=lost)
        assert (task.lease_id, TASK in task.text) == (first, True)
        assert task.renew(exchange=issuer.handle) is False
        assert task.lease_id != first
        assert released(world) == 2
        assert live_leases(world) == [task.lease_id]


def test_C4_a_close_gives_up_a_renewal_that_is_on_its_way(world: World) -> None:
    """The lease that comes after the close holds no slot."""
    me, _ = world.worker(limits=limits())
    task = here(world, me)
    with pytest.raises(RequestTimeoutError):
        task.renew(timeout_s=0.1)
    task.close()
    world.issuer().answer()
    assert released(world) == 2
    assert live_leases(world) == []


def test_G3_a_close_forgets_the_key_of_a_renewal_that_is_on_its_way(world: World) -> None:
    """Its lease was made and went by; who keeps the closed task, or takes its process's memory, can't open it."""
    me, _ = world.worker(limits=limits())
    task, asked = here(world, me), list[bytes]()

    def lossy(data: bytes) -> None:
        asked.append(decode_record(OpenRequest, parse_frame(data).body).one_time_key)
        assert world.issuer().handle(data) is not None

    def held() -> bool:
        seeds = [data for data in bytes_held([me, task]) if len(data) == SEED_BYTES]
        return any(OneTimeKey(SecretBytes(seed)).public_key in asked for seed in seeds)

    with pytest.raises(RequestTimeoutError):
        task.renew(exchange=lossy)
    assert held()
    task.close()
    assert not held()


def test_a_lease_that_is_over_is_not_renewed(world: World) -> None:
    """Neither here nor at the issuer; nothing is asked."""
    me, _ = world.worker(limits=limits())
    issuer = world.issuer()
    task = here(world, me)
    world.clock.advance(HOUR)
    with pytest.raises(LeaseExpiredError):
        task.renew(exchange=issuer.handle)
    with pytest.raises(LeaseClosedError):
        task.renew(exchange=issuer.handle)
    assert released(world) == 1


def test_files_in_a_folder_are_not_renewed(world: World) -> None:
    """No process holds them, so nothing is asked, and the opening stays as it is."""
    me, _ = world.worker(limits=limits())
    with world.serving():
        held = me.begin(world.task(), timeout_s=60, output=world.folder / "task")
        with pytest.raises(LeaseError, match="folder"):
            held.renew()
        assert held.folder is not None
        assert list(held.folder.iterdir())
        held.close()
    assert released(world) == 1


def test_a_desk_is_approved_anew_for_each_renewal(world: World) -> None:
    """With a presence device, a renewal that nobody approves is not asked; an approved one passes."""
    me, device, _ = world.desk("desk", limits=limits())
    issuer = world.issuer()
    asked: list[bytes] = []

    def approve(data: bytes) -> bytes:
        asked.append(data)
        return device.approve(device.examine(data))

    approving = Approving(approve)
    with me.open_task(world.task(), exchange=issuer.handle, approving=approving) as task:
        with pytest.raises(LabelVaultError):
            task.renew(exchange=issuer.handle, approving=Approving(lambda data: None))
        assert released(world) == 1
        world.clock.advance(MINUTE)
        assert task.renew(exchange=issuer.handle, approving=approving) is False
        assert len(asked) == 2
        assert live_leases(world) == [task.lease_id]


def test_a_process_that_has_ended_is_not_renewed(world: World) -> None:
    """A killed child can't make a key; nothing is asked of the issuer."""
    me, _ = world.worker(limits=limits())
    with opening(world, me) as held:
        held._worker._process.kill()
        wait_gone(held.pid)
        with pytest.raises(LeaseClosedError):
            held.renew(timeout_s=5)
    assert released(world) == 1


def test_a_process_that_ends_while_the_issuer_answers_holds_no_slot(world: World, monkeypatch: Any) -> None:
    """The lease came, nobody has its key any more: all is closed, and said to be."""
    me, _ = world.worker(limits=limits())
    prepare = Worker.prepare

    def and_dies(worker: Worker) -> bytes:
        key = prepare(worker)
        worker._process.kill()
        wait_gone(worker.pid)
        return key

    with opening(world, me) as held:
        monkeypatch.setattr(Worker, "prepare", and_dies)
        with pytest.raises(LeaseClosedError, match="so it was closed"):
            held.renew(timeout_s=60)
    world.issuer().answer()
    assert live_leases(world) == []


def test_C4_two_threads_that_renew_at_once_get_one_after_the_other(world: World) -> None:
    """Every lease but the last has lost its slot; none is doubled."""
    me, _ = world.worker(limits=limits())
    issuer = world.issuer()
    failed: list[Exception] = []
    with here(world, me) as task:

        def renew() -> None:
            try:
                task.renew(exchange=issuer.handle)
            except LabelVaultError as error:
                failed.append(error)

        threads = [threading.Thread(target=renew) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert failed == []
        assert released(world) == 5
        assert live_leases(world) == [task.lease_id]


def test_C4_no_interleaving_of_two_renewals_of_one_lease_yields_two_live_leases(world: World) -> None:
    """A thief with the key renews too: whichever request the issuer sees first gets the slot, the other is refused."""
    me, joined = world.worker(limits=limits())
    issuer = world.issuer()
    for order in ([0, 1], [1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1, 0]):
        with here(world, me) as task:
            asked = [world.ask(me, joined, world.task(), replaces=task.lease_id).data for _ in range(2)]
            for number in order:
                issuer.handle(asked[number])
            assert len(live_leases(world)) == 1
            assert live_leases(world) != [task.lease_id]
            # Whoever lost keeps what it has until the end, and is told why.
            with pytest.raises(DeniedError) as denied:
                task.renew(exchange=issuer.handle)
            assert denied.value.code == "replaces"
        for each in asked:
            issuer.handle(world.receipt(me, _signed(each, me)))
        issuer.answer()
        assert live_leases(world) == []


def _signed(data: bytes, me: Contractor) -> Signed[OpenRequest]:
    return open_frame(data, OpenRequest, me.public_key)


STEPS = st.lists(st.sampled_from(["open", "renew", "lose", "close", "wait"]), min_size=1, max_size=25)


@settings(max_examples=30)
@given(steps=STEPS, max_open=st.integers(1, 2), max_total=st.integers(1, 8), per_hour=st.integers(1, 5))
def test_F15_a_chain_of_renewals_never_exceeds_the_limits(
    template: Any, tmp_path_factory: Any, steps: list[str], max_open: int, max_total: int, per_hour: int
) -> None:
    """In any order of openings, renewals, lost answers, closes and waiting: live, total and hourly stay bounded."""
    world = World(tmp_path_factory.mktemp("model"), template)
    try:
        _play(world, steps, limits(max_open=max_open, max_total=max_total, per_hour=per_hour))
    finally:
        world.close()


def _play(world: World, steps: list[str], granted: Limits) -> None:
    me, _ = world.worker(limits=granted)
    issuer = world.issuer()
    held: list[Task] = []
    ways = {"renew": issuer.handle, "lose": lambda data: issuer.handle(data) and None}
    for step in steps:
        try:
            if step == "open":
                held.append(here(world, me))
            elif step == "wait":
                world.clock.advance(25 * MINUTE)
            elif held and step == "close":
                held.pop(0).close()
            elif held:
                held[-1].renew(exchange=ways[step])
        except (DeniedError, LeaseError, RequestTimeoutError):
            pass
        issuer.answer()
        now_ms = int(world.clock().timestamp() * 1000)
        found = leases(world)
        assert sum(ended is None and end > now_ms for _, _, end, ended in found) <= granted.max_open
        assert len(found) <= granted.max_total
        assert sum(issued > now_ms - 3_600_000 for _, issued, _, _ in found) <= granted.per_hour
    for task in held:
        task.close()
    issuer.answer()
    now_ms = int(world.clock().timestamp() * 1000)
    assert [each for each in leases(world) if each[3] is None and each[2] > now_ms] == []
