"""Telling others what an issuer did, while it runs: a file of events, numbers, and whoever is to hear of alarms.

All of it comes from the ledger, after the fact, and each listener has a place of its own there: one that fails is told
later, from where it stopped, also by the next process. None of them can delay or undo what the issuer decides.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from labelvault.client.deliveries import MAX_POSTED, URGENT, Deliveries
from labelvault.client.event_file import EventFile
from labelvault.client.events import Event, Fact, event_of, stamp
from labelvault.client.following import MAX_ENTRIES, Follower, checkpoint_verifier, read_mark, write_mark
from labelvault.client.metrics import Metrics
from labelvault.errors import ClockError, LedgerError, OutputError, StoreError
from labelvault.issuer.log import Log
from labelvault.issuer.service import Issuer
from labelvault.ledger.entries import Entry
from labelvault.relay.local import utc_now
from labelvault.wire.ahead import Status
from labelvault.wire.frame import Signed
from labelvault.wire.times import from_ms, truncate

if TYPE_CHECKING:
    from labelvault.client.client import Client

POSITION_SUFFIX: Final = ".position"
WEBHOOK_POSITION: Final = "webhook.position"
"""In the client's home."""
_LAST_S: Final = 20.0
"""How long `close` waits for deliveries, at most."""


class Listener(Protocol):
    """Is told of events."""

    def ready(self) -> bool:
        """Tell whether it can be told now; if not, it is told later."""

    def take(self, events: Sequence[Event]) -> bool:
        """Take events, all or none as far as it can.

        Returns:
            False if it is still busy with them: they are given again, once it is ready.

        Raises:
            OutputError: it could not; the same events are given again.
        """


class _Shown:
    """Shows alarms to whoever runs the issuer."""

    def __init__(self, show: Callable[[Event], None]) -> None:
        self._show = show

    def ready(self) -> bool:
        return True

    def take(self, events: Sequence[Event]) -> bool:
        for event in events:
            if event.kind == "alarm":
                self._show(event)
        return True


@dataclass(slots=True)
class _Feed:
    """A listener, and how far it was told.

    Attributes:
        kept: the file that says how far; None where a new process begins at the ledger's end.
        held: entries that the listener is busy with.
    """

    listener: Listener
    follower: Follower
    kept: Path | None
    held: list[tuple[int, Entry]] = field(default_factory=list)


