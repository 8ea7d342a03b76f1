"""Acks, and how far tasks have come, in SQLite. Each function runs inside a transaction of its caller."""

import sqlite3

from labelvault.errors import StoreError
from labelvault.stores.checks import MINUTE_S, moment, parse_ack
from labelvault.stores.values import AckEntry, TaskState
from labelvault.wire.answers import Ack
from labelvault.wire.frame import Signed
from labelvault.wire.ids import ClientId, contractor_mailbox
from labelvault.wire.times import from_ms


def keep(db: sqlite3.Connection, mailbox: bytes, ack: Signed[Ack], minute: int) -> None:
    """Keep an ack to its contractor's mailbox, for a stored item, once for each message and verdict."""
    message = ack.message
    if mailbox != contractor_mailbox(ClientId(message.client), message.contractor):
        return
    # Anyone can be a client of his own making: acks for items that nobody stored would let him fill the disk.
    db.execute(
        "INSERT INTO acks (client, message, verdict, received_minute, frame) SELECT ?1, ?2, ?3, ?4, ?5"
        " WHERE EXISTS (SELECT 1 FROM items WHERE client = ?1 AND item = ?6) ON CONFLICT DO NOTHING",
        (message.client, message.of, message.verdict, minute, ack.data, message.item),
    )


def read(db: sqlite3.Connection, after: int, limit: int) -> list[AckEntry]:
    """Return acks, each verified again.

    Raises:
        StoreError: one is damaged.
    """
    rows = db.execute(
        "SELECT number, received_minute, frame FROM acks WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
    )
    return [_entry(*row) for row in rows]


def _entry(number: int, minute: int, frame: bytes) -> AckEntry:
    ack = parse_ack(frame)
    if ack is None:
        raise StoreError(f"ack {number} is damaged")
    message = ack.message
    return AckEntry(
        number=number,
        contractor=message.contractor,
        client=message.client,
        project=message.project,
        lease_id=message.lease_id,
        item=message.item,
        event=message.event,
        of=message.of,
        verdict=message.verdict,
        at=message.at,
        received_at=moment(minute, MINUTE_S),
    )


def tasks(
    db: sqlite3.Connection, now_ms: int, stuck_before_ms: int | None, after: tuple[bytes, bytes], limit: int
) -> list[TaskState]:
    """Return tasks that stand in a queue, by client and item.

    Args:
        db: in a transaction.
        now_ms: what the clock says.
        stuck_before_ms: only what is not done and was claimed, or opened and not ended, by then.
        after: client and item of the last one of the page before.
        limit: at most so many.
    """
    rows = db.execute(
        "SELECT client, project, item, queue, done, contractor, claimed_ms, expires_ms, opened FROM ("
        " SELECT t.*, (SELECT min(r.received_minute) FROM receipts r WHERE r.client = t.client AND r.item = t.item"
        "  AND r.event = 'opened' AND NOT EXISTS (SELECT 1 FROM receipts e WHERE e.signer = r.signer"
        "   AND e.lease_id = r.lease_id AND e.event IN ('submitted', 'closed'))) AS opened"
        " FROM tasks t WHERE t.queue IS NOT NULL AND (t.client, t.item) > (?1, ?2))"
        " WHERE ?3 IS NULL OR (done = 0 AND ((claim IS NOT NULL AND claimed_ms <= ?3)"
        "  OR coalesce(opened * 60000 <= ?3, 0)))"
        " ORDER BY client, item LIMIT ?4",
        (*after, stuck_before_ms, limit),
    )
    return [_task(now_ms, *row) for row in rows]


def _task(
    now_ms: int,
    client: bytes,
    project: bytes,
    item: bytes,
    queue: bytes,
    done: int,
    contractor: str | None,
    claimed_ms: int,
    expires_ms: int,
    opened_minute: int | None,
) -> TaskState:
    state = "done" if done else "claimed" if expires_ms > now_ms else "waiting"
    return TaskState(
        client,
        project,
        item,
        queue,
        state,
        contractor,
        from_ms(claimed_ms) if contractor is not None else None,
        from_ms(expires_ms) if contractor is not None else None,
        None if opened_minute is None else moment(opened_minute, MINUTE_S),
    )
