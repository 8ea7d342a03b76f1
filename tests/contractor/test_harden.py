"""Hardening: what each step brings, measured from outside, and that what fails is named."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelvault.contractor.harden import Step, facts, harden, steps_of
from labelvault.contractor.worker import Worker

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardened on Linux")
NOBODY = 65534


def _reads_its_child(hardened: bool) -> bool:
    """Whether a process that is not root can open the memory of a child of its own, which has the same user."""
    watcher = os.fork()
    if not watcher:
        code = 99
        try:
            os.setuid(NOBODY)
            reader, writer = os.pipe()
            holder = os.fork()
            if not holder:
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
                if hardened:
                    harden()
                os.write(writer, b"!")
                time.sleep(60)
                os._exit(0)
            os.close(writer)
            assert os.read(reader, 1) == b"!"
            try:
                os.close(os.open(f"/proc/{holder}/mem", os.O_RDONLY))
                code = 1
            except PermissionError:
                code = 0
            os.kill(holder, 9)
            os.waitpid(holder, 0)
        finally:
            os._exit(code)
    return {0: False, 1: True}[os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1])]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_program_of_the_same_user_cannot_read_a_hardened_process() -> None:
    """Without hardening it can, so the test can fail; root can either way."""
    assert _reads_its_child(hardened=False)
    assert not _reads_its_child(hardened=True)


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
