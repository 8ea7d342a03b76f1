"""Replacing the root key: everything under the new one, killed anywhere, and nothing left under the old one."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, PassphraseRoot, rerooting
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import BackupError, KeystoreError, KeystoreForeignError, KeystorePassphraseError
from labelvault.keys.root import LocalRootKey, RootKey
from labelvault.ledger.entries import Rotated
from tests.client.killing import steps_done
from tests.world import CHEAP, PASSPHRASE, World, dump, lease_outer

NEW = "another passphrase of the tests"


def root(passphrase: str = NEW) -> PassphraseRoot:
    """A passphrase root that costs little."""
    return PassphraseRoot(passphrase, parameters=CHEAP)


def opened(world: World, passphrase: str) -> Client:
    """Open the home with a passphrase."""
    return world._kept(Client.open(world.home, root(passphrase), clock=world.clock))


def works(lab: Client, folder: Path) -> None:
    """Everything that a key is for."""
    assert lab.identity().public_key == lab.identity_key
    project = lab.project("eval")
    assert not project.export(folder).faults
    lab.submission_key(project.project_id)
    lab.verify_ledger()


def rotations(lab: Client) -> int:
    """How often the ledger says that the root was replaced."""
    return sum(isinstance(entry, Rotated) and entry.what == "root" for entry in lab.ledger_entries())


def test_everything_is_under_the_new_root(world: World) -> None:
    """The same client goes on, the home opens with the new passphrase alone, and old files are nowhere in it."""
    world.lab.create_project("second")
    world.project.rotate_kek()
    old = {path.read_bytes() for path in world.home.rglob("*") if path.suffix in (".key", ".kek", ".keystore")}
    world.lab.rotate_root(root())
    assert rotations(world.lab) == 1
    works(world.lab, world.folder / "a")
    world.lab.create_project("third")
    assert world.lab.project("second").rotate_kek().generation == 2
    lab = opened(world, NEW)
    works(lab, world.folder / "b")
    with pytest.raises(KeystorePassphraseError):
        opened(world, PASSPHRASE)
    now = {path.read_bytes() for path in world.home.rglob("*") if path.is_file()}
    assert not old & now
    names = {path.name for path in world.home.iterdir()} - {"client.db-shm", "client.db-wal"}
    assert names == {"client.db", "config.json", "identity.key", "issuer.key", "keks", "root.keystore"}
    assert {path.stat().st_mode & 0o077 for path in world.home.rglob("*")} == {0}
    # Back to a passphrase that was used before: a new root key all the same.
    lab.rotate_root(root(PASSPHRASE))
    works(opened(world, PASSPHRASE), world.folder / "c")
    assert rotations(lab) == 2


def test_a_client_that_was_open_before_makes_nothing_under_the_old_root(world: World) -> None:
    """No project and no KEK that nobody could open again; what it has in memory it may use."""
    before, issuer = world.open_client(), world.issuer()
    me, joined = world.worker()
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))
    world.lab.rotate_root(root())
    state = dump(world.client_db)
    with pytest.raises(KeystoreError, match="replaced meanwhile"):
        before.create_project("late")
    with pytest.raises(KeystoreForeignError):
        before.project("eval").rotate_kek()
    with pytest.raises(KeystoreError, match="identity.key|root"):
        before.rotate_root(root("third"))
    assert dump(world.client_db) == state
    works(opened(world, NEW), world.folder / "a")
    lease_outer(issuer.handle(world.ask(me, joined, world.task()).data))


def test_a_kek_that_a_rotation_made_while_the_root_was_replaced_stops_no_later_one(world: World) -> None:
    """Its file is under the old root, nothing names it, and nobody can open it: it is made anew."""
    project = world.project.project_id
    kek_id = bytes(world.lab.database.scalar("SELECT kek_id FROM projects"))
    old, kek = world.lab.keks, world.lab.keks.load(project, kek_id, 1)
    world.lab.rotate_root(root())
    old.advance(project, kek)
    lab = opened(world, NEW)
    assert lab.project("eval").rotate_kek().generation == 2
    works(lab, world.folder / "a")
    lab.rotate_root(root("a third passphrase"))
    works(opened(world, "a third passphrase"), world.folder / "b")


def test_two_at_once_are_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused while the first stages, and leaves what that has staged; a backup is refused, too."""
    real, waits, goes_on = rerooting._stage, threading.Event(), threading.Event()

    def stage(task: Any, new: Any) -> None:
        real(task, new)
        waits.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(rerooting, "_stage", stage)
    first, second = world.open_client(), world.open_client()
    thread = threading.Thread(target=first.rotate_root, args=(root(),))
    thread.start()
    try:
        assert waits.wait(30)
        with pytest.raises(KeystoreError, match="another process replaces the root key"):
            second.rotate_root(root("a third passphrase"))
        with pytest.raises(BackupError, match="root key is being replaced"):
            second.backup(world.folder / "monday")
    finally:
        goes_on.set()
        thread.join()
    works(opened(world, NEW), world.folder / "a")
    # The one that came too late finds out before it stages anything.
    with pytest.raises(KeystoreError, match="replaced meanwhile"):
        second.rotate_root(root("a third passphrase"))
    assert not (world.home / "root.new").exists()


