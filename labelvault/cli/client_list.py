"""`labelvault client ls` and `grants`: what there is, who may open it, and how much of that was used."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from labelvault.cli.client_access import contractor_facts, grant_facts
from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import BATCHES, CONTRACTORS, PROJECTS
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table, moment, size, span, table
from labelvault.cli.values import MOMENT, ago
from labelvault.client import ContractorRecord, GrantRecord, ItemFilter, ItemPage, ItemRecord, ProjectRecord

_KINDS: Final = ("guideline", "rubric", "gold", "task", "attachment")
_PAGE: Final = 200


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(ls)
    group.add_command(grants)


@click.command(
    epilog=examples(
        "labelvault client ls",
        "labelvault client ls eval --kind task --batch week-14 --name 'fa-10*'",
        "labelvault client ls eval --changed-since 2d --limit 50",
        "labelvault client ls eval --versions rubrics/score.md",
    )
)
@click.argument("name", metavar="[PROJECT]", required=False, shell_complete=PROJECTS)
@click.option("--kind", type=click.Choice(_KINDS), help="Only items of this kind (with PROJECT).")
@click.option("--batch", metavar="NAME", shell_complete=BATCHES, help="Only items of this batch (with PROJECT).")
@click.option("--name", "named", metavar="TEXT", help="Only names or paths with this part, or like this *pattern*.")
@click.option("--changed-since", type=MOMENT, help="Only what was sealed since: 2d ago, or a time with its zone.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=_PAGE, show_default=True, help="At most so many.")
@click.option("--after", metavar="ITEM", help="Begin behind this item, which ended the part before.")
@click.option(
    "--versions", "item", metavar="ITEM", help="All versions of one item, by id, path or name (with PROJECT)."
)
@client_options
def ls(
    name: str | None,
    kind: str | None,
    batch: str | None,
    named: str | None,
    changed_since: timedelta | datetime | None,
    limit: int,
    after: str | None,
    item: str | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """List projects, contractors and grants; with PROJECT, its items, a part at a time."""
    filters = [kind, batch, named, changed_since, after]
    if name is None and any(each is not None for each in (*filters, item)):
        raise click.UsageError("filters and --versions need a PROJECT")
    if item is not None and any(each is not None for each in filters):
        raise click.UsageError("--versions goes without filters")
    if name is None:
        _everything(home, passphrase, out)
    elif item is not None:
        _list_versions(name, item, home, passphrase, out)
    else:
        wanted = ItemFilter(kind, batch, named, ago(changed_since) if changed_since is not None else None)
        _items_of(name, wanted, after, limit, home, passphrase, out)


def _everything(home: Path, passphrase: Passphrase, out: Output) -> None:
    with opened(home, passphrase) as client:
        projects, contractors, made = client.project_records(), client.contractors(), client.grants()
        facts: dict[str, Any] = {
            "client": client.client_id,
            "fingerprint": client.fingerprint,
            "vault": client.vault,
            "projects": [_project_facts(each) for each in projects],
            "contractors": [contractor_facts(each) for each in contractors],
            "grants": [grant_facts(each) for each in made],
        }
    out.result(
        facts,
        facts_table([("fingerprint", facts["fingerprint"]), ("vault", facts["vault"])]),
        _projects(projects),
        _contractors(contractors),
        _grants(made),
    )


def _items_of(
    name: str, wanted: ItemFilter, after: str | None, limit: int, home: Path, passphrase: Passphrase, out: Output
) -> None:
    with opened(home, passphrase) as client:
        project = client.project(name)
        page = project.page(wanted, project.find(after) if after is not None else None, limit)
        made = client.grants(name)
    facts = {
        "project": name,
        "items": [_item_facts(each) for each in page.items],
        "total": page.total,
        "next": page.next,
        "grants": [grant_facts(each) for each in made],
    }
    out.result(facts, _items(page), _summary(page))


def _summary(page: ItemPage) -> str:
    text = f"{len(page.items)} items." if page.total is None else f"{len(page.items)} of {page.total} items."
    return text if page.next is None else f"{text} Go on with --after {page.next.hex()}"


def _list_versions(name: str, item: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    with opened(home, passphrase) as client:
        project = client.project(name)
        found = project.find(item)
        versions = project.versions(found)
    facts = [
        {
            "version": each.version,
            "size": each.size,
            "payload_bytes": each.payload_bytes,
            "sealed_at": each.sealed_at,
            "current": each.current,
        }
        for each in versions
    ]
    rows = [
        (each.version, size(each.size), size(each.payload_bytes), moment(each.sealed_at), "yes" if each.current else "")
        for each in versions
    ]
    out.result(
        {"project": name, "item": found, "versions": facts},
        table(f"Versions of {found.hex()}", ["version#", "size#", "sealed size#", "sealed at", "current"], rows),
    )


def _project_facts(project: ProjectRecord) -> dict[str, object]:
    return {
        "name": project.name,
        "project_id": project.project_id,
        "frozen": project.frozen,
        "shredded": project.shredded,
        "items": project.items,
        "batches": project.batches,
        "payload_bytes": project.payload_bytes,
        "grants": project.grants,
    }


def _project_state(project: ProjectRecord) -> Text:
    if project.shredded:
        return cell("shredded", "bold red")
    return cell("frozen", "bold red") if project.frozen else cell("open", "green")


def _projects(projects: list[ProjectRecord]) -> Listing:
    return table(
        "Projects",
        ["name", "state", "items#", "batches#", "at the vault#", "grants#", "id"],
        [
            (
                each.name,
                _project_state(each),
                each.items,
                each.batches,
                size(each.payload_bytes),
                each.grants,
                each.project_id,
            )
            for each in projects
        ],
    )


def _contractors(contractors: list[ContractorRecord]) -> Listing:
    return table(
        "Contractors",
        ["name", "tier", "host", "state", "key"],
        [(each.name, each.tier, each.host_label, _state(each.revoked), each.key) for each in contractors],
    )


def _item_facts(item: ItemRecord) -> dict[str, object]:
    return {
        "item": item.item,
        "name": item.name,
        "kind": item.kind,
        "batch": item.batch,
        "version": item.version,
        "size": item.size,
        "payload_bytes": item.payload_bytes,
        "sealed_at": item.sealed_at,
        "requires": [each.hex() for each in item.requires],
    }


def _items(page: ItemPage) -> Listing:
    return table(
        "Items",
        ["kind", "batch", "name", "ver#", "size#", "sealed#", "id"],
        [
            (
                each.kind,
                each.batch or "",
                each.name,
                each.version,
                size(each.size),
                size(each.payload_bytes),
                each.item,
            )
            for each in page.items
        ],
    )


@click.command(epilog=examples("labelvault client grants", "labelvault client grants eval --contractor ada --json"))
@click.argument("name", metavar="[PROJECT]", required=False, shell_complete=PROJECTS)
@click.option("--contractor", metavar="NAME", shell_complete=CONTRACTORS, help="Only what this contractor was granted.")
@client_options
def grants(name: str | None, contractor: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """List grants, newest last: what they cover, how much was used, until when."""
    with opened(home, passphrase) as client:
        if name is not None:
            client.project(name)
        if contractor is not None:
            client.contractor(contractor)
        found = [each for each in client.grants(name) if contractor in (None, each.contractor)]
    out.result({"grants": [grant_facts(each) for each in found]}, _grants(found), *_terms(found))


def _terms(found: list[GrantRecord]) -> list[Listing]:
    if not found:
        return []
    return [
        table(
            "Scope and limits",
            ["grant", "batches", "tasks", "in all#", "last hour#", "each", "until"],
            [
                (
                    each.grant_id,
                    ", ".join(each.batches),
                    ", ".join(each.tasks),
                    f"{each.total}/{each.limits.max_total}",
                    f"{each.last_hour}/{each.limits.per_hour}",
                    span(timedelta(seconds=each.limits.lease_ttl_s)),
                    moment(each.expires_at),
                )
                for each in found
            ],
        )
    ]


def _grants(found: list[GrantRecord]) -> Listing:
    now = datetime.now(UTC)
    return table(
        "Grants",
        ["contractor", "project", "tier", "open#", "used#", "left", "state", "grant"],
        [
            (
                each.contractor,
                each.project,
                each.tier if each.presence != "waived" else "desk, presence waived",
                f"{each.open}/{each.limits.max_open}",
                f"{each.total}/{each.limits.max_total}",
                span(each.expires_at - now),
                _state(each.revoked, each.not_before > now, each.expires_at <= now),
                each.grant_id,
            )
            for each in found
        ],
    )


def _state(revoked: bool, ahead: bool = False, over: bool = False) -> object:
    if revoked:
        return cell("revoked", "red")
    if ahead:
        return cell("not begun", "magenta")
    return cell("expired", "red") if over else cell("active", "green")
