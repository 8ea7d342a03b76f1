"""The ledger's copy elsewhere: nothing leaves before it is there, and a restore that has it leaves nothing unknown."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labelvault.client import Client, PassphraseRoot, RestoreReport, access, restore
from labelvault.errors import BackupError, ClockError, ForkError, FormatError, LedgerError, ReplicaError, ShreddedError
from labelvault.issuer.authorize import CLOCK_SKEW
from labelvault.issuer.replica import replica_of
from labelvault.issuer.state import frozen_mark
from labelvault.ledger.entries import Released, Restored
from labelvault.ledger.export import MAX_EXPORT_BYTES, verify_export
from labelvault.ledger.kept import read_kept
from tests.client.killing import forked, steps_done
from tests.world import (
    CHEAP,
    DAY,
    MINUTE,
    MS,
    PASSPHRASE,
    World,
    counts,
    denial_code,
    lease_outer,
    rows,
    write_file,
)

ROOT = PassphraseRoot(PASSPHRASE, parameters=CHEAP)


@pytest.fixture
def copies(world: World) -> Path:
    """A directory where the ledger's copy is kept, closed."""
    folder = world.folder / "copies"
    folder.mkdir()
    world.lab.replicate_ledger(folder)
    return folder


def file_of(world: World, folder: Path) -> Path:
    """The copy of the ledger that is written now."""
    return folder / f"{world.lab.certificate.message.epoch.hex()}.ledger"


def entries_in(file: Path) -> int:
    """How many entries a copy has that a checkpoint covers."""
    return len(read_kept(file.read_bytes()).entries)


def bring_back(world: World, file: Path, ledger: Path | None, name: str = "restored") -> Client:
    """Restore with a later copy of the ledger."""
    keystore = world.home / "root.keystore"
    restore(world.folder / name, ROOT, file, keystore=keystore, ledger=ledger, clock=world.clock)
    return world.open_client(name)


def test_each_commit_is_in_the_copy_before_its_answer_leaves(world: World, copies: Path) -> None:
    """By the client and by issuers, on connections of their own; and the copy verifies as an export does."""
    file = file_of(world, copies)
    me, joined = world.worker()
    assert entries_in(file) == len(world.lab.ledger_entries())
    issuer = world.issuer()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    assert entries_in(file) == len(world.lab.ledger_entries())
    denial_code(world.issuer().handle(world.ask(me, joined, bytes(16)).data))
    assert entries_in(file) == len(world.lab.ledger_entries())
    kept = read_kept(file.read_bytes())
    assert (kept.policy, kept.ending, kept.complete) == ("closed", None, True)
    assert kept.note == world.lab.verify_ledger().checkpoint
    assert world.lab.ledger_copy() is not None
    assert file.stat().st_mode & 0o777 == 0o600


def test_G5_while_the_copy_is_away_nothing_leaves_and_nothing_is_lost(world: World, copies: Path) -> None:
    """The request is on record and has no answer; once the copy is back, the same request gets its one lease."""
    me, joined = world.worker()
    issuer, request = world.issuer(), world.ask(me, joined, world.task())
    away = world.folder / "away"
    copies.rename(away)
    copies.mkdir()  # As a mount point is that nothing is mounted on.
    for _ in range(2):
        with pytest.raises(ReplicaError, match="can't be kept"):
            issuer.handle(request.data)
    assert not list(copies.iterdir())
    copies.rmdir()
    away.rename(copies)
    outer = lease_outer(issuer.handle(request.data))
    assert lease_outer(issuer.handle(request.data)) == outer
    assert counts(world.client_db)["leases"] == 1
    assert entries_in(file_of(world, copies)) == len(world.lab.ledger_entries())
    copies.rename(away)
    with pytest.raises(ReplicaError):
        world.lab.freeze("eval")
    assert world.lab.project_records()[0].frozen
    # What only looks goes on, in processes that start now too.
    again = world.open_client()
    assert again.statement("all", world.clock() - DAY, world.clock()).items
    again.backup(world.folder / "meanwhile")
    with pytest.raises(ReplicaError):
        again.unfreeze("eval")


def test_best_effort_lets_answers_leave_and_catches_up(world: World, copies: Path) -> None:
    """The lag is told, and the next commit that reaches the copy writes all of it."""
    world.lab.replicate_ledger(copies, best_effort=True)
    me, joined = world.worker()
    away = world.folder / "away"
    copies.rename(away)
    issuer = world.issuer()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    found = world.lab.ledger_copy()
    assert found is not None
    assert (found.policy, found.behind) == ("best-effort", None)
    away.rename(copies)
    found = world.lab.ledger_copy()
    assert found is not None
    assert found.behind == 1
    lease_outer(issuer.handle(world.ask(me, joined, world.task("two")).data))
    kept = read_kept(file_of(world, copies).read_bytes())
    assert len(kept.entries) == len(world.lab.ledger_entries())
    assert not kept.complete


