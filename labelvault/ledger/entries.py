"""What the ledger records, one record per kind (docs/spec.md, section 7.1).

An entry holds ids, hashes, keys, times and words out of closed lists: never a name, a title or content, as
whoever audits a ledger reads all of it. `at` is always the issuer's own time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, TypeAlias

from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.random import random_bytes
from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_BYTES, decode
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.messages import DENIAL_CODES, MAX_LEASE_ITEMS, Hash32, Id16, Key32, Presence, Tier
from labelvault.wire.schema import Between, Count, OneOf, UInt, encode_in, from_value

ENTRY_FORMAT: Final = 1
MAX_ENTRY_BYTES: Final = MAX_BYTES

Version = Annotated[int, UInt(1, 2**32)]


@dataclass(frozen=True, slots=True)
class Certified:
    """The client's identity key certified an issuer key for this ledger.

    Attributes:
        certificate: hash of the certificate's frame.
    """

    at: datetime
    issuer: Key32
    serial: Annotated[int, UInt(1, 2**32)]
    certificate: Hash32
    epoch: Id16


@dataclass(frozen=True, slots=True)
class Sealed:
    """The client sealed an item version."""

    at: datetime
    project: Id16
    item: Id16
    version: Version
    digest: Hash32


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A contractor's card was accepted.

    Attributes:
        presence_key: whether the card names one.
    """

    at: datetime
    contractor: Key32
    tier: Tier
    presence_key: bool

    def __post_init__(self) -> None:
        if self.tier == "helper" and self.presence_key:
            raise FormatError("a helper's card has no presence key")


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant was signed."""

    at: datetime
    grant_hash: Hash32
    grant_id: Id16
    contractor: Key32
    project: Id16
    tier: Tier
    presence: Presence
    expires_at: datetime

    def __post_init__(self) -> None:
        _check_presence(self.tier, self.presence)


@dataclass(frozen=True, slots=True)
class ReleasedItem:
    """One item version that a lease opens."""

    item: Id16
    version: Version
    digest: Hash32


@dataclass(frozen=True, slots=True)
class Released:
    """A lease was made. Durable before it leaves, so the ledger bounds from above what anyone could read.

    Attributes:
        lease_id: hash of the open request.
        task: the item that was asked for; it is the first of `items`.
        items: all that the lease opens, each item once.
        issued_at: when the lease begins; not after `at`.
        expires_at: when it ends.
        replaces: the lease that it renews.
    """

    at: datetime
    lease_id: Hash32
    grant_hash: Hash32
    contractor: Key32
    project: Id16
    tier: Tier
    presence: Presence
    task: Id16
    items: Annotated[tuple[ReleasedItem, ...], Count(1, MAX_LEASE_ITEMS)]
    issued_at: datetime
    expires_at: datetime
    replaces: Hash32 | None

    def __post_init__(self) -> None:
        _check_presence(self.tier, self.presence)
        if not self.issued_at <= self.at or self.issued_at >= self.expires_at:
            raise FormatError("a release is recorded before its lease begins, or the lease ends before it begins")
        if not self.items or self.items[0].item != self.task:
            raise FormatError("the task is the first item of its release")
        if len({item.item for item in self.items}) != len(self.items):
            raise FormatError("an item is released twice by one lease")
        if self.replaces == self.lease_id:
            raise FormatError("a lease can't replace itself")


@dataclass(frozen=True, slots=True)
class Denied:
    """A fresh request by an enrolled key was refused."""

    at: datetime
    request_hash: Hash32
    contractor: Key32
    project: Id16
    code: Annotated[str, OneOf(*DENIAL_CODES)]


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """A contractor's receipt was taken.

    Attributes:
        contractor: who signed it.
        erased: how keys and plaintext were erased; exactly with `closed`.
    """

    at: datetime
    lease_id: Hash32
    contractor: Key32
    event: Annotated[str, OneOf("opened", "submitted", "closed")]
    erased: Annotated[str, OneOf("process-exit", "best-effort")] | None

    def __post_init__(self) -> None:
        if (self.event == "closed") != (self.erased is not None):
            raise FormatError("a receipt says how keys were erased exactly when it closes")


@dataclass(frozen=True, slots=True)
class Revoked:
    """A grant was revoked; or a contractor with all grants; or a batch of tasks, or a whole project, for everybody.

    Attributes:
        kind: `grant`, `contractor`, `batch` or `project`.
        id: 16 bytes; of a contractor the key, 32 bytes.
    """

    at: datetime
    kind: Annotated[str, OneOf("grant", "contractor", "batch", "project")]
    id: Annotated[bytes, Between(16, 32)]

    def __post_init__(self) -> None:
        if len(self.id) != (32 if self.kind == "contractor" else 16):
            raise FormatError("a contractor's key has 32 bytes, any other id 16")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A project was frozen, or thawed."""

    at: datetime
    project: Id16
    frozen: bool


@dataclass(frozen=True, slots=True)
class Rotated:
    """A project's KEK, or the root key, was replaced: all that the old one wrapped is wrapped by the new one.

    Attributes:
        what: `kek` or `root`.
        project: of a KEK; None for the root key.
        generation: of the new KEK, whose older generations are destroyed; 0 for the root key.
    """

    at: datetime
    what: Annotated[str, OneOf("kek", "root")]
    project: Id16 | None
    generation: Annotated[int, UInt(0, 2**32)]

    def __post_init__(self) -> None:
        if (self.what == "kek") != (self.project is not None) or (self.what == "kek") != (self.generation > 0):
            raise FormatError("a KEK has a project and a generation, the root key neither")


