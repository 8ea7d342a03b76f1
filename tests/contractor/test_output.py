"""X1: opening to disk never leaves the directory, overwrites nothing, and is gone on erase."""

import errno
import os
import stat
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.contractor.output import OutputDirectory
from labelvault.envelope.filenames import MAX_NAME_BYTES, safe_file_name
from labelvault.errors import OutputError

CANARY = b"canary-plaintext-canary"
DATA = b"content"

HOSTILE = {
    "../x": "_x",
    "../../../../etc/passwd": "_.._.._._etc_passwd",
    "/etc/passwd": "_etc_passwd",
    "a/b/c.md": "a_b_c.md",
    "a\0b": "a_b",
    "a\nb\x1b[31m\x7f\x9b": "a_b_[31m__",
    "C:\\Windows\\x": "C__Windows_x",
    "\\\\host\\share": "__host_share",
    "file.txt:stream": "file.txt_stream",
    "trailing.txt. . .": "trailing.txt",
    " . hidden": "hidden",
    ".bashrc": "bashrc",
    ".": "item",
    "..": "item",
    "": "item",
    " ": "item",
    "-rf": "_-rf",
    "~root": "_~root",
    "CON": "_CON",
    "con.txt": "_con.txt",
    "Nul .tar.gz": "_Nul .tar.gz",
    "COM\u00b9": "_COM1",
    "lpt9": "_lpt9",
    "CONIN$": "_CONIN$",
    "console": "console",
    "Desktop.ini": "_Desktop.ini",
    "\u2025\uff0fx": "_x",
    "a\uff0fb\u2215c\u2044d\u29f8e": "a_b_c_d_e",
    "a\uff3cb\u2216c\ufe68d": "a_b_c_d",
    "C\uff1a\ua789\u2236": "C___",
    "gpj.\u202eexe": "gpj._exe",
    "a\u200bb\ufeffc\u2066d": "a_b_c_d",
    "a\u2028b\u2029c": "a_b_c",
    "a\ud800b": "a_b",
    "a\u3000b\u00a0c": "a b c",
    "a\u1680b.\u1680": "a b",
    'a*b?c"d<e>f|g': "a_b_c_d_e_f_g",
    "\uff43\uff4f\uff4e": "_con",
    "\u1e9b\u0323.txt": "\u1e69.txt",
    "antwort-\u00fc.md": "antwort-\u00fc.md",
    "\u56de\u7b54.txt": "\u56de\u7b54.txt",
}


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[OutputDirectory]:
    """A fresh output directory with a neighbour that must stay as it is."""
    (tmp_path / "neighbour").write_bytes(b"neighbour")
    with OutputDirectory.create(tmp_path / "out") as directory:
        yield directory
    assert (tmp_path / "neighbour").read_bytes() == b"neighbour"


@pytest.mark.parametrize(("name", "safe"), HOSTILE.items(), ids=ascii)
def test_X1_hostile_names_become_harmless(out: OutputDirectory, name: str, safe: str) -> None:
    """Each hostile name lands in the directory under the stated name."""
    assert out.write(name, DATA) == safe
    assert os.listdir(out.path) == [safe]
    assert (out.path / safe).read_bytes() == DATA


def test_X1_long_names_keep_their_extension() -> None:
    """Names are cut between characters to 120 bytes, before a short extension; a long one is no extension."""
    assert safe_file_name("a" * 500 + ".json") == "a" * 114 + ".json"
    assert safe_file_name("\u00fc" * 500 + ".md") == "\u00fc" * 58 + ".md"
    assert safe_file_name("a." + "b" * 500) == "a." + "b" * 117
    assert safe_file_name("\ufdfa" * 4000 + ".md").encode()[:4] == "\u0635\u0644".encode()
    assert len(safe_file_name("-" + "a" * 500)) == MAX_NAME_BYTES


@given(st.text(max_size=300) | st.text("./\\:\0 -~con\u202e\uff0f\u0301", max_size=200))
def test_X1_any_name_becomes_one_harmless_component(name: str) -> None:
    """For every text: one bounded component in normal form, with no mark that means something to a system."""
    safe = safe_file_name(name)
    assert safe
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert os.path.basename(safe) == safe
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert safe[0] not in ".-~ "
    assert safe[-1] not in ". "
    assert unicodedata.is_normalized("NFKC", safe)
    assert {unicodedata.category(mark) for mark in safe}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert safe.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert safe_file_name(safe) == safe


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_X1_modes_are_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    """The directory has 0700 and its files 0600."""
    with _umask(mask), OutputDirectory.create(tmp_path / "out") as out:
        out.write("a", DATA)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out" / "a").stat().st_mode) == 0o600


