"""The issuer over real SQLite: replay, limits, receipts, renewal, floods, time, and what a swapped catalog gets."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.client import AnswerReport, Limits, Scope
from labelvault.contractor import Contractor
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.errors import ClockError, GrantExpiredError, GrantScopeError, StoreError
from labelvault.issuer.authorize import asked
from labelvault.issuer.service import Issuer
from labelvault.ledger.entries import Denied, ReceiptEntry, Released, Revoked
from labelvault.relay.local import LocalRelay
from labelvault.wire.frame import Signed, parse_frame, sign_message
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import Denial, Lease, OpenRequest, Receipt
from labelvault.wire.times import to_ms
from tests.world import (
    DAY,
    LIMITS,
    MINUTE,
    MS,
    World,
    ack_of,
    approved,
    counts,
    denial_code,
    dump,
    identity,
    lease_outer,
)


def entries(world: World, kind: type) -> list:
    """Ledger entries of a kind."""
    return [entry for entry in world.lab.ledger_entries() if isinstance(entry, kind)]


def live(world: World) -> int:
    """Leases that hold a slot now, by the grants' own count."""
    return sum(grant.open for grant in world.lab.grants())


# Replay


def test_R1_a_repeated_request_gets_the_identical_answer_and_grows_nothing(world: World) -> None:
    """C7: a lost reply is asked for again, also of an issuer that was restarted."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    first = issuer.handle(request.data)
    assert lease_outer(first).lease_id == request.hash
    before = dump(world.client_db)
    assert issuer.handle(request.data) == first
    issuer.close()
    world.clock.advance(20 * MINUTE)
    assert world.issuer(world.open_client()).handle(request.data) == first
    assert dump(world.client_db) == before
    assert len(entries(world, Released)) == 1


@pytest.mark.parametrize(
    "end",
    ["close", "expiry", "freeze", "revoke grant", "revoke contractor", "revoke batch", "revoke project", "renewal"],
)
def test_R7_a_stored_answer_is_withheld_once_its_lease_is_over(world: World, end: str) -> None:
    """After close, expiry, freeze, revocation or renewal the same bytes get a denial, and no entry is added."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    first = issuer.handle(request.data)
    if end == "close":
        issuer.handle(world.receipt(me, request))
    elif end == "expiry":
        world.clock.advance(timedelta(hours=1))
    elif end == "freeze":
        world.lab.freeze("eval")
    elif end == "revoke grant":
        world.lab.revoke_grant(joined.grant.message.grant_id)
    elif end == "revoke contractor":
        world.lab.revoke_contractor("ada")
    elif end == "revoke batch":
        world.lab.revoke_batch("eval", "w1")
    elif end == "revoke project":
        world.lab.revoke_project("eval")
    else:
        lease_outer(issuer.handle(world.ask(me, joined, world.task(), replaces=request.hash).data))
    before = dump(world.client_db)
    for each in (issuer, world.issuer()):
        assert denial_code(each.handle(request.data)) == "replayed" if end != "expiry" else "stale"
    assert dump(world.client_db) == before
    if end in ("close", "renewal"):
        # The lease's bytes are not even kept.
        stored = [row[2] for row in before["answers"] if row[0] == request.hash]
        assert stored == [None]
    if end == "freeze":
        # Thawed, the lease that lives on may be handed out again.
        world.lab.unfreeze("eval")
        assert issuer.handle(request.data) == first


def test_R7_a_denial_spends_its_request(world: World) -> None:
    """The same bytes get the same denial also after the reason is gone; its one-time key never gets a lease."""
    me, joined = world.worker()
    issuer, key = world.issuer(), OneTimeKey.generate()
    world.lab.freeze("eval")
    request = world.ask(me, joined, world.task(), key=key)
    denial = issuer.handle(request.data)
    assert denial_code(denial) == "frozen"
    world.lab.unfreeze("eval")
    assert issuer.handle(request.data) == denial
    world.clock.advance(MS)
    assert denial_code(issuer.handle(world.ask(me, joined, world.task(), key=key).data)) == "replayed"
    assert denial_code(issuer.handle(world.ask(me, joined, world.task("two"), key=key).data)) == "replayed"
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    assert [entry.code for entry in entries(world, Denied)] == ["frozen", "replayed", "replayed"]


def test_C4_a_one_time_key_gets_one_lease(world: World) -> None:
    """After a lease its key is spent for every other request, of this contractor and of others, also after a close."""
    me, joined = world.worker()
    other, other_joined = world.worker("ben")
    issuer, key = world.issuer(), OneTimeKey.generate()
    first = world.ask(me, joined, world.task(), key=key)
    lease_outer(issuer.handle(first.data))
    assert denial_code(issuer.handle(world.ask(me, joined, world.task("two"), key=key).data)) == "replayed"
    issuer.handle(world.receipt(me, first))
    world.clock.advance(timedelta(hours=2))
    assert denial_code(issuer.handle(world.ask(me, joined, world.task("two"), key=key).data)) == "replayed"
    assert denial_code(issuer.handle(world.ask(other, other_joined, world.task(), key=key).data)) == "replayed"
    assert len(entries(world, Released)) == 1


def test_C4_a_forged_or_corrupt_request_burns_no_key(world: World) -> None:
    """Every flipped byte in a sample of the request is junk; the true request still works."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    before = dump(world.client_db)
    for at in range(0, len(request.data), 7):
        bad = bytearray(request.data)
        bad[at] ^= 1
        assert issuer.handle(bytes(bad)) is None
    forged = sign_message(request.message, SigningKey.generate())
    assert issuer.handle(forged.data) is None
    assert dump(world.client_db) == before
    assert lease_outer(issuer.handle(request.data)).lease_id == request.hash


def test_R1_a_grant_signed_by_the_identity_key_but_not_in_state_is_refused(world: World) -> None:
    """G4: however well signed; so is one whose row was dropped after it was joined."""
    me, joined = world.worker()
    more = replace(joined.grant.message, limits=replace(LIMITS, max_total=1000))
    forged = sign_message(more, world.lab.identity())
    issuer = world.issuer()
    request = world.ask(me, joined, world.task(), grant_hash=forged.hash)
    assert denial_code(issuer.handle(request.data)) == "unknown"
    assert entries(world, Denied)[-1].code == "unknown"
    assert not entries(world, Released)
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))


def test_F4_a_grant_of_another_contractor_is_unknown(world: World) -> None:
    """Who holds another's invite, and is enrolled, gets nothing and learns nothing."""
    _, joined = world.worker()
    thief, _ = world.worker("ben")
    issuer = world.issuer()
    assert denial_code(issuer.handle(world.ask(thief, joined, world.task()).data)) == "unknown"
    assert not entries(world, Released)


