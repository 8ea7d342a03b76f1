"""Ahead of time, end to end: prekeys out, leases in, opening without an issuer, and what must not open any more."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Limits, Scope
from labelvault.client.ahead import issue
from labelvault.contractor import Contractor, Membership
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import (
    ClockError,
    FormatError,
    GrantError,
    GrantFrozenError,
    GrantRevokedError,
    IssueRefusedError,
    LeaseClosedError,
    LeaseError,
    LeaseExpiredError,
    PrekeyError,
    RelayError,
    RollbackError,
    SignatureError,
    StatusStaleError,
    StoreError,
)
from labelvault.issuer.ahead import IssueReport
from labelvault.ledger.entries import ReceiptEntry, Released
from labelvault.vendor import Vault
from labelvault.wire.frame import parse_frame, sign_message
from labelvault.wire.framefile import pack_frames, unpack_frames
from labelvault.wire.ids import issuer_mailbox, lease_mailbox, prekey_lease_id, status_mailbox
from labelvault.wire.messages import Lease
from labelvault.wire.schema import decode_record
from tests.world import DAY, MINUTE, MS, TASK, World, bytes_of, entries, identity, state_of

LIMITS = Limits(max_open=5, max_total=100, per_hour=100, lease_ttl_s=6 * 3600)
Opener = Callable[..., Any]


def opening_here(me: Contractor, item: bytes, **options: Any) -> Any:
    return me.open_task(item, **options)


def opening_in_a_child(me: Contractor, item: bytes, **options: Any) -> Any:
    return me.begin(item, **options)


HOW = pytest.mark.parametrize("how", [opening_here, opening_in_a_child])


def worker(world: World, name: str = "ada") -> tuple[Contractor, Membership]:
    return world.worker(name, limits=LIMITS)


def issued(world: World, me: Contractor, *names: str, count: int = 3, **options: Any) -> IssueReport:
    """Leases for tasks, sealed to prekeys that were made just now."""
    prekeys = me.ahead.make_prekeys(count)
    return issue(world.lab, "ada", Scope(items=list(names) or ["one"]), prekeys=prekeys, **options)


def file_of(report: IssueReport) -> bytes:
    return pack_frames(report.frames)


@HOW
def test_a_task_opens_with_no_issuer_there(world: World, how: Opener) -> None:
    """A bundle goes out, a file comes back; the ledger has the release from its issue, and the close when it comes."""
    me, _ = worker(world)
    report = issued(world, me, "one", "two")
    taken = me.take(file_of(report))
    assert (taken.leases, taken.over, taken.status_older) == (2, 0, False)
    assert [lease.lease_id for lease in entries(world, Released)] == [lease.lease_id for lease in report.leases]
    opened = how(me, world.task("one"))
    assert opened.lease_id == report.leases[0].lease_id
    opened.close()
    world.issuer().answer()
    assert [each.lease_id for each in entries(world, ReceiptEntry)] == [opened.lease_id] * 2
    assert me.openings()[-1].state == "closed"
    assert me.ahead.prekeys_left() == 2
    assert [held.outer.item for held in me.ahead.leases()] == [world.task("two")]


def test_what_opens_is_what_was_sealed(world: World) -> None:
    """The task's text, and what it requires."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me)))
    with me.open_task(world.task()) as task:
        assert TASK in task.text
        assert len(task.required) > 1


@HOW
def test_C4_a_lease_opens_once(world: World, how: Opener) -> None:
    """Not again while it is open, not after its close, not from the same file taken anew; the vault is not asked."""
    me, _ = worker(world)
    file = file_of(issued(world, me))
    me.take(file)
    opened = how(me, world.task())
    with pytest.raises(LeaseError):
        how(me, world.task(), offline=True)
    opened.close()
    for _ in range(2):
        with pytest.raises(LeaseError, match="no lease that was issued ahead"):
            how(me, world.task(), offline=True)
        assert me.take(file).over == 1
    with pytest.raises(LeaseClosedError):
        opened.part if how is opening_here else opened.show(1)


