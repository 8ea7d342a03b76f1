"""What a store is: the protocol that every backend keeps.

Every operation is atomic, durable when it returns, and idempotent: done again with the same arguments after a
lost answer it changes nothing more. `tests/stores/conformance.py` holds each backend to this page.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from labelvault.stores.values import (
    AckEntry,
    Claim,
    Damage,
    ItemInfo,
    ItemPart,
    Purged,
    Queue,
    ReceiptEntry,
    Reply,
    StoredItem,
    StoreStatus,
    TaskState,
)


class Store(Protocol):
    """The vault's storage.

    `now` is an aware UTC time. Every method raises FormatError for arguments out of their bounds, and
    StoreError when the backend fails; in both cases nothing was changed.
    """

    def put_items(self, items: Sequence[StoredItem], now: datetime) -> int:
        """Store item versions, all or none; return how many were new.

        The same again is a no-op. The newest version of an item decides which queue its task is in.

        Raises:
            ConflictError: other bytes, another project or another queue are stored under one of these
                versions.
            FormatError: a malformed header, or a payload that does not give its leaves.
        """
        ...

    def put_stream(
        self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None, now: datetime
    ) -> tuple[bytes, ...]:
        """Store one item version whose payload comes in pieces, in constant memory; return its leaf hashes.

        As `put_items` otherwise: whole or not at all, durable on return, and the same again is a no-op. What `pieces`
        raises goes through, and nothing was stored then.

        Args:
            header: canonical bytes.
            size: of the payload, 1 byte to 66 GiB.
            pieces: the payload in 1 MiB leaves, the last one shorter.
            queue: as in `StoredItem`.
            now: aware UTC.

        Raises:
            ConflictError: as `put_items`.
            FormatError: a malformed header, or pieces that do not give the size.
        """
        ...

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """Return payload bytes from `offset` on, at most `length`.

        Raises:
            NotFoundError: no such item version.
            FormatError: also a range of more than 70 MiB.
        """
        ...

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return the 32-byte leaf hashes as they were stored.

        Raises:
            NotFoundError: no such item version.
        """
        ...

    def list_items(
        self, *, client: bytes | None, project: bytes | None, after: ItemInfo | None, limit: int
    ) -> list[ItemInfo]:
        """Return item versions after one, by client, item and version."""
        ...

    def post(self, mailbox: bytes, message: bytes, now: datetime) -> None:
        """Leave a message of 1 byte to 64 KiB; one that already waits there is not doubled.

        A receipt that its own signer signed, for an item that is stored, is kept in `receipts` as well.
        If it says `submitted` and its signer holds the claim on that task (a claim whose contractor is the
        lowercase hex of the signer's key), the task is done.
        An ack to that contractor's mailbox, for an item that is stored, is kept in `acks` as well, once for each
        message that it is about and verdict, if the issuer of the client that it names signed it.

        A lease in the mailbox `lease_mailbox` of its client and contractor is held: `fetch` gives it while its task is
        claimed, and it goes with its contractor's `closed` receipt, with its end, or with a status that revokes its
        grant. One that is over already is not taken. A client's verified status in its own `status_mailbox` replaces
        what is there, if it is newer; from then on nothing else is taken there.

        Raises:
            StoreError: the mailbox is full, or takes nothing but its client's status.
        """
        ...

    def fetch(self, mailbox: bytes, *, after: int, limit: int, now: datetime) -> list[tuple[int, bytes]]:
        """Return waiting messages with a number above `after`, oldest first.

        A held lease is among them only while it has not expired and its task is under a live claim, which is its own
        contractor's where the claim's contractor is a key in lowercase hex. A later call may give a lower number than
        an earlier one did.
        """
        ...

    def watch(self) -> AbstractContextManager[Callable[[], bool]]:
        """Lend, for a short time, a question that is cheap to ask: may anything have changed since it was asked last?

        For whoever waits for a message. The first answer is yes.
        """
        ...

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message; it stays until a purge. Acking what is not there changes nothing.

        Nor does acking a held lease or a status.
        """
        ...

    def reply(self, mailbox: bytes, replies: Sequence[Reply], now: datetime) -> list[int]:
        """Post what answers messages of one mailbox, and stop delivering those, all in one transaction.

        Each as by `post` and `ack`, one after the other; but what a mailbox refuses is left out, and the message that
        it answers goes on waiting.

        Returns:
            Positions in `replies` of what was refused.
        """
        ...

    def receipts(self, *, after: int, limit: int) -> list[ReceiptEntry]:
        """Return receipts with a number above `after`, oldest first."""
        ...

    def acks(self, *, after: int, limit: int) -> list[AckEntry]:
        """Return acks with a number above `after`, oldest first."""
        ...

    def tasks(self, now: datetime, *, stuck_s: int | None, after: TaskState | None, limit: int) -> list[TaskState]:
        """Return tasks that stand in a queue after one, by client and item.

        Args:
            now: aware UTC.
            stuck_s: only what is not done, and was claimed at least so long ago, or opened and neither submitted nor
                closed.
            after: the last one of the page before.
            limit: at most so many.
        """
        ...

    def queues(self, now: datetime) -> list[Queue]:
        """Return all queues, with counts."""
        ...

    def claim(
        self,
        queue: bytes,
        contractor: str,
        ttl_s: int,
        now: datetime,
        *,
        client: bytes | None = None,
        project: bytes | None = None,
    ) -> Claim | None:
        """Reserve one open task of a queue, in one conditional statement; None if no task is open.

        Raises:
            NotFoundError: no such queue.
            ConflictError: several clients or projects have a queue of this id, and the arguments don't say
                which.
        """
        ...

    def finish(self, claim_id: bytes) -> None:
        """Mark the claimed task as done: it is not handed out again.

        An expired claim still finishes its task as long as nobody else has claimed it.

        Raises:
            NotFoundError: the claim was released or purged, or another one took its place.
        """
        ...

    def release_claim(self, claim_id: bytes) -> None:
        """Let others claim the task at once. Changes nothing if the claim is no longer there."""
        ...

    def status(self, now: datetime) -> StoreStatus:
        """Count what is stored."""
        ...

    def purge(self, now: datetime, *, keep_days: int = 0) -> Purged:
        """Forget expired claims and held leases, drop what interrupted puts left, and drop acked messages.

        Args:
            now: aware UTC.
            keep_days: keep acked messages that were posted less than this many days ago.
        """
        ...

    def check(self) -> list[Damage]:
        """Recompute every hash and signature that is stored; return what does not hold."""
        ...

    def close(self) -> None:
        """Release what is held open. Any later call raises StoreError."""
        ...
