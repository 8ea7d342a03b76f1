"""Decoys: planted, sealed among real items of their like, listed nowhere else, and the same in the vendor's eyes."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelvault.client import Client, ItemFilter, PassphraseRoot, Scope, honey, restore
from labelvault.client.containment_work import needed_items
from labelvault.errors import DeniedError, GrantScopeError, ProjectError, RelayError, ShreddedError
from labelvault.ledger.entries import Sealed
from labelvault.wire.items import parse_header
from tests.client.killing import NEVER, steps_done
from tests.world import DAY, LIMITS, PASSPHRASE, World, entries, rows, write_file


def guidelines(world: World, *names: str, size: int = 10) -> None:
    """Write guidelines that are new."""
    for name in names:
        write_file(world.source, f"guidelines/{name}.md", name[0] * size)


def stored(world: World) -> list[tuple]:
    """What the vendor's item table holds."""
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        return db.execute("SELECT * FROM items").fetchall()


def sealed(world: World) -> set[bytes]:
    """Ids of decoys that are at the vault."""
    return {each.item for each in world.project.honey() if each.sealed_at is not None}


def test_decoys_wait_for_new_items_in_no_queue_and_never_outnumber_them(world: World) -> None:
    """Tasks alone take none along, a changed guideline neither; each new one takes at most one."""
    assert world.project.plant_honey(3) == 3
    report = world.project.seal(world.source)
    assert (report.new, report.honey, report.honey_pending) == (0, 0, 3)
    write_file(world.source, "tasks/w3.jsonl", rows("six", "seven", "eight", "nine"))
    write_file(world.source, "guidelines/how.md", "changed")
    report = world.project.seal(world.source)
    assert (report.new, report.changed, report.honey, report.honey_pending) == (4, 1, 0, 3)
    guidelines(world, "a", "b")
    report = world.project.seal(world.source)
    assert (report.honey, report.honey_pending) == (2, 1)
    guidelines(world, "c", "d", "e")
    report = world.project.seal(world.source)
    assert (report.honey, report.honey_pending) == (1, 0)
    assert [each.sealed_at is not None for each in world.project.honey()] == [True] * 3
    assert world.project.seal(world.source).honey == 0


def test_G1_at_the_vendor_a_decoy_equals_a_guideline(world: World) -> None:
    """Same columns filled in the same way, same header but for the id, and a size that real items of no queue have."""
    before = {row[:3] for row in stored(world)}
    world.project.plant_honey(4)
    guidelines(world, "a", "b", "c", size=3000)
    guidelines(world, "d", "e", size=9000)
    world.project.seal(world.source)
    decoys = sealed(world)
    assert len(decoys) == 4
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        names = [name for (name,) in db.execute("SELECT name FROM pragma_table_info('items')")]
        found = [dict(zip(names, row, strict=True)) for row in db.execute("SELECT * FROM items")]
    fresh = [row for row in found if tuple(row.values())[:3] not in before and row["queue"] is None]
    real = [row for row in found if bytes(row["item"]) not in decoys and row["queue"] is None]
    fake = [row for row in fresh if bytes(row["item"]) in decoys]
    assert len(fresh) == 5 + len(fake) == 9
    assert {row["size"] for row in fake} <= {row["size"] for row in real}
    assert {row["version"] for row in fake} == {1}
    for name in ("client", "project", "queue", "stored_hour"):
        assert {row[name] for row in fake} == {row[name] for row in fresh}
    shapes = {(tuple((name, type(value), value is None) for name, value in row.items())) for row in fresh}
    assert len(shapes) == 1
    for row in fake:
        header = parse_header(bytes(row["header"]))
        assert (header.item, header.version) == (bytes(row["item"]), 1)
    assert len({len(row["header"]) for row in fresh}) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_new_decoys_never_outnumber_new_items_of_their_like(template: Path, tmp_path_factory, data):
    """Whatever is planted and written in whatever order, in each run; and each decoy goes once, at version 1."""
    world = World(tmp_path_factory.mktemp("honey"), template)
    planted = 0
    try:
        for run in range(data.draw(st.integers(1, 4))):
            count = data.draw(st.integers(0, 6))
            if count:
                world.project.plant_honey(count)
                planted += count
            fresh = data.draw(st.integers(0, 5))
            for number in range(fresh):
                guidelines(world, f"{run}-{number}", size=data.draw(st.sampled_from([1, 300, 5000, 70_000])))
            if data.draw(st.booleans()):
                write_file(world.source, f"tasks/more{run}.jsonl", rows(f"more{run}"))
            plan = world.project.plan(world.source)
            waited = sum(1 for each in world.project.honey() if each.sealed_at is None)
            report = world.project.seal(world.source)
            assert report.honey == min(waited, fresh)
            assert report.honey_pending == waited - report.honey
            assert (plan.honey, plan.honey_pending) == (report.honey, report.honey_pending)
        versions = Counter(entry.item for entry in entries(world, Sealed))
        assert all(versions[item] == 1 for item in sealed(world))
        assert len(world.project.honey()) == planted
        real = {item.payload_bytes for item in world.project.items() if item.kind != "task"}
        assert {each.payload_bytes for each in world.project.honey()} - {None} <= real
        world.lab.verify_ledger()
    finally:
        world.close()


