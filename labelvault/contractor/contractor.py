"""The contractor's facade: a home with one identity, bound to one client, and the openings made from it.

A home holds `identity.key` (under the passphrase), `card`, `client.pin` (the client's identity key, once joined),
`invites/`, `certificate` and `state.db`. Nothing in it decrypts anything.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from labelvault.contractor.agent_client import AgentIdentity
from labelvault.contractor.ahead import AheadOfTime
from labelvault.contractor.answering import Answer
from labelvault.contractor.approval import BY_MAILBOX, Approving
from labelvault.contractor.asking import AnyExchange, Asking
from labelvault.contractor.cardfile import CardFile
from labelvault.contractor.clock import Deadline, checked_now, elapsed_s
from labelvault.contractor.fetching import Items, check_live, large_items, reader
from labelvault.contractor.held import Taken
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import open_lease, read_lease
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.output import erase_output
from labelvault.contractor.parts import Opened
from labelvault.contractor.post import Post
from labelvault.contractor.records import OpeningLog, OpeningRecord, check_finished
from labelvault.contractor.renewal import Leases, Renewed
from labelvault.contractor.submitting import Submit, Submitting
from labelvault.contractor.task import Task
from labelvault.contractor.worker import Opening, Worker
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import KeystoreError, OutputError
from labelvault.keys.cards import card_fingerprint
from labelvault.keys.files import make_private_dir
from labelvault.keys.identity import UnlockedIdentity, create_identity, open_identity
from labelvault.keys.keystore import DEFAULT_COST
from labelvault.relay.local import utc_now
from labelvault.wire.frame import Signed, Signer
from labelvault.wire.messages import Card, Lease, LeaseOuter
from labelvault.wire.times import truncate

DEFAULT_TIMEOUT_S: Final = 30.0


class Contractor:
    """A contractor's home, opened. `ahead` holds its prekeys, and the leases that were issued ahead of time."""

    def __init__(self, home: Path, identity: UnlockedIdentity, clock: Callable[[], datetime]) -> None:
        """Open a home; use `create` or `open`."""
        self.readable_memory = False  # whether opening processes let other programs of this user read their memory
        self._home = home
        self._identity = identity
        self._clock = clock
        self._log = OpeningLog(home / "state.db")
        self._card = CardFile(home, identity.public_key)
        self._joined = Joined(home, identity.public_key)
        self._post = Post(home, identity, self._log, self._joined, clock)
        self._submitting = Submitting(identity, self._log, self._joined, self._post, clock)
        self._asking = Asking(identity, self._joined, self._post, self.now, self._submitting.take_ack)
        self.ahead = AheadOfTime(home, identity, self._log, self._joined, self._post, self.now, clock)

    @classmethod
    def create(
        cls,
        home: Path,
        passphrase: str | SecretBytes,
        *,
        tier: str = "helper",
        label: str = "a contractor's device",
        presence: Signer | None = None,
        presence_key: bytes | None = None,
        parameters: Argon2idParameters = DEFAULT_COST,
        clock: Callable[[], datetime] = utc_now,
    ) -> "Contractor":
        """Make a home with a new identity and its card.

        Args:
            home: a directory that is made, with mode 0700; one home serves one client.
            passphrase: protects the identity key.
            tier: `helper`, this being the contractor's own device, or `desk`.
            label: what the card says of the host.
            presence: at a desk, the key of the contractor's own device, if it is in this process; it cosigns the card.
            presence_key: at a desk, its public key, 32 bytes, if it is not: see `draft` and `finish_card`.
            parameters: the cost of a passphrase guess.
            clock: says the time, aware UTC.

        Raises:
            KeystoreError: there is a contractor in this home already; or the file system refused.
            FormatError: tier or label are out of bounds.
            SignatureError: the presence key is no valid key.
        """
        home = Path(home)
        if (home / "identity.key").exists():
            check_finished(home)
            raise KeystoreError(
                f"{home} holds a contractor already; nothing was changed",
                next_step="Use it as it is (labelvault contractor list), or give another --home DIR.",
            )
        message = Card(tier, label, presence_key if presence is None else presence.public_key, truncate(clock()))
        CardFile.check(message)
        make_private_dir(home)
        identity = create_identity(home / "identity.key", passphrase, parameters)
        CardFile(home, identity.public_key).make(message, identity, presence)
        OpeningLog(home / "state.db", create=True).close()
        return cls(home, identity, clock)

    @classmethod
    def open(
        cls, home: Path, passphrase: str | SecretBytes | AgentIdentity, *, clock: Callable[[], datetime] = utc_now
    ) -> "Contractor":
        """Open a home with its passphrase, or with its identity as the agent holds it (`find_agent`).

        Raises:
            KeystoreError: or one of its kinds: no contractor there, wrong passphrase, damaged or foreign files.
        """
        home = Path(home)
        if not (home / "identity.key").is_file():
            raise KeystoreError(
                f"{home} holds no contractor",
                next_step="Give --home DIR if it is elsewhere, or make one: labelvault contractor init --label LABEL.",
            )
        check_finished(home)
        if isinstance(passphrase, AgentIdentity):
            return cls(home, passphrase, clock)
        return cls(home, open_identity(home / "identity.key", passphrase), clock)

    def close(self) -> None:
        """Close state and relays."""
        self._log.close()
        self._post.close()

    def __enter__(self) -> "Contractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def public_key(self) -> bytes:
        """Our identity's public key, 32 bytes."""
        return self._identity.public_key

    def card(self) -> bytes:
        """Return the card to send to the client, any way; its fingerprint goes another way."""
        return self._card.read().data

    def draft(self) -> bytes:
        """Return the draft of a desk's card, for its presence device to cosign (`PresenceDevice.cosign`)."""
        return self._card.draft().data

    def finish_card(self, cosignature: bytes) -> bytes:
        """Finish a desk's card with its presence device's cosignature, 64 bytes, and return it."""
        return self._card.finish(cosignature, self._identity)

    @property
    def card_fingerprint(self) -> str:
        """The words to read to the client, out of band."""
        return card_fingerprint(self.card())

    # Joining

    def join(self, invite: bytes, *, fingerprint: str | None = None) -> Membership:
        """Join with an invite. The first one binds this identity to its client, for ever.

        Args:
            invite: the invite's bytes.
            fingerprint: the client's, as heard from the client itself; not needed once joined.

        Raises:
            EnrolmentError: another client's fingerprint or invite, or one made for another contractor.
            SignatureError, FormatError: the invite is not whole.
            RollbackError: it brings an older certificate than we know.
        """
        return self._joined.join(invite, fingerprint, self._card.read().message.tier)

    def memberships(self) -> list[Membership]:
        """List what was joined, newest grant first, each with the newest certificate that is known."""
        return self._joined.memberships()

    @property
    def joined(self) -> Membership | None:
        """The newest grant, if any was joined."""
        found = self.memberships()
        return found[0] if found else None

    # Opening

    def now(self) -> datetime:
        """Return the time.

        Raises:
            ClockError: this machine's clock is behind an issuer time that was seen before.
        """
        return checked_now(self._clock, self._log.high_water())

    def open_task(
        self,
        item: bytes | str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        grant_id: bytes | None = None,
        exchange: AnyExchange = None,
        approving: Approving = BY_MAILBOX,
        offline: bool | None = None,
    ) -> Task:
        """Open a task in this process; leave the `with` block to close it.

        Args:
            item: the task's id: 16 bytes, or 32 hex digits.
            timeout_s: how long to wait for the issuer, in seconds.
            grant_id: which grant to use; the newest by default.
            exchange: how to reach the issuer; the vault's mailbox by default, or `Issuer.handle` in one process.
            approving: at a desk, how to reach its presence device.
            offline: use a lease that was issued ahead, or don't; by default if there is one and no `exchange` is given.

        Raises:
            StatusStaleError: a lease that was issued ahead needs a newer status than any that is known here.
            DeniedError: the issuer said no; `code` says why.
            RequestTimeoutError: it said nothing in time.
            ApprovalTimeoutError: nobody approved on the presence device in time; nothing was asked of the issuer.
            GrantError, LeaseError, ClockError: or one of their kinds.
            SignatureError, DecryptionError, TamperedError: what came is not what the client sealed and signed.
            StoreError, RelayError: the vault lacks something, or can't be reached.
        """
        held = self.ahead.lease_for(item, grant_id, False if offline is None and exchange else offline)
        if held is not None:
            return self._task(self._leases(held.membership, held.outer), *self.ahead.open_here(held))
        return self._asking.anew(
            self._joined.find(grant_id), lambda m: self._open_here(m, item, timeout_s, exchange, approving)
        )

    def _open_here(
        self,
        membership: Membership,
        item: bytes | str,
        timeout_s: float,
        exchange: AnyExchange,
        approving: Approving,
    ) -> Task:
        key, asked_s = OneTimeKey.generate(), elapsed_s()
        request, data = self._asking.ask(membership, item, key.public_key, timeout_s, exchange, approving)
        lease, outer = read_lease(data, request, membership, self.now())
        leases, deadline = self._leases(membership, outer), Deadline(outer, asked_s, self._clock)
        try:
            opened = self._opened(membership, lease, outer, key, deadline)
            leases.opened(opened.known, [])
        except BaseException:
            # The issuer counts the lease from its release: say that it is over, or it keeps the slot until it expires.
            leases.closed("best-effort")
            raise
        return self._task(leases, opened, deadline)

    def _task(self, leases: Leases, opened: Opened, deadline: Deadline) -> Task:
        def open_renewed(renewed: Renewed, key: OneTimeKey, before: Opened) -> Opened:
            lease, outer = read_lease(renewed.data, renewed.request, renewed.membership, self.now())
            return self._opened(renewed.membership, lease, outer, key, deadline, before)

        return Task(opened, deadline, leases, open_renewed, self._submit_under(leases))

    def _opened(
        self,
        membership: Membership,
        lease: Signed[Lease],
        outer: LeaseOuter,
        key: OneTimeKey,
        deadline: Deadline,
        before: Opened | None = None,
    ) -> Opened:
        relay = self._post.relay(membership)
        large = large_items(relay, partial(check_live, deadline))
        return open_lease(lease, outer, key, membership, reader(relay), large, before)

    def _leases(self, membership: Membership, outer: LeaseOuter) -> Leases:
        return Leases(membership, outer, self._asking, self._post, self._log, self.now)

    def _submit_under(self, leases: Leases) -> Submit:
        """Return how to submit under the newest of an opening's leases."""
        return lambda *answer: self._submitting.submit(leases.outer.lease_id, *answer)

    def begin(
        self,
        item: bytes | str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        grant_id: bytes | None = None,
        output: Path | None = None,
        approving: Approving = BY_MAILBOX,
        offline: bool | None = None,
    ) -> Opening:
        """Open a task in a process of its own, which alone holds its key and plaintext and exits at the close.

        Args:
            item: the task's id: 16 bytes, or 32 hex digits.
            timeout_s: how long to wait for the issuer, in seconds.
            grant_id: which grant to use; the newest by default.
            output: write 0600 files into this new directory, and let the process exit right away.
            approving: at a desk, how to reach its presence device.
            offline: as for `open_task`.

        Raises:
            OutputError: the directory can't be made or written; all that `open_task` raises, too.
        """
        folder = None if output is None else Path(output).absolute()
        if folder is not None and folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty")
        held = self.ahead.lease_for(item, grant_id, offline)
        if held is not None:
            worker = self.ahead.worker(held.prekey, self.readable_memory, folder is not None)
            items = self.ahead.begin(held, worker, folder, partial(self._undo, folder))
            return self._begun(worker, held.membership, held.outer, folder, items)
        return self._asking.anew(
            self._joined.find(grant_id), lambda m: self._begin(m, item, timeout_s, folder, approving)
        )

    def _begin(
        self, membership: Membership, item: bytes | str, timeout_s: float, folder: Path | None, approving: Approving
    ) -> Opening:
        worker = self.ahead.worker(None, self.readable_memory, folder is not None)
        try:
            items = self._post.relay(membership)
            request, data = self._asking.ask(membership, item, worker.one_time_key, timeout_s, None, approving)
            _, outer = read_lease(data, request, membership, self.now())
        except BaseException:
            worker.stop()
            raise
        try:
            if folder is not None:
                self._log.leased(outer, self.now(), folder)
            self._post.opened(outer, *worker.open(membership, request, data, folder, items))
        except BaseException:
            worker.stop()
            self._undo(folder, outer)
            raise
        return self._begun(worker, membership, outer, folder, items)

    def _undo(self, folder: Path | None, outer: LeaseOuter) -> None:
        """Erase what a failed opening wrote, whose child has exited, and close its lease."""
        try:
            if folder is not None:
                # It was empty before (`begin`): whatever is in it, the child wrote.
                erase_output(folder, None)
        finally:
            # Files may have been on a disk, which no exit erases.
            self._post.closed(outer, "process-exit" if folder is None else "best-effort")

    def _begun(
        self, worker: Worker, membership: Membership, outer: LeaseOuter, folder: Path | None, items: Items
    ) -> Opening:
        if folder is not None:
            worker.stop()
        leases = self._leases(membership, outer)
        return Opening(worker, leases, folder, items, partial(self._finish, leases), self._submit_under(leases))

    def _finish(self, leases: Leases, opening: Opening) -> None:
        """Record the close of an opening whose process has exited."""
        if opening.folder is not None:
            self.close_opening(opening.lease_id)
        else:
            leases.closed(opening.erased)

    def close_opening(self, lease_id: bytes) -> None:
        """Close an opening by its lease, also one that an earlier process made: erase its files, say so.

        The receipt says `best-effort`: files were on a disk, or whether the process that held the task has exited is
        not known to this one.

        Raises:
            LeaseError: nothing was opened here under this lease.
            OutputError: its files can't be removed; it stays open.
        """
        outer = self._log.outer(lease_id)
        written = self._log.files(lease_id)
        if written is not None:
            erase_output(*written)
        self._post.closed(outer, "best-effort")

    def take(self, data: bytes) -> Taken:
        """Take leases that were issued ahead, and a status, from a file; see `HeldLeases.take`."""
        return self.ahead.take(data)

    def post_due_receipts(self) -> int:
        """Post receipts and answers that the vault has not taken yet; the next opening or close tries again.

        Returns:
            How many are still due: 0 unless the vault can't be reached.
        """
        return self._post.post_due()

    def submit(
        self,
        lease_id: bytes,
        answer: Answer,
        *,
        name: str | None = None,
        media_type: str | None = None,
        approving: Approving | None = BY_MAILBOX,
    ) -> SubmissionRecord:
        """Submit an answer to a task that was opened here, sealed to the client; up to an hour after its lease's end.

        It is sealed and numbered before anything leaves, and waits here, sealed, while the vault is away; the next
        opening, close or `sync` posts it. Another answer under the same lease, up to 16, revises the one before.

        Args:
            lease_id: 32 bytes; the task may be closed.
            answer: a JSON value (dict, list, number, bool, None), a text, bytes, or the `Path` of a file; up to 64 MiB.
            name: what to call it; `answer` by default, or the file's name.
            media_type: by default JSON, plain text, or what the file's name says.
            approving: at a desk whose grant demands presence, how to reach the device that approves the answer; None
                submits it unapproved, and so it says.

        Raises:
            LeaseError: nothing was opened here under this lease, or its 16 answers were given.
            LeaseExpiredError: the lease ended more than an hour ago.
            FormatError: the answer has no such form, or is too large.
            ApprovalTimeoutError, PresenceError: nobody approved on the presence device; nothing was submitted.
            GrantError: the grant's invite is gone from this home.
        """
        return self._submitting.submit(lease_id, answer, name, media_type, approving)

    def sync(self) -> int:
        """Post what is due, and take what the issuer says of answers.

        Returns:
            How many receipts and answers are still due: 0 unless the vault can't be reached.

        Raises:
            RelayError, StoreError: the vault can't be reached, or `state.db` refused; what was posted was.
        """
        due = self._post.post_due()
        self._submitting.take_acks()
        return due

    def submissions(self) -> list[SubmissionRecord]:
        """List what was submitted, oldest first, with what the issuer said of it."""
        return self._log.outbox.all()

    def openings(self) -> list[OpeningRecord]:
        """List openings, oldest first."""
        return self._log.all()
