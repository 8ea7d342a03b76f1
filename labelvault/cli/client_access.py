"""`labelvault client enroll|grant|invite|revoke|freeze|unfreeze`: who may open what, until when."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import BATCHES, CONTRACTORS, GRANTS, PROJECTS
from labelvault.cli.files import read_input, write_output
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table, moment
from labelvault.cli.prompts import ask_fingerprint
from labelvault.cli.values import DURATION, ID_START, MOMENT, from_now
from labelvault.client import ContractorRecord, GrantRecord, Limits, Scope
from labelvault.wire.tiers import STATEMENTS

_LONGEST_LEASE: Final = timedelta(days=7)
_CANT_UNDO: Final = (
    "Nothing new will be released. It can't undo what was seen or copied while a task was open, and a lease "
    "that is open now stays readable on its device until it is closed or expires."
)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    for each in (enroll, grant, invite, revoke, freeze, unfreeze):
        group.add_command(each)


def contractor_facts(record: ContractorRecord) -> dict[str, object]:
    """Return a contractor for JSON."""
    return {
        "name": record.name,
        "key": record.key,
        "tier": record.tier,
        "host_label": record.host_label,
        "has_presence": record.has_presence,
        "revoked": record.revoked,
    }


def grant_facts(record: GrantRecord) -> dict[str, object]:
    """Return a grant for JSON."""
    limits = record.limits
    return {
        "grant": record.grant_id,
        "contractor": record.contractor,
        "project": record.project,
        "tier": record.tier,
        "presence": record.presence,
        "not_before": record.not_before,
        "expires_at": record.expires_at,
        "max_open": limits.max_open,
        "max_total": limits.max_total,
        "per_hour": limits.per_hour,
        "lease_ttl_s": limits.lease_ttl_s,
        "open": record.open,
        "total": record.total,
        "last_hour": record.last_hour,
        "batches": list(record.batches),
        "tasks": list(record.tasks),
        "revoked": record.revoked,
    }


@click.command(epilog=examples("labelvault client enroll ada.card --name ada"))
@click.argument("card", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="What you call this contractor; nobody else sees it.")
@click.option("--fingerprint", metavar="WORDS", help="Its fingerprint, as the contractor reads it out.")
@client_options
def enroll(card: Path, name: str, fingerprint: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Take in a contractor's CARD, checked against the fingerprint that the contractor reads out."""
    with opened(home, passphrase) as client:
        record = client.enroll(read_input(card), fingerprint=ask_fingerprint(fingerprint, "the contractor"), name=name)
    out.result(
        contractor_facts(record),
        facts_table([("name", record.name), ("tier", record.tier), ("host", record.host_label)]),
    )


