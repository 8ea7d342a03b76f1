"""Where results and prose go: one JSON object or tables on stdout, everything else on stderr."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labelvault.cli.exits import outcome_of
from labelvault.cli.listing import Id, Listing
from labelvault.errors import DeniedError, ForkError, LabelVaultError

_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07"
    "\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f"
)
"""Letters and marks that Python calls printable and that no font draws: two names could differ by them alone."""
_MAX_MARKS: Final = 3
"""Combining marks on one letter; a heap of them reaches into the lines above and below."""
PIPED_COLUMNS: Final = 120
"""The width where neither a terminal nor `COLUMNS` says one."""


def visible(text: object) -> str:
    r"""Return one line in which nothing can move the cursor, hide, reorder or pile up; such marks show as `\x1b`.

    For names and labels. The texts of tasks keep their line breaks and go through
    `labelvault.contractor.display`.
    """
    shown, marks = [], 0
    for c in str(text):
        marks = marks + 1 if unicodedata.combining(c) else 0
        plain = c.isprintable() and c not in _INVISIBLE and marks <= _MAX_MARKS
        shown.append(c if plain else c.encode("unicode_escape").decode())
    return "".join(shown)


def cell(text: object, style: str = "") -> Text:
    """Return text for a table or a line: markup is not interpreted, control characters are shown as such."""
    return Text(visible(text), style=style)


class Output:
    """What a command writes with. Colours follow the terminal and `NO_COLOR`.

    Attributes:
        as_json: `--json` was given: exactly one JSON object on stdout (commands that stay up: one per line).
        as_events: `--events` too: one object per line, each with its `event`; the last is `result` or `error`.
    """

    def __init__(self, as_json: bool, as_events: bool = False) -> None:
        self.as_json = as_json
        self.as_events = as_json and as_events
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    @property
    def progress_console(self) -> Console:
        """The console on stderr, for progress bars."""
        return self._err

    @property
    def out_console(self) -> Console:
        """The console on stdout, for what people read."""
        return self._out

    def json(self, facts: Mapping[str, Any]) -> None:
        """Print one JSON object on one line, escaped to ASCII so that no terminal acts on it."""
        sys.stdout.write(json.dumps(facts, default=_plain) + "\n")
        sys.stdout.flush()

    def result(self, facts: Mapping[str, Any], *shown: Listing | Table | Text | str) -> None:
        """Print the facts as JSON, or else what people read."""
        if self.as_json:
            self.json({"event": "result", **facts} if self.as_events else facts)
            return
        for place, part in enumerate(shown):
            if place and isinstance(part, Listing):
                self._out.print()
            self._out.print(cell(part) if isinstance(part, str) else part)

    def library_error(self, error: LabelVaultError) -> int:
        """Say what went wrong and what to do next, and return the exit code."""
        outcome = outcome_of(error)
        facts: dict[str, object] = {}
        if isinstance(error, DeniedError):
            facts["code"] = error.code
        if isinstance(error, ForkError) and error.kept:
            facts["older"], facts["newer"] = error.kept
        self.failed(type(error).__name__, str(error), outcome.next, facts)
        return outcome.code

    def note(self, text: str | Text) -> None:
        """Print one line of prose on stderr."""
        self._err.print(cell(text, "italic") if isinstance(text, str) else text)

    def warn(self, text: str) -> None:
        """Print one line of warning on stderr."""
        self._err.print(Text.assemble(("Warning: ", "bold magenta"), cell(text)))

    def failed(self, kind: str, message: str, hint: str, facts: Mapping[str, object] | None = None) -> None:
        """Say what went wrong and what to do next: two lines on stderr, or an error object on stdout.

        Args:
            kind: the error's class.
            message: what went wrong.
            hint: what to do next.
            facts: a denial's code; the files of a fork's two checkpoints.
        """
        if self.as_json:
            event = {"event": "error"} if self.as_events else {}
            self.json({**event, "error": {"kind": kind, "message": message, "next": hint, **(facts or {})}})
            return
        self._err.print(Text.assemble(("Error: ", "bold red"), cell(message)), soft_wrap=True)
        for name in ("older", "newer"):
            if facts and name in facts:
                self._err.print(Text.assemble((f"{name}: ", "bold red"), cell(facts[name])), soft_wrap=True)
        self._err.print(Text.assemble(("Next: ", "bold"), cell(hint)), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Listing:
    """Build a table; columns whose name ends in `#` are numbers and stand right.

    Args:
        title: what it shows.
        columns: the headings.
        rows: a `Text` or `Id` is kept as it is, bytes are an id, anything else is made harmless.
    """
    return Listing(title, columns, [[_kept(part) for part in row] for row in rows])


def _kept(part: object) -> Text | Id:
    if isinstance(part, bytes):
        return Id(part)
    return part if isinstance(part, Text | Id) else cell(part)


def facts_table(rows: Iterable[tuple[str, object]]) -> Table:
    """Build a two-column list of facts."""
    built = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    built.add_column(style="cyan")
    built.add_column(overflow="fold")
    for name, value in rows:
        built.add_row(name, value if isinstance(value, Text) else cell(value))
    return built


def moment(time: datetime) -> str:
    """Write a time: on a terminal in its user's zone, `2026-04-01 14:00:00+02:00`; else `2026-04-01 12:00:00Z`."""
    local = time.astimezone() if sys.stdout.isatty() else time.astimezone(UTC)
    if not local.utcoffset():
        return local.strftime("%Y-%m-%d %H:%M:%SZ")
    return local.isoformat(" ", "seconds")


def span(duration: timedelta) -> str:
    """Write a time span in its two largest units: `2 d 3 h`, `4 min 5 s`, `over`."""
    left = int(duration.total_seconds())
    if left <= 0:
        return "over"
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(count_bytes: int) -> str:
    """Write a number of bytes for people."""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    if count_bytes < 1024**2:
        return f"{count_bytes / 1024:.1f} KiB"
    if count_bytes < 1024**3:
        return f"{count_bytes / 1024**2:.1f} MiB"
    return f"{count_bytes / 1024**3:.1f} GiB"


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS
    return Console(stderr=stderr, highlight=False, width=width)


def _plain(value: object) -> object:
    """Make ids hex and times ISO 8601 in JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