@HOW
def test_C6_after_the_close_neither_prekey_nor_lease_nor_any_key_is_in_any_file(
    world: World, how: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed in any form, wrapped seed and lease are gone from all files of the home; another task's stay."""
    seeds: list[bytes] = []
    generate = OneTimeKey.generate

    def spied() -> OneTimeKey:
        key = generate()
        seeds.append(key.seed().reveal())
        return key

    monkeypatch.setattr(OneTimeKey, "generate", staticmethod(spied))
    me, _ = worker(world)
    report = issued(world, me, "one", "two", count=2)
    me.take(file_of(report))
    home = world.folder / "ada"
    wrapped = {path.name: path.read_bytes()[-90:] for path in (home / "prekeys").iterdir()}
    opened = how(me, world.task("one"))
    opened.close()
    left = {path.name for path in (home / "prekeys").iterdir()}
    assert len(left) == 1
    found = bytes_of(home)
    for name, tail in wrapped.items():
        assert (tail in found) == (name in left)
    for seed in seeds:
        for form in (seed, seed.hex().encode(), seed[::-1]):
            assert form not in found
    # What is sealed; the readable part stays in the record of openings.
    assert report.leases[0].frame[700:900] not in found
    assert report.leases[1].frame[700:900] in found
    assert TASK.encode() not in found
    assert (home / "state.db-wal").exists()


def test_the_vault_hands_out_a_lease_only_while_its_task_is_claimed(world: World) -> None:
    """Prekeys and leases through the vault: held until the claim, again on a retry, gone at the close."""
    me, _ = worker(world)
    with pytest.raises(GrantError):
        world.contractor("nobody").ahead.make_prekeys(1)
    assert me.ahead.post_prekeys(me.ahead.make_prekeys(60)) == 2
    report = issue(world.lab, "ada", Scope(batches=["w1"]), post=True)
    assert len(report.leases) == 3
    assert report.unused == 57
    item = report.leases[0].item
    mailbox = lease_mailbox(world.lab.client_id, me.public_key)
    assert world.relay().fetch(mailbox) == []
    with pytest.raises(LeaseError):
        me.open_task(item, offline=True)
    vault = Vault.open(world.vault, clock=world.clock)
    queue = next(queue for queue in vault.queues() if queue.waiting == 3)
    claims = [vault.claim(queue, me.public_key.hex(), ttl_s=900) for _ in range(3)]
    assert item in {claim.item for claim in claims if claim}
    me.open_task(item).close()
    found = {parse_frame(data).body for _, data in vault.relay().fetch(mailbox)}
    assert len(found) == 2
    world.issuer().answer()
    for claim in claims:
        assert claim is not None
        vault.release_claim(claim)
    vault.close()
    assert me.ahead.prekeys_left() == 59


def test_a_running_issuer_keeps_prekeys_and_answers_on(world: World) -> None:
    """A bundle in its mailbox is no junk; used ones are not used again."""
    me, _ = worker(world)
    me.ahead.post_prekeys(me.ahead.make_prekeys(2))
    report = world.issuer().answer()
    assert (report.prekeys, report.junk) == (1, 0)
    assert world.relay().fetch(issuer_mailbox(world.lab.client_id)) == []
    first = issue(world.lab, "ada", Scope(items=["one"]))
    second = issue(world.lab, "ada", Scope(items=["two"]))
    assert first.leases[0].lease_id != second.leases[0].lease_id
    assert second.unused == 0


def test_online_and_offline_can_be_chosen(world: World) -> None:
    """By default a lease at hand is used; offline=False asks the issuer all the same."""
    me, _ = worker(world)
    report = issued(world, me)
    me.take(file_of(report))
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle) as online:
        assert online.lease_id != report.leases[0].lease_id
    with me.open_task(world.task()) as offline:
        assert offline.lease_id == report.leases[0].lease_id


# --- status ---


@HOW
def test_R5_without_a_status_or_with_a_stale_one_nothing_opens(world: World, how: Opener) -> None:
    """At the allowed age it opens, a millisecond later not; a newer status, by file, makes it open again."""
    me, _ = worker(world)
    report = issued(world, me, status_max_age_s=3600)
    me.take(pack_frames([report.leases[0].frame]))
    shutil.move(world.folder / "vendor", world.folder / "away")
    with pytest.raises(StatusStaleError):
        how(me, world.task())
    me.take(file_of(report))
    world.clock.advance(timedelta(hours=1) + MS)
    before = state_of(world.folder / "ada")
    with pytest.raises(StatusStaleError):
        how(me, world.task())
    assert state_of(world.folder / "ada") == before
    me.take(pack_frames([world.issuer().ahead.status().data]))
    shutil.move(world.folder / "away", world.folder / "vendor")
    how(me, world.task()).close()


