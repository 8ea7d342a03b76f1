"""The file behind the SQLite store: its URL, how it is made, and connections that are safe over a fork."""

import os
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from labelvault.errors import StoreError
from labelvault.stores.sqlite_schema import check_schema, is_empty, make_schema, transaction

BUSY_TIMEOUT_S: Final = 30.0
OLDEST_SQLITE: Final = (3, 37, 0)
"""The first with STRICT tables; RETURNING came in 3.35."""
_URL_PREFIX: Final = "sqlite:///"
_IDLE_CONNECTIONS: Final = 8
_CACHE_KIB: Final = 16 * 1024
_CHECKPOINT_PAGES: Final = 4000
"""Items go under random keys, all over the file: more of it at hand and fewer checkpoints make sealing faster. What is
durable when does not change."""
_WRITE_URL: Final = "Write the address as sqlite:////absolute/path/vault.db."


def parse_sqlite_url(url: str) -> Path:
    """Return the file that `sqlite:////absolute/path` or `sqlite:///relative/path` names, taken literally.

    Raises:
        StoreError: any other URL, or a file in memory, which no second connection would see.
    """
    if not url.startswith(_URL_PREFIX):
        raise StoreError(f"not a {_URL_PREFIX}... URL", next_step=_WRITE_URL)
    name = url.removeprefix(_URL_PREFIX)
    if not name or "\0" in name or name.endswith("/") or name.startswith(":memory:"):
        raise StoreError(f"{_URL_PREFIX} is followed by the path of a file", next_step=_WRITE_URL)
    return Path(name).absolute()


class Connections:
    """A pool of connections to one database file, for any number of threads, processes and forks.

    SQLite connections must not be carried over a fork, nor may a child open the file anew while it inherits
    an open one (SQLite would take the parent's locks for its own). So a fork waits until every connection is
    at rest and closes them all first; both sides open new ones when they need them.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file, creating it first if asked to.

        Args:
            path: absolute.
            create: make file (0600), folder (0700) and schema where they are missing.

        Raises:
            StoreError: not there, not this kind of database, of another version, or damaged.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old")
        self._path = path
        self._rest = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._busy = 0
        self._holders: Counter[int] = Counter()
        self._forking = False
        self._closed = False
        self._pid = os.getpid()
        if create:
            self._create()
        elif not path.is_file():
            raise _not_there(path)
        with _registry:
            _open_pools.add(self)
        with self._errors(), self._lent(create=create):
            pass

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection within one snapshot; whatever fails in SQLite comes out as StoreError."""
        with self._errors(), self._lent() as connection, transaction(connection, "BEGIN"):
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection within one write transaction: durable on return, undone when it raises."""
        # IMMEDIATE takes the write lock before anything is read, so that nothing read can be stale when it is
        # used.
        with self._errors(), self._lent() as connection, transaction(connection, "BEGIN IMMEDIATE"):
            yield connection

    @contextmanager
    def watch(self) -> Iterator[Callable[[], bool]]:
        """Lend a question: was anything committed since it was asked last? At first, the answer is yes."""
        with self._errors(), self._lent() as connection:
            seen = None

            def changed() -> bool:
                nonlocal seen
                before, seen = seen, connection.execute("PRAGMA data_version").fetchone()
                return bool(seen != before)

            yield changed

    def close(self) -> None:
        """Close every connection; those in use close when they are given back."""
        with self._rest:
            self._closed = True
            self._close_idle()

    def before_fork(self) -> None:
        """Hold all threads off, with no connection open, until `after_fork`."""
        self._rest.acquire()
        # Without the flag, a busy thread would take a connection again before this one wakes up.
        self._forking = True
        self._rest.wait_for(lambda: self._busy == 0)
        self._close_idle()

    def after_fork(self) -> None:
        """Go on, in the parent or in the child."""
        self._pid = os.getpid()
        self._forking = False
        self._rest.notify_all()
        self._rest.release()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _lent(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        thread = threading.get_ident()
        with self._rest:
            # Whoever has one, to watch by it say, may take another: the fork waits for him, and he must not for it.
            self._rest.wait_for(lambda: not self._forking or self._holders[thread] > 0)
            if self._closed:
                raise StoreError("the store is closed")
            if self._pid != os.getpid():
                # Forked behind Python's back: an inherited connection can corrupt the file, so none is used
                # or closed.
                raise StoreError("the process was forked while the store was open; open it in each process")
            connection = self._idle.pop() if self._idle else None
            self._busy += 1
            self._holders[thread] += 1
        try:
            if connection is None:
                connection = self._connect(create=create)
            yield connection
        except sqlite3.Error:
            # After an I/O error, nothing that the connection remembers is trusted.
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            with self._rest:
                self._busy -= 1
                self._holders[thread] -= 1
                if not self._holders[thread]:
                    del self._holders[thread]
                if connection is not None:
                    self._take_back(connection)
                self._rest.notify_all()

    def _take_back(self, connection: sqlite3.Connection) -> None:
        if self._closed or len(self._idle) >= _IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path.name}: {error}") from error
        except UnicodeDecodeError as error:
            # A flipped bit in a text, or in the schema's; the error would quote the bytes.
            raise StoreError(f"{self._path.name}: a text in it is damaged") from error

    def _create(self) -> None:
        with self._errors():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)
            try:
                # SQLite gives -wal and -shm the mode of the main file.
                os.close(os.open(self._path, flags, 0o600))
            except FileExistsError:
                # Ours or anyone's: `_connect` looks inside before it changes anything.
                return

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in (
                "trusted_schema=OFF",
                "cell_size_check=ON",
                "foreign_keys=ON",
                "synchronous=FULL",
                f"cache_size=-{_CACHE_KIB}",
                f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            if create and is_empty(connection):
                _into_wal(connection)
                make_schema(connection)
            check_schema(connection, self._path.name)
            _into_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _not_there(path: Path) -> StoreError:
    """Say what is missing: the file, its folder, or that it is a file."""
    if not path.parent.is_dir():
        return StoreError(
            f"there is no vault at {path}: the folder {path.parent} is missing",
            next_step="Check the address for a typo; if the folder lies on another medium, bring that back.",
        )
    why = ": that is no file" if path.exists() else ""
    return StoreError(
        f"there is no vault at {path}{why}",
        next_step="Check the address for a typo; a new vault is made by labelvault vendor init.",
    )


def _into_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. With synchronous=FULL no acknowledged transaction is lost in a power cut."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when two processes switch at once.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise StoreError("the file system can't hold a write-ahead log")
        return


_open_pools: Final["weakref.WeakSet[Connections]"] = weakref.WeakSet()
_registry: Final = threading.Lock()
_held: Final[list[Connections]] = []


def _before_fork() -> None:
    _registry.acquire()
    _held.extend(_open_pools)
    for pool in _held:
        pool.before_fork()


def _after_fork() -> None:
    while _held:
        _held.pop().after_fork()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
