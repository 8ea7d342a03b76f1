"""Power cuts, kills and disks that fail, at every call by which an act changes its files. Real SQLite, real files."""

import copy
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from labelvault.crypto import kdf
from labelvault.crypto.kdf import Argon2idParameters, derive_key
from labelvault.crypto.secret import SecretBytes
from tests.assurance.acts import ACTS, REFUSED, must_hold, prepare
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.disk import MARK, Choice, Disk, Step, record, write_out

ROOT = Path(__file__).resolve().parents[2]
STATES_EACH = 300
"""States after a cut at one step; the long run tries all."""
CHANGING = (
    *("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat", "renameat2"),
    *("link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat"),
)
SYNCS = ("fsync", "fdatasync")
"""A disk that is full shows when something is written, one that fails also when it is synced."""


def needs_strace() -> str | None:
    """Why these checks can't be tried here, or None."""
    if not sys.platform.startswith("linux") or shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "strace may not trace here"


_keys: dict[tuple[bytes, bytes, Argon2idParameters], SecretBytes] = {}


@contextmanager
def remembering_keys() -> Iterator[None]:
    """Derive the key of a passphrase and a salt once: thousands of homes are opened that have the same ones."""

    def remembered(passphrase: SecretBytes, salt: bytes, parameters: Argon2idParameters) -> SecretBytes:
        asked = passphrase.reveal(), salt, parameters
        if asked not in _keys:
            _keys[asked] = derive_key(passphrase, salt, parameters)
        return _keys[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kdf, "derive_key", remembered)
        yield


class Scene:
    """The world that acts begin in, and a place in which each of them is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = prepare(self.folder)
        self.disk = self.folder / "disk"
        shutil.copytree(self.disk, self.folder / "before")
        python = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        self.environment = os.environ | python

    def renew(self) -> Path:
        """The world as it was before."""
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.disk)
        return self.disk

    def emptied(self) -> Path:
        """Nothing yet."""
        shutil.rmtree(self.disk, ignore_errors=True)
        return self.disk

    def command(self, act: str) -> list[str]:
        """Does an act in the folder in which it is called."""
        return [sys.executable, "-m", "tests.assurance.acts", act]

    def record(self, act: str) -> list[Step]:
        """What an act does to the disk."""
        return record(self.command(act), self.renew(), self.folder / "log", self.environment)


def power_cuts(folder: Path) -> Cases:
    """Each step of each act, and after it any choice of what was not synced."""
    scene = Scene(folder)
    before = Disk(scene.folder / "before")
    recorded = {act: scene.record(act) for act in ACTS}
    held: set[bytes] = set()
    cuts = [(act, at) for act, steps in recorded.items() for at in range(len(steps) + 1)]

    def attempt(number: int, rng: Random) -> None:
        cut, which = divmod(number, STATES_EACH)
        act, at = cuts[cut]
        steps = recorded[act][:at]
        disk = copy.deepcopy(before)
        for step in steps:
            disk.do(step)
        kind = {0: "none", 1: "all"}.get(which % 10, "some")
        content = disk.after(Choice(kind, rng))
        marks = [step.path for step in steps if step.call == "mark"]
        # Many cuts leave the very same bytes: they are looked at once.
        state = hashlib.sha256(repr((act, marks, sorted(content.items()))).encode()).digest()
        if state not in held:
            write_out(content, scene.emptied())
            with remembering_keys():
                must_hold(scene.disk, act, scene.facts, marks)
            held.add(state)

    return Cases(attempt, len(cuts) * STATES_EACH)


def _points(scene: Scene) -> list[tuple[str, str, int]]:
    """Each call that changes a file: the act, the call's name, and the how manieth of that name it is."""
    found = []
    for act in ACTS:
        log = scene.folder / "calls"
        counting = ["strace", "-f", "-y", "-s", "0", "-e", f"trace={','.join(CHANGING)}", "-o", str(log)]
        ran = subprocess.run(
            [*counting, *scene.command(act)], cwd=scene.renew(), env=scene.environment, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        seen: Counter[str] = Counter()
        for line in log.read_text(errors="replace").splitlines():
            name = line.split()[1].partition("(")[0]
            seen[name] += name in CHANGING
            # What is written to the terminal is no file.
            if name in CHANGING and not re.search(r"\bwrite\([012]<", line):
                found.append((act, name, seen[name]))
    return found


def _injected(how: Callable[[str], list[str]], ends: tuple[int, ...]) -> Callable[[Path], Cases]:
    """Cases in which one call does not come back, or comes back with an error.

    Args:
        how: what is injected into a call of this name.
        ends: how the process may end.
    """

    def prepare_cases(folder: Path) -> Cases:
        scene = Scene(folder)
        points = [(act, name, at, what) for act, name, at in _points(scene) for what in how(name)]

        def attempt(number: int, _: Random) -> None:
            act, name, at, what = points[number]
            injecting = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={name}"]
            injecting += ["-e", f"inject={name}:{what}:when={at}", *scene.command(act)]
            ran = subprocess.run(
                injecting, cwd=scene.renew(), env=scene.environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode in ends, f"{act}, {name} {at} {what}: {ran.returncode} {ran.stderr[-1500:]}"
            marks = [line[len(MARK) :] for line in ran.stdout.splitlines() if line.startswith(MARK)]
            must_hold(scene.disk, act, scene.facts, marks)

        return Cases(attempt, len(points))

    return prepare_cases


def _errors(name: str) -> list[str]:
    return ["error=EIO"] if name in SYNCS else ["error=ENOSPC", "error=EIO"]


CHECKS = (
    Check(
        "power cut",
        "every step of sealing, granting, releasing, closing, rotating, revoking, claiming and purging, and after it "
        "none, all or any of what was not synced: it opens, what was acknowledged holds, and it goes on",
        ("C2", "L3", "R7"),
        power_cuts,
        Counts(160, 20_000, None),
        needs_strace,
    ),
    Check(
        "killed",
        "SIGKILL at every write, sync, rename, link and unlink of the same acts",
        ("C1", "L3"),
        _injected(lambda _: ["signal=KILL"], (0, -signal.SIGKILL, 128 + signal.SIGKILL)),
        Counts(6, 60, None),
        needs_strace,
    ),
    Check(
        "disk full or failing",
        "ENOSPC and EIO from every write, sync, rename, link and unlink of the same acts: a clean error or none, "
        "and the same holds",
        ("C3",),
        _injected(_errors, (0, REFUSED)),
        Counts(6, 60, None),
        needs_strace,
    ),
)
