"""`labelvault client seal`: what is new or changed goes to the vault, or is only told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, size, table
from labelvault.cli.progress import View, progress_options
from labelvault.client import SealPlan, SealReport

_BAR_MARKS: Final = 40


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(seal)


@click.command(
    epilog=examples(
        "labelvault client seal eval ./project --dry-run", "labelvault client seal eval ./project --json --events"
    )
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be sealed and what the vendor would see; seal nothing.")
@progress_options
@client_options
def seal(name: str, folder: Path, dry_run: bool, home: Path, passphrase: Passphrase, out: Output, view: View) -> int:
    """Seal what is new or changed in FOLDER.

    It has guidelines/ rubrics/ gold/ tasks/ attachments/, and perhaps a labelvault.toml.

    A row that can't be read is reported with its file and line; everything else is sealed all the same, and
    the command exits with 7.
    """
    if dry_run:
        with opened(home, passphrase) as client:
            return _dry_run(client.project(name).plan(folder), name, out)
    with opened(home, passphrase) as client, view.showing("Sealing") as progress:
        report = client.project(name).seal(folder, progress=progress)
    facts = {
        "project": name,
        "new": report.new,
        "changed": report.changed,
        "same": report.same,
        "gone": report.gone,
        **_common(report),
    }
    out.result(facts, *_sealed(report))
    for error in report.errors if not out.as_json else ():
        out.warn(str(error))
    return 7 if report.errors else 0


def _sealed(report: SealReport) -> Iterator[Listing | str]:
    yield f"{report.new} new, {report.changed} changed, {report.same} same, {report.gone} gone"
    if report.honey or report.honey_pending:
        yield f"Decoys: {report.honey} went along, {report.honey_pending} wait for new items that are no tasks"
    yield _openings(report)


def _dry_run(plan: SealPlan, name: str, out: Output) -> int:
    facts = {
        "project": name,
        "dry_run": True,
        "new": list(plan.new),
        "changed": list(plan.changed),
        "same": plan.same,
        "gone": plan.gone,
        **_common(plan),
        "vendor_sees": {
            "sizes": [{"payload_bytes": payload_bytes, "items": items} for payload_bytes, items in plan.sizes],
            "queues": [{"batch": each.batch, "tasks": each.tasks, "sealed": each.sealed} for each in plan.queues],
        },
    }
    out.result(facts, *_planned(plan))
    for error in plan.errors if not out.as_json else ():
        out.warn(str(error))
    return 7 if plan.errors else 0


def _planned(plan: SealPlan) -> Iterator[Listing | str]:
    rows = [*(("new", source) for source in plan.new), *(("changed", source) for source in plan.changed)]
    yield table("Would be sealed", ["", "item"], rows)
    yield _openings(plan)
    most = max((items for _, items in plan.sizes), default=1)
    yield table(
        "Sizes that the vendor would see",
        ["sealed size#", "items#", ""],
        [(size(payload), items, "#" * max(1, items * _BAR_MARKS // most)) for payload, items in plan.sizes],
    )
    yield table(
        "Queues that the vendor would see, under random ids",
        ["batch (hidden)", "tasks#", "sealed now#"],
        [(each.batch, each.tasks, each.sealed) for each in plan.queues],
    )
    if plan.honey or plan.honey_pending:
        yield f"Decoys: {plan.honey} more would go along, {plan.honey_pending} would wait"
    yield f"{len(plan.new)} new, {len(plan.changed)} changed, {plan.same} same, {plan.gone} gone; nothing was sealed"


def _common(report: SealReport | SealPlan) -> dict[str, object]:
    return {
        "honey": {"sealed": report.honey, "pending": report.honey_pending},
        "errors": [{"file": error.file, "line": error.line, "message": str(error)} for error in report.errors],
        "openings": [
            {"batch": each.batch, "tasks": each.tasks, "requires": list(each.requires)} for each in report.openings
        ],
    }


def _openings(report: SealReport | SealPlan) -> Listing:
    return table(
        "What one opening brings",
        ["batch", "tasks#", "with each task"],
        [(each.batch, each.tasks, ", ".join(each.requires) or "nothing else") for each in report.openings],
    )
