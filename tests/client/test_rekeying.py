"""Re-keying what was exposed: a fresh key for each, under which nothing that was released before opens."""

from dataclasses import replace
from datetime import timedelta

import pytest

from labelvault.client import Client
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.seal import open_item
from labelvault.errors import DecryptionError, FormatError, ProjectError, ShreddedError, SignatureError, TamperedError
from labelvault.keys.kek import unwrap_dek, wrap_context
from labelvault.ledger.entries import Dropped, Released, Sealed
from labelvault.wire.ids import ProjectId
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from tests.client.killing import killed_leaving, steps_done
from tests.client.test_large import content_of, put
from tests.client.test_shredding import copy_left, left
from tests.world import MINUTE, World, dump, entries, lease_outer, rows, write_file

MIB = 1024 * 1024


def dek(lab: Client, item: bytes, version: int) -> tuple[ItemHeader, bytes, bytes]:
    """Header, digest and DEK of a version, as whoever a lease was released to has them."""
    digest, wrapped, kek_id, generation = lab.database.rows(
        "SELECT digest, wrapped, kek_id, kek_generation FROM versions WHERE item = ? AND version = ?", item, version
    )[0]
    project = ProjectId(bytes(lab.database.scalar("SELECT project FROM items WHERE item = ?", item)))
    header = ItemHeader(ITEM_FORMAT, lab.client_id, project, item, version)
    kek = lab.keks.load(project, bytes(kek_id), generation)
    return header, digest, unwrap_dek(kek, wrapped, wrap_context(header.encode(), digest, kek_id, generation)).reveal()


def current(world: World) -> dict[bytes, int]:
    """Current versions by item."""
    return {each.item: each.version for each in world.open_client().project("eval").items()}


def test_G3_an_exposed_key_opens_nothing_of_the_new_version(world: World) -> None:
    """Same content, metadata and batch; another DEK, number, digest and ledger entry; the old one opens as before."""
    task, before = world.task(), len(entries(world, Sealed))
    stolen = dek(world.lab, task, 1)
    told: list[int] = []
    report = world.project.rekey([task], lambda progress: told.append(progress.done))
    assert (report.versions, report.done, report.faults, told) == (((task, 2),), 0, (), [1])
    assert current(world)[task] == 2
    assert [entry.version for entry in entries(world, Sealed)[before:]] == [2]
    header, digest, fresh = dek(world.lab, task, 2)
    assert fresh != stolen[2]
    stored = world.relay().read_item(world.lab.client_id, task, 2, 0, MIB)
    opened = open_item(stored.header, stored.data, SecretBytes(fresh), expected=header, digest=digest)
    with pytest.raises(DecryptionError):
        open_item(stored.header, stored.data, SecretBytes(stolen[2]), expected=header, digest=digest)
    old = world.relay().read_item(world.lab.client_id, task, 1, 0, MIB)
    again = open_item(old.header, old.data, SecretBytes(stolen[2]), expected=stolen[0], digest=stolen[1])
    assert (again.content, again.metadata) == (opened.content, opened.metadata)
    # The folder is the same as before, and whoever opens the task gets the new version.
    assert world.project.seal(world.source).same == 9
    me, joined = world.worker()
    with world.serving(), me.open_task(task, timeout_s=60) as opening:
        assert "one" in opening.text
    assert world.lab.database.scalar("SELECT version FROM leases") == 2
    assert joined.grant.message.client == world.lab.client_id


def test_what_requires_a_rekeyed_item_brings_its_new_version(world: World) -> None:
    """Requirements name ids, so a task needs no new key for its guideline's sake."""
    guideline = world.id_of("guideline")
    world.project.rekey([guideline])
    assert {version for item, version in current(world).items() if item != guideline} == {1}
    me, joined = world.worker()
    issuer = world.issuer()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    (released,) = entries(world, Released)
    assert {(each.item, each.version) for each in released.items} >= {(guideline, 2), (world.task(), 1)}


def test_a_statement_says_what_and_a_second_run_finds_nothing_to_do(world: World) -> None:
    """What ada's device exposed is sealed again, and nothing else; what was sealed anew since is done already."""
    me, joined = world.worker()
    issuer = world.issuer()
    for name in ("one", "two"):
        lease_outer(issuer.handle(world.ask(me, joined, world.task(name)).data))
    world.clock.advance(MINUTE)
    end = world.clock.advance(MINUTE)
    world.lab.revoke_contractor("ada")
    stated = world.lab.statement("contractor:ada", end - timedelta(hours=1), end, "eval")
    exposed = world.project.exposed(stated.file)
    assert {item for item, _ in exposed} >= {world.task("one"), world.task("two"), world.id_of("guideline")}
    write_file(world.source, "guidelines/how.md", "changed since")
    assert world.project.seal(world.source).changed == 1
    plan = world.project.plan_rekey(exposed)
    state = dump(world.client_db)
    assert (len(plan.versions), plan.done) == (len(exposed) - 1, 1)
    assert dump(world.client_db) == state
    report = world.project.rekey(exposed)
    assert (len(report.versions), report.done) == (len(exposed) - 1, 1)
    assert {item for item, version in current(world).items() if version == 2} == {item for item, _ in exposed}
    again = world.project.rekey(exposed)
    assert (again.versions, again.done) == ((), len(exposed))
    # Of another client, altered, or no statement at all: refused.
    stranger = world.create_client("stranger").create_project("eval")
    with pytest.raises(SignatureError):
        stranger.exposed(stated.file)
    with pytest.raises(FormatError):
        world.project.exposed(b"no statement")


