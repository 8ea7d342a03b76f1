"""Backups and restores: nothing half, nothing of before is answered again, and what is unknown is said to be so."""

import fcntl
import os
import re
import resource
import shutil
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import AtVault, Client, PassphraseRoot, backups_at_vault, restore
from labelvault.client.backupchain import parts_in_files
from labelvault.client.backupfile import MAGIC, read_front
from labelvault.errors import (
    BackupError,
    ClockError,
    ConflictError,
    DeniedError,
    GrantError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
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
from tests.client.killing import forked
from tests.world import (
    CHEAP,
    DAY,
    GUIDELINE,
    MINUTE,
    MS,
    PASSPHRASE,
    TASK,
    World,
    counts,
    denial_code,
    dump,
    state_of,
    write_file,
)

ROOT = PassphraseRoot(PASSPHRASE, parameters=CHEAP)


def keystore(world: World) -> Path:
    """The copy of the root key that people keep apart."""
    return world.home / "root.keystore"


def back_up(world: World, name: str = "monday") -> Path:
    """Back up into a file."""
    file = world.folder / name
    world.lab.backup(file)
    return file


def bring_back(world: World, file: Path | AtVault, name: str = "restored", **terms: Any) -> Client:
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


def without_records(world: World) -> dict[str, Any]:
    """The home's state, but for what it has on record of its backups."""
    found = state_of(world.home)
    found["client.db"].pop("backups")
    return found


# R8: nothing of before is answered


def test_R1_R8_no_request_grant_or_answer_of_before_counts(world: World) -> None:
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


def test_a_second_restore_from_one_backup_seals_on_after_a_refusal(world: World) -> None:
    """Both count from the same number, and the vault keeps what the first one sealed under it; the next one is free."""
    file = back_up(world)
    first, second = bring_back(world, file, "first"), bring_back(world, file, "second")
    first.project("eval").seal_file("rubrics/score.md", BytesIO(b"by the first"))
    project = second.project("eval")
    with pytest.raises(ConflictError):
        project.seal_file("rubrics/score.md", BytesIO(b"by the second"))
    (rubric,) = project.items("rubric")
    assert rubric.version == 1
    assert project.seal_file("rubrics/score.md", BytesIO(b"by the second")).version == 65_538
    assert not project.export(world.folder / "out").faults
    assert (world.folder / "out" / "rubrics" / "score.md").read_text() == "by the second"


# The file


def test_the_backup_has_no_root_key_and_nothing_in_clear(world: World) -> None:
    """Not the keystore, not the issuer's key; and of the rest only what the header says."""
    file, names = back_up(world), {}
    data = file.read_bytes()
    with parts_in_files(file) as (part,):
        assert part.client == world.lab.client_id
        opened = part.open(ROOT.open(world.home))
        assert opened.header.size == len(world.lab.ledger_entries())
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
    back_up(world, "newer")
    rival = world.create_client("rival")
    rival.backup(world.folder / "theirs")
    front = (world.folder / "theirs").read_bytes()
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
        "front swapped": [front[:start] + data[start:]],
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


def test_C9_a_home_whose_clock_once_ran_past_its_certificate_is_not_restored(world: World) -> None:
    """Its ledger holds an entry of years ahead: a gap could not be told then, so no home is made."""
    there, file = world.clock(), world.folder / "monday"
    world.clock.advance(timedelta(days=2000))
    world.lab.freeze("eval")
    world.clock.advance(there - world.clock())
    back_up(world)
    with pytest.raises(ClockError):
        bring_back(world, file)
    assert not (world.folder / "restored").exists()


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


def test_a_second_backup_to_the_same_place_adds_what_changed(world: World) -> None:
    """Each is smaller than the whole; all of them restore, and so does each as far as it goes."""
    world.project.seal_file("attachments/many.bin", BytesIO(bytes(10)))
    file, sizes = world.folder / "monday", []
    for number in range(4):
        world.clock.advance(timedelta(hours=1))
        report = world.lab.backup(file)
        written = file.with_name(f"monday.0{number}") if number else file
        assert (report.number, report.file) == (number, written)
        assert report.written_bytes <= written.stat().st_size
        sizes.append(report.size)
        write_file(world.source, "guidelines/how.md", f"{GUIDELINE} {number}")
        world.project.seal(world.source)
    assert sizes == sorted(set(sizes))
    kept = {path.name: path.read_bytes() for path in world.folder.glob("monday*")}
    assert bring_back(world, file).verify_ledger().before[0].size == sizes[3]
    for number, size in enumerate(sizes):
        name = f"monday.0{number}" if number else "monday"
        if number == 0:
            continue
        lab = bring_back(world, world.folder / name, f"home-{number}")
        assert lab.verify_ledger().before[0].size == size
        assert not lab.project("eval").export(world.folder / f"out-{number}").faults
        text = (world.folder / f"out-{number}" / "guidelines" / "how.md").read_text()
        assert text == f"{GUIDELINE} {number - 1}"
    assert {path.name: path.read_bytes() for path in world.folder.glob("monday*")} == kept


def refused(world: World, file: Path, match: str) -> None:
    """A restore says which part is at fault, and writes nothing; so does a backup that would add to it."""
    before = beside(world)
    with pytest.raises((BackupError, KeystoreForeignError), match=match):
        restore(world.folder / "restored", ROOT, file, keystore=keystore(world), clock=world.clock)
    with pytest.raises((BackupError, KeystoreForeignError), match=match):
        world.lab.backup(file)
    assert beside(world) == before


def test_a_missing_reordered_or_damaged_part_is_refused_by_name(world: World) -> None:
    """The first one, one in the middle, two that changed places, one of another backup, one altered byte."""
    file = world.folder / "monday"
    parts = [world.folder / name for name in ("monday", "monday.01", "monday.02", "monday.03")]
    for _ in parts:
        world.clock.advance(MINUTE)
        world.lab.freeze("eval")
        world.lab.unfreeze("eval")
        world.lab.backup(file)
    other = world.folder / "other"
    for _ in range(3):
        world.lab.backup(other)
    kept = {path: path.read_bytes() for path in parts}

    def put_back() -> None:
        for path, data in kept.items():
            path.write_bytes(data)

    parts[0].unlink()
    with pytest.raises(BackupError, match="monday is missing"):
        world.lab.backup(file)
    put_back()
    parts[2].unlink()
    refused(world, file, "monday.02 is missing, and monday.03 needs it")
    bring_back(world, parts[1], "as-far-as-one").verify_ledger()
    put_back()
    parts[1].write_bytes(kept[parts[2]])
    parts[2].write_bytes(kept[parts[1]])
    refused(world, file, "monday.01: it is number 2")
    put_back()
    parts[2].write_bytes((world.folder / "other.02").read_bytes())
    refused(world, file, "monday.02: it belongs to another backup")
    put_back()
    parts[2].write_bytes(kept[parts[0]])
    refused(world, file, "monday.02: it is number 0")
    put_back()
    for path in parts:
        for at in (5, 60, 200, len(kept[path]) // 2, len(kept[path]) - 1):
            path.write_bytes(kept[path][:at] + bytes([kept[path][at] ^ 1]) + kept[path][at + 1 :])
            refused(world, file, re.escape(path.name) + "|root key")
        path.write_bytes(kept[path][:-1])
        refused(world, file, re.escape(path.name))
        put_back()
    assert world.lab.backup(file).number == 4


def test_a_backup_is_named_by_its_first_part(world: World) -> None:
    """A part's name would begin parts of a part, which no restore finds; whether that part is there or not."""
    file = back_up(world)
    world.lab.backup(file)
    before = beside(world)
    for name in ("monday.01", "monday.07"):
        with pytest.raises(BackupError, match=f"{name} is the name of a part of monday") as caught:
            world.lab.backup(world.folder / name)
        assert "monday. Or" in str(caught.value.next_step)
    assert beside(world) == before
    # Where there is no such backup, it is a name like any other.
    back_up(world, "tuesday.01")
    bring_back(world, world.folder / "tuesday.01").verify_ledger()


def test_without_the_second_part_the_first_is_restored_alone(world: World) -> None:
    """Naming the first one means all, so what follows has to be out of the way; that is said, and helps."""
    file = back_up(world)
    for _ in range(2):
        world.lab.backup(file)
    (world.folder / "monday.01").unlink()
    with pytest.raises(BackupError, match=r"monday.01 is missing") as caught:
        bring_back(world, file)
    assert "move what follows it elsewhere and restore monday alone" in str(caught.value.next_step)
    (world.folder / "monday.02").unlink()
    bring_back(world, file).verify_ledger()


def test_a_part_of_another_history_does_not_follow(world: World) -> None:
    """Two homes that went on from one backup: what the one adds does not go with what the other did."""
    file = back_up(world)
    lab = bring_back(world, file, "theirs")
    lab.backup(file)
    theirs = (world.folder / "monday.01").read_bytes()
    (world.folder / "monday.01").unlink()
    world.lab.backup(file)
    world.lab.backup(file)
    (world.folder / "monday.01").write_bytes(theirs)
    refused(world, file, "monday.02: it does not follow")


def test_a_backup_has_at_most_so_many_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then another name is asked for; at the vault a whole one is stored."""
    monkeypatch.setattr("labelvault.client.backup.MAX_INCREMENTS", 2)
    file = world.folder / "monday"
    assert [world.lab.backup(file).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BackupError, match="as many parts as it may"):
        world.lab.backup(file)
    assert [world.lab.backup_to_vault().number for _ in range(5)] == [0, 1, 2, 0, 1]


def test_after_the_root_key_was_replaced_a_backup_opens_with_the_old_keystore(world: World) -> None:
    """It restores with the keystore of its time and that passphrase; under the new one it is refused."""
    file, old = back_up(world), world.folder / "old.keystore"
    shutil.copy(keystore(world), old)
    world.lab.rotate_root(PassphraseRoot("another passphrase", parameters=CHEAP))
    before = beside(world)
    with pytest.raises(KeystoreForeignError, match="root key"):
        world.lab.backup(file)
    with pytest.raises(KeystoreForeignError, match="root key"):
        restore(
            world.folder / "restored",
            PassphraseRoot("another passphrase"),
            file,
            keystore=keystore(world),
            clock=world.clock,
        )
    assert beside(world) == before
    lab = bring_back(world, file, keystore=old)
    assert not lab.project("eval").export(world.folder / "out").faults
    world.lab.backup(world.folder / "tuesday")
    anew = PassphraseRoot("another passphrase")
    restore(world.folder / "anew", anew, world.folder / "tuesday", keystore=keystore(world), clock=world.clock)
    with Client.open(world.folder / "anew", anew, clock=world.clock) as again:
        assert not again.project("eval").export(world.folder / "out-again").faults


def test_shredding_names_the_backups_that_may_hold_the_keys(world: World) -> None:
    """Those with a part from its time, also in the home that came back; not those that were begun after."""
    file = back_up(world)
    world.clock.advance(DAY)
    world.lab.create_project("later")
    world.clock.advance(DAY)
    world.lab.backup_to_vault()
    lab = bring_back(world, file)
    report = world.lab.shred("later", confirm="later")
    assert [each.place for each in report.backups] == [world.vault]
    report = world.lab.shred("eval", confirm="eval")
    assert [each.place for each in report.backups] == [str(file), world.vault]
    assert [each.place for each in lab.shred("eval", confirm="eval").backups] == [str(file)]
    world.clock.advance(DAY)
    world.lab.create_project("third")
    assert world.lab.shred("third", confirm="third").backups == ()


def test_a_checkpoint_that_was_kept_shows_that_a_backup_is_too_old(world: World) -> None:
    """One that the backup reaches is no hindrance; one from after it is, and says so."""
    early = world.lab.verify_ledger().checkpoint
    world.worker()
    file = back_up(world)
    bring_back(world, file, "reached", against=early)
    world.lab.freeze("eval")
    before = beside(world)
    with pytest.raises(BackupError, match="does not reach"):
        bring_back(world, file, against=world.lab.verify_ledger().checkpoint)
    assert beside(world) == before


# At the vault


def at_vault(world: World, **terms: Any) -> AtVault:
    """Where the client's backups lie."""
    return AtVault(world.lab.client_id, world.vault, **terms)


def test_backups_lie_at_the_vault_like_any_item(world: World) -> None:
    """No queue names them, and nothing in them says what they are; with keystore and client's id they come back."""
    reports = []
    for _ in range(3):
        world.clock.advance(MINUTE)
        world.lab.freeze("eval")
        world.lab.unfreeze("eval")
        reports.append(world.lab.backup_to_vault())
    assert [(each.number, each.version) for each in reports] == [(0, 1), (1, 2), (2, 3)]
    with Vault.open(world.vault) as vault:
        assert sum(queue.waiting for queue in vault.queues()) == len(world.project.items("task"))
    found = backups_at_vault(at_vault(world), ROOT, keystore(world))
    assert [(each.version, each.at, each.size) for each in found] == [
        (each.version, each.at, each.size) for each in reversed(reports)
    ]
    stolen = (world.folder / "vendor" / "vault.db").read_bytes()
    assert MAGIC.strip() not in stolen
    for number, report in enumerate(reports, 1):
        lab = bring_back(world, at_vault(world, version=number), f"home-{number}")
        assert lab.verify_ledger().before[0].size == report.size
    assert bring_back(world, at_vault(world)).verify_ledger().before[0].size == reports[2].size


def test_nothing_at_the_vault_restores_nothing(world: World) -> None:
    """None there, another client's, another root key's, no such version, no such vault."""
    before = beside(world)
    with pytest.raises(BackupError, match="shows no backup"):
        bring_back(world, at_vault(world))
    rival = world.create_client("rival")
    rival.backup_to_vault()
    world.lab.backup_to_vault()
    theirs = world.folder / "rival" / "root.keystore"
    for place, kept, kind in (
        (AtVault(rival.client_id, world.vault), keystore(world), BackupError),
        (at_vault(world), theirs, BackupError),
        (at_vault(world, version=2), keystore(world), BackupError),
        (AtVault(world.lab.client_id, f"sqlite:///{world.folder}/nowhere.db"), keystore(world), RelayError),
    ):
        with pytest.raises(kind):
            bring_back(world, place, keystore=kept)
    assert beside(world) == before | {"rival"}


def vault_forgets(world: World, version: int) -> None:
    """The vendor puts its vault back: one version of the backups is gone."""
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        of_backup = (
            "version = ? AND item IN"
            " (SELECT item FROM items WHERE queue IS NULL GROUP BY item HAVING sum(size) > 60000)"
        )
        first_piece = f"SELECT first_piece FROM items WHERE {of_backup}"  # noqa: S608
        db.execute(f"DELETE FROM pieces WHERE number IN ({first_piece})", (version,))  # noqa: S608
        db.execute(f"DELETE FROM items WHERE {of_backup}", (version,))  # noqa: S608
        db.commit()


def test_R2_a_vault_that_shows_less_than_it_took_is_noticed(world: World) -> None:
    """By the home that knows; what it shows restores; then it is begun anew, on purpose."""
    for _ in range(3):
        world.lab.backup_to_vault()
    vault_forgets(world, 3)
    with pytest.raises(BackupError, match="took 3 backups and shows 2"):
        world.lab.backup_to_vault()
    # A bare machine can't know; who kept a checkpoint can.
    bring_back(world, at_vault(world)).verify_ledger()
    report = world.lab.backup_to_vault(fresh=True)
    assert (report.number, report.version) == (0, 3)
    assert world.lab.backup_to_vault().number == 1
    vault_forgets(world, 3)
    with pytest.raises(BackupError, match="vault"):
        bring_back(world, at_vault(world), "other")


def test_R2_a_vault_that_serves_an_older_backup_as_the_newest_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as it took, and each opens; but the home knows of when the newest was. Begun anew, it goes on."""
    for _ in range(3):
        world.clock.advance(MINUTE)
        world.lab.backup_to_vault()
    relay = world.lab.relay()
    real = relay.read_item

    def older(client: bytes, item: bytes, version: int, offset: int, length: int) -> Any:
        return real(client, item, version - (version in (2, 3)), offset, length)

    monkeypatch.setattr(relay, "read_item", older)
    before = without_records(world)
    with pytest.raises(BackupError, match=r"the vault took a backup of .* and shows one of .* as the newest"):
        world.lab.backup_to_vault()
    assert without_records(world) == before
    report = world.lab.backup_to_vault(fresh=True)
    assert (report.number, report.version) == (0, 4)


def test_a_list_of_backups_goes_on_behind_one_that_is_missing(world: World) -> None:
    """What is left is what people choose from."""
    for _ in range(5):
        world.lab.backup_to_vault()
    vault_forgets(world, 3)
    found = backups_at_vault(at_vault(world), ROOT, keystore(world))
    assert [(each.version, each.number) for each in found] == [(5, 4), (4, 3), (3, None), (2, 1), (1, 0)]
    assert [each.version for each in found if not each.sealed_bytes] == [3]


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


def test_what_can_not_be_backed_up_changes_nothing(world: World) -> None:
    """Nowhere to write is an error, two at once are refused, a KEK that is gone is said; nothing is left."""
    file = back_up(world)
    kept, before = file.read_bytes(), without_records(world)
    with pytest.raises(OutputError):
        world.lab.backup(world.folder / "no" / "such" / "place")
    descriptor = os.open(world.home, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BackupError, match="another backup"):
        world.lab.backup(world.folder / "two")
    os.close(descriptor)
    assert file.read_bytes() == kept
    assert len(world.lab.backups()) == 1
    assert without_records(world) == before
    (world.home / "keks").rename(world.folder / "away")
    with pytest.raises(KeystoreError):
        world.lab.backup(world.folder / "two")
    assert not (world.folder / "two").exists()
    # What might hold keys is on record before it is written.
    assert {each.done_at for each in world.lab.backups()} == {world.clock(), None}


# Killed, and full disks


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
    before = without_records(world)
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
    assert without_records(world) == before
    assert not [path for path in world.folder.iterdir() if path.name.endswith(".tmp")]
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
    before, inside = beside(world), without_records(world)

    def limited(act: Callable[[], object]) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        act()

    assert os.WEXITSTATUS(forked(lambda: limited(lambda: world.lab.backup(world.folder / "full")))) == 3
    home = world.folder / "restored"
    restoring = forked(lambda: limited(lambda: restore(home, ROOT, file, keystore=keystore(world), clock=world.clock)))
    assert os.WEXITSTATUS(restoring) == 3
    assert beside(world) == before
    assert without_records(world) == inside
