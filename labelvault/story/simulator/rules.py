"""What the rules of the design let a thief read, worked out from what happened: no key, wrap or payload is looked at.

A second, small issuer reads the messages that reach the first one, and decides by itself; a list of what each device
holds says what a theft of it yields. Both know of keys by their names only: a one-time key by its public half, a KEK by
a number. The numbers of the design (skew, age of an approval) stand here once more, so that a slip there shows.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from labelvault.wire.frame import Frame, frame_hash, parse_frame
from labelvault.wire.messages import Limits, OpenRequest, Receipt
from labelvault.wire.schema import decode_record

Version = tuple[bytes, bytes, int]
"""Client, item and version: what can be read or not."""

_SKEW: Final = timedelta(seconds=120)
_APPROVAL_AGE: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)


@dataclass
class Terms:
    """A grant, as its client gave it.

    Attributes:
        contractor: the key that it is for.
        epoch: of the issuer that may act on it.
        presence: `device`, `waived`, or `key` if a phone has to approve.
    """

    contractor: bytes
    epoch: bytes
    batches: frozenset[bytes]
    limits: Limits
    expires_at: datetime
    presence: str
    revoked: bool = False


@dataclass
class Lent:
    """A lease, as it was released.

    Attributes:
        opens: the task's version and those that it requires.
        key: the public half of the one-time key that it is sealed to.
        over: closed or renewed, as far as its issuer heard.
    """

    grant: bytes
    contractor: bytes
    task: bytes
    opens: frozenset[Version]
    key: bytes
    issued_at: datetime
    expires_at: datetime
    over: bool = False


@dataclass
class Books:
    """What a client and its issuer know; a restore puts all of it back.

    Attributes:
        current: item to version.
        needs: task to what it requires.
        batch: task to its batch; gold is in none.
        kek: the number of the current one.
        wraps: version to the number of the KEK that it is wrapped by.
        accept_from: requests and prekeys of before are refused.
        silenced: what was answered before a restore.
    """

    client: bytes
    project: bytes
    epoch: bytes
    contractors: frozenset[bytes]
    current: dict[bytes, int]
    needs: dict[bytes, tuple[bytes, ...]]
    batch: dict[bytes, bytes]
    kek: int
    wraps: dict[Version, int]
    accept_from: datetime
    grants: dict[bytes, Terms] = field(default_factory=dict)
    closed_batches: set[bytes] = field(default_factory=set)
    frozen: bool = False
    leases: dict[bytes, Lent] = field(default_factory=dict)
    spent: set[bytes] = field(default_factory=set)
    answered: set[bytes] = field(default_factory=set)
    silenced: set[bytes] = field(default_factory=set)

    def opens(self, task: bytes) -> frozenset[Version]:
        """What a lease of a task opens, if it is released now."""
        return frozenset((self.client, item, self.current[item]) for item in (task, *self.needs[task]))


@dataclass
class Held:
    """What a device holds.

    Attributes:
        prekeys: on its disk, with their ends.
        at_hand: leases on its disk, by id, with the prekey that opens each and its end.
        memory: keys of requests that are under way, by what they are for.
        on_screen: what is open.
    """

    prekeys: dict[bytes, datetime] = field(default_factory=dict)
    at_hand: dict[bytes, tuple[bytes, datetime]] = field(default_factory=dict)
    memory: dict[object, bytes] = field(default_factory=dict)
    on_screen: dict[object, frozenset[Version]] = field(default_factory=dict)


class Rules:
    """The rules, and what has happened under them.

    Attributes:
        books: by client id.
        devices: by name.
        forged: messages that nobody signed with the key that they name.
        readable: what the thief may and must be able to read by now.
    """

    def __init__(self) -> None:
        """Begin with nothing that has happened."""
        self.books: dict[bytes, Books] = {}
        self.devices: dict[str, Held] = {}
        self.forged: set[bytes] = set()
        self.readable: set[Version] = set()
        self._approved: dict[bytes, datetime] = {}
        self._stolen_keys: set[bytes] = set()
        self._sealed_to: dict[bytes, Lent] = {}
        self._released_as: dict[bytes, Lent] = {}
        self._keks: set[int] = set()
        self._catalogs: set[tuple[Version, int]] = set()
        self._numbers = count(1)

    def new_kek(self) -> int:
        """A number for a KEK that is made."""
        return next(self._numbers)

    # What clients do

    def sealed(self, client: bytes, item: bytes, version: int) -> None:
        """A version was sealed, under the current KEK."""
        books = self.books[client]
        books.current[item] = version
        books.wraps[client, item, version] = books.kek

    def rotated(self, client: bytes) -> None:
        """All wraps went under a new KEK."""
        books = self.books[client]
        books.kek = self.new_kek()
        books.wraps = dict.fromkeys(books.wraps, books.kek)

    def restored(self, client: bytes, backup: Books, epoch: bytes, now: datetime) -> None:
        """A client came back from a backup: nothing of before is answered any more."""
        self.books[client] = deepcopy(backup)
        self.books[client].epoch = epoch
        self.books[client].accept_from = now + _SKEW
        self.books[client].silenced = set(backup.answered)

    # What reaches the issuer

    def arrives(self, client: bytes, data: bytes, now: datetime) -> str | None:
        """A message reaches a client's issuer.

        Returns:
            For a request: why it gets no lease, or "" if it gets one, perhaps once more; None for all else.
        """
        if data in self.forged:
            return None
        books, frame = self.books[client], parse_frame(data)
        if frame.signer not in books.contractors:
            return None
        if frame.type == Receipt.TYPE:
            self._receipt(books, frame)
        elif frame.type == OpenRequest.TYPE:
            request = decode_record(OpenRequest, frame.body)
            if request.client == client:
                if frame_hash(data) in books.answered:
                    return self._again(books, frame_hash(data), now)
                return self._decided(books, frame_hash(data), frame, request, now)
        return None

    def _again(self, books: Books, of: bytes, now: datetime) -> str:
        """Whether the same answer is given once more: while its lease lives, and nothing was stopped since."""
        lent = books.leases.get(of)
        if lent is None or lent.over or now >= lent.expires_at or of in books.silenced:
            return "replayed"
        stopped = books.grants[lent.grant].revoked or books.batch[lent.task] in books.closed_batches or books.frozen
        return "replayed" if stopped else ""

    def _receipt(self, books: Books, frame: Frame) -> None:
        receipt = decode_record(Receipt, frame.body)
        lease = books.leases.get(receipt.lease_id)
        if (
            receipt.event == "closed"
            and receipt.client == books.client
            and lease is not None
            and (lease.contractor, lease.task) == (frame.signer, receipt.item)
        ):
            lease.over = True

    def _decided(self, books: Books, of: bytes, frame: Frame, request: OpenRequest, now: datetime) -> str:
        if now >= request.expires_at:
            return "stale"
        why = self._refusal(books, frame, request, now)
        books.answered.add(of)
        if not why:
            if request.replaces is not None:
                books.leases[request.replaces].over = True
            self._released(books, of, request.grant_hash, request.item, request.one_time_key, now)
        books.spent.add(request.one_time_key)
        return why

    def _refusal(self, books: Books, frame: Frame, request: OpenRequest, now: datetime) -> str:
        terms = books.grants.get(request.grant_hash)
        if terms is None or frame.signer != terms.contractor or request.project != books.project:
            return "unknown"
        if request.epoch != books.epoch or terms.epoch != books.epoch:
            return "epoch"
        if not books.accept_from <= request.at <= now + _SKEW:
            return "stale"
        if request.one_time_key in books.spent:
            return "replayed"
        if terms.presence == "key" and not self._is_present(frame, request, now):
            return "presence"
        return self._allowed(books, request.grant_hash, request.item, now, request.replaces)

    def _is_present(self, frame: Frame, request: OpenRequest, now: datetime) -> bool:
        """Whether a person approved this very body for this desk, at the time that it names, a moment ago."""
        said, named = self._approved.get(frame.signer + frame.body), request.approved_at
        return said is not None and named is not None and abs(named - said) <= _SKEW and now - named <= _APPROVAL_AGE

    def _allowed(self, books: Books, grant: bytes, task: bytes, now: datetime, replaces: bytes | None) -> str:
        terms = books.grants[grant]
        mine = {lease: lent for lease, lent in books.leases.items() if lent.grant == grant}
        live = {lease for lease, lent in mine.items() if not lent.over and now < lent.expires_at}
        same = replaces in live and mine[replaces].task == task
        refusals = {
            "expired": now >= terms.expires_at,
            "revoked": terms.revoked,
            "frozen": books.frozen,
            "unknown": books.batch.get(task) not in terms.batches,
            "batch": books.batch.get(task) in books.closed_batches,
            "replaces": replaces is not None and not same,
            "limit-open": len(live - {replaces}) >= terms.limits.max_open,
            "limit-total": len(mine) >= terms.limits.max_total,
            "limit-rate": sum(lent.issued_at > now - _HOUR for lent in mine.values()) >= terms.limits.per_hour,
        }
        return next((why for why, holds in refusals.items() if holds), "")

    def ahead(self, client: bytes, grant: bytes, task: bytes, offered_at: datetime, now: datetime) -> str:
        """Why a lease can't be issued ahead now, with prekeys of that time; "" if it can."""
        books = self.books[client]
        terms = books.grants[grant]
        if terms.epoch != books.epoch:
            return "unknown"
        if not books.accept_from <= offered_at <= now + _SKEW:
            return "stale"
        return "presence" if terms.presence != "device" else self._allowed(books, grant, task, now, None)

    def issued(
        self, client: bytes, lease: bytes, grant: bytes, task: bytes, prekey: tuple[bytes, datetime], now: datetime
    ) -> None:
        """A lease was issued ahead, for a prekey with an end of its own."""
        books = self.books[client]
        key, end = prekey
        self._released(books, lease, grant, task, key, now, end)
        books.answered.add(lease)
        books.spent.add(key)

    def _released(
        self,
        books: Books,
        lease: bytes,
        grant: bytes,
        task: bytes,
        key: bytes,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        terms = books.grants[grant]
        end = min(now + timedelta(seconds=terms.limits.lease_ttl_s), terms.expires_at, until or terms.expires_at)
        lent = Lent(grant, terms.contractor, task, books.opens(task), key, now, end)
        books.leases[lease] = lent
        self._sealed_to[key] = self._released_as[lease] = lent
        if key in self._stolen_keys:
            self.readable |= lent.opens

    def lent(self, lease: bytes) -> Lent:
        """A lease that was ever released, by whichever issuer of whichever client."""
        return self._released_as[lease]

    # What happens at devices

    def asks(self, device: str, what: object, key: bytes) -> None:
        """A device makes a one-time key in its memory, and asks with it."""
        self.devices[device].memory[what] = key

    def opened(self, device: str, what: object, opens: frozenset[Version]) -> None:
        """What was asked for is on the screen, and its key is dropped."""
        held = self.devices[device]
        held.memory.pop(what, None)
        held.on_screen[what] = opens

    def given_up(self, device: str, what: object) -> None:
        """What was asked for is not waited for any more."""
        self.devices[device].memory.pop(what, None)

    def closed(self, device: str, what: object, leases: set[bytes]) -> None:
        """A task was closed, with all leases that it had: prekeys that were used are erased."""
        held = self.devices[device]
        held.memory.pop(what, None)
        held.on_screen.pop(what, None)
        for lease in leases:
            prekey, _ = held.at_hand.pop(lease, (b"", None))
            held.prekeys.pop(prekey, None)

    def crashed(self, device: str) -> None:
        """A device's process ended: its memory is gone."""
        self.devices[device].memory.clear()
        self.devices[device].on_screen.clear()

    def swept(self, device: str, now: datetime) -> None:
        """A device looked through prekeys and leases: what is over by its clock is erased."""
        held = self.devices[device]
        over = {prekey for prekey, end in (*held.prekeys.items(), *held.at_hand.values()) if now >= end}
        held.prekeys = {prekey: end for prekey, end in held.prekeys.items() if prekey not in over}
        held.at_hand = {lease: kept for lease, kept in held.at_hand.items() if kept[0] not in over}

    def approved(self, desk: bytes, body: bytes, at: datetime) -> None:
        """A person said yes on the phone to what a desk is about to sign."""
        self._approved.setdefault(desk + body, at)

    # What the thief does

    def learns_key(self, key: bytes) -> None:
        """The thief has the private half of a one-time key."""
        self._stolen_keys.add(key)
        if key in self._sealed_to:
            self.readable |= self._sealed_to[key].opens

    def stolen(self, device: str, *, alive: bool) -> None:
        """The thief has all of a device's disk, with its passphrase; and of its memory, if it was running."""
        held = self.devices[device]
        for key in [*held.prekeys, *(held.memory.values() if alive else ())]:
            self.learns_key(key)
        if alive:
            self.readable.update(*held.on_screen.values())

    def stolen_keks(self, client: bytes) -> None:
        """The thief has a client's KEKs, unwrapped."""
        self._keks.add(self.books[client].kek)
        self._wrapped()

    def stolen_catalog(self, client: bytes) -> None:
        """The thief has a copy of a client's catalog."""
        self._catalogs |= set(self.books[client].wraps.items())
        self._wrapped()

    def _wrapped(self) -> None:
        self.readable |= {version for version, number in self._catalogs if number in self._keks}
