"""Copies of a live process's memory, as an attacker on its host takes them (Linux, /proc).

A capture file is `MAGIC ‖ u64 size of the texts ‖ texts ‖ zeros to a multiple of 4096 ‖ regions`. The texts
are the process's command line and environment; the regions are all memory that it can write to: heap, stacks,
anonymous mappings, written parts of mapped files. What it only reads (code, constants) was on disk before it
ran, so it holds no secret of this process.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from labelvault.drill.evidence import CAPTURE_SUFFIX, View
from labelvault.errors import DrillError

MAGIC: Final = b"labelvault memory capture 1\n"
_SIZE_BYTES: Final = 8
_PAGE: Final = 4096
_PIECE: Final = 4 << 20
_MAX_TEXTS: Final = 16 << 20
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw\S\S \S+ \S+ \S+ *(.*)")
# Device memory and shared counters of the kernel; reading them may fail or block, and no process keeps keys
# there.
_NOT_MEMORY: Final = re.compile(r"\[v(var|dso|syscall).*|/dev/(?!shm/|zero).*")


def capture_process(pid: int, target: Path) -> int:
    """Write a process's memory to a new file, mode 0600; the process runs on meanwhile.

    Args:
        pid: one's own process, its descendant, or any if permitted (`ptrace` access, see ptrace(2)).
        target: the file; an existing one is not overwritten.

    Returns:
        How many bytes of memory were captured.

    Raises:
        DrillError: not Linux, no such process, not permitted, or the file can't be written. No file is left
            then.
    """
    if not sys.platform.startswith("linux"):
        raise DrillError("memory is captured through /proc, which only Linux has")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DrillError(f"{target} can't be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            texts = b"\0".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            head = MAGIC + len(texts).to_bytes(_SIZE_BYTES, "big") + texts
            file.write(head + bytes(-len(head) % _PAGE))
            captured = 0
            for piece in _memory(pid):
                captured += file.write(piece)
        if captured == 0:
            # A process that has exited and waits for its parent still has a name, and no memory.
            raise DrillError(f"process {pid} has no memory any more")
    except OSError as error:
        target.unlink(missing_ok=True)
        raise DrillError(f"process {pid} can't be captured: {error.strerror}") from error
    except DrillError:
        target.unlink(missing_ok=True)
        raise
    return captured


def capture_tree(pid: int, folder: Path) -> list[Path]:
    """Capture a process and all its descendants, one file each: `<folder>/<pid>.mem`.

    Args:
        pid: the process.
        folder: made if missing, mode 0700; a home's `captures` folder is where the drill looks.

    Raises:
        DrillError: as `capture_process`, for `pid` itself. A descendant that exits meanwhile is left out.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DrillError(f"{folder} can't be made: {error.strerror}") from error
    files = []
    for each in [pid, *descendants(pid)]:
        target = folder / f"{each}{CAPTURE_SUFFIX}"
        try:
            capture_process(each, target)
        except DrillError:
            if each == pid or _alive(each):
                raise
        else:
            files.append(target)
    return files


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, parents first."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for listing in sorted(Path(f"/proc/{parent}/task").glob("*/children")):
            try:
                children = [int(word) for word in listing.read_text().split()]
            except OSError:
                # The thread ended between being listed and being read.
                continue
            found += children
            waiting += children
    return found


def text_section(data: View) -> tuple[bytes, int]:
    """Return a capture's texts, and the offset of its first region; other files are one region."""
    begin = len(MAGIC) + _SIZE_BYTES
    if data[: len(MAGIC)] != MAGIC:
        return b"", 0
    end = begin + min(int.from_bytes(data[len(MAGIC) : begin], "big"), _MAX_TEXTS)
    return data[begin:end], end + -end % _PAGE


def _alive(pid: int) -> bool:
    """Tell whether a process still has memory."""
    try:
        return bool(Path(f"/proc/{pid}/maps").read_bytes())
    except OSError:
        return False


def _memory(pid: int) -> Iterator[bytes]:
    maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps.splitlines():
            mapping = _MAPPING.fullmatch(line)
            if mapping is not None and not _NOT_MEMORY.fullmatch(mapping[3]):
                yield from _region(memory.fileno(), int(mapping[1], 16), int(mapping[2], 16))


def _region(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield a region's bytes; a page that went away meanwhile ends it, filled up to whole pages."""
    while start < end:
        try:
            piece = os.pread(descriptor, min(_PIECE, end - start), start)
        except OSError:
            return
        if not piece:
            return
        yield piece + bytes(-len(piece) % _PAGE)
        start += len(piece)
