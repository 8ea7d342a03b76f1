"""What a SIEM is told: ledger entries, and what is in no ledger, as flat facts of ids, codes and times.

No name, no text, no address: whoever reads them learns what the ledger's reader learns. docs/events.md says each field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from labelvault.ledger import entries
from labelvault.ledger.entries import Entry

Fact: TypeAlias = str | int | bool | None

LEDGER_KINDS: Final = ("release", "denial", "cap-reached", "alarm", "freeze", "revoke")
"""Kinds of events that a ledger entry is behind."""
OTHER_KINDS: Final = ("status", "clock", "fork", "webhook")
"""Kinds of events that are in no ledger: each is told once, or not at all if nobody could be told."""
CAPS: Final = {"limit-open": "max_open", "limit-total": "max_total", "limit-rate": "per_hour"}
"""Which of a grant's limits a denial's code means."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: one of `LEDGER_KINDS` or `OTHER_KINDS`.
        at: the entry's time, or for others the time at which it was noticed.
        facts: by field; ids are hex.
    """

    kind: str
    at: datetime
    facts: Mapping[str, Fact]

    def flat(self) -> dict[str, Fact]:
        """Return all of it as one JSON object's fields, what happened and when first."""
        return {"event": self.kind, "time": stamp(self.at), **self.facts}


def stamp(moment: datetime) -> str:
    """Write a time as events have it: RFC 3339, in UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_of(entry: Entry, client: bytes, epoch: bytes, number: int) -> Event | None:
    """Return the event that a ledger entry is, or None if it is none.

    Args:
        entry: of the ledger.
        client: whose, 32 bytes.
        epoch: the ledger's, 16 bytes.
        number: the entry's, from 0; with the epoch it tells the event from every other.
    """
    found = _facts_of(entry)
    if found is None:
        return None
    kind, facts = found
    where: dict[str, Fact] = {"client": client.hex(), "epoch": epoch.hex(), "entry": number}
    return Event(kind, entry.at, where | facts)


def _facts_of(entry: Entry) -> tuple[str, dict[str, Fact]] | None:
    match entry:
        case entries.Released():
            return "release", {
                "project": entry.project.hex(),
                "contractor": entry.contractor.hex(),
                "grant": entry.grant_hash.hex(),
                "lease": entry.lease_id.hex(),
                "task": entry.task.hex(),
                "items": len(entry.items),
                "tier": entry.tier,
                "presence": entry.presence,
                "expires": stamp(entry.expires_at),
                "replaces": None if entry.replaces is None else entry.replaces.hex(),
            }
        case entries.Denied():
            cap = CAPS.get(entry.code)
            return "denial" if cap is None else "cap-reached", {
                "project": entry.project.hex(),
                "contractor": entry.contractor.hex(),
                "request": entry.request_hash.hex(),
                **({"code": entry.code} if cap is None else {"cap": cap}),
            }
        case entries.Alarmed():
            return "alarm", {
                "project": entry.project.hex(),
                "contractor": entry.contractor.hex(),
                "request": entry.request_hash.hex(),
                "item": entry.item.hex(),
                "about": entry.about,
            }
        case entries.Frozen():
            return "freeze", {"project": entry.project.hex(), "frozen": entry.frozen}
        case entries.Revoked():
            return "revoke", {"what": entry.kind, "id": entry.id.hex()}
        case _:
            return None