def test_empty_directory_of_ours_is_taken_and_tightened(tmp_path: Path) -> None:
    """An empty directory that stood open to others is used and closed to them."""
    (tmp_path / "out").mkdir(mode=0o755)
    with OutputDirectory.create(tmp_path / "out") as out:
        out.write("a", DATA)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def _plant(path: Path, kind: str) -> None:
    elsewhere = path.parent / "elsewhere"
    match kind:
        case "symlink to a directory":
            elsewhere.mkdir()
            path.symlink_to(elsewhere)
        case "dangling symlink":
            path.symlink_to(elsewhere)
        case "file":
            path.write_bytes(b"theirs")
        case "hard link":
            elsewhere.write_bytes(b"theirs")
            os.link(elsewhere, path)
        case "fifo":
            os.mkfifo(path)
        case "full directory":
            path.mkdir()
            (path / "theirs").write_bytes(b"theirs")


@pytest.mark.parametrize(
    "kind", ["symlink to a directory", "dangling symlink", "file", "hard link", "fifo", "full directory"]
)
def test_X1_target_that_is_not_an_empty_directory_is_refused(tmp_path: Path, kind: str) -> None:
    """Whatever stands at the target stays as it was."""
    _plant(tmp_path / "out", kind)
    before = sorted((str(path), path.lstat().st_mode) for path in tmp_path.rglob("*"))
    with pytest.raises(OutputError):
        OutputDirectory.create(tmp_path / "out")
    assert sorted((str(path), path.lstat().st_mode) for path in tmp_path.rglob("*")) == before


def test_X1_symlink_as_parent_is_refused(tmp_path: Path) -> None:
    """A parent that is a symlink, a file or missing is refused, and nothing is made beyond it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_bytes(b"")
    for parent in ("link", "file", "missing"):
        with pytest.raises(OutputError):
            OutputDirectory.create(tmp_path / parent / "out")
    assert not list((tmp_path / "real").iterdir())
    for path in (tmp_path / "..", Path("/")):
        with pytest.raises(OutputError, match="does not name"):
            OutputDirectory.create(path)


def test_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory that somebody else owns, and could list, is not used."""
    (tmp_path / "out").mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(OutputError, match="another user"):
        OutputDirectory.create(tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_refused_create_leaks_no_descriptor(tmp_path: Path) -> None:
    """Each way of refusing closes what it opened."""
    _plant(tmp_path / "full", "full directory")
    _plant(tmp_path / "file", "file")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for name in ("full", "file", "missing/out"):
        with pytest.raises(OutputError):
            OutputDirectory.create(tmp_path / name)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_X1_swapped_parent_or_directory_redirects_nothing(tmp_path: Path) -> None:
    """When parent and directory are swapped for symlinks, writes still go into the one that was made."""
    (tmp_path / "parent").mkdir()
    (tmp_path / "elsewhere" / "out").mkdir(parents=True)
    with OutputDirectory.create(tmp_path / "parent" / "out") as out:
        (tmp_path / "parent").rename(tmp_path / "moved")
        (tmp_path / "parent").symlink_to("elsewhere")
        assert out.write("a", DATA) == "a"
        (tmp_path / "moved" / "out").rename(tmp_path / "moved" / "aside")
        (tmp_path / "moved" / "out").symlink_to(tmp_path / "elsewhere" / "out")
        assert out.write("b", DATA) == "b"
        assert not list((tmp_path / "elsewhere" / "out").iterdir())
        assert sorted(os.listdir(tmp_path / "moved" / "aside")) == ["a", "b"]
        with pytest.raises(OutputError, match="moved or swapped"):
            out.erase()
    assert not list((tmp_path / "moved" / "aside").iterdir())
    assert (tmp_path / "moved" / "out").is_symlink()
    assert (tmp_path / "elsewhere" / "out").is_dir()


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "hard link", "fifo", "file", "directory"])
def test_X1_planted_names_are_passed_by(tmp_path: Path, out: OutputDirectory, kind: str) -> None:
    """A planted name is neither followed, opened nor overwritten; the item gets the next name."""
    planted, victim = out.path / "answer.txt", tmp_path / "victim"
    victim.write_bytes(b"victim")
    match kind:
        case "symlink":
            planted.symlink_to(victim)
        case "dangling symlink":
            planted.symlink_to(tmp_path / "made-by-following")
        case "hard link":
            os.link(victim, planted)
        case "fifo":
            os.mkfifo(planted)
        case "file":
            planted.write_bytes(b"theirs")
        case "directory":
            planted.mkdir()
    before = planted.lstat()
    assert out.write("answer.txt", DATA) == "answer-2.txt"
    assert planted.lstat()[:7] == before[:7]
    assert victim.read_bytes() == b"victim"
    assert not (tmp_path / "made-by-following").exists()
    assert (out.path / "answer-2.txt").read_bytes() == DATA
    with pytest.raises(OutputError, match="1 files that were not written here"):
        out.erase()
    assert [path.name for path in out.path.iterdir()] == ["answer.txt"]