@dataclass(frozen=True, slots=True)
class Shredded:
    """A project's KEKs and wraps were destroyed: nothing that was sealed opens any more but by leases that live.

    Attributes:
        keks: KEK generations that were destroyed.
        versions: item versions whose wraps were destroyed.
    """

    at: datetime
    project: Id16
    keks: Annotated[int, UInt(1, 2**32)]
    versions: Annotated[int, UInt(0, 2**48)]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Wraps of an item's older versions were destroyed: the client itself can't give those back any more.

    Attributes:
        before: the wraps of versions under this number.
        versions: how many those were.
    """

    at: datetime
    project: Id16
    item: Id16
    before: Version
    versions: Annotated[int, UInt(1, 2**32)]


@dataclass(frozen=True, slots=True)
class Restored:
    """This ledger follows another one, which is known up to a checkpoint only; first entry but its certificate.

    What the old ledger recorded after that checkpoint is unknown here, unless a later copy of it is found.

    Attributes:
        epoch: of the old ledger.
        size: how many entries of it are known.
        root: RFC 6962 root hash over those.
        backup_at: until when it is known: the last known entry's time; the restore's, where a copy that was kept at
            each commit says all.
    """

    at: datetime
    epoch: Id16
    size: Annotated[int, UInt(0, 2**48)]
    root: Hash32
    backup_at: datetime

    def __post_init__(self) -> None:
        if self.backup_at > self.at:
            raise FormatError("a ledger is restored before its backup was made")


@dataclass(frozen=True, slots=True)
class Alarmed:
    """An enrolled key asked for what no queue shows: a decoy, or an item that is no task.

    Attributes:
        item: that was asked for.
        about: `honey` for a decoy, `not-a-task` for anything else that exists.
    """

    at: datetime
    request_hash: Hash32
    contractor: Key32
    project: Id16
    item: Id16
    about: Annotated[str, OneOf("honey", "not-a-task")]


@dataclass(frozen=True, slots=True)
class Junk:
    """How many messages that deserved no entry came in since some time."""

    at: datetime
    since: datetime
    count: Annotated[int, UInt(1)]

    def __post_init__(self) -> None:
        if self.since > self.at:
            raise FormatError("a count of junk ends before it begins")


Entry: TypeAlias = (
    Certified
    | Sealed
    | Enrolled
    | Granted
    | Released
    | Denied
    | ReceiptEntry
    | Revoked
    | Frozen
    | Rotated
    | Shredded
    | Dropped
    | Restored
    | Alarmed
    | Junk
)

KINDS: Final[dict[str, type[Entry]]] = {
    "certified": Certified,
    "sealed": Sealed,
    "enrolled": Enrolled,
    "granted": Granted,
    "released": Released,
    "denied": Denied,
    "receipt": ReceiptEntry,
    "revoked": Revoked,
    "frozen": Frozen,
    "rotated": Rotated,
    "shredded": Shredded,
    "dropped": Dropped,
    "restored": Restored,
    "alarm": Alarmed,
    "junk": Junk,
}
_NAMES: Final = {record: name for name, record in KINDS.items()}


def encode_entry(entry: Entry) -> bytes:
    """Return an entry's canonical bytes, over which its leaf is hashed.

    Raises:
        FormatError: a field is out of its bounds.
    """
    if type(entry) is Sealed:
        return _encode_sealed(entry)
    return encode_in("entry", entry, format=ENTRY_FORMAT, kind=_NAMES[type(entry)])


def _encode_sealed(entry: Sealed) -> bytes:
    """Encode the entry of which there are as many as items; those of one run differ in item and digest alone."""
    whole = type(entry.item) is bytes and len(entry.item) == ID_BYTES
    whole = whole and type(entry.digest) is bytes and len(entry.digest) == HASH_BYTES
    # What is equal and of another kind (1 and True, one instant in another zone) must not find what was kept.
    if whole and type(entry.version) is int and type(entry.project) is bytes and entry.at.tzinfo is UTC:
        before, between, behind = _around_sealed(entry.at, entry.project, entry.version)
        return b"".join((before, entry.digest, between, entry.item, behind))
    return encode_in("entry", entry, format=ENTRY_FORMAT, kind=_NAMES[Sealed])


@lru_cache(maxsize=64)
def _around_sealed(at: datetime, project: bytes, version: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and behind digest and item."""
    item, digest = random_bytes(ID_BYTES), random_bytes(HASH_BYTES)
    entry = Sealed(at, project, item, version, digest)
    before, rest = encode_in("entry", entry, format=ENTRY_FORMAT, kind=_NAMES[Sealed]).split(digest)
    between, behind = rest.split(item)
    return before, between, behind


def decode_entry(data: bytes) -> Entry:
    """Read an entry.

    Args:
        data: at most 64 KiB.

    Raises:
        FormatError: not canonical, of an unknown format or kind, or with unknown, missing or invalid fields.
    """
    value = decode(data, max_bytes=MAX_ENTRY_BYTES)
    if not isinstance(value, dict) or value.keys() != {"entry", "format", "kind"}:
        raise FormatError("not a ledger entry")
    if value["format"] != ENTRY_FORMAT or isinstance(value["format"], bool):
        raise FormatError("a ledger entry of an unknown format")
    kind = value["kind"]
    record = KINDS.get(kind) if isinstance(kind, str) else None
    if record is None:
        raise FormatError("a ledger entry of an unknown kind")
    return from_value(record, value["entry"])


def _check_presence(tier: str, presence: str) -> None:
    if (tier == "helper") != (presence == "device"):
        raise FormatError("presence is `device` in the helper tier, `key` or `waived` at a desk")
