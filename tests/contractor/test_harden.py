"""Hardening: what each step brings, measured from outside, and that what fails is named."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelvault.contractor.harden import harden
from labelvault.contractor.steps import SWAPPED, Step, facts, steps_of
from labelvault.contractor.worker import Worker

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardened on Linux")
NOBODY = 65534


def _read_file(pid: int, libc: ctypes.CDLL, address: int) -> bool:
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
    except PermissionError:
        return False
    return True


def _copy(pid: int, libc: ctypes.CDLL, address: int) -> bool:
    """process_vm_readv."""

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))

    here = ctypes.create_string_buffer(8)
    into, out_of = Vector(ctypes.addressof(here), 8), Vector(address, 8)
    return bool(libc.process_vm_readv(pid, ctypes.byref(into), 1, ctypes.byref(out_of), 1, 0) == 8)


def _trace(pid: int, libc: ctypes.CDLL, address: int) -> bool:
    """PTRACE_SEIZE."""
    return bool(libc.ptrace(0x4206, pid, None, None) == 0)


WAYS = {"open": _read_file, "copy": _copy, "trace": _trace}


def _reads_its_child(way: str, hardened: bool) -> bool:
    """Whether a process that is not root gets at the memory of a child of its own, which has the same user."""
    libc = ctypes.CDLL(None)
    held = ctypes.create_string_buffer(b"canary")
    watcher = os.fork()
    if not watcher:
        code = 99
        try:
            os.setuid(NOBODY)
            reader, writer = os.pipe()
            holder = os.fork()
            if not holder:
                libc.prctl(4, 1, 0, 0, 0)
                if hardened:
                    harden()
                os.write(writer, b"!")
                time.sleep(60)
                os._exit(0)
            os.close(writer)
            assert os.read(reader, 1) == b"!"
            code = int(WAYS[way](holder, libc, ctypes.addressof(held)))
            os.kill(holder, 9)
            os.waitpid(holder, 0)
        finally:
            os._exit(code)
    return {0: False, 1: True}[os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1])]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
@pytest.mark.parametrize("way", WAYS)
def test_another_program_of_the_same_user_cannot_read_a_hardened_process(way: str) -> None:
    """By its memory file, by copying, by tracing: without hardening each works, so the test can fail; root can."""
    assert _reads_its_child(way, hardened=False)
    assert not _reads_its_child(way, hardened=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_confinement_needs_no_rights() -> None:
    """A process of a user who may do nothing takes all from itself that root's does, files included."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setuid(NOBODY)
            lacking = [step.name for step in harden(writes=False) if not step.done and step.name != SWAPPED]
            with contextlib.suppress(PermissionError):
                os.close(os.open("/etc/passwd", os.O_RDONLY))
                lacking.append("files")
            os.write(writer, ("; ".join(lacking) or "none").encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 1000) == b"none"
    os.close(reader)
    os.close(writer)


def _dumps(code: str, folder: Path) -> bool:
    """Whether a process that begins with some code leaves a core behind when it crashes, where cores are allowed."""
    start = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2);"
    process = subprocess.Popen([sys.executable, "-c", f"{start}{code}\nos.abort()"], cwd=folder)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status) or any(folder.iterdir())


def test_a_hardened_process_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    """Where another one leaves one."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "hardened").mkdir()
    if not _dumps("", tmp_path / "plain"):
        pytest.skip("this system writes no cores at all")
    assert not _dumps("from labelvault.contractor.harden import harden; harden()", tmp_path / "hardened")


def test_an_opening_process_is_hardened_and_says_how_far() -> None:
    """No core file and no new privileges, as the kernel reports them; `readable` leaves out one step and says so."""
    for readable in (False, True):
        worker = Worker(readable=readable)
        status = Path(f"/proc/{worker.pid}/status").read_text()
        limits = Path(f"/proc/{worker.pid}/limits").read_text()
        done = {step.name: step.done for step in worker.hardening}
        assert "NoNewPrivs:\t1" in status
        assert "Max core file size        0                    0" in limits
        assert done["no core file"]
        assert done["no new privileges"]
        assert done["other programs of this user can't read its memory"] is not readable
        assert "Seccomp:\t2" in status
        # All but what depends on the limit of locked memory.
        assert [name for name, is_done in done.items() if not is_done and name != SWAPPED] == (
            ["other programs of this user can't read its memory"] if readable else []
        )
        if done["its memory is not swapped"]:
            assert "VmLck:\t       0 kB" not in status
        assert all(step.done or step.why for step in worker.hardening)
        worker.stop()


def test_a_step_that_cannot_be_done_is_named_with_its_reason() -> None:
    """With a limit on locked memory, and without the capability, nothing is locked, and nothing fails later."""
    script = (
        "import resource, os; from labelvault.contractor import harden as h;"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)); h._has_capability = lambda number: False;"
        "print([(s.done, s.why) for s in h.harden() if 'swapped' in s.name]); bytearray(50_000_000)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[(False, 'no more than 64 KiB may be locked (ulimit -l)')]"


def test_steps_travel_between_processes_unchanged() -> None:
    """What one process tells, another reads."""
    steps = (Step("a", True), Step("b", False, "because"))
    assert steps_of(facts(steps)) == steps  # type: ignore[arg-type]