def test_duplicates_get_numbers(out: OutputDirectory) -> None:
    """Equal names, and names that only become equal, are all kept."""
    given_names = ["a.txt", "a.txt", "A/..", "a\0.txt", "a_.txt", "noext", "noext", "a-2.txt"]
    written = [out.write(name, name.encode()) for name in given_names]
    assert written == ["a.txt", "a-2.txt", "A_", "a_.txt", "a_-2.txt", "noext", "noext-2", "a-2-2.txt"]
    assert [(out.path / name).read_bytes() for name in written] == [name.encode() for name in given_names]
    assert out.names == tuple(written)


def test_endless_duplicates_are_refused(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system on which every name is taken ends in an error, not a loop."""

    def taken(*_: object, **__: object) -> int:
        raise FileExistsError(errno.EEXIST, "taken")

    monkeypatch.setattr(os, "open", taken)
    with pytest.raises(OutputError, match="too many"):
        out.write("a", DATA)
    assert out.names == ()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "fchmod", "write", "fsync", "close"])
def test_C3_failed_write_leaves_no_partial_file(
    out: OutputDirectory, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A full or broken disk gives a clean error and no file; the next item can be written."""
    out.write("first", b"first")
    original = getattr(os, call)

    def failing(*arguments, **options):
        if call == "close":
            original(*arguments, **options)
        if call == "write":
            original(arguments[0], bytes(arguments[1][:3]))
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OutputError, match=os.strerror(code)):
            out.write("second", DATA)
    assert os.listdir(out.path) == ["first"]
    assert out.names == ("first",)
    assert out.write("second", DATA) == "second"


def test_failed_write_whose_file_stays_is_erased_later(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """If even the removal fails, the partial file is remembered, and erase removes it."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        patch.setattr(os, "unlink", failing)
        with pytest.raises(OutputError):
            out.write("a", DATA)
    assert out.names == ("a",)
    out.erase()
    assert not out.path.exists()


def test_interrupted_write_leaves_no_partial_file(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a write goes on upwards and leaves nothing."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            out.write("a", DATA)
    assert not os.listdir(out.path)


def test_X2_failed_write_shows_neither_content_nor_name(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error, its chain and its traceback with locals hold nothing of the opened item."""

    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OutputError) as caught:
        out.write(CANARY.decode(), CANARY * 3)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = traceback.TracebackException(
        OutputError,
        caught.value,
        caught.tb.tb_next,
        capture_locals=True,  # without this test's own frame
    )
    assert CANARY.decode() not in "".join(shown.format())
    assert "in write" in "".join(shown.format())


def test_erase_removes_files_and_directory(out: OutputDirectory) -> None:
    """All is gone; erasing again is fine, writing again is not."""
    out.write("a", DATA)
    (out.path / out.write("b", DATA)).unlink()
    out.erase()
    assert not out.path.exists()
    assert out.names == ()
    out.erase()
    with pytest.raises(OutputError, match="closed"):
        out.write("c", DATA)
    assert not out.path.exists()


