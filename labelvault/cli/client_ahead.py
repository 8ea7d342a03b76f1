"""`labelvault client issue|status`: leases ahead of time, and the news of what is revoked."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import CONTRACTORS, GRANTS
from labelvault.cli.files import read_input, write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, table
from labelvault.cli.progress import View, counted, progress_options
from labelvault.cli.values import DURATION, ID_START
from labelvault.client import Client, IssueReport, Scope
from labelvault.client.ahead import issue as issue_ahead
from labelvault.wire.framefile import pack_frames


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(issue)
    group.add_command(status)


@click.command(
    epilog=examples(
        "labelvault client issue --contractor ada --batch w14 --prekeys IN --to OUT",
        "labelvault client issue --contractor ada --item q-17 --post",
    )
)
@click.option("--contractor", required=True, shell_complete=CONTRACTORS, help="For whom, by name.")
@click.option("--batch", "batches", multiple=True, help="All tasks of this batch. Repeatable.")
@click.option("--item", "items", multiple=True, help="A task, by name or id. Repeatable.")
@click.option(
    "--prekeys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What the contractor made. [default: what came through the vault]",
)
@click.option(
    "--grant", "start", type=ID_START, shell_complete=GRANTS, help="Under this grant; needed if there are several."
)
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Write leases and a status there.")
@click.option("--post", is_flag=True, help="Leave them at the vault, which hands each out while its task is claimed.")
@click.option(
    "--status-max-age",
    type=DURATION,
    default="24h",
    show_default=True,
    help="How old the newest status may be when one of them is opened: 60s to 7d.",
)
@progress_options
@client_options
def issue(
    contractor: str,
    batches: tuple[str, ...],
    items: tuple[str, ...],
    prekeys: Path | None,
    start: str | None,
    to: Path | None,
    post: bool,
    status_max_age: timedelta,
    home: Path,
    passphrase: Passphrase,
    out: Output,
    view: View,
) -> None:
    """Issue leases ahead of time: one for each task, sealed to a prekey. With --prekeys and --to it needs no network.

    All or none; each counts in the grant's limits from now on. With the same prekeys again, it gives the same leases.
    """
    if not batches and not items:
        raise click.UsageError("name at least one --batch or --item")
    if to is None and not post:
        raise click.UsageError("say where the leases go: --to FILE, --post, or both")
    with opened(home, passphrase) as client, view.showing("Issuing") as told:
        report = issue_ahead(
            client,
            contractor,
            Scope(batches=list(batches), items=list(items)),
            prekeys=None if prekeys is None else read_input(prekeys),
            grant_id=None if start is None else client.find_grant(start),
            status_max_age_s=int(status_max_age.total_seconds()),
            post=post,
            progress=counted(told),
        )
        names = _names(client)
    if to is not None:
        write_output(to, pack_frames(report.frames))
    out.result(_facts(report, to, post), _table(report, names), _summary(report, to, post))


def _names(client: Client) -> dict[bytes, str]:
    return {item.item: item.name for project in client.projects() for item in project.items("task")}


def _facts(report: IssueReport, to: Path | None, post: bool) -> dict[str, Any]:
    return {
        "leases": [
            {"item": each.item, "lease": each.lease_id, "expires_at": each.expires_at, "again": each.again}
            for each in report.leases
        ],
        "closed": list(report.closed),
        "prekeys_left": report.unused,
        "status_at": report.status.message.at,
        "file": to,
        "posted": post,
    }


def _table(report: IssueReport, names: dict[bytes, str]) -> Any:
    rows = [
        (names.get(each.item, ""), each.item.hex(), moment(each.expires_at), "as before" if each.again else "new")
        for each in report.leases
    ]
    rows += [(names.get(item, ""), item.hex(), "", "closed already") for item in report.closed]
    return table("Leases", ["task", "item", "until", "lease"], rows)


def _summary(report: IssueReport, to: Path | None, post: bool) -> str:
    where = [f"wrote {to}"] if to is not None else []
    where += ["left at the vault"] if post else []
    new = sum(not each.again for each in report.leases)
    return f"{new} new, {len(report.leases) - new} as before, {report.unused} prekeys left; {' and '.join(where)}."


@click.command(epilog=examples("labelvault client status --post", "labelvault client status --to today.status"))
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, to be carried by hand.")
@click.option("--post", is_flag=True, help="Leave it at the vault. A running issuer does so every hour.")
@client_options
def status(to: Path | None, post: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Say what is revoked and frozen now, signed: without a fresh one, leases that were issued ahead do not open."""
    if to is None and not post:
        raise click.UsageError("say where it goes: --to FILE, --post, or both")
    with opened(home, passphrase) as client, client.issuer() as issuer:
        made = issuer.ahead.post_status() if post else issuer.ahead.status()
    if to is not None:
        write_output(to, pack_frames([made.data]))
    at, revoked, frozen = made.message.at, made.message.revocations, made.message.frozen
    out.result(
        {"at": at, "revoked": revoked, "frozen": list(frozen), "file": to, "posted": post},
        f"Status of {moment(at)}: {revoked} grants and leases revoked, {len(frozen)} projects frozen.",
    )