def test_hidden_items_are_all_unknown(world: World) -> None:
    """Gold, guideline, rubric, attachment, a decoy in no queue, a random id, and a task out of scope: one answer."""
    me, joined = world.worker(scope=Scope(batches=["w1"]))
    issuer = world.issuer()
    decoy = world.task("three")
    with closing(sqlite3.connect(world.client_db)) as db, db:
        db.execute("UPDATE items SET batch = NULL WHERE item = ?", (decoy,))
    hidden = [world.id_of(kind) for kind in ("gold", "guideline", "rubric", "attachment")]
    for item in [*hidden, decoy, bytes(16), world.task("four")]:
        assert denial_code(issuer.handle(world.ask(me, joined, item).data)) == "unknown"
    assert not entries(world, Released)
    assert {entry.code for entry in entries(world, Denied)} == {"unknown"}
    lease_outer(issuer.handle(world.ask(me, joined, world.task("one")).data))


def test_a_batch_of_gold_that_a_grant_names_opens_nothing(world: World) -> None:
    """Even a grant in state whose scope holds gold's own batch id gets `unknown`: gold is no task."""
    me, joined = world.worker()
    with closing(sqlite3.connect(world.client_db)) as db:
        (gold,) = db.execute("SELECT batch FROM batches WHERE gold = 1").fetchone()
    item = world.id_of("gold")
    wide = replace(joined.grant.message, scope=replace(joined.grant.message.scope, batches=(gold,), items=(item,)))
    signed = sign_message(wide, world.lab.identity())
    with closing(sqlite3.connect(world.client_db)) as db, db:
        db.execute("UPDATE grants SET hash = ?, frame = ?", (signed.hash, signed.data))
    issuer = world.issuer()
    assert denial_code(issuer.handle(world.ask(me, joined, item, grant_hash=signed.hash).data)) == "unknown"
    assert not entries(world, Released)


# Floods


def test_L6_junk_grows_nothing_but_a_counter(world: World) -> None:
    """Noise, unenrolled keys, other clients, expired requests, replays and foreign receipts: no rows, no entries."""
    me, joined = world.worker()
    issuer = world.issuer()
    kept = world.ask(me, joined, world.task())
    lease_outer(issuer.handle(kept.data))
    closed = world.receipt(me, kept, "opened")
    issuer.handle(closed)
    stranger = SigningKey.generate()
    other_client = world.ask(me, joined, world.task(), client=bytes(32))
    expired = [world.ask(me, joined, world.task()) for _ in range(5)]
    world.clock.advance(6 * MINUTE)
    before, size = dump(world.client_db), world.client_db.stat().st_size
    mailbox, relay = issuer_mailbox(world.lab.client_id), world.relay()
    flood = [b"noise %d" % n for n in range(20)]
    flood += [sign_message(kept.message, stranger).data, other_client.data, other_client.frame.body, joined.grant.data]
    flood += [sign_message(replace(kept.message, item=bytes([n]) * 16), stranger).data for n in range(20)]
    flood += [world.receipt(me, kept, lease_id=bytes([n]) * 32) for n in range(20)]
    flood += [me.card(), joined.invite.data, kept.data, closed] + [request.data for request in expired] * 3
    for data in flood:
        relay.post(mailbox, data)
    report = issuer.answer()
    assert dump(world.client_db) == before
    assert world.client_db.stat().st_size == size
    assert report.released == 0
    assert report.denied == {"stale": len(expired)}
    assert report.junk >= 60
    assert not relay.fetch(mailbox)
    world.lab.verify_ledger()


def test_L6_junk_is_counted_over_all_passes(world: World) -> None:
    """The one counter that a flood leaves behind is right."""
    relay, mailbox = world.relay(), issuer_mailbox(world.lab.client_id)
    for count in (3, 4):
        for n in range(count):
            relay.post(mailbox, b"noise %d" % n)
        world.issuer().answer()
    with closing(sqlite3.connect(world.client_db)) as db:
        (value,) = db.execute("SELECT value FROM meta WHERE key = 'junk'").fetchone()
    assert int.from_bytes(value, "big") == 7


def test_R8_requests_from_before_a_restore_are_stale(world: World) -> None:
    """What `client.db` says of the earliest date is what the issuer goes by."""
    me, joined = world.worker()
    issuer, start = world.issuer(), world.clock()
    early = world.ask(me, joined, world.task())
    restored = world.clock.advance(MINUTE)
    with closing(sqlite3.connect(world.client_db)) as db, db:
        db.execute("INSERT INTO meta VALUES ('accept_from_ms', ?)", (to_ms(restored).to_bytes(8, "big"),))
    assert early.message.at == start
    assert denial_code(issuer.handle(early.data)) == "stale"
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))


def test_a_closed_issuer_answers_nothing(world: World) -> None:
    """Its KEKs are dropped, and database and relay let go."""
    me, joined = world.worker()
    with world.lab.issuer() as issuer:
        lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
        assert issuer._unwrapped
    assert not issuer._unwrapped
    with pytest.raises(StoreError):
        issuer.handle(world.ask(me, joined, world.task("two")).data)
    with pytest.raises(StoreError):
        issuer.answer()


