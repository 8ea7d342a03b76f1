"""Queues, claims and receipts in SQLite. Each function runs inside a transaction of its caller."""

import sqlite3
from collections.abc import Sequence

from labelvault.crypto.random import random_bytes
from labelvault.errors import ConflictError, FormatError, NotFoundError, SignatureError, StoreError
from labelvault.stores.checks import MINUTE_S, moment
from labelvault.stores.values import Claim, Queue, ReceiptEntry
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import Receipt
from labelvault.wire.times import from_ms


def place_tasks(db: sqlite3.Connection, stored: Sequence[tuple[ItemHeader, bytes | None]]) -> None:
    """Put items' tasks where their newest version belongs; a task that is done or claimed stays so.

    Args:
        db: the transaction.
        stored: headers of item versions that are stored by now, and the queue of each.
    """
    queued = [
        (header.client, header.item, header.version, header.project, queue)
        for header, queue in stored
        if queue is not None
    ]
    db.executemany(
        "INSERT INTO queues (queue, client, project) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        sorted({(queue, client, project) for client, _, _, project, queue in queued}),
    )
    db.executemany(
        "INSERT INTO tasks (client, item, project, queue) SELECT ?1, ?2, ?4, ?5"
        " WHERE NOT EXISTS (SELECT 1 FROM items WHERE client = ?1 AND item = ?2 AND version > ?3)"
        " ON CONFLICT (client, item) DO UPDATE SET project = excluded.project, queue = excluded.queue",
        queued,
    )
    db.executemany(
        "UPDATE tasks SET queue = NULL, project = ?4 WHERE client = ?1 AND item = ?2"
        " AND NOT EXISTS (SELECT 1 FROM items WHERE client = ?1 AND item = ?2 AND version > ?3)",
        [(header.client, header.item, header.version, header.project) for header, queue in stored if queue is None],
    )


def read_queues(db: sqlite3.Connection, now_ms: int) -> list[Queue]:
    """Return all queues, with counts."""
    rows = db.execute(
        "SELECT queue, client, project, total(done = 0 AND expires_ms <= ?1),"
        " total(done = 0 AND expires_ms > ?1), total(done)"
        " FROM queues LEFT JOIN tasks USING (queue, client, project)"
        # In the order of their index, so that tasks are counted as they come and only queues are sorted.
        " GROUP BY queue, client, project",
        (now_ms,),
    )
    found = [Queue(*row[:3], *map(int, row[3:])) for row in rows]
    return sorted(found, key=lambda each: (each.client, each.project, each.id))


def find_queue(
    db: sqlite3.Connection, queue: bytes, client: bytes | None, project: bytes | None
) -> tuple[bytes, bytes, bytes]:
    """Return queue, client and project of the one queue that is meant.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several.
    """
    rows = db.execute(
        "SELECT queue, client, project FROM queues"
        " WHERE queue = ?1 AND (?2 IS NULL OR client = ?2) AND (?3 IS NULL OR project = ?3) LIMIT 2",
        (queue, client, project),
    ).fetchall()
    if not rows:
        raise NotFoundError(f"no queue {queue.hex()}")
    if len(rows) > 1:
        # A client who takes another's queue id must not get its tasks among the other's.
        raise ConflictError(f"several queues have the id {queue.hex()}: name client and project too")
    found: tuple[bytes, bytes, bytes] = rows[0]
    return found


def claim(
    db: sqlite3.Connection, queue: tuple[bytes, bytes, bytes], contractor: str, now_ms: int, expires_ms: int
) -> Claim | None:
    """Reserve one open task, in one conditional statement."""
    claim_id = random_bytes(ID_BYTES)
    row = db.execute(
        "UPDATE tasks SET claim = ?1, contractor = ?2, claimed_ms = ?7, expires_ms = ?3 WHERE (client, item) ="
        " (SELECT client, item FROM tasks WHERE queue = ?4 AND client = ?5 AND project = ?6"
        "  AND done = 0 AND expires_ms <= ?7 ORDER BY expires_ms LIMIT 1)"
        " RETURNING client, project, queue, item",
        (claim_id, contractor, expires_ms, *queue, now_ms),
    ).fetchone()
    if row is None:
        return None
    client, project, queue_id, item = row
    return Claim(claim_id, client, project, queue_id, item, contractor, from_ms(expires_ms))


def finish(db: sqlite3.Connection, claim_id: bytes) -> None:
    """Mark the claimed task as done.

    Raises:
        NotFoundError: no task is under this claim.
    """
    if not db.execute("UPDATE tasks SET done = 1 WHERE claim = ?", (claim_id,)).rowcount:
        raise NotFoundError("the claim was released, or the task was claimed again after it expired")


def release(db: sqlite3.Connection, claim_id: bytes) -> None:
    """Free the task that is under this claim, unless it is done."""
    db.execute(
        "UPDATE tasks SET claim = NULL, contractor = NULL, claimed_ms = 0, expires_ms = 0 WHERE claim = ? AND done = 0",
        (claim_id,),
    )


def forget_expired(db: sqlite3.Connection, now_ms: int) -> int:
    """Free all tasks whose claim has expired; return how many."""
    return db.execute(
        "UPDATE tasks SET claim = NULL, contractor = NULL, claimed_ms = 0, expires_ms = 0"
        " WHERE done = 0 AND claim IS NOT NULL AND expires_ms <= ?",
        (now_ms,),
    ).rowcount


def keep_receipt(db: sqlite3.Connection, receipt: Signed[Receipt], minute: int) -> None:
    """Keep a receipt for a stored item, once, and finish the task if its own claimer says `submitted`."""
    message, signer = receipt.message, receipt.frame.signer
    # Receipts for items that nobody stored would let anyone with a made-up key fill the disk.
    db.execute(
        "INSERT INTO receipts (signer, lease_id, event, received_minute, frame, client, item)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
        " WHERE EXISTS (SELECT 1 FROM items WHERE client = ?6 AND item = ?7) ON CONFLICT DO NOTHING",
        (signer, message.lease_id, message.event, minute, receipt.data, message.client, message.item),
    )
    if message.event == "submitted":
        # Anyone can sign a receipt under a key of their own; only the key that holds the claim speaks for the
        # task.
        db.execute(
            "UPDATE tasks SET done = 1 WHERE client = ? AND item = ? AND contractor = ?",
            (message.client, message.item, signer.hex()),
        )


def read_receipts(db: sqlite3.Connection, after: int, limit: int) -> list[ReceiptEntry]:
    """Return receipts, each verified again.

    Raises:
        StoreError: one is damaged.
    """
    rows = db.execute(
        "SELECT number, signer, received_minute, frame FROM receipts WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    )
    return [_entry(*row) for row in rows]


def _entry(number: int, signer: bytes, minute: int, frame: bytes) -> ReceiptEntry:
    try:
        message = open_frame(frame, Receipt, signer).message
    except (FormatError, SignatureError) as error:
        raise StoreError(f"receipt {number} is damaged") from error
    return ReceiptEntry(
        number=number,
        contractor=signer,
        client=message.client,
        project=message.project,
        lease_id=message.lease_id,
        item=message.item,
        event=message.event,
        erased=message.erased,
        at=message.at,
        received_at=moment(minute, MINUTE_S),
    )
