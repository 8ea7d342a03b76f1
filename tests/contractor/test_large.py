"""Parts that are too large for memory: opened in ranges, written to disk piece by piece, and over with the opening."""

import copy
import io
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from labelvault.contractor import OpenedPart, child, fetching, opening
from labelvault.contractor.output import filled
from labelvault.contractor.show import render
from labelvault.errors import LargePartError, LeaseExpiredError, OutputError, TamperedError
from labelvault.relay.protocol import ItemPart
from tests.contractor.test_begin import begin
from tests.contractor.test_canary import _shown
from tests.world import World

MIB = 1024 * 1024
SIZE = 5 * MIB + 321


def content_of(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return random.Random(size).randbytes(size)


@pytest.fixture
def film(world: World, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The attachment of all tasks is a large one, and what is above 2 MiB is large."""
    monkeypatch.setattr(opening, "MAX_PAYLOAD_BYTES", 2 * MIB)
    monkeypatch.setattr(fetching, "MAX_PAYLOAD_BYTES", 2 * MIB)
    content = content_of(SIZE)
    (world.source / "attachments/picture.png").write_bytes(content)
    assert not world.project.seal(world.source).errors
    return content


def large_of(task: Any) -> OpenedPart:
    """The large part of an opened task."""
    (found,) = (part for part in task.required if part.is_large)
    assert isinstance(found, OpenedPart)
    return found


def test_a_large_part_is_a_file_and_not_in_memory(world: World, film: bytes) -> None:
    """`content` names `open()`; `open()` reads, seeks and ranges; small parts have both."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        part = large_of(task)
        assert (part.name, part.size, part.kind) == ("picture.png", SIZE, "attachment")
        for attribute in ("content", "text"):
            with pytest.raises(LargePartError, match=r"\.open\(\)"):
                getattr(part, attribute)
        with part.open() as stream:
            stream.seek(3 * MIB)
            assert stream.read(100) == film[3 * MIB :][:100]
            stream.seek(-10, io.SEEK_END)
            assert stream.read() == film[-10:]
            stream.seek(0)
            assert stream.read() == film
        assert b"".join(part.pieces()) == film
        assert f"{SIZE:,} bytes; open with --to DIR" in render(task._live())
        small = task.part
        assert not small.is_large
        assert small.open().read() == small.content == b"".join(small.pieces())


def test_the_key_and_all_files_end_with_the_opening(world: World, film: bytes) -> None:
    """After the close no file of a large part gives a byte, buffered ones included, and no key is held."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        part = large_of(task)
        stream = part.open()
        stream.read(5)
    assert part._reader is not None
    assert part._reader._opener is None
    for use in (lambda: stream.read(1), lambda: stream.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_R4_a_large_part_is_not_handed_out_after_its_lease(world: World, film: bytes) -> None:
    """A file that is open when the lease ends reads no further."""
    me, _ = world.worker()
    task = me.open_task(world.task(), exchange=world.issuer().handle)
    part = large_of(task)
    stream = part.open()
    assert stream.read(5) == film[:5]
    world.clock.time = task.expires_at
    stream.seek(4 * MIB)
    with pytest.raises(LeaseExpiredError):
        stream.read(1)
    with pytest.raises(LeaseExpiredError):
        _ = task.required


def _altered(world: World, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let the vault serve ranges of large payloads otherwise."""
    relay = type(world.relay())
    true = relay.read_item

    def read(self: Any, client: bytes, item: bytes, version: int, offset: int = 0, length: Any = None) -> ItemPart:
        part = true(self, client, item, version, offset, length)
        return change(part, offset) if part.size > 2 * MIB else part

    monkeypatch.setattr(relay, "read_item", read)


CHANGES = {
    "size": lambda part, offset: ItemPart(part.header, part.size - 1, part.data),
    "grown": lambda part, offset: ItemPart(part.header, 2**62, part.data),
    "header": lambda part, offset: ItemPart(part.header[:-1] + b"\x07", part.size, part.data),
    "first leaf": lambda part, offset: ItemPart(part.header, part.size, part.data[:-1] + b"\0" if part.data else b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_G6_altered_large_items_are_not_opened(
    world: World, film: bytes, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, header or metadata of a large item altered: refused at the opening, in-process and to disk."""
    _altered(world, monkeypatch, CHANGES[change])
    me, _ = world.worker()
    with pytest.raises(TamperedError):
        me.open_task(world.task(), exchange=world.issuer().handle)


def test_G12_altered_bytes_further_on_leave_no_file(
    world: World, film: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Found while a large part is written: the whole directory goes again, and the error shows no content."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        flipped = {3 * MIB: lambda data: bytes([data[0] ^ 1]) + data[1:]}
        _altered(
            world, monkeypatch, lambda part, at: ItemPart(part.header, part.size, flipped.get(at, bytes)(part.data))
        )
        with pytest.raises(TamperedError) as caught, filled(tmp_path / "out") as directory:
            child.write_parts(directory, task._live())
        assert not (tmp_path / "out").exists()
        assert caught.value.__traceback__ is not None
        # This test's own frame knows the content.
        shown = _shown(caught.value.with_traceback(caught.value.__traceback__.tb_next))
        assert repr(film[:40])[2:-1] not in shown
        assert repr(film[2 * MIB :][:40])[2:-1] not in shown


def test_large_parts_are_written_0600_and_whole(world: World, film: bytes, tmp_path: Path) -> None:
    """Piece by piece, whatever the umask; a disk that fills up leaves nothing."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        before = os.umask(0)
        try:
            with filled(tmp_path / "out") as directory:
                child.write_parts(directory, task._live())
        finally:
            os.umask(before)
        assert (tmp_path / "out/picture.png").read_bytes() == film
        assert (tmp_path / "out/picture.png").stat().st_mode & 0o777 == 0o600


def test_C3_a_full_disk_in_the_middle_leaves_nothing(
    world: World, film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third MiB does not fit."""
    true, written = os.write, [0]

    def filling(descriptor: int, data: Any) -> int:
        written[0] += len(data)
        if len(data) > 1000 and written[0] > 3 * MIB:
            raise OSError(28, "No space left on device")
        return true(descriptor, data)

    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", filling)
            with pytest.raises(OutputError, match="No space"), filled(tmp_path / "out") as directory:
                child.write_parts(directory, task._live())
        assert not (tmp_path / "out").exists()


def test_X2_large_parts_are_not_copied_and_show_nothing(world: World, film: bytes) -> None:
    """No pickle, no copy; repr holds neither content nor key."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        part = large_of(task)
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                attempt(part)
            with pytest.raises(TypeError):
                attempt(part._reader)
        assert "picture" not in repr(part)


def test_a_file_above_64_MiB_opens_in_a_child_to_disk_and_on_a_terminal_says_how(world: World, tmp_path: Path) -> None:
    """The true bounds, in a process of its own: 72 MiB to disk; shown, it tells of --to DIR."""
    content = content_of(MIB) * 72
    (world.source / "attachments/picture.png").write_bytes(content)
    assert not world.project.seal(world.source).errors
    me, _ = world.worker()
    opened = begin(world, me, output=tmp_path / "out")
    assert (tmp_path / "out/picture.png").read_bytes() == content
    opened.close()
    assert not (tmp_path / "out").exists()
    reader, writer = os.pipe()
    shown = begin(world, me, "two")
    shown.show(writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        text = stream.read()
    shown.close()
    assert f"{len(content):,} bytes; open with --to DIR to get the file" in text
