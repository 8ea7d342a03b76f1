"""Leases that were issued ahead, and the newest status, until they are needed: files of a contractor's home.

A lease is sealed to a prekey and a status is for all to read, so both may rest as they came. What is read back is
verified anew each time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import CLOCK_SKEW, Membership, newer_certificate
from labelvault.contractor.opening import lease_outer, read_ahead_lease
from labelvault.contractor.records import OpeningLog
from labelvault.errors import (
    ClockError,
    FormatError,
    GrantFrozenError,
    GrantRevokedError,
    KeystoreError,
    LeaseError,
    LeaseExpiredError,
    RollbackError,
    SignatureError,
    StatusStaleError,
)
from labelvault.keys.files import erase_file, make_private_dir, read_private, write_private
from labelvault.keys.prekeys import PrekeyFiles
from labelvault.wire.ahead import Status
from labelvault.wire.certified import open_certified
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.frame import Signed, parse_frame
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.messages import Lease, LeaseOuter


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease at hand, verified when it was read.

    Attributes:
        outer: its readable part.
        data: its frame.
        membership: under which grant.
        prekey: our public key that it is sealed to.
    """

    outer: LeaseOuter
    data: bytes = field(repr=False)
    membership: Membership = field(repr=False)
    prekey: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken from a file.

    Attributes:
        leases: how many are at hand now that were not before.
        over: how many can't be opened any more: closed, expired, or their prekey is gone.
        status_at: the time of the file's status, if it has one.
        status_older: that status is older than one that was seen before, so it was refused.
    """

    leases: int
    over: int
    status_at: datetime | None
    status_older: bool


class HeldLeases:
    """`leases/` and `status` of a home."""

    def __init__(
        self,
        home: Path,
        contractor: bytes,
        log: OpeningLog,
        joined: Joined,
        prekeys: PrekeyFiles,
        now: Callable[[], datetime],
    ) -> None:
        """Use a home's parts.

        Args:
            home: the contractor's.
            contractor: our own public key, 32 bytes.
            log: knows what was opened, and the newest status ever seen.
            joined: under which grants leases may be.
            prekeys: those that are left.
            now: the checked time; raises ClockError.
        """
        self._leases = home / "leases"
        self._status = home / "status"
        self._contractor = contractor
        self._log = log
        self._joined = joined
        self._prekeys = prekeys
        self._now = now

    def take(self, data: bytes) -> Taken:
        """Keep the leases and the status of a file that the client wrote.

        Raises:
            FormatError, SignatureError, LeaseError: something in it is not what it claims to be; no lease was taken.
            ClockError: this machine's clock runs behind.
        """
        leases, status_at, older = [], None, False
        for frame in unpack_frames(data):
            kind = parse_frame(frame).type
            if kind == Lease.TYPE:
                leases.append(frame)
            elif kind == Status.TYPE:
                try:
                    status_at = self.take_status(frame).message.at
                except RollbackError:
                    older = True
            else:
                raise FormatError(f"a {kind} is nothing that a contractor takes from a file")
        held, over = self.take_leases(leases)
        return Taken(held, over, status_at, older)

    def take_leases(self, frames: Sequence[bytes]) -> tuple[int, int]:
        """Verify leases and keep those that can be opened, all or none; return how many are new, and how many over.

        Raises:
            FormatError, SignatureError, LeaseError: one of them is not what it claims to be; none was kept.
        """
        self.sweep()
        kept: list[tuple[Path, bytes]] = []
        over, known = 0, self._known()
        for frame in frames:
            outer = lease_outer(frame)
            membership = known.memberships.get(outer.grant_hash)
            if membership is None:
                raise LeaseError("a lease stands on a grant that was not joined here")
            prekey = known.prekeys.get(outer.lease_id)
            if prekey is None or self._log.was_opened(outer.lease_id):
                over += 1
                continue
            try:
                read_ahead_lease(frame, prekey, outer.item, self._contractor, membership, self._now())
            except LeaseExpiredError:
                over += 1
                continue
            kept.append((self._path(outer.lease_id), frame))
        # A file that was damaged since is replaced.
        at_hand = {path: data for path, data, _ in self._at_hand()}
        new = [(path, frame) for path, frame in kept if at_hand.get(path) != frame]
        if new:
            make_private_dir(self._leases)
        for path, frame in new:
            write_private(path, frame, replace=True)
        return len(new), over

    def find(self, item: bytes, grant_id: bytes | None) -> HeldLease | None:
        """Return the lease at hand that opens a task, verified; None if there is none.

        Raises:
            ClockError: this machine's clock runs behind.
            KeystoreError: the file system refused.
        """
        self.sweep()
        for held in self.all(item):
            if grant_id in (None, held.membership.grant.message.grant_id):
                return held
        return None

    def all(self, item: bytes | None = None) -> list[HeldLease]:
        """List leases that can be opened, of one task or of all, the one that ends first before others."""
        found, known = [], self._known()
        for _, data, outer in self._at_hand():
            if item not in (None, outer.item):
                continue
            membership, prekey = known.memberships.get(outer.grant_hash), known.prekeys.get(outer.lease_id)
            if membership is None or prekey is None or self._log.was_opened(outer.lease_id):
                continue
            # One that no longer fits, after its issuer was certified anew for example, must not hide the others.
            with suppress(FormatError, SignatureError, LeaseError):
                read_ahead_lease(data, prekey, outer.item, self._contractor, membership, self._now())
                found.append(HeldLease(outer, data, membership, prekey))
        return sorted(found, key=lambda held: held.outer.expires_at)

    def erase(self, outer: LeaseOuter) -> None:
        """Erase the prekey of a lease that is closed, then its file; for one that was asked for online, nothing.

        Raises:
            KeystoreError: the file system refused; the lease stays open.
        """
        # By the prekey and not by the file, which may be gone or damaged: what could open it goes in any case.
        keys = [key for key, _ in self._prekeys.public_keys()]
        self._prekeys.erase(*(key for key in keys if prekey_lease_id(outer.grant_hash, key) == outer.lease_id))
        path = self._path(outer.lease_id)
        if path.exists():
            erase_file(path)

    def sweep(self) -> int:
        """Erase prekeys whose end has come, and leases that are over with theirs; return how many prekeys.

        What is open stays until its close, or its end, if the process that held it was killed.

        Raises:
            ClockError: this machine's clock runs behind; nothing was erased.
            KeystoreError: the file system refused.
        """
        now = self._now()
        erased, known = self._prekeys.erase_expired(now), self._known()
        over: dict[Path, bytes | None] = {}
        for path, _, outer in self._at_hand():
            prekey = known.prekeys.get(outer.lease_id)
            if now >= outer.expires_at or (prekey is None and not self._log.was_opened(outer.lease_id)):
                over[path] = prekey
        spent = [prekey for prekey in over.values() if prekey is not None]
        if spent:
            self._prekeys.erase(*spent)
        for path in over:
            erase_file(path)
        return erased + len(spent)

    def _at_hand(self) -> Iterator[tuple[Path, bytes, LeaseOuter]]:
        """Yield file, frame and readable part of each lease; one that is damaged must not hide the others."""
        try:
            paths = sorted(self._leases.glob("*.lease"))
        except OSError as error:
            raise KeystoreError(f"{self._leases} can't be read: {error.strerror}") from error
        for path in paths:
            with suppress(FormatError, KeystoreError):
                data = read_private(path, MAX_BYTES)
                yield path, data, lease_outer(data)

    def _path(self, lease_id: bytes) -> Path:
        return self._leases / f"{lease_id.hex()}.lease"

    def _known(self) -> "_Known":
        memberships = {each.grant.hash: each for each in self._joined.memberships()}
        keys = [key for key, _ in self._prekeys.public_keys()]
        return _Known(memberships, {prekey_lease_id(grant, key): key for grant in memberships for key in keys})

    # Status

    def take_status(self, data: bytes, *, served: bool = False) -> Signed[Status]:
        """Verify a status and keep it, if it is no older than any that was seen; return the newest.

        Args:
            data: its frame.
            served: the vault served it, and not a file: then it may be older than what came by file since, but not than
                what the vault itself served before.

        Raises:
            FormatError, SignatureError: not signed by an issuer that our client certified.
            RollbackError: a newer one was seen, or a newer certificate.
            ClockError: it was made in what this machine takes for the future.
        """
        membership = self._joined.find(None)
        status, certificate = open_certified(data, Status, membership.client)
        newer_certificate(membership.certificate, certificate)
        at = status.message.at
        if served and at >= self._log.served_at():
            self._log.was_served(at)
            if at < self._log.status_at() and (newest := self.status()) is not None:
                return newest
        if at < self._log.status_at():
            raise RollbackError(f"a status of {at.isoformat()} is older than one that was seen before")
        if at > self._now() + CLOCK_SKEW:
            raise ClockError("the status was made in this machine's future: its clock is behind the issuer's")
        if certificate.data != membership.certificate.data:
            self._joined.keep_certificate(
                Membership(membership.identity_key, membership.invite, certificate, membership.grant)
            )
        write_private(self._status, data, replace=True)
        self._log.saw_status(at)
        return status

    def status(self) -> Signed[Status] | None:
        """Return the newest status, verified anew; None if none was ever taken.

        Raises:
            FormatError, SignatureError, RollbackError, ClockError: the file is not what was taken last.
        """
        if not self._status.exists():
            return None
        return self.take_status(read_private(self._status, MAX_BYTES))

    def check_status(self, held: HeldLease, now: datetime) -> None:
        """Refuse a lease that the newest status revokes, or for which it is too old.

        Raises:
            StatusStaleError: there is none, or it is older than the lease allows.
            GrantRevokedError, GrantFrozenError: it says so.
        """
        status = self.status()
        if status is None:
            raise StatusStaleError("no status of the client's issuer is known here; a lease issued ahead needs one")
        message, outer = status.message, held.outer
        if outer.grant_hash in message.revoked:
            raise GrantRevokedError("the newest status says that this grant was revoked")
        if outer.lease_id in message.revoked_leases:
            raise GrantRevokedError("the newest status says that the batch of this lease's task was revoked")
        if outer.project in message.frozen:
            raise GrantFrozenError("the newest status says that this grant's project is frozen")
        if now - message.at > timedelta(seconds=outer.status_max_age_s):
            raise StatusStaleError(
                f"the newest status known here is of {message.at.isoformat()}; this lease allows one that is at most"
                f" {outer.status_max_age_s} s old"
            )


@dataclass(frozen=True, slots=True)
class _Known:
    """What was joined, by grant hash, and which prekeys are left, by the lease id that each can get."""

    memberships: dict[bytes, Membership]
    prekeys: dict[bytes, bytes]
