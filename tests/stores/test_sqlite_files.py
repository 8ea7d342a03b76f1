"""The file of the SQLite store: where, how, and what happens when it is foreign, damaged or full."""

import errno
import os
import random
import resource
import sqlite3
import stat
from pathlib import Path

import pytest

from labelvault.crypto.sign import SigningKey
from labelvault.errors import StoreError
from labelvault.stores import open_store
from labelvault.stores.checks import parse_receipt
from labelvault.stores.sqlite import SQLiteStore
from labelvault.stores.sqlite_files import parse_sqlite_url
from labelvault.stores.sqlite_schema import SCHEMA_VERSION
from labelvault.wire.items import LEAF_BYTES
from tests.stores.samples import (
    BOX,
    CLIENT,
    NOW,
    QUEUE,
    item,
    item_id,
    key_of,
    receipt,
    snapshot,
    task,
    tasks,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def filled(path):
    """A closed store with something of each kind in it; its write-ahead log is merged."""
    store = SQLiteStore(path, create=True)
    ada = SigningKey.generate()
    store.put_items([*tasks(3), item(7, size=LEAF_BYTES + 5000)], NOW)
    store.claim(QUEUE, "ada", 60, NOW)
    store.post(BOX, b"a message that is easily found", NOW)
    store.post(BOX, receipt(ada), NOW)
    store.close()
    return path


# --- URL, creation ---


def test_urls_name_files(monkeypatch, tmp_path):
    """Four slashes are absolute, three are relative to where the process is when it opens."""
    monkeypatch.chdir(tmp_path)
    assert parse_sqlite_url("sqlite:////srv/lv/vault.db") == Path("/srv/lv/vault.db")
    assert parse_sqlite_url("sqlite:///lv/va%20ult.db") == tmp_path / "lv" / "va%20ult.db"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///dir/",
        "sqlite:///:memory:",
        "sqlite:///a\0b",
        "sqlite://host/vault.db",
        "postgresql://host/vault",
        "/srv/lv/vault.db",
        "file:///srv/lv/vault.db",
    ],
)
def test_other_urls_are_refused(url, monkeypatch, tmp_path):
    """Unknown kinds, no file, and databases in memory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError):
        open_store(url, create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with space.db", "a?mode=memory", "a#b.db", "50%25.db", "ünïcode.db"])
def test_a_path_is_taken_literally(tmp_path, name):
    """No character of it is an option to SQLite."""
    store = open_store(f"sqlite:///{tmp_path}/{name}", create=True)
    store.put_items([task(1)], NOW)
    store.close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    again = open_store(f"sqlite:///{tmp_path}/{name}", create=False)
    assert again.status(NOW).items == 1
    again.close()


def test_a_relative_path_survives_a_change_of_folder(tmp_path, monkeypatch):
    """It is resolved once, when it is opened."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///vault.db", create=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.put_items([task(1)], NOW)
    assert store.check() == []
    store.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_created_is_private_even_with_umask_0(tmp_path):
    """File, log and shared memory are 0600, a new folder is 0700."""
    before = os.umask(0)
    try:
        store = SQLiteStore(tmp_path / "lv" / "vault.db", create=True)
        store.put_items([task(1)], NOW)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "lv").iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == {"vault.db": 0o600, "vault.db-wal": 0o600, "vault.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "lv").stat().st_mode) == 0o700


def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    """Permissions of what others made are theirs."""
    (tmp_path / "lv").mkdir(mode=0o755)
    SQLiteStore(tmp_path / "lv" / "vault.db", create=True).close()
    assert stat.S_IMODE((tmp_path / "lv").stat().st_mode) == 0o755


def test_nothing_is_created_unless_asked_for(path):
    """Neither file nor folder."""
    for missing in (path, path.parent / "lv" / "vault.db"):
        with pytest.raises(StoreError):
            SQLiteStore(missing, create=False)
    assert list(path.parent.iterdir()) == []


def test_an_empty_file_becomes_a_vault_only_when_creating(path):
    """A file without a schema is what a creation that was cut short leaves."""
    path.touch()
    with pytest.raises(StoreError):
        SQLiteStore(path, create=False)
    assert path.read_bytes() == b""
    store = SQLiteStore(path, create=True)
    assert store.put_items([task(1)], NOW) == 1
    store.close()


def test_a_vault_that_was_removed_is_not_made_anew(path):
    """A file that vanishes while the store is open is an error, and not an empty vault."""
    store = SQLiteStore(path, create=True)
    with store._files._rest:
        store._files._close_idle()
    path.unlink()
    with pytest.raises(StoreError):
        store.put_items([task(1)], NOW)
    assert list(path.parent.iterdir()) == []
    store.close()


def test_C2_commits_are_synced(path):
    """Write-ahead log with full synchronisation, on each connection: safe in a power cut."""
    store = SQLiteStore(path, create=True)
    with store._files.write() as first, store._files.read() as second:
        for db in (first, second):
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert db.execute("PRAGMA synchronous").fetchone() == (2,)
            assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)
            assert db.execute("PRAGMA cell_size_check").fetchone() == (1,)
    store.close()


