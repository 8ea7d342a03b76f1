"""All roles against one model: in any order of what people, crashes, thieves and the vault do, nothing opens too much.

The model knows what was granted, revoked and frozen, and reads the ledger; from these alone it says what the issuer
must answer, and what may be open.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from labelvault.client import Limits, Scope
from labelvault.client.ahead import issue
from labelvault.contractor import Contractor, Membership, Task
from labelvault.errors import (
    DeniedError,
    GrantExpiredError,
    GrantFrozenError,
    GrantRevokedError,
    IssueRefusedError,
    LeaseClosedError,
    LeaseError,
    LeaseExpiredError,
    PrekeysUsedError,
    RequestTimeoutError,
    StatusStaleError,
)
from labelvault.ledger.entries import ReceiptEntry, Released
from labelvault.vendor import Vault
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.answers import SUBMISSION_GRACE
from labelvault.wire.frame import frame_hash, parse_frame
from labelvault.wire.framefile import pack_frames, unpack_frames
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox, lease_mailbox, prekey_lease_id
from labelvault.wire.messages import OpenRequest
from labelvault.wire.schema import decode_record
from tests.world import MINUTE, MS, TASK, World, denial_code, dump, entries

T = TypeVar("T")
LIMITS = Limits(max_open=3, max_total=10, per_hour=6, lease_ttl_s=3600)
HOUR = timedelta(hours=1)
SCOPES = {"ada": ("w1",), "ben": ("w1", "w2")}
BATCH_OF = {"one": "w1", "two": "w1", "three": "w1", "four": "w2", "five": "w2"}
WHO, WHAT = st.sampled_from(sorted(SCOPES)), st.sampled_from(["one", "two", "three", "one", "two", "four"])
WHICH = st.integers(0, 7)
PAUSE = 4
"""After so many steps the client lets go on what it stopped, so that there is more to see than denials."""


def pick(among: Sequence[T], which: int) -> T:
    """One of them; a number reads better in a failure than a frame's bytes."""
    return among[which % len(among)]


@dataclass
class Worker:
    """A contractor, and what its software must know by now; a restore goes back in that, too."""

    me: Contractor
    name: str
    tasks: list[Task] = field(default_factory=list)
    opened: set[bytes] = field(default_factory=set)
    orphans: list[bytes] = field(default_factory=list)
    backup: tuple[Path, set[bytes]] | None = None

    @property
    def membership(self) -> Membership:
        """The newest that this home knows."""
        found = self.me.joined
        assert found is not None
        return found


