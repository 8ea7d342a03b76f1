"""The vault as a labeling platform uses it: queues, claims, receipts, acks and upkeep.

Everything here is ids, sizes and times. Ids may be given as bytes or as lowercase hex.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from labelvault.relay.local import LocalRelay, utc_now
from labelvault.relay.protocol import Relay
from labelvault.stores import Store, open_store
from labelvault.stores.values import (
    MAX_PAGE,
    AckEntry,
    Claim,
    Damage,
    ItemInfo,
    Purged,
    Queue,
    ReceiptEntry,
    StoreStatus,
    TaskState,
)
from labelvault.wire.ids import ID_BYTES, KEY_ID_BYTES, parse_hex_id

if TYPE_CHECKING:
    from labelvault.vendor.http import Authenticate
    from labelvault.vendor.http_limits import HttpLimits

_RECEIPT_PAGE: Final = 500


class Vault:
    """The vendor's facade over a store. Threads may share one; processes may open one store each.

    Methods raise FormatError for arguments out of their bounds and StoreError when storage fails; in both
    cases nothing was changed.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime] = utc_now) -> None:
        """Serve a store that is open already; `Vault.open` is the usual way.

        Args:
            store: closed by `close`.
            clock: gives aware UTC times.
        """
        self._store = store
        self._clock = clock

    @classmethod
    def open(cls, url: str, clock: Callable[[], datetime] = utc_now) -> Self:
        """Open a vault, creating it on first run (file 0600, its folder 0700 if that is new).

        Args:
            url: `sqlite:////absolute/path` or `sqlite:///relative/path`.
            clock: gives aware UTC times.

        Raises:
            StoreError: not a LabelVault database, of an unknown version, damaged, or not accessible.
        """
        return cls(open_store(url, create=True), clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def queues(self) -> list[Queue]:
        """Return all queues with their counts."""
        return self._store.queues(self._clock())

    def claim(self, queue: Queue | bytes | str, contractor_id: str, *, ttl_s: int) -> Claim | None:
        """Reserve one open task for one contractor, atomically across threads and processes.

        Args:
            queue: from `queues`, or its id.
            contractor_id: the platform's name for the contractor, 1 to 200 bytes. With the lowercase hex of
                the contractor's key, its signed `submitted` receipt finishes the task; with any other name,
                call `finish`.
            ttl_s: 1 s to 30 days; after that the task can be claimed again.

        Returns:
            The claim, or None if no task is open.

        Raises:
            NotFoundError: no such queue.
            ConflictError: the id names queues of several clients; pass the Queue.
        """
        now = self._clock()
        if isinstance(queue, Queue):
            return self._store.claim(queue.id, contractor_id, ttl_s, now, client=queue.client, project=queue.project)
        return self._store.claim(_id(queue), contractor_id, ttl_s, now)

    def finish(self, claim: Claim | bytes | str) -> None:
        """Mark a claimed task as done, so that it is not handed out again. May be repeated.

        A claim that expired still finishes its task as long as nobody else has claimed it.

        Raises:
            NotFoundError: the claim was released or purged, or another one took its place.
        """
        self._store.finish(_claim_id(claim))

    def release_claim(self, claim: Claim | bytes | str) -> None:
        """Let others claim the task at once. Changes nothing if the claim is gone or its task is done."""
        self._store.release_claim(_claim_id(claim))

    def receipts(self, after: int = 0) -> Iterator[ReceiptEntry]:
        """Yield receipts that came after a cursor, oldest first.

        A receipt's signature fits the key that it names in `contractor`. Whether that key is one of yours is
        yours to say: pay for known keys only, and once per (client, contractor, item).

        Args:
            after: the `number` of the last receipt that was handled; 0 for all.

        Raises:
            StoreError: a stored receipt is damaged.
        """
        while page := self._store.receipts(after=after, limit=_RECEIPT_PAGE):
            yield from page
            after = page[-1].number

    def acks(self, after: int = 0) -> Iterator[AckEntry]:
        """Yield acks that came after a cursor, oldest first: what the clients' issuers say of receipts and answers.

        Each is signed by the issuer that the client named in `client` has certified; which clients are yours, you know.
        Pay on `accepted` acks of an `answer`, once per (client, contractor, item).

        Args:
            after: the `number` of the last ack that was handled; 0 for all.

        Raises:
            StoreError: a stored ack is damaged.
        """
        while page := self._store.acks(after=after, limit=_RECEIPT_PAGE):
            yield from page
            after = page[-1].number

    def tasks(
        self, *, stuck_s: int | None = None, after: TaskState | None = None, limit: int = MAX_PAGE
    ) -> list[TaskState]:
        """Return one page of tasks that stand in a queue, by client and item.

        Args:
            stuck_s: only tasks that are not done, and were claimed at least so many seconds ago, or opened so long ago
                and neither submitted nor closed. Times of receipts are whole minutes.
            after: the last one of the page before.
            limit: 1 to 1000.
        """
        return self._store.tasks(self._clock(), stuck_s=stuck_s, after=after, limit=limit)

    def items(
        self,
        *,
        client: bytes | str | None = None,
        project: bytes | str | None = None,
        after: ItemInfo | None = None,
        limit: int = MAX_PAGE,
    ) -> list[ItemInfo]:
        """Return one page of item versions, by client, item and version.

        Args:
            client: only this client's.
            project: only this project's.
            after: the last one of the page before.
            limit: 1 to 1000.
        """
        return self._store.list_items(
            client=None if client is None else _id(client, KEY_ID_BYTES),
            project=None if project is None else _id(project),
            after=after,
            limit=limit,
        )

    def status(self) -> StoreStatus:
        """Return counts and bytes."""
        return self._store.status(self._clock())

    def purge(self, *, keep_days: int = 0) -> Purged:
        """Drop acked messages, expired claims and leases, and what interrupted uploads left. Items and receipts stay.

        Args:
            keep_days: keep acked messages that were posted less than this many days ago; 0 keeps none.
        """
        return self._store.purge(self._clock(), keep_days=keep_days)

    def check(self) -> list[Damage]:
        """Recompute every stored hash and signature; return whatever does not hold, items by their full name.

        Finds bit rot, not malice: whoever writes to the store can write hashes that fit. Clients and
        contractors notice that by the digests that they hold.
        """
        return self._store.check()

    def relay(self) -> Relay:
        """Return the relay to this vault for actors in the same process. Closing it leaves the vault open."""
        return LocalRelay(self._store, self._clock, owns_store=False)

    def asgi(
        self,
        *,
        authenticate: "Authenticate",
        platform: "Authenticate | None" = None,
        limits: "HttpLimits | None" = None,
    ) -> Any:
        """Return an ASGI application that serves this vault over HTTP (docs/http.md). Needs the extra `service`.

        Mount it in an asyncio server that is reached over TLS, and keep the vault open as long as it runs.

        Args:
            authenticate: gets a request's headers and returns who calls, or None for a stranger; a function that may
                block, or a coroutine function. Clients and contractors call with `Authorization: Bearer <token>`. A
                `labelvault.vendor.http_callers.Caller` is bound to one client or contractor; a mere name may use all
                items and mailboxes.
            platform: as `authenticate`, for the routes of queues and claims, which are not there without it.
            limits: sizes and rates; `labelvault.vendor.http_limits.HttpLimits()` by default.

        Raises:
            ImportError: the extra is not installed.
        """
        from labelvault.vendor.http import HttpService

        return HttpService(self, authenticate, platform=platform, limits=limits).app

    def close(self) -> None:
        """Release the store. Any later call raises StoreError."""
        self._store.close()


def _id(value: bytes | str, size: int = ID_BYTES) -> bytes:
    return parse_hex_id(value, size) if isinstance(value, str) else value


def _claim_id(claim: Claim | bytes | str) -> bytes:
    return claim.id if isinstance(claim, Claim) else _id(claim)
