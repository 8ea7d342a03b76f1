"""Mailboxes in SQLite: what a message that is posted changes. Each function runs inside a transaction of its caller."""

import sqlite3
from datetime import datetime

from labelvault.errors import StoreError
from labelvault.stores import sqlite_acks, sqlite_claims, sqlite_held
from labelvault.stores.checks import MINUTE_S, Posted, coarse, message_hash


def place(db: sqlite3.Connection, posted: Posted, now: datetime, max_pending: int) -> None:
    """Leave a message in its mailbox; see `Store.post`.

    Raises:
        StoreError: the mailbox takes no more, or nothing but its client's status; nothing was changed.
    """
    mailbox, message, lease, status = posted.mailbox, posted.message, posted.lease, posted.status
    if status is not None:
        if not sqlite_held.is_newest(db, mailbox, status):
            return
        sqlite_held.clear(db, mailbox)
    elif sqlite_held.has_status(db, mailbox):
        raise StoreError("this mailbox takes nothing but its client's status")
    if lease is not None and sqlite_held.is_over(db, lease):
        return
    minute = coarse(now, MINUTE_S)
    # Counting and inserting are one statement; one that waits already is taken even by a full mailbox.
    inserted = db.execute(
        "INSERT INTO messages (mailbox, hash, posted_minute, message) SELECT ?1, ?2, ?3, ?4"
        " WHERE (SELECT count(*) FROM messages WHERE mailbox = ?1 AND acked = 0) < ?5"
        " ON CONFLICT DO NOTHING RETURNING number",
        (mailbox, message_hash(mailbox, message), minute, message, max_pending),
    ).fetchone()
    if inserted is None and not _waits(db, mailbox, message):
        raise StoreError(f"{max_pending} messages wait in this mailbox already")
    if inserted is not None and lease is not None:
        sqlite_held.keep_lease(db, inserted[0], lease, now)
    if inserted is not None and status is not None:
        sqlite_held.keep_status(db, mailbox, inserted[0], status)
    if posted.receipt is not None:
        sqlite_claims.keep_receipt(db, posted.receipt, minute)
        sqlite_held.drop_closed(db, posted.receipt)
    if posted.ack is not None:
        sqlite_acks.keep(db, mailbox, posted.ack, minute)


def _waits(db: sqlite3.Connection, mailbox: bytes, message: bytes) -> bool:
    found = db.execute(
        "SELECT 1 FROM messages WHERE mailbox = ? AND hash = ? AND acked = 0",
        (mailbox, message_hash(mailbox, message)),
    ).fetchone()
    return found is not None


def settle(db: sqlite3.Connection, mailbox: bytes, number: int) -> None:
    """Stop delivering a message."""
    # A held lease goes when its contractor closes it, and a status when a newer one comes: anyone can ack.
    db.execute(
        "UPDATE messages SET acked = 1 WHERE number = ? AND mailbox = ?"
        " AND number NOT IN (SELECT number FROM held_leases UNION ALL SELECT number FROM statuses)",
        (number, mailbox),
    )