def lose_time(world: World) -> tuple[Path, bytes]:
    """Back up; then release, revoke, shred, freeze and seal."""
    me, joined = world.worker()
    world.enrol(world.contractor("bob"), "bob")
    for name in ("second", "third"):
        world.lab.create_project(name, floor_bytes=256).seal(world.source)
    file = world.folder / "monday"
    world.lab.backup(file)
    world.clock.advance(timedelta(hours=1))
    lease_outer(world.issuer().handle(world.ask(me, joined, world.task()).data))
    world.lab.revoke_contractor("bob")
    world.lab.shred("second", confirm="second")
    world.lab.freeze("third")
    world.enrol(world.contractor("eve"), "eve")
    write_file(world.source, "tasks/w3.jsonl", rows("six"))
    assert world.project.seal(world.source).new
    world.clock.advance(timedelta(hours=1))
    return file, world.task()


def test_R8_a_restore_with_the_copy_leaves_nothing_unknown(world: World, copies: Path) -> None:
    """No gap, the release of the lost time is stated, and what was revoked, shredded and frozen is so again."""
    file, task = lose_time(world)
    start = world.clock() - 2 * DAY
    stated = world.lab.statement("all", start, world.clock() - MS)
    size = len(world.lab.ledger_entries())
    report = restore(
        world.folder / "restored",
        ROOT,
        file,
        keystore=world.home / "root.keystore",
        ledger=copies,
        clock=world.clock,
    )
    assert (report.complete, report.known, report.lost_versions, report.lost_contractors) == (True, size, 1, 1)
    lab = world.open_client("restored")
    assert [each.log.size() for each in lab.ledgers()] == [size, 3]
    lab.verify_ledger(world.lab.verify_ledger().checkpoint)
    assert [entry for entry in lab.ledger_entries() if isinstance(entry, Released)]
    world.clock.advance(MINUTE)
    again = lab.statement("all", start, stated.statement.end)
    assert again.statement.gaps == ()
    assert {each.item: each.verdict for each in again.items} == {each.item: each.verdict for each in stated.items}
    assert next(each.verdict for each in again.items if each.item == task) != "unknown"
    assert [each.name for each in lab.contractors() if each.revoked] == ["bob"]
    assert lab.project("second").shredded
    with pytest.raises(ShreddedError):
        lab.project("second").seal(world.source)
    assert {each.name: each.frozen for each in lab.project_records()} == {"eval": 0, "second": 0, "third": 1}
    assert lab.ledger_copy() is None
    # What was sealed since has no keys here; it is sealed again, beyond the number that the vault knows.
    assert lab.project("eval").seal(world.source).new


def test_R8_with_a_mere_copy_of_the_copy_the_time_after_it_stays_unknown(world: World, copies: Path) -> None:
    """A file or an export may be older than what left: the gap begins at its last entry."""
    file, _ = lose_time(world)
    export = world.folder / "export"
    export.write_bytes(world.lab.export_ledger())
    last = max(entry.at for entry in world.lab.ledger_entries())
    for number, ledger in enumerate((export, file_of(world, copies))):
        lab = bring_back(world, file, ledger, f"home-{number}")
        restored = next(entry for entry in lab.ledger_entries() if isinstance(entry, Restored))
        assert (restored.backup_at, restored.size) == (last, len(world.lab.ledger_entries()))
        world.clock.advance(MINUTE)
        assert lab.statement("all", last - DAY, last).statement.gaps
    # Neither was taken over: the lost home, which lives here, goes on.
    world.lab.unfreeze("third")


def test_the_lost_home_lets_nothing_out_once_its_copy_was_taken_over(world: World, copies: Path) -> None:
    """If it lives after all, it refuses; so there are never two that answer."""
    me, joined = world.worker()
    file = world.folder / "monday"
    world.lab.backup(file)
    issuer = world.issuer()
    lab = bring_back(world, file, copies)
    with pytest.raises(ReplicaError, match="a restored home took it over"):
        issuer.handle(world.ask(me, joined, world.task()).data)
    with pytest.raises(ReplicaError):
        world.lab.freeze("eval")
    anew = world.folder / "anew"
    anew.mkdir()
    lab.replicate_ledger(anew)
    world.clock.advance(CLOCK_SKEW + MS)
    world.join(me, "ada", lab=lab, project=lab.project("eval"))
    with me.open_task(world.task(), exchange=world.issuer(lab).handle) as task:
        assert task.text
    assert len(list(anew.iterdir())) == 2
    # Restored once more from the same backup: the newer epoch is not in it, nor in the copy that was taken over.
    task_was = world.clock()
    world.clock.advance(DAY)
    again = bring_back(world, file, copies, "again")
    assert again.verify_ledger().before[0].size == len(lab.ledgers()[0].log.entries())
    world.clock.advance(MINUTE)
    stated = again.statement("all", task_was - DAY, world.clock() - MS)
    assert [gap.since <= task_was < gap.until for gap in stated.statement.gaps] == [True]
    assert next(each.verdict for each in stated.items if each.item == world.task()) == "unknown"


