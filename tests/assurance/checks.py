"""All checks, in the order of the table."""

from tests.assurance import crashes, deciding, parsers, roles, schedules, swaps, tampering, unchanged
from tests.assurance.check import Check

CHECKS: tuple[Check, ...] = (
    *tampering.CHECKS,
    *swaps.CHECKS,
    *unchanged.CHECKS,
    *deciding.CHECKS,
    *schedules.CHECKS,
    *roles.CHECKS,
    *crashes.CHECKS,
    *parsers.CHECKS,
)
