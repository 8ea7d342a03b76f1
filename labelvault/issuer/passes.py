"""One pass of an issuer over its mailbox: what is looked at, how answers leave once they are durable, what it did."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from labelvault.errors import FormatError, SignatureError
from labelvault.relay.protocol import Relay, Reply
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.answers import Submission
from labelvault.wire.frame import Message, Signed, open_parsed, parse_frame
from labelvault.wire.ids import ClientId, contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import Lease, OpenRequest, Receipt
from labelvault.wire.schema import decode_record

_KINDS: Final[dict[str, type[Message]]] = {kind.TYPE: kind for kind in (OpenRequest, Receipt, Submission, PrekeyBundle)}
_RETURNED: Final = frozenset({Receipt.TYPE, Submission.TYPE})
"""What contractors send back, as against what asks for something."""


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


def verify(data: bytes, is_enrolled: Callable[[bytes], bool]) -> Signed[Any] | None:
    """Return a message of a kind that an issuer takes, if an enrolled key signed it; None for junk."""
    try:
        frame = parse_frame(data)
        kind = _KINDS.get(frame.type)
        return open_parsed(frame, data, kind, frame.signer) if kind is not None and is_enrolled(frame.signer) else None
    except (FormatError, SignatureError):
        return None


def is_returned(data: bytes) -> bool:
    """Tell whether a message claims to be a receipt or a submission."""
    try:
        return parse_frame(data).type in _RETURNED
    except FormatError:
        return False


def reply_to(
    relay: Relay, client: ClientId, taken: Sequence[tuple[int, bytes]], answers: Sequence[bytes | None], now: datetime
) -> int:
    """Post the answers to messages of a client's issuer, and acknowledge those; return how many were not taken.

    Args:
        relay: reaches the vault.
        client: 32 bytes.
        taken: (number, message).
        answers: one for each, durable already; None where there is none.
        now: the issuer's time.

    Raises:
        RelayError, StoreError: the vault can't be reached, or fails; some may be posted already.
    """
    if not taken:
        return 0
    refused = relay.reply(issuer_mailbox(client), [_reply(client, *each) for each in zip(taken, answers, strict=True)])
    # A full mailbox is its owner's affair: the others are served, and the next pass tries this one again.
    over = [Reply(taken[at][0]) for at in refused if _is_over(taken[at][1], answers[at] or b"", now)]
    if over:
        relay.reply(issuer_mailbox(client), over)
    return len(refused)


def _reply(client: ClientId, message: tuple[int, bytes], answer: bytes | None) -> Reply:
    number, data = message
    if answer is None:
        return Reply(number)
    return Reply(number, contractor_mailbox(client, parse_frame(data).signer), answer)


def _is_over(data: bytes, answer: bytes, now: datetime) -> bool:
    """Tell whether an answer that could not be delivered needs no further pass."""
    # Leases wait, as few as their grant allows. Denials don't: who fills his own mailbox could fill ours with them,
    # under dates far ahead.
    if parse_frame(answer).type != Lease.TYPE:
        return True
    return decode_record(OpenRequest, parse_frame(data).body).expires_at <= now
