"""The vendor: stores and relays what it can't read, hands out tasks, and pays on signed receipts.

May import: `labelvault.errors`, `labelvault.wire`, `labelvault.stores`, `labelvault.relay`, and of
`labelvault.crypto` only what verifies and hashes. It can't load code that opens or signs anything; an import
contract and a test say so.
"""

from labelvault.stores.values import (
    AckEntry,
    Claim,
    Damage,
    ItemInfo,
    Purged,
    Queue,
    ReceiptEntry,
    StoreStatus,
    TaskState,
)
from labelvault.vendor.vault import Vault

__all__ = [
    "AckEntry",
    "Claim",
    "Damage",
    "ItemInfo",
    "Purged",
    "Queue",
    "ReceiptEntry",
    "StoreStatus",
    "TaskState",
    "Vault",
]