def test_a_denial_of_a_fresh_request_by_an_enrolled_key_is_recorded_once(world: World) -> None:
    """One entry and one stored answer a request, however often it comes."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, bytes(16))
    before = counts(world.client_db)
    answers = {issuer.handle(request.data) for _ in range(3)}
    assert len(answers) == 1
    after = counts(world.client_db)
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert {name: n for name, n in grown.items() if name != "ledger_nodes"} == {
        "ledger_entries": 1,
        "answers": 1,
        "spent_keys": 1,
    }


def test_old_answers_are_pruned_and_their_requests_stay_refused(world: World) -> None:
    """Once request and lease are over, the stored answer goes; the replay is stale by itself, and its key is spent."""
    me, joined = world.worker()
    issuer, key = world.issuer(), OneTimeKey.generate()
    old = world.ask(me, joined, world.task(), key=key)
    lease_outer(issuer.handle(old.data))
    world.clock.advance(timedelta(hours=2))
    relay = world.relay()
    relay.post(issuer_mailbox(world.lab.client_id), world.ask(me, joined, world.task()).data)
    assert issuer.answer().released == 1
    assert counts(world.client_db)["answers"] == 1
    assert denial_code(issuer.handle(old.data)) == "stale"
    assert denial_code(issuer.handle(world.ask(me, joined, world.task(), key=key).data)) == "replayed"


# Limits


def test_limits_hold_one_by_one(world: World) -> None:
    """Open, total and rate are counted from the leases themselves; closing frees a slot, never the total."""
    me, joined = world.worker(limits=Limits(max_open=1, max_total=3, per_hour=2, lease_ttl_s=600))
    issuer, names = world.issuer(), iter(["one", "two", "three", "four", "five"])

    def ask() -> tuple[Signed[OpenRequest], bytes | None]:
        request = world.ask(me, joined, world.task(next(names)))
        return request, issuer.handle(request.data)

    first, answer = ask()
    lease_outer(answer)
    assert denial_code(ask()[1]) == "limit-open"
    issuer.handle(world.receipt(me, first))
    lease_outer(ask()[1])
    world.clock.advance(10 * MINUTE)  # the second lease has expired: its slot is free without a receipt
    assert denial_code(ask()[1]) == "limit-rate"
    world.clock.advance(timedelta(hours=1) - 10 * MINUTE)  # both releases are exactly an hour old
    lease_outer(ask()[1])
    world.clock.advance(timedelta(hours=2))
    names = iter(["one"])
    assert denial_code(ask()[1]) == "limit-total"
    assert len(entries(world, Released)) == 3


def test_usage_is_what_counting_all_leases_gives(world: World) -> None:
    """Through opening, renewing, closing, expiring and hours: the numbers say the same as a count of the rows."""
    limits = Limits(max_open=40, max_total=60, per_hour=50, lease_ttl_s=600)
    me, joined = world.worker(limits=limits)
    other, other_joined = world.worker("ben", limits=limits)
    issuer, drawn = world.issuer(), random.Random(8)
    lived: list[tuple[Contractor, Signed[OpenRequest]]] = []
    for step in range(60):
        world.clock.advance(drawn.choice((timedelta(0), MS, MINUTE, 7 * MINUTE)))
        who, grant = drawn.choice(((me, joined), (other, other_joined)))
        renewed = drawn.choice([None, *(old.hash for owner, old in lived[-3:] if owner is who)])
        request = world.ask(who, grant, world.task(), replaces=renewed)
        if parse_frame(issuer.handle(request.data) or b"").type == Lease.TYPE:
            lived.append((who, request))
        if step % 3 == 0 and lived:
            owner, old = drawn.choice(lived)
            issuer.handle(world.receipt(owner, old))
        now_ms = to_ms(world.clock())
        for each in (joined, other_joined):
            found = issuer._state.usage(asked(world.ask(who, grant, world.task())), each.grant, world.clock())
            with closing(sqlite3.connect(world.client_db)) as db:
                counted = db.execute(
                    "SELECT count(*), coalesce(sum(issued_ms > ?), 0),"
                    " coalesce(sum(slot_ended_ms IS NULL AND expires_ms > ?), 0) FROM leases WHERE grant_hash = ?",
                    (now_ms - 3_600_000, now_ms, each.grant.hash),
                ).fetchone()
            assert (found.total_leases, found.released_last_hour, found.open_leases) == counted
    assert len(lived) > 20
    with closing(sqlite3.connect(world.client_db)) as db:
        numbers = db.execute("SELECT number FROM leases WHERE grant_hash = ? ORDER BY number", (joined.grant.hash,))
        assert [number for (number,) in numbers] == list(range(1, sum(who is me for who, _ in lived) + 1))


def test_rate_counts_releases_less_than_an_hour_old(world: World) -> None:
    """One millisecond before the hour is full it still counts."""
    me, joined = world.worker(limits=Limits(max_open=9, max_total=9, per_hour=1, lease_ttl_s=60))
    issuer = world.issuer()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    world.clock.advance(timedelta(hours=1) - MS)
    assert denial_code(issuer.handle(world.ask(me, joined, world.task()).data)) == "limit-rate"
    world.clock.advance(MS)
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))


def test_a_lease_ends_with_its_grant(world: World) -> None:
    """The grant's end cuts the lease; at the end itself nothing is released."""
    me, joined = world.worker(lasts=timedelta(minutes=30))
    issuer = world.issuer()
    assert lease_outer(issuer.handle(world.ask(me, joined, world.task()).data)).expires_at == joined.expires_at
    world.clock.advance(timedelta(minutes=30))
    assert denial_code(issuer.handle(world.ask(me, joined, world.task()).data)) == "expired"


@pytest.mark.parametrize("what", ["grant", "contractor", "batch", "project"])
def test_revocation_counts_at_once_in_a_running_issuer(world: World, what: str) -> None:
    """Another process revokes; the next request is refused, in an issuer that was started before."""
    me, joined = world.worker()
    issuer = world.issuer()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    other = world.open_client()
    if what == "grant":
        other.revoke_grant(joined.grant.message.grant_id)
    elif what == "contractor":
        other.revoke_contractor("ada")
    elif what == "batch":
        other.revoke_batch("eval", "w1")
    else:
        other.revoke_project("eval")
    assert denial_code(issuer.handle(world.ask(me, joined, world.task("two")).data)) == "revoked"
    assert len(entries(world, Released)) == 1
    assert [entry.kind for entry in entries(world, Revoked)] == [what]


