"""What a pass of an issuer over its mailbox takes, by itself and for each message: `benchmarks.simulate` goes by it."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from benchmarks.lines import Line
from labelvault.issuer.service import Issuer
from labelvault.relay import Relay, Reply

_MANY: Final = 32
_KINDS: Final = ("request", "receipt")
_WORK: Final = "an issuer's pass over its mailbox in local SQLite"


def pass_lines(
    issuer: Issuer,
    relay: Relay,
    mailbox: bytes,
    answers: bytes,
    ask: Callable[[int], Sequence[bytes]],
    close: Callable[[Sequence[bytes]], Sequence[bytes]],
    rounds: int,
) -> Iterator[Line]:
    """Time passes over one message and over many, and tell what is each message's and what is the pass's own.

    Args:
        issuer: answers through the vault on this machine.
        relay: another way to that vault.
        mailbox: the issuer's.
        answers: the contractor's.
        ask: makes so many fresh requests.
        close: makes the receipts that close the leases of requests.
        rounds: how often.
    """
    waits: dict[tuple[str, int], list[float]] = {(kind, n): [] for kind in _KINDS for n in (1, _MANY)}
    works: dict[tuple[str, int], list[float]] = {name: [] for name in waits}
    for _ in range(rounds):
        for count in (1, _MANY):
            requests = ask(count)
            for kind, messages in zip(_KINDS, (requests, close(requests)), strict=True):
                for message in messages:
                    relay.post(mailbox, message)
                begun_s, worked_s = time.perf_counter(), time.process_time()
                handled = issuer.answer().handled
                waits[kind, count].append(time.perf_counter() - begun_s)
                works[kind, count].append(time.process_time() - worked_s)
                if handled != count:
                    raise RuntimeError("a pass missed a message")
                relay.reply(answers, [Reply(number) for number, _ in relay.fetch(answers, limit=_MANY)])
    wait, work = ({name: statistics.median(found) for name, found in each.items()} for each in (waits, works))
    more = {kind: (work[kind, _MANY] - work[kind, 1]) / (_MANY - 1) for kind in _KINDS}
    own = wait["request", 1] - more["request"]
    yield Line(8, f"{_WORK}: the pass itself, ms", own * 1e3, "nothing", None, None)
    for kind in _KINDS:
        yield Line(8, f"{_WORK}: a {kind} more, core µs", more[kind] * 1e6, "nothing", None, None)
