"""Texts laid out for a terminal: Markdown, tables and records, as lines of a given width.

Everything that comes in is cleaned before it is laid out, so every escape sequence that goes out is one of `Style`.
What does not fit is wrapped or shown as it is written: nothing of it is left out.
"""

import csv
import io
import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final

from labelvault.contractor.display import safe_terminal_text

MAX_LAID_OUT: Final = 1 << 20
"""Longer texts are shown as they are written."""
_HEADING: Final = re.compile(r"(#{1,6}) +(.*?)(?: +#+)? *")
_ITEM: Final = re.compile(r"( {0,12})([-*+]|[0-9]{1,9}[.)]) +(.*)")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_RULE: Final = re.compile(r" {0,3}(?:-{3,}|\*{3,}|_{3,}) *")
_CELL_RULE: Final = re.compile(r" *:?-+:? *")
_INLINE: Final = re.compile(r"\*\*([^*\n]{1,2000})\*\*|`([^`\n]{1,2000})`")
_INDENT: Final = "    "


class Style(Enum):
    """The only escape sequences that ever go out."""

    BOLD = "\x1b[1m"
    DIM = "\x1b[2m"
    CODE = "\x1b[36m"
    END = "\x1b[0m"


class Layout:
    """Lays texts out; what it is given has no control characters but newlines and tabs."""

    def __init__(self, width: int, colour: bool) -> None:
        """Lay out for lines of `width` columns; `colour` says whether to style."""
        self._width = max(20, width)
        self._colour = colour

    def styled(self, text: str, style: Style) -> str:
        """Return text in a style, if styles are wanted."""
        return f"{style.value}{text}{Style.END.value}" if self._colour and text else text

    def markdown(self, text: str) -> str:
        """Return Markdown with headings, lists, quotes, tables and code told apart."""
        return "\n".join(self._blocks(text.split("\n")))

    def _blocks(self, lines: list[str]) -> Iterator[str]:
        fence, at = "", 0
        while at < len(lines):
            line = lines[at]
            at += 1
            found = _FENCE.fullmatch(line)
            if fence:
                if found is not None and found[1].startswith(fence) and not found[2].strip():
                    fence = ""
                else:
                    yield self.styled(_INDENT + line, Style.CODE)
            elif found is not None:
                fence = found[1]
                if found[2].strip():
                    yield self.styled(f"{_INDENT}{found[2].strip()}:", Style.DIM)
            elif "|" in line and at < len(lines) and _is_rule(lines[at]):
                rows = [_cells(line)]
                at += 1
                while at < len(lines) and "|" in lines[at]:
                    rows.append(_cells(lines[at]))
                    at += 1
                yield self.table(rows)
            else:
                yield from self._line(line)

    def _line(self, line: str) -> Iterator[str]:
        if heading := _HEADING.fullmatch(line):
            yield self.styled(heading[2], Style.BOLD)
            if len(heading[1]) <= 2:
                mark = "═" if len(heading[1]) == 1 else "─"
                yield self.styled(mark * min(self._width, max(1, columns(heading[2]))), Style.DIM)
        elif _RULE.fullmatch(line):
            yield self.styled("─" * self._width, Style.DIM)
        elif item := _ITEM.fullmatch(line):
            mark = "•" if item[2] in "-*+" else item[2]
            first = f"{item[1]}{mark} "
            yield from self._wrapped(item[3], first, " " * len(first))
        elif line.startswith(">"):
            yield from self._wrapped(line[1:].strip(), "│ ", "│ ")
        else:
            yield from self._wrapped(line, "", "")

    def _wrapped(self, text: str, first: str, then: str) -> Iterator[str]:
        lines = textwrap.wrap(
            text,
            self._width,
            initial_indent=first,
            subsequent_indent=then,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=bool(first),
            replace_whitespace=False,
        ) or [first.rstrip()]
        yield from (self._inline(line) for line in lines)

    def _inline(self, line: str) -> str:
        if not self._colour:
            return line
        return _INLINE.sub(
            lambda found: self.styled(found[1], Style.BOLD) if found[1] else self.styled(found[2] or "", Style.CODE),
            line,
        )

    def table(self, rows: Sequence[Sequence[str]]) -> str:
        """Return rows as a table whose first row is its head; as records, if it is too wide."""
        head, *body = rows
        count = max(len(row) for row in rows)
        widths = [max(columns(row[at]) if at < len(row) else 0 for row in rows) for at in range(count)]
        if sum(widths) + 3 * (count - 1) > self._width or any("\n" in cell for row in rows for cell in row):
            return "\n\n".join(self.record(_named(head, row)) for row in body) or "  ".join(head)
        line = "─┼─".join("─" * width for width in widths)
        lines = [" │ ".join(_padded(row, widths)).rstrip() for row in rows]
        return "\n".join([self.styled(lines[0], Style.BOLD), self.styled(line, Style.DIM), *lines[1:]])

    def record(self, fields: Sequence[tuple[str, str]]) -> str:
        """Return named values, each below its name if it is long."""
        lines: list[str] = []
        for name, value in fields:
            one = f"{name}: {value}"
            if columns(one) <= self._width and "\n" not in value:
                lines.append(f"{self.styled(name + ':', Style.BOLD)} {value}")
                continue
            lines.append(self.styled(f"{name}:", Style.BOLD))
            for part in value.split("\n"):
                lines += self._wrapped(part, "  ", "  ")
        return "\n".join(lines)

    def delimited(self, text: str, delimiter: str) -> str | None:
        """Return CSV or TSV as a table; None if it is none."""
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
        except csv.Error:
            return None
        return self.table(rows) if rows else None

    def json_lines(self, text: str) -> str | None:
        """Return JSON Lines, each indented under its number; None if a line is no JSON."""
        parts = []
        for number, line in enumerate(filter(str.strip, text.split("\n")), 1):
            shown = indented_json(line)
            if shown is None:
                return None
            parts.append(f"{self.styled(f'{number}.', Style.DIM)} {shown}")
        return "\n".join(parts)


def indented_json(text: str) -> str | None:
    """Return JSON with indentation, clean of what its escapes had hidden; None if it is none, or nested too deep."""
    try:
        return safe_terminal_text(json.dumps(json.loads(text), ensure_ascii=False, indent=2))
    except (ValueError, RecursionError):
        return None


def columns(text: str) -> int:
    """Return how many columns a line takes: wide letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text
    )


def _is_rule(line: str) -> bool:
    return "-" in line and all(_CELL_RULE.fullmatch(cell) for cell in _cells(line))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [*row, *[""] * (len(widths) - len(row))]
    return [cell + " " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True)]


def _named(head: Sequence[str], row: Sequence[str]) -> list[tuple[str, str]]:
    names = [*head, *[f"column {at + 1}" for at in range(len(head), len(row))]]
    return list(zip(names, [*row, *[""] * (len(names) - len(row))], strict=True))