def test_a_revoked_batch_leaves_the_others_alone_and_tells_strangers_nothing(world: World) -> None:
    """Tasks of another batch open; whoever never had the revoked batch in scope hears `unknown`, as of any batch."""
    me, joined = world.worker()
    stranger, elsewhere = world.worker("ben", scope=Scope(batches=["w2"]))
    issuer = world.issuer()
    world.lab.revoke_batch("eval", "w1")
    lease_outer(issuer.handle(world.ask(me, joined, world.task("four")).data))
    assert denial_code(issuer.handle(world.ask(stranger, elsewhere, world.task()).data)) == "unknown"
    for name in ("gold", "nothing"):
        with pytest.raises(GrantScopeError):
            world.lab.revoke_batch("eval", name)


# Receipts


def test_F12_a_receipt_is_bound_to_client_lease_item_and_contractor(world: World) -> None:
    """Another contractor's, item's, project's, client's or lease's receipt ends nothing and leaves no trace."""
    me, joined = world.worker()
    thief, _ = world.worker("ben")
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    first = issuer.handle(request.data)
    before = dump(world.client_db)
    wrong = [
        world.receipt(thief, request),
        world.receipt(me, request, item=world.task("two")),
        world.receipt(me, request, project=bytes(16)),
        world.receipt(me, request, client=bytes(32)),
        world.receipt(me, request, lease_id=bytes(32)),
        sign_message(replace(_receipt_of(world, me, request)), SigningKey.generate()).data,
    ]
    for receipt in wrong:
        assert issuer.handle(receipt) is None
    assert dump(world.client_db) == before
    assert issuer.handle(request.data) == first
    issuer.handle(world.receipt(me, request))
    assert [entry.event for entry in entries(world, ReceiptEntry)] == ["closed"]


def _receipt_of(world: World, me: Contractor, request: Signed[OpenRequest]) -> Receipt:
    from labelvault.wire.frame import open_frame

    return open_frame(world.receipt(me, request), Receipt, me.public_key).message


def test_a_pass_counts_each_receipt_that_it_recorded(world: World) -> None:
    """Two of one lease are two; the same once more is none; and the next pass counts anew."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    issuer.handle(request.data)
    mailbox = issuer_mailbox(world.lab.client_id)
    opened = world.receipt(me, request, "opened")
    for data in (opened, world.receipt(me, request), opened):
        world.relay().post(mailbox, data)
    report = issuer.answer()
    assert (report.receipts, report.junk, report.released) == (2, 0, 0)
    assert issuer.answer().receipts == 0


def test_a_pass_counts_each_denial_by_its_code(world: World) -> None:
    """Expired requests are counted and leave no trace; what was denied before is no denial of this pass."""
    me, joined = world.worker()
    issuer = world.issuer()
    late = [world.ask(me, joined, world.task()) for _ in range(3)]
    gold = [world.ask(me, joined, bytes([number]) * 16) for number in range(2)]
    for request in (*gold, gold[0]):
        world.relay().post(issuer_mailbox(world.lab.client_id), request.data)
    assert issuer.answer().denied == {"unknown": 2}
    world.clock.advance(DAY)
    before = len(entries(world, Denied))
    for request in late:
        world.relay().post(issuer_mailbox(world.lab.client_id), request.data)
    assert issuer.answer().denied == {"stale": 3}
    assert len(entries(world, Denied)) == before == 2


def test_only_a_close_ends_a_lease(world: World) -> None:
    """After `opened` and `submitted` the slot is taken and the stored answer stands; after `closed` neither."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    first = issuer.handle(request.data)
    for event in ("opened", "submitted"):
        issuer.handle(world.receipt(me, request, event))
        assert live(world) == 1
        assert issuer.handle(request.data) == first
    issuer.handle(world.receipt(me, request))
    assert live(world) == 0
    assert denial_code(issuer.handle(request.data)) == "replayed"


def test_F12_another_client_that_reuses_a_lease_id_ends_nothing(world: World) -> None:
    """Client B's issuer, and B's copy of the contractor's receipt, do not touch A's lease."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    first = issuer.handle(request.data)
    rival = world.create_client("rival")
    rival.enroll(me.card(), fingerprint=me.card_fingerprint, name="ada")
    receipt = world.receipt(me, request)
    for_rival = world.receipt(me, request, client=rival.client_id)
    before = dump(world.folder / "rival" / "client.db"), dump(world.client_db)
    theirs = world.issuer(rival)
    for each in (receipt, for_rival, request.data):
        assert theirs.handle(each) is None
    assert issuer.handle(for_rival) is None
    assert (dump(world.folder / "rival" / "client.db"), dump(world.client_db)) == before
    assert issuer.handle(request.data) == first


@pytest.mark.parametrize("claimed", [-30 * DAY, 365 * DAY])
def test_F12_a_claimed_time_shortens_nothing(world: World, claimed: timedelta) -> None:
    """The entry's time is the issuer's own, whatever the contractor's clock says."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    issuer.handle(request.data)
    world.clock.advance(7 * MINUTE)
    issuer.handle(world.receipt(me, request, at=world.clock() + claimed))
    (entry,) = entries(world, ReceiptEntry)
    assert entry.at == world.clock()