def test_a_large_item_is_sealed_again_as_a_stream(world: World) -> None:
    """24 MiB, whose content and padded size stay the same."""
    content = content_of(24 * MIB)
    put(world, "attachments/film.bin", content)
    world.project.seal(world.source)
    item = world.project.find("attachments/film.bin")
    world.project.rekey([item])
    sizes = {each.payload_bytes for each in world.project.versions(item)}
    assert (current(world)[item], len(sizes)) == (2, 1)
    assert not world.project.export(world.folder / "out").faults
    assert (world.folder / "out/attachments/film.bin").read_bytes() == content


def test_what_the_vault_altered_or_nobody_sealed_is_not_sealed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Altered bytes are a fault of that item, which stays as it was; an unknown id changes nothing at all."""
    one, two = world.task("one"), world.task("two")
    real = world.lab.relay().read_item

    def altered(client: bytes, item: bytes, *arguments: int) -> object:
        found = real(client, item, *arguments)
        if item == one:
            found = replace(found, data=found.data[:-1] + bytes([found.data[-1] ^ 1]))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(world.lab.relay(), "read_item", altered)
        report = world.project.rekey([one, two])
    assert [item for item, _ in report.versions] == [two]
    (fault,) = report.faults
    assert (fault.item, fault.version) == (one, 1)
    assert isinstance(fault.error, TamperedError)
    assert current(world)[one] == 1
    state = dump(world.client_db)
    with pytest.raises(ProjectError, match="no current version"):
        world.project.rekey([one, bytes(16)])
    assert dump(world.client_db) == state


def test_C1_killed_at_any_step_nothing_is_lost_and_a_run_with_versions_named_goes_on(world: World) -> None:
    """Three items, killed at sampled steps: each is current in its old or new version, and is sealed again once."""
    wanted = [(world.task(name), 1) for name in ("one", "two", "three")]

    def rekey(lab: Client) -> None:
        lab.project("eval").rekey([(item, versions[item]) for item, _ in wanted])

    versions = current(world)
    total = steps_done(world, rekey)
    assert total is not None
    assert total > 8
    for last in range(0, total, max(1, total // 10)):
        versions = current(world)
        assert steps_done(world, rekey, last) is None
        lab = world.open_client()
        halfway = current(world)
        out = world.folder / f"out-{last}"
        assert lab.project("eval").export(out).items == 9
        report = lab.project("eval").rekey([(item, versions[item]) for item, _ in wanted])
        assert len(report.versions) + report.done == 3
        assert report.done == sum(halfway[item] > versions[item] for item, _ in wanted)
        assert all(current(world)[item] > versions[item] for item, _ in wanted)
        lab.verify_ledger()


def test_rows_of_several_versions_are_named_once(world: World) -> None:
    """An item that a statement names in two versions is sealed again once."""
    write_file(world.source, "tasks/w2.jsonl", rows("four", "five", extra="x"))
    world.project.seal(world.source)
    four = world.task("four")
    report = world.project.rekey([(four, 1), (four, 2), (four, 1)])
    assert report.versions == ((four, 3),)


def test_old_wraps_that_are_dropped_are_in_no_copy_that_a_killed_backup_left(world: World) -> None:
    """The project's KEK lives on, and would open them."""
    one, backup = world.task("one"), world.folder / "monday"
    old = bytes(world.lab.database.scalar("SELECT wrapped FROM versions WHERE item = ?", one))
    killed_leaving(world, lambda lab: lab.backup(backup), lambda: old in copy_left(world))
    assert world.project.rekey([one], drop_old=True).dropped == 1
    assert left(world, [old]) == 0


def test_old_wraps_that_are_dropped_are_in_no_file_and_on_record(world: World) -> None:
    """Byte by byte; the current version and other items stay, and a second run has nothing to drop."""
    one = world.task("one")
    query = "SELECT wrapped FROM versions WHERE item = ? AND version = ?"
    old, other = (bytes(world.lab.database.scalar(query, item, 1)) for item in (one, world.task("two")))
    assert left(world, [old, other]) == 2
    assert world.project.rekey([one], drop_old=True).dropped == 1
    assert (left(world, [old]), left(world, [other])) == (0, 1)
    (entry,) = entries(world, Dropped)
    assert (entry.item, entry.before, entry.versions) == (one, 2, 1)
    with pytest.raises(ShreddedError, match="version 1 .* was destroyed"):
        world.project.compare(one, 1)
    again = world.project.rekey([(one, 1)], drop_old=True)
    assert (again.versions, again.done, again.dropped) == ((), 1, 0)
    assert len(entries(world, Dropped)) == 1
    assert world.project.rotate_kek().rewrapped == 10
    assert not world.project.export(world.folder / "out").faults
    world.lab.verify_ledger()
