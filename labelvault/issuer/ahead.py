"""Issuing ahead of time: leases for named tasks, sealed to prekeys, by the same choke point as an answer to a request.

Needs no vault and no network: prekeys in, leases out. One call is one transaction, so it issues all or nothing; called
again with the same prekeys it gives the same leases, whatever happened in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from labelvault.database import Database
from labelvault.errors import (
    DecryptionError,
    DeniedError,
    EnrolmentError,
    FormatError,
    GrantError,
    GrantLimitError,
    IssueRefusedError,
    KeystoreError,
    PrekeyError,
    PrekeyExpiredError,
    PrekeysUsedError,
    SignatureError,
)
from labelvault.issuer.authorize import PrekeyUse
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.issuer.state import LeaseRow, State
from labelvault.issuer.status import make_status
from labelvault.relay.protocol import Relay
from labelvault.wire.ahead import PrekeyBundle, Status
from labelvault.wire.frame import Signed, open_frame, parse_frame
from labelvault.wire.ids import ClientId, issuer_mailbox, lease_mailbox, prekey_lease_id, status_mailbox
from labelvault.wire.messages import Grant

MIN_STATUS_AGE_S: Final = 60
MAX_STATUS_AGE_S: Final = 604_800
DEFAULT_STATUS_AGE_S: Final = 86_400
_FETCH_LIMIT: Final = 100
_MAX_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class IssuedLease:
    """One lease that was issued ahead.

    Attributes:
        item: the task's id, 16 bytes.
        lease_id: 32 bytes.
        expires_at: its end.
        frame: what opens the task, sealed to a prekey of its contractor.
        again: an earlier call had issued it already.
    """

    item: bytes
    lease_id: bytes
    expires_at: datetime
    frame: bytes = field(repr=False)
    again: bool


@dataclass(frozen=True, slots=True)
class IssueReport:
    """What one call issued.

    Attributes:
        contractor: for whom, the 32-byte key.
        leases: one a task, in the order of the tasks.
        closed: ids of tasks whose lease under one of these prekeys was closed already; nothing new was issued for them.
        unused: prekeys that are left.
        status: a fresh status, without which no lease can be opened.
    """

    contractor: bytes
    leases: tuple[IssuedLease, ...]
    closed: tuple[bytes, ...]
    unused: int
    status: Signed[Status] = field(repr=False)

    @property
    def frames(self) -> tuple[bytes, ...]:
        """All that the contractor needs: the leases, then the status."""
        return (*(lease.frame for lease in self.leases), self.status.data)


class Ahead:
    """Issues with prekeys, and says what is revoked, over the parts of one issuer.

    Attributes:
        posted: the newest status that was left at the vault; None before the first.
    """

    def __init__(
        self,
        database: Database,
        state: State,
        log: Log,
        identity: IssuerIdentity,
        release: Callable[[PrekeyUse, datetime, int], bytes],
        now: Callable[[], datetime],
        relay: Callable[[], Relay],
        handle: Callable[[bytes], bytes | None],
    ) -> None:
        """Use an issuer's parts.

        Args:
            database: open `client.db`.
            state: what the issuer remembers.
            log: its ledger.
            identity: its certified key.
            release: authorizes, records and returns a lease's frame, inside a transaction; the third argument is
                `status_max_age_s`.
            now: the issuer's time, inside a transaction.
            relay: reaches the vault.
            handle: handles one message from the mailbox.
        """
        self._database = database
        self._state = state
        self._log = log
        self._identity = identity
        self._release = release
        self._now = now
        self._relay = relay
        self._handle = handle
        self.posted: Signed[Status] | None = None

    def issue(
        self,
        grant_id: bytes,
        items: Sequence[bytes],
        bundles: Sequence[bytes] | None = None,
        *,
        status_max_age_s: int = DEFAULT_STATUS_AGE_S,
        progress: Callable[[int, int], None] | None = None,
    ) -> IssueReport:
        """Issue one lease ahead for each task, sealed to an unused prekey: all or none. Needs no vault.

        Each passes the checks of a request, counts in the grant's limits from now to its end, and is in the ledger
        before it is returned. Called again with the same arguments, after whatever crash, it returns the same leases.

        Args:
            grant_id: 16 bytes.
            items: task ids, 16 bytes each.
            bundles: frames of the grant's contractor with prekeys; by default those that came through the vault.
            status_max_age_s: how old the newest status may be when one of the leases is opened: 60 s to 7 days.
            progress: called with (tasks done, tasks in all).

        Raises:
            GrantError: there is no such grant.
            IssueRefusedError: a task can't be issued, for its `code`.
            PrekeyExpiredError, PrekeysUsedError, PrekeyError: the prekeys can't be used, or are too few.
            EnrolmentError: they were made for another client.
            SignatureError, FormatError: they are not signed by the grant's contractor, or malformed.
            ClockError: this machine's clock runs behind.
            GrantExpiredError: the issuer's certificate is not valid now.
            StoreError: `client.db` refused.
        """
        if not MIN_STATUS_AGE_S <= status_max_age_s <= MAX_STATUS_AGE_S:
            raise FormatError(f"a status may be {MIN_STATUS_AGE_S} to {MAX_STATUS_AGE_S} seconds old at an opening")
        tasks = list(dict.fromkeys(items))
        with self._database.transaction():
            now = self._now()
            grant = self._state.grant_of(grant_id)
            if grant is None:
                raise GrantError("there is no grant of this id")
            keys = _Keys(self._state, grant, self._offered(grant, bundles, now))
            leases, closed = [], []
            for number, item in enumerate(tasks):
                lease = self._lease(keys, item, now, status_max_age_s, len(tasks) - number)
                if lease is None:
                    closed.append(item)
                else:
                    leases.append(lease)
                if progress is not None:
                    progress(number + 1, len(tasks))
            self._log.sign(self._identity.name, self._identity.signer)
            status = make_status(self._database, self._log, self._identity, now)
        return IssueReport(grant.message.contractor, tuple(leases), tuple(closed), len(keys.free), status)

    def deliver(self, report: IssueReport) -> None:
        """Leave leases that were issued ahead, and their status, at the vault. May be repeated.

        Raises:
            RelayError, StoreError: the vault can't be reached, or refused; some may be there already.
        """
        client = ClientId(report.status.message.client)
        for lease in report.leases:
            self._relay().post(lease_mailbox(client, report.contractor), lease.frame)
        self._relay().post(status_mailbox(client), report.status.data)

    def collect(self) -> int:
        """Keep the bundles of prekeys that wait at the vault, and leave everything else there; return how many.

        Raises:
            RelayError, StoreError: the vault can't be reached, or refused.
        """
        relay = self._relay()
        mailbox, after, found = issuer_mailbox(ClientId(self._identity.certificate.message.client)), 0, 0
        for _ in range(_MAX_PAGES):
            messages = relay.fetch(mailbox, after=after, limit=_FETCH_LIMIT)
            if not messages:
                break
            for number, data in messages:
                after = number
                if _is_bundle(data):
                    self._handle(data)
                    relay.ack(mailbox, number)
                    found += 1
        return found

    def status(self) -> Signed[Status]:
        """Sign what is revoked and frozen now.

        Raises:
            GrantError: it is more than a status can say.
            ClockError: this machine's clock runs behind.
            GrantExpiredError: the issuer's certificate is not valid now.
        """
        with self._database.transaction():
            return make_status(self._database, self._log, self._identity, self._now())

    def post_status(self) -> Signed[Status]:
        """Sign what is revoked and frozen now, leave it at the vault for all, and return it.

        Raises:
            RelayError, StoreError: the vault can't be reached, or refused.
            GrantError, ClockError, GrantExpiredError: as `status`.
        """
        status = self.status()
        self._relay().post(status_mailbox(ClientId(status.message.client)), status.data)
        self.posted = status
        return status

    def keep_posted(self, on_fault: Callable[[GrantLimitError], None] | None) -> None:
        """Post a status; where more is revoked than one can say, only tell: the old one ages, and opens nothing then.

        Raises:
            GrantLimitError: there is nobody to tell.
            RelayError, StoreError, ClockError, GrantExpiredError: as `post_status`.
        """
        try:
            self.post_status()
        except GrantLimitError as error:
            if on_fault is None:
                raise
            on_fault(error)

    def _offered(
        self, grant: Signed[Grant], bundles: Sequence[bytes] | None, now: datetime
    ) -> list[Signed[PrekeyBundle]]:
        epoch = self._identity.certificate.message.epoch
        if bundles is None:
            kept = [_verified(data, grant) for data in self._state.bundles(grant.message.contractor, now)]
            return [bundle for bundle in kept if bundle.message.epoch == epoch]
        offered = [_verified(data, grant) for data in bundles]
        for bundle in offered:
            if now >= bundle.message.expires_at:
                raise PrekeyExpiredError(f"these prekeys expired at {bundle.message.expires_at.isoformat()}")
            if bundle.message.epoch != epoch:
                raise PrekeyError("these prekeys were made for another epoch of the ledger")
        return offered

    def _lease(self, keys: "_Keys", item: bytes, now: datetime, status_max_age_s: int, left: int) -> IssuedLease | None:
        """Return the lease of a task: an earlier one that still counts, or a new one; None if it was closed."""
        for earlier in keys.earlier.get(item, ()):
            stored = self._state.stored_answer(earlier.lease_id, now)
            if stored is not None and stored.answer is not None:
                return IssuedLease(item, earlier.lease_id, earlier.expires_at, stored.answer, again=True)
            if self._state.is_closed(earlier.lease_id):
                return None
        if not keys.free:
            raise PrekeysUsedError(left)
        bundle, index = keys.free.pop(0)
        use = PrekeyUse(bundle, index, item, keys.grant.hash)
        try:
            frame = self._release(use, now, status_max_age_s)
        except DeniedError as denied:
            raise IssueRefusedError(item, denied.code) from denied
        except (DecryptionError, FormatError, KeystoreError, SignatureError) as error:
            raise IssueRefusedError(item, "unavailable") from error
        lease_id = prekey_lease_id(keys.grant.hash, bundle.message.keys[index])
        made = self._state.lease(lease_id)
        if made is None:
            raise IssueRefusedError(item, "unavailable")
        return IssuedLease(item, lease_id, made.expires_at, frame, again=False)


def _verified(data: bytes, grant: Signed[Grant]) -> Signed[PrekeyBundle]:
    bundle = open_frame(data, PrekeyBundle, grant.message.contractor)
    if bundle.message.client != grant.message.client:
        raise EnrolmentError("these prekeys were made for another client")
    return bundle


def _is_bundle(data: bytes) -> bool:
    try:
        return parse_frame(data).type == PrekeyBundle.TYPE
    except FormatError:
        return False


class _Keys:
    """The prekeys of some bundles: those that are free, and the leases that the others got under this grant."""

    def __init__(self, state: State, grant: Signed[Grant], bundles: Sequence[Signed[PrekeyBundle]]) -> None:
        self.grant = grant
        self.free: list[tuple[Signed[PrekeyBundle], int]] = []
        self.earlier: dict[bytes, list[LeaseRow]] = {}
        seen: set[bytes] = set()
        for bundle in bundles:
            for index, key in enumerate(bundle.message.keys):
                if key in seen:
                    continue
                seen.add(key)
                lease = state.lease(prekey_lease_id(grant.hash, key))
                if lease is not None:
                    self.earlier.setdefault(lease.item, []).append(lease)
                elif not state.key_spent(key):
                    self.free.append((bundle, index))