def test_sizes_are_those_of_items_in_no_queue_and_of_no_stream(world: World, monkeypatch) -> None:
    """Neither a task's, which would be the only one without a queue, nor one of what goes alone."""
    write_file(world.source, "tasks/big.jsonl", rows(*(f"big{number}" for number in range(30)), text="x" * 20_000))
    world.project.seal(world.source)
    guidelines(world, "a", "b", "c", "d")
    guidelines(world, "e", "f", "g", "h", size=50_000)
    world.project.plant_honey(8)
    monkeypatch.setattr(honey, "_MAX_PAYLOAD_BYTES", 40_000)
    assert world.project.seal(world.source).honey == 8
    assert {each.payload_bytes or 0 for each in world.project.honey()} <= {
        item.payload_bytes for item in world.project.items() if item.kind != "task" and item.payload_bytes <= 40_000
    }
    assert max(each.payload_bytes or 0 for each in world.project.honey()) < 10_000


def test_no_decoy_makes_a_window_too_large(world: World, monkeypatch) -> None:
    """Those that find no room wait for the next one."""
    world.project.plant_honey(2)
    write_file(world.source, "rubrics/a.md", "a")
    write_file(world.source, "rubrics/b.md", "b")
    with monkeypatch.context() as patched:
        patched.setattr(honey, "MAX_WINDOW_BYTES", 1000)
        report = world.project.seal(world.source)
    assert (report.new, report.honey, report.honey_pending) == (2, 0, 2)
    write_file(world.source, "rubrics/c.md", "c")
    assert world.project.seal(world.source).honey == 1


def planted_and_sealed(world: World, count: int = 1) -> list[bytes]:
    """Decoys that went along with as many guidelines."""
    world.project.plant_honey(count)
    guidelines(world, *(f"n{number}" for number in range(count)))
    world.project.seal(world.source)
    return sorted(sealed(world))


def test_decoys_show_in_no_list_but_their_own(world: World, tmp_path: Path) -> None:
    """Not among items, in the projects' numbers, in an export, as gone, nor by name, path or id."""
    before = world.lab.project_records()[0]
    (item,) = planted_and_sealed(world)
    listed = world.project.items()
    assert item not in {each.item for each in listed}
    record = world.lab.project_records()[0]
    assert record.items == before.items + 1 == len(listed)
    assert record.payload_bytes == sum(each.payload_bytes for each in listed)
    assert world.project.page(ItemFilter(kind="attachment")).total == 1
    assert world.project.seal(world.source).gone == 0
    assert world.project.plan(world.source).gone == 0
    for name in (item.hex(), item.hex()[:10], f"honey/{item.hex()}"):
        with pytest.raises(ProjectError):
            world.project.find(name)
    report = world.project.export(tmp_path / "out")
    assert (report.items, report.faults) == (len(listed), ())
    assert not [path for path in (tmp_path / "out").rglob("*") if item.hex() in path.name]


def test_no_grant_names_a_decoy(world: World) -> None:
    """Neither by id nor by name, however it is spelled; nothing is recorded."""
    (item,) = planted_and_sealed(world)
    me = world.contractor("ada")
    world.enrol(me, "ada")
    size = len(world.lab.ledger_entries())
    for name in (item.hex(), item.hex().upper(), f"honey/{item.hex()}"):
        with pytest.raises(GrantScopeError):
            world.project.grant("ada", Scope(items=[name]), expires_at=world.clock() + DAY, limits=LIMITS)
    assert len(world.lab.ledger_entries()) == size


def test_statements_list_decoys_as_what_they_are(world: World) -> None:
    """Never opened, of kind honey; what an auditor recomputes has them, so no item is missing in it."""
    (item,) = planted_and_sealed(world)
    me, joined = world.worker()
    with world.serving(), pytest.raises(DeniedError):
        me.open_task(item, timeout_s=30)
    start = world.clock()
    stated = world.lab.statement("all", start - DAY, world.clock.advance(timedelta(seconds=1)))
    (row,) = [each for each in stated.items if each.item == item]
    assert (row.kind, row.verdict) == ("honey", "never-opened")
    assert joined.grant.message.project == world.project.project_id


