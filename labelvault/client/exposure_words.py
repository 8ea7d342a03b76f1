"""An exposure statement in sentences: the headline, what each verdict and interval means, and what nobody states."""

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from labelvault.client.exposure import ExposureStatement, ItemVerdict, StatedInterval
from labelvault.wire.tiers import WAIVED

LABELS: Final = {
    "exposed": "exposed",
    "unknown": "unknown",
    "unconfirmed": "erasure unconfirmed",
    "after": "opened after",
    "closed-before": "closed before",
    "elsewhere": "opened elsewhere",
    "never-opened": "never opened",
}
MEANINGS: Final = {
    "exposed": "could be read there in the window, or with a key that was copied in it",
    "unknown": "sealed before a gap in the ledger, in which releases may have been made that nobody recorded",
    "unconfirmed": "opened there and over before the window; no receipt that counts says that it was erased",
    "after": "opened only after the window, with no key that could have been taken in it",
    "closed-before": "opened there, and the process that held it had exited before the window",
    "elsewhere": "opened, but not there",
    "never-opened": "no key to it ever left the client",
}
RULES: Final = (
    "An interval begins when the issuer released the key. It ends when the issuer itself took the closing receipt, "
    "whatever time the contractor claims, or else when the lease expired.",
    "Receipts from keys on this surface that came in after the window began are not counted: whoever held it "
    "could sign them.",
    "Releases after the window to a key that lay on the surface count, until that key is revoked. Not counted are "
    "those of a desk that its owner approved on a device of his own, from ten minutes after the window on.",
    "Leases that were issued ahead count from issue to expiry, fetched or not.",
    "A lease without a receipt is “erasure unconfirmed”: expiry frees its slot and erases nothing. So is one whose "
    "receipt says best effort, as files or a shared process may have left copies.",
    "The tier is what a contractor's card declares. A “helper” that runs at the vendor's is a desk in truth.",
)
LIMITS: Final = (
    "Not what was read, but what could have been: it is an upper bound.",
    "Nothing about a theft from the client itself, of its root key or of a project's keys.",
    "Nothing about what people saw, remember or photographed, or passed on after they opened it.",
    "Nothing about other surfaces, or about a device whose keys are not named here.",
)
INCOMPLETE: Final = (
    "INCOMPLETE: the window's end is yet to come, or the ledger has no entry after it yet, so later releases may still "
    "fall into it. Ask again about the same end (not `now`) once it has one; `labelvault client freeze` makes one, and "
    "stops releases."
)


def moment(time: datetime) -> str:
    """Write a time in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def between(start: datetime, end: datetime, word: str = "to") -> str:
    """Write two times in UTC; the day, zone and seconds once or not at all where they say nothing."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    clock = "%H:%M:%S" if start.second or end.second else "%H:%M"
    until = f"{clock} UTC" if start.date() == end.date() else f"%Y-%m-%d {clock} UTC"
    return f"{start.strftime(f'%Y-%m-%d {clock}')} {word} {end.strftime(until)}"


def where(stated: ExposureStatement) -> str:
    """Say in words where the surface is."""
    kind, _, name = stated.surface.partition(":")
    match kind:
        case "vendor":
            return "at the vendor's host"
        case "desk":
            return f"at the desk “{name}”"
        case "contractor":
            return f"on the device of “{name}”"
        case _:
            return "on any contractor's device or desk"


def headline(stated: ExposureStatement) -> str:
    """Say the result in one sentence."""
    totals, statement = stated.totals(), stated.statement
    unknown = f"; of {totals['unknown']:,} more nothing is known" if totals["unknown"] else ""
    return (
        f"{totals['exposed']} of {count(len(stated.items), 'item')} could be read {where(stated)} "
        f"between {between(statement.start, statement.end, 'and')}{unknown}."
    )


def grade(stated: ExposureStatement) -> str:
    """Say how the headline is shown: `bad`, `open` where something is in doubt, or `good`."""
    totals = stated.totals()
    if totals["exposed"]:
        return "bad"
    doubt = totals["unknown"] or totals["unconfirmed"] or not stated.statement.complete
    return "open" if doubt else "good"


def remarks(stated: ExposureStatement) -> list[str]:
    """Say what must be read with the headline, the gravest first."""
    totals, found = stated.totals(), []
    if not stated.statement.complete:
        found.append(INCOMPLETE)
    if totals["unknown"]:
        gaps = "; ".join(f"{moment(gap.since)} to {moment(gap.until)}" for gap in stated.statement.gaps)
        found.append(f"Of {count(totals['unknown'], 'more item')} nothing is known: the ledger has a gap ({gaps}).")
    if totals["unconfirmed"]:
        found.append(
            f"{count(totals['unconfirmed'], 'more item')} had been opened there before; nothing shows that "
            f"{'it was' if totals['unconfirmed'] == 1 else 'they were'} erased."
        )
    if stated.waived:
        found.append(f"{WAIVED} So it is for: {', '.join(stated.waived)}.")
    if not stated.statement.contractors:
        found.append("No contractor's key lay there, so nothing that opens an item did.")
    return found


def why(item: ItemVerdict) -> Iterable[str]:
    """Say of an item, interval by interval, who could read it, when and why."""
    current = max(each.version for each in item.versions)
    for version in item.versions:
        for interval in version.intervals:
            which = "" if len(item.versions) == 1 else f"version {version.version}: "
            yield which + interval_words(interval, item.name)
        if version.tasks > 1 or (version.tasks == 1 and item.kind != "task"):
            yield f"opened through {count(version.tasks, 'task')} that required it"
    if current > 1 and any(each.verdict == item.verdict != item.versions[-1].verdict for each in item.versions):
        yield "the verdict is an earlier version's"


def interval_words(interval: StatedInterval, name: str = "") -> str:
    """Say one interval in words."""
    who = interval.contractor or "several contractors"
    tier = "desk, presence waived" if interval.waived else interval.tier
    task = f" with “{interval.task}”" if interval.task not in (None, name) else ""
    leases = f" in {interval.leases} leases" if interval.leases > 1 else ""
    reasons = {
        "open": "open in the window",
        "not-erased": "over before the window",
        "key-taken": "released after the window to a key that lay there, not revoked by then",
    }
    ends = {
        "best-effort": "ended by a best-effort receipt, copies may have stayed",
        "unconfirmed": "no receipt that counts, erasure unconfirmed",
    }
    return (
        f"{who} ({tier}){task}{leases}: {between(interval.since, interval.until)}; {reasons[interval.reason]}; "
        f"{ends[interval.erasure]}"
    )


def count(number: int, what: str) -> str:
    """Write a number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def verifying(stated: ExposureStatement, file: str = "statement.jsonl") -> str:
    """Return the command with which an auditor checks the statement."""
    return f"labelvault verify-statement {shlex.quote(file)} --ledger ledger.jsonl --client '{stated.fingerprint}'"
