"""`labelvault client exposure`: what could be read at a surface in a window, as a statement that others can check."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import click
from rich.text import Text

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.files import write_output
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, table
from labelvault.cli.values import PAST, UNTIL
from labelvault.client import ExposureStatement, ItemVerdict, statement_csv, statement_html
from labelvault.client.events import stamp
from labelvault.client.exposure_words import LABELS, MEANINGS, RULES, grade, headline, moment, remarks, verifying, why
from labelvault.ledger.verdicts import VERDICTS, WITH_INTERVALS

_STYLES: Final = {"exposed": "bold red", "unknown": "magenta", "unconfirmed": "magenta", "never-opened": "green"}
_GRADES: Final = {"bad": "bold red", "open": "bold magenta", "good": "bold green"}
_MOST: Final = 200


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault client`."""
    group.add_command(exposure)


@click.command(
    epilog=examples(
        "labelvault client exposure --surface vendor --from '3d ago' --to now",
        "labelvault client exposure --surface 'desk:desk 7' --from 2026-05-01 \\\n"
        "    --to 2026-05-02T09:30:00Z -o statement.jsonl --html statement.html",
    )
)
@click.option(
    "--surface", required=True, metavar="WHERE", help="Who was compromised: vendor, desk:NAME, contractor:NAME or all."
)
@click.option(
    "--from",
    "start",
    required=True,
    type=PAST,
    metavar="TIME",
    help="Since when: '3d ago', a day, or a time with its zone.",
)
@click.option("--to", "end", required=True, type=UNTIL, metavar="TIME", help="Until when, included: likewise, or now.")
@click.option("--project", metavar="NAME", shell_complete=PROJECTS, help="Only this project's items.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the signed statement, for auditors.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page for people; it needs nothing else.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write all rows for spreadsheets.")
@client_options
def exposure(
    surface: str,
    start: datetime,
    end: datetime,
    project: str | None,
    output: Path | None,
    html: Path | None,
    csv: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """State which items could be read at a surface between two times: a verdict for every item version.

    Computed from the ledger alone, and signed. What was closed for good before the window is not exposed; what is in
    doubt is.
    """
    files = [each.resolve() for each in (output, html, csv) if each is not None]
    if len(set(files)) < len(files):
        raise click.UsageError("--output, --html and --csv are files of their own")
    with opened(home, passphrase) as client:
        stated = client.statement(surface, start, end, project)
        written = {}
        for name, file, render in (
            ("statement", output, _signed_file),
            ("html", html, statement_html),
            ("csv", csv, statement_csv),
        ):
            if file is not None:
                write_output(file, render(stated))
                written[name] = str(file)
        facts, shown = (_facts(stated, written), []) if out.as_json else ({}, _shown(stated, output))
    if not stated.statement.complete:
        end_at = stamp(stated.statement.end)
        out.warn(
            "the statement is not complete: the ledger has no entry after the window's end yet;"
            f" once it has one, ask again with --to {end_at}"
        )
    out.result(facts, *shown)


def _signed_file(stated: ExposureStatement) -> Iterable[bytes]:
    return stated.pieces()


def _facts(stated: ExposureStatement, written: dict[str, str]) -> dict[str, object]:
    statement = stated.statement
    return {
        "headline": headline(stated),
        "complete": statement.complete,
        "remarks": remarks(stated),
        "surface": stated.surface,
        "contractors": list(stated.contractors),
        "presence_waived": list(stated.waived),
        "start": statement.start,
        "end": statement.end,
        "at": statement.at,
        "project": stated.project,
        "totals": stated.totals(),
        "versions": statement.totals.rows,
        "gaps": [{"since": gap.since, "until": gap.until} for gap in statement.gaps],
        "ledgers": [{"epoch": each.epoch, "size": each.size, "root": each.root} for each in statement.ledgers],
        "root": statement.root,
        "items": [
            {
                "project": item.project,
                "item": item.item,
                "name": item.name,
                "kind": item.kind,
                "batch": item.batch,
                "verdict": item.verdict,
                "versions": [
                    {
                        "version": version.version,
                        "sealed_at": version.sealed_at,
                        "verdict": version.verdict,
                        "tasks": version.tasks,
                        "intervals": [
                            {
                                "contractor": each.contractor,
                                "tier": each.tier,
                                "presence_waived": each.waived,
                                "task": each.task,
                                "leases": each.leases,
                                "since": each.since,
                                "until": each.until,
                                "erasure": each.erasure,
                                "reason": each.reason,
                            }
                            for each in version.intervals
                        ],
                    }
                    for version in item.versions
                ],
            }
            for item in stated.items
        ],
        "written": written,
    }


def _shown(stated: ExposureStatement, output: Path | None) -> list[Listing | Text | str]:
    totals, statement = stated.totals(), stated.statement
    kinds = stated.items.kinds
    by_kind = {kind: stated.totals(kind) for kind in kinds}
    shown: list[Listing | Text | str] = [cell(headline(stated), _GRADES[grade(stated)])]
    shown += [cell(remark, "bold red" if remark.startswith("INCOMPLETE") else "magenta") for remark in remarks(stated)]
    shown.append(
        table(
            "Totals",
            ["verdict", "items#", *(f"{kind}#" for kind in kinds)],
            [
                (
                    cell(LABELS[verdict], _STYLES.get(verdict, "") if totals[verdict] else ""),
                    totals[verdict],
                    *(by_kind[kind][verdict] for kind in kinds),
                )
                for verdict in VERDICTS
            ],
        )
    )
    for verdict in WITH_INTERVALS:
        shown += _items(stated, verdict)
    shown.append(Text("\nHow to read it", style="bold"))
    shown += [
        *(f"- {rule}" for rule in RULES),
        f"Stated at {moment(statement.at)}, over {statement.ledgers[-1].size:,} entries.",
    ]
    if output is not None:
        shown.append(f"Anyone verifies it: {verifying(stated, str(output))}")
    return shown


def _items(stated: ExposureStatement, verdict: str) -> list[Listing | str]:
    rows = [
        (each.name, _kind(each, with_project=stated.project is None), Text("\n").join(map(cell, why(each))))
        for each in islice(stated.items.of(verdict), _MOST)
    ]
    if not rows:
        return []
    title = f"{LABELS[verdict].capitalize()}: {MEANINGS[verdict]}"
    listing = table(title, ["item", "kind", "who and when"], rows)
    more = stated.items.count(verdict) - _MOST
    return [listing, *([f"… and {more} more: see --json, --csv or --html."] if more > 0 else [])]


def _kind(item: ItemVerdict, *, with_project: bool) -> str:
    of = [item.batch or "", item.project if with_project else ""]
    return " of ".join([item.kind, *filter(None, of)])
