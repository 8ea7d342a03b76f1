"""Issuing ahead: all or none, again the same, refused with a reason, and counted from its issue."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import AnswerReport, Limits, Scope
from labelvault.client.ahead import issue
from labelvault.contractor import Contractor, Membership
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import (
    EnrolmentError,
    FormatError,
    GrantError,
    GrantLimitError,
    GrantScopeError,
    IssueRefusedError,
    LabelVaultError,
    PrekeyError,
    PrekeyExpiredError,
    PrekeysUsedError,
    RelayError,
    SignatureError,
)
from labelvault.issuer.state import MAX_KEPT_BUNDLES
from labelvault.ledger.entries import Released
from labelvault.ledger.exposure import open_items
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import parse_frame, sign_message
from labelvault.wire.framefile import pack_frames, unpack_frames
from labelvault.wire.ids import issuer_mailbox, status_mailbox
from labelvault.wire.messages import Lease, LeaseOuter
from labelvault.wire.schema import decode_record
from tests.world import DAY, MINUTE, PASSPHRASE, World, dump, entries, identity

LIMITS = Limits(max_open=3, max_total=4, per_hour=100, lease_ttl_s=3600)


def worker(world: World, name: str = "ada", limits: Limits = LIMITS) -> tuple[Contractor, Membership]:
    return world.worker(name, limits=limits)


def changed(me: Contractor, data: bytes, **fields: Any) -> bytes:
    """A file of one bundle, signed again with other fields."""
    (frame,) = unpack_frames(data)
    bundle = decode_record(PrekeyBundle, parse_frame(frame).body)
    return pack_frames([sign_message(replace(bundle, **fields), identity(me)).data])


def test_C7_issuing_again_gives_the_same_leases(world: World) -> None:
    """After a crash that lost the answer, the same bytes; more tasks go on; nothing is counted twice."""
    me, _ = worker(world)
    prekeys = me.ahead.make_prekeys(5)
    first = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=prekeys)
    before = dump(world.client_db)
    again = issue(world.lab, "ada", Scope(items=["two", "one"]), prekeys=prekeys)
    assert {lease.frame for lease in again.leases} == {lease.frame for lease in first.leases}
    assert all(lease.again for lease in again.leases)
    after = dump(world.client_db)
    assert {name: rows for name, rows in after.items() if name != "meta"} == {
        name: rows for name, rows in before.items() if name != "meta"
    }
    more = issue(world.lab, "ada", Scope(items=["one", "two", "three"]), prekeys=prekeys)
    assert [lease.again for lease in more.leases] == [True, True, False]
    assert more.unused == 2
    assert len(entries(world, Released)) == 3


@pytest.mark.parametrize(
    ("code", "tasks"),
    [("limit-open", ["one", "two", "three", "four"]), ("unknown", ["one", "five"])],
    ids=["limit", "scope"],
)
def test_G12_one_refusal_refuses_all_and_names_the_task(world: World, code: str, tasks: list[str]) -> None:
    """Nothing is issued, recorded or spent; what is allowed is issued with the same prekeys afterwards."""
    me = world.contractor("ada")
    world.enrol(me, "ada")
    world.join(me, "ada", limits=LIMITS, scope=Scope(batches=["w1"], items=["four"]))
    prekeys = me.ahead.make_prekeys(5)
    before = dump(world.client_db)
    with pytest.raises(IssueRefusedError) as refused:
        issue(world.lab, "ada", Scope(items=tasks), prekeys=prekeys)
    assert (refused.value.item, refused.value.code) == (world.task(tasks[-1]), code)
    assert dump(world.client_db) == before
    report = issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    assert report.unused == 4


@pytest.mark.parametrize("age_s", [60, 604_800])
def test_the_age_of_a_status_may_be_either_bound(world: World, age_s: int) -> None:
    """A minute and seven days are the last that are taken, and the lease says so."""
    me, _ = worker(world)
    report = issue(world.lab, "ada", Scope(items=["one"]), prekeys=me.ahead.make_prekeys(1), status_max_age_s=age_s)
    (lease,) = report.leases
    outer = decode_record(LeaseOuter, decode_record(Lease, parse_frame(lease.frame).body).outer)
    assert outer.status_max_age_s == age_s


def test_what_stops_requests_stops_issuing_ahead(world: World) -> None:
    """Frozen, revoked: each with its code, and nothing changed but what stopped it."""
    me, membership = worker(world)
    prekeys = me.ahead.make_prekeys(2)
    world.lab.freeze("eval")
    with pytest.raises(IssueRefusedError) as refused:
        issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    assert refused.value.code == "frozen"
    world.lab.unfreeze("eval")
    issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    world.lab.revoke_grant(membership.grant.message.grant_id)
    with pytest.raises(IssueRefusedError) as refused:
        issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    assert refused.value.code == "revoked"


def test_C4_bad_prekeys_are_refused_with_nothing_burnt(world: World) -> None:
    """Forged, another contractor's, another client's, expired, of another epoch, too few: each its own error."""
    me, _ = worker(world)
    ben, _ = worker(world, "ben")
    good = me.ahead.make_prekeys(1)
    now = world.clock()
    foreign = changed(me, good, client=b"x" * 32)
    expired = changed(me, good, at=now - 2 * DAY, expires_at=now)
    bad: list[tuple[bytes, type[LabelVaultError]]] = [
        (good[:-1], FormatError),
        (good[:-10] + bytes([good[-10] ^ 1]) + good[-9:], LabelVaultError),
        (ben.ahead.make_prekeys(1), SignatureError),
        (changed(ben, ben.ahead.make_prekeys(1)), SignatureError),
        (foreign, EnrolmentError),
        (expired, PrekeyExpiredError),
        (changed(me, good, epoch=b"x" * 16), PrekeyError),
        (me.card(), FormatError),
    ]
    before = dump(world.client_db)
    for data, error in bad:
        with pytest.raises(error):
            issue(world.lab, "ada", Scope(items=["one"]), prekeys=data)
        assert dump(world.client_db) == before
    with pytest.raises(PrekeysUsedError) as few:
        issue(world.lab, "ada", Scope(items=["one", "two", "three"]), prekeys=good)
    assert few.value.missing == 2
    assert dump(world.client_db) == before
    assert len(issue(world.lab, "ada", Scope(items=["one"]), prekeys=good).leases) == 1
    with pytest.raises(PrekeysUsedError):
        issue(world.lab, "ada", Scope(items=["two"]), prekeys=good)


def test_names_that_mean_nothing_are_refused(world: World) -> None:
    """No such contractor, grant, task or batch; several grants; a status that may be too old or too young."""
    me, membership = worker(world)
    prekeys = me.ahead.make_prekeys(1)
    one = Scope(items=["one"])
    for error, call in (
        (EnrolmentError, lambda: issue(world.lab, "ben", one, prekeys=prekeys)),
        (GrantError, lambda: issue(world.lab, "ada", one, prekeys=prekeys, grant_id=b"g" * 16)),
        (GrantScopeError, lambda: issue(world.lab, "ada", Scope(items=["nothing"]), prekeys=prekeys)),
        (GrantScopeError, lambda: issue(world.lab, "ada", Scope(batches=["nothing"]), prekeys=prekeys)),
        (FormatError, lambda: issue(world.lab, "ada", one, prekeys=prekeys, status_max_age_s=59)),
        (FormatError, lambda: issue(world.lab, "ada", one, prekeys=prekeys, status_max_age_s=604801)),
    ):
        with pytest.raises(error):
            call()
    world.join(me, "ada")
    with pytest.raises(GrantError, match="2 grants"):
        issue(world.lab, "ada", one, prekeys=prekeys)
    report = issue(world.lab, "ada", one, prekeys=prekeys, grant_id=membership.grant.message.grant_id)
    assert len(report.leases) == 1
    assert world.issuer().ahead.status().message.revoked == ()


def test_more_revoked_than_a_status_can_say_stops_no_issuer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, posts none, since a part would pass for all, and goes on: requests are answered."""
    monkeypatch.setattr("labelvault.issuer.status.MAX_STATUS_REVOKED", 0)
    _, membership = world.worker("eve")
    ada, adas = world.worker()
    issuer, stop = world.issuer(), threading.Event()
    told: list[Exception] = []
    passes: list[AnswerReport] = []
    assert not world.lab.revoke_grant(membership.grant.message.grant_id)
    world.relay().post(issuer_mailbox(world.lab.client_id), world.ask(ada, adas, world.task("one")).data)
    issuer.run(stop, on_away=told.append, on_pass=passes.append, on_turn=lambda reached: stop.set())
    assert [type(error) for error in told] == [GrantLimitError]
    assert [report.released for report in passes] == [1]
    assert issuer.ahead.posted is None
    with pytest.raises(GrantLimitError):
        issuer.run(threading.Event())


