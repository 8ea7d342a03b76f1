"""Containment: what a statement states is frozen, revoked, sealed again and passed on; killed anywhere, it goes on."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, Limits, Orders
from labelvault.client.containment_work import successor_id
from labelvault.contractor import Contractor
from labelvault.errors import (
    EnrolmentError,
    FormatError,
    GrantError,
    GrantRevokedError,
    LedgerError,
    RelayError,
    SignatureError,
    TamperedError,
)
from labelvault.issuer.service import Issuer
from labelvault.ledger.entries import Frozen, Granted, Revoked
from labelvault.relay.local import LocalRelay
from labelvault.stores.values import ItemPart
from labelvault.vendor import Vault
from labelvault.wire.frame import Signed
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.messages import OpenRequest
from tests.client.exposing import begin_epoch
from tests.client.killing import steps_done
from tests.world import DAY, MINUTE, World, ack_of, approved, denial_code, dump, entries, identity, lease_outer

LIMITS = Limits(max_open=5, max_total=20, per_hour=50, lease_ttl_s=1800)


class Breach:
    """A desk without presence: one task closed before, two open when a thief was there. A helper worked meanwhile.

    Attributes:
        statement: signed, of the vendor's host, while the project was not frozen yet.
        opened: names of what lay open at the desk in the window.
    """

    opened = ("two", "three")

    def __init__(self, world: World) -> None:
        self.world = world
        self.issuer: Issuer = world.issuer()
        self.desk = world.contractor("desk 7", tier="desk")
        world.enrol(self.desk, "desk 7")
        self.desks = world.join(self.desk, "desk 7", limits=LIMITS, waive_presence=True)
        self.ada, self.adas = world.worker(limits=LIMITS)
        closed = self.release("one")
        assert self.issuer.handle(world.receipt(self.desk, closed)) is not None
        world.clock.advance(10 * MINUTE)
        self.start = world.clock()
        self.leases = [self.release(name) for name in self.opened]
        lease_outer(self.issuer.handle(world.ask(self.ada, self.adas, world.task("four")).data))
        self.end = world.clock.advance(5 * MINUTE)
        self.statement = self.stated()

    def release(self, name: str) -> Signed[OpenRequest]:
        """Release a task to the desk."""
        request = self.world.ask(self.desk, self.desks, self.world.task(name))
        lease_outer(self.issuer.handle(request.data))
        return request

    def stated(self, surface: str = "vendor", project: str | None = None, lab: Client | None = None) -> bytes:
        """State the window."""
        return (lab or self.world.lab).statement(surface, self.start, self.end, project).file

    def successor(self, name: str = "desk 8") -> Contractor:
        """A clean desk with a new card."""
        made = self.world.contractor(name, tier="desk")
        self.world.enrol(made, name)
        return made


@pytest.fixture
def breach(world: World) -> Breach:
    """A world with a breach in it."""
    return Breach(world)


def current(world: World) -> dict[str, int]:
    """Current versions by name."""
    return {each.name: each.version for each in world.open_client().project("eval").items()}


def home_bytes(world: World) -> dict[str, bytes]:
    """Every byte of the client's home."""
    return {str(path): path.read_bytes() for path in sorted(world.home.rglob("*")) if path.is_file()}


def test_a_dry_run_counts_each_step_and_changes_not_one_byte(breach: Breach) -> None:
    """The home is byte for byte the same, and so is the vault; the run does what the plan said."""
    world = breach.world
    breach.successor()
    orders = Orders(allow=(("desk 7", "desk 8"),), unfreeze=True)
    world.lab.close()
    breach.issuer.close()
    before, vault = home_bytes(world), dump(world.folder / "vendor/vault.db")
    with world.open_client() as lab:
        plan = lab.plan_containment(breach.statement, orders)
    assert home_bytes(world) == before
    assert dump(world.folder / "vendor/vault.db") == vault
    # Two tasks, the guideline, the picture that they bring; the rubric was required by none.
    exposed = len(plan.rekey[0].plan.versions)
    assert plan.counts == {
        "freeze": (1, 0),
        "revoke": (1, 0),
        "drop": (0, 0),
        "rekey": (exposed, 0),
        "reissue": (1, 0),
        "unfreeze": (1, 0),
    }
    assert exposed == 4
    world.lab = world.open_client()
    report = world.lab.contain(breach.statement, orders)
    assert (report.plan.freeze, report.plan.revoke, report.plan.rekey) == (plan.freeze, plan.revoke, plan.rekey)
    assert (report.frozen, report.revoked, report.thawed) == (("eval",), ("desk 7",), ("eval",))
    assert [(name, len(done.versions)) for name, done in report.rekeyed] == [("eval", exposed)]
    assert report.holds
    assert report.left.is_done


