"""Leases issued ahead, and status messages, in SQLite. Each function runs inside a transaction of its caller.

Both are messages in mailboxes like all others, so that one fetch gives all; what stands here says when a lease is
handed out and when it goes. The vault can't tell a true lease from a forged one: only its contractor can.
"""

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from labelvault.stores.checks import PostedStatus
from labelvault.wire.ahead import Status
from labelvault.wire.frame import Signed, parse_frame
from labelvault.wire.messages import LeaseOuter, Receipt
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms, to_ms

MAX_HELD: Final = timedelta(days=7)
"""No true lease lives longer, so none is kept longer, whatever it says."""

# A hostile database may hold anything here; what no post can have left is not read.
FETCH: Final = (
    "SELECT number, message FROM messages LEFT JOIN held_leases h USING (number)"
    " WHERE mailbox = :mailbox AND number > :after AND acked = 0"
    " AND typeof(message) = 'blob' AND length(message) <= :most"
    " AND (h.number IS NULL OR h.expires_ms > :now"
    " AND NOT EXISTS (SELECT 1 FROM frozen_projects f WHERE f.client = h.client AND f.project = h.project)"
    " AND EXISTS (SELECT 1 FROM tasks t WHERE t.client = h.client"
    " AND t.item = h.item AND t.done = 0 AND t.claim IS NOT NULL AND t.expires_ms > :now"
    " AND (length(t.contractor) != 64 OR t.contractor GLOB '*[^0-9a-f]*'"
    " OR t.contractor = lower(hex(h.contractor)))))"
    " ORDER BY number LIMIT :limit"
)
"""What waits in `:mailbox` at `:now`: of held leases those whose own contractor may be at their task, unless frozen."""


def keep_lease(db: sqlite3.Connection, number: int, lease: LeaseOuter, now: datetime) -> None:
    """Hold a lease that was posted as message `number`."""
    db.execute(
        "INSERT INTO held_leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            lease.client,
            lease.contractor,
            lease.project,
            lease.item,
            lease.lease_id,
            lease.grant_hash,
            to_ms(min(lease.expires_at, now + MAX_HELD)),
        ),
    )


def is_over(db: sqlite3.Connection, lease: LeaseOuter) -> bool:
    """Tell whether nobody will open a lease any more: its contractor closed it, or the newest status revokes it."""
    closed = db.execute(
        "SELECT 1 FROM receipts WHERE signer = ? AND lease_id = ? AND event = 'closed'",
        (lease.contractor, lease.lease_id),
    ).fetchone()
    if closed is not None:
        return True
    row = db.execute("SELECT message FROM statuses JOIN messages USING (number) WHERE client = ?", (lease.client,))
    newest = row.fetchone()
    if newest is None:
        return False
    status = decode_record(Status, parse_frame(newest[0]).body)
    return lease.grant_hash in status.revoked or lease.lease_id in status.revoked_leases


def drop_closed(db: sqlite3.Connection, receipt: Signed[Receipt]) -> None:
    """Forget a lease that its own contractor says is closed."""
    message = receipt.message
    if message.event == "closed":
        _drop(
            db,
            "client = ? AND contractor = ? AND lease_id = ?",
            (message.client, receipt.frame.signer, message.lease_id),
        )


def drop_expired(db: sqlite3.Connection, now: datetime) -> int:
    """Forget leases whose time is over; return how many."""
    return _drop(db, "expires_ms <= ?", (to_ms(now),))


def _drop(db: sqlite3.Connection, which: str, values: tuple[object, ...]) -> int:
    # `which` is this module's own words, never input.
    numbers = [row[0] for row in db.execute(f"SELECT number FROM held_leases WHERE {which}", values)]  # noqa: S608
    for number in numbers:
        db.execute("DELETE FROM held_leases WHERE number = ?", (number,))
        db.execute("DELETE FROM messages WHERE number = ?", (number,))
    return len(numbers)


def has_status(db: sqlite3.Connection, mailbox: bytes) -> bool:
    """Tell whether a mailbox is that of a client's status, and has one."""
    return db.execute("SELECT 1 FROM statuses WHERE mailbox = ?", (mailbox,)).fetchone() is not None


def is_newest(db: sqlite3.Connection, mailbox: bytes, status: PostedStatus) -> bool:
    """Tell whether no status of a newer certificate, or as new under the same one, is kept already."""
    row = db.execute("SELECT serial, at_ms FROM statuses WHERE mailbox = ?", (mailbox,)).fetchone()
    return row is None or (status.serial, status.status.message.at) > (row[0], from_ms(row[1]))


def clear(db: sqlite3.Connection, mailbox: bytes) -> None:
    """Empty a client's status mailbox, of an older status and of whatever else was posted before the first one."""
    db.execute("DELETE FROM statuses WHERE mailbox = ?", (mailbox,))
    db.execute("DELETE FROM messages WHERE mailbox = ?", (mailbox,))


def keep_status(db: sqlite3.Connection, mailbox: bytes, number: int, status: PostedStatus) -> None:
    """Remember that message `number` is a client's newest status: forget what it revokes, keep back what it freezes."""
    message = status.status.message
    db.execute(
        "INSERT INTO statuses VALUES (?, ?, ?, ?, ?)",
        (mailbox, message.client, number, status.serial, to_ms(message.at)),
    )
    for grant_hash in message.revoked:
        _drop(db, "client = ? AND grant_hash = ?", (message.client, grant_hash))
    for lease_id in message.revoked_leases:
        _drop(db, "client = ? AND lease_id = ?", (message.client, lease_id))
    db.execute("DELETE FROM frozen_projects WHERE client = ?", (message.client,))
    db.executemany("INSERT INTO frozen_projects VALUES (?, ?)", [(message.client, each) for each in message.frozen])