def test_C2_erase_flushes_the_directory_and_its_parent(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both removals are durable when erase returns."""
    out.write("a", DATA)
    expected = [out.path.stat().st_ino, out.path.parent.stat().st_ino]
    flushed: list[int] = []
    call = os.fsync

    def recording(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        call(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    out.erase()
    assert flushed == expected


def test_X1_files_are_made_with_the_flags_that_make_it_safe(
    out: OutputDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exclusively, not through a symlink, relative to the directory, and closed to child processes."""
    opened: list[tuple[int, object]] = []
    call = os.open

    def recording(path, flags, mode, *, dir_fd):
        opened.append((flags, dir_fd))
        return call(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", recording)
    out.write("a", DATA)
    ((flags, directory),) = opened
    assert flags & os.O_EXCL
    assert flags & os.O_NOFOLLOW
    assert flags & os.O_CLOEXEC
    assert isinstance(directory, int)


def test_X1_erase_follows_no_symlink(tmp_path: Path, out: OutputDirectory) -> None:
    """A file that was replaced by a symlink is unlinked; where it leads stays whole."""
    (tmp_path / "victim").write_bytes(b"victim")
    for number, target in enumerate(("victim", "neighbour")):
        name = out.write(f"f{number}", DATA)
        (out.path / name).unlink()
        (out.path / name).symlink_to(tmp_path / target)
    out.erase()
    assert not out.path.exists()
    assert (tmp_path / "victim").read_bytes() == b"victim"


def test_erase_says_what_stays_and_can_be_repeated(out: OutputDirectory) -> None:
    """Files that were not written here, or can't be removed, stay and are reported; later the rest goes."""
    out.write("a", DATA)
    out.write("b", DATA)
    (out.path / "a").unlink()
    (out.path / "a").mkdir()
    (out.path / "editor~").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="1 of the files"):
        out.erase()
    assert sorted(os.listdir(out.path)) == ["a", "editor~"]
    assert out.names == ("a",)
    (out.path / "a").rmdir()
    with pytest.raises(OutputError, match="1 files that were not written here"):
        out.erase()
    assert os.listdir(out.path) == ["editor~"]
    (out.path / "editor~").unlink()
    out.erase()
    assert not out.path.exists()


@pytest.mark.parametrize("call", ["fsync", "rmdir"])
def test_C3_failed_erase_is_reported(out: OutputDirectory, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """An erase that may not be durable raises; repeating it finishes."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    out.write("a", DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OutputError, match="broken disk"):
            out.erase()
    out.erase()
    assert not out.path.exists()


def test_erase_of_a_directory_that_is_gone_is_reported(out: OutputDirectory) -> None:
    """If somebody took the directory away, its copies elsewhere can't be vouched for."""
    out.path.rename(out.path.with_name("taken"))
    with pytest.raises(OutputError, match="moved or swapped"):
        out.erase()


def test_C1_a_later_process_erases_what_was_written(tmp_path: Path) -> None:
    """With path and inodes only, the files go, whatever they are called by now; others stay and are reported."""
    with OutputDirectory.create(tmp_path / "out") as first:
        for name in ("a", "b", "c", "gone"):
            first.write(name, DATA)
        (first.path / "gone").unlink()
        inodes = frozenset(first.inodes())
        assert len(inodes) == 3
    (tmp_path / "out" / "a").rename(tmp_path / "out" / "renamed")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "link").rename(tmp_path / "out" / "b")
    (tmp_path / "victim").write_bytes(b"victim")
    with OutputDirectory.resume(tmp_path / "out", inodes) as again:
        assert sorted(again.names) == ["c", "renamed"]
        with pytest.raises(OutputError, match="1 files that were not written here"):
            again.erase()
        (tmp_path / "out" / "b").unlink()
        again.erase()
    assert os.listdir(tmp_path) == ["victim"]


def test_X1_resume_follows_no_symlink(tmp_path: Path) -> None:
    """What is not the directory, or is no longer there, is refused; nothing in its place is touched."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").write_bytes(b"theirs")
    info = (tmp_path / "elsewhere" / "theirs").stat()
    inodes = frozenset([(info.st_dev, info.st_ino)])
    (tmp_path / "out").symlink_to("elsewhere")
    for path in (tmp_path / "out", tmp_path / "missing", tmp_path / "missing" / "out"):
        with pytest.raises(OutputError, match="not there any more"):
            OutputDirectory.resume(path, inodes)
    assert (tmp_path / "elsewhere" / "theirs").read_bytes() == b"theirs"


def test_X1_name_that_vanishes_meanwhile_does_not_stop_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is removed between listing and looking is as good as erased."""
    with OutputDirectory.create(tmp_path / "out") as first:
        first.write("a", DATA)
        inodes = frozenset(first.inodes())
        first.close()
        with pytest.raises(OutputError, match="closed"):
            first.inodes()
    listdir = os.listdir
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path: [*listdir(path), "vanished"])
        again = OutputDirectory.resume(tmp_path / "out", inodes)
    assert again.names == ("a",)
    again.erase()
    assert not (tmp_path / "out").exists()


def test_close_keeps_the_files(out: OutputDirectory) -> None:
    """Closing, once or twice, lets go of the directory only; then nothing can be written or erased."""
    out.write("a", DATA)
    out.close()
    out.close()
    assert (out.path / "a").read_bytes() == DATA
    for attempt in (lambda: out.write("b", DATA), out.erase):
        with pytest.raises(OutputError, match="closed"):
            attempt()
    assert os.listdir(out.path) == ["a"]
