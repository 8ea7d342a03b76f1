"""A SQLite file of an actor's own: private, durable, with transactions that are whole or not at all.

WAL with synchronous=FULL: in a power-cut simulation no acknowledged commit was lost under it.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from labelvault.errors import StoreError

_BUSY_TIMEOUT_S: Final = 30.0
CACHE_KIB: Final = 32 * 1024
CHECKPOINT_PAGES: Final = 4000
"""Rows go under random keys, all over the file. With SQLite's own 2 MiB and 1,000 pages, a hundred thousand take twice
as long; what is durable when does not change."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds.

    Attributes:
        version: kept in the file; a file of another version is refused.
        statements: that make an empty one.
        missing: what to say when there is no file.
    """

    version: int
    statements: str
    missing: str


class Database:
    """One connection to a database.

    Other processes and threads open their own `Database`; SQLite's write lock makes them one writer.

    Attributes:
        after_commit: called after each transaction that is durable. What it raises, the transaction's block raises.
    """

    def __init__(self, path: Path, schema: Schema, *, create: bool = False) -> None:
        """Open the database.

        Args:
            path: the file.
            schema: what it holds.
            create: make it, with mode 0600; it must not be there.

        Raises:
            StoreError: it can't be opened, is no database of this version, or exists although it must not.
        """
        self._lock = threading.RLock()
        self._depth = 0
        self._memo: dict[Any, Any] = {}
        self.after_commit: Callable[[], None] | None = None
        self._name = path.name
        made = None
        try:
            if create:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600))
                made = path
            elif not path.is_file():
                raise StoreError(f"{path} does not exist; {schema.missing}")
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "trusted_schema=OFF",
                f"cache_size=-{CACHE_KIB}",
                f"wal_autocheckpoint={CHECKPOINT_PAGES}",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
            if create:
                # executescript would commit on its own; this is one transaction with the version.
                self._connection.executescript(
                    f"BEGIN IMMEDIATE; {schema.statements} PRAGMA user_version={schema.version}; COMMIT;"
                )
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except (OSError, sqlite3.Error) as error:
            self._abandon(made)
            raise StoreError(f"{path} can't be opened: {error}") from error
        if version == 0:
            self._abandon(None)
            raise StoreError(f"{path} is unfinished: its making was interrupted; remove the home and make it again")
        if version != schema.version:
            self._abandon(None)
            raise StoreError(
                f"{path} has schema version {version}; this release knows {schema.version}",
                next_step="Use the release of labelvault that made it; nothing was changed.",
            )

    def _abandon(self, unfinished: Path | None) -> None:
        """Let go of what a failed opening holds, and of the file if it was made just now."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit when the block ends, roll all back when it raises. Nested blocks join.

        Raises:
            StoreError: the file system or SQLite refused; nothing was changed.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self._run("BEGIN IMMEDIATE", ())
            self._depth = 1
            self._memo = {}
            try:
                yield
                self._run("COMMIT", ())
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
            if self.after_commit is not None:
                self.after_commit()

    @property
    def memo(self) -> dict[Any, Any]:
        """What those who read something often keep of it until the open transaction ends, as they write it themselves.

        Empty when a transaction begins; outside of one, nothing stays in it.
        """
        with self._lock:
            return self._memo if self._depth else {}

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Overwrite with zeros what transactions in the block delete or replace, as far as they reach into the file."""
        with self._lock:
            (before,) = self._run("PRAGMA secure_delete", ()).fetchone()
            self._run("PRAGMA secure_delete=ON", ())
            try:
                yield
            finally:
                self._run(f"PRAGMA secure_delete={('OFF', 'ON', 'FAST')[before]}", ())

    def rewrite(self) -> None:
        """Rewrite the whole file and empty its write-ahead log: what was deleted is in neither afterwards.

        Takes memory of about the file's size. What `keys.files.erase_file` can't promise of the medium, this can't
        either.

        Raises:
            StoreError: SQLite refused, or another connection reads an older state for longer than 30 s.
        """
        with self._lock:
            # Not into a temporary file elsewhere: the catalog's names are in clear.
            self._run("PRAGMA temp_store=MEMORY", ())
            self._run("VACUUM", ())
            busy = self._run("PRAGMA wal_checkpoint(TRUNCATE)", ()).fetchone()[0]
            if busy:
                raise StoreError(
                    f"{self._name}: another process keeps it from being cleaned",
                    next_step="Run it again; it goes on where it stopped. If need be, stop other processes first.",
                )

    def snapshot(self, path: Path) -> None:
        """Write all that is committed into a new database file, with mode 0600; others go on writing meanwhile.

        Args:
            path: must not exist.

        Raises:
            StoreError: the file system or SQLite refused; no file is left.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600))
        except OSError as error:
            raise StoreError(f"{path} can't be made: {error.strerror}") from error
        try:
            # Page by page, where each is, so that what did not change is where it was in an earlier copy.
            with self._lock, closing(sqlite3.connect(path)) as copy:
                self._connection.backup(copy)
        except BaseException as error:
            with suppress(OSError):
                path.unlink()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{path} can't be written: {error}") from error
            raise

    def _run(self, statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, parameters)
        except sqlite3.Error as error:
            raise StoreError(f"{self._name}: {error}") from error

    def execute(self, statement: str, *parameters: Any) -> int:
        """Run a statement inside a transaction; return how many rows it changed.

        Raises:
            StoreError: no transaction is open, or SQLite refused.
        """
        if not self._depth:
            raise StoreError("a change needs a transaction")
        return self._run(statement, parameters).rowcount

    def execute_many(self, statement: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each of several parameters, inside a transaction.

        Raises:
            StoreError: no transaction is open, or SQLite refused.
        """
        if not self._depth:
            raise StoreError("a change needs a transaction")
        try:
            self._connection.executemany(statement, parameters)
        except sqlite3.Error as error:
            raise StoreError(f"{self._name}: {error}") from error

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            StoreError: SQLite refused.
        """
        with self._lock:
            try:
                return self._run(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self._name}: {error}") from error

    def row(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query, if there is one."""
        found = self.rows(query, *parameters)
        return found[0] if found else None

    def scalar(self, query: str, *parameters: Any) -> Any:
        """Return the one value of a query that has one row."""
        row = self.row(query, *parameters)
        if row is None:
            raise StoreError(f"{self._name}: a row is missing")
        return row[0]

    def meta(self, key: str) -> bytes | None:
        """Return a named value."""
        row = self.row("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else bytes(row[0])

    def set_meta(self, key: str, value: bytes) -> None:
        """Set a named value, inside a transaction."""
        self.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )
