"""Rotating a project's KEK: beside running issuers and sealing, killed anywhere, and what a thief has of it."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labelvault.client import Client, Limits, PassphraseRoot, Progress
from labelvault.client.rotating import BATCH_VERSIONS
from labelvault.errors import DecryptionError, KeystoreError, StoreError
from labelvault.keys.kek import KekFiles, unwrap_dek, wrap_context
from labelvault.ledger.entries import Rotated
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from tests.client.killing import killed_leaving, steps_done
from tests.issuer.test_processes import race, racers
from tests.world import CHEAP, PASSPHRASE, World, denial_code, dump, entries, lease_outer, rows, write_file


def keks(world: World) -> list[int]:
    """Generations that have a file."""
    return sorted(int(path.name.split(".")[1]) for path in (world.home / "keks").glob("[0-9a-f]*.kek"))


def generations(world: World) -> set[int]:
    """Generations that the catalog's wraps are under."""
    return {row[0] for row in world.lab.database.rows("SELECT DISTINCT kek_generation FROM versions")}


def readable(world: World, lab: Client | None = None) -> int:
    """Export everything; return how many items that were."""
    folder = world.folder / f"out-{len(list(world.folder.iterdir()))}"
    report = (lab or world.lab).project("eval").export(folder)
    assert not report.faults
    return report.items


def test_every_wrap_goes_under_the_new_generation_and_the_old_one_is_destroyed(world: World) -> None:
    """Old versions too; payloads and vault are untouched, the ledger says so, and sealing goes on under the new one."""
    write_file(world.source, "guidelines/how.md", "other")
    world.project.seal(world.source)
    before, vault = dump(world.client_db), (world.folder / "vendor" / "vault.db").read_bytes()
    told: list[Progress] = []
    report = world.project.rotate_kek(told.append)
    assert (report.generation, report.rewrapped, report.destroyed, report.resumed) == (2, 10, 1, False)
    assert (told[-1].done, told[-1].total) == (10, 10)
    assert (keks(world), generations(world)) == ([2], {2})
    assert [(entry.what, entry.generation) for entry in entries(world, Rotated)] == [("kek", 2)]
    assert (world.folder / "vendor" / "vault.db").read_bytes() == vault
    after = dump(world.client_db)
    for old, new in zip(before["versions"], after["versions"], strict=True):
        assert old[:4] + old[7:] == new[:4] + new[7:]
        assert old[4] != new[4]
    assert world.project.seal(world.source).same == 9
    write_file(world.source, "guidelines/how.md", "third")
    assert world.project.seal(world.source).changed == 1
    assert generations(world) == {2}
    assert readable(world) == 9
    world.lab.verify_ledger()


def test_a_running_issuer_releases_before_and_after_and_drops_the_old_key(world: World) -> None:
    """The same issuer, over two rotations; and a KEK that is destroyed leaves its memory with the next pass."""
    me, joined = world.worker()
    issuer = world.issuer()
    for generation in (1, 2, 3):
        request = world.ask(me, joined, world.task())
        assert lease_outer(issuer.handle(request.data)).item == world.task()
        assert [held[1] for held in issuer._unwrapped] == [generation]
        issuer.handle(world.receipt(me, request))
        world.project.rotate_kek()
    issuer.answer()
    assert not issuer._unwrapped


def test_a_stream_that_is_sealed_meanwhile_ends_under_the_new_generation(world: World) -> None:
    """Reserved under the old one, completed after it is destroyed: the wrap is made at the end."""

    class Pipe:
        def __init__(self) -> None:
            self.left = [b"a" * 1000, b"b" * 1000]

        def read(self, size: int, /) -> bytes:
            return self.left.pop() if self.left else b""

    real = world.lab.relay().put_stream

    def rotated_meanwhile(*arguments: object) -> object:
        assert world.open_client().project("eval").rotate_kek().generation == 2
        return real(*arguments)  # type: ignore[arg-type]

    world.lab.relay().put_stream = rotated_meanwhile  # type: ignore[method-assign,assignment]
    world.project.seal_file("attachments/pipe.bin", Pipe())
    assert (keks(world), generations(world)) == ([2], {2})
    assert readable(world) == 10


def test_a_window_that_is_sealed_meanwhile_is_moved(world: World) -> None:
    """Reserved under the old generation, current only after the rotation."""
    write_file(world.source, "tasks/w9.jsonl", rows("nine"))
    real = world.lab.relay().put_items

    def rotated_meanwhile(items: object) -> None:
        assert world.open_client().project("eval").rotate_kek().rewrapped == 10
        real(items)  # type: ignore[arg-type]

    world.lab.relay().put_items = rotated_meanwhile  # type: ignore[method-assign,assignment]
    world.project.seal(world.source)
    assert (keks(world), generations(world)) == ([2], {2})
    assert readable(world) == 10