def test_R1_a_replayed_receipt_is_counted_once(world: World) -> None:
    """The same receipt, and another one of the same event, change nothing, also after a restart."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    issuer.handle(request.data)
    opened, closed = world.receipt(me, request, "opened"), world.receipt(me, request)
    for receipt in (opened, closed):
        issuer.handle(receipt)
    before = dump(world.client_db)
    world.clock.advance(MINUTE)
    again = world.receipt(me, request, erased="best-effort")
    for each in (issuer, world.issuer()):
        for receipt in (opened, closed, again):
            each.handle(receipt)
    assert dump(world.client_db) == before
    assert [entry.event for entry in entries(world, ReceiptEntry)] == ["opened", "closed"]


# Renewal


def test_F15_a_renewal_passes_the_slot_on_in_one_transaction(world: World) -> None:
    """With one slot, a chain of renewals keeps exactly one lease live; each one counts in the total."""
    me, joined = world.worker(limits=Limits(max_open=1, max_total=4, per_hour=50, lease_ttl_s=600))
    issuer = world.issuer()
    last = world.ask(me, joined, world.task())
    lease_outer(issuer.handle(last.data))
    for _ in range(3):
        world.clock.advance(5 * MINUTE)
        renewal = world.ask(me, joined, world.task(), replaces=last.hash)
        assert lease_outer(issuer.handle(renewal.data)).lease_id == renewal.hash
        assert live(world) == 1
        assert entries(world, Released)[-1].replaces == last.hash
        assert denial_code(issuer.handle(last.data)) in ("replayed", "stale")
        last = renewal
    assert denial_code(issuer.handle(world.ask(me, joined, world.task(), replaces=last.hash).data)) == "limit-total"
    assert live(world) == 1
    assert len(entries(world, Released)) == 4


def test_F15_a_chain_of_renewals_never_exceeds_the_rate(world: World) -> None:
    """A renewal is a release like any other to the hourly limit."""
    me, joined = world.worker(limits=Limits(max_open=1, max_total=50, per_hour=2, lease_ttl_s=600))
    issuer = world.issuer()
    first = world.ask(me, joined, world.task())
    lease_outer(issuer.handle(first.data))
    second = world.ask(me, joined, world.task(), replaces=first.hash)
    lease_outer(issuer.handle(second.data))
    assert denial_code(issuer.handle(world.ask(me, joined, world.task(), replaces=second.hash).data)) == "limit-rate"
    assert live(world) == 1


@pytest.mark.parametrize("fault", ["item", "grant", "contractor", "closed", "expired", "renewed", "never was"])
def test_F15_a_renewal_of_the_wrong_lease_is_refused_and_the_lease_lives_on(world: World, fault: str) -> None:
    """`replaces` names a live lease of the same grant, contractor and item, or nothing is released."""
    me, joined = world.worker()
    issuer = world.issuer()
    held = world.ask(me, joined, world.task())
    first = issuer.handle(held.data)
    asker, terms, item, named = me, joined, world.task(), held.hash
    if fault == "item":
        item = world.task("two")
    elif fault == "grant":
        terms = world.join(me, "ada")
    elif fault == "contractor":
        asker, terms = world.worker("ben")
    elif fault == "closed":
        issuer.handle(world.receipt(me, held))
    elif fault == "expired":
        world.clock.advance(timedelta(hours=1))
    elif fault == "renewed":
        issuer.handle(world.ask(me, joined, item, replaces=held.hash).data)
    else:
        named = bytes(32)
    released, open_before = len(entries(world, Released)), live(world)
    assert denial_code(issuer.handle(world.ask(asker, terms, item, replaces=named).data)) == "replaces"
    assert (len(entries(world, Released)), live(world)) == (released, open_before)
    if fault in ("item", "grant", "contractor", "never was"):
        assert issuer.handle(held.data) == first


# Presence


class Desk:
    """A desk whose grant names a presence device."""

    def __init__(self, world: World, name: str, device: SigningKey) -> None:
        self.device = device
        self.me = world.contractor(name, tier="desk", presence=device)
        world.enrol(self.me, name)
        self.joined = world.join(self.me, name)
        self._world = world

    def ask(self, item: bytes, *, age: timedelta = timedelta(0), **fields: Any) -> Signed[OpenRequest]:
        """A request that the device approved `age` ago."""
        request = self._world.ask(self.me, self.joined, item, **fields)
        return approved(request, identity(self.me), self.device, self._world.clock() - age)


def test_F14_an_approval_opens_one_task_once_within_five_minutes(world: World) -> None:
    """Approved it opens; unapproved, self-approved, hoarded or post-dated it does not."""
    desk = Desk(world, "desk", SigningKey.generate())
    issuer, task = world.issuer(), world.task()
    bare = world.ask(desk.me, desk.joined, task)
    own = approved(world.ask(desk.me, desk.joined, task), identity(desk.me), identity(desk.me), world.clock())
    old = desk.ask(task, age=5 * MINUTE + MS)
    early = desk.ask(task, age=-timedelta(seconds=120) - MS)
    for refused in (bare, own, old, early):
        assert denial_code(issuer.handle(refused.data)) == "presence"
    assert not entries(world, Released)
    good = desk.ask(task, age=5 * MINUTE)
    assert lease_outer(issuer.handle(good.data)).tier == "desk"
    assert entries(world, Released)[-1].presence == "key"


def test_F14_a_hoarded_approval_is_dead_after_five_minutes(world: World) -> None:
    """Signed in time and kept back, it opens nothing: neither by a long-lived request nor by its replay."""
    desk = Desk(world, "desk", SigningKey.generate())
    issuer = world.issuer()
    long_lived = world.ask(desk.me, desk.joined, world.task(), expires_at=world.clock() + 10 * MINUTE)
    hoarded = approved(long_lived, identity(desk.me), desk.device, world.clock())
    world.clock.advance(5 * MINUTE + MS)
    assert denial_code(issuer.handle(hoarded.data)) == "presence"
    assert denial_code(issuer.handle(hoarded.data)) == "presence"
    assert not entries(world, Released)


def test_F14_an_approval_can_not_be_reused_or_moved(world: World) -> None:
    """The thief at the desk signs anew around the device's signature: other key, item, renewal, desk or time."""
    device = SigningKey.generate()
    desk, second = Desk(world, "desk", device), Desk(world, "desk two", device)
    issuer, task = world.issuer(), world.task()
    good = desk.ask(task)
    first = issuer.handle(good.data)
    lease_outer(first)
    message, stolen = good.message, good.frame.cosignature
    moved = [
        replace(message, one_time_key=OneTimeKey.generate().public_key),
        replace(message, item=world.task("two"), one_time_key=OneTimeKey.generate().public_key),
        replace(message, replaces=good.hash, one_time_key=OneTimeKey.generate().public_key),
        replace(message, approved_at=world.clock() + MS, one_time_key=OneTimeKey.generate().public_key),
        replace(
            message, grant_hash=world.join(desk.me, "desk").grant.hash, one_time_key=OneTimeKey.generate().public_key
        ),
    ]
    for changed in moved:
        assert denial_code(issuer.handle(sign_message(changed, identity(desk.me), stolen).data)) == "presence"
    # At another desk of the same device, with that desk's own grant.
    elsewhere = replace(message, grant_hash=second.joined.grant.hash, one_time_key=OneTimeKey.generate().public_key)
    assert denial_code(issuer.handle(sign_message(elsewhere, identity(second.me), stolen).data)) == "presence"
    assert len(entries(world, Released)) == 1
    assert issuer.handle(good.data) == first


