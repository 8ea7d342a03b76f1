"""What the story found out: for each theft, what the ledger states and what the drill opened."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Theft:
    """One theft, measured.

    Attributes:
        surface: what was stolen.
        stated: names of the item versions that the ledger states as readable there.
        opened: names of those that the drill opened, or found in plaintext.
        plaintext_hits: how often the drill found plaintext, names or ids that it was told of.
        more: names, or descriptions, of what was found and is not stated; empty is what should be.
        measured: False where this system can't be measured; then nothing was found and nothing is claimed.
        note: what limits the measurement, or what it stands for.
    """

    surface: str
    stated: tuple[str, ...]
    opened: tuple[str, ...]
    plaintext_hits: int
    more: tuple[str, ...] = ()
    measured: bool = True
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether everything found is stated."""
        return not self.more


@dataclass(frozen=True, slots=True)
class Findings:
    """The story's end.

    Attributes:
        sealed_items: items in the catalog.
        sealed_again: items that a second sealing of the same folder sealed; 0 is right.
        vault_bytes: what the vault takes up.
        denials: codes of the denials that were shown, in order.
        thefts: in order.
        answers: that were submitted, collected once, and came out as they went in.
        to_pay: tasks that the vendor pays, by acks that the client signed.
        seconds: how long it took.
    """

    sealed_items: int
    sealed_again: int
    vault_bytes: int
    denials: tuple[str, ...]
    thefts: tuple[Theft, ...]
    answers: int
    to_pay: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing was found anywhere that the ledger does not state."""
        return all(theft.holds for theft in self.thefts)


@dataclass(frozen=True, slots=True)
class Incident:
    """What a breach that was played came to.

    Attributes:
        report: the folder with statements, page, plan and finding.
        headline: of the statement of the vendor's host.
        totals: its items by verdict.
        counts: of the plan, by step: `to_do` and `done`.
        stated: item versions that are exposed.
        renewed: item versions that took their place.
        opened: names of what the drill opened after containment.
        dropped: leases that waited at the vault for the infected laptop.
        denials: codes that the thief got afterwards.
        measured: False where memory could not be captured: then the drill had files alone.
        holds: whether the drills after containment opened nothing that is not stated, and all was done.
        seconds: how long it took.
    """

    report: Path
    headline: str
    totals: dict[str, int]
    counts: dict[str, dict[str, int]]
    stated: int
    renewed: int
    opened: tuple[str, ...]
    dropped: int
    denials: tuple[str, ...]
    measured: bool
    holds: bool
    seconds: float = 0.0
