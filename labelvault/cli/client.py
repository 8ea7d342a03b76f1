"""`labelvault client ...`: set up and look. Sealing, access, issuing and ledger are in the modules beside it."""

from pathlib import Path

import click

from labelvault.cli import (
    client_access,
    client_ahead,
    client_assign,
    client_backup,
    client_collect,
    client_contain,
    client_doctor,
    client_export,
    client_exposure,
    client_honey,
    client_issuer,
    client_keys,
    client_ledger,
    client_list,
    client_quorum,
    client_seal,
    client_seal_file,
    client_versions,
    client_witness,
)
from labelvault.cli.client_home import client_options, opened
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table
from labelvault.client import Client, PassphraseRoot


@click.group(cls=Group)
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


@command.group(cls=Group)
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


client_seal.add_to(command)
client_seal_file.add_to(command)
client_export.add_to(command)
client_exposure.add_to(command)
client_contain.add_to(command)
client_collect.add_to(command)
client_versions.add_to(command)
client_access.add_to(command)
client_ahead.add_to(command)
client_assign.add_to(command)
client_issuer.add_to(command)
client_doctor.add_to(command)
client_backup.add_to(command)
client_list.add_to(command)
client_honey.add_to(command)
client_keys.add_to(command)
client_quorum.add_to(command)
client_ledger.add_to(client_issuer.ledger)
client_witness.add_to(client_issuer.ledger)
