"""Hardening of a process that holds keys, step by step, and what came of each: a step that fails is named, not hidden.

It stands in the way of other programs of the same user, of memory that reaches a disk, and, in a process that opens, of
whatever might be made to run in it. It does not stop root, nor whoever can change this program before it starts.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labelvault.contractor.confine import READING, REMOVING_FOLDERS, WRITING, no_calls, no_files, no_tcp
from labelvault.contractor.output import OutputDirectory
from labelvault.contractor.steps import SWAPPED, Step

# linux/prctl.h, sys/mman.h, linux/capability.h
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_CAP_IPC_LOCK: Final = 14


def harden(*, readable: bool = False, writes: bool | None = None) -> tuple[Step, ...]:
    """Harden this process as far as the system lets it; it can't be undone, and threads made later inherit it.

    Args:
        readable: leave out what keeps other programs of this user from reading its memory: they may have to show it.
        writes: also confine it: it opens no files, connects to nothing and starts nothing from now on. True if it is to
            write into a directory, which `confine_to` names; None for a process that goes on to do all that.

    Returns:
        Every step. Off Linux only the one against core files can be done.
    """
    steps = [
        Step(name, False, "left out") if readable and step is _not_read else _tried(name, step) for name, step in _STEPS
    ]
    if writes is not None:
        steps.append(Step(_FILES, False, "left until its folder is there") if writes else _tried(_FILES, _only_python))
        steps += [_tried("no TCP (Landlock)", no_tcp), _tried(_CALLS, lambda: no_calls(writes=writes))]
    return tuple(steps)


def confine_to(directory: OutputDirectory) -> Step:
    """Let this process write into one directory, and open no other file but Python's own; after `harden`."""
    folder, parent = directory.descriptors

    def only_there() -> str:
        with _library() as library:
            # Its removal, should the opening fail, is the parent's affair: of empty folders only.
            return no_files([*library, (folder, WRITING), (parent, REMOVING_FOLDERS)])

    return _tried(_FILES, only_there)


def _tried(name: str, step: Callable[[], str]) -> Step:
    try:
        here = step is _no_core_file or sys.platform.startswith("linux")
        why = step() if here else "only done on Linux"
    except (OSError, ValueError, AttributeError) as error:
        why = getattr(error, "strerror", None) or "the system has no such call"
    return Step(name, not why, why)


def _no_core_file() -> str:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return ""


def _not_read() -> str:
    return _prctl(_PR_SET_DUMPABLE, 0)


def _no_new_privileges() -> str:
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _memory_locked() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    # With a limit, locking what comes later would make later allocations fail instead of being swapped.
    if soft != resource.RLIM_INFINITY and not _has_capability(_CAP_IPC_LOCK):
        return f"no more than {soft // 1024:,} KiB may be locked (ulimit -l)"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        return os.strerror(ctypes.get_errno())
    return ""


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _prctl(option: int, value: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    unused = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), unused, unused, unused):
        return os.strerror(ctypes.get_errno())
    return ""


def _only_python() -> str:
    with _library() as library:
        return no_files(library)


@contextmanager
def _library() -> Iterator[list[tuple[int, int]]]:
    """Lend the right to read what Python reads of its own as it goes: codecs, and modules that it imports late."""
    found = []
    with suppress(OSError):
        found.append((os.open(Path(os.__file__).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), READING))
    try:
        yield found
    finally:
        for descriptor, _ in found:
            os.close(descriptor)


_FILES: Final = "no files but Python's own (Landlock)"
_CALLS: Final = "no programs, connections or tracing (seccomp)"
_STEPS: Final[tuple[tuple[str, Callable[[], str]], ...]] = (
    ("other programs of this user can't read its memory", _not_read),
    ("no core file", _no_core_file),
    ("no new privileges", _no_new_privileges),
    (SWAPPED, _memory_locked),
)
