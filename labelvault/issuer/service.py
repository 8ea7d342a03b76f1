"""The issuer at work: bytes in, bytes out, one transaction a message; through the mailbox or in process."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Final

from labelvault.database import Database
from labelvault.errors import (
    DecryptionError,
    DeniedError,
    FormatError,
    GrantError,
    GrantExpiredError,
    GrantLimitError,
    KeystoreError,
    RelayError,
    SignatureError,
    StoreError,
)
from labelvault.issuer.ahead import DEFAULT_STATUS_AGE_S, Ahead, IssueReport
from labelvault.issuer.alarms import Alarms
from labelvault.issuer.authorize import PrekeyUse, asked, authorize
from labelvault.issuer.catalog import CatalogVersion, opened_together
from labelvault.issuer.log import Log
from labelvault.issuer.passes import AnswerReport, is_returned, reply_to, report_of, verify
from labelvault.issuer.receiving import Receiving
from labelvault.issuer.release import IssuerIdentity, release, released_entry
from labelvault.issuer.state import State
from labelvault.issuer.status import STATUS_INTERVAL
from labelvault.keys.kek import Kek, KekFiles
from labelvault.ledger.entries import Denied, encode_entry
from labelvault.relay.protocol import Relay
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.answers import Submission
from labelvault.wire.frame import Signed, sign_message
from labelvault.wire.ids import ClientId, issuer_mailbox
from labelvault.wire.messages import Denial, OpenRequest, Receipt
from labelvault.wire.times import truncate

_FETCH_LIMIT: Final = 100
_MAX_PAGES: Final = 100
"""A pass ends after as many messages as a mailbox holds, also if a vault makes up ever more of them."""
_AWAY_MAX_S: Final = 10.0
_PRUNE_EVERY_S: Final = 60.0
_WAIT_S: Final = 1.0
"""How long a vault may keep the question for messages open, so that it need not be asked many times a second."""


class _Junk(Exception):
    """Nothing that deserves an answer or a durable trace."""


class Issuer:
    """Answers open requests, and takes receipts and submissions, for one client.

    Holds unwrapped project KEKs while it runs, and the certified signing key; not the client's identity key.

    Attributes:
        ahead: issues leases ahead of time, and says what is revoked.
    """

    def __init__(
        self,
        database: Database,
        identity_key: bytes,
        client: ClientId,
        identity: IssuerIdentity,
        keks: KekFiles,
        open_relay: Callable[[], Relay],
        clock: Callable[[], datetime],
        *,
        freeze_on_alarm: bool = False,
    ) -> None:
        """Put an issuer together; `labelvault.client.Client.issuer` does it from a home.

        Args:
            database: a connection of its own to `client.db`.
            identity_key: the client's identity key, 32 bytes; it signed the certificate and every grant.
            client: the client's id.
            identity: the issuer's certified key.
            keks: the client's wrapped KEKs.
            open_relay: reaches the vault, when it is needed first; issuing ahead never does.
            clock: says the time, aware UTC.
            freeze_on_alarm: stop a project's releases as soon as one of its decoys is asked for.
        """
        self._database = database
        self._client = client
        self._identity = identity
        self._keks = keks
        self._open_relay = open_relay
        self._opened_relay: Relay | None = None
        self._clock = clock
        self._state = State(database, identity_key, identity.certificate.message)
        self._log = Log(database, client, identity.certificate.message.epoch)
        self._alarms = Alarms(database, self._state, self._log, freeze=freeze_on_alarm)
        self._receiving = Receiving(database, client, self._state, self._log, identity)
        self.ahead = Ahead(
            database, self._state, self._log, identity, self._release, self._now, lambda: self._relay, self.handle
        )
        self._unwrapped: dict[tuple[bytes, int], Kek] = {}
        self._tally: Counter[str] = Counter()
        self._recorded = False
        self._prune_s = 0.0

    def close(self) -> None:
        """Drop the KEKs, and close database and relay."""
        self._unwrapped.clear()
        self._database.close()
        if self._opened_relay is not None:
            self._opened_relay.close()

    @property
    def _relay(self) -> Relay:
        if self._opened_relay is None:
            self._opened_relay = self._open_relay()
        return self._opened_relay

    def __enter__(self) -> "Issuer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def handle(self, data: bytes) -> bytes | None:
        """Handle one message.

        Args:
            data: a frame, as it arrived.

        Returns:
            The answer's frame: a lease or a denial; an ack of a submission, or of a receipt that closes or submits.
            None for other receipts, for prekeys and for junk.

        Raises:
            ClockError: this machine's clock runs behind; nothing was recorded.
            GrantExpiredError: the issuer's certificate is not valid now; nothing was recorded.
            StoreError: `client.db` refused; nothing was recorded, and the same message may be handled again.
        """
        return self.handle_all([data])[0]

    def handle_all(self, messages: Sequence[bytes]) -> list[bytes | None]:
        """Handle messages in one transaction, which is durable before an answer is returned [G5].

        Each is judged as if it came alone, after those before it: what one leaves undone moves no other.

        Args:
            messages: frames, as they arrived.

        Returns:
            An answer for each, as `handle`.

        Raises:
            ClockError, GrantExpiredError, StoreError: as `handle`; nothing of any message was recorded.
        """
        if not messages:
            return []
        # Before the write lock is taken, and all at once: code that stays at hand runs faster.
        verified = [verify(data, self._state.is_enrolled) for data in messages]
        tally = self._tally.copy()
        try:
            with self._database.transaction():
                # What is recorded below asks for a checkpoint over it.
                self._recorded = False
                answers = [self._judged(each) for each in verified]
                if self._recorded:
                    self._log.sign(self._identity.name, self._identity.signer)
        except BaseException:
            # What was counted was not recorded.
            self._tally = tally
            raise
        return answers

    def _judged(self, signed: Signed[Any] | None) -> bytes | None:
        # What turns out to be junk has changed nothing but the clock by then.
        try:
            if signed is None:
                raise _Junk
            if signed.frame.type == Receipt.TYPE:
                return self._take_receipt(signed)
            if signed.frame.type == Submission.TYPE:
                return self._take_submission(signed)
            if signed.frame.type == PrekeyBundle.TYPE:
                return self._keep_prekeys(signed)
            return self._request(signed)
        except (FormatError, SignatureError, _Junk):
            self._tally["junk"] += 1
            return None

    def _now(self) -> datetime:
        """Return the time of all that the open transaction does."""
        memo = self._database.memo
        if "now" not in memo:
            now = self._state.tick(self._clock())
            certificate = self._identity.certificate.message
            if not certificate.not_before <= now < certificate.expires_at:
                raise GrantExpiredError("the issuer's certificate is not valid now; the client has to certify it anew")
            self._forget()
            memo["now"] = now
        found: datetime = memo["now"]
        return found

    def _request(self, request: Signed[OpenRequest]) -> bytes:
        if request.message.client != self._client:
            raise _Junk
        now = self._now()
        stored = self._state.stored_answer(request.hash, now)
        if stored is not None:
            self._tally["repeated"] += 1
            return stored.answer or self._denial(request, "replayed", now)
        if now >= request.message.expires_at:
            # Anyone can replay an expired request for ever: answer, but let it grow nothing.
            self._tally["denied stale"] += 1
            return self._denial(request, "stale", now)
        try:
            answer = self._release(request, now)
        except DeniedError as denied:
            answer = self._record_denial(request, denied.code, now)
            about = self._alarms.look_at(request, now) if denied.code == "unknown" else None
            if about is not None:
                self._tally[f"alarm {about}"] += 1
        except (DecryptionError, FormatError, KeystoreError, SignatureError):
            # The request is well-formed: what does not hold together is in our own state, or a KEK's file.
            answer = self._record_denial(request, "unavailable", now)
        self._recorded = True
        return answer

    def _release(self, request: Signed[OpenRequest] | PrekeyUse, now: datetime, status_max_age_s: int = 0) -> bytes:
        what = asked(request)
        grant = self._state.grant(what.grant_hash)
        if grant is None:
            raise DeniedError("unknown")
        authorized = authorize(request, grant, self._state.usage(what, grant, now), now)
        versions = opened_together(
            self._database, self._client, what.item, self._database.memo.setdefault("catalog", {})
        )
        entry = released_entry(authorized, versions)
        # Position first, so that the lease can name its entry; the entry is written only once the lease is made, and
        # both are in this one transaction.
        data = encode_entry(entry)
        position = self._log.position_of(data)
        lease = release(authorized, versions, position, self._kek, self._identity, status_max_age_s=status_max_age_s)
        self._log.append_raw(data)
        self._state.record_release(authorized, versions[0].header.version, lease.data)
        self._tally["released"] += 1
        return lease.data

    def _kek(self, version: CatalogVersion) -> Kek:
        name = (version.kek_id, version.kek_generation)
        if name not in self._unwrapped:
            self._unwrapped[name] = self._keks.load(version.header.project, *name)
        return self._unwrapped[name]

    def _forget(self) -> None:
        """Drop KEKs whose files a rotation or a shredding has destroyed."""
        for name in [name for name in self._unwrapped if not self._keks.path(*name).exists()]:
            del self._unwrapped[name]

    def _record_denial(self, request: Signed[OpenRequest], code: str, now: datetime) -> bytes:
        answer = self._denial(request, code, now)
        self._log.append(
            Denied(
                at=now,
                request_hash=request.hash,
                contractor=request.frame.signer,
                project=request.message.project,
                code=code,
            )
        )
        self._state.record_denial(request, answer)
        self._tally[f"denied {code}"] += 1
        return answer

    def _denial(self, request: Signed[OpenRequest], code: str, now: datetime) -> bytes:
        message = Denial(
            client=self._client,
            project=request.message.project,
            request_hash=request.hash,
            code=code,
            certificate=self._identity.certificate.data,
            at=truncate(now),
        )
        return sign_message(message, self._identity.signer).data

    def _take_receipt(self, receipt: Signed[Receipt]) -> bytes | None:
        taken = self._receiving.receipt(receipt, self._now())
        if taken is None:
            raise _Junk
        if taken.outcome == "recorded":
            self._recorded = True
            self._tally["receipts"] += 1
        return taken.ack

    def _take_submission(self, submission: Signed[Submission]) -> bytes | None:
        answered = self._receiving.submission(submission, self._now())
        if answered.outcome != "repeated":
            self._tally[f"submission {answered.outcome}"] += 1
        return answered.ack

    def _keep_prekeys(self, bundle: Signed[PrekeyBundle]) -> bytes | None:
        now = self._now()
        if bundle.message.client != self._client or now >= bundle.message.expires_at:
            raise _Junk
        if not self._state.keep_bundle(bundle):
            raise _Junk
        self._tally["prekeys"] += 1
        return None

    def issue(
        self,
        grant_id: bytes,
        items: Sequence[bytes],
        bundles: Sequence[bytes] | None = None,
        *,
        status_max_age_s: int = DEFAULT_STATUS_AGE_S,
        progress: Callable[[int, int], None] | None = None,
    ) -> IssueReport:
        """Issue one lease ahead for each task, sealed to an unused prekey: all or none; see `Ahead.issue`."""
        return self.ahead.issue(grant_id, items, bundles, status_max_age_s=status_max_age_s, progress=progress)

    def answer(self, *, wait_s: float = 0.0, release: bool = True) -> AnswerReport:
        """Make one pass over the mailbox: fetch, handle, post the answer, acknowledge.

        A message is acknowledged only after its answer was posted; after a crash it is handled again, and gets its
        stored answer.

        Args:
            wait_s: where nothing waits, how long the vault may keep the question open, in seconds.
            release: without it, only receipts and submissions are taken; what asks for a lease goes on waiting.

        Raises:
            RelayError: the vault can't be reached; all that `handle` raises, too.
            StoreError: the vault fails.
        """
        self._tally.clear()
        mailbox = issuer_mailbox(self._client)
        after = 0
        for _ in range(_MAX_PAGES):
            messages = self._relay.fetch(mailbox, after=after, limit=_FETCH_LIMIT, wait_s=wait_s)
            if not messages:
                break
            wait_s = 0.0
            after = messages[-1][0]
            taken = [each for each in messages if release or is_returned(each[1])]
            answers = self.handle_all([data for _, data in taken])
            if undelivered := reply_to(self._relay, self._client, taken, answers, self._clock()):
                self._tally["undelivered"] += undelivered
        self._settle()
        self._announce()
        return report_of(self._tally)

    def _announce(self) -> None:
        """Say at the vault that an alarm froze a project; if it can't be said now, the next pass tries again."""
        if self._alarms.unannounced:
            with suppress(RelayError, StoreError, GrantError):
                self.ahead.post_status()
                self._alarms.announced()

    def _settle(self) -> None:
        self._forget()
        due = bool(self._tally) and time.monotonic() >= self._prune_s
        if not (due or self._tally["junk"]):
            return
        with self._database.transaction():
            self._state.count_junk(self._tally["junk"])
            if due:
                self._state.prune(self._state.tick(self._clock()))
        if due:
            self._prune_s = time.monotonic() + _PRUNE_EVERY_S

    def run(
        self,
        stop: threading.Event,
        *,
        poll_s: float = 0.05,
        status_every_s: float = STATUS_INTERVAL.total_seconds(),
        on_pass: Callable[[AnswerReport], None] | None = None,
        on_away: Callable[[RelayError | StoreError | GrantLimitError], None] | None = None,
        on_turn: Callable[[bool], None] = lambda reached: None,
    ) -> None:
        """Answer until told to stop.

        Args:
            stop: ends the loop after the pass that is under way.
            poll_s: pause after a pass for which the vault had nothing and did not wait, in seconds.
            status_every_s: how often it leaves a fresh status at the vault, in seconds; the first one at once.
            on_pass: called after each pass that handled something.
            on_away: called when the vault can't be reached or a store fails, before a pause after which it is tried
                again; without it the error is raised. Nothing is lost either way: what was not acknowledged is
                handled again. Called too when more is revoked than a status can say: requests are answered meanwhile.
            on_turn: called after each pass, with True, and after `on_away`, with False; what it raises ends the run.
        """
        away_s = poll_s
        status_due_s = time.monotonic()
        while not stop.is_set():
            try:
                if time.monotonic() >= status_due_s:
                    self.ahead.keep_posted(on_away)
                    status_due_s = time.monotonic() + status_every_s
                asked_s = time.monotonic()
                report = self.answer(wait_s=_WAIT_S)
            except (RelayError, StoreError) as error:
                if on_away is None:
                    raise
                on_away(error)
                on_turn(False)
                away_s = min(2 * away_s, _AWAY_MAX_S)
                stop.wait(away_s)
                continue
            away_s = poll_s
            if report.handled and on_pass is not None:
                on_pass(report)
            on_turn(True)
            # A vault that kept the question open, or had messages, is asked again at once.
            if not report.handled and time.monotonic() - asked_s < poll_s:
                stop.wait(poll_s)