def test_what_was_exposed_gets_new_versions_and_nothing_else_does(breach: Breach) -> None:
    """Ada's task and the one closed before stay; the thief is refused; ada, who was not there, keeps her grant."""
    world = breach.world
    assert world.lab.contain(breach.statement).holds
    found = current(world)
    assert {name for name, version in found.items() if version == 2} == {"two", "three", "how.md", "picture.png"}
    assert {entry.id for entry in entries(world, Revoked)} == {breach.desk.public_key}
    issuer = world.issuer()
    assert denial_code(issuer.handle(world.ask(breach.desk, breach.desks, world.task("five")).data)) == "revoked"
    assert denial_code(issuer.handle(world.ask(breach.ada, breach.adas, world.task("two")).data)) == "frozen"
    world.lab.unfreeze("eval")
    lease_outer(issuer.handle(world.ask(breach.ada, breach.adas, world.task("two")).data))
    version = world.lab.database.scalar("SELECT max(version) FROM leases WHERE item = ?", world.task("two"))
    assert version == 2


def test_a_second_run_does_nothing(breach: Breach) -> None:
    """With successors and thawing; the home is row for row the same, and the vault has no new item."""
    world = breach.world
    breach.successor()
    orders = Orders(allow=(("desk 7", "desk 8"),), unfreeze=True)
    assert world.lab.contain(breach.statement, orders).holds
    state, vault = dump(world.client_db), Vault.open(world.vault).status()
    again = world.lab.contain(breach.statement, orders)
    assert (again.frozen, again.revoked, again.rekeyed, again.granted, again.thawed) == ((), (), (), (), ())
    assert again.plan.is_done
    assert [done for _, done in again.plan.counts.values()] == [1, 1, 0, 4, 1, 0]
    assert dump(world.client_db) == state
    after = Vault.open(world.vault).status()
    assert (after.items, after.stored_bytes) == (vault.items, vault.stored_bytes)