class Roles(RuleBasedStateMachine):
    """A client with its issuer, a vault, and two contractors with different scopes."""

    def __init__(self, folder: Path, template: Path) -> None:
        super().__init__()
        self.world = World(folder, template)
        self.ids = {name: self.world.task(name) for name in BATCH_OF}
        self.workers: dict[str, Worker] = {}
        self.grants: dict[bytes, tuple[str, Membership]] = {}
        self.keys: dict[bytes, bytes] = {}
        self.prekeys: list[bytes] = []
        for name in SCOPES:
            self.workers[name] = Worker(self.world.contractor(name), name)
            self.world.enrol(self.workers[name].me, name)
            self.grant(name)
        self.issuer, self.relay = self.world.issuer(), self.world.relay()
        self.vault = Vault.open(self.world.vault, clock=self.world.clock)
        self.box = issuer_mailbox(self.world.lab.client_id)
        self.revoked: set[bytes] = set()
        self.revoked_batches: set[str] = set()
        self.frozen = False
        self.offered: dict[str, list[bytes]] = {name: [] for name in SCOPES}
        self.files: dict[str, list[bytes]] = {name: [] for name in SCOPES}
        self.requests: list[bytes] = []
        self.lost: list[bytes] = []
        self.answers: list[bytes] = []
        self.to = folder / "answers"
        self.stopped = 0
        for name in SCOPES:
            self.make_prekeys(name, False)

    # What the model says

    def leases(self) -> dict[bytes, Released]:
        """Every lease that the ledger holds."""
        return {entry.lease_id: entry for entry in entries(self.world, Released)}

    def over(self) -> set[bytes]:
        """Leases that hold no slot any more, by the ledger: closed or renewed."""
        closed = {each.lease_id for each in entries(self.world, ReceiptEntry) if each.event == "closed"}
        return closed | {each.replaces for each in self.leases().values() if each.replaces is not None}

    def verdict(self, grant_hash: bytes, task: str, replaces: bytes | None = None) -> str | None:
        """The code that a request must be denied with; None if it must be granted."""
        name, membership = self.grants[grant_hash]
        now, over = self.world.clock(), self.over()
        mine = [each for each in self.leases().values() if each.grant_hash == grant_hash]
        live = {each.lease_id for each in mine if each.lease_id not in over and now < each.expires_at}
        refusals = [
            ("expired", now >= membership.grant.message.expires_at),
            ("revoked", grant_hash in self.revoked),
            ("frozen", self.frozen),
            ("unknown", BATCH_OF[task] not in SCOPES[name]),
            ("revoked", BATCH_OF[task] in self.revoked_batches),
            ("replaces", replaces is not None and replaces not in live),
            ("limit-open", len(live - {replaces}) >= LIMITS.max_open),
            ("limit-total", len(mine) >= LIMITS.max_total),
            ("limit-rate", sum(each.issued_at > now - HOUR for each in mine) >= LIMITS.per_hour),
        ]
        return next((code for code, holds in refusals if holds), None)

    @contextmanager
    def judged(self, expected: str | None) -> Iterator[None]:
        """What happens inside is denied as the model says, or not at all."""
        try:
            yield
        except DeniedError as denied:
            assert denied.code == expected  # noqa: PT017 - the model says whether there is one
        except GrantExpiredError:
            # The contractor's own software does not even ask.
            assert expected == "expired"
        else:
            assert expected is None

    def exchange(self, data: bytes) -> bytes | None:
        """The issuer in this process; the one-time key of every request is remembered."""
        self.note(data)
        return self.issuer.handle(data)

    def lossy(self, data: bytes) -> None:
        """The issuer answers, and the answer is lost."""
        answer = self.exchange(data)
        assert answer is not None

    def note(self, data: bytes) -> None:
        """Remember which lease a request can get, and by which key."""
        frame = parse_frame(data)
        if frame.type == OpenRequest.TYPE and data not in self.requests:
            self.requests.append(data)
            self.keys[frame_hash(data)] = decode_record(OpenRequest, frame.body).one_time_key

    def opens(self, worker: Worker, task: Task, name: str) -> None:
        """A task was opened: its lease was in the ledger before, for this contractor and task, and lives."""
        entry = self.leases()[task.lease_id]
        assert (entry.contractor, entry.task) == (worker.me.public_key, self.ids[name]) == (entry.contractor, task.item)
        assert BATCH_OF[name] in SCOPES[worker.name]
        assert self.world.clock() < entry.expires_at == task.expires_at
        assert entry.expires_at - entry.issued_at <= timedelta(seconds=LIMITS.lease_ttl_s)
        assert entry.grant_hash not in self.revoked
        assert not self.frozen
        assert TASK in task.text
        # Once each; a home that was restored has forgotten, and so has the model of it.
        assert task.lease_id not in worker.opened
        worker.opened.add(task.lease_id)

    def gone(self, worker: Worker, lease_id: bytes) -> None:
        """Of a closed lease nothing rests at its contractor that opens it."""
        home = self.world.folder / worker.name
        assert not (home / "leases" / f"{lease_id.hex()}.lease").exists()
        keys = [key for key, _ in worker.me.ahead._prekeys.public_keys()]
        assert lease_id not in {prekey_lease_id(grant, key) for grant in self.grants for key in keys}

    # Client

    def grant(self, name: str) -> None:
        """Grant and join."""
        membership = self.world.join(
            self.workers[name].me, name, scope=Scope(batches=SCOPES[name]), limits=LIMITS, lasts=9 * HOUR
        )
        self.grants[membership.grant.hash] = name, membership
        self.keys |= {prekey_lease_id(membership.grant.hash, key): key for key in self.prekeys}

    def go_on(self) -> None:
        """Thaw and grant anew, once it was stopped for a while."""
        self.stopped += 1
        if self.stopped % PAUSE == 0:
            if self.frozen:
                self.frozen = not self.world.lab.unfreeze("eval")
            for name in SCOPES:
                self.grant_anew(name)

    def grant_anew(self, name: str) -> None:
        """A contractor whose newest grant is over, or used up, gets another."""
        now, newest = self.world.clock(), self.workers[name].membership
        used = sum(each.grant_hash == newest.grant.hash for each in self.leases().values())
        if newest.grant.hash in self.revoked or now >= newest.grant.message.expires_at or used >= LIMITS.max_total:
            if self.world.lab.contractor(name).revoked:
                return
            self.grant(name)

    @rule(name=WHO, task=WHAT, by_file=st.booleans(), again=st.booleans())
    def issue_ahead(self, name: str, task: str, by_file: bool, again: bool) -> None:
        """For one task, into a file or to the vault; with the newest prekeys, or the oldest."""
        if not self.offered[name]:
            return
        grant = self.workers[name].membership.grant
        expected, before = self.verdict(grant.hash, task), self.leases()
        try:
            report = issue(
                self.world.lab,
                name,
                Scope(items=[task]),
                prekeys=self.offered[name][0 if again else -1],
                grant_id=grant.message.grant_id,
                post=not by_file,
            )
        except IssueRefusedError as refused:
            assert refused.code == expected  # noqa: PT017 - the model says whether there is one
        except PrekeysUsedError:
            assert self.leases() == before
        else:
            assert len(report.leases) + len(report.closed) == 1
            for lease in report.leases:
                assert lease.again == (lease.lease_id in before)
                assert lease.again or expected is None
                assert lease.lease_id in self.leases()
                assert lease.lease_id not in self.over()
                assert grant.hash not in self.revoked
                assert not self.frozen
            if by_file:
                self.files[name].append(pack_frames(report.frames))

    @precondition(lambda self: self.stopped > 2 * PAUSE)
    @rule(name=WHO, whole=st.integers(0, 5))
    def revoke(self, name: str, whole: int) -> None:
        """A grant, or ben with all of his."""
        if not whole and name == "ben":
            self.world.lab.revoke_contractor(name)
            self.revoked |= {grant for grant, (whose, _) in self.grants.items() if whose == name}
        else:
            grant = self.workers[name].membership.grant
            self.world.lab.revoke_grant(grant.message.grant_id)
            self.revoked.add(grant.hash)

    @precondition(lambda self: self.stopped > 4 * PAUSE)
    @rule()
    def revoke_batch(self) -> None:
        """Of the batches the second."""
        self.world.lab.revoke_batch("eval", "w2")
        self.revoked_batches.add("w2")

    @precondition(lambda self: not self.frozen)
    @rule()
    def freeze(self) -> None:
        """Stop the project for a while."""
        self.frozen = self.world.lab.freeze("eval")
        assert self.frozen

    @rule()
    def collect(self) -> None:
        """Write what came in into files."""
        self.world.project.collect(self.to)

    @rule()
    def pass_(self) -> None:
        """The issuer takes what waits."""
        for _, data in self.relay.fetch(self.box, limit=1000):
            self.note(data)
        self.issuer.answer()

    @rule()
    def post_status(self) -> None:
        """The issuer says how things are."""
        self.issuer.ahead.post_status()

    @rule()
    def crash_of_the_issuer(self) -> None:
        """And of the client; nothing is said before."""
        self.issuer.close()
        self.world.lab.close()
        self.world.lab = self.world.open_client()
        self.world.project = self.world.lab.project("eval")
        self.issuer = self.world.issuer()

    # Vendor

    @rule(name=WHO, which=st.integers(0, 1), release=st.booleans())
    def claim(self, name: str, which: int, release: bool) -> None:
        """Claim a task for a contractor, and perhaps give it back."""
        queues = self.vault.queues()
        claim = self.vault.claim(queues[which], self.workers[name].me.public_key.hex(), ttl_s=1800)
        if claim is not None and release:
            self.vault.release_claim(claim)

    @rule(name=WHO)
    def lose(self, name: str) -> None:
        """The vault drops what waits for the issuer, or for a contractor; thieves may have kept it."""
        client, key = self.world.lab.client_id, self.workers[name].me.public_key
        for box in (self.box, contractor_mailbox(client, key), lease_mailbox(client, key)):
            for number, data in self.relay.fetch(box, limit=1000):
                if box == self.box:
                    self.lost.append(data)
                self.relay.ack(box, number)

    @precondition(lambda self: self.lost)
    @rule(which=WHICH)
    def repeat(self, which: int) -> None:
        """The vault delivers something once more, or late."""
        self.relay.post(self.box, pick(self.lost, which))

    @rule(which=WHICH)
    def replay(self, which: int) -> None:
        """A request once more: no second lease, and none after its close."""
        self.open_any("ada")
        if not self.requests:
            return
        request, before = pick(self.requests, which), self.leases()
        answer = self.issuer.handle(request)
        assert self.leases() == before
        if frame_hash(request) in self.over():
            assert denial_code(answer) in ("replayed", "stale")

    @rule(name=WHO, task=WHAT, which=WHICH)
    def use_a_key_again(self, name: str, task: str, which: int) -> None:
        """Another request with a key that was asked with before, or a prekey that got its lease."""
        spent = [key for lease, key in self.keys.items() if lease in self.leases()]
        if not spent:
            return
        key = _PublicOnly(pick(spent, which))
        worker, before = self.workers[name], self.leases()
        request = self.world.ask(worker.me, worker.membership, self.ids[task], key=key)  # type: ignore[arg-type]
        assert denial_code(self.issuer.handle(request.data)) in ("expired", "revoked", "frozen", "replayed")
        assert self.leases() == before

    # Contractors

    @rule(name=WHO, post=st.booleans())
    def make_prekeys(self, name: str, post: bool) -> None:
        """Two at a time."""
        worker = self.workers[name]
        with suppress(GrantExpiredError):
            data = worker.me.ahead.make_prekeys(2)
            self.offered[name].append(data)
            for frame in unpack_frames(data):
                for key in decode_record(PrekeyBundle, parse_frame(frame).body).keys:
                    self.prekeys.append(key)
                    self.keys |= {prekey_lease_id(grant, key): key for grant in self.grants}
            if post:
                worker.me.ahead.post_prekeys(data)

    @rule(name=WHO, which=WHICH)
    def take(self, name: str, which: int) -> None:
        """Take a file, perhaps not the first time; a home that was restored may not know its grant."""
        if self.files[name]:
            with suppress(LeaseError):
                self.workers[name].me.take(pick(self.files[name], which))

    @rule(name=WHO, task=WHAT, lossy=st.sampled_from([False, False, False, True]))
    def open_online(self, name: str, task: str, lossy: bool) -> None:
        """The issuer is asked; its answer may be lost, and counts all the same."""
        worker = self.workers[name]
        expected, before = self.verdict(worker.membership.grant.hash, task), self.leases()
        if lossy:
            with suppress(RequestTimeoutError, GrantExpiredError):
                worker.me.open_task(self.ids[task], exchange=self.lossy)
            assert len(self.leases()) - len(before) == (expected is None)
            return
        with self.judged(expected):
            opened = worker.me.open_task(self.ids[task], exchange=self.exchange)
            worker.tasks.append(opened)
            self.opens(worker, opened, task)

    def open_any(self, name: str) -> None:
        """So that there is something to go on with."""
        if not self.workers[name].tasks:
            self.open_online(name, "one", False)

    @rule(name=WHO, task=WHAT, anew=st.booleans())
    def open_ahead(self, name: str, task: str, anew: bool) -> None:
        """What is at hand, or what the vault hands out; perhaps it was issued just before."""
        if anew:
            self.make_prekeys(name, False)
            self.issue_ahead(name, task, True, False)
            if self.files[name]:
                with suppress(LeaseError):
                    self.workers[name].me.take(self.files[name][-1])
        worker, before = self.workers[name], self.leases()
        try:
            opened = worker.me.open_task(self.ids[task], offline=True)
        except GrantRevokedError:
            assert self.revoked or BATCH_OF[task] in self.revoked_batches
        except GrantFrozenError:
            assert self.frozen
        except (GrantExpiredError, StatusStaleError, LeaseError):
            pass
        else:
            worker.tasks.append(opened)
            self.opens(worker, opened, task)
        assert self.leases() == before

    @rule(name=WHO, which=WHICH)
    def renew(self, name: str, which: int) -> None:
        """The slot passes over, everything else counts."""
        self.open_any(name)
        worker = self.workers[name]
        if not worker.tasks:
            return
        task = pick(worker.tasks, which)
        entry = self.leases()[task.lease_id]
        named = next(name for name, item in self.ids.items() if item == entry.task)
        with self.judged(self.verdict(entry.grant_hash, named, entry.lease_id)):
            task.renew(exchange=self.exchange)
            self.opens(worker, task, named)
            assert self.leases()[task.lease_id].replaces == entry.lease_id

    @rule(name=WHO, which=WHICH)
    def close(self, name: str, which: int) -> None:
        """One that is open, or one that a crash left."""
        self.open_any(name)
        worker = self.workers[name]
        if worker.orphans:
            lease_id = worker.orphans.pop()
            worker.me.close_opening(lease_id)
        elif worker.tasks:
            task = pick(worker.tasks, which)
            lease_id = task.lease_id
            task.close()
            worker.tasks.remove(task)
            with pytest.raises(LeaseClosedError):
                _ = task.text
        else:
            return
        self.gone(worker, lease_id)

    @rule(name=WHO, which=WHICH)
    def submit(self, name: str, which: int) -> None:
        """Under any lease that was opened in this home; each answer is another one."""
        self.open_any(name)
        worker = self.workers[name]
        if worker.opened:
            lease_id = pick(sorted(worker.opened), which)
            try:
                worker.me.submit(lease_id, len(self.answers))
            except LeaseExpiredError:
                assert self.world.clock() >= self.leases()[lease_id].expires_at + SUBMISSION_GRACE
            else:
                self.answers.append(lease_id)

    @rule(name=WHO)
    def refresh(self, name: str) -> None:
        """Look for a status, and for acks."""
        worker = self.workers[name]
        worker.me.ahead.refresh()
        worker.me.sync()

    @rule(name=WHO)
    def crash_of_a_contractor(self, name: str) -> None:
        """What was open stays so on record, and nobody holds it."""
        worker = self.workers[name]
        worker.orphans = sorted(worker.opened - self._closed_here(worker))
        worker.tasks.clear()
        worker.me.close()
        worker.me = self.world.reopen(name)

    def _closed_here(self, worker: Worker) -> set[bytes]:
        return {each.lease_id for each in worker.me.openings() if each.state == "closed"}

    @rule(name=WHO)
    def back_up(self, name: str) -> None:
        """Somebody copies a contractor's home."""
        self.open_any(name)
        worker = self.workers[name]
        self.crash_of_a_contractor(name)
        worker.me.close()
        copy = self.world.folder / f"{name}-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.world.folder / name, copy)
        worker.backup = copy, set(worker.opened)
        worker.me = self.world.reopen(name)

    @rule(name=WHO)
    def restore(self, name: str) -> None:
        """And puts it back, erased prekeys with it: the ledger has counted their leases from their issue."""
        worker = self.workers[name]
        if worker.backup is None:
            return
        copy, opened = worker.backup
        worker.me.close()
        shutil.rmtree(self.world.folder / name)
        shutil.copytree(copy, self.world.folder / name)
        worker.me = self.world.reopen(name)
        worker.tasks.clear()
        worker.opened = set(opened)
        worker.orphans = sorted(worker.opened - self._closed_here(worker))

    @rule(minutes=st.sampled_from([1, 20, 59, 61]))
    def wait(self, minutes: int) -> None:
        """Time passes, and leases end."""
        self.world.clock.advance(minutes * MINUTE)

    # What holds all the time

    @invariant()
    def what_is_open_lives(self) -> None:
        """A task shows until its end and no longer; then it is closed, and its key is gone."""
        self.world.clock.advance(MS)
        self.go_on()
        for worker in self.workers.values():
            for task in list(worker.tasks):
                if self.world.clock() < self.leases()[task.lease_id].expires_at:
                    assert TASK in task.text
                    continue
                with pytest.raises(LeaseExpiredError):
                    _ = task.text
                worker.tasks.remove(task)
                self.gone(worker, task.lease_id)

    @invariant()
    def ledger_holds_to_the_caps(self) -> None:
        """Read from its first entry to its last: scope, time, open, total, rate, and each lease and key once."""
        released: list[Released] = []
        over: set[bytes] = set()
        for entry in self.world.lab.ledger_entries():
            if isinstance(entry, ReceiptEntry) and entry.event == "closed":
                over.add(entry.lease_id)
            if not isinstance(entry, Released):
                continue
            name, membership = self.grants[entry.grant_hash]
            mine = [each for each in released if each.grant_hash == entry.grant_hash]
            over |= {entry.replaces} if entry.replaces else set()
            live = [each for each in mine if each.lease_id not in over and entry.at < each.expires_at]
            assert len(live) < LIMITS.max_open
            assert len(mine) < LIMITS.max_total
            assert sum(each.issued_at > entry.at - HOUR for each in mine) < LIMITS.per_hour
            assert entry.task in {self.ids[task] for task, batch in BATCH_OF.items() if batch in SCOPES[name]}
            assert entry.expires_at <= membership.grant.message.expires_at
            released.append(entry)
        ids = [entry.lease_id for entry in released]
        assert len(set(ids)) == len(ids)
        assert len({self.keys[lease_id] for lease_id in ids}) == len(ids)

    def teardown(self) -> None:
        """One more pass and run: files, client and vendor tell of the same answers, and the ledger holds together."""
        try:
            for worker in self.workers.values():
                worker.me.sync()
            self.collect()
            self.what_is_open_lives()
            self.world.lab.verify_ledger()
            released = self.leases()
            kept = [row for row in dump(self.world.client_db)["submissions"] if row[5] == "accepted"]
            found = [
                (bytes.fromhex(line["lease"]), line["sequence"], line["answer"])
                for path in self.to.glob("*.jsonl")
                for line in map(json.loads, path.read_text().splitlines())
            ]
            assert sorted((row[2], row[3]) for row in kept) == sorted((lease, number) for lease, number, _ in found)
            assert len({answer for *_, answer in found}) == len(found)
            assert all(self.answers[answer] == lease for lease, _, answer in found)
            acks = [each for each in self.vault.acks() if each.verdict == "accepted"]
            paid = {(each.contractor, each.item) for each in acks if each.event == "answer"}
            assert paid == {(row[4], released[row[2]].task) for row in kept}
            closed = {each.lease_id for each in entries(self.world, ReceiptEntry) if each.event == "closed"}
            assert {each.lease_id for each in acks if each.event == "closed"} == closed
        finally:
            self.vault.close()
            self.world.close()


@dataclass(frozen=True)
class _PublicOnly:
    """All that a thief has of a one-time key."""

    public_key: bytes


def test_G4_G5_C4_C5_no_order_of_events_opens_more_than_was_granted_or_than_the_ledger_holds(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Issue, open, renew, close, pay, revoke, freeze, crash, restore, lose, replay and let expire, in any order."""
    run_state_machine_as_test(
        lambda: Roles(tmp_path_factory.mktemp("roles"), template),  # type: ignore[arg-type]
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            # Each step is signed, sealed and synced to disk: shrinking a failure would take longer than reading it.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
