"""The machine and the interpreter: versions, what else runs in the process, where memory can leak to, the clock."""

import os
import re
import resource
import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from labelvault.health.checks import Check, ok, problem, warning

OLDEST_PYTHON: Final = (3, 11)
OLDEST_CRYPTOGRAPHY: Final = 50
CLOCK_SKEW: Final = timedelta(minutes=2)
_PACKAGES: Final = ("cryptography", "pynacl", "msgpack", "pydantic")
_EXTRAS: Final = {
    "cli": ("click", "rich"),
    "service": ("httpx", "starlette", "uvicorn"),
    "parquet": ("pyarrow",),
    "keyring": ("keyring",),
    "quorum": ("Crypto",),
}
_INJECTING: Final = ("LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
_YEARS: Final = (2025, 2100)
_SHOWN: Final = 4


def machine(now: datetime, seen: datetime | None) -> list[Check]:
    """Look at everything that is alike for all actors.

    Args:
        now: what this machine's clock says, aware UTC.
        seen: the latest time that is known to have passed, if one is.
    """
    return [python(), packages(), extras(), *startup(os.environ, _site_folders()), *memory(), clock(now, seen)]


def python() -> Check:
    """Look at the interpreter's version."""
    found = f"Python {sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return problem("python", found, "Install Python 3.11 or later, and labelvault into it.")
    return ok("python", found)


def packages() -> Check:
    """Look at the four packages of the core, and whether msgpack has its compiled half."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return problem("packages", f"{name} is not installed", "Run: pip install labelvault")
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    major = re.match(r"\d+", found["cryptography"])
    if major is None or int(major[0]) < OLDEST_CRYPTOGRAPHY:
        return problem("packages", text, f"Run: pip install 'cryptography>={OLDEST_CRYPTOGRAPHY}'")
    if find_spec("msgpack._cmsgpack") is None:
        return warning("packages", f"{text} (pure Python)", "Install msgpack's wheel: reading is slow without it.")
    return ok("packages", text)


def extras() -> Check:
    """Look at which extras are installed; none is needed by itself."""
    there = [name for name, needed in _EXTRAS.items() if all(find_spec(each) for each in needed)]
    missing = [name for name in _EXTRAS if name not in there]
    text = f"extras: {', '.join(there) or 'none'}"
    if missing:
        text += f"; not installed: {', '.join(missing)} (service is for a vault over HTTP)"
    return ok("extras", text)


def startup(environment: Mapping[str, str], folders: Sequence[Path]) -> list[Check]:
    """Look at what else the interpreter runs: a poisoned package needs no more than one `.pth` file.

    Args:
        environment: the process's.
        folders: where packages are installed.
    """
    pth = sorted({file.name for folder in folders for file in _pth_files(folder) if _imports(file)})
    hooks = [name for name in ("sitecustomize", "usercustomize") if find_spec(name) is not None]
    injecting = [name for name in _INJECTING if environment.get(name)]
    if _has_text(Path("/etc/ld.so.preload")):
        injecting.append("/etc/ld.so.preload")
    checks = []
    if pth:
        mend = "Know each of them: such lines run at every start of Python. A fresh virtual environment has fewest."
        checks.append(warning("start-up", f".pth files that import: {_some(pth)}", mend))
    if hooks:
        checks.append(warning("start-up", f"{_some(hooks)} runs at every start", "Know what it does, or remove it."))
    if injecting:
        mend = "Start from a clean environment: what they name runs inside this process."
        checks.append(warning("start-up", f"code is brought in by {_some(injecting)}", mend))
    tracer = _tracer()
    if tracer:
        checks.append(problem("start-up", f"process {tracer} traces this one", "End it: it reads every key."))
    return checks or [ok("start-up", "nothing else runs in the interpreter")]


def memory() -> list[Check]:
    """Look at where memory can go: core dumps and swap."""
    checks = []
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        checks.append(warning("memory", "a crash may write memory to a core file", "Run `ulimit -c 0` first."))
    if len(_lines(Path("/proc/swaps"))) > 1:
        checks.append(warning("memory", "memory may be swapped to disk", "Encrypt the swap, or do without."))
    return checks or [ok("memory", "no core files, no swap")]


def clock(now: datetime, seen: datetime | None) -> Check:
    """Look at whether the clock can be right.

    Args:
        now: what it says, aware UTC.
        seen: the latest time that is known to have passed, if one is.
    """
    text = f"the clock says {now.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    mend = "Set this machine's clock right."
    if not _YEARS[0] <= now.year < _YEARS[1]:
        return problem("clock", text, mend)
    if seen is not None and now < seen - CLOCK_SKEW:
        return problem("clock", f"{text}, but {seen.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} has passed already", mend)
    return ok("clock", text)


def _site_folders() -> list[Path]:
    folders = {*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    return [Path(each) for each in sorted(folders)]


def _pth_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.pth"))
    except OSError:
        return []


def _imports(file: Path) -> bool:
    """Tell whether `site` would execute a line of it."""
    return any(line.startswith(("import ", "import\t")) for line in _lines(file))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _has_text(file: Path) -> bool:
    return any(line.strip() for line in _lines(file))


def _tracer() -> int:
    found = [line for line in _lines(Path("/proc/self/status")) if line.startswith("TracerPid:")]
    return int(found[0].split()[1]) if found else 0


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
