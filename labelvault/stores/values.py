"""The values that go into a store and come out of it, and their bounds."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from labelvault.wire.codec import MAX_BYTES

MAX_PAYLOAD_BYTES: Final = 70 * 1024 * 1024
"""What is put or read in one piece: 64 MiB of content, its padding and its AEAD overhead."""
MAX_STREAM_PAYLOAD_BYTES: Final = 66 * 1024**3
"""What is put as a stream: 64 GiB of content, likewise."""
MAX_MESSAGE_BYTES: Final = MAX_BYTES
MAX_PENDING: Final = 10_000
"""Messages that wait in one mailbox; one more is refused, so a flood fills one mailbox only."""
MAX_PAGE: Final = 1000
MAX_BATCH_ITEMS: Final = 10_000
MAX_CONTRACTOR_ID_BYTES: Final = 200
MAX_CLAIM_TTL_S: Final = 30 * 86400


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One sealed item version as the client hands it over.

    Attributes:
        header: canonical bytes of a `labelvault.wire.items.ItemHeader`.
        payload: ciphertext, 1 byte to 70 MiB.
        leaves: 32-byte leaf hashes of the payload's 1 MiB pieces.
        queue: 16-byte id of the batch whose tasks the vendor hands out; None for whatever is not a task.
    """

    header: bytes
    payload: bytes = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)
    queue: bytes | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is done with a message of a mailbox: it is answered, or only taken. Or something is said that answers none.

    Attributes:
        number: of the message that is not delivered any more, once its answer is posted; None for none.
        to: the answer's mailbox.
        message: the answer; None for none.
    """

    number: int | None
    to: bytes = b""
    message: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ItemPart:
    """A range of a payload as the vault serves it: nothing in it is checked until it gives the digest.

    Attributes:
        header: the item version's header bytes.
        size: bytes of the whole payload.
        data: the bytes that were asked for; fewer where the payload ends.
    """

    header: bytes
    size: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ItemInfo:
    """What the vault knows of one item version.

    Attributes:
        client: 32 bytes.
        project: 16 bytes.
        item: 16 bytes.
        version: from 1 upward.
        size: bytes of the padded payload.
        stored_at: the hour in which it was stored.
        queue: 16 bytes, or None.
    """

    client: bytes
    project: bytes
    item: bytes
    version: int
    size: int
    stored_at: datetime
    queue: bytes | None


@dataclass(frozen=True, slots=True)
class Queue:
    """Tasks of one batch. It exists once a task item names it.

    Attributes:
        id: 16 bytes; random, and yet only unique together with client and project.
        client: 32 bytes.
        project: 16 bytes.
        waiting: tasks that can be claimed.
        claimed: tasks under a live claim.
        done: tasks that are finished.
    """

    id: bytes
    client: bytes
    project: bytes
    waiting: int
    claimed: int
    done: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A task is kept for one contractor until `expires_at`. It authorises nothing: only the issuer does.

    Attributes:
        id: 16 random bytes.
        client: 32 bytes.
        project: 16 bytes.
        queue: 16 bytes.
        item: 16 bytes, what the contractor asks the issuer for.
        contractor: the platform's name for the contractor.
        expires_at: from then on another contractor may claim the task.
    """

    id: bytes
    client: bytes
    project: bytes
    queue: bytes
    item: bytes
    contractor: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """A receipt that passed through the vault. `contractor` signed it; whose key that is, the reader knows.

    Attributes:
        number: the cursor; rises.
        contractor: the 32-byte key that signed.
        client: 32 bytes.
        project: 16 bytes.
        lease_id: 32 bytes.
        item: 16 bytes, the task.
        event: `opened`, `submitted` or `closed`.
        erased: how keys were erased, with `closed` only.
        at: the contractor's clock.
        received_at: the vault's clock, in whole minutes.
    """

    number: int
    contractor: bytes
    client: bytes
    project: bytes
    lease_id: bytes
    item: bytes
    event: str
    erased: str | None
    at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class AckEntry:
    """An ack that passed through the vault, signed by the issuer of the client that it names.

    Attributes:
        number: the cursor; rises.
        contractor: the 32-byte key whose receipt or answer this is about.
        client: 32 bytes.
        project: 16 bytes.
        lease_id: 32 bytes.
        item: 16 bytes, the task.
        event: `answer`, or `submitted` or `closed` of a receipt.
        of: 32 bytes, frame hash of the answer or receipt.
        verdict: `accepted`, or why not: `late`, `misbound`, `replayed`, `revoked`.
        at: the issuer's clock.
        received_at: the vault's clock, in whole minutes.
    """

    number: int
    contractor: bytes
    client: bytes
    project: bytes
    lease_id: bytes
    item: bytes
    event: str
    of: bytes
    verdict: str
    at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class TaskState:
    """How far a task of a queue has come, as the vault can tell.

    Attributes:
        client: 32 bytes.
        project: 16 bytes.
        item: 16 bytes.
        queue: 16 bytes.
        state: `waiting`, `claimed` or `done`.
        contractor: who holds the claim, or held the last one.
        claimed_at: since when.
        claim_ends_at: from then on another contractor may claim it.
        opened_at: when the oldest `opened` receipt came of which neither `submitted` nor `closed` followed, in whole
            minutes.
    """

    client: bytes
    project: bytes
    item: bytes
    queue: bytes
    state: str
    contractor: str | None
    claimed_at: datetime | None
    claim_ends_at: datetime | None
    opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Counts and bytes; `stored_bytes` is what the backend takes up in all."""

    clients: int
    items: int
    item_bytes: int
    queues: int
    live_claims: int
    pending_messages: int
    acked_messages: int
    message_bytes: int
    receipts: int
    acks: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge dropped.

    Attributes:
        messages: acked ones.
        claims: expired ones.
        files: payloads that an interrupted put left.
        leases: issued ahead, and expired before their task was closed.
    """

    messages: int
    claims: int
    files: int = 0
    leases: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was stored.

    Attributes:
        kind: `item`, `message`, `receipt`, `ack` or `backend`.
        problem: what is wrong.
        client: 32 bytes, of an item.
        item: 16 bytes, of an item.
        version: of an item.
        number: of a message, receipt or ack.
    """

    kind: str
    problem: str
    client: bytes | None = None
    item: bytes | None = None
    version: int | None = None
    number: int | None = None