def test_waived_presence_stands_in_the_ledger(world: World) -> None:
    """A desk without presence is released to, and the entry says so."""
    me = world.contractor("desk", tier="desk")
    world.enrol(me, "desk")
    joined = world.join(me, "desk", waive_presence=True)
    lease_outer(world.issuer().handle(world.ask(me, joined, world.task()).data))
    assert (entries(world, Released)[-1].tier, entries(world, Released)[-1].presence) == ("desk", "waived")


# Time


def test_R4_a_clock_that_runs_behind_stops_the_issuer_and_records_nothing(world: World) -> None:
    """Also after a restart: the high-water mark is in `client.db`. Small steps back stand still instead."""
    me, joined = world.worker()
    issuer = world.issuer()
    high = world.clock()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    before = dump(world.client_db, without=())
    world.clock.advance(-timedelta(seconds=120) - MS)
    request = world.ask(me, joined, world.task("two"))
    for each in (issuer, world.issuer(world.open_client())):
        with pytest.raises(ClockError):
            each.handle(request.data)
        with pytest.raises(ClockError):
            each.handle(world.receipt(me, request, lease_id=entries(world, Released)[0].lease_id, item=world.task()))
    assert dump(world.client_db, without=()) == before
    world.clock.advance(MS)
    lease_outer(issuer.handle(request.data))
    assert entries(world, Released)[-1].at == high


def test_R4_the_issuers_time_never_runs_backwards_in_the_ledger(world: World) -> None:
    """Within the skew, entries keep the highest time seen, and leases count from it."""
    me, joined = world.worker()
    issuer = world.issuer()
    for step in (0, -60, 30, -90, 100):
        world.clock.advance(timedelta(seconds=step))
        issuer.handle(world.ask(me, joined, bytes(16)).data)
    times = [entry.at for entry in entries(world, Denied)]
    assert len(times) == 5
    assert times == sorted(times)


def test_R4_a_clock_that_jumped_past_the_certificates_end_locks_nothing_up(world: World) -> None:
    """Ten years ahead for a moment: nothing is released meanwhile, junk is counted, and set right it works again."""
    me, joined = world.worker()
    issuer, right = world.issuer(), world.clock()
    relay, mailbox = world.relay(), issuer_mailbox(world.lab.client_id)
    world.clock.advance(3650 * DAY)
    relay.post(mailbox, b"noise")
    assert issuer.answer().junk == 1
    request = world.ask(me, joined, world.task())
    with pytest.raises(GrantExpiredError):
        issuer.handle(request.data)
    world.clock.time = right
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))


def test_an_expired_certificate_releases_nothing(world: World) -> None:
    """At its end the issuer stops with an error and records nothing; one millisecond before, it works."""
    me, joined = world.worker(lasts=400 * DAY)
    issuer = world.issuer()
    end = world.lab.certificate.message.expires_at
    world.clock.time = end - MS
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    before = dump(world.client_db, without=())
    world.clock.time = end
    with pytest.raises(GrantExpiredError):
        issuer.handle(world.ask(me, joined, world.task("two")).data)
    assert dump(world.client_db, without=()) == before


# F13: what a swapped catalog gets


def _execute(world: World, *statements: tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(world.client_db)) as db, db:
        for statement, parameters in statements:
            db.execute(statement, parameters)


def _version(world: World, item: bytes) -> tuple:
    with closing(sqlite3.connect(world.client_db)) as db:
        return db.execute("SELECT digest, wrapped, metadata FROM versions WHERE item = ?", (item,)).fetchone()


SWAPS = ["wrap", "digest", "row", "digest bit", "wrap bit", "version", "project", "generation", "kek", "required"]


@pytest.mark.parametrize("swap", SWAPS)
def test_F13_a_swapped_catalog_certifies_nothing(world: World, swap: str) -> None:
    """Whatever was moved between rows, the wrap no longer fits: `unavailable`, recorded, nothing released."""
    me, joined = world.worker()
    other_project = world.lab.create_project("other")
    one, two = world.task("one"), world.task("two")
    digest, wrapped, metadata = _version(world, two)
    changes: dict[str, tuple[str, tuple[object, ...]]] = {
        "wrap": ("UPDATE versions SET wrapped = ? WHERE item = ?", (wrapped, one)),
        "digest": ("UPDATE versions SET digest = ? WHERE item = ?", (digest, one)),
        "row": (
            "UPDATE versions SET digest = ?, wrapped = ?, metadata = ? WHERE item = ?",
            (digest, wrapped, metadata, one),
        ),
        "digest bit": (
            "UPDATE versions SET digest = ? WHERE item = ?",
            (bytes([_version(world, one)[0][0] ^ 1]) + _version(world, one)[0][1:], one),
        ),
        "wrap bit": (
            "UPDATE versions SET wrapped = ? WHERE item = ?",
            (_version(world, one)[1][:-1] + bytes([_version(world, one)[1][-1] ^ 1]), one),
        ),
        "version": ("UPDATE versions SET version = 7 WHERE item = ?", (one,)),
        "project": ("UPDATE items SET project = ? WHERE kind != 'task'", (other_project.project_id,)),
        "generation": ("UPDATE versions SET kek_generation = 2 WHERE item = ?", (one,)),
        "kek": ("UPDATE versions SET kek_id = ? WHERE item = ?", (bytes(16), one)),
        "required": (
            "UPDATE versions SET wrapped = ? WHERE item = ?",
            (wrapped, world.id_of("guideline")),
        ),
    }
    _execute(world, changes[swap])
    if swap == "version":
        _execute(world, ("UPDATE items SET version = 7 WHERE item = ?", (one,)))
    issuer = world.issuer()
    request = world.ask(me, joined, one)
    answer = issuer.handle(request.data)
    assert denial_code(answer) == "unavailable"
    assert entries(world, Denied)[-1].code == "unavailable"
    assert entries(world, Denied)[-1].request_hash == request.hash
    assert not entries(world, Released)
    assert not counts(world.client_db)["leases"]
    assert issuer.handle(request.data) == answer
    world.lab.verify_ledger()
    if swap not in ("project", "required"):
        lease_outer(issuer.handle(world.ask(me, joined, two).data))


