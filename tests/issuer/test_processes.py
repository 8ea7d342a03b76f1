"""Several issuers over one `client.db`, and issuers that die at every step between a request and its answer."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from labelvault.client import Limits
from labelvault.crypto.hpke import OneTimeKey
from labelvault.ledger.entries import Released
from labelvault.wire.frame import Signed, parse_frame
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import Lease, OpenRequest
from tests.issuer.worker import DURABLE_FROM, POSTED_FROM, STEPS, break_at
from tests.world import World, counts, denial_code, lease_outer


@contextmanager
def racers(world: World, count: int, mode: str = "race") -> Iterator[list[subprocess.Popen]]:
    """Issuer processes that are up and wait for requests."""
    command = [sys.executable, "-m", "tests.issuer.worker", str(world.folder), mode]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.communicate(timeout=60)


def race(processes: Sequence[subprocess.Popen], work: Sequence[Sequence[Signed[OpenRequest]]]) -> list[list[bytes]]:
    """Give each process its requests at the same time; return their answers."""
    for process, requests in zip(processes, work, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps([request.data.hex() for request in requests]) + "\n")
        process.stdin.flush()
    found = []
    for process in processes:
        assert process.stdout is not None
        found.append([bytes.fromhex(answer) for answer in json.loads(process.stdout.readline())])
    return found


def is_lease(answer: bytes) -> bool:
    return parse_frame(answer).type == Lease.TYPE


def releases(world: World) -> list[Released]:
    return [entry for entry in world.lab.ledger_entries() if isinstance(entry, Released)]


def test_C4_no_race_of_three_openers_yields_two_leases(world: World) -> None:
    """Three processes with different requests on one one-time key, in three orders: one lease a key.

    With byte-identical requests: one lease, and the same bytes for all.
    """
    me, joined = world.worker(limits=Limits(max_open=500, max_total=500, per_hour=500, lease_ttl_s=3600))
    tasks = [world.task(name) for name in ("one", "two", "three")]
    keys = [OneTimeKey.generate() for _ in range(8)]
    work = [[world.ask(me, joined, tasks[(n + k) % 3], key=key) for k, key in enumerate(keys)] for n in range(3)]
    with racers(world, 3) as processes:
        # The third goes through the keys backwards, so that it meets the others in the middle.
        work[2].reverse()
        answers = race(processes, work)
        answers[2].reverse()
        for per_key in zip(*answers, strict=True):
            assert sum(map(is_lease, per_key)) == 1
            assert {denial_code(answer) for answer in per_key if not is_lease(answer)} == {"replayed"}
        same = [world.ask(me, joined, tasks[0]) for _ in range(4)]
        identical = race(processes, [same] * 3)
        assert identical[0] == identical[1] == identical[2]
        assert all(map(is_lease, identical[0]))
    assert len(releases(world)) == len(keys) + len(same)
    assert counts(world.client_db)["leases"] == len(keys) + len(same)
    world.lab.verify_ledger()


def test_C5_max_open_holds_across_processes(world: World) -> None:
    """Three processes ask and renew at once: never more than two leases live; total and rate hold as well."""
    me, joined = world.worker(limits=Limits(max_open=2, max_total=7, per_hour=6, lease_ttl_s=3600))
    task = world.task()
    with racers(world, 3) as processes:
        asked = [[world.ask(me, joined, task) for _ in range(4)] for _ in range(3)]
        answers = race(processes, asked)
        leases = [
            (n, k) for n, per_process in enumerate(answers) for k, answer in enumerate(per_process) if is_lease(answer)
        ]
        assert len(leases) == 2
        assert {denial_code(a) for per in answers for a in per if not is_lease(a)} == {"limit-open"}
        # All three want to renew the same lease: one may.
        held = asked[leases[0][0]][leases[0][1]]
        wanted = [[world.ask(me, joined, task, replaces=held.hash)] for _ in range(3)]
        renewals = race(processes, wanted)
        codes = Counter("lease" if is_lease(answer) else denial_code(answer) for (answer,) in renewals)
        assert codes == {"lease": 1, "replaces": 2}
        assert sum(grant.open for grant in world.lab.grants()) == 2
        # Closed, the two slots are free again, and no more than two.
        issuer = world.issuer()
        for request in [request for per_process in [*asked, *wanted] for request in per_process]:
            issuer.handle(world.receipt(me, request))
        race(processes, [[world.ask(me, joined, task) for _ in range(2)] for _ in range(3)])
    assert len(releases(world)) == 5
    assert sum(grant.open for grant in world.lab.grants()) == 2
    world.lab.verify_ledger()


def _all_or_none(world: World, request: Signed[OpenRequest], durable: bool) -> None:
    """The database holds entry, lease, spent key and answer of a request, or nothing of it."""
    with_it = int(durable)
    found = counts(world.client_db)
    assert [found[name] for name in ("leases", "spent_keys", "answers")] == [with_it] * 3
    assert [entry.lease_id for entry in releases(world)] == [request.hash] * with_it
    world.lab.verify_ledger()


def _leases_handed_out(world: World, key: bytes) -> list[bytes]:
    found = world.relay().fetch(contractor_mailbox(world.lab.client_id, key))
    return [lease_outer(data).lease_id for _, data in found]


@pytest.mark.parametrize("step", STEPS)
def test_L3_an_error_at_any_step_leaves_all_or_nothing(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was handed out is in the ledger; the same issuer then answers the same request with one lease."""
    me, joined = world.worker()
    request, issuer = world.ask(me, joined, world.task()), world.issuer()
    world.relay().post(issuer_mailbox(world.lab.client_id), request.data)
    number = list(STEPS).index(step)

    def fail() -> None:
        raise OSError("injected")

    with monkeypatch.context() as patched:
        break_at(step, issuer, fail, patched.setattr)
        with pytest.raises(OSError, match="injected"):
            issuer.answer()
    _all_or_none(world, request, number >= DURABLE_FROM)
    assert _leases_handed_out(world, me.public_key) == [request.hash] * (number >= POSTED_FROM)
    issuer.answer()
    _all_or_none(world, request, durable=True)
    assert _leases_handed_out(world, me.public_key) == [request.hash]


@pytest.mark.parametrize("step", ["after release", "after state", "before commit", "after commit", "after post"])
def test_L3_a_kill_at_any_step_leaves_all_or_nothing(world: World, step: str) -> None:
    """SIGKILL instead of an error; a new process then answers the same request with one lease."""
    me, joined = world.worker()
    request = world.ask(me, joined, world.task())
    world.relay().post(issuer_mailbox(world.lab.client_id), request.data)
    number = list(STEPS).index(step)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.issuer.worker", str(world.folder), "die", step],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    _all_or_none(world, request, number >= DURABLE_FROM)
    assert _leases_handed_out(world, me.public_key) == [request.hash] * (number >= POSTED_FROM)
    world.issuer(world.open_client()).answer()
    _all_or_none(world, request, durable=True)
    assert _leases_handed_out(world, me.public_key) == [request.hash]
