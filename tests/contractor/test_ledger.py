"""What a contractor remembers of the ledger: where each of its leases is recorded, and whether an export agrees."""

import dataclasses

import pytest

from labelvault.auditor import HeldLease, check_leases
from labelvault.errors import LedgerError, SignatureError
from labelvault.ledger.entries import Released
from tests.world import World


def held(me) -> list[HeldLease]:
    return [HeldLease(each.lease_id, *each.recorded) for each in me.openings()]


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
    issuer = joined.certificate.message
    checked = check_leases(world.lab.export_ledger(), leases, issuer.client, issuer.epoch, issuer.issuer)
    assert (len(checked.found), checked.later, checked.other_epoch) == (5, (), ())
    assert checked.size == len(entries)


def test_L2_a_ledger_without_a_lease_is_found(world: World):
    """An entry of another hash at its place; what lies behind the end or in another epoch is told apart."""
    me, joined = world.worker()
    issuer, certificate = world.issuer(), joined.certificate.message
    with me.open_task(world.task(), exchange=issuer.handle):
        pass
    (lease,) = held(me)
    export = world.lab.export_ledger()
    terms = (certificate.client, certificate.epoch, certificate.issuer)
    for other in ({"index": lease.index - 1}, {"entry_hash": bytes(32)}):
        with pytest.raises(LedgerError, match="not the one"):
            check_leases(export, [dataclasses.replace(lease, **other)], *terms)
    later, older = dataclasses.replace(lease, index=10_000), dataclasses.replace(lease, epoch=bytes(16))
    checked = check_leases(export, [later, older, lease], *terms)
    assert (checked.found, checked.later, checked.other_epoch) == ((lease,), (later,), (older,))
    with pytest.raises((LedgerError, SignatureError)):
        check_leases(export, [lease], certificate.client, certificate.epoch, me.public_key)
