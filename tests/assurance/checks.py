"""All checks, in the order of the table."""

from tests.assurance import crashes, deciding, parsers, swaps, tampering, unchanged
from tests.assurance.check import Check

CHECKS: tuple[Check, ...] = (
    *tampering.CHECKS,
    *swaps.CHECKS,
    *unchanged.CHECKS,
    *deciding.CHECKS,
    *crashes.CHECKS,
    *parsers.CHECKS,
)