@pytest.mark.parametrize("fault", ["missing", "altered", "swapped"])
def test_F13_a_kek_file_that_is_gone_or_foreign_releases_nothing(world: World, fault: str) -> None:
    """KEKs rest in files of their own; one that was removed, altered or swapped makes the item unavailable."""
    me, joined = world.worker()
    world.lab.create_project("other")
    mine, other = sorted(
        (world.home / "keks").iterdir(), key=lambda path: path.name != _kek_name(world, world.project.project_id)
    )
    if fault == "missing":
        mine.unlink()
    elif fault == "altered":
        mine.write_bytes(mine.read_bytes()[:-1] + b"\0")
    else:
        mine.write_bytes(other.read_bytes())
    issuer = world.issuer()
    assert denial_code(issuer.handle(world.ask(me, joined, world.task()).data)) == "unavailable"
    assert entries(world, Denied)[-1].code == "unavailable"
    assert not entries(world, Released)


def _kek_name(world: World, project: bytes) -> str:
    with closing(sqlite3.connect(world.client_db)) as db:
        kek, generation = db.execute(
            "SELECT kek_id, kek_generation FROM projects WHERE project = ?", (project,)
        ).fetchone()
    return f"{kek.hex()}.{generation}.kek"


@pytest.mark.parametrize("fault", ["altered", "another's", "self-signed"])
def test_F13_a_grant_row_that_was_swapped_grants_nothing(world: World, fault: str) -> None:
    """A grant counts for the identity key's signature on it, also in our own state."""
    me, joined = world.worker()
    _, wide = world.worker("ben", limits=Limits(max_open=9, max_total=900, per_hour=900, lease_ttl_s=9000))
    frame = joined.grant.data
    if fault == "altered":
        frame = frame[:-1] + bytes([frame[-1] ^ 1])
    elif fault == "another's":
        frame = wide.grant.data
    else:
        frame = sign_message(joined.grant.message, SigningKey.generate()).data
    _execute(world, ("UPDATE grants SET frame = ? WHERE hash = ?", (frame, joined.grant.hash)))
    issuer = world.issuer()
    code = denial_code(issuer.handle(world.ask(me, joined, world.task()).data))
    assert code == ("unknown" if fault == "another's" else "unavailable")
    assert entries(world, Denied)[-1].code == code
    assert not entries(world, Released)


def test_F13_requirements_that_can_not_open_make_the_task_unavailable(world: World) -> None:
    """A required item that is gold, a task, gone or elsewhere is never released with a task."""
    me, joined = world.worker()
    issuer = world.issuer()
    for name, change in {
        "one": ("UPDATE items SET kind = kind, version = NULL WHERE kind = 'guideline'", ()),
        "two": ("UPDATE items SET version = 1 WHERE kind = 'guideline'", ()),
    }.items():
        _execute(world, change)
        answer = issuer.handle(world.ask(me, joined, world.task(name)).data)
        if name == "one":
            assert denial_code(answer) == "unavailable"
        else:
            lease_outer(answer)