def test_a_closed_task_is_not_issued_again_and_an_expired_one_is(world: World) -> None:
    """From the same prekeys: what was closed is done; what nobody opened in time gets another key."""
    me, _ = worker(world)
    prekeys = me.ahead.make_prekeys(3)
    report = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=prekeys)
    me.take(pack_frames(report.frames))
    me.open_task(world.task("one")).close()
    world.issuer().answer()
    again = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=prekeys)
    assert again.closed == (world.task("one"),)
    assert [lease.item for lease in again.leases] == [world.task("two")]
    world.clock.advance(timedelta(seconds=3600))
    later = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=prekeys)
    assert [lease.again for lease in later.leases] == [False]
    assert later.leases[0].lease_id != again.leases[0].lease_id


def test_L3_a_lease_issued_ahead_counts_as_exposed_from_its_issue_to_its_end(world: World) -> None:
    """Nobody knows when it is opened; only its own close receipt shortens it, and a best-effort one does not."""
    me, _ = worker(world)
    issued_at = world.clock()
    report = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=me.ahead.make_prekeys(2))
    ids = [lease.lease_id for lease in report.leases]

    def stated(start: timedelta) -> set[bytes]:
        at = issued_at + start
        found = open_items(
            world.lab.ledger_entries(), contractors=frozenset([me.public_key]), start=at, end=at + MINUTE
        )
        return {exposure.lease_id for exposure in found}

    assert stated(timedelta(0)) == stated(timedelta(minutes=59)) == set(ids)
    me.take(pack_frames(report.frames))
    world.clock.advance(MINUTE)
    me.begin(world.task("one")).close()
    world.issuer().answer()
    assert stated(timedelta(minutes=30)) == {ids[1]}
    assert stated(timedelta(0)) == set(ids)


