"""`labelvault vendor receipts|acks|tasks`: what contractors and issuers say of tasks, to pay on and to look after."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

import click

from labelvault.cli.output import Output, moment, table
from labelvault.vendor import AckEntry, ReceiptEntry, TaskState, Vault

RECEIPT_FIELDS: Final = (
    "number",
    "contractor",
    "client",
    "project",
    "lease_id",
    "item",
    "event",
    "erased",
    "at",
    "received_at",
)
ACK_FIELDS: Final = (
    "number",
    "contractor",
    "client",
    "project",
    "lease_id",
    "item",
    "event",
    "of",
    "verdict",
    "at",
    "received_at",
)
TASK_FIELDS: Final = (
    "client",
    "project",
    "item",
    "queue",
    "state",
    "contractor",
    "claimed_at",
    "claim_ends_at",
    "opened_at",
)
after_option: Final = click.option(
    "--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only what came after number N."
)
csv_option: Final = click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")


def show_receipts(vault: Vault, after: int, as_csv: bool, out: Output) -> None:
    """Print what contractors signed."""
    _show(
        "receipts",
        vault.receipts(after),
        RECEIPT_FIELDS,
        as_csv,
        out,
        ["number#", "event", "erased", "contractor", "item", "received"],
        lambda r: (r.number, r.event, r.erased or "", r.contractor, r.item, moment(r.received_at)),
    )


def show_acks(vault: Vault, after: int, as_csv: bool, out: Output) -> None:
    """Print what clients' issuers signed."""
    _show(
        "acks",
        vault.acks(after),
        ACK_FIELDS,
        as_csv,
        out,
        ["number#", "event", "verdict", "contractor", "item", "received"],
        lambda a: (a.number, a.event, a.verdict, a.contractor, a.item, moment(a.received_at)),
    )


def show_tasks(vault: Vault, stuck: timedelta | None, as_csv: bool, out: Output) -> None:
    """Print how far tasks have come."""
    _show(
        "tasks",
        _all_tasks(vault, None if stuck is None else int(stuck.total_seconds())),
        TASK_FIELDS,
        as_csv,
        out,
        ["state", "item", "claimed by", "claimed", "opened, not ended"],
        lambda t: (
            t.state,
            t.item,
            t.contractor or "",
            moment(t.claimed_at) if t.claimed_at else "",
            moment(t.opened_at) if t.opened_at else "",
        ),
    )


def _all_tasks(vault: Vault, stuck_s: int | None) -> Iterator[TaskState]:
    page = vault.tasks(stuck_s=stuck_s)
    while page:
        yield from page
        page = vault.tasks(stuck_s=stuck_s, after=page[-1])


def _show(
    title: str,
    found: Iterable[ReceiptEntry] | Iterable[AckEntry] | Iterable[TaskState],
    fields: tuple[str, ...],
    as_csv: bool,
    out: Output,
    columns: list[str],
    row: Callable[[Any], tuple[object, ...]],
) -> None:
    if as_csv and out.as_json:
        raise click.UsageError("give either --csv or --json")
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(fields)
        writer.writerows([_plain(getattr(each, name)) for name in fields] for each in found)
        return
    rows = list(found)
    facts = {title: [{name: getattr(each, name) for name in fields} for each in rows]}
    out.result(facts, table(title.capitalize(), columns, [row(each) for each in rows]))


def _plain(value: object) -> object:
    """Make ids hex and times ISO 8601; a text that a spreadsheet would take for a formula is marked as text."""
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
