"""Backups and restores: nothing half, nothing of before is answered again, and what is unknown is said to be so."""

import fcntl
import os
import resource
import shutil
import signal
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, PassphraseRoot, restore
from labelvault.client.backupfile import MAGIC, OpenedBackup, read_front
from labelvault.errors import (
    BackupError,
    ClockError,
    DeniedError,
    GrantError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
    LabelVaultError,
    LedgerError,
    OutputError,
    PrekeyError,
    RelayError,
)
from labelvault.issuer.authorize import CLOCK_SKEW
from labelvault.keys.files import read_private
from labelvault.ledger.entries import Certified, Released, Restored
from labelvault.ledger.statement import Gap
from labelvault.vendor import Vault
from labelvault.wire.frame import parse_frame
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.messages import Lease
from tests.world import CHEAP, DAY, MINUTE, MS, PASSPHRASE, TASK, World, counts, denial_code, dump, state_of, write_file

ROOT = PassphraseRoot(PASSPHRASE, parameters=CHEAP)


def keystore(world: World) -> Path:
    """The copy of the root key that people keep apart."""
    return world.home / "root.keystore"


def back_up(world: World, name: str = "monday") -> Path:
    """Back up into a file."""
    file = world.folder / name
    world.lab.backup(file)
    return file


def bring_back(world: World, file: Path | str, name: str = "restored", **terms: Any) -> Client:
    """Restore into a home of this name and open it."""
    terms = {"keystore": keystore(world), "clock": world.clock, **terms}
    restore(world.folder / name, ROOT, file, **terms)
    return world.open_client(name)


def beside(world: World) -> set[str]:
    """What lies in the world's folder."""
    return {path.name for path in world.folder.iterdir()}


