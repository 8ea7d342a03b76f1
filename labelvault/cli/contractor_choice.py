"""`labelvault contractor open` without a task: what is at hand, to choose from."""

import sys
from typing import Final

import click

from labelvault.cli.output import Output, moment, table
from labelvault.cli.values import WrongUsage
from labelvault.contractor import Contractor
from labelvault.contractor.choices import Choice, choices

_WHY: Final = {"lease": "a lease is at hand until", "open": "open here until", "opened": "last opened"}


def choose(me: Contractor, out: Output) -> bytes:
    """Return the task that somebody at the terminal chooses.

    Raises:
        WrongUsage: there is nothing to choose from, or nobody to ask; then the error lists what there is.
    """
    found = choices(me)
    if not found:
        raise WrongUsage(
            "there is nothing at hand to choose from",
            "Give the task's id, as the platform shows it: labelvault contractor open ITEM.",
        )
    if out.as_json or not sys.stdin.isatty():
        ids = ", ".join(each.item.hex() for each in found)
        raise WrongUsage(f"which task? At hand: {ids}", "Give one of these ids: labelvault contractor open ITEM.")
    rows = [(number, each.item, _said(each)) for number, each in enumerate(found, 1)]
    out.progress_console.print(table("At hand", ["no.#", "task", "why"], rows))
    number: int = click.prompt("Open which", type=click.IntRange(1, len(found)), default=1, err=True)
    return found[number - 1].item


def _said(choice: Choice) -> str:
    return f"{_WHY[choice.why]} {moment(choice.until)}"
