"""Making pieces ahead: the same pieces in order, faults where they belong, and no thread left behind."""

import io
import threading
from collections.abc import Iterator

import pytest

from labelvault.pipeline import ahead, read_ahead

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
    assert len(made) <= 3 + 1
    assert alive() == 0


@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 7])
def test_a_source_read_ahead_gives_what_it_holds(size: int) -> None:
    """In reads of any size."""
    content = bytes(number % 251 for number in range(251)) * (size // 251 + 1)
    content = content[:size]
    with read_ahead(io.BytesIO(content)) as source:
        found = b""
        while data := source.read(100_000):
            found += data
        assert source.read(1) == b""
    assert found == content
