"""Tables that fit the terminal: where it is narrow, ids are cut to what still tells them apart."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

LEAST_DIGITS: Final = 12
"""Of a shortened id: among a million ids, another one begins so once in 280 such lists. Commands take eight or more."""
_UNBOUNDED: Final = 100_000
_HEADER_STYLE: Final = "bold cyan"


class Id:
    """An id in a cell.

    Attributes:
        hex: all of it.
        whole: never cut: another machine is to be told it.
    """

    __slots__ = ("hex", "whole")

    def __init__(self, value: bytes, *, whole: bool = False) -> None:
        self.hex = value.hex()
        self.whole = whole


class Listing:
    """A table whose ids are shortened where it would not fit otherwise."""

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Text | Id]]) -> None:
        """Take what is shown.

        Args:
            title: what it shows.
            columns: the headings; one that ends in `#` stands right.
            rows: of one cell a column.
        """
        self._title = title
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show it, with whole ids if they fit."""
        table = self._built({})
        # Measured as if there were room: within the true width everything is said to fit.
        if Measurement.get(console, options.update(max_width=_UNBOUNDED), table).maximum > options.max_width:
            table = self._built(self._shortest())
        # A line of its own: as the table's title it would be folded to the table's width.
        yield Text(self._title, style="bold")
        yield table

    def _shortest(self) -> dict[int, int]:
        """Return for each column of ids how many digits tell them apart."""
        digits = {}
        for place in range(len(self._columns)):
            found = [cell for row in self._rows if isinstance(cell := row[place], Id)]
            ids = {cell.hex for cell in found}
            if any(cell.whole for cell in found):
                digits[place] = max(map(len, ids))
            elif ids:
                digits[place] = next(n for n in range(LEAST_DIGITS, 65, 2) if len({id[:n] for id in ids}) == len(ids))
        return digits

    def _built(self, digits: dict[int, int]) -> Table:
        built = Table(
            header_style=_HEADER_STYLE,
            box=None,
            pad_edge=False,
        )
        for place, name in enumerate(self._columns):
            # Everything else can be folded and still be read; a folded id can't be copied.
            built.add_column(
                name.removesuffix("#"),
                justify="right" if name.endswith("#") else "left",
                overflow="fold",
                no_wrap=place in digits,
            )
        for row in self._rows:
            built.add_row(
                *(Text(cell.hex[: digits.get(at)]) if isinstance(cell, Id) else cell for at, cell in enumerate(row))
            )
        if not self._rows:
            built.add_row(Text("none", style="italic"))
        return built
