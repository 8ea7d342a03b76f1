"""Row 4: sealing one long JSONL into a durable vault, beside inserting its rows as they are."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.home import Home, write_tasks
from benchmarks.lines import Line, at_least
from benchmarks.measure import Effort, once_in_turn
from labelvault.client.sealing import WINDOW_ITEMS
from labelvault.database import CACHE_KIB, CHECKPOINT_PAGES

_ITEM_BYTES: Final = 4096
_PER_SECOND: Final = 20_000.0
_OURS: Final = "LabelVault"
_PLAIN: Final = "the rows as plaintext, same SQLite settings"


def _seal(folder: Path, source: Path, count: int) -> float:
    """Seal into a fresh home; return seconds an item."""
    home = Home(folder / "home")
    home.make()
    with home.client() as (_, project):
        begun = time.perf_counter()
        report = project.seal(source)
        taken = time.perf_counter() - begun
    if report.new != count or report.errors:
        raise RuntimeError(f"not sealed: {report}")
    shutil.rmtree(home.folder)
    return taken / count


def _insert(folder: Path, rows: Path, count: int) -> float:
    """Parse each row for its id and insert it, in transactions as long as a window; return seconds an item."""
    path = folder / "plain.db"
    with sqlite3.connect(path, isolation_level=None) as db:
        caching = (f"cache_size=-{CACHE_KIB}", f"wal_autocheckpoint={CHECKPOINT_PAGES}")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", *caching):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE items (id TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID")
        begun = time.perf_counter()
        with rows.open("rb") as file:
            while window := [(json.loads(line)["id"], line.rstrip()) for line in islice(file, WINDOW_ITEMS)]:
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT INTO items VALUES (?, ?)", window)
                db.execute("COMMIT")
        taken = time.perf_counter() - begun
    db.close()
    for each in folder.glob("plain.db*"):
        each.unlink()
    return taken / count


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 4."""
    count, source = effort.size(100_000, 1_000), effort.folder / "source"
    tasks = write_tasks(source, count, _ITEM_BYTES)
    turns = {
        _OURS: partial(_seal, effort.folder, source, count),
        _PLAIN: partial(_insert, effort.folder, tasks, count),
    }
    times = once_in_turn(turns, effort.size(2, 1))
    ours, theirs = (1 / times.median(name) for name in (_OURS, _PLAIN))
    work = f"seal {count:,} tasks of 4 KiB from one JSONL, catalog and ledger included, per second"
    yield at_least(4, work, ours, _PLAIN, theirs, times.times_as_fast(_OURS, _PLAIN), 0.5)
    yield Line(4, work, ours, "a fixed rate", _PER_SECOND, ours / _PER_SECOND, "≥ 20,000/s", ours >= _PER_SECOND)
