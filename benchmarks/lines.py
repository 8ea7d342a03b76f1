"""The lines of the result: one for each pair of a work and what it is held against."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_HEAD: Final = ("row", "work", "ours", "against", "peer", "ratio", "target", "met")
_MAX_CELL: Final = 90


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, and one object of `latest.json`.

    Attributes:
        row: its number in docs/performance.md.
        work: what was done, with the unit of `ours` and `peer`.
        ours: LabelVault's figure.
        against: what it is held against.
        peer: its figure; None if it could not be measured, which `against` then explains.
        ratio: as `target` reads it.
        target: what was aimed at; empty for a figure that is only told.
        met: whether it was; None without a target or a figure.
    """

    row: int
    work: str
    ours: float | None
    against: str
    peer: float | None
    ratio: float | None
    target: str = ""
    met: bool | None = None


def at_least(row: int, work: str, ours: float, against: str, peer: float, ratio: float, target: float | None) -> Line:
    """Make a line whose ratio should reach a target; None for one that is only told."""
    if target is None:
        return Line(row, work, ours, against, peer, ratio)
    return Line(row, work, ours, against, peer, ratio, f"≥ {target:g}×", ratio >= target)


def at_most(row: int, work: str, ours: float, against: str, peer: float, ratio: float, target: float) -> Line:
    """Make a line whose ratio should not exceed a target."""
    return Line(row, work, ours, against, peer, ratio, f"≤ {target:g}×", ratio <= target)


def absent(row: int, work: str, ours: float | None, against: str, why: str, target: float | None) -> Line:
    """Make a line for what could not be measured: it stays in the table, and says why."""
    return Line(row, work, ours, f"{against}: {why}", None, None, "" if target is None else f"≥ {target:g}×")


def table(lines: Iterable[Line]) -> str:
    """Return lines as text for a terminal."""
    cells = [_HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(_HEAD))]
    right = {0, 2, 4, 5}
    return "".join(
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in cells
    )


def markdown(lines: Iterable[Line]) -> str:
    """Return lines as a table for docs/performance.md."""
    rows = [_HEAD, ("--:", "---", "--:", "---", "--:", "--:", "---", "---"), *(_cells(line) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write_json(lines: Sequence[Line], path: Path) -> None:
    """Write `latest.json`."""
    text = ",\n".join(json.dumps(asdict(line), ensure_ascii=False) for line in lines)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def number(value: float | None) -> str:
    """Return a figure with three digits that count, or more before the point."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(line: Line) -> tuple[str, ...]:
    met = {True: "yes", False: "no", None: ""}[line.met]
    ratio = "–" if line.ratio is None else f"{line.ratio:.2f}"
    texts = (line.work, line.against)
    work, against = (text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…" for text in texts)
    return str(line.row), work, number(line.ours), against, number(line.peer), ratio, line.target, met