_SEAL = """
import sys
from pathlib import Path
from labelvault.client import Client, Limits, PassphraseRoot, Progress
from tests.world import CHEAP, PASSPHRASE
folder = Path(sys.argv[1])
with Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
    print("began", flush=True)
    print(lab.project("eval").seal(folder / "source").new, flush=True)
"""


def test_C5_rotations_go_on_beside_sealing_and_releases_in_other_processes(world: World) -> None:
    """Sealing 2,000 rows and three issuers while the KEK is rotated again and again: nothing fails, all is readable."""
    me, joined = world.worker(limits=Limits(max_open=1000, max_total=9000, per_hour=9000, lease_ttl_s=3600))
    write_file(world.source, "tasks/w9.jsonl", rows(*(f"row {number}" for number in range(2000))))
    command = [sys.executable, "-c", _SEAL, str(world.folder)]
    task = world.task()
    with (
        racers(world, 2) as issuers,
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as sealing,
    ):
        assert sealing.stdout is not None
        assert sealing.stdout.readline() == b"began\n"
        rotated = 0
        while sealing.poll() is None or rotated < 3:
            # As long as the sealing takes, but no more than may be open.
            asked = [[world.ask(me, joined, task) for _ in range(3 if rotated < 150 else 0)] for _ in issuers]
            found: list[list[bytes]] = []
            thread = threading.Thread(target=lambda asked=asked, found=found: found.extend(race(issuers, asked)))
            thread.start()
            rotated = world.project.rotate_kek().generation
            thread.join()
            assert len([lease_outer(answer) for answers in found for answer in answers]) == sum(map(len, asked))
        assert sealing.stdout.read() == b"2000\n"
    world.project.rotate_kek()
    assert (keks(world), generations(world)) == ([rotated + 1], {rotated + 1})
    assert readable(world) == 2009
    world.lab.verify_ledger()


