"""The auditor (anyone): checks statements and ledgers offline, with public keys only; holds no secret, needs no home.

May import: `labelvault.ledger`, `labelvault.keys.cards` and `keys.fingerprint`, `labelvault.wire`,
`labelvault.crypto.verify`, `labelvault.errors`.
"""

from labelvault.auditor.leases import HeldLease, LeaseCheck, check_leases
from labelvault.auditor.statements import CheckedLedger, CheckedStatement, verify_statement
from labelvault.auditor.witnessed import WitnessedLedger, verify_witnessed

__all__ = [
    "CheckedLedger",
    "CheckedStatement",
    "HeldLease",
    "LeaseCheck",
    "WitnessedLedger",
    "check_leases",
    "verify_statement",
    "verify_witnessed",
]