def test_a_file_system_without_a_log_is_refused(path, monkeypatch):
    """Where SQLite stays in another journal mode, acknowledged work could be lost."""
    real = sqlite3.connect

    class Stubborn(sqlite3.Connection):
        def execute(self, sql, *arguments):
            return super().execute(sql.replace("journal_mode=WAL", "journal_mode"), *arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Stubborn, **options))
    with pytest.raises(StoreError, match="write-ahead"):
        SQLiteStore(path, create=True)


def test_an_old_sqlite_is_refused(path, monkeypatch):
    """Before anything is created."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(StoreError, match="too old"):
        SQLiteStore(path, create=True)
    assert not path.exists()


# --- foreign, unknown, damaged ---


def altered(path, *statements):
    """Change a closed database behind the store's back."""
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("version", [0, 1, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, 1000])
def test_an_unknown_schema_version_is_refused(filled, version, create):
    """Older or newer: nothing in the file is touched, and it opens again with the right program."""
    altered(filled, f"PRAGMA user_version = {version}")
    before = filled.read_bytes()
    with pytest.raises(StoreError, match="schema version"):
        SQLiteStore(filled, create=create)
    assert filled.read_bytes() == before
    altered(filled, f"PRAGMA user_version = {SCHEMA_VERSION}")
    SQLiteStore(filled, create=create).close()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE customers (name TEXT)"],
        ["PRAGMA user_version = 1"],
        ["PRAGMA application_id = 7"],
        ["CREATE TABLE items (name TEXT)", "PRAGMA user_version = 1"],
    ],
)
def test_another_programs_database_is_left_alone(path, statements, create):
    """Not a byte of it changes, not even its journal mode."""
    altered(path, *statements)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        SQLiteStore(path, create=create)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"\0\0", b"not a database, but a note" * 200, b"SQLite format 3\0" + bytes(5000)])
@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_left_alone(path, content, create):
    """A mistyped path destroys nothing."""
    path.write_bytes(content)
    with pytest.raises(StoreError):
        SQLiteStore(path, create=create)
    assert path.read_bytes() == content


def test_a_folder_or_an_unreachable_place_is_a_store_error(tmp_path):
    """OSError doesn't leak."""
    (tmp_path / "file").touch()
    for bad in (tmp_path, tmp_path / "file" / "vault.db"):
        for create in (True, False):
            with pytest.raises(StoreError):
                SQLiteStore(bad, create=create)


def test_a_corrupt_database_is_a_store_error(filled):
    """Overwritten pages: whatever is called fails as StoreError or tells the truth, and the check says so."""
    data = bytearray(filled.read_bytes())
    source = random.Random(5)
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = source.randbytes(64)
    filled.write_bytes(data)
    store = SQLiteStore(filled, create=False)
    calls = (
        lambda: store.list_items(client=None, project=None, after=None, limit=10),
        lambda: store.put_items([task(9)], NOW),
        lambda: store.post(BOX, b"m", NOW),
        lambda: store.queues(NOW),
        lambda: store.claim(QUEUE, "ada", 60, NOW),
        lambda: store.receipts(after=0, limit=10),
        lambda: store.status(NOW),
    )
    for call in calls:
        with pytest.raises(StoreError):
            call()
    assert {damage.kind for damage in store.check()} == {"backend"}
    store.close()


