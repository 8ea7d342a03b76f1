"""Private files: whole or not at all, whatever fails and whenever the process dies."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labelvault.errors import FormatError, KeystoreError, KeystoreForeignError
from labelvault.keys import files
from labelvault.keys.files import (
    erase_file,
    make_private_dir,
    move_private,
    read_private,
    remove_dir,
    write_private,
)

OLD, NEW = b"old" * 1000, b"new" * 2000
CALLS = ("open", "fchmod", "write", "fsync", "close", "rename", "link", "unlink")


class Faults:
    """Makes the n-th system call of those that write fail once."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, code: int) -> None:
        self.count, self.failed = 0, ""
        for name in CALLS:
            patch.setattr(os, name, self._failing(name, getattr(os, name), at, code))

    def _failing(self, name, call, at, code):
        def failing(*arguments, **options):
            self.count += 1
            if self.count == at:
                self.failed = name
                if name == "close":
                    call(*arguments, **options)  # Linux closes the descriptor even when it reports an error
                raise OSError(code, os.strerror(code))
            return call(*arguments, **options)

        return failing


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_X1_mode_is_0600_whatever_the_umask(tmp_path: Path, mask: int, replace: bool) -> None:
    """A private file is readable by its owner only, from its first byte."""
    with _umask(mask):
        write_private(tmp_path / "key", NEW, replace=replace)
    assert _mode(tmp_path / "key") == 0o600
    assert os.listdir(tmp_path) == ["key"]
    assert read_private(tmp_path / "key", len(NEW)) == NEW


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """Without `replace` a name that is taken stays as it is, a symlink's and a directory's too."""
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "symlink").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    for name in ("target", "symlink", "dangling", "folder"):
        with pytest.raises(KeystoreError, match="exists already"):
            write_private(tmp_path / name, NEW, replace=False)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "target").read_bytes() == OLD


def test_X1_replacing_a_symlink_or_hard_link_leaves_its_target_alone(tmp_path: Path) -> None:
    """A replaced symlink or hard link becomes a file of its own; what it led to keeps its bytes."""
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "symlink").symlink_to("target")
    os.link(tmp_path / "target", tmp_path / "hardlink")
    for name in ("symlink", "hardlink"):
        write_private(tmp_path / name, NEW, replace=True)
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == NEW
    assert (tmp_path / "target").read_bytes() == OLD


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("replace", [False, True])
def test_C3_any_failing_call_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool, code: int
) -> None:
    """Whichever call fails: a clean error, the old state, no temporary file, and a retry works."""
    path = tmp_path / "key"
    failed = []
    for at in range(1, 50):
        if replace:
            path.write_bytes(OLD)
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, code)
            if not _write_struck(path, replace, faults):
                break
        failed.append(faults.failed)
        assert os.listdir(tmp_path) == (["key"] if replace else []), faults.failed
        if replace:
            # Once renamed, the new bytes stand whole although their durability is not sure.
            after_rename = faults.failed in ("fsync", "close") and "rename" in failed
            assert path.read_bytes() == (NEW if after_rename else OLD)
        write_private(path, NEW, replace=replace)
        assert path.read_bytes() == NEW
        path.unlink()
    assert len(failed) >= 8
    assert {"open", "fchmod", "write", "fsync", "rename" if replace else "link"} <= set(failed)


def _write_struck(path: Path, replace: bool, faults: Faults) -> bool:
    """Write with a fault planted; return whether the write failed, as it must for all but one close."""
    try:
        write_private(path, NEW, replace=replace)
    except KeystoreError:
        return True
    assert faults.failed in ("", "close")
    return False


def test_X1_planted_temporary_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should somebody guess the temporary name, what they put there is neither followed nor written."""
    monkeypatch.setattr(files, "random_bytes", bytes)
    (tmp_path / "target").write_bytes(OLD)
    temporary = tmp_path / ".key.0000000000000000.tmp"
    for plant in (lambda: temporary.symlink_to("target"), lambda: temporary.write_bytes(OLD)):
        plant()
        with pytest.raises(KeystoreError):
            write_private(tmp_path / "key", NEW, replace=True)
        assert temporary.read_bytes() == OLD
        temporary.unlink()
    assert os.listdir(tmp_path) == ["target"]


def test_X1_files_are_opened_with_the_flags_that_make_it_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New files exclusively, none through a symlink, and all closed to child processes."""
    opened: list[int] = []
    call = os.open

    def recording(path, flags, *arguments, **options):
        opened.append(flags)
        return call(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", recording)
    write_private(tmp_path / "key", NEW, replace=True)
    read_private(tmp_path / "key", len(NEW))
    made = [flags for flags in opened if flags & os.O_CREAT]
    assert made
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for flags in made)
    assert opened[-1] & os.O_NOFOLLOW
    assert all(flags & os.O_CLOEXEC for flags in opened)


