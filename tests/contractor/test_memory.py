"""C6: after a close no key and no plaintext is in any memory, core or file, as scans of real processes show.

The opening processes of these tests draw their one-time seeds from a label, so that this process knows them and the
contractor's does not. In that process the label itself is what each scan has to find.
"""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.issuer.catalog import opened_together
from labelvault.keys.kek import unwrap_dek, wrap_context
from tests.contractor.test_begin import in_memory
from tests.world import GUIDELINE, PASSPHRASE, PICTURE, TASK, World, wait_gone

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read through Linux's /proc")
LABEL = "a label of the scans, from which seeds are derived"
CONTRACTOR = f"""
import os, resource, sys
from pathlib import Path
from labelvault.contractor import Contractor, isolated
from labelvault.contractor.worker import Worker

LABEL = {LABEL!r}
BOOT = isolated._BOOT

def derive(process):
    start = repr(LABEL + process + "-")
    code = (
        "import hashlib, itertools; from labelvault.crypto import hpke; numbers = itertools.count(); "
        "hpke.random_bytes = lambda size: hashlib.sha256((" + start + " + str(next(numbers))).encode()).digest(); "
    )
    isolated._BOOT = BOOT.replace("from labelvault", code + "from labelvault").replace("{{}}", "child")

derive("a")
cores = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_CORE, (cores, cores) if cores >= 0 else (resource.RLIM_INFINITY,) * 2)
me = Contractor.open(Path(sys.argv[1]), sys.stdin.readline().rstrip("\\n"))
me.readable_memory = os.geteuid() != 0
items = sys.argv[2].split(",")

waiting = Worker(readable=me.readable_memory)
print(waiting.pid, waiting.one_time_key.hex(), flush=True)
sys.stdin.readline()
waiting.stop()
derive("b")
opening = me.begin(items[0], timeout_s=60)
opening.show(os.open(os.devnull, os.O_WRONLY))
opening.renew(timeout_s=60)
print(opening.pid, flush=True)
sys.stdin.readline()
opening.close()
derive("c")
written = me.begin(items[1], timeout_s=60, output=Path("files"))
written.close()
print("closed", flush=True)
sys.stdin.readline()
os.abort()
"""


class Helper:
    """A contractor's process: opens, shows, renews, closes; opens to files, closes; stays, then aborts."""

    def __init__(self, world: World, *, cores: int = 0) -> None:
        self.folder = world.folder / "cwd"
        self.folder.mkdir()
        names = ",".join(world.task(name).hex() for name in ("one", "two"))
        words = [sys.executable, "-c", CONTRACTOR, str(world.folder / "ada"), names, str(cores)]
        environment = {**os.environ, "TMPDIR": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=environment
        )
        self.pid = self._process.pid
        waiting, public_key = self._told(PASSPHRASE).split()
        self.waiting, self.public_key = int(waiting), bytes.fromhex(public_key)

    def open(self) -> None:
        """Open the first task."""
        self.child = int(self._told(""))

    def _told(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """Close all that is open; the process stays."""
        assert self._told("") == "closed"

    def abort(self) -> int:
        """End it with SIGABRT; return its exit code."""
        self._told("")
        return self._process.wait(60)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


@pytest.fixture
def needles(world: World) -> dict[str, bytes]:
    """Every key and text that an opening of the first two tasks comes to hold."""
    world.worker()[0].close()
    found = {"picture": PICTURE, "guideline": GUIDELINE.encode(), "task": TASK.encode(), "name": b"picture.png"}
    for number in (f"{process}-{count}" for process in "abc" for count in range(6)):
        seed = hashlib.sha256((LABEL + number).encode()).digest()
        halves = hashlib.shake_256(seed).digest(96)
        found |= {f"seed {number}": seed, f"ML-KEM {number}": halves[:64], f"X25519 {number}": halves[64:]}
    for name in ("one", "two"):
        for version in opened_together(world.lab.database, world.lab.client_id, world.task(name)):
            kek = world.lab.keks.load(version.header.project, version.kek_id, version.kek_generation)
            context = wrap_context(version.header.encode(), version.digest, version.kek_id, version.kek_generation)
            dek = unwrap_dek(kek, version.wrapped, context).reveal()
            found[f"DEK {version.header.item.hex()}"] = dek
    return found


@pytest.fixture
def helper(world: World, needles: dict[str, bytes], request: pytest.FixtureRequest) -> Iterator[Helper]:
    """It has an opening process that waits for a lease."""
    with world.serving():
        made = Helper(world, cores=getattr(request, "param", 0))
        yield made
        made.end()


def held(pid: int, needles: dict[str, bytes]) -> set[str]:
    """Which of the needles stand in a process's memory."""
    return {name for name, needle in needles.items() if in_memory(pid, needle)}


def test_C6_scans_find_what_an_opening_process_holds(helper: Helper, needles: dict[str, bytes]) -> None:
    """Without this the scans below would show nothing: it holds its seed, then DEKs and texts; its parent none."""
    (seed,) = (name for name in held(helper.waiting, needles) if name.startswith("seed"))
    assert OneTimeKey(SecretBytes(needles[seed])).public_key == helper.public_key
    helper.open()
    wait_gone(helper.waiting)
    kinds = {name.split()[0] for name in held(helper.child, needles)}
    assert kinds >= {"DEK", "picture", "guideline", "task", "name"}
    assert held(helper.pid, needles) == set()
    assert in_memory(helper.pid, LABEL.encode())


def test_C6_after_the_close_no_key_and_no_text_is_in_the_contractors_memory_or_in_any_file(
    world: World, helper: Helper, needles: dict[str, bytes]
) -> None:
    """The process that opened is gone; its parent never held any, in memory, arguments or environment; no file does."""
    helper.open()
    helper.close()
    wait_gone(helper.child)
    assert held(helper.pid, needles) == set()
    assert in_memory(helper.pid, LABEL.encode())
    places = [world.folder / name for name in ("ada", "cwd", "vendor")]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert {"state.db", "vault.db", "vault.db-wal"} <= {path.name for path in files}
    assert any(world.task() in path.read_bytes() for path in files)
    for path in files:
        data = path.read_bytes()
        assert not {name for name, needle in needles.items() if needle in data}, path


@pytest.mark.parametrize("helper", [-1], indirect=True)
def test_C6_a_core_of_the_contractor_after_the_close_holds_neither(helper: Helper, needles: dict[str, bytes]) -> None:
    """Where the system writes cores, it is let to; the label is in it, and no key or text."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"this system keeps cores elsewhere: {pattern}")
    helper.open()
    helper.close()
    assert helper.abort() == -signal.SIGABRT
    (core,) = (path for path in helper.folder.iterdir() if path.name.startswith("core"))
    data = core.read_bytes()
    assert LABEL.encode() in data
    assert not {name for name, needle in needles.items() if needle in data}


def test_C6_a_crash_of_the_opening_process_leaves_no_core(helper: Helper, needles: dict[str, bytes]) -> None:
    """Nothing is left of it, though it held keys and text; its close then says so."""
    helper.open()
    os.kill(helper.child, signal.SIGSEGV)
    wait_gone(helper.child)
    assert list(helper.folder.rglob("*core*")) == []
    assert held(helper.pid, needles) == set()
