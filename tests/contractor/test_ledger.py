"""What a contractor remembers of the ledger: where each of its leases is recorded, and whether an export agrees."""

import dataclasses

import pytest

from labelvault.auditor import HeldLease, check_leases
from labelvault.client import Limits, Scope
from labelvault.client.ahead import issue
from labelvault.errors import LedgerError, SignatureError
from labelvault.ledger.entries import Released
from labelvault.wire.framefile import pack_frames
from tests.world import MINUTE, World


def held(me) -> list[HeldLease]:
    return [HeldLease(each.lease_id, each.item, each.issued_at, *each.recorded) for each in me.openings()]


def terms(me, joined):
    issuer = joined.certificate.message
    return (issuer.client, issuer.epoch, issuer.issuer), {"contractor": me.public_key}


def test_every_way_of_opening_remembers_its_entry(world: World, tmp_path):
    """In this process, in a child, into files, and renewed: each stands in the export where the lease said."""
    me, joined = world.worker()
    with world.serving():
        with me.open_task(world.task("one")) as task:
            task.renew()
        with me.begin(world.task("two")) as opening:
            opening.renew()
        with me.begin(world.task("three"), output=tmp_path / "out"):
            pass
    leases = held(me)
    entries = world.lab.ledger_entries()
    assert {each.lease_id for each in leases} == {each.lease_id for each in entries if isinstance(each, Released)}
    there = [entries[each.index] for each in leases]
    assert [each.lease_id for each in there if isinstance(each, Released)] == [each.lease_id for each in leases]
    words, mine = terms(me, joined)
    checked = check_leases(world.lab.export_ledger(), leases, *words, **mine)
    assert (len(checked.found), checked.later, checked.other_epoch) == (5, (), ())
    assert checked.size == len(entries)


def test_L2_a_ledger_without_a_lease_is_found(world: World):
    """An entry of another hash at its place; what lies behind the end or in another epoch is told apart."""
    me, joined = world.worker()
    issuer, certificate = world.issuer(), joined.certificate.message
    words, mine = terms(me, joined)
    with me.open_task(world.task(), exchange=issuer.handle):
        pass
    (lease,) = held(me)
    export = world.lab.export_ledger()
    for other in ({"index": lease.index - 1}, {"entry_hash": bytes(32)}, {"item": bytes(16)}, {"lease_id": bytes(32)}):
        with pytest.raises(LedgerError, match="not the one"):
            check_leases(export, [dataclasses.replace(lease, **other)], *words, **mine)
    with pytest.raises(LedgerError, match="not the one"):
        check_leases(export, [lease], *words, contractor=bytes(32))
    later, older = (
        dataclasses.replace(lease, index=10_000, issued_at=world.clock()),
        dataclasses.replace(lease, epoch=bytes(16)),
    )
    checked = check_leases(export, [later, older, lease], *words, **mine)
    assert (checked.found, checked.later, checked.other_epoch) == ((lease,), (later,), (older,))
    with pytest.raises((LedgerError, SignatureError)):
        check_leases(export, [lease], certificate.client, certificate.epoch, me.public_key, **mine)


def test_L2_an_issuer_that_names_another_entry_in_a_lease_is_found(world: World):
    """Its hash is right and it stands there: but it is no release of this lease, so nothing of it would be stated."""
    me, joined = world.worker()
    words, mine = terms(me, joined)
    for name in ("one", "two"):
        with me.open_task(world.task(name), exchange=world.issuer().handle):
            pass
    one, two = held(me)
    export = world.lab.export_ledger()
    verified = world.lab.ledgers()[-1].verify(export)
    for index in (0, one.index - 1, two.index):
        lying = dataclasses.replace(one, index=index, entry_hash=verified.leaves[index])
        with pytest.raises(LedgerError, match="not the one"):
            check_leases(export, [lying, two], *words, **mine)


def test_L2_an_issuer_that_names_a_place_the_ledger_never_reaches_is_found(world: World):
    """A lease of before the last entry has to stand in the export, whatever place it says; a newer one need not."""
    me, joined = world.worker()
    words, mine = terms(me, joined)
    with me.open_task(world.task(), exchange=world.issuer().handle):
        pass
    (lease,) = held(me)
    never = dataclasses.replace(lease, index=2**48)
    assert check_leases(world.lab.export_ledger(), [never], *words, **mine).later == (never,)
    world.clock.advance(MINUTE)
    world.lab.freeze("eval")
    export = world.lab.export_ledger()
    assert check_leases(export, [lease], *words, **mine).found == (lease,)
    with pytest.raises(LedgerError, match="older than the ledger's last entry"):
        check_leases(export, [lease, never], *words, **mine)


def test_leases_that_were_never_opened_are_looked_for_by_their_id(world: World):
    """They say their place only when they are opened: those at hand are found all the same, a made-up one is not."""
    me, joined = world.worker(limits=Limits(max_open=5, max_total=100, per_hour=100, lease_ttl_s=3600))
    before = world.lab.export_ledger()
    report = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=me.ahead.make_prekeys(2))
    me.take(pack_frames(report.frames))
    at_hand = [each.outer.lease_id for each in me.ahead.leases()]
    words, mine = terms(me, joined)
    checked = check_leases(world.lab.export_ledger(), [], *words, **mine, unopened=[*at_hand, bytes(32)])
    assert checked.missing == (bytes(32),)
    assert check_leases(before, [], *words, **mine, unopened=at_hand).missing == tuple(at_hand)