def test_C2_new_directories_are_flushed_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that was made survives a power cut: each parent is flushed."""
    flushed: list[int] = []
    call = os.fsync

    def recording(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        call(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    make_private_dir(tmp_path / "a" / "b")
    assert flushed == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes one byte at a time still gets all of them."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:1])))
    write_private(tmp_path / "key", OLD, replace=False)
    assert (tmp_path / "key").read_bytes() == OLD


@pytest.mark.parametrize("replace", [False, True])
def test_C2_content_is_flushed_before_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """The order of calls that a power cut can't break: write, flush, name, flush the directory."""
    calls: list[str] = []

    def recorded(name, call):
        def record(*arguments, **options):
            calls.append(name)
            return call(*arguments, **options)

        return record

    for name in ("write", "fsync", "rename", "link"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    write_private(tmp_path / "key", NEW, replace=replace)
    assert calls == ["write", "fsync", "rename" if replace else "link", "fsync"]


def test_C1_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """A process killed with SIGKILL while it replaces a file again and again leaves one whole content."""
    path = tmp_path / "key"
    contents = [bytes([letter]) * 300_000 for letter in b"AB"]
    write_private(path, contents[0], replace=True)
    script = (
        "import sys; from pathlib import Path; from labelvault.keys.files import write_private\n"
        "while True:\n"
        "  for letter in b'AB': write_private(Path(sys.argv[1]), bytes([letter]) * 300_000, replace=True)\n"
    )
    for round_number in range(4):
        child = subprocess.Popen([sys.executable, "-c", script, str(path)])
        first = path.lstat().st_ino
        deadline = time.monotonic() + 20
        while path.lstat().st_ino == first and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.003 * round_number)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert read_private(path, 300_000) in contents
    write_private(path, b"after", replace=True)
    assert read_private(path, 5) == b"after"
    erase_file(path)
    assert os.listdir(tmp_path) == []


def test_X1_only_regular_files_are_read(tmp_path: Path) -> None:
    """Symlinks, FIFOs, directories and sockets of that name are refused, at once and by kind."""
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "symlink").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("symlink", "dangling", "folder", "fifo"):
        with pytest.raises(KeystoreForeignError):
            read_private(tmp_path / name, 4096)


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """A file that isn't there, or whose directory isn't, is neither damaged nor foreign."""
    for path in (tmp_path / "key", tmp_path / "folder" / "key"):
        with pytest.raises(KeystoreError, match="does not exist") as caught:
            read_private(path, 10)
        assert type(caught.value) is KeystoreError


def test_size_is_bounded_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the bound is read; one byte more is refused without reading, also if it grows meanwhile."""
    path = tmp_path / "key"
    path.write_bytes(b"x" * 100)
    assert len(read_private(path, 100)) == 100
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", lambda *_: pytest.fail("read"))
        with pytest.raises(KeystoreForeignError, match="100 bytes"):
            read_private(path, 99)
    read = os.read
    grown: list[int] = []

    def growing(descriptor: int, size: int) -> bytes:
        if not grown:
            grown.append(path.write_bytes(b"x" * 200))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(KeystoreForeignError, match="more than 100"):
        read_private(path, 100)


def test_unreadable_file_is_a_keystore_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error while reading comes out typed."""
    (tmp_path / "key").write_bytes(OLD)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(KeystoreError, match="broken disk"):
        read_private(tmp_path / "key", 10_000)


@pytest.mark.parametrize("mask", [0, 0o022])
def test_private_directories_have_mode_0700(tmp_path: Path, mask: int) -> None:
    """New ones, their missing parents, and ones that stood open."""
    (tmp_path / "open").mkdir(mode=0o755)
    with _umask(mask):
        make_private_dir(tmp_path / "a" / "b")
        make_private_dir(tmp_path / "open")
        make_private_dir(tmp_path / "open")
    for name in ("a", "a/b", "open"):
        assert _mode(tmp_path / name) == 0o700


def test_private_directory_is_no_symlink_or_file(tmp_path: Path) -> None:
    """Something else of that name is refused and keeps its mode."""
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "symlink").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"")
    for name in ("symlink", "dangling", "file"):
        with pytest.raises(KeystoreForeignError, match="not a directory"):
            make_private_dir(tmp_path / name)
    assert _mode(tmp_path / "real") == 0o755
    with pytest.raises(KeystoreError):
        make_private_dir(tmp_path / "file" / "below")


