"""Row 12: a million items, beside ten thousand: what one costs when there are many, and how much memory it takes.

Sealing a million takes minutes. So unless a run is to be long, catalog and ledger of the largest number are written by
the same functions as sealing's, and payloads left out; what is changed afterwards is sealed, and the lines say so.
"""

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.home import Home, write_tasks
from benchmarks.lines import Line, at_most
from benchmarks.measure import Effort
from benchmarks.steps import Measured, in_own_process, run_step
from labelvault.client import ItemFilter
from labelvault.client.importing import ProjectFolder, SourceItem
from labelvault.client.sealing import WINDOW_ITEMS, item_metadata, source_hash
from labelvault.client.versions import NewVersion, SealTarget, batch_id, make_current, reserve
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record
from labelvault.wire.times import truncate

_ITEM_BYTES: Final = 200
_PAYLOAD_BYTES: Final = 4168
"""What each item takes, padded and sealed; nobody looks at it where payloads are left out."""
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
            # Of those that were changed, whose payloads are there in any case.
            task = project.find(f"tasks/w1.jsonl#{0:08}")
            found = []
            for _ in range(11):
                begun = time.perf_counter()
                with me.open_task(task, exchange=issuer.handle) as opened:
                    found.append(time.perf_counter() - begun)
                    if not opened.content:
                        raise RuntimeError("nothing was opened")
    return statistics.median(found)


def _write(folder: Path) -> float:
    """Write a catalog and its ledger as sealing does, without the payloads."""
    source = ProjectFolder(folder / "source")
    begun = time.perf_counter()
    with Home(folder).client() as (lab, project):
        target = project._target()
        items = source.items()
        while window := list(islice(items, WINDOW_ITEMS)):
            versions = sorted(_versions(window, target), key=lambda each: each.header.item)
            with lab.database.transaction():
                reserve(target, versions)
            with lab.database.transaction():
                make_current(target, versions)
    return time.perf_counter() - begun


def _versions(sources: Iterable[SourceItem], target: SealTarget) -> Iterator[NewVersion]:
    batch: bytes | None = None
    for source in sources:
        batch = batch or batch_id(target, source)
        encoded = encode_record(item_metadata(source, {}))
        header = ItemHeader(ITEM_FORMAT, target.client, target.project, random_bytes(ID_BYTES), 1)
        yield NewVersion(
            source=source,
            header=header,
            batch=batch,
            metadata=encoded,
            payload_bytes=_PAYLOAD_BYTES,
            source_hash=source_hash(source, encoded),
            digest=random_bytes(32),
            dek=SecretBytes(random_bytes(32)),
        )


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


def _measure(folder: Path, count: int, *, write: bool) -> dict[str, Measured]:
    """Take all steps in a home of its own.

    Args:
        folder: is made, and removed.
        count: of items.
        write: write the catalog instead of sealing; then nothing is said of sealing.
    """
    home = Home(folder)
    home.make()
    rows = write_tasks(folder / "source", count, _ITEM_BYTES)
    found = {}
    if write:
        in_own_process(__name__, "write", folder)
    else:
        found["seal"] = in_own_process(__name__, "seal", folder, str(count), "0")
    found["list"] = in_own_process(__name__, "list", folder, str(count))
    _change(rows)
    found["seal again"] = in_own_process(__name__, "seal", folder, "0", str(_CHANGED))
    found["open"] = in_own_process(__name__, "open", folder)
    found["exposure"] = in_own_process(__name__, "exposure", folder)
    shutil.rmtree(folder)
    return found


def _median(found: list[dict[str, Measured]]) -> dict[str, Measured]:
    return {
        step: Measured(
            statistics.median(each[step].seconds for each in found),
            max(each[step].peak_bytes for each in found),
            max(each[step].beside_bytes for each in found),
        )
        for step in found[0]
    }


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 12: at three numbers of items, so that a curve can be seen."""
    counts = [effort.size(10_000, 300), effort.size(100_000, 1_000), effort.size(1_000_000, 3_000)]
    small, large = counts[0], counts[-1]
    written = not effort.long
    # What is over soon is measured more than once: all else is held against it.
    rounds = effort.size(3, 1)
    found = {small: _median([_measure(effort.folder / str(each), small, write=False) for each in range(rounds)])}
    for count in counts[1:]:
        found[count] = _measure(effort.folder / str(count), count, write=written and count == large)
        against = f"{small:,} items"
        if "seal" not in found[count]:
            against += "; here the catalog was written, and payloads left out"
        for step, measured in found[count].items():
            name, of_one = _STEPS[step]
            ours, theirs = measured.seconds, found[small][step].seconds
            if of_one:
                ours, theirs = ours / count * 1e6, theirs / small * 1e6
            else:
                ours, theirs = ours * 1e3, theirs * 1e3
            yield at_most(12, f"{count:,} items: {name}", ours, against, theirs, ours / theirs, _TARGET)
    for count, steps in found.items():
        peak = max(each.peak_bytes + each.beside_bytes for each in steps.values()) / _MIB
        work = f"{count:,} items: client memory at most, the process that stores included, MiB"
        against = "a fixed size" if "seal" in steps else "a fixed size; here nothing was sealed at first"
        yield Line(12, work, peak, against, _MOST_MIB, peak / _MOST_MIB, f"≤ {_MOST_MIB} MiB", peak <= _MOST_MIB)


_RUN: Final[dict[str, Callable[..., float]]] = {
    "seal": _seal,
    "write": _write,
    "list": _list,
    "open": _open,
    "exposure": _exposure,
}

if __name__ == "__main__":
    run_step(_RUN, sys.argv[1:])