@click.command(
    epilog=examples(
        "labelvault client grant eval ada --batch week-14 --expires 7d --max-open 1 \\\n"
        "    --max-total 200 --per-hour 30 --lease-ttl 1h --invite ada.invite"
    )
)
@click.argument("project", shell_complete=PROJECTS)
@click.argument("contractor", shell_complete=CONTRACTORS)
@click.option(
    "--batch", "batches", multiple=True, shell_complete=BATCHES, help="A batch whose tasks may be opened. Repeatable."
)
@click.option("--item", "items", multiple=True, help="A task, by name or id. Repeatable.")
@click.option("--expires", type=MOMENT, required=True, help="7d, 12h, or a time with its zone.")
@click.option("--not-before", type=MOMENT, help="When it begins. [default: now]")
@click.option("--max-open", type=click.IntRange(1, 1000), required=True, help="Tasks open at one time.")
@click.option(
    "--max-total", type=click.IntRange(1, 1_000_000), required=True, help="Openings in the grant's whole life."
)
@click.option("--per-hour", type=click.IntRange(1, 100_000), required=True, help="Openings in any hour.")
@click.option("--lease-ttl", type=DURATION, required=True, help="How long one opening lives: 30m, 1h.")
@click.option("--waive-presence", is_flag=True, help="Desks only: accept the weaker statement.")
@click.option("--invite", "invite_file", type=click.Path(path_type=Path), help="Write the invite there too.")
@client_options
def grant(
    project: str,
    contractor: str,
    batches: tuple[str, ...],
    items: tuple[str, ...],
    expires: timedelta | datetime,
    not_before: timedelta | datetime | None,
    max_open: int,
    max_total: int,
    per_hour: int,
    lease_ttl: timedelta,
    waive_presence: bool,
    invite_file: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Let CONTRACTOR open tasks of PROJECT, within batches or items, limits and a time: all are needed."""
    if not batches and not items:
        raise click.UsageError("name at least one --batch or --item: nothing named is nothing allowed")
    if lease_ttl > _LONGEST_LEASE:
        raise click.UsageError("a lease lives at most 7d: give a shorter --lease-ttl")
    limits = Limits(
        max_open=max_open,
        max_total=max_total,
        per_hour=per_hour,
        lease_ttl_s=int(lease_ttl.total_seconds()),
    )
    with opened(home, passphrase) as client:
        record = client.project(project).grant(
            client.contractor(contractor),
            Scope(batches=list(batches), items=list(items)),
            expires_at=from_now(expires),
            limits=limits,
            not_before=from_now(not_before) if not_before is not None else None,
            waive_presence=waive_presence,
        )
        if invite_file is not None:
            write_output(invite_file, client.invite(record.grant_id))
    facts = grant_facts(record)
    if invite_file is not None:
        facts["invite"] = invite_file
    statement = STATEMENTS[record.presence]
    facts["statement"] = statement
    rows = [
        ("grant", record.grant_id.hex()),
        ("contractor", record.contractor),
        ("tier", record.tier),
        ("expires", moment(record.expires_at)),
        ("limits", f"{max_open} open, {max_total} in all, {per_hour} an hour, {limits.lease_ttl_s} s each"),
    ]
    if invite_file is not None:
        rows.append(("invite", str(invite_file)))
    out.result(facts, facts_table(rows), cell(statement, "magenta" if record.presence == "waived" else ""))


@click.command(epilog=examples("labelvault client invite 5b9df688ac01 -o ada.invite"))
@click.argument("start", metavar="GRANT", type=ID_START, shell_complete=GRANTS)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write it.")
@client_options
def invite(start: str, output: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Write the one file that a contractor joins with; it holds no secret. The id may be shortened."""
    with opened(home, passphrase) as client:
        grant_id = client.find_grant(start)
        write_output(output, client.invite(grant_id))
        fingerprint = client.fingerprint
    out.result(
        {"grant": grant_id, "invite": output, "fingerprint": fingerprint},
        f"Wrote {output}. The contractor checks it against your fingerprint:",
        fingerprint,
    )


def _warn_unless(out: Output, posted: bool) -> None:
    if not posted:
        out.warn(
            "the vault did not take the news. It stands all the same: nothing is released. Who holds leases that were"
            " issued ahead hears of it with the next status: labelvault client status --post"
        )


def _say_revoked(out: Output, posted: bool, what: dict[str, object]) -> None:
    _warn_unless(out, posted)
    out.result({"revoked": what, "not_undone": _CANT_UNDO}, "Revoked.", _CANT_UNDO)


@click.group(cls=Group)
def revoke() -> None:
    """Take access away, from now on."""


@revoke.command("grant", epilog=examples("labelvault client revoke grant 5b9df688ac01"))
@click.argument("start", metavar="GRANT", type=ID_START, shell_complete=GRANTS)
@client_options
def revoke_grant(start: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Revoke one grant. The id may be shortened."""
    with opened(home, passphrase) as client:
        grant_id = client.find_grant(start)
        posted = client.revoke_grant(grant_id)
    _say_revoked(out, posted, {"grant": grant_id})


@revoke.command("contractor", epilog=examples("labelvault client revoke contractor ada"))
@click.argument("name", shell_complete=CONTRACTORS)
@client_options
def revoke_contractor(name: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Revoke a contractor's key and with it every grant."""
    with opened(home, passphrase) as client:
        posted = client.revoke_contractor(name)
    _say_revoked(out, posted, {"contractor": name})


@revoke.command("desk", epilog=examples("labelvault client revoke desk 'desk 7'"))
@click.argument("name", shell_complete=CONTRACTORS)
@client_options
def revoke_desk(name: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Revoke a desk's key and with it every grant; refuse a name that is a person's."""
    with opened(home, passphrase) as client:
        posted = client.revoke_desk(name)
    _say_revoked(out, posted, {"desk": name})


@revoke.command("batch", epilog=examples("labelvault client revoke batch eval week-14"))
@click.argument("project", shell_complete=PROJECTS)
@click.argument("batch")
@client_options
def revoke_batch(project: str, batch: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Revoke a batch of tasks for everybody, with what is sealed into it later."""
    with opened(home, passphrase) as client:
        posted = client.revoke_batch(project, batch)
    _say_revoked(out, posted, {"project": project, "batch": batch})


@revoke.command("project", epilog=examples("labelvault client revoke project eval"))
@click.argument("project", shell_complete=PROJECTS)
@client_options
def revoke_project(project: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Revoke a whole project for everybody, for good. `client freeze` is what can be undone."""
    with opened(home, passphrase) as client:
        posted = client.revoke_project(project)
    _say_revoked(out, posted, {"project": project})


@click.command(epilog=examples("labelvault client freeze eval"))
@click.argument("project", shell_complete=PROJECTS)
@client_options
def freeze(project: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Release nothing more of PROJECT until it is unfrozen."""
    with opened(home, passphrase) as client:
        _warn_unless(out, client.freeze(project))
    out.result({"project": project, "frozen": True}, f"{project} is frozen; what is open stays so until it expires.")


@click.command(epilog=examples("labelvault client unfreeze eval"))
@click.argument("project", shell_complete=PROJECTS)
@client_options
def unfreeze(project: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Let a frozen PROJECT be opened again."""
    with opened(home, passphrase) as client:
        _warn_unless(out, client.unfreeze(project))
    out.result({"project": project, "frozen": False}, f"{project} can be opened again.")