def test_a_restore_that_is_refused_does_not_end_the_copy(world: World, copies: Path) -> None:
    """A clock behind the copy, or a copy that was cut back behind a kept checkpoint; mended, nothing is unknown."""
    backup, file = world.folder / "monday", file_of(world, copies)
    world.lab.backup(backup)
    short = file.read_bytes()
    world.clock.advance(DAY)
    world.lab.freeze("eval")
    whole, kept = file.read_bytes(), world.lab.verify_ledger().checkpoint

    def again(name: str, clock: Callable[[], datetime] = world.clock) -> RestoreReport:
        keystore, home = world.home / "root.keystore", world.folder / name
        return restore(home, ROOT, backup, keystore=keystore, ledger=copies, against=kept, clock=clock)

    with pytest.raises(ClockError):
        again("behind", lambda: world.clock() - MINUTE * 10)
    file.write_bytes(short)
    with pytest.raises(BackupError, match="does not reach that checkpoint"):
        again("cut")
    assert file.read_bytes() == short
    file.write_bytes(whole)
    assert again("whole").complete


def test_what_was_dropped_since_is_sealed_again_if_what_followed_is_lost(world: World, copies: Path) -> None:
    """The backup's current version is the one that was dropped: it opens no more, and does not count as sealed."""
    one, file = world.task("one"), world.folder / "monday"
    world.lab.backup(file)
    assert world.project.rekey([one], drop_old=True).dropped == 1
    project = bring_back(world, file, copies).project("eval")
    assert [fault.item for fault in project.export(world.folder / "a").faults] == [one]
    assert project.plan(world.source).changed == ("tasks/w1.jsonl#one",)
    report = project.seal(world.source)
    assert (report.changed, report.same) == (1, 8)
    assert not project.export(world.folder / "b").faults


def test_what_was_frozen_anew_since_is_nobodys_containment_any_more(world: World, copies: Path) -> None:
    """A containment thaws only what it froze itself; the lost home knew that somebody else had, since."""
    project, file = world.project.project_id, world.folder / "monday"
    access.set_frozen(world.lab, project, frozen=True, contains=bytes(32))
    world.lab.backup(file)
    world.lab.unfreeze("eval")
    world.lab.freeze("eval")
    lab = bring_back(world, file, copies)
    assert lab.project("eval").frozen
    assert lab.database.meta(frozen_mark(project)) is None


def test_C1_killed_at_any_step_no_copy_claims_to_be_kept_closed_before_it_is(world: World) -> None:
    """Nor after the one before was ended; another run goes on, and then it is."""
    first, second = world.folder / "first", world.folder / "second"
    first.mkdir()
    second.mkdir()

    def claims(folder: Path) -> bool:
        with suppress(FileNotFoundError, FormatError):
            return read_kept(file_of(world, folder).read_bytes()).complete
        return False

    for folder in (first, second):
        done: int | None = None
        for last in range(100):
            done = steps_done(world, lambda lab, folder=folder: lab.replicate_ledger(folder), last)  # type: ignore[misc]
            kept = replica_of(world.lab.database)
            assert not claims(folder) or (kept is not None and (kept.folder, kept.policy) == (folder, "closed"))
            if done is not None:
                break
        assert done is not None
        assert done > 5
        assert claims(folder)
    assert not claims(first)


def test_a_new_place_that_can_not_be_written_leaves_the_old_one(world: World, copies: Path) -> None:
    """The copy that is kept is ended only once there is another."""
    second = world.folder / "second"
    second.mkdir()
    (second / file_of(world, copies).name).mkdir()
    with pytest.raises(ReplicaError, match="can't be kept"):
        world.lab.replicate_ledger(second)
    world.lab.freeze("eval")
    assert entries_in(file_of(world, copies)) == len(world.lab.ledger_entries())


def test_what_is_no_file_or_larger_than_any_copy_is_not_read(world: World, copies: Path) -> None:
    """Whoever can write where the copy is kept can't make a restore hang, or take all memory."""
    backup, file = world.folder / "monday", file_of(world, copies)
    world.lab.backup(backup)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BackupError, match="no copy of a ledger"):
        bring_back(world, backup, copies)
    file.unlink()
    with file.open("wb") as sparse:
        sparse.truncate(MAX_EXPORT_BYTES + 1)
    with pytest.raises(BackupError, match="no copy of a ledger"):
        bring_back(world, backup, copies)
    assert not (world.folder / "restored").exists()


