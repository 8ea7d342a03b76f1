"""Finding bit rot in a SQLite store: every hash and signature is computed again (that needs no key)."""

import hmac
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from labelvault.crypto.merkle import leaf_hash
from labelvault.errors import FormatError, StoreError
from labelvault.stores.checks import item_checksum, message_hash, parse_ack, parse_receipt
from labelvault.stores.payload_files import PayloadFiles
from labelvault.stores.sqlite_files import Connections
from labelvault.stores.values import Damage
from labelvault.wire.items import LEAF_BYTES, parse_header


def find_damage(path: Path) -> list[Damage]:
    """Read everything, and return whatever is not as it was stored.

    Reads over connections of its own, so that no page is taken from a cache that is older than the damage.

    Raises:
        StoreError: the file is so damaged that it can't be opened.
    """
    found: list[Damage] = []
    files = Connections(path, create=False)
    try:
        for scan in (_backend, partial(_items, payloads=PayloadFiles(path)), _messages, _receipts, _acks):
            try:
                with files.read() as db:
                    for damage in scan(db):
                        found.append(damage)
            except StoreError as error:
                # Unreadable from here on; what the other scans can still read is checked all the same.
                found.append(Damage("backend", str(error)))
    finally:
        files.close()
    return found


def _backend(db: sqlite3.Connection) -> Iterator[Damage]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield Damage("backend", line)
    for table, _, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield Damage("backend", f"a row of {table} belongs to nothing in {parent}")
    (spare,) = db.execute(
        "SELECT (SELECT count(*) FROM pieces) - (SELECT total((abs(size) + ?1 - 1) / ?1) FROM items)", (LEAF_BYTES,)
    ).fetchone()
    if spare > 0:
        yield Damage("backend", f"{int(spare)} pieces belong to no item")


def _items(db: sqlite3.Connection, payloads: PayloadFiles) -> Iterator[Damage]:
    rows = db.execute(
        "SELECT client, item, version, project, header, size, queue, stored_hour, checksum, first_piece FROM items"
    )
    for row in rows:
        try:
            problem = _item_problem(db, payloads, *row)
        except (sqlite3.DatabaseError, StoreError) as error:
            problem = str(error)
        if problem is not None:
            client, item, version = row[:3]
            yield Damage("item", problem, client=client, item=item, version=version)


def _item_problem(
    db: sqlite3.Connection,
    payloads: PayloadFiles,
    client: bytes,
    item: bytes,
    version: int,
    project: bytes,
    header: bytes,
    size: int,
    queue: bytes | None,
    stored_hour: int,
    checksum: bytes,
    first_piece: int,
) -> str | None:
    try:
        parsed = parse_header(header)
    except FormatError:
        return "the header is malformed"
    if (parsed.client, parsed.item, parsed.version, parsed.project) != (client, item, version, project):
        return f"the header names client {parsed.client.hex()}, item {parsed.item.hex()}, version {parsed.version}"
    leaves, found_bytes = [], 0
    pieces = db.execute(
        "SELECT number - ?1, leaf, data FROM pieces WHERE number >= ?1 AND number < ?1 + ?2 ORDER BY number",
        (first_piece, -(-size // LEAF_BYTES)),
    )
    for expected, (number, leaf, data) in enumerate(pieces):
        if number != expected:
            return f"piece {expected} is missing"
        if not data:
            # A stored piece is never empty: this one's bytes are in the payload's file.
            data = payloads.read((client, item, version), number * LEAF_BYTES, LEAF_BYTES)
        if not hmac.compare_digest(leaf_hash(data), leaf):
            return f"piece {number} does not give its leaf hash"
        leaves.append(leaf)
        found_bytes += len(data)
    if found_bytes != size:
        return f"{found_bytes} bytes are stored of {size}"
    try:
        same = hmac.compare_digest(item_checksum(header, size, queue, stored_hour, leaves), checksum)
    except OverflowError:
        same = False
    return None if same else "the checksum over the item's row does not fit"


def _messages(db: sqlite3.Connection) -> Iterator[Damage]:
    for number, mailbox, stored, message in db.execute("SELECT number, mailbox, hash, message FROM messages"):
        if not hmac.compare_digest(message_hash(mailbox, message), stored):
            yield Damage("message", "the message does not give its hash", number=number)


def _receipts(db: sqlite3.Connection) -> Iterator[Damage]:
    rows: Any = db.execute("SELECT number, signer, lease_id, event, frame FROM receipts")
    for number, signer, lease_id, event, frame in rows:
        receipt = parse_receipt(frame)
        if receipt is None:
            yield Damage("receipt", "the signature does not verify", number=number)
        elif (receipt.frame.signer, receipt.message.lease_id, receipt.message.event) != (
            signer,
            lease_id,
            event,
        ):
            yield Damage("receipt", "the receipt names another signer, lease or event", number=number)


def _acks(db: sqlite3.Connection) -> Iterator[Damage]:
    rows: Any = db.execute("SELECT number, client, message, verdict, frame FROM acks")
    for number, client, of, verdict, frame in rows:
        ack = parse_ack(frame)
        if ack is None:
            yield Damage("ack", "the signature does not verify", number=number)
        elif (ack.message.client, ack.message.of, ack.message.verdict) != (client, of, verdict):
            yield Damage("ack", "the ack names another client, message or verdict", number=number)
