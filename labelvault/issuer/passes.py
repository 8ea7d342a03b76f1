"""What one pass of an issuer over its mailbox did."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What one pass did.

    Attributes:
        released: leases sent.
        denied: denials sent, by code.
        receipts: receipts recorded.
        submissions: answers kept, by verdict; `dropped` are those that were only counted.
        undelivered: answers that the vault did not take; they are offered again in the next pass.
        prekeys: bundles of prekeys kept, for leases that are issued ahead.
        alarms: requests for what no queue shows, by what it was: `honey` or `not-a-task`; they were denied too.
        junk: messages that were nothing, or came from nobody that was enrolled.
    """

    released: int = 0
    denied: dict[str, int] = field(default_factory=dict)
    receipts: int = 0
    submissions: dict[str, int] = field(default_factory=dict)
    undelivered: int = 0
    junk: int = 0
    prekeys: int = 0
    alarms: dict[str, int] = field(default_factory=dict)

    @property
    def handled(self) -> int:
        """How many messages the pass handled."""
        answers = sum(self.denied.values()) + sum(self.submissions.values())
        return self.released + answers + self.receipts + self.junk + self.prekeys


def report_of(tally: Counter[str]) -> AnswerReport:
    """Return the report of a pass from what its issuer counted, by the issuer's own words."""

    def counts(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): n for name, n in tally.items() if name.startswith(prefix)}

    return AnswerReport(
        tally["released"],
        counts("denied "),
        tally["receipts"],
        counts("submission "),
        tally["undelivered"],
        tally["junk"],
        tally["prekeys"],
        counts("alarm "),
    )
