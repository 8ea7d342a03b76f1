"""Prekeys on a stolen device: what they still open is opened, what was closed is not, and nobody else's key helps."""

import shutil
from pathlib import Path

from labelvault.client import Limits, Scope
from labelvault.client.ahead import issue
from labelvault.crypto.secret import SecretBytes
from labelvault.drill import Finding, run
from labelvault.wire.framefile import pack_frames
from tests.world import PASSPHRASE, World

LIMITS = Limits(max_open=3, max_total=9, per_hour=9, lease_ttl_s=3600)


def stolen(world: World, folder: Path, home: Path, passphrase: str = PASSPHRASE) -> Finding:
    """Copy the vault and a contractor's home, and let the drill loose with a passphrase."""
    for name, source in (("vendor", world.folder / "vendor"), ("home", home)):
        shutil.copytree(source, folder / name)
    return run(folder / "vendor", contractors=[folder / "home"], passphrases=[SecretBytes(passphrase.encode())])


def tasks(found: Finding) -> list[str]:
    """Names of the tasks that were opened."""
    return sorted(each.name for each in found.opened if each.kind == "task")


def test_C9_leases_ahead_open_for_a_thief_until_they_are_closed(world: World, tmp_path: Path) -> None:
    """With device and passphrase he opens what was issued and is not closed, and nothing that was."""
    me, _ = world.worker(limits=LIMITS)
    issued = issue(world.lab, "ada", Scope(items=["one", "two"]), prekeys=me.ahead.make_prekeys(3))
    me.take(pack_frames(issued.frames))
    with me.open_task(world.task("one")):
        both = stolen(world, tmp_path / "open", world.folder / "ada")
    found = stolen(world, tmp_path / "closed", world.folder / "ada")
    assert tasks(both) == ["one", "two"]
    assert tasks(found) == ["two"]
    # Of three prekeys one is erased, one has a lease, and one has none yet.
    assert found.key_counts == {"identity": 1, "one-time": 2}
    keys = [key for key in found.keys_found if key.sort == "one-time"]
    assert sorted(key.opens > 0 for key in keys) == [False, True]
    assert all(key.place.startswith("contractor/prekeys/") for key in keys)


def test_C9_leases_that_the_vendor_holds_open_with_the_device_too(world: World, tmp_path: Path) -> None:
    """Whoever has the vault and the device has both halves, though no task was claimed yet."""
    me, _ = world.worker(limits=LIMITS)
    issue(world.lab, "ada", Scope(items=["one"]), prekeys=me.ahead.make_prekeys(1), post=True)
    assert tasks(stolen(world, tmp_path / "loot", world.folder / "ada")) == ["one"]


def test_C9_without_the_passphrase_prekeys_open_nothing(world: World, tmp_path: Path) -> None:
    """The files alone, or with a wrong passphrase, give the thief no key at all."""
    me, _ = world.worker(limits=LIMITS)
    issued = issue(world.lab, "ada", Scope(items=["one"]), prekeys=me.ahead.make_prekeys(1))
    me.take(pack_frames(issued.frames))
    found = stolen(world, tmp_path / "loot", world.folder / "ada", "another passphrase")
    assert (found.opened, found.keys_found) == ((), ())
