"""`labelvault vendor ...`: the platform's view. Loads no code that decrypts; has ids to show, not names."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from labelvault.cli.groups import Group
from labelvault.cli.homes import read_address, write_address
from labelvault.cli.listing import Id
from labelvault.cli.options import examples, home_option, json_option
from labelvault.cli.output import Output, facts_table, size, table
from labelvault.cli.values import DURATION
from labelvault.cli.vendor_doctor import doctor
from labelvault.cli.vendor_serve import serve
from labelvault.cli.vendor_work import after_option, csv_option, show_acks, show_receipts, show_tasks
from labelvault.stores import open_store
from labelvault.vendor import ItemInfo, Queue, StoreStatus, Vault

_vault_option = click.option(
    "--vault", metavar="URL", help="The vault, instead of the one that init stored in the home."
)


def _existing(address: str) -> Vault:
    """Open a vault that is there: a mistyped address must not make an empty one."""
    open_store(address, create=False).close()
    return Vault.open(address)


@click.group(cls=Group)
def command() -> None:
    """The platform: keeps sealed items, relays messages, hands out queues. Holds no key."""


command.add_command(serve)
command.add_command(doctor)


@command.command(epilog=examples("labelvault vendor init", "labelvault vendor init --vault sqlite:////srv/lv/vault.db"))
@home_option("vendor")
@click.option("--vault", metavar="URL", help="sqlite:////srv/lv/vault.db [default: vault.db in the home]")
@json_option
def init(home: Path, vault: str | None, out: Output) -> None:
    """Create the vault and remember its address. Running it again changes nothing."""
    address = vault if vault is not None else f"sqlite:///{home.absolute() / 'vault.db'}"
    write_address(home, address)
    with Vault.open(address) as opened:
        found = opened.status()
    out.result(
        {"home": home, "vault": address, "items": found.items},
        facts_table([("vault", address), ("home", home)]),
        "Give the address to your clients: labelvault client init --vault URL",
    )


@command.command(epilog=examples("labelvault vendor status"))
@home_option("vendor")
@_vault_option
@json_option
def status(home: Path, vault: str | None, out: Output) -> None:
    """Show how much the vault holds."""
    with _existing(vault or read_address(home)) as opened:
        found = opened.status()
    out.result(
        _status_facts(found),
        facts_table(
            [
                ("clients", found.clients),
                ("items", f"{found.items} ({size(found.item_bytes)} sealed)"),
                ("queues", f"{found.queues} ({found.live_claims} live claims)"),
                ("messages", f"{found.pending_messages} waiting, {found.acked_messages} handled"),
                ("receipts", found.receipts),
                ("acks", found.acks),
                ("on disk", size(found.stored_bytes)),
            ]
        ),
    )


def _status_facts(found: StoreStatus) -> dict[str, int]:
    return {
        "clients": found.clients,
        "items": found.items,
        "item_bytes": found.item_bytes,
        "queues": found.queues,
        "live_claims": found.live_claims,
        "pending_messages": found.pending_messages,
        "acked_messages": found.acked_messages,
        "message_bytes": found.message_bytes,
        "receipts": found.receipts,
        "acks": found.acks,
        "stored_bytes": found.stored_bytes,
    }


@command.command(epilog=examples("labelvault vendor ls", "labelvault vendor ls --items --json"))
@click.option("--items", "with_items", is_flag=True, help="List every sealed item too.")
@home_option("vendor")
@_vault_option
@json_option
def ls(with_items: bool, home: Path, vault: str | None, out: Output) -> None:
    """List the queues, and with --items all that is stored: ids, sizes and coarse times are all there is."""
    with _existing(vault or read_address(home)) as opened:
        queues = opened.queues()
        items = list(_all_items(opened)) if with_items else None
    facts: dict[str, Any] = {"queues": [_queue_facts(each) for each in queues]}
    shown = [
        table(
            "Queues",
            ["queue", "project", "waiting#", "claimed#", "done#"],
            [(each.id, each.project, each.waiting, each.claimed, each.done) for each in queues],
        )
    ]
    if items is not None:
        facts["items"] = [_item_facts(each) for each in items]
        shown.append(
            table(
                "Items",
                ["item", "ver#", "sealed#", "stored", "queue"],
                [
                    (
                        # Whole: a contractor is told it, who knows no others that could complete it.
                        Id(each.item, whole=True),
                        each.version,
                        size(each.size),
                        f"{each.stored_at:%Y-%m-%d %H:%MZ}",
                        each.queue if each.queue is not None else "",
                    )
                    for each in items
                ],
            )
        )
    out.result(facts, *shown)


def _all_items(vault: Vault) -> Iterator[ItemInfo]:
    page = vault.items()
    while page:
        yield from page
        page = vault.items(after=page[-1])


def _queue_facts(queue: Queue) -> dict[str, Any]:
    return {
        "queue": queue.id,
        "client": queue.client,
        "project": queue.project,
        "waiting": queue.waiting,
        "claimed": queue.claimed,
        "done": queue.done,
    }


def _item_facts(item: ItemInfo) -> dict[str, Any]:
    return {
        "client": item.client,
        "project": item.project,
        "item": item.item,
        "version": item.version,
        "size": item.size,
        "stored_at": item.stored_at,
        "queue": item.queue,
    }


@command.command(epilog=examples("labelvault vendor purge --keep-days 7"))
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Keep handled messages that are younger than this.",
)
@home_option("vendor")
@_vault_option
@json_option
def purge(keep_days: int, home: Path, vault: str | None, out: Output) -> None:
    """Drop handled messages, expired claims and leases, and what interrupted uploads left. Items and receipts stay."""
    with _existing(vault or read_address(home)) as opened:
        dropped = opened.purge(keep_days=keep_days)
    out.result(
        {"messages": dropped.messages, "claims": dropped.claims, "leases": dropped.leases, "files": dropped.files},
        f"Dropped {dropped.messages} messages, {dropped.claims} claims, {dropped.leases} leases and {dropped.files}"
        " files of broken uploads.",
    )


@command.command(epilog=examples("labelvault vendor receipts --after 120", "labelvault vendor receipts --csv"))
@after_option
@csv_option
@home_option("vendor")
@_vault_option
@json_option
def receipts(after: int, as_csv: bool, home: Path, vault: str | None, out: Output) -> None:
    """List what contractors signed: opened, submitted, closed."""
    with _existing(vault or read_address(home)) as opened:
        show_receipts(opened, after, as_csv, out)


@command.command(epilog=examples("labelvault vendor acks --after 120", "labelvault vendor acks --csv"))
@after_option
@csv_option
@home_option("vendor")
@_vault_option
@json_option
def acks(after: int, as_csv: bool, home: Path, vault: str | None, out: Output) -> None:
    """List what the clients' issuers signed: accepted answers, and why not. Pay on these."""
    with _existing(vault or read_address(home)) as opened:
        show_acks(opened, after, as_csv, out)


@command.command(epilog=examples("labelvault vendor tasks", "labelvault vendor tasks --stuck 2h"))
@click.option(
    "--stuck", type=DURATION, metavar="AGE", help="Only what was claimed or opened so long ago and not ended."
)
@csv_option
@home_option("vendor")
@_vault_option
@json_option
def tasks(stuck: timedelta | None, as_csv: bool, home: Path, vault: str | None, out: Output) -> None:
    """List how far the tasks of all queues have come."""
    with _existing(vault or read_address(home)) as opened:
        show_tasks(opened, stuck, as_csv, out)
