"""Row 9: how long a contractor waits for a task: through the mailbox, with the issuer in another process."""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.actors import issuing, serving
from benchmarks.home import Home, write_guidelines, write_tasks
from benchmarks.lines import Line
from benchmarks.measure import Effort, Times
from labelvault.vendor import Vault

_ITEM_BYTES: Final = 20 * 1024
_REQUIRED: Final = 4
_P50_MS: Final = 15.0
_P99_MS: Final = 50.0
_OURS: Final = "open"
_PAUSE_S: Final = 0.05
"""Nobody opens a task within the milliseconds in which the close of the one before is taken."""
_HTTP_PAUSE_S: Final = 0.5
"""A service that is asked for more than its rate lets its callers wait."""


def _opened(home: Home, count: int, address: str | None = None, pause_s: float = _PAUSE_S) -> Times:
    """Open a task so many times, one after the other, with pauses that don't count; each is closed before the next."""
    source = home.folder / "source"
    home.make(address=address)
    write_tasks(source, 1, _ITEM_BYTES)
    write_guidelines(source, _REQUIRED, _ITEM_BYTES)
    with home.client() as (lab, project):
        project.seal(source)
        me, _ = home.join(lab, project)
        item = project.items("task")[0].item
    times = Times([_OURS])
    with me, issuing(home):
        for number in range(count + 3):
            begun = time.perf_counter()
            with me.open_task(item) as task:
                size = len(task.content) + sum(len(part.content) for part in task.required)
                taken = time.perf_counter() - begun
            if size < (1 + _REQUIRED) * _ITEM_BYTES * 0.9:
                raise RuntimeError("the task is not whole")
            if number >= 3:
                times.add(_OURS, taken)
            time.sleep(pause_s)
    return times


def _lines(way: str, times: Times) -> Iterator[Line]:
    work = f"open 5 items of 20 KiB, issuer in another process, {way}"
    p50, p99 = times.median(_OURS) * 1000, times.percentile(_OURS, 0.99) * 1000
    for name, found, most in (("p50", p50, _P50_MS), ("p99", p99, _P99_MS)):
        yield Line(9, f"{work}, {name}, ms", found, "a fixed time", most, found / most, f"≤ {most:g} ms", found <= most)


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 9; HTTP is told beside it."""
    count = effort.size(300, 5)
    home = Home(effort.folder / "local")
    home.folder.mkdir()
    yield from _lines("mailbox in local SQLite", _opened(home, count))
    served = Home(effort.folder / "http")
    (served.folder / "vendor").mkdir(parents=True)
    Vault.open(served.vault).close()
    with serving(served) as address:
        times = _opened(served, effort.size(60, 5), address, _HTTP_PAUSE_S)
    for name, found in (("p50", times.median(_OURS)), ("p99", times.percentile(_OURS, 0.99))):
        work = f"open 5 items of 20 KiB, issuer in another process, over HTTP, {name}, ms"
        yield Line(9, work, found * 1000, "nothing", None, None)