EPOCH_START, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
ANY_TIME = st.integers(0, (LAST - EPOCH_START) // MS).map(lambda ms: EPOCH_START + ms * MS)


class Insider:
    """One world for many examples, and an enrolled contractor in it."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.world = World(folder, template)
        limits = Limits(max_open=1000, max_total=1000, per_hour=1000, lease_ttl_s=60)
        self.me, self.joined = self.world.worker(limits=limits)


@pytest.fixture(scope="module")
def insider(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Insider]:
    """Someone who is enrolled, and signs what they like."""
    made = Insider(tmp_path_factory.mktemp("insider"), template)
    yield made
    made.world.lab.verify_ledger()
    made.world.close()


ID, HASH = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "project": ID,
    "epoch": ID,
    "grant_hash": HASH,
    "item": ID,
    "one_time_key": st.integers(0, 255).map(lambda byte: bytes([byte]) * 1216),
    "replaces": HASH,
    "approved_at": ANY_TIME,
}


@given(
    fields=st.fixed_dictionaries({}, optional=FIELDS), start=st.none() | ANY_TIME, lifetime_ms=st.integers(1, 600_000)
)
@settings(max_examples=40)
def test_whatever_an_insider_signs_gets_an_answer(
    insider: Insider, fields: dict[str, Any], start: datetime | None, lifetime_ms: int
) -> None:
    """Requests of an enrolled key with any field off: a lease or a denial, never an error that stops the issuer."""
    world = insider.world
    at = start or world.clock()
    request = world.ask(insider.me, insider.joined, world.task(), **fields, at=at, expires_at=at + lifetime_ms * MS)
    with world.lab.issuer() as issuer:
        answer = issuer.handle(request.data)
        assert answer is not None
        assert parse_frame(answer).type in (Lease.TYPE, Denial.TYPE)
        assert request.message.expires_at <= world.clock() or issuer.handle(request.data) == answer


# The mailbox


def hold_at_most(count: int, issuer: Issuer, patched: pytest.MonkeyPatch) -> None:
    """Let each mailbox take so many messages of an issuer's and no more."""
    relay = issuer._relay
    assert isinstance(relay, LocalRelay)
    patched.setattr(relay._store, "_max_pending", count)


def test_a_pass_answers_each_message_once_and_reports(world: World) -> None:
    """Requests, receipts and junk of one pass; the next one has nothing to do."""
    me, joined = world.worker()
    relay, issuer = world.relay(), world.issuer()
    mailbox = issuer_mailbox(world.lab.client_id)
    request = world.ask(me, joined, world.task())
    for data in (request.data, world.ask(me, joined, bytes(16)).data, b"noise", world.receipt(me, request)):
        relay.post(mailbox, data)
    report = issuer.answer()
    assert (report.released, report.denied, report.receipts, report.junk) == (1, {"unknown": 1}, 1, 1)
    assert report.handled == 4
    assert issuer.answer().handled == 0
    found = [data for _, data in relay.fetch(contractor_mailbox(world.lab.client_id, me.public_key))]
    assert len(found) == 3
    assert lease_outer(found[0]).lease_id == request.hash
    assert ack_of(found[2]).lease_id == request.hash


def test_a_contractors_full_mailbox_does_not_stop_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer that can't be delivered is offered again in the next pass, identical and counted once."""
    me, joined = world.worker()
    other, other_joined = world.worker("ben")
    relay, issuer = world.relay(), world.issuer()
    first, second = world.ask(me, joined, world.task()), world.ask(other, other_joined, world.task())
    full = contractor_mailbox(world.lab.client_id, me.public_key)
    for request in (first, second):
        relay.post(issuer_mailbox(world.lab.client_id), request.data)
    for noise in (b"one", b"two"):
        relay.post(full, noise)
    with monkeypatch.context() as patched:
        hold_at_most(2, issuer, patched)
        report = issuer.answer()
        assert (report.released, report.undelivered) == (2, 1)
        assert len(relay.fetch(contractor_mailbox(world.lab.client_id, other.public_key))) == 1
    assert issuer.answer().released == 0
    assert lease_outer(relay.fetch(full)[2][1]).lease_id == first.hash
    assert len(entries(world, Released)) == 2


def test_an_answer_that_nobody_waits_for_is_not_offered_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undeliverable until the request expired, it is acknowledged; one millisecond earlier it still waits."""
    me, joined = world.worker()
    relay, issuer = world.relay(), world.issuer()
    mailbox = issuer_mailbox(world.lab.client_id)
    request = world.ask(me, joined, world.task())
    relay.post(mailbox, request.data)
    hold_at_most(0, issuer, monkeypatch)
    world.clock.time = request.message.expires_at - MS
    assert issuer.answer().undelivered == 1
    assert relay.fetch(mailbox)
    world.clock.time = request.message.expires_at
    assert issuer.answer().undelivered == 1
    assert not relay.fetch(mailbox)


def test_R6_a_request_is_expired_at_equality_and_leaves_no_trace(world: World) -> None:
    """At its very end it is stale like any later replay."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    before = dump(world.client_db)
    world.clock.time = request.message.expires_at
    assert denial_code(issuer.handle(request.data)) == "stale"
    assert dump(world.client_db) == before


def test_R6_a_certificate_is_valid_from_its_first_millisecond(world: World) -> None:
    """A client that was made just now can release at once."""
    lab = world.create_client("new")
    project = lab.create_project("p", floor_bytes=256)
    project.seal(world.source)
    me = world.contractor("ada")
    world.enrol(me, "ada", lab)
    joined = world.join(me, "ada", lab=lab, project=project)
    assert lab.certificate.message.not_before == world.clock()
    lease_outer(world.issuer(lab).handle(world.ask(me, joined, world.task("one", project)).data))


def test_a_loop_reports_passes_that_did_something_and_stops_when_told(world: World) -> None:
    """Empty passes are not reported."""
    relay, stop, issuer = world.relay(), threading.Event(), world.issuer()
    relay.post(issuer_mailbox(world.lab.client_id), b"noise")
    reports = []

    def on_pass(report: AnswerReport) -> None:
        reports.append(report)
        relay.post(issuer_mailbox(world.lab.client_id), b"more noise")
        if len(reports) == 2:
            stop.set()

    issuer.run(stop, poll_s=0.001, on_pass=on_pass)
    assert [report.junk for report in reports] == [1, 1]
    world.issuer().answer()
    stop.clear()
    quiet = threading.Timer(0.2, stop.set)
    quiet.start()
    issuer.run(stop, poll_s=0.001, on_pass=on_pass)
    quiet.join()
    assert len(reports) == 2


def test_a_denial_brings_the_current_certificate_and_names_its_request(world: World) -> None:
    """So that a contractor who is behind can catch up, and takes no other request's denial."""
    from labelvault.wire.frame import open_frame

    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, bytes(16))
    answer = issuer.handle(request.data)
    assert answer is not None
    denial = open_frame(answer, Denial, world.lab.certificate.message.issuer).message
    assert denial.certificate == world.lab.certificate.data
    assert denial.request_hash == request.hash
    assert denial.client == world.lab.client_id


def test_a_denial_that_can_not_be_delivered_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contractor who fills his own mailbox can't fill the issuer's with requests that are dated far ahead."""
    me, joined = world.worker()
    relay, issuer = world.relay(), world.issuer()
    mailbox = issuer_mailbox(world.lab.client_id)
    year_9999 = datetime(9999, 1, 1, tzinfo=UTC)
    far = world.ask(me, joined, world.task(), at=year_9999, expires_at=year_9999 + timedelta(minutes=5))
    relay.post(mailbox, far.data)
    hold_at_most(0, issuer, monkeypatch)
    report = issuer.answer()
    assert (report.denied, report.undelivered) == ({"stale": 1}, 1)
    assert not relay.fetch(mailbox)


# Several messages at once


def test_messages_that_come_together_are_judged_one_by_one(world: World) -> None:
    """Junk, a repetition and a refusal between requests change neither the leases nor each other."""
    me, joined = world.worker()
    one, two = (world.ask(me, joined, world.task(name)).data for name in ("one", "two"))
    over = world.ask(me, joined, world.task("three")).data
    answers = world.issuer().handle_all([one, b"junk", one, two, over])
    assert lease_outer(answers[0]).item == world.task("one")
    assert answers[1] is None
    assert answers[2] == answers[0]
    assert lease_outer(answers[3]).item == world.task("two")
    # The third is one more than may be open at once, counted with those before it.
    assert denial_code(answers[4]) == "limit-open"
    assert [entry.task for entry in entries(world, Released)] == [world.task("one"), world.task("two")]
    assert len(entries(world, Denied)) == 1
    world.lab.verify_ledger()


def test_G5_what_comes_together_is_recorded_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the commit fails, no answer leaves, and the same messages are answered later."""
    me, joined = world.worker()
    requests = [world.ask(me, joined, world.task(name)).data for name in ("one", "two")]
    issuer, before = world.issuer(), counts(world.client_db)
    with monkeypatch.context() as patched:
        real = issuer._database._run

        def failing(statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
            if statement == "COMMIT":
                raise StoreError("injected")
            return real(statement, parameters)

        patched.setattr(issuer._database, "_run", failing)
        with pytest.raises(StoreError, match="injected"):
            issuer.handle_all(requests)
    assert counts(world.client_db) == before
    assert [lease_outer(answer).item for answer in issuer.handle_all(requests)] == [
        world.task("one"),
        world.task("two"),
    ]
    assert len(entries(world, Released)) == 2
