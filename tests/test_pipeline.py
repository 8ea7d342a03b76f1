"""Making pieces ahead: the same pieces in order, faults where they belong, and no thread left behind."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelvault.pipeline import Writer, ahead

MIB = 1024 * 1024


def alive() -> int:
    """How many threads of ours there are."""
    return sum(1 for thread in threading.enumerate() if thread.name.startswith("labelvault-ahead"))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_all_pieces_come_in_order(count: int) -> None:
    """However many there are; the thread is gone when the block is left."""
    with ahead(range(count)) as pieces:
        assert list(pieces) == list(range(count))
    assert alive() == 0


def test_a_fault_comes_with_its_piece_and_nothing_after_it() -> None:
    """What was made before it is given first."""

    def made() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("injected")

    with ahead(made()) as pieces:
        assert [next(pieces), next(pieces)] == [1, 2]
        with pytest.raises(OSError, match="injected"):
            next(pieces)
    assert alive() == 0


def test_whoever_stops_early_stops_the_making() -> None:
    """Few more pieces than were used are made, so memory stays flat."""
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    with ahead(endless()) as pieces:
        assert [next(pieces) for _ in range(3)] == [0, 1, 2]
    assert len(made) <= 3 + 2
    assert alive() == 0


def test_after_a_fault_or_the_end_nothing_is_waited_for() -> None:
    """Asking on gives nothing, as of any generator; and a program whose pieces nobody asks for any more still ends."""

    def made() -> Iterator[int]:
        yield 1
        raise OSError("injected")

    with ahead(made()) as pieces:
        assert next(pieces) == 1
        with pytest.raises(OSError, match="injected"):
            next(pieces)
        assert next(pieces, None) is None
    with ahead(range(1)) as pieces:
        assert [next(pieces, None) for _ in range(3)] == [0, None, None]
    kept = "from labelvault.pipeline import ahead\nkept = ahead(iter(range(9)))\nnext(kept.__enter__())\n"
    subprocess.run([sys.executable, "-c", kept], check=True, timeout=30)


def test_what_makes_its_pieces_out_of_a_threads_ends_that_too() -> None:
    """Stopped early or failing, a chain of threads is gone when the outer block is left, whoever still knows it."""

    def through(fails: bool) -> Iterator[int]:
        with ahead(range(50)) as inner:
            for number in inner:
                if fails and number == 2:
                    raise OSError("injected")
                yield number

    kept = through(False)
    with ahead(kept) as pieces:
        assert next(pieces) == 0
    assert alive() == 0
    with pytest.raises(OSError, match="injected") as caught, ahead(through(True)) as pieces:
        list(pieces)
    assert alive() == 0
    del caught


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """An empty file, open for writing."""
    opened = os.open(tmp_path / "written", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    yield opened
    os.close(opened)


def test_what_is_written_is_all_there_and_goes_to_the_disk_meanwhile(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short writes too, and each part of the file is begun once, in order, before the end."""
    begun: list[tuple[int, int]] = []
    true = os.write
    monkeypatch.setattr(os, "write", lambda to, data: true(to, data[:700_000]))
    monkeypatch.setattr(os, "posix_fadvise", lambda _, at, size, __: begun.append((at, size)))
    pieces = [os.urandom(MIB) for _ in range(20)] + [b"", b"the end"]
    writer = Writer(descriptor)
    for piece in pieces:
        writer.write(piece)
    content = b"".join(pieces)
    assert os.pread(descriptor, len(content) + 1, 0) == content
    assert begun == [(0, 8 * MIB), (8 * MIB, 8 * MIB)]


@pytest.mark.parametrize("way", ["refused", "missing"])
def test_a_system_that_takes_no_hint_writes_all_the_same(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """To begin early is a hint: where it is refused, or not known, the file is as it would be."""

    def refused(*_: int) -> None:
        raise OSError(errno.EINVAL, "no")

    if way == "refused":
        monkeypatch.setattr(os, "posix_fadvise", refused)
    else:
        monkeypatch.delattr(os, "posix_fadvise")
    piece, writer = os.urandom(MIB), Writer(descriptor)
    for _ in range(9):
        writer.write(piece)
    assert os.pread(descriptor, 10 * MIB, 0) == piece * 9


def test_C3_a_failing_write_is_raised(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no hint: it ends the writing."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    writer = Writer(descriptor)
    writer.write(b"first")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        writer.write(b"second")
    assert os.fstat(descriptor).st_size == 5