class Watch:
    """What goes on beside one running issuer. Call `turn` often, and `close` at the end."""

    def __init__(
        self,
        client: "Client",
        issuer: Issuer,
        *,
        events: Path | None = None,
        metrics: Path | None = None,
        post: Callable[[Sequence[Event]], None] | None = None,
        on_alarm: Callable[[Event], None] | None = None,
        on_fault: Callable[[str], None] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Find out where each listener stopped. One that is new begins with what comes from now on.

        Args:
            client: whose ledger.
            issuer: that runs.
            events: a file that gets one JSON object a line; beside it, `<file>.position` says how far it came.
            metrics: a file that gets numbers in the Prometheus text format.
            post: delivers urgent events; how far it came is kept in the home.
            on_alarm: is told of each alarm that is raised from now on.
            on_fault: is told, once, of a listener that fails.
            clock: says the time, aware UTC.

        Raises:
            OutputError: a file can't be used.
            LedgerError: the ledger is not the one that a listener was told of before. What could be told was.
        """
        self._client = client
        self._issuer = issuer
        self._clock = clock
        self._on_fault = on_fault or (lambda fault: None)
        self._status: Signed[Status] | None = None
        certificate = client.certificate.message
        self._log = Log(client.database, client.client_id, certificate.epoch)
        name = client.issuer_identity.name
        self._verify = checkpoint_verifier(self._log, name, certificate.issuer)
        self._feeds: list[_Feed] = []
        self._ailing: set[Listener | None] = set()
        self._forked = False
        self._file = None if events is None else EventFile(events)
        if events is not None and self._file is not None:
            self._add(self._file, events.with_name(events.name + POSITION_SUFFIX))
        self._metrics: Metrics | None = None
        if metrics is not None:
            until_s = certificate.expires_at.timestamp()
            self._metrics = Metrics(
                metrics, client.database, self._log, client.client_id, until_s, lambda: clock().timestamp()
            )
            self._metrics.write()
            self._add(self._metrics, None)
        self._deliveries = None if post is None else Deliveries(post, self._undelivered)
        if self._deliveries is not None:
            self._add(self._deliveries, client.home / WEBHOOK_POSITION, MAX_POSTED)
        if on_alarm is not None:
            self._add(_Shown(on_alarm), None)
        self.turn()

    def _add(self, listener: Listener, kept: Path | None, page: int = MAX_ENTRIES) -> None:
        mark = None if kept is None else read_mark(kept)
        self._feeds.append(_Feed(listener, Follower(self._log, self._verify, mark, page), kept))

    def turn(self, *, reachable: bool = True) -> None:
        """Tell everybody what is new.

        Args:
            reachable: whether the vault was reached just now.

        Raises:
            LedgerError: the ledger was rewritten or set back; that was told, and nothing more can be.
        """
        try:
            self._turn(reachable)
        except LedgerError:
            self._forked = True
            self._tell("fork", {"epoch": self._log.epoch.hex(), "entries": self._log.size()})
            raise
        except StoreError as error:
            # Busy, perhaps: what could not be read is read in the next turn.
            self._on_fault(str(error))

    def _turn(self, reachable: bool) -> None:
        for feed in self._feeds:
            self._feed(feed)
        status = self._issuer.ahead.posted
        if status is not None and status is not self._status:
            self._status = status
            message = status.message
            said: dict[str, Fact] = {"revoked": message.revocations, "frozen": len(message.frozen)}
            self._tell("status", said)
        if self._metrics is not None:
            self._metrics.reachable = reachable
            self._write_metrics(self._metrics, up=True)

    def _feed(self, feed: _Feed) -> None:
        while feed.listener.ready():
            found = feed.held or feed.follower.more()
            if not found and (feed.kept is None or feed.kept.exists()):
                return
            told = [event_of(entry, self._client.client_id, self._log.epoch, number) for number, entry in found]
            try:
                feed.held = found
                if not feed.listener.take([event for event in told if event is not None]):
                    return
                feed.held = []
                mark = feed.follower.passed(len(found))
                if feed.kept is not None:
                    write_mark(feed.kept, mark)
            except OutputError as error:
                self._fault(feed.listener, error)
                return
            self._ailing.discard(feed.listener)

    def _fault(self, listener: Listener | None, error: OutputError) -> None:
        if listener not in self._ailing:
            self._on_fault(str(error))
        self._ailing.add(listener)

    def clock_failed(self, error: ClockError) -> None:
        """Say that the issuer refuses to work because its clock runs behind; the error itself holds only times."""
        seen = self._client.database.meta("clock_ms")
        high = None if seen is None else from_ms(int.from_bytes(seen, "big"))
        facts: dict[str, Fact] = {"reached": None if high is None else stamp(high)}
        self._tell("clock", facts)

    def _undelivered(self) -> None:
        self._tell("webhook", {"delivered": False})

    def _tell(self, kind: str, facts: dict[str, Fact]) -> None:
        """Tell what is in no ledger; whoever can't be told now is not told."""
        event = Event(kind, truncate(self._clock()), {"client": self._client.client_id.hex(), **facts})
        try:
            if self._file is not None:
                self._file.take([event])
        except OutputError as error:
            self._fault(self._file, error)
        if self._metrics is not None:
            self._metrics.take([event])
        try:
            if self._deliveries is not None and kind in URGENT:
                self._deliveries.deliver(event)
        except OutputError as error:
            self._fault(self._deliveries, error)

    def _write_metrics(self, metrics: Metrics, *, up: bool) -> None:
        try:
            metrics.write(up=up)
        except OutputError as error:
            self._fault(metrics, error)

    def close(self) -> None:
        """Tell what is left, and write the last numbers. Waits for deliveries, twenty seconds at most."""
        until_s = time.monotonic() + _LAST_S
        try:
            if not self._forked:
                self.turn()
            while not self._forked and self._deliveries is not None and self._deliveries.under_way:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    break
                self._deliveries.wait(left_s)
                self.turn()
        finally:
            if self._metrics is not None:
                self._write_metrics(self._metrics, up=False)