def test_L6_kept_prekeys_have_a_bound_and_go_when_they_expire(world: World) -> None:
    """One contractor's flood fills its own share; what is over the bound is junk, expired or of another client too."""
    me, _ = worker(world)
    (frame,) = unpack_frames(me.ahead.make_prekeys(1))
    bundle = decode_record(PrekeyBundle, parse_frame(frame).body)
    issuer, now = world.issuer(), world.clock()
    for number in range(MAX_KEPT_BUNDLES + 3):
        data = sign_message(replace(bundle, expires_at=now + DAY + number * MINUTE), identity(me)).data
        assert issuer.handle(data) is None
    for fields in ({"client": b"x" * 32}, {"at": now - DAY, "expires_at": now}):
        issuer.handle(sign_message(replace(bundle, **fields), identity(me)).data)
    assert len(dump(world.client_db)["prekey_bundles"]) == MAX_KEPT_BUNDLES
    world.clock.advance(2 * DAY)
    world.relay().post(issuer_mailbox(world.lab.client_id), b"junk")
    issuer.answer()
    assert dump(world.client_db)["prekey_bundles"] == []


def test_collecting_prekeys_takes_them_once_and_leaves_all_else_waiting(world: World) -> None:
    """Bundles are kept and acknowledged; a request, junk, and what is no bundle by its words wait for the issuer."""
    me, joined = worker(world)
    (bundle,) = unpack_frames(me.ahead.make_prekeys(1))
    request = make_request(joined, identity(me), world.task(), OneTimeKey.generate().public_key, world.clock())
    mailbox, relay = issuer_mailbox(world.lab.client_id), world.relay()
    for data in (request.data, bundle, b"junk", bundle[:-1]):
        relay.post(mailbox, data)
    issuer = world.issuer()
    assert issuer.ahead.collect() == 1
    assert len(dump(world.client_db)["prekey_bundles"]) == 1
    assert [data for _, data in relay.fetch(mailbox, after=0, limit=9)] == [request.data, b"junk", bundle[:-1]]
    assert issuer.ahead.collect() == 0
    assert issuer.answer().released == 1


