"""How long work shows how far it is: a bar on a terminal, or with `--json --events` one object a line."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from labelvault.cli.output import Output, size

if TYPE_CHECKING:
    # A contractor's commands show their progress too, and have none of the client's code.
    from labelvault.client import Progress

_F = TypeVar("_F", bound=Callable[..., Any])
_EVERY_S: Final = 0.5
"""Between two progress events, so that a reader is not flooded."""


class View:
    """What a command shows its progress with."""

    def __init__(self, out: Output, *, bar: bool) -> None:
        """Take where to show it.

        Args:
            out: with events, they go there.
            bar: whether a terminal gets one.
        """
        self._out = out
        self._bar = bar

    @contextmanager
    def showing(self, what: str) -> Iterator["Callable[[Progress], None] | None"]:
        """Show progress until the block ends; gives what is to be called, or nothing where nobody looks.

        Args:
            what: is being done, in one word.
        """
        if self._out.as_events:
            yield self._told
        elif self._bar and self._out.progress_console.is_terminal:
            with self._drawn(what) as drawn:
                yield drawn
        else:
            yield None

    @property
    def _told(self) -> "Callable[[Progress], None]":
        started = time.monotonic()
        last = -_EVERY_S

        def tell(progress: "Progress") -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < _EVERY_S and progress.done < progress.total:
                return
            last = now
            rate, left_s = _pace(progress, now - started)
            self._out.json(
                {
                    "event": "progress",
                    "done": progress.done,
                    "total": progress.total,
                    "bytes": progress.content_bytes,
                    "total_bytes": progress.total_bytes,
                    "rate": round(rate),
                    "left_s": round(left_s, 1),
                }
            )

        return tell

    @contextmanager
    def _drawn(self, what: str) -> Iterator["Callable[[Progress], None]"]:
        columns = (
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.fields[items]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        started = time.monotonic()
        with Bar(*columns, console=self._out.progress_console, transient=True) as bar:
            task = bar.add_task(what, total=None, rate="", items="")

            def draw(progress: "Progress") -> None:
                items = f"{progress.done}/{progress.total}"
                if not progress.total_bytes:
                    bar.update(task, completed=progress.done, total=progress.total, items=items)
                    return
                rate, _ = _pace(progress, time.monotonic() - started)
                bar.update(
                    task,
                    completed=progress.content_bytes,
                    total=progress.total_bytes,
                    rate=f"{size(progress.content_bytes)} of {size(progress.total_bytes)}, {size(round(rate))}/s",
                    items=items,
                )

            yield draw


def _pace(progress: "Progress", elapsed_s: float) -> tuple[float, float]:
    """Return bytes a second so far, and seconds left if it goes on like that; of what has no bytes, by its items."""
    if not progress.total_bytes:
        return 0.0, elapsed_s / progress.done * (progress.total - progress.done) if progress.done else 0.0
    left_bytes = progress.total_bytes - progress.content_bytes if progress.done < progress.total else 0
    rate = progress.content_bytes / max(elapsed_s, 1e-6)
    return rate, left_bytes / rate if rate else 0.0


def counted(told: "Callable[[Progress], None] | None") -> Callable[[int, int], None] | None:
    """Return what tells of work that is counted and moves no content: (done, in all)."""
    if told is None:
        return None
    from labelvault.client import Progress

    return lambda done, total: told(Progress(done, total, 0, 0))


def progress_options(command: _F) -> _F:
    """Add `--no-progress` and `--events`; the command gets a `View` as `view`, and an `out` that knows of events."""

    @click.option("--no-progress", is_flag=True, help="Show no bar, also on a terminal.")
    @click.option("--events", is_flag=True, help="With --json: one object a line, progress first, the result last.")
    @functools.wraps(command)
    def wrapped(*args: Any, out: Output, no_progress: bool, events: bool, **kwargs: Any) -> Any:
        if events and not out.as_json:
            raise click.UsageError("--events needs --json")
        telling = Output(out.as_json, events)
        return command(*args, out=telling, view=View(telling, bar=not no_progress), **kwargs)

    # click calls by keyword, so what it sees is the command plus two options.
    return cast(_F, wrapped)
