"""A labeling platform that embeds the vault: queues and claims, finished work and pay, without reading a word.

    python platform_embed.py queues VAULT
    python platform_embed.py claim  VAULT CONTRACTOR
    python platform_embed.py pay    VAULT

VAULT is an address such as sqlite:////srv/vault/vault.db; it is created on first run. Nothing that this process
imports can open an item: there is no key here that a thief could take.
"""

import sys

from labelvault.errors import LabelVaultError
from labelvault.vendor import Vault


def queues(vault: Vault) -> None:
    """Show the queues: opaque ids and counts are all that a platform needs to schedule."""
    for queue in vault.queues():
        print(f"{queue.id.hex()}  {queue.waiting} waiting, {queue.claimed} claimed, {queue.done} done")


def claim(vault: Vault, contractor: str) -> None:
    """Reserve the next task for a contractor, and print its id for the decrypt helper."""
    for queue in vault.queues():
        reserved = vault.claim(queue, contractor, ttl_s=900)
        if reserved is not None:
            print(reserved.item.hex())
            return
    sys.exit("no task is waiting")


def pay(vault: Vault) -> None:
    """Count closed tasks once per contractor key and item, from receipts that the contractors signed."""
    closed = {(receipt.contractor, receipt.item) for receipt in vault.receipts() if receipt.event == "closed"}
    for contractor in sorted({key for key, _ in closed}):
        print(f"{contractor.hex()}  {sum(1 for key, _ in closed if key == contractor)} tasks")


def main(command: str, *arguments: str) -> None:
    """Run one command."""
    if command not in ("queues", "claim", "pay") or len(arguments) != 1 + (command == "claim"):
        sys.exit(__doc__)
    with Vault.open(arguments[0]) as vault:
        match command:
            case "queues":
                queues(vault)
            case "claim":
                claim(vault, arguments[1])
            case "pay":
                pay(vault)


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or [""]))
    except LabelVaultError as error:
        sys.exit(f"{type(error).__name__}: {error}")
