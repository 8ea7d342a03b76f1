"""Large payloads beside the SQLite file: no row without its file, no file that stays for nothing, whatever fails."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelvault.errors import ConflictError, StoreError
from labelvault.stores import payload_files
from labelvault.stores.payload_files import ORPHAN_AGE_S
from labelvault.stores.sqlite import SQLiteStore
from labelvault.stores.values import MAX_PAYLOAD_BYTES
from labelvault.wire.items import LEAF_BYTES
from tests.stores.samples import NOW, item, key_of, pieces_of, put_stream, snapshot, task

LARGE = 3 * LEAF_BYTES + 9
CALLS = ("mkdir", "open", "write", "utime", "fsync", "replace")
"""Everything by which a put changes the file system, beside what SQLite does."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def store(path):
    opened = SQLiteStore(path, create=True)
    yield opened
    opened.close()


def files_of(path: Path) -> list[Path]:
    """Whatever lies in the folder of payloads."""
    folder = path.with_name("vault.db.payloads")
    return sorted(folder.iterdir()) if folder.exists() else []


def age(monkeypatch, seconds):
    """Let the system's clock be so much later."""
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + seconds)


def test_small_streams_rest_in_the_database_and_large_ones_beside_it(store, path):
    """The threshold is 2 MiB; files have their item's name, 0600, in a folder of 0700, and no byte but the payload."""
    at, above = item(1, size=2 * LEAF_BYTES), item(2, size=2 * LEAF_BYTES + 1)
    before = os.umask(0)
    try:
        put_stream(store, at)
        assert not path.with_name("vault.db.payloads").exists()
        put_stream(store, above)
    finally:
        os.umask(before)
    (found,) = files_of(path)
    client, item_, version = key_of(above)
    assert found.name == f"{client.hex()}-{item_.hex()}-{version}"
    assert found.read_bytes() == above.payload
    assert found.stat().st_mode & 0o777 == 0o600
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size + sum(p.stat().st_size for p in path.parent.glob("vault.db-*")) < 6 * LEAF_BYTES


def test_G1_a_files_time_is_coarse(store, path):
    """A payload's file shows the hour of its row and no more."""
    put_stream(store, item(size=LARGE))
    (found,) = files_of(path)
    hour = int(NOW.timestamp()) // 3600 * 3600
    assert (found.stat().st_mtime, found.stat().st_atime) == (hour, hour)


