"""`labelvault client honey plant|ls`: decoys, which only a thief asks for."""

from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, size, table


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(honey)


@click.group(cls=Group)
def honey() -> None:
    """Decoys among the sealed items: whoever asks for one raises an alarm."""


@honey.command(epilog=examples("labelvault client honey plant eval -n 5"))
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.option("-n", "count", type=click.IntRange(min=1), required=True, metavar="N", help="How many more.")
@client_options
def plant(name: str, count: int, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Have N decoys sealed by the next runs of seal, among real items that are new.

    They pass for items that stand in no queue, so they go along with new guidelines, rubrics, gold and attachments,
    never more of them than of those: plant before you seal. No queue shows them and no grant names them.
    """
    with opened(home, passphrase) as client:
        pending = client.project(name).plant_honey(count)
    out.result(
        {"project": name, "planted": count, "pending": pending},
        f"{count} planted; {pending} wait for new items that are no tasks: labelvault client seal {name} DIR",
    )


@honey.command(epilog=examples("labelvault client honey ls eval"))
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@client_options
def ls(name: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """List a project's decoys, which no other list shows. Keep the list where nobody of the vendor's sees it."""
    with opened(home, passphrase) as client:
        found = client.project(name).honey()
    facts = [
        {
            "item": each.item,
            "planted_at": each.planted_at,
            "sealed_at": each.sealed_at,
            "payload_bytes": each.payload_bytes,
        }
        for each in found
    ]
    waiting = sum(1 for each in found if each.sealed_at is None)
    rows = [
        (
            each.item,
            "waits" if each.sealed_at is None else moment(each.sealed_at),
            "" if each.payload_bytes is None else size(each.payload_bytes),
        )
        for each in found
    ]
    out.result(
        {"project": name, "honey": facts, "pending": waiting},
        table("Decoys", ["item", "sealed", "sealed size#"], rows),
        f"{len(found) - waiting} at the vault, {waiting} wait.",
    )