def test_rotating_wraps_decoys_too_and_shredding_ends_them(world: World) -> None:
    """After a rotation no wrap is left under the old key, and a shredded project takes no more decoys."""
    (item,) = planted_and_sealed(world)
    world.project.rotate_kek()
    generations = world.lab.database.rows("SELECT kek_generation FROM versions WHERE item = ?", item)
    assert generations == [(2,)]
    world.lab.shred("eval", confirm="eval")
    assert world.lab.database.rows("SELECT wrapped FROM versions WHERE item = ?", item) == [(b"",)]
    before = world.project.honey()
    with pytest.raises(ShreddedError):
        world.project.plant_honey(1)
    assert world.project.honey() == before


def test_rekeying_by_id_gives_decoys_new_versions_like_real_items(world: World) -> None:
    """Where all items are sealed again, after a restore for example, decoys that stayed behind would show."""
    (item,) = planted_and_sealed(world)
    report = world.project.rekey([(item, 1), (world.id_of("rubric"), 1)])
    assert sorted(report.versions) == sorted([(item, 2), (world.id_of("rubric"), 2)])
    sizes = {row[4] for row in stored_of(world, item)}
    assert len(sizes) == 1
    assert sealed(world) == {item}


def test_R8_after_a_restore_decoys_are_unknown_and_sealed_again_like_all_else(world: World) -> None:
    """What is in the gap is re-keyed, also where only what is needed is: decoys alone at an old version would show."""
    (item,) = planted_and_sealed(world)
    world.clock.advance(timedelta(seconds=1))
    world.lab.backup(world.folder / "monday.backup")
    home, keystore = world.folder / "again", world.home / "root.keystore"
    restore(home, PassphraseRoot(PASSPHRASE), world.folder / "monday.backup", keystore=keystore, clock=world.clock)
    lab = world.open_client("again")
    world.clock.advance(timedelta(hours=1))
    project = lab.project("eval")
    assert [each.item for each in project.honey()] == [item]
    stated = lab.statement("all", world.clock() - DAY, world.clock() - timedelta(seconds=1))
    exposed = project.exposed(stated.file)
    assert {each for each, _ in exposed} == {each.item for each in project.items()} | {item}
    assert item in needed_items(lab.database, lab.client_id, project.project_id)
    report = project.rekey(exposed)
    assert report.faults == ()
    versions = dict(report.versions)
    assert versions[item] == max(versions.values())
    assert [each.item for each in project.honey() if each.sealed_at is not None] == [item]


def stored_of(world: World, item: bytes) -> list[tuple]:
    """The vendor's rows of one item."""
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        return db.execute("SELECT client, project, item, version, size FROM items WHERE item = ?", (item,)).fetchall()


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_counts_out_of_bounds_are_refused(world: World, count: int) -> None:
    """Nothing is planted."""
    with pytest.raises(ProjectError):
        world.project.plant_honey(count)
    assert world.project.honey() == []


def test_a_project_has_at_most_ten_thousand(world: World) -> None:
    """Together with those that it has."""
    assert world.project.plant_honey(9_999) == 9_999
    with pytest.raises(ProjectError):
        world.project.plant_honey(2)
    assert world.project.plant_honey(1) == 10_000


def test_a_vault_that_is_away_costs_no_decoy(world: World, monkeypatch) -> None:
    """What was reserved is sealed again by the next run, and stands once."""
    world.project.plant_honey(2)
    guidelines(world, "a", "b")

    def away(items) -> int:
        raise RelayError("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.lab.relay(), "put_items", away)
        with pytest.raises(RelayError):
            world.project.seal(world.source)
    assert sealed(world) == set()
    report = world.project.seal(world.source)
    assert (report.new, report.honey, report.honey_pending, len(sealed(world))) == (2, 2, 0, 2)
    world.lab.verify_ledger()


def test_C1_killed_at_any_step_sealing_goes_on_with_its_decoys(tmp_path: Path, template: Path) -> None:
    """Every decoy is at the vault in the end, current once, and the ledger holds."""
    first = World(tmp_path / "count", template)
    prepare(first)
    total = steps_done(first, seal)
    first.close()
    assert total is not None
    for step in range(0, total, 2):
        world = World(tmp_path / f"step{step}", template)
        prepare(world)
        assert steps_done(world, seal, step) is None
        world.lab = world.open_client()
        world.project = world.lab.project("eval")
        report = world.project.seal(world.source)
        assert (report.honey_pending, report.errors) == (0, ())
        assert len(sealed(world)) == 2
        at_vault = {bytes(row[2]) for item in sealed(world) for row in stored_of(world, item)}
        assert at_vault == sealed(world)
        world.lab.verify_ledger()
        world.close()
    assert total < NEVER


def prepare(world: World) -> None:
    """Two decoys planted, two guidelines to go with."""
    world.project.plant_honey(2)
    guidelines(world, "a", "b")
    world.lab.close()


def seal(lab: Client) -> None:
    """Seal the source folder of the home's world."""
    lab.project("eval").seal(lab.home.parent / "source")