def test_private_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that somebody else owns is not made one's own."""
    (tmp_path / "theirs").mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(KeystoreForeignError, match="another user"):
        make_private_dir(tmp_path / "theirs")
    assert _mode(tmp_path / "theirs") == 0o755


def test_C6_erase_removes_the_file_and_what_a_killed_write_left(tmp_path: Path) -> None:
    """The file and its temporaries go; files whose names only begin alike stay; erasing twice is fine."""
    write_private(tmp_path / "key", OLD, replace=False)
    write_private(tmp_path / "key.2", OLD, replace=False)
    kept = [".key.2.0123456789abcdef.tmp", ".key.notes.tmp", ".keyX0123456789abcdef.tmp", "key.2"]
    for name in (".key.0123456789abcdef.tmp", *kept):
        (tmp_path / name).write_bytes(OLD)
    erase_file(tmp_path / "key")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    erase_file(tmp_path / "key")


def test_erasing_a_symlink_leaves_its_target(tmp_path: Path) -> None:
    """What is unlinked is the name, not where it leads."""
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "symlink").symlink_to("target")
    erase_file(tmp_path / "symlink")
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("name", ["unlink", "fsync"])
def test_C3_failed_erase_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An erase whose removal or flush failed raises, so that nobody counts the file as gone."""
    write_private(tmp_path / "key", OLD, replace=False)

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, name, failing)
    with pytest.raises(KeystoreError, match="broken disk"):
        erase_file(tmp_path / "key")


@pytest.mark.parametrize("overwrite", [False, True])
def test_erasing_what_is_no_file_of_ours_writes_over_nothing(tmp_path: Path, overwrite: bool) -> None:
    """A symlink's target and another name of the file's keep their bytes, unless those are to be overwritten."""
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "symlink").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")
    for name in ("symlink", "fifo"):
        erase_file(tmp_path / name, overwrite=overwrite)
    assert os.listdir(tmp_path) == ["target"]
    assert (tmp_path / "target").read_bytes() == OLD
    os.link(tmp_path / "target", tmp_path / "witness")
    erase_file(tmp_path / "target", overwrite=overwrite)
    assert (tmp_path / "witness").read_bytes() == (bytes(len(OLD)) if overwrite else OLD)


def test_moving_replaces_a_file_and_refuses_what_it_can_not_do(tmp_path: Path) -> None:
    """Into another directory, over a file; never over a directory that holds something, nor from nowhere."""
    (tmp_path / "there").mkdir()
    write_private(tmp_path / "key", NEW, replace=False)
    write_private(tmp_path / "there" / "key", OLD, replace=False)
    move_private(tmp_path / "key", tmp_path / "there" / "key")
    assert (os.listdir(tmp_path), (tmp_path / "there" / "key").read_bytes()) == (["there"], NEW)
    with pytest.raises(KeystoreError, match="nowhere can't be moved to .*key: No such file"):
        move_private(tmp_path / "nowhere", tmp_path / "there" / "key")
    (tmp_path / "other").mkdir()
    with pytest.raises(KeystoreError, match="can't be moved"):
        move_private(tmp_path / "other", tmp_path / "there")
    assert (tmp_path / "there" / "key").read_bytes() == NEW


def test_C6_a_directory_goes_with_the_bytes_of_its_files(tmp_path: Path) -> None:
    """Every file is overwritten first; a directory that holds another stays, and says so; absent is removed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one", "two"):
        write_private(folder / name, OLD, replace=False)
        os.link(folder / name, tmp_path / name)
    remove_dir(folder)
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]
    assert {(tmp_path / name).read_bytes() for name in ("one", "two")} == {bytes(len(OLD))}
    remove_dir(folder)
    (folder / "deeper").mkdir(parents=True)
    with pytest.raises(KeystoreError, match="folder"):
        remove_dir(folder)
    assert (folder / "deeper").is_dir()
    with pytest.raises(KeystoreError, match="one can't be read: Not a directory"):
        remove_dir(tmp_path / "one")


def test_C3_a_directory_that_can_not_be_removed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody counts it as gone."""
    (tmp_path / "folder").mkdir()

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "rmdir", failing)
    with pytest.raises(KeystoreError, match="folder can't be removed: broken disk"):
        remove_dir(tmp_path / "folder")


def test_a_file_comes_in_pieces_or_not_at_all(tmp_path: Path) -> None:
    """Pieces are written one behind the other; where they break off, the older file stands, with nothing beside it."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise FormatError("no more")

    path = tmp_path / "whole"
    write_private(path, iter([b"one ", b"", b"two"]), replace=False)
    with pytest.raises(FormatError):
        write_private(path, broken(), replace=True)
    assert path.read_bytes() == b"one two"
    assert list(tmp_path.iterdir()) == [path]