def test_R6_a_status_is_good_at_exactly_its_allowed_age(world: World) -> None:
    """Older means more than the lease allows."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me, status_max_age_s=3600)))
    world.clock.advance(timedelta(hours=1))
    me.open_task(world.task()).close()


@HOW
@pytest.mark.parametrize(
    ("stop", "error"),
    [
        (lambda world, grant: world.lab.revoke_grant(grant), GrantRevokedError),
        (lambda world, grant: world.lab.revoke_contractor("ada"), GrantRevokedError),
        (lambda world, grant: world.lab.revoke_batch("eval", "w1"), GrantRevokedError),
        (lambda world, grant: world.lab.revoke_project("eval"), GrantRevokedError),
        (lambda world, grant: world.lab.freeze("eval"), GrantFrozenError),
    ],
    ids=["grant", "contractor", "batch", "project", "freeze"],
)
def test_R5_what_is_revoked_or_frozen_does_not_open_any_more(
    world: World, how: Opener, stop: Callable[[World, bytes], bool], error: type[Exception]
) -> None:
    """The status is at the vault at once, and the newest one is fetched before an opening."""
    me, membership = worker(world)
    me.take(file_of(issued(world, me)))
    world.clock.advance(MINUTE)
    assert stop(world, membership.grant.message.grant_id)
    with pytest.raises(error):
        how(me, world.task())
    assert me.openings() == []
    if error is GrantFrozenError:
        world.clock.advance(MINUTE)
        world.lab.unfreeze("eval")
        how(me, world.task()).close()


@pytest.mark.parametrize("what", ["grant", "contractor", "batch", "project"])
def test_R5_the_vendor_drops_what_a_status_revokes_and_the_issuer_gives_it_out_no_more(world: World, what: str) -> None:
    """Held leases are gone, claimed or not; issuing again with the same prekeys is refused."""
    me, membership = worker(world)
    prekeys = me.ahead.make_prekeys(2)
    issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys, post=True)
    with Vault.open(world.vault, clock=world.clock) as vault:
        for queue in vault.queues():
            while vault.claim(queue, "ada", ttl_s=900):
                pass
    mailbox = lease_mailbox(world.lab.client_id, me.public_key)
    assert len(world.relay().fetch(mailbox)) == 1
    world.clock.advance(MINUTE)
    assert {
        "grant": lambda: world.lab.revoke_grant(membership.grant.message.grant_id),
        "contractor": lambda: world.lab.revoke_contractor("ada"),
        "batch": lambda: world.lab.revoke_batch("eval", "w1"),
        "project": lambda: world.lab.revoke_project("eval"),
    }[what]()
    assert world.relay().fetch(mailbox) == []
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        assert db.execute("SELECT count(*) FROM held_leases").fetchone() == (0,)
    with pytest.raises(IssueRefusedError) as refused:
        issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    assert refused.value.code == "revoked"


def test_R5_the_vendor_hands_out_nothing_of_a_frozen_project_until_it_is_thawed(world: World) -> None:
    """What is held stays held, and comes again with the status that no longer names the project."""
    me, _ = worker(world)
    issue(world.lab, "ada", Scope(items=["one"]), prekeys=me.ahead.make_prekeys(1), post=True)
    with Vault.open(world.vault, clock=world.clock) as vault:
        for queue in vault.queues():
            while vault.claim(queue, "ada", ttl_s=900):
                pass
    mailbox = lease_mailbox(world.lab.client_id, me.public_key)
    for act, waiting in ((world.lab.freeze, 0), (world.lab.unfreeze, 1)):
        world.clock.advance(MINUTE)
        act("eval")
        assert len(world.relay().fetch(mailbox)) == waiting
    me.open_task(world.task(), offline=True).close()


def test_a_status_that_can_not_say_all_is_not_made(world: World) -> None:
    """A batch with more live leases than fit: revoking stands, no part passes for all, the error says what helps."""
    me, _ = worker(world)
    issued(world, me)
    with world.lab.database.transaction():
        (row,) = world.lab.database.rows("SELECT * FROM leases")
        for number in range(1500):
            world.lab.database.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)", number.to_bytes(32, "big"), *row[1:]
            )
    assert not world.lab.revoke_batch("eval", "w1")
    with pytest.raises(GrantError, match="1501 leases") as refused:
        world.issuer().ahead.post_status()
    assert refused.value.next_step is not None
    world.lab.revoke_project("eval")


def test_R2_R5_an_older_status_is_refused_and_its_replay_noticed(world: World) -> None:
    """From the vault it is an error, from a file it is said; the file in the home put back is noticed too."""
    me, _ = worker(world)
    report = issued(world, me)
    me.take(file_of(report))
    old = (world.folder / "ada" / "status").read_bytes()
    world.clock.advance(MINUTE)
    world.issuer().ahead.post_status()
    newest = me.ahead.refresh()
    assert newest is not None
    assert me.take(file_of(report)).status_older
    status = me.ahead.status()
    assert status is not None
    assert status.hash == newest.hash
    (world.folder / "ada" / "status").write_bytes(old)
    with pytest.raises(RollbackError):
        me.ahead.status()
    (world.folder / "vendor" / "vault.db").unlink()
    with Vault.open(world.vault, clock=world.clock) as vault:
        vault.relay().post(status_mailbox(world.lab.client_id), report.status.data)
    again = world.reopen("ada")
    with pytest.raises(RollbackError):
        again.ahead.refresh()
    with pytest.raises(RollbackError):
        again.open_task(world.task())


def test_R2_a_vault_that_lags_behind_a_file_is_no_rollback(world: World) -> None:
    """What was issued to a file brings a newer status than the vault has yet: the newer one stays, and leases open."""
    me, _ = worker(world)
    world.issuer().ahead.post_status()
    world.clock.advance(MINUTE)
    report = issued(world, me)
    me.take(file_of(report))
    status = me.ahead.refresh()
    assert status is not None
    assert status.hash == report.status.hash
    with me.open_task(world.task(), offline=True) as task:
        assert task.kind == "task"


def test_a_forged_status_is_not_taken(world: World) -> None:
    """Signed by another key, of another client, or dated ahead: nothing changes, and the true one is taken."""
    me, _ = worker(world)
    report = issued(world, me)
    true = report.status.message
    before = state_of(world.folder / "ada")
    forged = [
        (sign_message(true, identity(me)).data, SignatureError),
        (world.create_client("other").issuer().ahead.status().data, SignatureError),
        (
            sign_message(
                replace(true, at=true.at + timedelta(seconds=121), next_update=true.at + DAY),
                world.lab.issuer_identity.signer,
            ).data,
            ClockError,
        ),
    ]
    for frame, error in forged:
        with pytest.raises(error):
            me.take(pack_frames([frame]))
        assert state_of(world.folder / "ada") == before
    assert me.take(file_of(report)).status_at == true.at


# --- leases that are not what they should be ---


def test_a_lease_for_another_key_grant_or_issuer_is_not_taken(world: World) -> None:
    """Another contractor's, a forged one, and one for a key that was never made here: nothing is kept."""
    me, _ = worker(world)
    ben, _ = worker(world, "ben")
    report = issued(world, me, "one", "two")
    lease = parse_frame(report.leases[0].frame)
    before = state_of(world.folder / "ben")
    with pytest.raises(LeaseError):
        ben.take(file_of(report))
    after = state_of(world.folder / "ben")
    assert {name for name in after if name not in before} <= {"status"}
    forged = sign_message(decode_record(Lease, lease.body), identity(me))
    with pytest.raises(SignatureError):
        me.take(pack_frames([report.leases[1].frame, forged.data]))
    assert me.ahead.leases() == []
    with pytest.raises(FormatError, match="nothing that a contractor takes"):
        me.take(me.ahead.make_prekeys(1))
    me.ahead.erase_prekeys()
    assert me.take(file_of(report)).over == 2


