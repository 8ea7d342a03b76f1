"""`labelvault client seal-file`: one file of a project, from a file or a pipe."""

from pathlib import Path
from typing import BinaryIO

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, size


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(seal_file)


@click.command(
    "seal-file",
    epilog=examples(
        "labelvault client seal-file eval attachments/scan.pdf ./scan.pdf",
        "gunzip < scan.pdf.gz | labelvault client seal-file eval attachments/scan.pdf",
    ),
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("path", metavar="PATH")
@click.argument("stream", metavar="[FILE]", type=click.File("rb"), default="-")
@client_options
def seal_file(name: str, path: str, stream: BinaryIO, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Seal one file under PATH of a project, from FILE or, without it, from a pipe.

    PATH is what the project folder would have, such as attachments/scan.pdf. The content waits on the disk,
    encrypted, until its end is there; the pipe's end is believed, even if what wrote into it failed.
    """
    if stream.isatty():
        raise click.UsageError("give a FILE, or pipe the content in")
    with opened(home, passphrase) as client:
        done = client.project(name).seal_file(path, stream)
    facts = {
        "project": name,
        "path": path,
        "item": done.item,
        "outcome": done.outcome,
        "version": done.version,
        "size": done.size,
    }
    out.result(facts, f"{path}: {done.outcome}, version {done.version}, {size(done.size)}")
    if done.outcome != "same":
        out.note(
            f"A project folder is not touched: if one has other content under {path}, its next `client seal` seals that"
            " as changed."
        )
