"""A database of an actor's own: private, whole transactions, one error class."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from labelvault.database import Database, Schema
from labelvault.errors import StoreError

SCHEMA = Schema(
    version=3,
    missing="make it first",
    statements="CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL); CREATE TABLE t (n INTEGER UNIQUE);",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was made and closed."""
    Database(tmp_path / "x.db", SCHEMA, create=True).close()
    return tmp_path / "x.db"


def test_it_is_made_private_and_once(path: Path) -> None:
    """0600 whatever the umask; a second making touches nothing."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(Database(path, SCHEMA)) as database, database.transaction():
        database.set_meta("a", b"1")
    before = path.read_bytes()
    with pytest.raises(StoreError):
        Database(path, SCHEMA, create=True)
    assert path.read_bytes() == before
    with closing(Database(path, SCHEMA)) as database:
        assert database.meta("a") == b"1"
        assert database.scalar("PRAGMA journal_mode") == "wal"
        assert database.scalar("PRAGMA synchronous") == 2


def test_what_is_not_ours_is_refused(path: Path, tmp_path: Path) -> None:
    """Absent, empty, another version, no database, a folder: StoreError, and what to do where that is known."""
    with pytest.raises(StoreError, match="make it first"):
        Database(tmp_path / "absent.db", SCHEMA)
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(StoreError, match="schema version 3"):
        Database(path, Schema(version=4, statements="", missing=""))
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="unfinished"):
        Database(tmp_path / "empty.db", SCHEMA)
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    with pytest.raises(StoreError):
        Database(tmp_path / "junk.db", SCHEMA)
    with pytest.raises(StoreError):
        Database(tmp_path, SCHEMA)


def test_a_making_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """So that it can be tried again; but a file that was there before is never removed."""
    with pytest.raises(StoreError):
        Database(tmp_path / "x.db", Schema(version=1, statements="CREATE NONSENSE;", missing=""), create=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(StoreError):
        Database(tmp_path / "mine", SCHEMA, create=True)
    assert (tmp_path / "mine").read_text() == "kept"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        Database(tmp_path / "link", SCHEMA, create=True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_transaction_is_whole_or_nothing(path: Path) -> None:
    """An error in the block, in a nested one too, undoes all; the connection works on."""
    with closing(Database(path, SCHEMA)) as database:
        with pytest.raises(KeyError), database.transaction():  # noqa: PT012
            database.execute("INSERT INTO t VALUES (1)")
            with database.transaction():
                database.execute("INSERT INTO t VALUES (2)")
            raise KeyError
        with pytest.raises(StoreError, match="UNIQUE"), database.transaction():  # noqa: PT012
            database.execute("INSERT INTO t VALUES (3)")
            database.execute("INSERT INTO t VALUES (3)")
        assert database.rows("SELECT n FROM t") == []
        with database.transaction():
            assert database.execute("INSERT INTO t VALUES (4)") == 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT n FROM t").fetchall() == [(4,)]


def test_a_change_needs_a_transaction(path: Path) -> None:
    """Nothing is written outside of one."""
    with closing(Database(path, SCHEMA)) as database:
        with pytest.raises(StoreError, match="transaction"):
            database.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(StoreError, match="transaction"):
            database.set_meta("a", b"1")
        assert database.row("SELECT * FROM t") is None


def test_sqlite_errors_come_as_store_errors(path: Path) -> None:
    """Reading nonsense, a missing row, a closed connection."""
    database = Database(path, SCHEMA)
    with pytest.raises(StoreError):
        database.rows("SELECT nonsense")
    with pytest.raises(StoreError, match="missing"):
        database.scalar("SELECT n FROM t")
    database.close()
    with pytest.raises(StoreError):
        database.rows("SELECT 1")
    with pytest.raises(StoreError), database.transaction():
        pass


def test_writers_take_turns(path: Path) -> None:
    """Read, then write, in threads with connections of their own and in threads that share one: no update is lost."""
    shared = Database(path, SCHEMA)
    with shared.transaction():
        shared.set_meta("n", b"0")

    def count(database: Database) -> None:
        for _ in range(10):
            with database.transaction():
                database.set_meta("n", str(int(database.meta("n") or b"") + 1).encode())

    others = [Database(path, SCHEMA) for _ in range(2)]
    threads = [threading.Thread(target=count, args=(each,)) for each in (shared, shared, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.meta("n") == b"40"
    for each in (shared, *others):
        each.close()
