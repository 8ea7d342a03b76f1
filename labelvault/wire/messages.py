"""The messages between actors (docs/spec.md, section 4): what each field is and what must hold between fields.

All times are the sender's. `client` and `project` stand in every message that belongs to one, so that nothing made for
one client means anything to another.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final, NoReturn

from labelvault.errors import FormatError
from labelvault.wire.schema import Between, Count, Fixed, OneOf, Text, UInt

ONE_TIME_KEY_BYTES: Final = 1216
"""ML-KEM-768 (1184) ‖ X25519 (32)."""
MAX_REQUEST_LIFETIME: Final = timedelta(minutes=10)
MAX_LEASE_ITEMS: Final = 256
MAX_SCOPE_BATCHES: Final = 256
MAX_SCOPE_ITEMS: Final = 1000
MAX_LEASE_TTL_S: Final = 7 * 86400
VAULT_ADDRESS_BYTES: Final = 1000
LEASE_INFO_LABEL: Final = b"labelvault/v1/lease\0"
"""HPKE info of a lease = this ‖ its outer bytes: the sealed part opens beside no other outer part."""

Tier = Annotated[str, OneOf("helper", "desk")]
Presence = Annotated[str, OneOf("device", "waived", "key")]
Id16 = Annotated[bytes, Fixed(16)]
Hash32 = Annotated[bytes, Fixed(32)]
Key32 = Annotated[bytes, Fixed(32)]

DENIAL_CODES: Final = (
    "unknown",
    "not-yet-valid",
    "expired",
    "revoked",
    "frozen",
    "limit-open",
    "limit-total",
    "limit-rate",
    "stale",
    "epoch",
    "presence",
    "replayed",
    "replaces",
    "unavailable",
)
"""`unknown` covers unknown, gold, honey and out-of-scope items alike, so that a denial maps nothing out."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a contractor shows to be enrolled; signed by its identity key, cosigned by the presence key of a desk.

    Names no client. Its fingerprint hashes the whole frame.
    """

    TYPE: ClassVar[str] = "card"
    tier: Tier
    host_label: Annotated[str, Text(80, 1)]
    presence_key: Key32 | None
    at: datetime

    def __post_init__(self) -> None:
        if self.tier == "helper" and self.presence_key is not None:
            raise FormatError("a helper's card has no presence key: the helper is the contractor's own device")


@dataclass(frozen=True, slots=True)
class IssuerCertificate:
    """The client's identity key says which key issues, for which ledger epoch, from when until when."""

    TYPE: ClassVar[str] = "issuer-certificate"
    client: Hash32
    issuer: Key32
    serial: Annotated[int, UInt(1, 2**32)]
    epoch: Id16
    not_before: datetime
    expires_at: datetime
    at: datetime

    def __post_init__(self) -> None:
        if self.not_before >= self.expires_at:
            raise FormatError("a certificate ends before it begins")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant names: opaque ids, matched exactly. Nothing named is nothing allowed.

    Attributes:
        batches: batches of tasks, current and future members alike.
        items: single tasks.
    """

    batches: Annotated[tuple[Id16, ...], Count(0, MAX_SCOPE_BATCHES)]
    items: Annotated[tuple[Id16, ...], Count(0, MAX_SCOPE_ITEMS)]

    def __post_init__(self) -> None:
        if not self.batches and not self.items:
            raise FormatError("a scope names at least one batch or item")
        for ids in (self.batches, self.items):
            if list(ids) != sorted(set(ids)):
                raise FormatError("ids in a scope are sorted and different")


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one grant; all mandatory.

    Attributes:
        max_open: leases open at one time.
        max_total: leases over the grant's whole life, renewals included.
        per_hour: releases in any 3,600 s.
        lease_ttl_s: a lease's lifetime in seconds, from issue.
    """

    max_open: Annotated[int, UInt(1, 1000)]
    max_total: Annotated[int, UInt(1, 1_000_000)]
    per_hour: Annotated[int, UInt(1, 100_000)]
    lease_ttl_s: Annotated[int, UInt(1, MAX_LEASE_TTL_S)]


@dataclass(frozen=True, slots=True)
class Grant:
    """The client's identity key lets one contractor key open tasks within a scope, limits and a time.

    Attributes:
        presence: `device` in the helper tier (the asking device is the contractor's own); at a desk `key`, or `waived`
            where the client accepts the weaker statement.
        submission_key: one-time-suite public key that answers are sealed to.
    """

    TYPE: ClassVar[str] = "grant"
    client: Hash32
    project: Id16
    grant_id: Id16
    issuer: Key32
    contractor: Key32
    scope: Scope
    limits: Limits
    not_before: datetime
    expires_at: datetime
    tier: Tier
    presence: Presence
    presence_key: Key32 | None
    submission_key: Annotated[bytes, Fixed(ONE_TIME_KEY_BYTES)]
    at: datetime

    def __post_init__(self) -> None:
        if self.not_before >= self.expires_at:
            raise FormatError("a grant ends before it begins")
        if (self.tier == "helper") != (self.presence == "device"):
            raise FormatError("presence is `device` in the helper tier, `key` or `waived` at a desk")
        if (self.presence == "key") != (self.presence_key is not None):
            raise FormatError("a presence key stands exactly where presence is `key`")


