"""`labelvault client export`: what was sealed, given back."""

from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.exits import AUTHENTICITY, OK, outcome_of
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output
from labelvault.cli.progress import View, progress_options
from labelvault.client import ExportReport


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(export)


@click.command(
    epilog=examples(
        "labelvault client export eval ./given-back",
        "labelvault client export eval ./old --version-of rubrics/score.md:1",
    )
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--version-of",
    "versions",
    multiple=True,
    metavar="ITEM:N",
    help="Only this version of this item, by id, path or name. Repeatable.",
)
@progress_options
@client_options
def export(
    name: str,
    folder: Path,
    versions: tuple[str, ...],
    home: Path,
    passphrase: Passphrase,
    out: Output,
    view: View,
) -> int:
    """Write what was sealed into a new directory DIR, as it was.

    Rows go into one .jsonl for each file that they came from. What the vault has lost or altered is named, and
    everything else is written all the same.
    """
    wanted = [_item_version(each) for each in versions]
    with opened(home, passphrase) as client:
        project = client.project(name)
        found = [(project.find(item), number) for item, number in wanted] or None
        with view.showing("Exporting") as progress:
            report = project.export(folder, found, progress)
    faults = [
        {
            "source": each.source,
            "item": each.item,
            "version": each.version,
            "kind": type(each.error).__name__,
            "message": str(each.error),
        }
        for each in report.faults
    ]
    facts = {"project": name, "folder": folder, "items": report.items, "files": report.files, "faults": faults}
    out.result(facts, f"{report.items} items in {report.files} files under {folder}; {len(faults)} not given back")
    for each in report.faults if not out.as_json else ():
        out.warn(f"{each.source}, version {each.version}: {each.error}")
    return _code(report)


def _item_version(text: str) -> tuple[str, int]:
    item, _, number = text.rpartition(":")
    if not item or not (number.isascii() and number.isdecimal()) or not 1 <= len(number) <= 9:
        raise click.UsageError(f"--version-of takes ITEM:N, not {text!r}")
    return item, int(number)


def _code(report: ExportReport) -> int:
    """Return the exit code: that of altered bytes if there are any, else of the first fault."""
    codes = [outcome_of(each.error).code for each in report.faults]
    return AUTHENTICITY if AUTHENTICITY in codes else next(iter(codes), OK)
