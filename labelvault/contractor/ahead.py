"""Ahead of time: prekeys out, leases in, and opening with them while no issuer is there to ask.

The vault still gives the items, and the leases that it holds.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from labelvault.contractor.agent_client import AgentIdentity
from labelvault.contractor.asking import task_id
from labelvault.contractor.clock import Deadline
from labelvault.contractor.fetching import Items, check_live, large_items, reader
from labelvault.contractor.held import HeldLease, HeldLeases, Taken
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import lease_outer, open_lease, read_ahead_lease
from labelvault.contractor.parts import Opened
from labelvault.contractor.post import Post
from labelvault.contractor.prekeys import DEFAULT_PREKEY_LIFETIME, Prekeys
from labelvault.contractor.records import OpeningLog
from labelvault.contractor.worker import Worker
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import FormatError, LabelVaultError, LeaseError, RelayError, StoreError
from labelvault.keys.identity import UnlockedIdentity
from labelvault.wire.ahead import Status
from labelvault.wire.frame import Signed
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.ids import issuer_mailbox, lease_mailbox, status_mailbox
from labelvault.wire.messages import LeaseOuter

_PAGE: Final = 1000


class AheadOfTime:
    """What a home does with prekeys and with the leases that are sealed to them."""

    def __init__(
        self,
        home: Path,
        identity: UnlockedIdentity,
        log: OpeningLog,
        joined: Joined,
        post: Post,
        now: Callable[[], datetime],
        clock: Callable[[], datetime],
    ) -> None:
        """Use a home's parts.

        Args:
            home: the contractor's.
            identity: signs bundles, and unlocks prekeys.
            log: what was opened.
            joined: our grants.
            post: the way to the vault, and receipts.
            now: the checked time; raises ClockError.
            clock: the wall clock.
        """
        self._identity = identity
        self._contractor = identity.public_key
        self._maker = Prekeys(home, identity, joined, now)
        self._prekeys = self._maker.files
        self._held = HeldLeases(home, identity.public_key, log, joined, self._prekeys, now)
        post.before_close = self._held.erase
        self._joined = joined
        self._post = post
        self._log = log
        self._now = now
        self._clock = clock

    def make_prekeys(
        self,
        count: int,
        *,
        lifetime: timedelta = DEFAULT_PREKEY_LIFETIME,
        progress: Callable[[int, int], None] | None = None,
    ) -> bytes:
        """Make one-time keys and return the file that goes to the client; see `Prekeys.make`."""
        return self._maker.make(count, lifetime, progress)

    def post_prekeys(self, data: bytes) -> int:
        """Post a file from `make_prekeys` through the vault; return how many messages it was.

        Raises:
            RelayError, StoreError: the vault can't be reached, or refused; it may be posted again.
        """
        membership, frames = self._joined.find(None), unpack_frames(data)
        for frame in frames:
            self._post.relay(membership).post(issuer_mailbox(membership.client), frame)
        return len(frames)

    def erase_prekeys(self) -> int:
        """Erase all prekeys, and return how many: no lease that is sealed to one can be opened any more.

        Raises:
            KeystoreError: the file system refused.
        """
        return self._prekeys.erase_all()

    def erase_expired(self) -> int:
        """Erase prekeys and leases whose end has come; done too whenever leases are looked at. Return how many keys."""
        return self._held.sweep()

    def prekeys_left(self) -> int:
        """Return how many prekeys wait for a lease, or for theirs to be opened and closed."""
        return len(self._prekeys.public_keys())

    def take(self, data: bytes) -> Taken:
        """Take leases and status from a file; see `Contractor.take`."""
        return self._held.take(data)

    def leases(self) -> list[HeldLease]:
        """List leases at hand that can be opened, the one that ends first before others."""
        self._held.sweep()
        return self._held.all()

    def status(self) -> Signed[Status] | None:
        """Return the newest status that is known here; None if none ever was."""
        return self._held.status()

    def lease_for(self, item: bytes | str, grant_id: bytes | None, offline: bool | None) -> HeldLease | None:
        """Return the lease to open a task with; None if the issuer is to be asked.

        Raises:
            LeaseError: `offline`, and there is none.
        """
        held = None if offline is False else self.find(task_id(item), grant_id)
        if held is None and offline:
            raise LeaseError(
                "no lease that was issued ahead for this task is here, and the vault hands none out",
                next_step="Import the client's file (labelvault contractor import FILE), or have the task claimed.",
            )
        return held

    def find(self, item: bytes, grant_id: bytes | None) -> HeldLease | None:
        """Return a lease for a task: one at hand, or one that the vault holds and hands out now; None if there is none.

        Raises:
            RelayError, StoreError: the vault can't be reached, and none is at hand.
        """
        found = self._held.find(item, grant_id)
        if found is not None or not self._prekeys.public_keys():
            return found
        membership = self._joined.find(grant_id)
        mailbox = lease_mailbox(membership.client, self._contractor)
        for _, data in self._post.relay(membership).fetch(mailbox, limit=_PAGE):
            # Anyone can leave anything there: what is no lease of ours is passed over, so that it hides none.
            with suppress(LabelVaultError):
                if lease_outer(data).item == item:
                    self._held.take_leases([data])
        return self._held.find(item, grant_id)

    def refresh(self, membership: Membership | None = None) -> Signed[Status] | None:
        """Fetch the newest status from the vault and keep it; return the newest that is known then.

        Raises:
            RollbackError: the vault offers only an older one than it did before.
            RelayError, StoreError: it can't be reached.
            ClockError: the status was made in this machine's future.
        """
        membership = membership or self._joined.find(None)
        newest: LabelVaultError | None = None
        for _, data in self._post.relay(membership).fetch(status_mailbox(membership.client), limit=_PAGE):
            try:
                return self._held.take_status(data, served=True)
            except FormatError:
                continue
            except LabelVaultError as error:
                newest = error
        if newest is not None:
            raise newest
        return self._held.status()

    def _ready(self, held: HeldLease) -> datetime:
        """Check all that can be checked before anything is decrypted, and return our time."""
        now = self._now()
        held.membership.check_valid(now)
        self._post.post_due()
        with suppress(RelayError, StoreError):
            self.refresh(held.membership)
        self._held.check_status(held, now)
        if self._log.was_opened(held.outer.lease_id):
            raise LeaseError("this lease was opened already, and opens once")
        return now

    def open_here(self, held: HeldLease) -> tuple[Opened, Deadline]:
        """Open in this process; see `Contractor.open_task`.

        Args:
            held: from `find`.
        """
        now = self._ready(held)
        membership = held.membership
        lease, outer = read_ahead_lease(held.data, held.prekey, held.outer.item, self._contractor, membership, now)
        deadline = Deadline.since_issue(outer, now, self._clock)
        self._log.leased(outer, now, None)
        try:
            relay = self._post.relay(membership)
            large = large_items(relay, partial(check_live, deadline))
            key = OneTimeKey(self._prekeys.seed(held.prekey))
            opened = open_lease(lease, outer, key, membership, reader(relay), large)
        except BaseException as error:
            self._failed(outer, error, partial(self._post.closed, outer, "best-effort"))
            raise
        self._post.opened(outer, opened.known, [])
        return opened, deadline

    def worker(self, prekey: bytes | None, readable: bool, writes: bool) -> Worker:
        """Return a child to open a lease in; the agent's is ready, and has its prekey already if it is to have one.

        Args:
            prekey: the public key of the one that its lease is sealed to; none if its own one-time key is.
            readable: see `Worker`; what has a prekey of the agent's is never readable.
            writes: see `Worker`.

        Raises:
            LeaseError, KeystoreError: it did not start, or the prekey is gone.
        """
        if isinstance(self._identity, AgentIdentity):
            return self._identity.worker(prekey, readable=readable, writes=writes)
        return Worker(readable=readable, writes=writes)

    def begin(
        self,
        held: HeldLease,
        worker: Worker,
        folder: Path | None,
        closed: Callable[[LeaseOuter], None],
    ) -> Items:
        """Open in a child process, which gets the prekey's seed; return the way to its vault. See `Contractor.begin`.

        Args:
            held: from `find`.
            worker: a child that waits; after an error its caller stops it.
            folder: where files are written, if they are.
            closed: erases what a failed opening wrote, once the child has exited, and records the close.
        """
        try:
            now = self._ready(held)
            outer = held.outer
            self._log.leased(outer, now, folder)
        except BaseException:
            worker.stop()
            raise
        try:
            if not worker.has_prekey:
                worker.take_prekey(self._prekeys.seed(held.prekey))
            items = self._post.relay(held.membership)
            known, files = worker.open_ahead(held.membership, self._contractor, held.data, folder=folder, items=items)
        except BaseException as error:
            worker.stop()
            self._failed(held.outer, error, partial(closed, held.outer))
            raise
        self._post.opened(outer, known, files)
        return items

    def _failed(self, outer: LeaseOuter, error: BaseException, closed: Callable[[], None]) -> None:
        """Keep the lease for later if only the vault was away; else close it, as the issuer counts it as open."""
        if isinstance(error, RelayError | StoreError):
            self._log.forget(outer.lease_id)
        else:
            closed()
