"""`labelvault demo`: play the story, and show it as it happens."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from labelvault.cli.exits import MORE_THAN_STATED, OK
from labelvault.cli.options import examples, json_option
from labelvault.cli.output import Output, cell, size
from labelvault.cli.signals import interrupted_by_any
from labelvault.story import EXAMPLE, Act, Did, Event, Findings, Incident, Said, Stolen, Theft, run, run_incident

_COLOURS: Final = {
    "the client": "cyan",
    "the vendor": "magenta",
    "the contractor": "green",
    "the desk": "blue",
    "desk 8": "blue",
    "the new desk": "blue",
    "an auditor": "cyan",
    "the phone": "green",
    "the thief": "bold red",
}
_WIDEST: Final = max(map(len, _COLOURS))
_HOLDERS: Final = (
    ("the client", "every key: root, project keys, item keys; its ledger says what was let out"),
    ("the vendor", "sealed bytes, and no key at all"),
    ("the contractor", "a key that only signs; a key that opens lives as long as one opening"),
)
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog=examples(
        "labelvault demo",
        "labelvault demo --input ./project --keep ./played",
        "labelvault demo --incident --keep ./breach",
    )
)
@click.option("--incident", is_flag=True, help="Play a breach and its containment instead; see DIR/report.")
@click.option("--input", "project", type=_FOLDER, metavar="DIR", help="Seal this project instead of the example.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Leave one folder an actor there: client/ vendor/ contractor/ desk/ desk-8/ phone/, and thief/ drill/.",
)
@json_option
def command(project: Path | None, keep: Path | None, incident: bool, out: Output) -> int:
    """Play the whole story: seal, grant, open, close; then everything is stolen, and a drill tries to read it.

    With --incident, a bad day: a breach, the statement of what could be read, its containment, and the thief once
    more. All actors are homes and processes of their own. Exits with 9 if anything opened that the ledger doesn't
    state.
    """
    console = out.progress_console if out.as_json else out.out_console
    quiet = out.as_json and not console.is_terminal
    if not quiet:
        _introduce(console)
    tell = None if quiet else lambda event: _show(event, console)
    # Its issuer would outlive it otherwise.
    with interrupted_by_any():
        if incident:
            return _day(run_incident(project or EXAMPLE, keep=keep, tell=tell), keep, console, out)
        findings = run(project or EXAMPLE, keep=keep, tell=tell)
    if out.as_json:
        out.json(_facts(findings))
    else:
        _conclude(findings, keep, console)
    return OK if findings.holds else MORE_THAN_STATED


def _facts(findings: Findings) -> dict[str, Any]:
    return {
        "sealed_items": findings.sealed_items,
        "sealed_again": findings.sealed_again,
        "vault_bytes": findings.vault_bytes,
        "denials": list(findings.denials),
        "thefts": [
            {
                "surface": theft.surface,
                "stated": list(theft.stated),
                "opened": list(theft.opened),
                "plaintext_hits": theft.plaintext_hits,
                "more": list(theft.more),
                "measured": theft.measured,
                "note": theft.note,
            }
            for theft in findings.thefts
        ],
        "answers": findings.answers,
        "to_pay": findings.to_pay,
        "holds": findings.holds,
        "seconds": round(findings.seconds, 1),
    }


def _day(day: Incident, keep: Path | None, console: Console, out: Output) -> int:
    if out.as_json:
        facts = asdict(day)
        del facts["report"]
        out.json({**facts, "seconds": round(day.seconds, 1), "report": None if keep is None else day.report})
    else:
        console.print()
        console.print(cell(day.headline, "bold"))
        planned = ", ".join(f"{step} {each['to_do'] + each['done']}" for step, each in day.counts.items())
        console.print(cell(f"Contained: {planned}; for the laptop, {day.dropped} waiting leases dropped."))
        opened = ", ".join(day.opened) or "nothing"
        console.print(cell(f"Afterwards the thief opens {opened}: {day.stated} versions are stated as exposed,"))
        console.print(cell(f"and of the {day.renewed} that took their place he opens none."))
        if not day.measured:
            console.print(cell("Memory can't be captured on this system: the thief had files alone.", "magenta"))
        verdict, style = ("Contained.", "bold green") if day.holds else ("NOT contained.", "bold red")
        console.print(cell(verdict, style))
        where = f"Look at {day.report}/vendor.html." if keep is not None else "labelvault demo --incident --keep DIR"
        console.print(cell(f"{day.seconds:.0f} s. {where}", "italic"))
    return OK if day.holds else MORE_THAN_STATED


def _introduce(console: Console) -> None:
    console.print(Rule(Text("Who holds which key", style="bold"), align="left"))
    grid = _grid()
    for name, holds in _HOLDERS:
        grid.add_row(_who(name), cell(holds))
    console.print(grid)


def _show(event: Event, console: Console) -> None:
    """Show one event as it happens."""
    if isinstance(event, Act):
        style = "bold red" if event.title.startswith("Theft") else "bold"
        console.print()
        console.print(Rule(Text(event.title, style=style), align="left", style=style if style != "bold" else "none"))
    elif isinstance(event, Did):
        grid = _grid()
        grid.add_row(_who(event.actor), cell(event.command, "italic"))
        grid.add_row("", cell("→ " + event.outcome, "bold magenta" if event.refused else ""))
        console.print(grid)
    elif isinstance(event, Said):
        style = "magenta" if event.warning else "italic"
        console.print(Padding(cell(event.text, style), (0, 0, 0, _WIDEST + 2)))
    else:
        _stolen(event, console)


def _stolen(event: Stolen, console: Console) -> None:
    theft = event.theft
    grid = _grid()
    grid.add_row(cell("ledger states", "cyan"), cell(", ".join(theft.stated) or "nothing"))
    if theft.measured:
        grid.add_row(cell("opened", "red"), cell(", ".join(theft.opened) or "nothing"))
        grid.add_row(cell("texts found", "red"), cell(str(theft.plaintext_hits)))
    grid.add_row("", _verdict(theft))
    console.print(grid)


def _verdict(theft: Theft) -> Text:
    if not theft.measured:
        return cell(theft.note, "magenta")
    if not theft.holds:
        return cell("MORE than stated: " + "; ".join(theft.more), "bold red")
    return cell("as stated" if theft.stated else "nothing opened", "bold green")


def _conclude(findings: Findings, keep: Path | None, console: Console) -> None:
    table = Table(title="What each theft comes to", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("stolen", ratio=3, overflow="fold")
    table.add_column("the ledger states", ratio=3, overflow="fold")
    table.add_column("opened", ratio=3, overflow="fold")
    table.add_column("texts", justify="right")
    table.add_column("finding", ratio=2)
    for theft in findings.thefts:
        table.add_row(
            cell(theft.surface),
            cell(", ".join(theft.stated) or "nothing"),
            cell(", ".join(theft.opened) or "nothing") if theft.measured else cell("not measured here", "magenta"),
            cell(theft.plaintext_hits) if theft.measured else cell("-"),
            _verdict(theft),
        )
    console.print()
    console.print(table)
    console.print(
        cell(
            f"{findings.sealed_items} items sealed, {findings.sealed_again} when sealed again; the vault holds "
            f"{size(findings.vault_bytes)}; refused as it should: {', '.join(findings.denials)}."
        )
    )
    console.print(
        cell(
            f"{findings.answers} answer came back, collected as it was submitted; {findings.to_pay} task is to be paid."
        )
    )
    if findings.holds:
        console.print(cell("Nothing opened that the ledger does not state.", "bold green"))
    else:
        console.print(cell("Something opened that the ledger does not state.", "bold red"))
    where = f"Everything is in {keep}." if keep is not None else "Look at it yourself: labelvault demo --keep DIR"
    console.print(cell(f"{findings.seconds:.0f} s. {where}", "italic"))


def _who(name: str) -> Text:
    return cell(name, _COLOURS.get(name, ""))


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=_WIDEST, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