def test_two_rotations_at_once_end_as_one_or_two(world: World) -> None:
    """Both return, one generation is left, and each that was reached is on record once."""
    labs = [world.open_client() for _ in range(2)]
    threads = [threading.Thread(target=lab.project("eval").rotate_kek) for lab in labs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [entry.generation for entry in entries(world, Rotated)]
    assert found in ([2], [2, 3])
    assert keks(world) == [found[-1]] == list(generations(world))
    assert readable(world) == 9


@pytest.fixture
def many(world: World) -> World:
    """More versions than one transaction moves."""
    write_file(world.source, "tasks/w9.jsonl", rows(*(f"row {number}" for number in range(BATCH_VERSIONS))))
    world.project.seal(world.source)
    return world


def test_C1_killed_at_any_step_it_opens_and_another_run_finishes(many: World) -> None:
    """Before each flush, link, unlink and commit: all is readable at once, and the next run leaves one generation."""
    expected = 1

    def rotate(lab: Client) -> None:
        lab.project("eval").rotate_kek()

    total = steps_done(many, rotate)
    assert total is not None
    assert total > 12
    expected += 1
    for last in range(total):
        assert steps_done(many, rotate, last) is None
        lab = many.open_client()
        assert generations(many) <= set(keks(many)), last
        assert lab.project("eval").export(many.folder / f"killed-{last}").items == 9 + BATCH_VERSIONS
        shutil.rmtree(many.folder / f"killed-{last}")
        expected += 1
        assert lab.project("eval").rotate_kek().generation == expected
        assert (keks(many), generations(many)) == ([expected], {expected})
        assert [entry.generation for entry in entries(many, Rotated)] == list(range(2, expected + 1))
    many.lab.verify_ledger()
    many.project.rotate_kek()
    assert len(list((many.home / "keks").iterdir())) == 1


def stolen_opens(world: World, database: Path, keks_folder: Path) -> int:
    """How many wraps of a stolen catalog open under stolen KEK files, to a thief who has the root key, too."""
    root = PassphraseRoot(PASSPHRASE, parameters=CHEAP).open(world.home)
    files = KekFiles(keks_folder, root, world.lab.client_id)
    project = world.project.project_id
    opened = 0
    kek_id = bytes(world.lab.database.scalar("SELECT kek_id FROM projects"))
    for item, version, digest, wrapped, *_ in (
        (row[0], row[1], row[2], row[4], row[6]) for row in dump(database)["versions"]
    ):
        header = ItemHeader(ITEM_FORMAT, world.lab.client_id, project, item, version).encode()
        for held in files.generations(kek_id):
            kek = files.load(project, kek_id, held)
            for claimed in range(1, 4):
                try:
                    unwrap_dek(kek, wrapped, wrap_context(header, digest, kek_id, claimed))
                except DecryptionError:
                    continue
                opened += 1
    return opened


def test_G3_the_old_kek_opens_nothing_of_the_new_catalog_but_all_of_an_old_copy(world: World) -> None:
    """Rotation shuts out whoever has the old KEK alone; a thief who took both keeps what was sealed by then."""
    stolen = world.folder / "stolen"
    shutil.copytree(world.home, stolen)
    assert stolen_opens(world, stolen / "client.db", stolen / "keks") == 9
    world.project.rotate_kek()
    assert stolen_opens(world, world.client_db, stolen / "keks") == 0
    assert stolen_opens(world, stolen / "client.db", world.home / "keks") == 0
    assert stolen_opens(world, stolen / "client.db", stolen / "keks") == 9
    assert stolen_opens(world, world.client_db, world.home / "keks") == 9


@pytest.mark.parametrize("fault", ["old wrap", "old row", "new wrap under the old generation", "another's wrap"])
def test_F13_a_swapped_row_certifies_nothing_after_a_rotation(world: World, fault: str) -> None:
    """Whatever of two generations is mixed in a row, the issuer denies, even one that had the old KEK in memory."""
    me, joined = world.worker()
    issuer, task, other = world.issuer(), world.task(), world.task("two")
    asked = world.ask(me, joined, task)
    lease_outer(issuer.handle(asked.data))
    issuer.handle(world.receipt(me, asked))
    query = "SELECT wrapped, kek_generation FROM versions WHERE item = ?"
    old = world.lab.database.rows(query, task)[0]
    world.project.rotate_kek()
    new, others = (world.lab.database.rows(query, item)[0] for item in (task, other))
    rows_of = {
        "old wrap": (old[0], 2),
        "old row": old,
        "new wrap under the old generation": (new[0], 1),
        "another's wrap": others,
    }
    with world.lab.database.transaction():
        world.lab.database.execute(
            "UPDATE versions SET wrapped = ?, kek_generation = ? WHERE item = ?", *rows_of[fault], task
        )
    assert denial_code(issuer.handle(world.ask(me, joined, task).data)) == "unavailable"
    with world.lab.database.transaction():
        world.lab.database.execute("UPDATE versions SET wrapped = ?, kek_generation = ? WHERE item = ?", *new, task)
    lease_outer(issuer.handle(world.ask(me, joined, task).data))


def test_a_damaged_wrap_keeps_the_old_kek(world: World) -> None:
    """All others are moved, nothing is destroyed or put on record; mended, the rotation goes on."""
    query = "SELECT wrapped FROM versions WHERE item = ?"
    wrapped = bytes(world.lab.database.scalar(query, world.task()))

    def put(data: bytes) -> None:
        with world.lab.database.transaction():
            world.lab.database.execute("UPDATE versions SET wrapped = ? WHERE item = ?", data, world.task())

    put(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
    with pytest.raises(StoreError, match="1 wraps in client.db don't open"):
        world.project.rotate_kek()
    assert (keks(world), generations(world), entries(world, Rotated)) == ([1, 2], {1, 2}, [])
    put(wrapped)
    report = world.project.rotate_kek()
    assert (report.generation, report.rewrapped, report.destroyed, report.resumed) == (2, 1, 1, True)
    assert readable(world) == 9


def test_without_the_current_kek_nothing_is_begun(world: World) -> None:
    """Its file is away: no new generation, no entry."""
    (path,) = (world.home / "keks").iterdir()
    path.rename(world.folder / "away")
    before = dump(world.client_db)
    with pytest.raises(KeystoreError, match="does not exist"):
        world.project.rotate_kek()
    assert keks(world) == []
    assert dump(world.client_db) == before


def test_no_old_kek_is_left_by_a_killed_replacement_of_the_root_key(world: World) -> None:
    """It waits there under the new root key, whose keystore lies beside it."""
    new, staged = PassphraseRoot("another passphrase", parameters=CHEAP), world.home / "root.new"
    killed_leaving(world, lambda lab: lab.rotate_root(new), lambda: bool(list(staged.glob("*.1.kek"))))
    assert (staged / "root.keystore").is_file()
    assert world.project.rotate_kek().generation == 2
    assert not list(world.home.rglob("*.1.kek"))
    assert not world.project.export(world.folder / "out").faults
