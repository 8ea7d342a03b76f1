"""Measure everything, and say it: a table, `benchmarks/out/latest.json` and plots.

    python -m benchmarks [--quick | --long] [--rows 1,2,8]

`make bench` and `make bench-quick` install what it needs. Every work and what it is held against run in turn, in one
process or in children that are started in turn, so that ratios hold on a machine that is busy otherwise, too.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import bulk, grants, items, million, opens, releases, rotation, sizes, starts, streams
from benchmarks.lines import Line, markdown, table, write_json
from benchmarks.measure import Effort
from benchmarks.plots import draw

_OUT: Final = Path(__file__).resolve().parent / "out"
_BEGIN: Final = "<!-- written by python -m benchmarks --document -->\n"
_END: Final = "<!-- to here -->"
GROUPS: Final[tuple[tuple[frozenset[int], Callable[[Effort], Iterator[Line]]], ...]] = (
    (frozenset({1, 2, 3}), items.rows),
    (frozenset({4}), bulk.rows),
    (frozenset({5, 6, 7}), streams.rows),
    (frozenset({8}), releases.rows),
    (frozenset({9}), opens.rows),
    (frozenset({10}), grants.rows),
    (frozenset({11}), rotation.rows),
    (frozenset({12}), million.rows),
    (frozenset({13}), starts.rows),
    (frozenset({14}), sizes.rows),
)


def _parse_rows(text: str) -> frozenset[int]:
    return frozenset(int(part) for part in text.split(","))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs")
    parser.add_argument("--long", action="store_true", help="seal the million items of row 12, too")
    parser.add_argument("--rows", type=_parse_rows, help="only these, by number: 1,2,8")
    parser.add_argument("--out", type=Path, default=_OUT, help="folder for the results")
    parser.add_argument("--document", type=Path, metavar="PAGE", help="also put table and plots into this page")
    parser.add_argument("--where", type=Path, help="folder for temporary files")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="labelvault-bench-", dir=chosen.where))
    begun, lines = time.monotonic(), list[Line]()
    try:
        for number, (rows, measure) in enumerate(GROUPS):
            if chosen.rows and not rows & chosen.rows:
                continue
            _say(f"[{time.monotonic() - begun:4.0f} s] rows {', '.join(map(str, sorted(rows)))} …")
            place = folder / str(number)
            place.mkdir()
            lines += measure(Effort(chosen.quick, place, chosen.long))
            shutil.rmtree(place)
    finally:
        shutil.rmtree(folder)
    lines.sort(key=lambda line: line.row)
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_json(lines, chosen.out / "latest.json")
    drawn = draw(lines, chosen.out)
    if chosen.document is not None:
        _document(lines, drawn, chosen.document)
    names = ["latest.json", *(path.name for path in drawn)]
    sys.stdout.write(table(lines))
    _say(f"{time.monotonic() - begun:.0f} s; in {chosen.out}: {', '.join(names)}")


def _document(lines: list[Line], drawn: list[Path], page: Path) -> None:
    """Put the table between the page's marks, and the plots beside it."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, behind = rest.partition(_END)
    if not behind:
        raise SystemExit(f"{page} lacks {_BEGIN.strip()} or {_END.strip()}")
    page.write_text(f"{before}{_BEGIN}\n{markdown(lines)}\n{_END}{behind}", encoding="utf-8")
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for path in drawn:
        if path.suffix == ".svg":
            shutil.copy(path, folder / path.name)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