def test_a_run_that_another_overtakes_does_nothing_twice(breach: Breach) -> None:
    """It finds out item by item and grant by grant, and ends content."""
    breach.successor()
    orders = Orders(allow=(("desk 7", "desk 8"),), unfreeze=True)
    overtaken: list[bool] = []

    def overtakes(_progress: object) -> None:
        if not overtaken:
            overtaken.append(breach.world.open_client().contain(breach.statement, orders).holds)

    report = breach.world.lab.contain(breach.statement, orders, progress=overtakes)
    assert overtaken == [True]
    assert report.holds
    assert report.left.is_done
    assert (report.revoked, report.granted, report.thawed) == (("desk 7",), (), ())
    ((_, rekeyed),) = report.rekeyed
    assert (len(rekeyed.versions), rekeyed.done, rekeyed.faults) == (1, 3, ())
    assert sorted(current(breach.world).values()) == [1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_a_successor_gets_scope_and_what_was_left_until_the_same_end(breach: Breach) -> None:
    """Of 20 openings one was used up: the two that were cut off come back. Without a name, nobody gets anything."""
    world = breach.world
    desk = breach.successor()
    plan = world.lab.plan_containment(breach.statement)
    assert plan.reissue == ()
    report = world.lab.contain(breach.statement, Orders(allow=(("desk 7", "desk 8"),), unfreeze=True))
    (step,) = report.granted
    assert (step.tasks, step.limits) == (("three", "two"), Limits(5, 19, 50, 1800))
    (old,) = (each for each in world.lab.grants() if each.contractor == "desk 7")
    (new,) = (each for each in world.lab.grants() if each.contractor == "desk 8")
    assert (new.batches, new.tasks, new.expires_at) == (old.batches, old.tasks, old.expires_at)
    assert (new.presence, new.limits, new.grant_id) == ("waived", step.limits, successor_id(old.grant_id))
    assert old.revoked
    joined = desk.join(world.lab.invite(new.grant_id), fingerprint=world.lab.fingerprint)
    lease_outer(world.issuer().handle(world.ask(desk, joined, world.task("two")).data))


def test_who_lay_on_the_surface_can_not_take_over(breach: Breach) -> None:
    """Refused by name before anything is changed: itself, a stranger, an identity that is not there, two for one."""
    world = breach.world
    breach.successor()
    state = dump(world.client_db)
    for allow, kind, words in (
        ((("desk 7", "desk 7"),), GrantRevokedError, "'desk 7' lay on this surface"),
        ((("desk 7", "nobody"),), EnrolmentError, "'nobody' is enrolled"),
        ((("nobody", "desk 8"),), EnrolmentError, "'nobody' is enrolled"),
        ((("ada", "desk 8"),), EnrolmentError, "'ada' did not lie on this surface"),
        ((("desk 7", "desk 8"), ("desk 7", "ada")), EnrolmentError, "two successors"),
    ):
        for attempt in (world.lab.plan_containment, world.lab.contain):
            with pytest.raises(kind, match=words):
                attempt(breach.statement, Orders(allow=allow))
    assert dump(world.client_db) == state
    world.lab.revoke_contractor("desk 8")
    with pytest.raises(GrantRevokedError, match="'desk 8' was revoked"):
        world.lab.plan_containment(breach.statement, Orders(allow=(("desk 7", "desk 8"),)))


def test_a_grant_is_passed_on_once(breach: Breach) -> None:
    """Another successor for the same work is refused, whenever it is named; the first one stays."""
    world = breach.world
    breach.successor()
    breach.successor("desk 9")
    world.lab.contain(breach.statement, Orders(allow=(("desk 7", "desk 8"),)))
    with pytest.raises(GrantError, match="'desk 8' took over from 'desk 7' already"):
        world.lab.contain(breach.statement, Orders(allow=(("desk 7", "desk 9"),)))
    assert [each.contractor for each in world.lab.grants()].count("desk 9") == 0


def test_presence_is_not_waived_by_passing_on(world: World) -> None:
    """A desk that was approved by a phone gets no successor without one, and one with its own phone's key."""
    issuer = world.issuer()
    me, device, membership = world.desk("desk 7", limits=LIMITS)
    start = world.clock()
    request = world.ask(me, membership, world.task("one"))
    lease_outer(issuer.handle(approved(request, identity(me), device._key, world.clock()).data))
    end = world.clock.advance(MINUTE)
    statement = world.lab.statement("desk:desk 7", start, end).file
    plain = world.contractor("desk 8", tier="desk")
    world.enrol(plain, "desk 8")
    with pytest.raises(GrantError, match="no presence device"):
        world.lab.contain(statement, Orders(allow=(("desk 7", "desk 8"),)))
    assert entries(world, Frozen) == []
    _, phone, _ = world.desk("desk 9")
    report = world.lab.contain(statement, Orders(allow=(("desk 7", "desk 9"),)))
    assert report.granted[0].successor == "desk 9"
    new = next(each for each in world.lab.grants() if each.grant_id == report.granted[0].grant_id)
    assert new.presence == "key"
    assert world.lab.contractor("desk 9").presence_key == phone.public_key


def test_leases_that_wait_for_a_stolen_identity_are_dropped(world: World) -> None:
    """Two were issued ahead to a device that was stolen; the vault holds neither afterwards, and was told by whom."""
    ben, bens = world.worker("ben", limits=LIMITS)
    ada, adas = world.worker("ada", limits=LIMITS)
    for me, joined, names in ((ben, bens, ("one", "two")), (ada, adas, ("three",))):
        bundles = unpack_frames(me.ahead.make_prekeys(2))
        with world.lab.issuer() as issuer:
            items = [world.task(name) for name in names]
            issuer.ahead.deliver(issuer.issue(joined.grant.message.grant_id, items, bundles))
    start = world.clock()
    end = world.clock.advance(MINUTE)
    world.lab.freeze("eval")
    statement = world.lab.statement("contractor:ben", start, end).file
    plan = world.lab.plan_containment(statement)
    (step,) = plan.drop
    assert (step.contractor, step.leases, step.done, plan.told) == ("ben", 2, False, False)
    assert held(world) == 3
    world.clock.advance(MINUTE)
    report = world.lab.contain(statement)
    assert report.left.told is True
    assert report.left.counts["drop"] == (0, 2)
    assert held(world) == 1
    # It had been frozen before: who froze it thaws it.
    assert report.left.unfreeze == ()
    assert world.lab.contain(statement, Orders(unfreeze=True)).thawed == ()
    assert world.lab.project("eval").frozen


def held(world: World) -> int:
    """How many leases the vault holds."""
    return len(dump(world.folder / "vendor/vault.db")["held_leases"])


def test_a_vault_that_is_away_keeps_nobody_from_freezing_and_revoking(breach: Breach) -> None:
    """What needs the vault is told as not done, and done by the next run."""
    world = breach.world
    breach.successor()
    orders = Orders(allow=(("desk 7", "desk 8"),), unfreeze=True)
    (world.folder / "vendor").rename(world.folder / "away")
    lab = world.open_client()
    assert lab.plan_containment(breach.statement).told is None
    report = lab.contain(breach.statement, orders)
    assert (report.frozen, report.revoked, len(report.granted)) == (("eval",), ("desk 7",), 1)
    assert [(fault.step, fault.what, type(fault.error)) for fault in report.faults] == [("rekey", "eval", RelayError)]
    assert (report.holds, report.thawed, report.left.is_done) == (False, (), False)
    assert lab.project("eval").frozen
    (world.folder / "away").rename(world.folder / "vendor")
    again = world.open_client().contain(breach.statement, orders)
    assert (again.frozen, again.granted, again.thawed, again.holds) == ((), (), ("eval",), True)
    assert again.left.is_done


def test_a_version_that_the_vault_does_not_give_back_is_not_made_current(
    breach: Breach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault takes one new version and gives other bytes: that item stays, the others go on, nothing is thawed."""
    world = breach.world
    two = world.task("two")
    relay = world.lab.relay()
    real = relay.read_item

    def altered(client: bytes, item: bytes, version: int, *arguments: int) -> ItemPart:
        found = real(client, item, version, *arguments)
        if (item, version) != (two, 2):
            return found
        return replace(found, data=found.data[:-1] + bytes([found.data[-1] ^ 1]))

    with monkeypatch.context() as patched:
        patched.setattr(relay, "read_item", altered)
        report = world.lab.contain(breach.statement, Orders(unfreeze=True))
    (fault,) = report.faults
    assert (fault.step, fault.what) == ("rekey", "tasks/w1.jsonl#two")
    assert isinstance(fault.error, TamperedError)
    assert current(world)["two"] == 1
    assert current(world)["three"] == 2
    assert (report.thawed, report.left.counts["rekey"]) == ((), (1, 3))
    assert world.lab.contain(breach.statement, Orders(unfreeze=True)).thawed == ("eval",)
    # Number 2 was taken for good.
    assert current(world)["two"] == 3


def test_news_that_the_vault_keeps_back_is_not_taken_for_told(breach: Breach, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault that takes the status and goes on giving the old one, or gives one of an older certificate: not done."""
    world = breach.world
    with world.lab.issuer() as issuer:
        issuer.ahead.post_status()
    world.clock.advance(MINUTE)
    with monkeypatch.context() as patched:
        patched.setattr(LocalRelay, "post", lambda *_: None)
        report = world.lab.contain(breach.statement)
        assert (report.left.told, report.holds, report.left.is_done) == (False, False, False)
        assert world.lab.contractor("desk 7").revoked
    world.clock.advance(MINUTE)
    assert world.lab.contain(breach.statement).holds
    # It says all that is revoked, and says it under a certificate that a restore has replaced.
    begin_epoch(world, breach.end)
    assert world.open_client().plan_containment(breach.statement).told is False


def test_open_work_is_what_was_cut_off_in_the_window_and_no_other(world: World) -> None:
    """Not what expired before it, was closed, also after a renewal, or is of a batch that was revoked."""
    issuer = world.issuer()
    desk = world.contractor("desk 7", tier="desk")
    world.enrol(desk, "desk 7")
    joined = world.join(desk, "desk 7", limits=LIMITS, waive_presence=True)

    def release(name: str, **fields: Any) -> Signed[OpenRequest]:
        request = world.ask(desk, joined, world.task(name), **fields)
        lease_outer(issuer.handle(request.data))
        return request

    release("one")
    start = world.clock.advance(40 * MINUTE)
    renewed = release("two", replaces=None)
    world.clock.advance(MINUTE)
    again = release("two", replaces=renewed.hash)
    assert issuer.handle(world.receipt(desk, again)) is not None
    release("three")
    release("four")
    end = world.clock.advance(MINUTE)
    world.lab.revoke_batch("eval", "w2")
    statement = world.lab.statement("vendor", start, end).file
    orders = Orders(allow=(("desk 7", "desk 8"),))
    # Enrolled before it is stated, it would lie on the surface, too.
    new = world.contractor("desk 8", tier="desk")
    world.enrol(new, "desk 8")
    (step,) = world.lab.plan_containment(statement, orders).reissue
    # Of 20, five were used, and one of them was cut off.
    assert (step.tasks, step.limits.max_total) == (("three",), 16)
    world.clock.advance(DAY)
    assert world.lab.plan_containment(statement, orders).reissue == ()


def test_what_was_released_after_the_statement_is_contained_too(breach: Breach) -> None:
    """The thief went on asking until the revocation; the ledger knows, and the plan says how much came later."""
    world = breach.world
    world.clock.advance(20 * MINUTE)
    breach.release("five")
    plan = world.lab.plan_containment(breach.statement)
    assert plan.later == 1
    assert len(plan.rekey[0].plan.versions) == 5
    assert world.lab.contain(breach.statement).holds
    assert current(world)["five"] == 2


def test_what_a_restore_made_unknown_since_the_statement_is_contained_too(breach: Breach) -> None:
    """Nine items were sealed before the gap: all of them get new keys, and the statement of before still counts."""
    world = breach.world
    begin_epoch(world, breach.end)
    lab = world.lab = world.open_client()
    plan = lab.plan_containment(breach.statement)
    assert (plan.later, len(plan.rekey[0].plan.versions)) == (5, 9)
    assert lab.contain(breach.statement).holds
    assert set(current(world).values()) == {2}


def test_keys_that_were_enrolled_since_the_statement_are_not_on_the_surface(breach: Breach) -> None:
    """A successor's desk works on: who lay there is what the statement says."""
    world = breach.world
    desk = breach.successor()
    joined = world.join(desk, "desk 8", limits=LIMITS, waive_presence=True)
    lease_outer(breach.issuer.handle(world.ask(desk, joined, world.task("five")).data))
    report = world.lab.contain(breach.statement)
    assert report.revoked == ("desk 7",)
    assert current(world)["five"] == 1


def test_only_what_unfinished_work_needs_is_sealed_again_if_asked_for(breach: Breach) -> None:
    """Of two tasks one is answered, so it stays; the guideline and the picture, which the other needs, do not."""
    world = breach.world
    answer = world.submission(breach.desk, breach.leases[0], presence="unapproved")
    assert ack_of(breach.issuer.handle(answer)).verdict == "accepted"
    plan = world.lab.plan_containment(breach.statement, Orders(only_needed=True))
    (step,) = plan.rekey
    assert (len(step.plan.versions), step.spared) == (3, 1)
    assert world.lab.contain(breach.statement, Orders(only_needed=True)).left.is_done
    assert {name for name, version in current(world).items() if version == 2} == {"three", "how.md", "picture.png"}
    # Answered work is not passed on, either.
    breach.successor()
    (passed,) = world.lab.contain(breach.statement, Orders(allow=(("desk 7", "desk 8"),))).granted
    assert passed.tasks == ("three",)


def test_a_statement_of_somebody_else_or_altered_contains_nothing(breach: Breach) -> None:
    """Another client's, a changed row, no statement at all: refused, and not one row is changed."""
    world = breach.world
    stranger = world.create_client("stranger")
    stranger.create_project("eval")
    foreign = breach.stated("all", lab=stranger)
    lines = breach.statement.split(b"\n")
    state = dump(world.client_db)
    for data, kind in (
        (foreign, SignatureError),
        (b"\n".join([lines[0], *reversed(lines[1:-1]), b""]), LedgerError),
        (b"no statement", FormatError),
    ):
        with pytest.raises(kind):
            world.lab.contain(data)
    assert dump(world.client_db) == state


def test_a_statement_of_one_project_leaves_others_alone(breach: Breach) -> None:
    """Its identities are revoked everywhere, and the plan names where else they had grants."""
    world = breach.world
    other = world.lab.create_project("other", floor_bytes=256)
    other.seal(world.source)
    world.join(breach.desk, "desk 7", project=other, limits=LIMITS, waive_presence=True)
    statement = breach.stated(project="eval")
    plan = world.lab.plan_containment(statement)
    assert ([each.project for each in plan.freeze], plan.elsewhere) == (["eval"], ("other",))
    report = world.lab.contain(statement)
    assert report.frozen == ("eval",)
    assert not other.frozen
    assert {each.version for each in other.items()} == {1}
    world.lab.shred("eval", confirm="eval")
    assert world.lab.contain(statement).left.rekey == ()


def test_C1_killed_at_any_step_it_opens_again_nothing_is_lost_and_it_goes_on(breach: Breach, tmp_path: Path) -> None:
    """At sampled steps of a whole containment: each item is current in an old or a new version that opens, once run
    again all is done exactly once, and a third run finds nothing to do.
    """
    world = breach.world
    breach.successor()
    orders = Orders(allow=(("desk 7", "desk 8"),), unfreeze=True)
    breach.issuer.close()
    world.lab.close()
    for name in ("client", "vendor"):
        shutil.copytree(world.folder / name, tmp_path / "before" / name)

    def contain(lab: Client) -> None:
        assert lab.contain(breach.statement, orders).holds

    total = steps_done(world, contain)
    assert total is not None
    assert total > 25
    for last in range(0, total, max(1, total // 14)):
        for name in ("client", "vendor"):
            shutil.rmtree(world.folder / name)
            shutil.copytree(tmp_path / "before" / name, world.folder / name)
        assert steps_done(world, contain, last) is None
        with world.open_client() as lab:
            lab.verify_ledger()
            assert lab.project("eval").export(tmp_path / f"out-{last}").items == 9
            # Revoked is whoever was not asked for any more; never revoked and not frozen.
            revoked = lab.contractor("desk 7").revoked
            assert lab.project("eval").frozen or not revoked or lab.plan_containment(breach.statement, orders).is_done
            report = lab.contain(breach.statement, orders)
            assert report.holds
            assert report.left.is_done
            assert not lab.project("eval").frozen
            assert [each.contractor for each in lab.grants()].count("desk 8") == 1
            assert lab.contain(breach.statement, orders).plan.is_done
        done = [len(entries_of(world, kind)) for kind in (Revoked, Granted)]
        assert done == [1, 3]
        named = {name for name, version in current(world).items() if version > 1}
        assert named == {"two", "three", "how.md", "picture.png"}


def entries_of(world: World, kind: type) -> list[object]:
    """Ledger entries of a kind, read anew."""
    with world.open_client() as lab:
        return [entry for entry in lab.ledger_entries() if isinstance(entry, kind)]
