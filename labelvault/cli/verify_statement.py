"""`labelvault verify-statement`: what an auditor needs, and nothing that a client has."""

import os
import re
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from labelvault.auditor import CheckedStatement, verify_statement
from labelvault.cli.files import read_input, read_text
from labelvault.cli.listing import Listing
from labelvault.cli.options import examples, json_option
from labelvault.cli.output import Output, cell, facts_table, moment, table
from labelvault.ledger.export import MAX_EXPORT_BYTES
from labelvault.ledger.statement import MAX_STATEMENT_BYTES, Totals
from labelvault.ledger.verdicts import VERDICTS

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_LATER: Final = "The exports hold entries after the statement's; with them, of the same window:"
_INCOMPLETE: Final = (
    "INCOMPLETE, as it says itself: when it was made, the window's end or an entry after it was yet to come; "
    "later releases may belong to it."
)


@click.command(
    "verify-statement",
    epilog=examples(
        "labelvault verify-statement statement.jsonl --ledger ledger.jsonl \\\n    --client 'lusab-gutih-...'",
        "labelvault verify-statement statement.jsonl --ledger new.jsonl \\\n    --ledger kept.jsonl --client lab.key",
    ),
)
@click.argument("file", type=_FILE)
@click.option(
    "--ledger",
    "ledgers",
    type=_FILE,
    required=True,
    multiple=True,
    help="An export of the ledger, as new as the statement; an older one that you kept is compared. Repeatable.",
)
@click.option(
    "--client",
    "client",
    required=True,
    metavar="WORDS|FILE",
    help="The client's fingerprint, read out to you; or a file with it, or with the identity key in hex.",
)
@json_option
def command(file: Path, ledgers: tuple[Path, ...], client: str, out: Output) -> None:
    """Recompute an exposure statement from exported ledgers, with public keys only.

    Exit code 0 means: signed by this client's certified issuer, and exactly what the ledgers give.
    """
    exports = [read_input(each, MAX_EXPORT_BYTES) for each in ledgers]
    checked = verify_statement(read_input(file, MAX_STATEMENT_BYTES), exports, _client(client))
    statement = checked.statement
    facts = {
        "verified": True,
        "client": checked.fingerprint,
        "surface": statement.surface,
        "contractors": list(statement.contractors),
        "project": statement.project,
        "start": statement.start,
        "end": statement.end,
        "at": statement.at,
        "complete": statement.complete,
        "gaps": [{"since": gap.since, "until": gap.until} for gap in statement.gaps],
        "totals": _totals(statement.totals),
        "root": statement.root,
        "ledgers": [
            {"epoch": each.stated.epoch, "size": each.stated.size, "root": each.stated.root, "export_size": each.size}
            for each in checked.ledgers
        ],
        "later": None if checked.later is None else _totals(checked.later),
    }
    shown: list[Listing | Table | Text | str] = [
        facts_table(_rows(checked)),
        cell("Verified: signed by this client's issuer, and exactly what the ledgers give.", "bold green"),
        table("Item versions", ["verdict", "versions#"], list(_totals(statement.totals).items())),
    ]
    if not statement.complete:
        shown.insert(1, cell(_INCOMPLETE, "bold red"))
    if checked.later is not None:
        shown += [cell(_LATER, "magenta"), table("Now", ["verdict", "versions#"], list(_totals(checked.later).items()))]
    out.result(facts, *shown)


def _rows(checked: CheckedStatement) -> list[tuple[str, object]]:
    statement = checked.statement
    rows: list[tuple[str, object]] = [
        ("client", checked.fingerprint),
        ("surface", f"{statement.surface}, {len(statement.contractors)} keys"),
        ("window", f"{moment(statement.start)} to {moment(statement.end)}"),
        ("project", "all" if statement.project is None else statement.project.hex()),
        ("stated at", moment(statement.at)),
        ("complete", "yes" if statement.complete else "no"),
    ]
    for each in checked.ledgers:
        rows.append(("ledger", f"{each.stated.epoch.hex()}: {each.stated.size} of the export's {each.size} entries"))
    rows += [("gap", f"{moment(gap.since)} to {moment(gap.until)}") for gap in statement.gaps]
    return rows


def _totals(totals: Totals) -> dict[str, int]:
    return {verdict: getattr(totals, verdict.replace("-", "_")) for verdict in VERDICTS}


def _client(value: str) -> str | bytes:
    """Take words as they are; of a file, its words or its key."""
    text = read_text(Path(value)).strip() if os.path.isfile(value) else value
    return bytes.fromhex(text) if _KEY.fullmatch(text.lower()) else text