def test_R4_a_clock_set_back_opens_no_expired_lease(world: World) -> None:
    """The latest issuer time that was seen, a status's too, is the floor; after the end nothing opens."""
    me, _ = worker(world)
    report = issued(world, me, "one", "two")
    me.take(file_of(report))
    world.clock.advance(timedelta(hours=5))
    me.take(pack_frames([world.issuer().ahead.status().data]))
    world.clock.advance(timedelta(hours=1))
    with pytest.raises(LeaseError):
        me.open_task(world.task("one"), offline=True)
    assert me.ahead.prekeys_left() == 1
    world.clock.advance(-timedelta(hours=3))
    with pytest.raises(ClockError):
        world.reopen("ada").open_task(world.task("two"))


def test_R4_a_lease_ends_while_it_is_open_whatever_the_clock_says(world: World) -> None:
    """The time since its issue is gone already when it is opened."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me)))
    world.clock.advance(timedelta(hours=5, minutes=59))
    task = me.open_task(world.task())
    assert 0 < task.remaining_s() <= 60
    world.clock.advance(timedelta(minutes=-30))
    assert task.remaining_s() <= 60
    world.clock.advance(timedelta(minutes=32))
    with pytest.raises(LeaseExpiredError):
        _ = task.part


@HOW
def test_an_absent_vault_costs_no_lease(world: World, how: Opener) -> None:
    """Items can't be fetched: a typed error, nothing open, the prekey is still there; with the vault back it opens."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me)))
    shutil.move(world.folder / "vendor", world.folder / "away")
    with pytest.raises((RelayError, StoreError)):
        how(me, world.task())
    assert me.openings() == []
    assert me.ahead.prekeys_left() == 3
    shutil.move(world.folder / "away", world.folder / "vendor")
    how(me, world.task()).close()


