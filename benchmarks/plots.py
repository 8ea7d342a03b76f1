"""Two plots: how each ratio stands to its target, and what one item costs when there are many."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.lines import Line

_GOOD: Final = "#2b7a78"
_BAD: Final = "#c8553d"
_TOLD: Final = "#9aa5b1"
_MANY: Final = re.compile(r"([\d,]+) items: (.*), (µs an item|ms)")
_TARGET: Final = re.compile(r"([≤≥]) ([\d.]+)×")


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write the plots as PNG and SVG; without matplotlib there are none."""
    if find_spec("matplotlib") is None:
        return []
    import matplotlib

    matplotlib.use("Agg")
    # The same figures give the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "labelvault"
    return [*_saved(_ratios(lines), folder, "ratios"), *_saved(_costs(lines), folder, "cost")]


def _saved(figure: Any, folder: Path, name: str) -> list[Path]:
    if figure is None:
        return []
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    figure.savefig(paths[0], dpi=120, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _ratios(lines: Sequence[Line]) -> Any:
    """Draw each line's ratio beside its target; only those whose target is a ratio."""
    shown = [(line, match) for line in lines if line.ratio and (match := _TARGET.fullmatch(line.target))]
    if not shown:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.42 * len(shown) + 1.4), layout="constrained")
    axes = figure.subplots()
    for place, (line, match) in enumerate(reversed(shown)):
        axes.barh(place, line.ratio or 0, color=_GOOD if line.met else _BAD, height=0.62)
        axes.plot([float(match[2])] * 2, [place - 0.42, place + 0.42], color="black", linewidth=2)
        axes.annotate(f" {line.ratio:.2f} ({line.target})", (max(line.ratio or 0, float(match[2])), place), va="center")
    labels = [f"{line.row}: {_short(line.work)} / {_short(line.against)}" for line, _ in reversed(shown)]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.axvline(1, color=_TOLD, linewidth=0.8, zorder=0)
    axes.set_xlabel("ratio; the black mark is the target, red is not met")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _short(text: str) -> str:
    return text if len(text) <= 50 else text[:49] + "…"


def _costs(lines: Sequence[Line]) -> Any:
    """Draw what one item costs, by the number of items, for each step that was measured at several numbers."""
    series: dict[str, dict[int, float]] = {}
    for line in lines:
        match = _MANY.fullmatch(line.work)
        if match is None or line.peer is None or line.ours is None:
            continue
        points = series.setdefault(f"{match[2]} ({match[3]})", {})
        points[int(match[1].replace(",", ""))] = line.ours
        points[int(line.against.split()[0].replace(",", ""))] = line.peer
    if not series:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    for name, points in series.items():
        counts = sorted(points)
        axes.plot(counts, [points[count] for count in counts], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("items in the project")
    axes.set_ylabel("cost")
    axes.grid(visible=True, which="major", color="#e4e7eb")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