def test_without_a_vault_leases_are_issued_all_the_same(world: World) -> None:
    """The address leads nowhere: files go out; only what needs the vault says that it is away."""
    me, _ = worker(world)
    prekeys = me.ahead.make_prekeys(2)
    shutil.rmtree(world.folder / "vendor")
    lab = world.open_client()
    report = issue(lab, "ada", Scope(items=["one"]), prekeys=prekeys)
    assert len(report.leases) == 1
    assert not lab.freeze("eval")
    assert lab.unfreeze("eval") is False
    with pytest.raises(LabelVaultError):
        issue(lab, "ada", Scope(items=["two"]), prekeys=prekeys, post=True)
    with pytest.raises(LabelVaultError):
        issue(lab, "ada", Scope(items=["two"]))
    assert not (world.folder / "vendor").exists()


ISSUING = """
import sys
import threading
from pathlib import Path
from labelvault.client import Client, PassphraseRoot, Scope
from labelvault.client.ahead import issue
from labelvault.wire.framefile import pack_frames
home, prekeys, out = map(Path, sys.argv[1:4])
with Client.open(home, PassphraseRoot(sys.argv[4])) as lab:
    report = issue(lab, "ada", Scope(items=["one", "two"]), prekeys=prekeys.read_bytes())
    out.write_bytes(pack_frames(report.frames))
"""


def test_issuing_works_with_no_network_at_all(world: World, tmp_path: Path) -> None:
    """In a network namespace with nothing in it, not even loopback up: a file in, a file out, and it opens."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here, which makes network namespaces")
    prefix = [unshare, "-n"] if os.geteuid() == 0 else [unshare, "-rn"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces can't be made here")
    (me, _), task = worker(world), world.task()
    (tmp_path / "prekeys").write_bytes(me.ahead.make_prekeys(2))
    world.lab.close()
    shutil.move(world.folder / "vendor", tmp_path / "away")
    script = [sys.executable, "-c", ISSUING, str(world.home), str(tmp_path / "prekeys"), str(tmp_path / "leases")]
    subprocess.run([*prefix, *script, PASSPHRASE], check=True, timeout=60)
    shutil.move(tmp_path / "away", world.folder / "vendor")
    assert me.take((tmp_path / "leases").read_bytes()).leases == 2
    me.open_task(task).close()


def test_C1_killed_while_issuing_leaves_all_or_nothing(world: World, tmp_path: Path) -> None:
    """At whatever moment it dies, the ledger has none or all of the releases, and the next call gives all."""
    me, _ = worker(world)
    (tmp_path / "prekeys").write_bytes(me.ahead.make_prekeys(2))
    out = tmp_path / "leases"
    script = [sys.executable, "-c", ISSUING, str(world.home), str(tmp_path / "prekeys"), str(out), PASSPHRASE]
    for delay_s in (0.3, 0.5, 0.6, 0.7, 0.8, 1.0):
        process = subprocess.Popen(script)
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(entries(world, Released)) in (0, 2)
        world.lab.verify_ledger()
    subprocess.run(script, check=True, timeout=60)
    assert len(entries(world, Released)) == 2
    assert me.take(out.read_bytes()).leases == 2


def test_a_running_issuer_posts_a_status_at_once_and_then_in_its_time(world: World) -> None:
    """So that leases issued ahead go on opening."""
    mailbox, relay = status_mailbox(world.lab.client_id), world.relay()
    with world.serving():
        end = time.monotonic() + 30
        while not relay.fetch(mailbox) and time.monotonic() < end:
            time.sleep(0.02)
    assert len(relay.fetch(mailbox)) == 1


def test_a_vault_that_is_away_is_said_when_a_status_is_posted(world: World) -> None:
    """The library raises; revoking itself stands all the same."""
    shutil.rmtree(world.folder / "vendor")
    with pytest.raises((RelayError, LabelVaultError)):
        world.issuer().ahead.post_status()