def test_a_range_is_read_without_the_rest(store, monkeypatch):
    """What is read of the file is what was asked for."""
    sealed = item(size=LARGE)
    put_stream(store, sealed)
    read: list[tuple[int, int]] = []
    true = os.pread

    def counting(descriptor, length, offset):
        read.append((length, offset))
        return true(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert store.read_item(*key_of(sealed), 1000, 50).data == sealed.payload[1000:1050]
    assert store.read_item(*key_of(sealed), LARGE).data == b""
    assert read == [(50, 1000)]


def test_more_than_70_MiB_are_not_read_at_once(store, path):
    """A range of a large payload is bounded, however large the payload is."""
    size = MAX_PAYLOAD_BYTES + 5
    header = item().header
    zeros = bytes(LEAF_BYTES)
    store.put_stream(header, size, (zeros[: size - at] for at in range(0, size, LEAF_BYTES)), None, NOW)
    key = key_of(item())
    for bounds in ((0, None), (4, None), (0, size), (0, MAX_PAYLOAD_BYTES + 1)):
        with pytest.raises(Exception, match="at once"):
            store.read_item(*key, *bounds)
    assert store.read_item(*key, 5).size == size
    assert len(store.read_item(*key, 5).data) == MAX_PAYLOAD_BYTES


# --- failures ---


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_C3_any_failing_call_changes_nothing(store, path, monkeypatch, call, code):
    """A full disk or a broken one at the n-th call, for all n: a StoreError, nothing left, and a retry works."""
    store.put_items([task(1)], NOW)
    before = snapshot(store)
    sealed = task(2, size=LARGE)
    true, refused = getattr(os, call), []
    for at in range(50):
        seen = 0

        def failing(*args, at=at, **options):
            nonlocal seen
            seen += 1
            if seen > at:
                raise OSError(code, os.strerror(code))
            return true(*args, **options)

        monkeypatch.setattr(os, call, failing)
        try:
            put_stream(store, sealed)
            break
        except StoreError as error:
            refused.append(str(error))
        finally:
            monkeypatch.undo()
        assert snapshot(store) == before
        assert files_of(path) == []
    assert all(os.strerror(code) in text for text in refused)
    assert refused or call == "mkdir"
    assert put_stream(store, sealed) == sealed.leaves
    assert store.read_item(*key_of(sealed)).data == sealed.payload
    assert store.check() == []


def test_C3_a_failing_commit_takes_the_file_back(store, path, monkeypatch):
    """The file has its name by then: it goes again, unless another process has put the same meanwhile."""
    sealed = item(size=LARGE)
    true = payload_files.PayloadFiles.place

    def placed_then_full(self, received, key):
        true(self, received, key)
        assert len(files_of(path)) == 1
        raise StoreError("vault.db: database or disk is full")

    monkeypatch.setattr(payload_files.PayloadFiles, "place", placed_then_full)
    with pytest.raises(StoreError, match="full"):
        put_stream(store, sealed)
    assert files_of(path) == []
    monkeypatch.undo()
    put_stream(store, sealed)
    with pytest.raises(ConflictError):
        put_stream(store, item(size=LARGE, seed="other"))
    (found,) = files_of(path)
    assert found.read_bytes() == sealed.payload


_KILLED = """
import os, sys
from pathlib import Path
from labelvault.stores.sqlite import SQLiteStore
from tests.stores.samples import put_stream, task
store = SQLiteStore(Path(sys.argv[1]), create=True)
left = int(sys.argv[2])
def dying(true):
    def call(*args, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        result = true(*args, **options)
        if left == 0 and sys.argv[3] == "after":
            os._exit(9)
        return result
    return call
for name in ("mkdir", "open", "write", "utime", "fsync", "replace"):
    setattr(os, name, dying(getattr(os, name)))
put_stream(store, task(2, size=3 * 1024 * 1024 + 9))
sys.stdout.write("done")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_C1_a_kill_at_any_call_leaves_files_at_most(path, monkeypatch, when):
    """Killed at each call: no half item, what was there holds, a purge collects the rest after a day, a retry works."""
    store = SQLiteStore(path, create=True)
    store.put_items([task(1)], NOW)
    before = snapshot(store)
    orphans, done = 0, b""
    for at in range(40):
        command = [sys.executable, "-c", _KILLED, str(path), str(at), when]
        ended = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], timeout=60, check=False)
        done = ended.stdout
        if ended.returncode == 0:
            break
        assert ended.returncode == 9, ended.stderr
        assert snapshot(store) == before
        assert store.check() == []
        orphans += len(files_of(path))
        if at % 3:
            assert store.purge(NOW).files == 0
            with monkeypatch.context() as later:
                age(later, ORPHAN_AGE_S + 5)
                store.purge(NOW)
            assert files_of(path) == []
    assert done == b"done"
    assert orphans > 5
    assert store.read_item(*key_of(task(2))).data == task(2, size=LARGE).payload
    assert store.check() == []
    store.close()


def test_a_purge_collects_what_has_no_row_and_is_old_and_ours(store, path, monkeypatch):
    """A day is the bound; a payload with a row, and a file that is none of ours, stay for ever."""
    kept = item(1, size=LARGE)
    put_stream(store, kept)
    (folder,) = {each.parent for each in files_of(path)}
    client, item_, version = key_of(item(2))
    orphans = [folder / f"{'0' * 32}.part", folder / f"{client.hex()}-{item_.hex()}-{version}"]
    others = [folder / name for name in ("notes.txt", "aa-bb", "AA-BB-1", f"{client.hex()}-{item_.hex()}-01")]
    for each in orphans + others:
        each.write_bytes(b"x")
    size = store.status(NOW).stored_bytes
    age(monkeypatch, ORPHAN_AGE_S - 60)
    assert store.purge(NOW).files == 0
    age(monkeypatch, 120)
    assert store.purge(NOW).files == 2
    assert store.purge(NOW).files == 0
    assert sorted(files_of(path)) == sorted([folder / _name(kept), *others])
    assert store.status(NOW).stored_bytes == size - 2
    assert store.read_item(*key_of(kept)).data == kept.payload


def _name(each):
    client, item_, version = key_of(each)
    return f"{client.hex()}-{item_.hex()}-{version}"


def test_a_purge_in_the_middle_of_a_put_leaves_it_alone(store, path):
    """While pieces come, and right before the row is there, nothing is collected."""
    sealed = item(size=LARGE)

    def pieces():
        for piece in pieces_of(sealed):
            assert store.purge(NOW).files == 0
            yield piece

    assert store.put_stream(sealed.header, LARGE, pieces(), None, NOW) == sealed.leaves
    assert store.read_item(*key_of(sealed)).data == sealed.payload


def test_an_orphan_of_the_same_name_is_replaced(store, path):
    """What an interrupted put left under the item's name is no obstacle, and is never served."""
    sealed = item(size=LARGE)
    put_stream(store, item(2, size=LARGE))
    (folder,) = {each.parent for each in files_of(path)}
    (folder / _name(sealed)).write_bytes(b"half")
    assert put_stream(store, sealed) == sealed.leaves
    assert store.read_item(*key_of(sealed)).data == sealed.payload


# --- damage ---


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone", "a symlink", "a folder"])
def test_C8_a_damaged_file_is_found_and_named(store, path, damage):
    """The check names client, item and version; reading gives a StoreError or bytes that give no digest."""
    sealed, other = item(1, size=LARGE), item(2, size=LARGE)
    put_stream(store, sealed)
    put_stream(store, other)
    found = path.with_name("vault.db.payloads") / _name(sealed)
    data = bytearray(sealed.payload)
    data[LEAF_BYTES + 7] ^= 1
    content = {"flipped": bytes(data), "cut": sealed.payload[:-1], "longer": sealed.payload + b"x"}.get(damage)
    if content is not None:
        found.write_bytes(content)
    else:
        found.unlink()
        if damage == "a symlink":
            found.symlink_to(found.parent / _name(other))
        elif damage == "a folder":
            found.mkdir()
    problems = store.check()
    assert [(p.kind, p.client, p.item, p.version) for p in problems] == [("item", *key_of(sealed))]
    if damage in ("cut", "gone", "a symlink", "a folder"):
        with pytest.raises(StoreError):
            store.read_item(*key_of(sealed))
    assert store.read_item(*key_of(other)).data == other.payload
