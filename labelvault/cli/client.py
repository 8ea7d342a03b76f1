"""`labelvault client ...`: set up and look. Sealing, access, issuing and ledger are in the modules beside it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from labelvault.cli import (
    client_access,
    client_doctor,
    client_export,
    client_issuer,
    client_seal,
    client_seal_file,
    client_versions,
)
from labelvault.cli.client_home import client_options, opened
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table, moment, size, span, table
from labelvault.client import Client, GrantRecord, ItemRecord, PassphraseRoot

_KINDS: Final = ("guideline", "rubric", "gold", "task", "attachment")


@click.group()
def command() -> None:
    """The AI lab: seals projects, grants access, answers requests, keeps the ledger. Holds every key."""


@command.command(
    epilog=examples(
        "labelvault client init --vault sqlite:////srv/lv/vault.db",
        "labelvault client init --vault https://vault.example --home ./lab",
    )
)
@click.option("--vault", required=True, metavar="URL", help="The vendor's vault: sqlite:////srv/lv/vault.db")
@client_options
def init(vault: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Create the client's keys, catalog and ledger, and print the fingerprint that contractors check."""
    with Client.create(home, PassphraseRoot(passphrase.read(new=True)), vault) as client:
        facts = {
            "client": client.client_id,
            "fingerprint": client.fingerprint,
            "vault": client.vault,
            "home": home,
        }
    out.result(
        facts,
        facts_table([("client", client.client_id.hex()), ("vault", client.vault), ("home", home)]),
        f"Fingerprint: {client.fingerprint}",
        "Read it to each contractor by phone or in person, never through the vendor.",
    )


@command.group()
def project() -> None:
    """Projects: a folder of guidelines, rubrics, gold and tasks under one key."""


@project.command("create", epilog=examples("labelvault client project create eval"))
@click.argument("name")
@click.option(
    "--floor-bytes",
    type=click.IntRange(min=0),
    default=4096,
    show_default=True,
    help="The smallest size that the vault ever sees of an item.",
)
@client_options
def project_create(name: str, floor_bytes: int, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Create a project and its key."""
    with opened(home, passphrase) as client:
        made = client.create_project(name, floor_bytes=floor_bytes)
    out.result(
        {"project": made.name, "project_id": made.project_id},
        f"Project {made.name} is there; seal a folder: labelvault client seal {made.name} DIR",
    )


@command.command(epilog=examples("labelvault client ls", "labelvault client ls eval --kind task"))
@click.argument("name", metavar="[PROJECT]", required=False)
@click.option("--kind", type=click.Choice(_KINDS), help="Only items of this kind (with PROJECT).")
@click.option(
    "--versions", "item", metavar="ITEM", help="All versions of one item, by id, path or name (with PROJECT)."
)
@client_options
def ls(name: str | None, kind: str | None, item: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """List projects, contractors and grants; with PROJECT, its items too."""
    if kind is not None and name is None:
        raise click.UsageError("--kind needs a PROJECT")
    if item is not None:
        if name is None or kind is not None:
            raise click.UsageError("--versions needs a PROJECT, and goes without --kind")
        _list_versions(name, item, home, passphrase, out)
        return
    with opened(home, passphrase) as client:
        projects, contractors, grants = client.projects(), client.contractors(), client.grants(name)
        items = client.project(name).items(kind) if name is not None else []
        facts: dict[str, Any] = {
            "client": client.client_id,
            "fingerprint": client.fingerprint,
            "vault": client.vault,
            "projects": [{"name": each.name, "project_id": each.project_id} for each in projects],
            "contractors": [client_access.contractor_facts(each) for each in contractors],
            "grants": [client_access.grant_facts(each) for each in grants],
        }
    if name is not None:
        facts |= {"project": name, "items": [_item_facts(each) for each in items]}
        out.result(facts, _items(items), _grants(grants))
        return
    out.result(
        facts,
        facts_table([("fingerprint", client.fingerprint), ("vault", client.vault)]),
        table("Projects", ["name", "id"], [(each.name, each.project_id.hex()) for each in projects]),
        table(
            "Contractors",
            ["name", "tier", "host", "state", "key"],
            [
                (each.name, each.tier, each.host_label, _state(each.revoked), each.key.hex()[:16])
                for each in contractors
            ],
        ),
        _grants(grants),
    )


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


def _items(items: list[ItemRecord]) -> Listing:
    return table(
        "Items",
        ["kind", "batch", "name", "version#", "size#", "sealed size#", "id"],
        [
            (
                each.kind,
                each.batch or "",
                each.name,
                each.version,
                size(each.size),
                size(each.payload_bytes),
                each.item.hex(),
            )
            for each in items
        ],
    )


def _grants(grants: list[GrantRecord]) -> Listing:
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
                _state(each.revoked),
                each.grant_id.hex(),
            )
            for each in grants
        ],
    )


def _state(revoked: bool) -> object:
    return cell("revoked", "red") if revoked else cell("active", "green")


client_seal.add_to(command)
client_seal_file.add_to(command)
client_export.add_to(command)
client_versions.add_to(command)
client_access.add_to(command)
client_issuer.add_to(command)
client_doctor.add_to(command)
