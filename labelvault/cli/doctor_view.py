"""How a doctor's findings are shown, and what they exit with. Loads no actor's code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from labelvault.cli.exits import OK, UNWELL
from labelvault.cli.output import Output, cell
from labelvault.health import Check

_MARKS: Final = {"ok": ("ok", "green"), "warning": ("warning", "bold magenta"), "problem": ("problem", "bold red")}


def home_facts(actor: str, home: Path, checks: Sequence[Check]) -> dict[str, Any]:
    """Return what was found in one home, for JSON."""
    return {
        "actor": actor,
        "home": home,
        "ok": exit_code(checks) == OK,
        "checks": [
            {"name": each.name, "verdict": each.verdict, "found": each.found, "mend": each.mend} for each in checks
        ],
    }


def exit_code(checks: Sequence[Check]) -> int:
    """Return the exit code: warnings are none."""
    return UNWELL if any(each.verdict == "problem" for each in checks) else OK


def shown(title: str, checks: Sequence[Check]) -> tuple[Text, Table, Text]:
    """Return a title, a table of the checks with what to do below each that is not well, and a line that sums up."""
    built = Table(box=None, show_header=False, pad_edge=False)
    built.add_column(no_wrap=True)
    built.add_column(style="cyan", no_wrap=True)
    built.add_column(overflow="fold")
    for each in checks:
        mark, style = _MARKS[each.verdict]
        text = cell(each.found)
        if each.mend:
            text.append("\n→ ", style="bold").append_text(cell(each.mend))
        built.add_row(cell(mark, style), cell(each.name), text)
    counts = {verdict: sum(each.verdict == verdict for each in checks) for verdict in ("problem", "warning")}
    summary = ", ".join(f"{count} {verdict}{'' if count == 1 else 's'}" for verdict, count in counts.items())
    return cell(title, "bold"), built, cell(summary, "bold red" if counts["problem"] else "bold green")


def report(actor: str, home: Path, checks: Sequence[Check], out: Output) -> int:
    """Show one home's findings and return the exit code."""
    out.result(home_facts(actor, home, checks), *shown(f"{actor.capitalize()} in {home}", checks))
    return exit_code(checks)