@pytest.mark.parametrize("damage", ["older", "other history", "altered", "another ledger", "nothing", "cut"])
def test_what_does_not_extend_the_backup_is_refused(world: World, copies: Path, damage: str) -> None:
    """No home is made, and the copy is as it was."""
    before = file_of(world, copies).read_bytes()
    world.worker()
    backup = world.folder / "monday"
    world.lab.backup(backup)
    world.lab.freeze("eval")
    file, name = file_of(world, copies), file_of(world, copies).name
    data = file.read_bytes()
    lines = data.split(b"\n")
    folder = world.folder / "given"
    folder.mkdir()
    other = world.create_client("other")
    cases = {
        "older": before,
        "other history": data,
        "altered": data.replace(lines[3], lines[4], 1),
        "another ledger": other.export_ledger(),
        "nothing": b"",
        "cut": b"\n".join(lines[:3]),
    }
    (folder / name).write_bytes(cases[damage])
    if damage == "other history":
        lab = bring_back(world, backup, None, "elsewhere")
        lab.backup(world.folder / "tuesday")
        backup = world.folder / "tuesday"
    with pytest.raises((BackupError, LedgerError, ForkError)):
        bring_back(world, backup, folder)
    assert not (world.folder / "restored").exists()
    assert (folder / name).read_bytes() == cases[damage]


def test_a_copy_of_another_history_is_not_written_to(world: World, copies: Path) -> None:
    """A home that was put back as plain files finds that the copy knows more, and lets nothing out."""
    old = world.folder / "old"
    world.lab.close()
    shutil.copytree(world.home, old)
    world.lab = world.open_client()
    world.lab.freeze("eval")
    kept = file_of(world, copies).read_bytes()
    world.lab.close()
    shutil.rmtree(world.home)
    shutil.copytree(old, world.home)
    world.lab = world.open_client()
    world.clock.advance(MINUTE)
    me = world.contractor("bob")
    with pytest.raises(ReplicaError, match="another history"):
        world.enrol(me, "bob")
    assert file_of(world, copies).read_bytes() == kept


def test_it_ends_when_it_is_told_to(world: World, copies: Path) -> None:
    """The copy says so, and is complete no more; elsewhere it begins anew; unreachable, only by force."""
    world.lab.stop_replicating()
    kept = read_kept(file_of(world, copies).read_bytes())
    assert (kept.ending, kept.complete) == ("ended", False)
    world.lab.freeze("eval")
    world.lab.stop_replicating()
    with pytest.raises(ReplicaError, match="ended"):
        world.lab.replicate_ledger(copies)
    second, third = world.folder / "second", world.folder / "third"
    second.mkdir()
    third.mkdir()
    world.lab.replicate_ledger(second)
    world.lab.replicate_ledger(third)
    assert read_kept(file_of(world, second).read_bytes()).ending == "ended"
    assert entries_in(file_of(world, third)) == len(world.lab.ledger_entries())
    shutil.rmtree(third)
    with pytest.raises(ReplicaError):
        world.lab.stop_replicating()
    world.lab.stop_replicating(force=True)
    world.lab.unfreeze("eval")
    with pytest.raises(ReplicaError, match="no directory"):
        world.lab.replicate_ledger(third)


def test_C1_killed_at_any_step_the_copy_is_whole_up_to_a_commit_and_catches_up(world: World, copies: Path) -> None:
    """Whatever was torn off counts for nothing; what was committed and not copied comes with the next commit."""
    file = file_of(world, copies)

    def act(lab: Client) -> None:
        lab.freeze("eval")
        lab.unfreeze("eval")

    total = steps_done(world, act)
    assert total is not None
    assert total >= 6
    for last in range(total):
        assert steps_done(world, act, last) is None
        kept = read_kept(file.read_bytes())
        size = len(world.lab.ledger_entries())
        assert size - 1 <= len(kept.entries) <= size
        with file.open("ab") as torn:
            torn.write(b'{"entry":"AAAA"}\n{"entry":"AA')
        world.lab.freeze("eval")
        assert entries_in(file) == len(world.lab.ledger_entries())
    verify_export(
        world.lab.export_ledger(),
        origin=world.lab.ledgers()[0].log.origin,
        name=world.lab.ledgers()[0].name,
        public_key=world.lab.certificate.message.issuer,
        older=read_kept(file.read_bytes()).note,
    )


def test_a_full_disk_is_an_error_and_tears_nothing(world: World, copies: Path) -> None:
    """The copy stands as it was up to its last commit, and goes on once there is room."""
    file = file_of(world, copies)
    before = entries_in(file)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with world.open_client() as lab:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 40, 2**40))
            lab.freeze("eval")

    assert os.WEXITSTATUS(forked(limited)) == 3
    assert entries_in(file) == before
    world.lab.unfreeze("eval")
    assert entries_in(file) == len(world.lab.ledger_entries())
