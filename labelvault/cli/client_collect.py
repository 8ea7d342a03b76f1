"""`labelvault client collect`: answers that contractors submitted, into files."""

from pathlib import Path
from typing import Any

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, table
from labelvault.client import AsideRecord, CollectReport
from labelvault.client.collecting import FORMATS


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault client`."""
    group.add_command(collect)


@click.command(
    epilog=examples(
        "labelvault client collect eval --to ./answers",
        "labelvault client collect eval --to ./answers --format label-studio",
        "labelvault client collect eval --aside",
    )
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write the files here.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="One line of JSON for each answer, or tasks with annotations that Label Studio imports.",
)
@click.option("--again", type=click.IntRange(min=1), metavar="N", help="Write collection N once more, into DIR.")
@click.option("--aside", is_flag=True, help="List what was not accepted or did not open, and collect nothing.")
@client_options
def collect(
    name: str,
    folder: Path | None,
    format_name: str,
    again: int | None,
    aside: bool,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Take and open the answers of PROJECT that came, and write each into one new file of DIR, once.

    It takes what waits in the mailbox by itself, so no issuer has to run. What an interrupted run began is finished
    first. Answers that are large, or neither JSON nor text, become files of their own.
    """
    if (folder is None) != aside or (aside and again is not None):
        raise click.UsageError("give either --to DIR or --aside")
    with opened(home, passphrase) as client:
        project = client.project(name)
        if folder is None:
            found = project.aside()
            out.result({"project": name, "aside": [_aside_facts(each) for each in found]}, _aside_table(found))
            return
        if again is not None:
            report = project.collect_again(again, folder, format=format_name)
        else:
            report = project.collect(folder, format=format_name)
    out.result(
        {
            "project": name,
            "files": list(report.files),
            "answers": report.answers,
            "attachments": report.attachments,
            "aside": report.aside,
        },
        *_lines(report),
    )
    if report.aside:
        out.warn(f"{report.aside} answers did not open; see them: labelvault client collect {name} --aside")


def _lines(report: CollectReport) -> list[str]:
    if not report.files:
        return ["Nothing new."]
    return [
        f"Answers: {report.answers}; in files of their own: {report.attachments}.",
        *map(str, report.files),
    ]


def _aside_facts(record: AsideRecord) -> dict[str, Any]:
    return {
        "hash": record.hash,
        "contractor": record.contractor,
        "lease": record.lease_id,
        "item": record.item,
        "sequence": record.sequence,
        "reason": record.reason,
        "received_at": record.received_at,
    }


def _aside_table(found: list[AsideRecord]) -> Any:
    return table(
        "Kept aside",
        ["reason", "contractor", "item", "lease", "answer#", "received"],
        [
            (
                each.reason,
                each.contractor,
                each.item if each.item is not None else "unknown lease",
                each.lease_id,
                each.sequence,
                moment(each.received_at),
            )
            for each in found
        ],
    )
