"""All checks, in the order of the table."""

from tests.assurance import deciding, parsers, swaps, tampering, unchanged
from tests.assurance.check import Check

CHECKS: tuple[Check, ...] = (*tampering.CHECKS, *swaps.CHECKS, *unchanged.CHECKS, *deciding.CHECKS, *parsers.CHECKS)
