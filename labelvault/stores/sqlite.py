"""The SQLite store: items and mailboxes in one file, large payloads beside it, for any processes on one machine.

WAL with synchronous=FULL: what was acknowledged survives a power cut. This module checks arguments and draws
the transactions; `sqlite_items`, `sqlite_messages`, `sqlite_claims` and `sqlite_check` hold what happens within them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from labelvault.crypto.merkle import leaf_hash
from labelvault.errors import StoreError
from labelvault.stores import sqlite_acks, sqlite_check, sqlite_claims, sqlite_held, sqlite_items, sqlite_messages
from labelvault.stores.checks import (
    HOUR_S,
    MINUTE_S,
    check_claim,
    check_id,
    check_int,
    check_items,
    check_key,
    check_owner,
    check_page,
    check_post,
    check_stream,
    coarse,
    milliseconds,
    split,
    whole,
)
from labelvault.stores.payload_files import FILE_ABOVE_BYTES, PayloadFiles
from labelvault.stores.sqlite_files import Connections
from labelvault.stores.values import (
    MAX_MESSAGE_BYTES,
    MAX_PENDING,
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
from labelvault.wire.ids import KEY_ID_BYTES
from labelvault.wire.times import from_ms

_DAY_MINUTES: Final = 24 * 60


class SQLiteStore:
    """A `labelvault.stores.base.Store` in one SQLite file. Safe to share between threads and across forks."""

    def __init__(self, path: Path, *, create: bool, max_pending: int = MAX_PENDING) -> None:
        """Open a file.

        Args:
            path: the database.
            create: make it (0600) and its folder (0700) where they are missing.
            max_pending: messages that may wait in one mailbox.

        Raises:
            StoreError: not there, not a LabelVault database, of an unknown version, or damaged.
        """
        self._path = path.absolute()
        self._files = Connections(self._path, create=create)
        self._payloads = PayloadFiles(self._path)
        self._max_pending = max_pending

    def put_items(self, items: Sequence[StoredItem], now: datetime) -> int:
        """Store item versions, all or none; see `Store`."""
        checked = check_items(items)
        hour = coarse(now, HOUR_S)
        # By id, so that where a batch's pages lie in the file says nothing about its order either.
        in_order = sorted(checked, key=lambda each: each.key)
        with self._files.write() as db:
            return sqlite_items.put(db, in_order, hour)

    def put_stream(
        self, header: bytes, size: int, pieces: Iterable[bytes], queue: bytes | None, now: datetime
    ) -> tuple[bytes, ...]:
        """Store an item version whose payload comes in pieces; see `Store`."""
        parsed = check_stream(header, size, queue)
        hour = coarse(now, HOUR_S)
        if size <= FILE_ABOVE_BYTES:
            payload = whole(pieces, size)
            leaves = tuple(map(leaf_hash, split(payload)))
            self.put_items([StoredItem(header, payload, leaves, queue)], now)
            return leaves
        with self._files.read():
            # A store that is closed or gone says so before anything is written.
            pass
        with self._payloads.receive(pieces, size, hour) as received:
            item = sqlite_items.NewItem(parsed, header, size, received.leaves, queue)
            try:
                with self._files.write() as db:
                    if not sqlite_items.is_stored(db, item):
                        sqlite_items.insert(db, [(item, (b"" for _ in item.leaves))], hour)
                        # Last, so that all that can fail but the commit has not failed.
                        self._payloads.place(received, item.key)
            except StoreError:
                self._drop_orphan(item.key)
                raise
        return item.leaves

    def _drop_orphan(self, key: tuple[bytes, bytes, int]) -> None:
        """After a failed commit, take back the file: under the lock, as another process may have put the same."""
        # If this fails too, a purge collects it.
        with suppress(StoreError), self._files.write() as db:
            if not sqlite_items.has_row(db, key):
                self._payloads.drop(key)

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """Return a range of a payload; see `Store`."""
        check_key(client, item, version)
        with self._files.read() as db:
            return sqlite_items.read(db, (client, item, version), offset, length, self._payloads)

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """Return stored leaf hashes; see `Store`."""
        check_key(client, item, version)
        with self._files.read() as db:
            return sqlite_items.read_leaves(db, (client, item, version))

    def list_items(
        self, *, client: bytes | None, project: bytes | None, after: ItemInfo | None, limit: int
    ) -> list[ItemInfo]:
        """Return item versions by client, item and version; see `Store`."""
        check_page(0, limit)
        check_owner(client, project)
        key = (b"", b"", 0) if after is None else (after.client, after.item, after.version)
        with self._files.read() as db:
            return sqlite_items.page(db, client, project, key, limit)

    def post(self, mailbox: bytes, message: bytes, now: datetime) -> None:
        """Leave a message; see `Store`."""
        posted = check_post(mailbox, message)
        with self._files.write() as db:
            sqlite_messages.place(db, posted, now, self._max_pending)

    def reply(self, mailbox: bytes, replies: Sequence[Reply], now: datetime) -> list[int]:
        """Post messages, and stop delivering those that they answer; see `Store`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        for each in replies:
            if each.number is not None:
                check_int(each.number, "a message number")
        posts = [check_post(each.to, each.message) if each.message is not None else None for each in replies]
        refused = []
        with self._files.write() as db:
            for at, (each, posted) in enumerate(zip(replies, posts, strict=True)):
                try:
                    if posted is not None:
                        sqlite_messages.place(db, posted, now, self._max_pending)
                except StoreError:
                    refused.append(at)
                    continue
                if each.number is not None:
                    sqlite_messages.settle(db, mailbox, each.number)
        return refused

    def fetch(self, mailbox: bytes, *, after: int, limit: int, now: datetime) -> list[tuple[int, bytes]]:
        """Return what waits; see `Store`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        check_page(after, limit)
        now_ms = milliseconds(now)
        with self._files.read() as db:
            return db.execute(
                sqlite_held.FETCH,
                {"mailbox": mailbox, "after": after, "most": MAX_MESSAGE_BYTES, "limit": limit, "now": now_ms},
            ).fetchall()

    def watch(self) -> AbstractContextManager[Callable[[], bool]]:
        """Lend a question: may anything have changed? See `Store`."""
        return self._files.watch()

    def ack(self, mailbox: bytes, number: int) -> None:
        """Stop delivering a message; see `Store`."""
        check_id(mailbox, "a mailbox id", KEY_ID_BYTES)
        check_int(number, "a message number")
        with self._files.write() as db:
            sqlite_messages.settle(db, mailbox, number)

    def receipts(self, *, after: int, limit: int) -> list[ReceiptEntry]:
        """Return receipts; see `Store`."""
        check_page(after, limit)
        with self._files.read() as db:
            return sqlite_claims.read_receipts(db, after, limit)

    def acks(self, *, after: int, limit: int) -> list[AckEntry]:
        """Return acks; see `Store`."""
        check_page(after, limit)
        with self._files.read() as db:
            return sqlite_acks.read(db, after, limit)

    def tasks(self, now: datetime, *, stuck_s: int | None, after: TaskState | None, limit: int) -> list[TaskState]:
        """Return how far tasks have come; see `Store`."""
        check_page(0, limit)
        now_ms = milliseconds(now)
        if stuck_s is not None:
            check_int(stuck_s, "a time span", 0, now_ms // 1000)
        key = (b"", b"") if after is None else (after.client, after.item)
        with self._files.read() as db:
            return sqlite_acks.tasks(db, now_ms, None if stuck_s is None else now_ms - 1000 * stuck_s, key, limit)

    def queues(self, now: datetime) -> list[Queue]:
        """Return all queues, with counts; see `Store`."""
        with self._files.read() as db:
            return sqlite_claims.read_queues(db, milliseconds(now))

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
        """Reserve one open task; see `Store`."""
        check_id(queue, "a queue id")
        check_claim(contractor, ttl_s)
        check_owner(client, project)
        now_ms = milliseconds(now)
        with self._files.write() as db:
            found = sqlite_claims.find_queue(db, queue, client, project)
            return sqlite_claims.claim(db, found, contractor, now_ms, now_ms + 1000 * ttl_s)

    def finish(self, claim_id: bytes) -> None:
        """Mark the claimed task as done; see `Store`."""
        check_id(claim_id, "a claim id")
        with self._files.write() as db:
            sqlite_claims.finish(db, claim_id)

    def release_claim(self, claim_id: bytes) -> None:
        """Let others claim the task at once; see `Store`."""
        check_id(claim_id, "a claim id")
        with self._files.write() as db:
            sqlite_claims.release(db, claim_id)

    def status(self, now: datetime) -> StoreStatus:
        """Count what is stored; see `Store`."""
        now_ms = milliseconds(now)
        with self._files.read() as db:
            (clients, items, item_bytes) = db.execute(
                "SELECT count(DISTINCT client), count(*), coalesce(sum(size), 0) FROM items"
            ).fetchone()
            (queues,) = db.execute("SELECT count(*) FROM queues").fetchone()
            (claims,) = db.execute("SELECT count(*) FROM tasks WHERE done = 0 AND expires_ms > ?", (now_ms,)).fetchone()
            (acked, messages, message_bytes) = db.execute(
                "SELECT coalesce(sum(acked), 0), count(*), coalesce(sum(length(message)), 0) FROM messages"
            ).fetchone()
            (receipts,) = db.execute("SELECT count(*) FROM receipts").fetchone()
            (acks,) = db.execute("SELECT count(*) FROM acks").fetchone()
            (pages, page_bytes) = (db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
        return StoreStatus(
            clients=clients,
            items=items,
            item_bytes=item_bytes,
            queues=queues,
            live_claims=claims,
            pending_messages=messages - acked,
            acked_messages=acked,
            message_bytes=message_bytes,
            receipts=receipts,
            acks=acks,
            stored_bytes=pages * page_bytes + self._payloads.stored_bytes(),
        )

    def purge(self, now: datetime, *, keep_days: int = 0) -> Purged:
        """Drop acked messages, files without a row, expired leases and claims; see `Store`."""
        check_int(keep_days, "keep_days", 0, 36_500)
        oldest_kept = coarse(now, MINUTE_S) - keep_days * _DAY_MINUTES
        with self._files.write() as db:
            messages = db.execute(
                "DELETE FROM messages WHERE acked = 1 AND (? = 0 OR posted_minute <= ?)",
                (keep_days, oldest_kept),
            ).rowcount
            claims = sqlite_claims.forget_expired(db, milliseconds(now))
            leases = sqlite_held.drop_expired(db, from_ms(milliseconds(now)))
            # Under the write lock, so that no put is between its file's name and its row.
            files = self._payloads.collect(partial(sqlite_items.has_row, db))
            return Purged(messages, claims, files, leases)

    def check(self) -> list[Damage]:
        """Return whatever is not as it was stored; see `Store`."""
        with self._files.read():
            pass
        return sqlite_check.find_damage(self._path)

    def close(self) -> None:
        """Release the file; see `Store`."""
        self._files.close()