def test_a_truncated_database_is_found(filled):
    """Whatever is missing at the end: it doesn't open, or the check says so."""
    whole = filled.read_bytes()
    for pages in range(1, len(whole) // 4096, 17):
        filled.write_bytes(whole[: -4096 * pages])
        try:
            assert checked(filled) != []
        except StoreError:
            continue


# --- bit rot ---


def flip(path, needle, offset=0):
    """Flip one bit within the bytes of a closed file that hold `needle`."""
    data = bytearray(path.read_bytes())
    assert data.count(needle) == 1
    data[data.index(needle) + offset] ^= 0x10
    path.write_bytes(data)


def checked(path):
    store = SQLiteStore(path, create=False)
    try:
        return store.check()
    finally:
        store.close()


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_C8_a_flipped_bit_in_a_payload_names_its_item(filled, number):
    """At the start, in the middle and at the end: item, version and client are named, and no other."""
    sealed = item(7, size=LEAF_BYTES + 5000) if number == 7 else task(number)
    whole = filled.read_bytes()
    assert checked(filled) == []
    for at in (0, len(sealed.payload) // 2, len(sealed.payload) - 16):
        flip(filled, sealed.payload[at : at + 16])
        (damage,) = checked(filled)
        assert damage.kind == "item"
        assert (damage.client, damage.item, damage.version) == key_of(sealed)
        filled.write_bytes(whole)


def pieces_change(change, offset=1):
    """A change of a piece of the one item that has two."""
    return f"{change} WHERE number = (SELECT first_piece + {offset} FROM items WHERE size > 1000000)"  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE items SET header = CAST(x'00' || substr(header, 2) AS BLOB) WHERE size > 9999", "header"),
        (
            "UPDATE items SET header = (SELECT min(header) FROM items WHERE size < 9999) WHERE size > 9999",
            "header",
        ),
        ("UPDATE items SET project = zeroblob(16) WHERE size > 1000000", "header"),
        ("UPDATE items SET size = size + 1 WHERE size > 1000000", "bytes"),
        ("UPDATE items SET size = -size WHERE size > 1000000", "bytes"),
        ("UPDATE items SET queue = zeroblob(16) WHERE size > 1000000", "checksum"),
        ("UPDATE items SET stored_hour = stored_hour + 1 WHERE size > 1000000", "checksum"),
        ("UPDATE items SET stored_hour = -1 WHERE size > 1000000", "checksum"),
        ("UPDATE items SET checksum = zeroblob(32) WHERE size > 1000000", "checksum"),
        ("UPDATE items SET first_piece = first_piece + 1 WHERE size > 1000000", "bytes"),
        ("UPDATE items SET first_piece = 9223372036854775807 WHERE size > 1000000", "bytes"),
        (pieces_change("UPDATE pieces SET leaf = zeroblob(32)"), "leaf"),
        (pieces_change("UPDATE pieces SET number = number + 100"), "bytes"),
        (pieces_change("DELETE FROM pieces"), "bytes"),
        (pieces_change("DELETE FROM pieces", offset=0), "missing"),
    ],
)
def test_C8_a_wrong_field_names_its_item(filled, statement, problem):
    """Every column of an item is covered, sizes and times included."""
    altered(filled, statement)
    (damage,) = checked(filled)
    assert (damage.kind, damage.client, damage.item, damage.version) == ("item", CLIENT, item_id(7), 1)
    assert problem in damage.problem


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE messages SET message = x'00' WHERE number = 1", "message"),
        ("UPDATE messages SET mailbox = zeroblob(32) WHERE number = 1", "message"),
        ("UPDATE messages SET hash = zeroblob(32) WHERE number = 1", "message"),
        ("UPDATE receipts SET frame = x'00'", "receipt"),
        ("UPDATE receipts SET signer = zeroblob(32)", "receipt"),
        ("UPDATE receipts SET lease_id = zeroblob(32)", "receipt"),
        ("UPDATE receipts SET event = 'opened'", "receipt"),
        ("DELETE FROM items WHERE size > 1000000", "backend"),
        ("INSERT INTO pieces SELECT number + 100, leaf, data FROM pieces LIMIT 1", "backend"),
        ("UPDATE tasks SET queue = zeroblob(16)", "backend"),
    ],
)
def test_C8_wrong_messages_receipts_and_orphans_are_named(filled, statement, kind):
    """By their number, where they have one."""
    altered(filled, statement)
    damages = checked(filled)
    assert kind in {damage.kind for damage in damages}
    if kind != "backend":
        assert [(damage.kind, damage.number) for damage in damages] == [(kind, 1)]


