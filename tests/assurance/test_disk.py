"""The model of the disk: what it replays is what is there, and what a cut leaves out is what was not synced."""

import os
import sys
from pathlib import Path
from random import Random

import pytest

from tests.assurance.acts import ACTS, must_hold
from tests.assurance.crashes import Scene, needs_strace
from tests.assurance.disk import Choice, Disk, Step, record, write_out

NONE, ALL = Choice("none", Random(1)), Choice("all", Random(1))
WRITER = """
import os
at = os.open("a", os.O_CREAT | os.O_WRONLY, 0o600)
os.write(at, b"x" * 1000)
os.write(at, b"y" * 1000)
os.write(1, b"labelvault-mark one\\n")
os.fsync(at)
os.pwrite(at, b"z", 1500)
os.ftruncate(at, 1800)
os.mkdir("d")
os.rename("a", "d/b")
os.link("d/b", "c")
os.unlink("d/b")
root = os.open(".", os.O_RDONLY)
os.fsync(root)
"""


@pytest.fixture(scope="module")
def strace() -> None:
    """Where it may not trace, there is nothing to hold the model to."""
    if lacks := needs_strace():
        pytest.skip(lacks)


@pytest.mark.usefixtures("strace")
def test_C2_a_process_is_recorded_call_by_call(tmp_path: Path) -> None:
    """Writes with their place, truncation, names, syncs of a file and of the folder, and what it said in between."""
    folder = tmp_path / "folder"
    folder.mkdir()
    steps = record([sys.executable, "-c", WRITER], folder, tmp_path / "log", os.environ)
    assert [(step.call, step.path, step.at) for step in steps] == [
        ("create", "a", 0),
        ("write", "a", 0),
        ("write", "a", 1000),
        ("mark", "one", 0),
        ("sync", "a", 0),
        ("write", "a", 1500),
        ("truncate", "a", 1800),
        ("mkdir", "d", 0),
        ("rename", "a", 0),
        ("link", "d/b", 0),
        ("unlink", "d/b", 0),
        ("sync", "", 0),
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    disk = Disk(empty)
    for step in steps:
        disk.do(step)
    assert disk.after(ALL) == {"d": None, "c": (folder / "c").read_bytes()}
    # The folder was synced, the other one was not, nor were the last two changes of the content.
    synced = b"x" * 1000 + b"y" * 1000
    assert disk.after(NONE) == {"d": None, "c": synced, "d/b": synced}


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("act", ACTS)
def test_C2_what_was_recorded_of_an_act_gives_the_same_files(act: str, tmp_path: Path) -> None:
    """All steps done on the model of the folder before are the folder after, to the byte; and all holds there."""
    scene = Scene(tmp_path)
    steps = scene.record(act)
    disk = Disk(tmp_path / "before")
    for step in steps:
        disk.do(step)
    found = disk.after(ALL)
    there = {
        str(path.relative_to(scene.disk)): path.read_bytes() if path.is_file() else None
        for path in scene.disk.rglob("*")
        if not path.name.endswith("-shm")
    }
    assert found == there
    assert [step for step in steps if step.call == "mark"]
    assert [step for step in steps if step.call == "sync"] or act == "purge"
    write_out(found, tmp_path / "again" / "disk")
    (tmp_path / "again" / "source").symlink_to(tmp_path / "source")
    must_hold(tmp_path / "again" / "disk", act, scene.facts, [step.path for step in steps if step.call == "mark"])


def test_C2_sectors_are_torn_and_names_keep_their_order(tmp_path: Path) -> None:
    """Of an unsynced write any sectors are there; of unsynced names never a later one without an earlier one."""
    disk = Disk(tmp_path)
    disk.do(Step("create", "one"))
    disk.do(Step("write", "one", at=0, data=b"a" * 2048))
    disk.do(Step("create", "two"))
    assert disk.pending() == 3
    seen = set()
    for seed in range(300):
        found = disk.after(Choice("some", Random(seed)))
        assert "two" not in found or "one" in found
        content = found.get("one")
        if content is not None:
            content = content.ljust(2048, b"\0")
            seen.add(tuple(content[at : at + 512] in (b"a" * 512,) for at in range(0, 2048, 512)))
            assert all(content[at : at + 512] in (b"a" * 512, bytes(512)) for at in range(0, 2048, 512))
    assert len(seen) > 8
    disk.do(Step("sync", "one"))
    assert disk.after(NONE) == {}
    disk.do(Step("sync", ""))
    assert disk.after(NONE) == {"one": b"a" * 2048, "two": b""}
    assert disk.pending() == 0


def test_a_loss_of_what_was_acknowledged_is_found(tmp_path: Path) -> None:
    """The world as it was before an act, and a mark that says that it was done: what must hold does not."""
    scene = Scene(tmp_path)
    for number, (act, mark) in enumerate((("seal", "sealed"), ("revoke", "revoked"), ("rotate", "rotated"))):
        place = tmp_path / f"{number}" / "disk"
        write_out(Disk(tmp_path / "before").after(NONE), place)
        with pytest.raises(AssertionError):
            must_hold(place, act, scene.facts, [mark])
