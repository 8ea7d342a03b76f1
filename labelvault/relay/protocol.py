"""How an actor reaches the vault: a few operations on sealed bytes, and no way to its store.

Whatever comes back is untrusted: item bytes count once they give a digest from a lease or catalog, messages
once their signature fits a key that the receiver already trusts.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from labelvault.stores.values import (
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_STREAM_PAYLOAD_BYTES,
    ItemPart,
    Reply,
    StoredItem,
)

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_STREAM_PAYLOAD_BYTES",
    "ItemPart",
    "Relay",
    "Reply",
    "StoredItem",
]


class Relay(Protocol):
    """The vault as clients and contractors see it.

    Every operation can be repeated after a lost answer. Every method raises FormatError for arguments out of
    their bounds, StoreError when the vault refuses or fails and RelayError when it can't be reached; nothing
    was changed then, save that after a RelayError the vault may have done what was asked.
    """

    def put_items(self, items: Sequence[StoredItem]) -> int:
        """Store item versions, all or none, durably; return how many were new.

        Args:
            items: at most 10,000. The same again is a no-op.

        Raises:
            ConflictError: other bytes, another project or another queue are stored under one of these
                versions.
            FormatError: a malformed header, or a payload that does not give its leaves.
        """
        ...

    def put_stream(self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None) -> tuple[bytes, ...]:
        """Store one item version whose payload comes in pieces, in constant memory; return its leaf hashes.

        As `put_items` otherwise: whole or not at all, durable on return, and the same again is a no-op. What `pieces`
        raises goes through, and nothing was stored then.

        Args:
            header: canonical bytes.
            size: of the payload, 1 byte to 66 GiB.
            pieces: the payload in 1 MiB leaves, the last one shorter. Taken once: after an error, only the caller can
                begin again.
            queue: as in `StoredItem`.

        Raises:
            ConflictError: as `put_items`.
            FormatError: a malformed header, pieces that do not give the size, or more than this relay carries.
        """
        ...

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """Return payload bytes from `offset` on, at most `length`; all that follow if `length` is None.

        Args:
            client: 32 bytes.
            item: 16 bytes.
            version: from 1 upward.
            offset: in bytes, at most the payload's size.
            length: in bytes.

        Raises:
            NotFoundError: no such item version.
            FormatError: also a range of more than 70 MiB.
        """
        ...

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return the stored 32-byte leaf hashes of the payload's 1 MiB pieces.

        Raises:
            NotFoundError: no such item version.
        """
        ...

    def post(self, mailbox: bytes, message: bytes) -> None:
        """Leave a message, durably.

        Args:
            mailbox: 32 bytes, from `labelvault.wire.ids`.
            message: 1 byte to 64 KiB. One that already waits there is not doubled; one that was acked waits
                anew.

        Raises:
            StoreError: the mailbox is full.
        """
        ...

    def fetch(
        self, mailbox: bytes, *, after: int = 0, limit: int = 100, wait_s: float = 0.0
    ) -> list[tuple[int, bytes]]:
        """Return (number, message) of what waits, oldest first. Nothing is removed.

        Args:
            mailbox: 32 bytes.
            after: only messages with a higher number.
            limit: 1 to 1000.
            wait_s: where nothing waits, how long the vault may keep the question open, in seconds. It may
                answer sooner, with nothing: pause before asking again.
        """
        ...

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message. Acking again, or what is not there, changes nothing."""
        ...

    def reply(self, mailbox: bytes, replies: Sequence[Reply]) -> list[int]:
        """Post what answers messages of one mailbox, and stop delivering those; return positions of refused ones.

        Each as by `post` and `ack`; what a mailbox refuses is left out, and the message that it answers goes on
        waiting. A vault on this machine does all in one transaction, over HTTP each is one of its own: after an error,
        those before it may be done.

        Args:
            mailbox: 32 bytes, whose messages are answered.
            replies: in the order in which they are posted.
        """
        ...

    def close(self) -> None:
        """Release what is held open. Any later call raises StoreError."""
        ...