def test_C8_a_flipped_bit_in_a_message_or_receipt_is_found(filled):
    """In the file, not by SQL."""
    whole = filled.read_bytes()
    flip(filled, b"a message that is easily found", 7)
    assert [(damage.kind, damage.number) for damage in checked(filled)] == [("message", 1)]
    filled.write_bytes(whole)
    # A receipt lies there twice: as a message to the issuer, and for the vendor.
    data = bytearray(whole)
    at = data.rindex(b"process-exit")
    data[at] ^= 1
    filled.write_bytes(data)
    assert {damage.kind for damage in checked(filled)} < {"message", "receipt"}
    assert len(checked(filled)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET client = zeroblob(32) WHERE size > 1000000",
        "UPDATE items SET item = zeroblob(16) WHERE size > 1000000",
        "UPDATE items SET version = 3 WHERE size > 1000000",
    ],
)
def test_C8_an_item_under_a_wrong_key_says_its_true_name(filled, statement):
    """What it is filed under is wrong; the header inside still says whose it is."""
    altered(filled, statement)
    (damage,) = (damage for damage in checked(filled) if damage.kind == "item")
    client, item_, version = key_of(item(7))
    assert damage.problem == f"the header names client {client.hex()}, item {item_.hex()}, version {version}"


def test_C8_items_whose_pages_are_unreadable_are_named(filled):
    """SQLite can't read them at all: every item whose bytes lay there is named, and the page too."""
    data = bytearray(filled.read_bytes())
    page = data.index(task(0).payload[:100]) // 4096 * 4096
    data[page : page + 8] = b"\xff" * 8
    filled.write_bytes(data)
    damages = checked(filled)
    assert {damage.item for damage in damages if damage.kind == "item"} >= {item_id(0)}
    assert "backend" in {damage.kind for damage in damages}


def test_C8_what_breaks_sqlites_own_rules_is_found(filled):
    """Constraints and indexes are checked as well as hashes."""
    altered(filled, "PRAGMA ignore_check_constraints = ON", "UPDATE tasks SET done = 7")
    assert {damage.kind for damage in checked(filled)} == {"backend"}


def test_a_damaged_receipt_is_not_handed_out(filled):
    """Nobody is paid for what its signer didn't sign."""
    altered(filled, "UPDATE receipts SET signer = zeroblob(32)")
    store = SQLiteStore(filled, create=False)
    with pytest.raises(StoreError, match="receipt 1"):
        store.receipts(after=0, limit=10)
    assert store.receipts(after=1, limit=10) == []
    store.close()


def test_a_missing_piece_is_not_served_as_a_shorter_payload(filled):
    """A range that can't be given whole is refused."""
    altered(filled, pieces_change("DELETE FROM pieces"))
    store = SQLiteStore(filled, create=False)
    assert len(store.read_item(CLIENT, item_id(7), 1, 0, 100).data) == 100
    for offset in (0, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 4999):
        with pytest.raises(StoreError, match="damaged"):
            store.read_item(CLIENT, item_id(7), 1, offset)
    store.close()


def test_a_bit_of_bad_luck_anywhere_is_found_or_harmless(filled):
    """Of 150 flipped bits, each is found, or leaves every item and message as it was stored."""
    whole = filled.read_bytes()
    store = SQLiteStore(filled, create=False)
    intact = snapshot(store)[:3]
    store.close()
    source = random.Random(8)
    found = 0
    for _ in range(150):
        # The large payload would draw nearly all of them; it has tests of its own.
        at = source.choice([source.randrange(40_000), len(whole) - 1 - source.randrange(60_000)])
        data = bytearray(whole)
        data[at] ^= 1 << source.randrange(8)
        filled.write_bytes(data)
        try:
            damages = checked(filled)
        except StoreError:
            found += 1
            continue
        if damages:
            found += 1
        else:
            store = SQLiteStore(filled, create=False)
            assert snapshot(store)[:3] == intact, f"a flip at {at} went unnoticed"
            store.close()
    assert found > 30


# --- full disks and failing writes ---


def test_C3_a_full_disk_is_a_store_error_and_changes_nothing(path, monkeypatch):
    """SQLite's own limit on pages stands in for the disk, at every size from too small to just enough."""
    real = sqlite3.connect
    limit = [1_000_000]

    class Limited(sqlite3.Connection):
        def execute(self, sql, *arguments):
            if sql.startswith("BEGIN"):
                super().execute(f"PRAGMA max_page_count = {limit[0]}")
            return super().execute(sql, *arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Limited, **options))
    store = SQLiteStore(path, create=True)
    store.put_items([task(1)], NOW)
    before = snapshot(store)
    pages = store.status(NOW).stored_bytes // 4096
    refused = []
    for extra in range(60):
        limit[0] = pages + extra
        try:
            store.put_items(tasks(10), NOW)
            break
        except StoreError as error:
            refused.append(str(error))
        assert snapshot(store) == before
    assert len(refused) > 10
    assert all("full" in text for text in refused)
    limit[0] = 1_000_000
    assert store.put_items(tasks(10), NOW) == 0
    assert store.check() == []
    store.close()


