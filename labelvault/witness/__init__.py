"""The witness (an auditor, or a vendor): cosigns checkpoints of clients' ledgers, and keeps what contradicts itself.

It holds a key that signs, and the checkpoints that it saw: nothing that opens anything. May import:
`labelvault.ledger`, `labelvault.keys.files`, `keys.identity` and `keys.keystore`, `labelvault.wire`,
`labelvault.crypto`, `labelvault.errors`.
"""

from labelvault.witness.seen import Seen
from labelvault.witness.witness import Cosigned, Witness, seen_ledgers, witness_key

__all__ = ["Cosigned", "Seen", "Witness", "seen_ledgers", "witness_key"]
