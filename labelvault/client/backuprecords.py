"""What a home knows of its own backups: for the doctor, for shredding, and to notice a vault that shows less."""

from datetime import datetime

from labelvault.client.backup_records import BackupRecord
from labelvault.database import Database
from labelvault.wire.times import from_ms, to_ms


def begin(database: Database, chain: bytes, place: str, root: bytes, at: datetime) -> None:
    """Put on record that a part is about to be written: from here on a project's keys may be in it.

    Args:
        database: of the home.
        chain: the backup's, 16 bytes.
        place: where it is: a path, or the vault's address.
        root: id of the root key that opens it, 16 bytes.
        at: the client's time.
    """
    with database.transaction():
        database.execute(
            "INSERT INTO backups VALUES (?1, ?2, ?3, ?4, ?4, NULL, NULL)"
            " ON CONFLICT (chain) DO UPDATE SET place = ?2, newest_ms = ?4",
            chain,
            place,
            root,
            to_ms(at),
        )


def finish(database: Database, chain: bytes, at: datetime, version: int | None) -> None:
    """Put on record that the part is durable.

    Args:
        database: of the home.
        chain: the backup's.
        at: the state that it holds.
        version: of a part at the vault.
    """
    with database.transaction():
        database.execute("UPDATE backups SET done_ms = ?, version = ? WHERE chain = ?", to_ms(at), version, chain)


def newest_at_vault(database: Database, root: bytes) -> tuple[int, datetime | None]:
    """Return the newest version that the vault took under a root key, and its time, as known here; 0 for none."""
    found = database.row(
        "SELECT version, done_ms FROM backups WHERE root = ? AND version IS NOT NULL ORDER BY version DESC LIMIT 1",
        root,
    )
    return (0, None) if found is None else (int(found[0]), from_ms(found[1]))


def lower(database: Database, root: bytes, version: int) -> None:
    """Put up with it that the vault shows nothing above a version any more."""
    with database.transaction():
        database.execute("UPDATE backups SET version = NULL WHERE root = ? AND version > ?", root, version)


def backups(database: Database, since: datetime | None = None) -> list[BackupRecord]:
    """Return the backups on record, newest last.

    Args:
        database: of the home.
        since: only those with a part from then on.
    """
    rows = database.rows(
        "SELECT place, root, begun_ms, newest_ms, done_ms, version FROM backups WHERE newest_ms >= ?"
        " ORDER BY newest_ms, begun_ms",
        0 if since is None else to_ms(since),
    )
    return [
        BackupRecord(
            place=str(place),
            root=bytes(root),
            begun_at=from_ms(begun),
            newest_at=from_ms(newest),
            done_at=None if done is None else from_ms(done),
            version=version,
        )
        for place, root, begun, newest, done, version in rows
    ]
