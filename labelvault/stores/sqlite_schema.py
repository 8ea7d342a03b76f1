"""The tables of the SQLite store, and the mark by which its files are known."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from labelvault.errors import StoreError

SCHEMA_VERSION: Final = 4
APPLICATION_ID: Final = 0x4C56_0001
# Item rows are keyed by ids that are random, and have no rowid, so that nothing tells the order in which they
# came.
SCHEMA: Final = """
CREATE TABLE items (
    client BLOB NOT NULL, item BLOB NOT NULL, version INTEGER NOT NULL,
    project BLOB NOT NULL, header BLOB NOT NULL, size INTEGER NOT NULL, queue BLOB,
    stored_hour INTEGER NOT NULL, checksum BLOB NOT NULL, first_piece INTEGER NOT NULL,
    PRIMARY KEY (client, item, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE pieces (number INTEGER PRIMARY KEY, leaf BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE queues (
    queue BLOB NOT NULL, client BLOB NOT NULL, project BLOB NOT NULL,
    PRIMARY KEY (queue, client, project)
) STRICT, WITHOUT ROWID;
CREATE TABLE tasks (
    client BLOB NOT NULL, item BLOB NOT NULL, project BLOB NOT NULL, queue BLOB,
    done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
    claimed_ms INTEGER NOT NULL DEFAULT 0, expires_ms INTEGER NOT NULL DEFAULT 0, claim BLOB, contractor TEXT,
    PRIMARY KEY (client, item),
    FOREIGN KEY (queue, client, project) REFERENCES queues
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tasks_by_claim ON tasks (claim) WHERE claim IS NOT NULL;
CREATE INDEX tasks_by_queue ON tasks (queue, client, project, done, expires_ms);
CREATE TABLE messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, mailbox BLOB NOT NULL, hash BLOB NOT NULL,
    posted_minute INTEGER NOT NULL, acked INTEGER NOT NULL DEFAULT 0 CHECK (acked IN (0, 1)),
    message BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_pending ON messages (mailbox, hash) WHERE acked = 0;
CREATE INDEX messages_in_order ON messages (mailbox, number) WHERE acked = 0;
CREATE TABLE receipts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, signer BLOB NOT NULL, lease_id BLOB NOT NULL,
    event TEXT NOT NULL, client BLOB NOT NULL, item BLOB NOT NULL, received_minute INTEGER NOT NULL,
    frame BLOB NOT NULL, UNIQUE (signer, lease_id, event)
) STRICT;
CREATE INDEX receipts_by_item ON receipts (client, item);
CREATE TABLE acks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, client BLOB NOT NULL, message BLOB NOT NULL, verdict TEXT NOT NULL,
    received_minute INTEGER NOT NULL, frame BLOB NOT NULL, UNIQUE (client, message, verdict)
) STRICT;
CREATE TABLE held_leases (
    number INTEGER PRIMARY KEY REFERENCES messages, client BLOB NOT NULL, contractor BLOB NOT NULL,
    project BLOB NOT NULL, item BLOB NOT NULL, lease_id BLOB NOT NULL, grant_hash BLOB NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX held_by_lease ON held_leases (client, lease_id);
CREATE INDEX held_by_grant ON held_leases (client, grant_hash);
CREATE INDEX held_by_end ON held_leases (expires_ms);
CREATE TABLE statuses (
    mailbox BLOB PRIMARY KEY, client BLOB NOT NULL UNIQUE, number INTEGER NOT NULL UNIQUE REFERENCES messages,
    serial INTEGER NOT NULL, at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE frozen_projects (client BLOB NOT NULL, project BLOB NOT NULL, PRIMARY KEY (client, project)
) STRICT, WITHOUT ROWID;
"""


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Run a block between `begin` and COMMIT; undo all of it if it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back by itself after some errors (disk full, I/O).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Say whether nothing was ever put into this file."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables and not _pragma(connection, "user_version") and not _pragma(connection, "application_id")


def make_schema(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, once, whichever process comes first."""
    with transaction(connection, "BEGIN EXCLUSIVE"):
        if not is_empty(connection):
            # Another process made it while this one waited for the lock.
            return
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def check_schema(connection: sqlite3.Connection, name: str) -> None:
    """Refuse a file that this program does not know; nothing in it is changed.

    Raises:
        StoreError: another program's database, or one of another version.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(
            f"{name} is not a LabelVault database", next_step="Check the address: the file is something else."
        )
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{name} has schema version {version}; this program knows {SCHEMA_VERSION}",
            next_step="Use the release of labelvault that made it; nothing was changed.",
        )
