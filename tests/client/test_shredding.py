"""Shredding a project: no key of it is left in any file of the home, nothing of it is released, the others go on."""

import io
import shutil
import sqlite3
from contextlib import closing

import pytest

from labelvault.client import Client, PassphraseRoot, Scope
from labelvault.client.backupstage import staged
from labelvault.errors import BackupError, IssueRefusedError, ProjectError, ShreddedError, StoreError
from labelvault.ledger.entries import Shredded
from labelvault.wire.framefile import unpack_frames
from tests.client.killing import killed_leaving, steps_done
from tests.world import CHEAP, DAY, LIMITS, World, denial_code, dump, entries, lease_outer, rows, write_file


@pytest.fixture
def two(world: World) -> World:
    """Another project beside the one that is shredded."""
    other = world.lab.create_project("other", floor_bytes=256)
    other.seal(world.source)
    return world


def secrets(world: World, name: str = "eval") -> list[bytes]:
    """Everything that is to be destroyed of a project: wraps, submission key, KEK files."""
    database = world.lab.database
    project, kek_id, submission = database.rows(
        "SELECT project, kek_id, submission_wrapped FROM projects WHERE name = ?", name
    )[0]
    wraps = database.rows("SELECT wrapped FROM versions WHERE kek_id = ?", kek_id)
    files = (world.home / "keks").glob(f"{bytes(kek_id).hex()}.*")
    return [bytes(row[0]) for row in wraps] + [bytes(submission)] + [path.read_bytes() for path in files]


def kek_id(world: World, name: str) -> bytes:
    """A project's."""
    return bytes(world.lab.database.scalar("SELECT kek_id FROM projects WHERE name = ?", name))


def copy_left(world: World) -> bytes:
    """What a killed backup left of its copy of `client.db`."""
    return b"".join(path.read_bytes() for path in (world.home / ".backup.tmp").glob("*.db*"))


def left(world: World, wanted: list[bytes]) -> int:
    """How many of them stand in any file of the home: database, write-ahead log and shared memory too."""
    found = b"".join(path.read_bytes() for path in world.home.rglob("*") if path.is_file())
    return sum(found.count(each) > 0 for each in wanted)


def refused(world: World, lab: Client) -> None:
    """Sealing, granting, reading, rotating and shredding say that it is shredded, and change nothing."""
    project = lab.project("eval")
    (item, *_) = project.items()
    state = dump(world.client_db)
    write_file(world.source, "guidelines/how.md", "changed")
    for act in (
        lambda: project.seal(world.source),
        lambda: project.seal_file("attachments/x.bin", io.BytesIO(b"content")),
        lambda: project.grant("ada", Scope(batches=["w1"]), expires_at=world.clock() + DAY, limits=LIMITS),
        lambda: project.collect(world.folder / "answers"),
        lambda: project.rotate_kek(),
        lambda: project.compare(item.item, 1, 2),
        lambda: lab.shred("eval", confirm="eval"),
    ):
        with pytest.raises((ShreddedError, ProjectError)) as caught:
            act()
        assert isinstance(caught.value, ShreddedError) or "has no version" in str(caught.value)
    assert dump(world.client_db) == state
    assert len(project.export(world.folder / f"export-{len(list(world.folder.iterdir()))}").faults) == 9


def test_nothing_of_it_is_left_in_any_file_of_the_home(two: World) -> None:
    """Byte by byte: wraps of two generations, the submission key and the KEKs' files; the other project stays whole."""
    two.project.rotate_kek()
    wanted, kept = secrets(two), secrets(two, "other")
    assert left(two, wanted) == len(wanted) == 11
    report = two.lab.shred("eval", confirm="eval")
    assert (report.keks, report.versions, report.answers, report.resumed) == (1, 9, 0, False)
    assert left(two, wanted) == 0
    assert left(two, kept) == len(kept)
    (entry,) = entries(two, Shredded)
    assert (entry.project, entry.keks, entry.versions) == (two.project.project_id, 1, 9)
    assert two.project.shredded
    assert [(each.name, each.shredded) for each in two.lab.project_records()] == [("eval", True), ("other", False)]
    assert not two.lab.project("other").export(two.folder / "out").faults
    two.lab.verify_ledger()


def test_what_killed_runs_left_in_the_home_goes_too(two: World) -> None:
    """A backup's copy of `client.db`; KEKs and the answers' key that wait under a new root key, with its keystore."""
    (kek,) = (path.name for path in (two.home / "keks").glob(f"{kek_id(two, 'eval').hex()}.*"))
    backup = two.folder / "monday"
    wrapped = secrets(two)[0]
    killed_leaving(two, lambda lab: lab.backup(backup), lambda: wrapped in copy_left(two))
    new = PassphraseRoot("another passphrase", parameters=CHEAP)
    killed_leaving(
        two,
        lambda lab: lab.rotate_root(new),
        lambda: len(list((two.home / "root.new").glob("*.submission"))) == 2,
    )
    staged = [two.home / "root.new" / name for name in (kek, f"{two.project.project_id.hex()}.submission")]
    wanted, kept = secrets(two) + [path.read_bytes() for path in staged], secrets(two, "other")
    assert sum(each in copy_left(two) for each in wanted) == 10
    assert two.lab.shred("eval", confirm="eval").versions == 9
    assert left(two, wanted) == 0
    assert left(two, kept) == len(kept)
    assert not (two.home / ".backup.tmp").exists()
    assert len(list((two.home / "root.new").glob("*.kek"))) == 1


