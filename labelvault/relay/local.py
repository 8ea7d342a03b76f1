"""The vault in this process: the relay for one machine, for tests, and behind every transport."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from labelvault.errors import StoreError
from labelvault.stores.base import Store
from labelvault.stores.values import ItemPart, Reply, StoredItem

_MAX_WAIT_S: Final = 0.1
"""So that whoever waits still hears soon that it should stop."""
_LOOK_S: Final = 0.001
"""To ask whether anything changed takes 4 µs, and to wake up for it some 30: three percent of a core."""


def utc_now() -> datetime:
    """Return the system's time."""
    return datetime.now(UTC)


class LocalRelay:
    """A `labelvault.relay.protocol.Relay` that calls a store."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = utc_now, *, owns_store: bool = True) -> None:
        """Serve a store.

        Args:
            store: where items and messages rest.
            clock: gives aware UTC times.
            owns_store: whether `close` closes the store too.
        """
        self._open_store: Store | None = store
        self._clock = clock
        self._owns_store = owns_store

    @property
    def _store(self) -> Store:
        if self._open_store is None:
            raise StoreError("the relay is closed")
        return self._open_store

    def put_items(self, items: Sequence[StoredItem]) -> int:
        """Store item versions, all or none; see `Relay`."""
        return self._store.put_items(items, self._clock())

    def put_stream(self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None) -> tuple[bytes, ...]:
        """Store an item version whose payload comes in pieces; see `Relay`."""
        return self._store.put_stream(header, size, pieces, queue, self._clock())

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """Return a range of a payload; see `Relay`."""
        return self._store.read_item(client, item, version, offset, length)

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return stored leaf hashes; see `Relay`."""
        return self._store.read_leaves(client, item, version)

    def post(self, mailbox: bytes, message: bytes) -> None:
        """Leave a message; see `Relay`."""
        self._store.post(mailbox, message, self._clock())

    def fetch(
        self, mailbox: bytes, *, after: int = 0, limit: int = 100, wait_s: float = 0.0
    ) -> list[tuple[int, bytes]]:
        """Return what waits; where nothing does, look again and again for a tenth of a second at most; see `Relay`."""
        if wait_s <= 0:
            return self._store.fetch(mailbox, after=after, limit=limit, now=self._clock())
        ends = time.monotonic() + min(wait_s, _MAX_WAIT_S)
        with self._store.watch() as changed:
            while True:
                found = self._store.fetch(mailbox, after=after, limit=limit, now=self._clock()) if changed() else []
                if found or time.monotonic() + _LOOK_S > ends:
                    return found
                time.sleep(_LOOK_S)

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message; see `Relay`."""
        self._store.ack(mailbox, number)

    def reply(self, mailbox: bytes, replies: Sequence[Reply]) -> list[int]:
        """Post answers, and stop delivering what they answer; see `Relay`."""
        return self._store.reply(mailbox, replies, self._clock())

    def close(self) -> None:
        """Release what is held open; see `Relay`."""
        store, self._open_store = self._open_store, None
        if store is not None and self._owns_store:
            store.close()
