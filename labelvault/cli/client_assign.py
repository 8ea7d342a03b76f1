"""`labelvault client assign`: tell a desk's presence device which tasks the desk is meant to open."""

from datetime import datetime, timedelta
from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.files import write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, table
from labelvault.cli.values import MOMENT, from_now
from labelvault.wire.framefile import pack_frames


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault client`."""
    group.add_command(assign)


@click.command(
    epilog=examples(
        "labelvault client assign eval --desk desk-7 576429f50825042cda7fff69d5eae683",
        'labelvault client assign eval --desk desk-7 fa-1041 --label "no. 17"',
        "labelvault client assign eval --desk desk-7 fa-1041 -o today.assignments",
    )
)
@click.argument("project")
@click.argument("items", metavar="ITEM...", nargs=-1, required=True)
@click.option("--desk", required=True, metavar="NAME", help="The desk, by what you call it.")
@click.option(
    "--label",
    metavar="TEXT",
    help="What the device shows. The vendor reads it, so let it say nothing. [default: the first digits of the id]",
)
@click.option("--expires", type=MOMENT, default="8h", show_default=True, help="12h, 7d, or a time with its zone.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write a file instead of leaving it at the vault."
)
@client_options
def assign(
    project: str,
    items: tuple[str, ...],
    desk: str,
    label: str | None,
    expires: timedelta | datetime,
    output: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Assign tasks of PROJECT to a desk: ITEM is an id or a name. It lets nobody open anything.

    The desk's presence device shows the assignment when it is asked to approve that task; one that demands
    assignments approves nothing else.
    """
    with opened(home, passphrase) as client:
        made = client.project(project).assign(
            desk, list(items), label=label, expires_at=from_now(expires), post=output is None
        )
        if output is not None:
            write_output(output, pack_frames(each.frame for each in made))
    facts = {
        "desk": desk,
        "assigned": [{"item": each.item, "label": each.label, "expires_at": each.expires_at} for each in made],
        "file": output,
    }
    rows = [(each.item, each.label, moment(each.expires_at)) for each in made]
    if output is None:
        shown = "The device finds it at the vault, with labelvault contractor approve."
    else:
        shown = f"Wrote {output}. On the device: labelvault contractor device assignments {output.name}"
    out.result(facts, table("Assigned", ["task", "label", "until"], rows), shown)