def test_a_home_comes_back_whole(world: World) -> None:
    """Catalog, grants, spent keys and both ledgers; what was sealed is given back; modes are private."""
    me, joined = world.worker()
    issuer = world.issuer()
    issuer.handle(world.ask(me, joined, world.task()).data)
    before, file = dump(world.client_db), back_up(world)
    old = world.lab.verify_ledger()
    world.clock.advance(DAY)
    lab = bring_back(world, file)
    after = dump(world.folder / "restored" / "client.db")
    for table in ("projects", "batches", "items", "contractors", "grants", "leases", "spent_keys"):
        assert after[table] == before[table], table
    assert lab.client_id == world.lab.client_id
    assert lab.fingerprint == world.lab.fingerprint
    summary = lab.verify_ledger(old.checkpoint)
    assert [each.checkpoint for each in summary.before] == [old.checkpoint]
    assert summary.size == 2
    certified, restored = [lab.ledgers()[-1].log.entries()[n] for n in (0, 1)]
    assert isinstance(certified, Certified)
    assert isinstance(restored, Restored)
    assert (restored.epoch, restored.size) == (world.lab.certificate.message.epoch, old.size)
    assert certified.serial > world.lab.certificate.message.serial
    assert certified.epoch != restored.epoch
    assert certified.issuer != world.lab.certificate.message.issuer
    assert not lab.project("eval").export(world.folder / "given-back").faults
    assert TASK in (world.folder / "given-back" / "tasks" / "w1.jsonl").read_text()
    for path in [world.folder / "restored", *(world.folder / "restored").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_old_ledger_is_exported_and_verified_by_its_epoch(world: World) -> None:
    """One export for each epoch, also of a home that was restored twice; another epoch is refused."""
    world.worker()
    first = world.lab.export_ledger()
    lab = bring_back(world, back_up(world))
    assert lab.export_ledger(world.lab.certificate.message.epoch) == first
    assert lab.export_ledger() != first
    world.clock.advance(DAY)
    lab.backup(world.folder / "tuesday")
    again = bring_back(world, world.folder / "tuesday", "again")
    assert [each.log.size() for each in again.ledgers()] == [len(world.lab.ledger_entries()), 2, 2]
    assert again.verify_ledger().before[1].checkpoint == lab.verify_ledger().checkpoint
    assert again.export_ledger(lab.certificate.message.epoch) == lab.export_ledger()
    with pytest.raises(LedgerError):
        again.export_ledger(bytes(16))


def test_two_restores_of_one_backup_use_no_serial_twice(world: World) -> None:
    """Who followed the first one follows the second: to him, one number on two certificates would be a forgery."""
    me, _ = world.worker()
    file = back_up(world)
    found = []
    for name in ("first", "second"):
        world.clock.advance(timedelta(hours=1))
        lab = bring_back(world, file, name)
        world.clock.advance(timedelta(minutes=5))
        world.join(me, "ada", lab=lab, project=lab.project("eval"))
        with me.open_task(world.task(), exchange=world.issuer(lab).handle) as task:
            assert task.name == "one"
        found.append(lab.certificate.message.serial)
    assert found[0] < found[1]


# R8: nothing of before is answered


def test_R8_no_request_grant_or_answer_of_before_counts(world: World) -> None:
    """Asked before or in the lost time, known or unknown to the backup: no lease, under any grant of before."""
    me, joined = world.worker()
    task, issuer = world.task(), world.issuer()
    answered, waiting, denied = (world.ask(me, joined, task) for _ in range(3))
    lease = issuer.handle(answered.data)
    assert parse_frame(lease or b"").type == Lease.TYPE
    refused = world.ask(me, joined, bytes(16))
    issuer.handle(refused.data)
    file = back_up(world)
    world.clock.advance(MINUTE)
    lost = world.ask(me, joined, task)
    assert parse_frame(issuer.handle(lost.data) or b"").type == Lease.TYPE
    lab = bring_back(world, file)
    restored = world.issuer(lab)
    before = counts(world.folder / "restored" / "client.db")["leases"]
    assert denial_code(restored.handle(answered.data)) == "replayed"
    assert denial_code(restored.handle(refused.data)) == "replayed"
    assert {denial_code(restored.handle(each.data)) for each in (waiting, denied, lost)} == {"epoch"}
    epoch = lab.certificate.message.epoch
    # With the new epoch the grant itself is of an issuer that is no more; a key that was spent before stays so.
    assert denial_code(restored.handle(world.ask(me, joined, task, epoch=epoch).data)) == "unknown"
    world.clock.advance(CLOCK_SKEW + MS)
    anew = world.join(me, "ada", lab=lab, project=lab.project("eval"))
    spent = world.ask(me, anew, task, one_time_key=answered.message.one_time_key)
    assert denial_code(restored.handle(spent.data)) == "replayed"
    assert counts(world.folder / "restored" / "client.db")["leases"] == before
    assert parse_frame(restored.handle(world.ask(me, anew, task).data) or b"").type == Lease.TYPE


def test_R8_requests_dated_before_the_restore_plus_skew_are_stale(world: World) -> None:
    """At the border and below it, with everything else right."""
    me, _ = world.worker()
    lab = bring_back(world, back_up(world))
    at = world.clock()
    membership = world.join(me, "ada", lab=lab, project=lab.project("eval"))
    world.clock.advance(CLOCK_SKEW)
    issuer = world.issuer(lab)
    early = world.ask(me, membership, world.task(), at=at + CLOCK_SKEW - MS)
    assert denial_code(issuer.handle(early.data)) == "stale"
    late = world.ask(me, membership, world.task(), at=at + CLOCK_SKEW)
    assert parse_frame(issuer.handle(late.data) or b"").type == Lease.TYPE


def test_R8_prekeys_of_before_get_no_lease(world: World) -> None:
    """Those that the backup knew, and those that come by hand."""
    me, joined = world.worker()
    bundles, known = unpack_frames(me.ahead.make_prekeys(2)), world.issuer()
    for bundle in bundles:
        known.handle(bundle)
    assert counts(world.client_db)["prekey_bundles"] == 1
    lab = bring_back(world, back_up(world))
    assert counts(world.folder / "restored" / "client.db")["prekey_bundles"] == 0
    world.clock.advance(CLOCK_SKEW + MS)
    anew = world.join(me, "ada", lab=lab, project=lab.project("eval"))
    with pytest.raises(PrekeyError):
        world.issuer(lab).issue(anew.grant.message.grant_id, [world.task()], bundles)
    assert counts(world.folder / "restored" / "client.db")["leases"] == 0


def test_R8_a_statement_shows_the_gap_as_unknown(world: World) -> None:
    """What was sealed by the restore is unknown, whatever the ledger has of it; what is sealed after it is not."""
    me, joined = world.worker()
    file = back_up(world)
    last = max(entry.at for entry in world.lab.ledger_entries())
    world.clock.advance(timedelta(hours=1))
    world.issuer().handle(world.ask(me, joined, world.task()).data)
    world.clock.advance(timedelta(hours=1))
    at = world.clock()
    lab = bring_back(world, file)
    world.clock.advance(timedelta(hours=1))
    write_file(world.source, "guidelines/new.md", "sealed after the restore")
    assert lab.project("eval").seal(world.source).new
    assert not [entry for entry in lab.ledger_entries() if isinstance(entry, Released)]
    stated = lab.statement("all", last, world.clock() - MS)
    assert stated.statement.gaps == (Gap(last, at),)
    versions = [version for item in stated.items for version in item.versions]
    assert {each.verdict for each in versions if each.sealed_at <= at} == {"unknown"}
    assert {each.verdict for each in versions if each.sealed_at > at} == {"never-opened"}


def test_contractors_follow_and_are_granted_anew(world: World) -> None:
    """The old grant's invite is made no more, its holder is told of the new epoch, and a new grant opens."""
    me, joined = world.worker()
    lab = bring_back(world, back_up(world))
    world.clock.advance(CLOCK_SKEW + MS)
    (grant,) = lab.grants()
    assert grant.revoked
    with pytest.raises(GrantError, match="restored"):
        lab.invite(grant.grant_id)
    with pytest.raises(DeniedError) as denied:
        me.open_task(world.task(), exchange=world.issuer(lab).handle)
    assert denied.value.code == "unknown"
    assert me.joined is not None
    assert me.joined.certificate.data == lab.certificate.data
    world.join(me, "ada", lab=lab, project=lab.project("eval"))
    with me.open_task(world.task(), exchange=world.issuer(lab).handle) as task:
        assert task.text


def test_what_was_sealed_in_the_lost_time_is_in_nobodys_way(world: World) -> None:
    """The vault holds a version 2 that the catalog has forgotten; the next one has a number far above."""
    file = back_up(world)
    write_file(world.source, "rubrics/score.md", "changed, and lost")
    assert world.project.seal(world.source).changed
    lab = bring_back(world, file)
    write_file(world.source, "rubrics/score.md", "changed again")
    assert lab.project("eval").seal(world.source).changed
    (rubric,) = lab.project("eval").items("rubric")
    assert rubric.version == 65_537
    assert not lab.project("eval").export(world.folder / "out").faults
    assert (world.folder / "out" / "rubrics" / "score.md").read_text() == "changed again"


# The file


def test_the_backup_has_no_root_key_and_nothing_in_clear(world: World) -> None:
    """Not the keystore, not the issuer's key; and of the rest only what the header says."""
    file = back_up(world)
    data, names = file.read_bytes(), {}
    header, start = read_front(lambda offset, length: data[offset : offset + length], len(data))
    assert (header.client, header.size) == (world.lab.client_id, len(world.lab.ledger_entries()))
    opened = OpenedBackup(
        lambda offset, length: data[start + offset : start + offset + length],
        len(data) - start,
        ROOT.open(world.home),
        world.lab.client_id,
    )
    for member, pieces in opened.members():
        names[member.name] = b"".join(pieces)
    assert {name for name in names if not name.startswith("keks/")} == {"client.db", "config.json", "identity.key"}
    kept = read_private(keystore(world), 4096)
    assert kept not in b"".join(names.values())
    for word in (TASK.encode(), b"eval", b"SQLite", b"score.md", kept[40:60]):
        assert word not in data


def test_nothing_but_a_padded_size_shows(world: World) -> None:
    """Two backups of nearly the same home have one size, and no byte of their sealed parts in common places."""
    one = back_up(world, "one").read_bytes()
    world.lab.freeze("eval")
    two = back_up(world, "two").read_bytes()
    assert len(one) == len(two)
    same = sum(a == b for a, b in zip(one[300:], two[300:], strict=True))
    assert same < len(one) / 50


@pytest.mark.parametrize("damage", ["cut to nothing", "cut short", "cut by one", "longer", "flipped", "front swapped"])
def test_a_damaged_backup_restores_nothing(world: World, damage: str) -> None:
    """Each its own error, or one of two; no home, no leftovers, and the good file still restores."""
    data = back_up(world).read_bytes()
    world.clock.advance(DAY)
    newer = back_up(world, "newer").read_bytes()
    _, start = read_front(lambda offset, length: data[offset : offset + length], len(data))
    cases = {
        "cut to nothing": [b"", data[:10], data[: len(MAGIC)], data[: len(MAGIC) + 2], data[: start - 1], data[:start]],
        "cut short": [data[: start + 80], data[: start + 200], data[: len(data) // 2]],
        "cut by one": [data[:-1], data[:-16], data[: -16 - 16384]],
        "longer": [data + b"\0", data + data],
        "flipped": [
            data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            for at in [*range(0, start + 140, 7), start + 2000, len(data) // 2, len(data) - 1]
        ],
        "front swapped": [newer[: read_front(lambda o, n: newer[o : o + n], len(newer))[1]] + data[start:]],
    }[damage]
    file = world.folder / "damaged"
    before = beside(world) | {"damaged"}
    for case in cases:
        file.write_bytes(case)
        with pytest.raises((BackupError, KeystoreForeignError)):
            restore(world.folder / "restored", ROOT, file, keystore=keystore(world), clock=world.clock)
        assert beside(world) == before
    bring_back(world, world.folder / "newer")


def test_another_clients_backup_keystore_or_passphrase_is_refused(world: World) -> None:
    """By name where the file says whose it is; nothing is written."""
    rival = world.create_client("rival")
    rival.backup(world.folder / "theirs")
    file, before = back_up(world), beside(world)
    home = world.folder / "restored"
    with pytest.raises(KeystoreForeignError, match="root key"):
        restore(home, ROOT, world.folder / "theirs", keystore=keystore(world), clock=world.clock)
    with pytest.raises(KeystoreForeignError, match="root key"):
        restore(home, ROOT, file, keystore=world.folder / "rival" / "root.keystore", clock=world.clock)
    with pytest.raises(KeystorePassphraseError):
        restore(home, PassphraseRoot("wrong"), file, keystore=keystore(world), clock=world.clock)
    with pytest.raises(KeystoreError, match="does not exist"):
        restore(home, ROOT, file, clock=world.clock)
    with pytest.raises(KeystoreError, match="there already"):
        restore(world.home, ROOT, file, keystore=keystore(world), clock=world.clock)
    with pytest.raises(BackupError, match="no backup"):
        restore(home, ROOT, keystore(world), keystore=keystore(world), clock=world.clock)
    world.clock.advance(-DAY)
    with pytest.raises(ClockError):
        restore(home, ROOT, file, keystore=keystore(world), clock=world.clock)
    assert beside(world) == before


def test_an_identity_key_that_is_kept_offline_is_asked_for(world: World) -> None:
    """A restore certifies: without that key there is none; with another client's there is none either."""
    offline = world.folder / "offline.key"
    (world.home / "identity.key").rename(offline)
    file = world.folder / "monday"
    assert not world.lab.backup(file).has_identity
    before = beside(world)
    with pytest.raises(KeystoreError, match="not in this backup"):
        bring_back(world, file)
    world.create_client("rival")
    with pytest.raises(KeystoreForeignError):
        bring_back(world, file, identity=world.folder / "rival" / "identity.key")
    assert beside(world) == before | {"rival"}
    assert bring_back(world, file, identity=offline).identity().public_key == world.lab.identity_key


def test_a_backup_lies_at_the_vault_like_any_item(world: World) -> None:
    """No queue names it, nothing in it says what it is, and by its locator it comes back; another one is refused."""
    report = world.lab.backup(to_vault=True)
    assert report.locator is not None
    client, _, item = report.locator.partition("-")
    with Vault.open(world.vault) as vault:
        assert sum(queue.waiting for queue in vault.queues()) == len(world.project.items("task"))
    stored = world.relay().read_item(bytes.fromhex(client), bytes.fromhex(item), 1)
    assert MAGIC.strip() not in stored.data
    assert bytes.fromhex(client) not in stored.data
    lab = bring_back(world, report.locator, vault=world.vault)
    assert lab.verify_ledger().before[0].size == report.size
    before = beside(world)
    for locator, address, kind in (
        (report.locator[:-1] + ("0" if report.locator[-1] != "0" else "1"), world.vault, BackupError),
        (report.locator[:-1], world.vault, BackupError),
        (f"{client}-{world.task().hex()}", world.vault, BackupError),
        (report.locator, None, BackupError),
        (report.locator, f"sqlite:///{world.folder}/nowhere.db", RelayError),
    ):
        with pytest.raises(kind):
            bring_back(world, locator, "other", vault=address)
    assert beside(world) == before


def test_backups_are_whole_while_the_issuer_answers(world: World) -> None:
    """Taken in a row while releases go on, each restores, verifies, and has as many leases as its ledger releases."""
    me, joined = world.worker()
    stop, files = threading.Event(), [world.folder / f"at-{n}" for n in range(3)]
    task = world.task()

    def release() -> None:
        with world.lab.issuer() as issuer:
            while not stop.is_set():
                issuer.handle(world.ask(me, joined, task).data)

    thread = threading.Thread(target=release)
    thread.start()
    try:
        for file in files:
            world.lab.backup(file)
    finally:
        stop.set()
        thread.join()
    for file in files:
        lab = bring_back(world, file, f"{file.name}-home")
        released = [entry for entry in lab.ledger_entries() if isinstance(entry, Released)]
        assert len(released) == counts(world.folder / f"{file.name}-home" / "client.db")["leases"]


def test_a_backup_names_its_own_file_and_keeps_older_ones(world: World) -> None:
    """What is there is not overwritten; nowhere to write is an error; two at once are refused; nothing is left."""
    file = back_up(world)
    kept, before = file.read_bytes(), state_of(world.home)
    with pytest.raises(OutputError, match="there already"):
        world.lab.backup(file)
    with pytest.raises(OutputError):
        world.lab.backup(world.folder / "no" / "such" / "place")
    with pytest.raises(BackupError):
        world.lab.backup()
    descriptor = os.open(world.home, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BackupError, match="another backup"):
        world.lab.backup(world.folder / "two")
    os.close(descriptor)
    assert file.read_bytes() == kept
    assert state_of(world.home) == before
    (world.home / "keks").rename(world.folder / "away")
    with pytest.raises(KeystoreError):
        world.lab.backup(world.folder / "two")
    assert not (world.folder / "two").exists()


# Killed, and full disks


def forked(act: Callable[[], object]) -> int:
    """Run in a child process; return its wait status. It raises nothing into this one."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except LabelVaultError:
            code = 3
        except BaseException:  # noqa: BLE001 - a child must never come back into the test
            code = 4
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def dying(number: int, act: Callable[[], object]) -> int:
    """Run in a child that kills itself before its n-th write, flush, rename or removal of a file."""

    def run() -> None:
        left = [number]
        for name in ("open", "fsync", "rename", "unlink", "link", "rmdir", "write"):
            real = getattr(os, name)

            def counted(*args: Any, real: Any = real, **named: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **named)

            setattr(os, name, counted)
        act()

    return forked(run)


def test_C1_a_backup_that_is_killed_leaves_none_or_all(world: World) -> None:
    """At every third step; what is there restores, and the next backup cleans up and is whole."""
    file, whole = world.folder / "killed", False
    before = state_of(world.home)
    for number in range(1, 400, 3):
        with suppress(FileNotFoundError):
            file.unlink()

        def act() -> None:
            with world.open_client() as lab:
                lab.backup(file)

        status = dying(number, act)
        if status == 0:
            whole = True
            break
        assert os.WIFSIGNALED(status), status
        if file.exists():
            shutil.rmtree(world.folder / "from-killed", ignore_errors=True)
            bring_back(world, file, "from-killed").close()
    assert whole
    assert number > 20
    assert state_of(world.home) == before
    bring_back(world, file).verify_ledger()


def test_C1_a_restore_that_is_killed_leaves_none_or_all(world: World) -> None:
    """At every third step: no home, or one that verifies; the next restore is in nobody's way."""
    file, home, whole = back_up(world), world.folder / "restored", False
    for number in range(1, 600, 3):
        shutil.rmtree(home, ignore_errors=True)
        status = dying(number, lambda: restore(home, ROOT, file, keystore=keystore(world), clock=world.clock))
        if status == 0:
            whole = True
            break
        assert os.WIFSIGNALED(status), status
        if home.exists():
            with world.open_client("restored") as lab:
                lab.verify_ledger()
    assert whole
    # What killed ones left is removed by the next one.
    assert not [path for path in world.folder.iterdir() if path.name.endswith(".tmp")]
    assert number > 20
    world.open_client("restored").verify_ledger()


@pytest.mark.parametrize("most", [0, 4096, 100_000])
def test_C1_a_full_disk_is_an_error_and_leaves_nothing(world: World, most: int) -> None:
    """No file may grow beyond so many bytes: backup and restore say so, and nothing half is there."""
    file = back_up(world)
    before, inside = beside(world), state_of(world.home)

    def limited(act: Callable[[], object]) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        act()

    assert os.WEXITSTATUS(forked(lambda: limited(lambda: world.lab.backup(world.folder / "full")))) == 3
    home = world.folder / "restored"
    restoring = forked(lambda: limited(lambda: restore(home, ROOT, file, keystore=keystore(world), clock=world.clock)))
    assert os.WEXITSTATUS(restoring) == 3
    assert beside(world) == before
    assert state_of(world.home) == inside
