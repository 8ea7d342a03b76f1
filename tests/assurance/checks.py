"""All checks, in the order of the table."""

from tests.assurance import (
    crashes,
    deciding,
    guided,
    modelled,
    parsers,
    schedules,
    stateful,
    swaps,
    tampering,
    unchanged,
)
from tests.assurance.check import Check

CHECKS: tuple[Check, ...] = (
    *tampering.CHECKS,
    *swaps.CHECKS,
    *unchanged.CHECKS,
    *deciding.CHECKS,
    *schedules.CHECKS,
    *stateful.CHECKS,
    *modelled.CHECKS,
    *crashes.CHECKS,
    *parsers.CHECKS,
    *guided.CHECKS,
)