@dataclass(frozen=True, slots=True)
class Invite:
    """One file to join: signed by the client's identity key, which its fingerprint vouches for.

    Attributes:
        certificate: the frame of an `IssuerCertificate`.
        grant: the frame of a `Grant`.
        vault: the vault's address.
    """

    TYPE: ClassVar[str] = "invite"
    client: Hash32
    project: Id16
    certificate: Annotated[bytes, Between(1, 4096)]
    grant: Annotated[bytes, Between(1, 40_000)]
    vault: Annotated[str, Text(VAULT_ADDRESS_BYTES, 1)]
    at: datetime


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A contractor asks for one task.

    Attributes:
        epoch: the ledger epoch of the certificate that the contractor trusts.
        grant_hash: hash of the grant's frame.
        one_time_key: the lease is sealed to it; it works once.
        expires_at: after this the issuer doesn't answer; at most ten minutes after `at`.
        replaces: the lease that this one renews.
        approved_at: when the presence device approved, by its own clock; present exactly with a cosignature.
    """

    TYPE: ClassVar[str] = "open-request"
    client: Hash32
    project: Id16
    epoch: Id16
    grant_hash: Hash32
    item: Id16
    one_time_key: Annotated[bytes, Fixed(ONE_TIME_KEY_BYTES)]
    at: datetime
    expires_at: datetime
    replaces: Hash32 | None
    approved_at: datetime | None

    def __post_init__(self) -> None:
        if not timedelta(0) < self.expires_at - self.at <= MAX_REQUEST_LIFETIME:
            raise FormatError("a request lives longer than nothing and at most ten minutes")


@dataclass(frozen=True, slots=True)
class LeaseOuter:
    """The part of a lease that anyone may read; the sealed part is bound to all of it.

    Attributes:
        lease_id: hash of the open request.
        item: the task; what it requires comes in the sealed part.
        status_max_age_s: how old the newest known status may be; 0 for a lease that was answered online.
    """

    client: Hash32
    project: Id16
    lease_id: Hash32
    item: Id16
    certificate_hash: Hash32
    contractor: Key32
    grant_hash: Hash32
    tier: Tier
    issued_at: datetime
    expires_at: datetime
    status_max_age_s: Annotated[int, UInt(0, 7 * 86400)]

    def __post_init__(self) -> None:
        if self.issued_at >= self.expires_at:
            raise FormatError("a lease ends before it begins")


@dataclass(frozen=True, slots=True)
class LeasedItem:
    """One item version, and the key that opens it. The key is kept out of repr, pickle and copy."""

    item: Id16
    version: Annotated[int, UInt(1, 2**32)]
    digest: Hash32
    dek: Annotated[bytes, Fixed(32)] = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("leased keys are not pickled or copied")


@dataclass(frozen=True, slots=True)
class LeaseSecrets:
    """The sealed part of a lease. The task comes first, then what it requires.

    Attributes:
        epoch: the ledger's epoch.
        index: the entry that records this release.
        entry_hash: its RFC 6962 leaf hash.
    """

    epoch: Id16
    index: Annotated[int, UInt(0, 2**48)]
    entry_hash: Hash32
    items: Annotated[tuple[LeasedItem, ...], Count(1, MAX_LEASE_ITEMS)]


@dataclass(frozen=True, slots=True)
class Lease:
    """The issuer's answer: keys of one task and of what it requires, sealed to the request's one-time key.

    Attributes:
        outer: canonical bytes of a `LeaseOuter`, kept exact because the sealed part is bound to them.
        sealed: HPKE of a `LeaseSecrets`.
    """

    TYPE: ClassVar[str] = "lease"
    outer: Annotated[bytes, Between(1, 1024)]
    sealed: Annotated[bytes, Between(1, 60_000)]


@dataclass(frozen=True, slots=True)
class Denial:
    """The issuer's refusal, with the certificate that is current, so that a stale contractor can catch up."""

    TYPE: ClassVar[str] = "denial"
    client: Hash32
    project: Id16
    request_hash: Hash32
    code: Annotated[str, OneOf(*DENIAL_CODES)]
    certificate: Annotated[bytes, Between(1, 4096)]
    at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """A contractor says what became of a lease.

    Attributes:
        event: `opened`, `submitted` or `closed`.
        erased: with `closed` only: `process-exit` when the process that held keys and plaintext has exited,
            `best-effort` when it lives on.
        at: the contractor's clock; no interval is ever ended by it.
    """

    TYPE: ClassVar[str] = "receipt"
    client: Hash32
    project: Id16
    lease_id: Hash32
    item: Id16
    event: Annotated[str, OneOf("opened", "submitted", "closed")]
    erased: Annotated[str, OneOf("process-exit", "best-effort")] | None
    at: datetime

    def __post_init__(self) -> None:
        if (self.event == "closed") != (self.erased is not None):
            raise FormatError("a receipt says how keys were erased exactly when it closes")