def test_an_opening_whose_process_died_is_closed_by_hand_and_opens_no_more(world: World) -> None:
    """Its prekey goes with the close; until then the lease can't be opened a second time."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me)))
    lease = me.open_task(world.task()).lease_id
    again = world.reopen("ada")
    with pytest.raises(LeaseError):
        again.open_task(world.task(), offline=True)
    again.close_opening(lease)
    assert again.ahead.prekeys_left() == 2
    assert list((world.folder / "ada" / "leases").iterdir()) == []


def test_C6_a_close_erases_the_prekey_also_where_the_leases_file_is_gone(world: World) -> None:
    """Whoever removes the file, by hand or from another process, must not leave behind what opens its copies."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me, count=2)))
    task = me.open_task(world.task())
    (lease,) = (world.folder / "ada" / "leases").iterdir()
    lease.unlink()
    task.close()
    assert me.ahead.prekeys_left() == 1
    assert me.openings()[-1].state == "closed"


def test_C6_a_prekey_goes_with_its_leases_end_also_where_the_process_that_opened_it_was_killed(world: World) -> None:
    """Nobody closes such an opening by himself; what could open a recorded copy is gone all the same."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me, count=2)))
    lease = me.open_task(world.task()).lease_id
    again = world.reopen("ada")
    world.clock.advance(timedelta(seconds=LIMITS.lease_ttl_s))
    assert again.ahead.erase_expired() == 1
    assert again.ahead.prekeys_left() == 1
    assert list((world.folder / "ada" / "leases").iterdir()) == []
    again.close_opening(lease)
    assert again.openings()[-1].state == "closed"


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, None], ids=["empty", "zeros", "unreadable"])
def test_a_damaged_lease_stops_no_other_and_is_replaced_from_its_file(world: World, damage: bytes | None) -> None:
    """The others are listed and open; taking the client's file again mends the damaged one."""
    me, _ = worker(world)
    report = issued(world, me, "one", "two")
    me.take(file_of(report))
    broken = world.folder / "ada" / "leases" / f"{report.leases[0].lease_id.hex()}.lease"
    if damage is None:
        broken.unlink()
        broken.mkdir()
    else:
        broken.write_bytes(damage)
    assert [held.outer.item for held in me.ahead.leases()] == [world.task("two")]
    me.open_task(world.task("two"), offline=True).close()
    with pytest.raises(LeaseError):
        me.open_task(world.task("one"), offline=True)
    if damage is None:
        broken.rmdir()
    assert me.take(file_of(report)).leases == 1
    with me.open_task(world.task("one"), offline=True) as task:
        assert TASK in task.text


def test_files_are_written_and_erased_as_ever(world: World, tmp_path: Path) -> None:
    """With --to, the process exits at once; closing erases files and prekey."""
    me, _ = worker(world)
    me.take(file_of(issued(world, me)))
    opening = me.begin(world.task(), output=tmp_path / "out")
    assert any((tmp_path / "out").iterdir())
    assert me.ahead.prekeys_left() == 3
    opening.close()
    assert not (tmp_path / "out").exists()
    assert me.ahead.prekeys_left() == 2


def test_F14_a_desk_makes_no_prekeys(world: World) -> None:
    """Nobody can be present in advance."""
    desk = world.contractor("desk", tier="desk")
    world.enrol(desk, "desk")
    world.join(desk, "desk", waive_presence=True)
    with pytest.raises(PrekeyError):
        desk.ahead.make_prekeys(1)
    assert not (world.folder / "desk" / "prekeys").exists()


@pytest.mark.parametrize(("count", "lifetime"), [(0, DAY), (5001, DAY), (1, timedelta(0)), (1, timedelta(days=32))])
def test_prekeys_have_bounds(world: World, count: int, lifetime: timedelta) -> None:
    """Number and lifetime; nothing is made."""
    me, _ = worker(world)
    with pytest.raises(FormatError):
        me.ahead.make_prekeys(count, lifetime=lifetime)
    assert not (world.folder / "ada" / "prekeys").exists()


def test_a_file_has_one_bundle_for_fifty_keys(world: World) -> None:
    """Each key in one bundle and one file."""
    me, membership = worker(world)
    frames = unpack_frames(me.ahead.make_prekeys(101))
    assert len(frames) == 3
    assert len(list((world.folder / "ada" / "prekeys").iterdir())) == 101
    assert prekey_lease_id(membership.grant.hash, b"k") != prekey_lease_id(membership.grant.hash, b"l")