ACTIONS = {
    "put": lambda store, claim: store.put_items(tasks(8, version=2), NOW),
    "post": lambda store, claim: store.post(BOX, bytes(60_000), NOW),
    "claim": lambda store, claim: store.claim(QUEUE, "bob", 60, NOW),
    "finish": lambda store, claim: store.finish(claim.id),
    "ack": lambda store, claim: store.ack(BOX, 1),
    "purge": lambda store, claim: store.purge(NOW.replace(year=2030)),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_C3_a_write_that_fails_at_any_byte_changes_nothing(path, action):
    """The file may not grow past a limit that moves up bit by bit: each try fails whole or succeeds whole."""
    store = SQLiteStore(path, create=True)
    store.put_items(tasks(8), NOW)
    store.post(BOX, b"m", NOW)
    claim = store.claim(QUEUE, "ada", 60, NOW)
    before = snapshot(store)
    log = path.with_name("vault.db-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused = 0
    try:
        for step in range(200):
            size = log.stat().st_size if log.exists() else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + step * 1030, hard))
            try:
                ACTIONS[action](store, claim)
                break
            except StoreError:
                refused += 1
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert snapshot(store) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 3 <= refused < 199
    after = snapshot(store)
    assert after != before
    store.close()
    again = SQLiteStore(path, create=False)
    assert again.check() == []
    assert snapshot(again) == after
    again.close()


def test_an_io_error_leaves_no_connection_behind(path, monkeypatch):
    """After SQLite reports an I/O error, the connection is closed and not used again."""
    store = SQLiteStore(path, create=True)
    store.put_items([task(1)], NOW)
    (connection,) = store._files._idle
    with pytest.raises(StoreError, match="disk"), store._files.write():
        raise sqlite3.OperationalError("disk I/O error")
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
    assert store.status(NOW).items == 1
    store.close()


def test_an_os_error_is_a_store_error(path, monkeypatch):
    """EIO and ENOSPC from the operating system come out typed."""
    for code in (errno.EIO, errno.ENOSPC):

        def failing(*args, code=code):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "open", failing)
        with pytest.raises(StoreError):
            SQLiteStore(path, create=True)
        assert not path.exists()
        monkeypatch.undo()


# --- what is in the file ---


COLUMNS = {
    "items": "client item version project header size queue stored_hour checksum first_piece",
    "pieces": "number leaf data",
    "queues": "queue client project",
    "tasks": "client item project queue done claimed_ms expires_ms claim contractor",
    "messages": "number mailbox hash posted_minute acked message",
    "receipts": "number signer lease_id event client item received_minute frame",
    "acks": "number client message verdict received_minute frame",
    "held_leases": "number client contractor project item lease_id grant_hash expires_ms",
    "statuses": "mailbox client number serial at_ms",
    "frozen_projects": "client project",
    "sqlite_sequence": "name seq",
}


def test_G1_the_file_has_these_columns_and_no_others(filled):
    """Whoever adds one has to say here that the vendor may learn it."""
    db = sqlite3.connect(filled)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        table: " ".join(name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,)))
        for table in tables
    }
    others = db.execute("SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone()
    db.close()
    assert found == COLUMNS
    assert others == (0,)


def test_G1_the_order_of_a_batch_leaves_no_trace(tmp_path):
    """The same items in another order make the same file, byte for byte."""
    files = []
    for name, batch in (("a", tasks(30)), ("b", tasks(30)[::-1])):
        store = SQLiteStore(tmp_path / name, create=True)
        store.put_items(batch, NOW)
        store.close()
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_G1_times_in_the_file_are_coarse(tmp_path):
    """Within an hour for items and within a minute for messages, the file is the same, byte for byte."""
    files = []
    ada = SigningKey.generate()
    signed = receipt(ada)
    hour, minute = NOW.replace(minute=0, second=0, microsecond=0), NOW.replace(second=0, microsecond=0)
    for name, put_at, post_at in (("a", hour, minute), ("b", NOW, NOW)):
        store = SQLiteStore(tmp_path / name, create=True)
        store.put_items(tasks(3), put_at)
        store.post(BOX, b"message", post_at)
        store.post(BOX, signed, post_at)
        store.close()
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_parse_receipt_takes_nothing_else():
    """The valid twin of what the suite posts as junk."""
    ada = SigningKey.generate()
    found = parse_receipt(receipt(ada, event="opened"))
    assert found is not None
    assert (found.message.event, found.frame.signer) == ("opened", ada.public_key)
    assert parse_receipt(b"") is None
