"""Row 12: a million items, beside ten thousand: what one costs when there are many, and how much memory it takes."""

import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.home import Home, write_tasks
from benchmarks.lines import Line, at_most
from benchmarks.measure import Effort
from benchmarks.steps import Measured, in_own_process, run_step
from labelvault.client import ItemFilter
from labelvault.wire.times import truncate

_ITEM_BYTES: Final = 200
_CHANGED: Final = 10
_PAGE: Final = 1000
_TARGET: Final = 1.3
_MIB: Final = 1024 * 1024
_MOST_MIB: Final = 300
_STEPS: Final = {
    "seal": ("seal, µs an item", True),
    "list": ("list in pages of 1,000, µs an item", True),
    "open": ("open one, ms", False),
    "seal again": ("seal again with 10 changed, µs an item", True),
    "exposure": ("state the exposure of a window, µs an item", True),
}
"""What each step is called, and whether its cost is of one item."""


def _seal(folder: Path, new: str, changed: str) -> float:
    with Home(folder).client() as (_, project):
        begun = time.perf_counter()
        report = project.seal(folder / "source")
        taken = time.perf_counter() - begun
    if report.errors or (report.new, report.changed) != (int(new), int(changed)):
        raise RuntimeError(f"not as it should be: {report}")
    return taken


def _list(folder: Path, count: str) -> float:
    listed, after = 0, None
    with Home(folder).client() as (_, project):
        begun = time.perf_counter()
        while True:
            page = project.page(ItemFilter(), after=after, limit=_PAGE)
            listed, after = listed + len(page.items), page.next
            if after is None:
                break
        taken = time.perf_counter() - begun
    if listed != int(count):
        raise RuntimeError(f"{listed} items were listed")
    return taken


def _open(folder: Path) -> float:
    home = Home(folder)
    with home.client() as (lab, project), lab.issuer() as issuer:
        made, _ = home.join(lab, project)
        with made as me:
            task = project.page(ItemFilter(), limit=1).items[0].item
            found = []
            for _ in range(11):
                begun = time.perf_counter()
                with me.open_task(task, exchange=issuer.handle) as opened:
                    found.append(time.perf_counter() - begun)
                    if not opened.content:
                        raise RuntimeError("nothing was opened")
    return sorted(found)[len(found) // 2]


def _exposure(folder: Path) -> float:
    now = truncate(datetime.now(UTC))
    with Home(folder).client() as (lab, _):
        begun = time.perf_counter()
        lab.statement("vendor", now - timedelta(days=1), now)
        return time.perf_counter() - begun


def _change(rows: Path) -> None:
    """Change some rows in their place, evenly over the file."""
    size = rows.stat().st_size
    with rows.open("r+b") as file:
        for number in range(_CHANGED):
            file.seek(size * number // _CHANGED)
            if number:
                file.readline()
            start = file.tell()
            line = file.readline()
            file.seek(start)
            file.write(line.replace(b"A line", b"A LINE", 1))


def _measure(folder: Path, count: int) -> dict[str, Measured]:
    home = Home(folder)
    home.make(floor_bytes=256)
    rows = write_tasks(folder / "source", count, _ITEM_BYTES)
    found = {
        "seal": in_own_process(__name__, "seal", folder, str(count), "0"),
        "list": in_own_process(__name__, "list", folder, str(count)),
        "open": in_own_process(__name__, "open", folder),
    }
    _change(rows)
    found["seal again"] = in_own_process(__name__, "seal", folder, "0", str(_CHANGED))
    found["exposure"] = in_own_process(__name__, "exposure", folder)
    shutil.rmtree(folder)
    return found


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 12: at three numbers of items, so that a curve can be seen."""
    counts = [effort.size(10_000, 300), effort.size(100_000, 1_000), effort.size(1_000_000, 3_000)]
    small, large = counts[0], counts[-1]
    found = {count: _measure(effort.folder / str(count), count) for count in counts}
    for count in counts[1:]:
        for step, (name, of_one) in _STEPS.items():
            ours, theirs = found[count][step].seconds, found[small][step].seconds
            if of_one:
                ours, theirs = ours / count * 1e6, theirs / small * 1e6
            else:
                ours, theirs = ours * 1e3, theirs * 1e3
            yield at_most(12, f"{count:,} items: {name}", ours, f"{small:,} items", theirs, ours / theirs, _TARGET)
    peak = max(each.peak_bytes for each in found[large].values()) / _MIB
    work = f"{large:,} items: client memory at most, MiB"
    yield Line(12, work, peak, "a fixed size", _MOST_MIB, peak / _MOST_MIB, f"≤ {_MOST_MIB} MiB", peak <= _MOST_MIB)


if __name__ == "__main__":
    run_step({"seal": _seal, "list": _list, "open": _open, "exposure": _exposure}, sys.argv[1:])
