"""`labelvault contractor submit` and `sync`: answers to the client, and what it says of them."""

import sys
from pathlib import Path
from typing import Any

import click

from labelvault.cli.completion import LEASES
from labelvault.cli.contractor_home import contractor_options, opened
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, moment, table
from labelvault.cli.values import ID_START, the_one
from labelvault.contractor import Approving, SubmissionRecord
from labelvault.envelope.answer import MAX_ANSWER_BYTES

_STYLES = {"queued": "bold magenta", "sent": "cyan", "accepted": "green"}


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    group.add_command(submit)
    group.add_command(sync)


@click.command(
    epilog=examples(
        "labelvault contractor submit 5b9df688 answer.json",
        "labelvault contractor submit 5b9df688 - --media-type application/json",
    )
)
@click.argument("lease", metavar="LEASE", type=ID_START, shell_complete=LEASES)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--name", metavar="NAME", help="What to call the answer. [default: the file's name]")
@click.option("--media-type", metavar="TYPE", help="What it is. [default: what the name says; plain text for -]")
@click.option("--unapproved", is_flag=True, help="At a desk: don't ask the presence device; the answer says so.")
@contractor_options
def submit(
    lease: str,
    file: Path,
    name: str | None,
    media_type: str | None,
    unapproved: bool,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Submit FILE (or - for stdin) as the answer to the task of LEASE, sealed to the client.

    It works until an hour after the lease's end, also after the task was closed and while the vault is away: then the
    sealed answer waits here for the next command. The id may be shortened. A second answer revises the first.
    """
    answer: Path | bytes = file
    if str(file) == "-":
        answer, media_type = sys.stdin.buffer.read(MAX_ANSWER_BYTES + 1), media_type or "text/plain"
    with opened(home, passphrase) as me:
        found = the_one(lease, (each.lease_id for each in me.openings()))
        approving = None if unapproved else Approving(on_wait=lambda _: out.note("Approve it on the presence device."))
        record = me.submit(found, answer, name=name, media_type=media_type, approving=approving)
    said = "Submitted" if record.state != "queued" else "Sealed; the vault is away, and the next command posts it"
    out.result(submission_facts(record), f"{said}: answer {record.sequence} of {found.hex()[:16]}.")


@click.command(epilog=examples("labelvault contractor sync"))
@contractor_options
def sync(home: Path, passphrase: Passphrase, out: Output) -> None:
    """Post what is due, and take what the client's issuer says of the answers."""
    with opened(home, passphrase) as me:
        due = me.sync()
        found = me.submissions()
    facts = {"due": due, "submissions": [submission_facts(each) for each in found]}
    out.result(facts, submissions_table(found), f"{due} messages are still due." if due else "Nothing is due.")


def submission_facts(record: SubmissionRecord) -> dict[str, Any]:
    """Return a submission for JSON: ids, times and verdict only."""
    return {
        "lease": record.lease_id,
        "item": record.item,
        "sequence": record.sequence,
        "presence": record.presence,
        "at": record.at,
        "state": record.state,
        "acked_at": record.acked_at,
    }


def submissions_table(found: list[SubmissionRecord]) -> Any:
    """Return what people read of submissions."""
    return table(
        "Answers",
        ["state", "item", "lease", "answer#", "submitted", "presence"],
        [
            (
                cell(each.state, _STYLES.get(each.state, "red")),
                each.item,
                each.lease_id,
                each.sequence,
                moment(each.at),
                each.presence,
            )
            for each in found
        ],
    )