def test_without_the_identity_key_nothing_is_changed(world: World) -> None:
    """Kept offline, it would be lost under a root key that is gone."""
    (world.home / "identity.key").rename(world.folder / "offline")
    state = dump(world.client_db)
    with pytest.raises(KeystoreError, match="identity.key is not here"):
        world.lab.rotate_root(root())
    assert dump(world.client_db) == state
    (world.folder / "offline").rename(world.home / "identity.key")
    works(opened(world, PASSPHRASE), world.folder / "a")


@pytest.mark.parametrize("name", ["identity.key", "issuer.key", "kek"])
def test_a_damaged_file_stops_it_before_anything_is_changed(world: World, name: str) -> None:
    """The old passphrase still opens, and mended it goes through."""
    path = next((world.home / "keks").iterdir()) if name == "kek" else world.home / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(KeystoreError):
        world.lab.rotate_root(root())
    path.write_bytes(whole)
    works(opened(world, PASSPHRASE), world.folder / "a")
    world.lab.rotate_root(root())
    works(opened(world, NEW), world.folder / "b")


class Elsewhere:
    """A root that keeps no file in the home, as a device does."""

    def __init__(self) -> None:
        self._key = LocalRootKey(SecretBytes(os.urandom(32)))

    def create(self, home: Path) -> RootKey:
        return self._key

    def open(self, home: Path) -> RootKey:
        return self._key


def test_another_kind_of_root_leaves_no_keystore(world: World) -> None:
    """The old keystore is destroyed without a successor; and back."""
    provider = Elsewhere()
    world.lab.rotate_root(provider)
    assert not (world.home / "root.keystore").exists()
    lab = world._kept(Client.open(world.home, provider, clock=world.clock))
    works(lab, world.folder / "a")
    lab.rotate_root(root())
    works(opened(world, NEW), world.folder / "b")


def test_C1_killed_at_any_step_it_opens_with_one_of_the_two_and_another_run_finishes(world: World) -> None:
    """Before each flush, link, rename, unlink and commit: one passphrase opens a whole home, which rotates again."""
    world.project.rotate_kek()
    current, other = PASSPHRASE, NEW

    def rotate(lab: Client) -> None:
        lab.rotate_root(root(other))

    world.passphrase = current
    total = steps_done(world, rotate)
    assert total is not None
    assert total > 40
    current, other = other, current
    done = {True: 0, False: 0}
    recorded = 1
    for last in range(0, total, 1 if total < 120 else 2):
        world.passphrase = current
        assert steps_done(world, rotate, last) is None
        found = []
        for passphrase in (current, other):
            with suppress(KeystorePassphraseError):
                found.append((passphrase, opened(world, passphrase)))
        ((passphrase, lab),) = found
        works(lab, world.folder / f"{last}")
        done[passphrase == other] += 1
        recorded += passphrase == other
        assert rotations(lab) == recorded, last
        if passphrase == other:
            current, other = other, current
        assert not (world.home / "root.ready").exists()
    assert min(done.values()) > 5
    world.passphrase = current
    assert steps_done(world, rotate) == total
    assert not (world.home / "root.new").exists()