def test_a_backup_that_is_being_made_is_waited_for(two: World) -> None:
    """Its copy has the keys: no entry while it is there, and another run finishes."""
    wanted = secrets(two)
    with staged(two.home) as stage:
        two.lab.database.snapshot(stage / "3.db")
        with pytest.raises(BackupError, match="is being made"):
            two.lab.shred("eval", confirm="eval")
        assert entries(two, Shredded) == []
    assert two.lab.shred("eval", confirm="eval").resumed
    assert left(two, wanted) == 0
    assert len(entries(two, Shredded)) == 1


def test_what_is_shredded_is_refused_with_an_error_of_its_own(two: World) -> None:
    """By every entrance, and again after the home was opened anew; the issuer denies, and serves the other project."""
    me, joined = two.worker()
    other = two.lab.project("other")
    issuer = two.issuer()
    asked = two.ask(me, joined, two.task())
    live = lease_outer(issuer.handle(asked.data))
    two.lab.shred("eval", confirm="eval")
    refused(two, two.lab)
    refused(two, two.open_client())
    request = two.ask(me, joined, two.task("two"))
    assert denial_code(issuer.handle(request.data)) == "unavailable"
    # The lease that was released before lives on: its answer is still given, until it ends.
    assert lease_outer(issuer.handle(asked.data)) == live
    second = two.join(me, "ada", project=other)
    lease_outer(issuer.handle(two.ask(me, second, two.task("one", other)).data))
    bundles = unpack_frames(me.ahead.make_prekeys(1))
    with pytest.raises(IssueRefusedError, match="unavailable"):
        issuer.issue(joined.grant.message.grant_id, [two.task("three")], bundles)


@pytest.mark.parametrize("typed", ["", "Eval", "eval ", "other"])
def test_without_its_name_nothing_is_shredded(two: World, typed: str) -> None:
    """Not even nearly the name, or another project's."""
    state = dump(two.client_db)
    with pytest.raises(ProjectError, match="was not confirmed"):
        two.lab.shred("eval", confirm=typed)
    with pytest.raises(ProjectError, match="no project named"):
        two.lab.shred("nothing", confirm="nothing")
    assert dump(two.client_db) == state
    assert not two.project.export(two.folder / "out").faults


def test_a_reader_that_holds_on_is_told_of_and_another_run_finishes(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process reads an older state, the log can't be emptied: no entry until it is."""
    wanted = secrets(two)
    with two.lab.database._lock:
        two.lab.database._connection.execute("PRAGMA busy_timeout=200")
    with closing(sqlite3.connect(two.client_db)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM versions").fetchone()
        with pytest.raises(StoreError, match="client.db: "):
            two.lab.shred("eval", confirm="eval")
    assert entries(two, Shredded) == []
    assert two.project.shredded
    report = two.open_client().shred("eval", confirm="eval")
    assert (report.keks, report.versions, report.resumed) == (1, 9, True)
    assert left(two, wanted) == 0
    assert len(entries(two, Shredded)) == 1


def test_a_seal_that_is_under_way_stops_at_its_next_step(two: World) -> None:
    """Stored at the vault, and shredded before it became current: no version of it opens, or is current."""
    write_file(two.source, "tasks/w9.jsonl", rows("nine"))
    real = two.lab.relay().put_items

    def shredded_meanwhile(items: object) -> None:
        two.open_client().shred("eval", confirm="eval")
        real(items)  # type: ignore[arg-type]

    two.lab.relay().put_items = shredded_meanwhile  # type: ignore[method-assign,assignment]
    with pytest.raises(ShreddedError):
        two.project.seal(two.source)
    assert len(two.project.items()) == 9
    rows_of = "SELECT v.wrapped FROM versions v JOIN items i ON i.item = v.item WHERE i.project = ?"
    assert {row[0] for row in two.lab.database.rows(rows_of, two.project.project_id)} == {b""}


def test_C1_killed_at_any_step_another_run_finishes(two: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before each flush, unlink, commit and rewrite: it opens, is whole or shut, and ends without a trace of keys."""
    snapshot = tmp_path_factory.mktemp("home") / "client"
    wanted = secrets(two)
    two.lab.close()
    shutil.copytree(two.home, snapshot)

    def shred(lab: Client) -> None:
        lab.shred("eval", confirm="eval")

    def again() -> None:
        shutil.rmtree(two.home)
        shutil.copytree(snapshot, two.home)

    total = steps_done(two, shred)
    assert total is not None
    assert total > 12
    marked = 0
    for last in range(total):
        again()
        assert steps_done(two, shred, last) is None
        two.lab = two.open_client()
        project = two.lab.project("eval")
        out = two.folder / f"out-{last}"
        if project.shredded:
            marked += 1
            assert entries(two, Shredded) == [] or left(two, wanted) == 0
            with pytest.raises(ShreddedError):
                project.seal(two.source)
        else:
            assert not project.export(out).faults
        if not entries(two, Shredded):
            report = two.lab.shred("eval", confirm="eval")
            assert (report.keks, report.versions) == (1, 9)
        assert left(two, wanted) == 0
        assert len(entries(two, Shredded)) == 1
        two.lab.verify_ledger()
        two.lab.close()
    assert marked > total // 2
