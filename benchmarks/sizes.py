"""Row 14: what items take at the vault, all of it: padding, tags, rows, pages, and files beside the database."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.home import Home
from benchmarks.lines import Line, at_most
from benchmarks.measure import Effort

_KIB: Final = 1024
_TARGET: Final = 1.15
_RANGES: Final = ((8 * _KIB, 16 * _KIB), (16 * _KIB, 64 * _KIB), (64 * _KIB, 1024 * _KIB), (0, 8 * _KIB))


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 14: sizes drawn evenly from a range, sealed into a vault of its own."""
    drawn = random.Random(1)  # noqa: S311 - sizes to measure with
    for least, most in _RANGES:
        folder = effort.folder / str(least)
        home, source = Home(folder), folder / "source"
        home.make()
        (source / "attachments").mkdir(parents=True)
        count = max(8, min(effort.size(1000, 50), effort.size(200, 8) * 1024 * _KIB // most))
        plain = 0
        for number in range(count):
            size = drawn.randrange(least, most)
            (source / "attachments" / f"{number:05}.bin").write_bytes(drawn.randbytes(size))
            plain += size
        before = _stored(folder / "vendor")
        with home.client() as (_, project):
            project.seal(source)
        grown = (_stored(folder / "vendor") - before) / plain
        work = f"bytes at the vault, items of {least // _KIB} to {most // _KIB} KiB, a byte of plaintext"
        if least:
            yield at_most(14, work, grown, "plaintext", 1.0, grown, _TARGET)
        else:
            yield Line(14, f"{work} (the floor is 4 KiB)", grown, "plaintext", 1.0, grown)


def _stored(folder: Path) -> int:
    """Return the bytes of all files, after the write-ahead log went into the database."""
    with sqlite3.connect(folder / "vault.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm")
