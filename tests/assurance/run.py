"""Tries the cases of checks, in several processes, and counts what failed."""

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.assurance.check import Cases, Check, chosen, randomness

UNITS = 24
"""A check's cases are handed out in so many parts, so that no process waits long for another."""
KEPT_FAILURES = 5
IN_MEMORY = Path("/dev/shm")


def _own_place() -> Path:
    """A folder for this run: in memory where that is, as many states are small and looked at once."""
    memory = IN_MEMORY if IN_MEMORY.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="labelvault-assurance-", dir=memory))


@dataclass
class Tally:
    """What became of a check's cases.

    Attributes:
        tried: how many; where one case is many steps, these.
        failed: how many of the cases.
        seconds: of all processes together.
        failures: the number of a case and what it raised, of the first few.
        missing: what this machine lacks to try any.
    """

    tried: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)
    missing: str = ""

    def add(self, other: "Tally") -> None:
        """Count another part of the same check."""
        self.tried += other.tried
        self.failed += other.failed
        self.seconds += other.seconds
        self.failures = (self.failures + other.failures)[:KEPT_FAILURES]


_known: dict[str, Check] = {}
"""What is run, by name: processes that are forked find it here, and need not be sent what can't be sent."""
_prepared: dict[str, Cases] = {}
"""In each process: the checks that it has prepared."""


def prepared(check: Check, place: Path) -> Cases:
    """A check's cases, made once a process in a folder of its own."""
    if check.name not in _prepared:
        _prepared[check.name] = check.prepare(Path(tempfile.mkdtemp(dir=place)))
    return _prepared[check.name]


def attempt(check: Check, place: Path, seed: int, numbers: Sequence[int]) -> Tally:
    """Try these cases."""
    tally, start = Tally(), time.perf_counter()
    try:
        cases = prepared(check, place)
    except Exception:  # noqa: BLE001 - a check that can't be prepared has failed
        return Tally(len(numbers), len(numbers), 0.0, [(-1, traceback.format_exc(limit=-4))])
    for number in numbers:
        try:
            tally.tried += cases.attempt(number, randomness(seed, check.name, number)) or 1
        # pytest's own failure is no Exception.
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever is raised breaks the claim
            tally.tried += 1
            tally.failed += 1
            if len(tally.failures) < KEPT_FAILURES:
                tally.failures.append((number, traceback.format_exc(limit=-4)))
    tally.seconds = time.perf_counter() - start
    return tally


def _attempt(name: str, place: Path, seed: int, numbers: Sequence[int]) -> Tally:
    return attempt(_known[name], place, seed, numbers)


def _total(name: str, place: Path) -> tuple[int | None, str]:
    """How many cases there are; or why that is not known."""
    try:
        return prepared(_known[name], place).total, ""
    except Exception:  # noqa: BLE001 - reported as the check's failure
        return None, traceback.format_exc(limit=-4)


def run(
    checks: Iterable[Check],
    profile: str,
    seed: int,
    *,
    processes: int,
    done: Callable[[Check, Tally], None] = lambda check, tally: None,
    deadline_s: float | None = None,
) -> dict[str, Tally]:
    """Try the cases of each check.

    Args:
        checks: which ones.
        profile: `slice`, `default` or `long`: how many cases.
        seed: of all randomness.
        processes: at a time; with 1, all is done in this one.
        done: called after each check.
        deadline_s: no further check is begun after so many seconds; what was not tried is not in the result.
    """
    checks = list(checks)
    _known.update({check.name: check for check in checks})
    place = _own_place()
    found: dict[str, Tally] = {}
    start = time.monotonic()
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            for check in checks:
                if deadline_s is not None and time.monotonic() - start > deadline_s:
                    break
                if lacks := check.missing():
                    found[check.name] = Tally(missing=lacks)
                    continue
                total, broken = pool.submit(_total, check.name, place).result()
                if broken:
                    found[check.name] = Tally(1, 1, 0.0, [(-1, broken)])
                else:
                    found[check.name] = _in_parts(
                        pool, check, place, seed, chosen(total, getattr(check.counts, profile))
                    )
                done(check, found[check.name])
    finally:
        with suppress(OSError):
            shutil.rmtree(place)
    return found


def _in_parts(pool: ProcessPoolExecutor, check: Check, place: Path, seed: int, numbers: list[int]) -> Tally:
    parts = [numbers[at::UNITS] for at in range(min(UNITS, len(numbers)))]
    waiting: list[Future[Tally]] = [pool.submit(_attempt, check.name, place, seed, part) for part in parts]
    tally = Tally()
    for part in waiting:
        tally.add(part.result())
    return tally


def here(check: Check, seed: int, numbers: Sequence[int] | None, profile: str = "slice") -> Tally:
    """Try a check's cases in this process."""
    place = _own_place()
    try:
        if numbers is None:
            numbers = chosen(prepared(check, place).total, getattr(check.counts, profile))
        return attempt(check, place, seed, numbers)
    finally:
        _prepared.pop(check.name, None)
        shutil.rmtree(place, ignore_errors=True)
