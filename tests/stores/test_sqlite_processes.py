"""Several processes on one SQLite vault: races, sudden death, forks."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from labelvault.errors import StoreError
from labelvault.stores import sqlite_files
from labelvault.stores.sqlite import SQLiteStore
from tests.stores.samples import BOX, DAY, NOW, QUEUE, item_id, snapshot, task, tasks

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def store(path):
    opened = SQLiteStore(path, create=True)
    yield opened
    opened.close()


def start(path, name, what):
    """Start a worker; it opens the store at once, and works when it gets a line."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.worker", str(path), str(name), what],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def race(path, what, count=4):
    """Let workers loose at once; return the words that they said, line by line."""
    workers = [start(path, f"worker{number}", what) for number in range(count)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * count
    return [line.split() for each in said for line in each.splitlines()]


def test_C4_processes_that_race_share_out_the_queue(store, path):
    """Every task is claimed by exactly one process, and none is lost."""
    store.put_items(tasks(80, size=10), NOW)
    lines = race(path, "claim_all")
    claimed = sorted(item for _, item, _ in lines)
    assert claimed == sorted(item_id(number).hex() for number in range(80))
    assert len({claim for _, _, claim in lines}) == 80
    assert [(queue.waiting, queue.claimed) for queue in store.queues(NOW)] == [(0, 80)]
    assert store.check() == []


def test_processes_that_put_the_same_items_store_each_once(store, path):
    """The sum of what was new to anyone is what is there."""
    lines = race(path, "put_same")
    assert sum(int(new) for _, new in lines) == 21 == store.status(NOW).items
    assert store.check() == []


def test_processes_that_create_the_vault_at_once_make_one(tmp_path):
    """Whoever comes first makes the schema; nobody fails."""
    for attempt in range(3):
        assert race(tmp_path / f"new{attempt}" / "vault.db", "open_only") == [["opened", "0"]] * 4


def test_C1_whatever_was_acknowledged_survives_sigkill(path):
    """Killed at random moments while it works: all that it had reported as done is there, and no half batch."""
    source = random.Random(1)
    items, messages, claims, finished = set(), set(), {}, set()
    for generation in range(5):
        worker = start(path, generation * 1000, "churn")
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write("go\n")
        worker.stdin.flush()
        time.sleep(source.uniform(0.005, 0.15))
        worker.send_signal(signal.SIGKILL)
        said, _ = worker.communicate()
        for line in said.splitlines(keepends=True):
            match line.split() if line.endswith("\n") else []:
                case ["put", *ids]:
                    items.update(ids)
                case ["posted", number]:
                    messages.add(b"message %d" % int(number))
                case ["claimed", item, claim]:
                    assert item not in claims, "claimed twice"
                    claims[item] = bytes.fromhex(claim)
                case ["finished", item]:
                    finished.add(item)
        store = SQLiteStore(path, create=False)
        try:
            assert store.check() == []
            infos = store.list_items(client=None, project=None, after=None, limit=1000)
            assert items <= {info.item.hex() for info in infos}
            assert len(infos) % 3 == 0, "half a batch was stored"
            assert messages <= {text for _, text in store.fetch(BOX, after=0, limit=1000, now=NOW)}
            (queue,) = store.queues(NOW)
            assert queue.done >= len(finished)
            assert queue.claimed + queue.done >= len(claims)
        finally:
            store.close()
    assert len(claims) > 10, "killed before anything was done: the test shows nothing"
    store = SQLiteStore(path, create=False)
    try:
        for claim in claims.values():
            store.finish(claim)
        while late := store.claim(QUEUE, "late", 60, NOW + DAY):
            assert late.item.hex() not in claims
    finally:
        store.close()


def test_switching_to_the_log_waits_for_others_but_not_for_ever(path, monkeypatch):
    """SQLite gives up at once here, whatever its timeout: two processes that create a vault would collide."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    waiting = sqlite3.connect(path, isolation_level=None, timeout=0)
    other.execute("CREATE TABLE any (thing)")
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_S", 0.05)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_files._into_wal(waiting)
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_S", 30)
    timer = threading.Timer(0.1, other.execute, ["COMMIT"])
    timer.start()
    sqlite_files._into_wal(waiting)
    timer.join()
    assert waiting.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    waiting.close()
    other.close()


def test_opening_a_vault_again_gives_up_no_lock(store, path):
    """Closing any descriptor of a file drops all POSIX locks on it; so opening may never touch one that exists."""
    second = SQLiteStore(path, create=True)
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode=DELETE'))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    second.close()
    assert "database is locked" in done.stderr


FORKING = """
import os, sys, threading, time
from pathlib import Path
from labelvault.stores.sqlite import SQLiteStore
from tests.stores.samples import BOX, NOW, tasks

store = SQLiteStore(Path(sys.argv[1]), create=True)
store.put_items(tasks(3), NOW)
stop = threading.Event()

def busy():
    number = 0
    while number < 5000 and not stop.is_set():
        store.post(BOX, b"thread %d" % number, NOW)
        time.sleep(0.001)
        number += 1

thread = threading.Thread(target=busy)
thread.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(5):
            store.post(BOX, b"child %d %d" % (child, number), NOW)
        assert len(store.queues(NOW)) == 1
        store.close()
        os._exit(0)
    children.append(pid)
    store.post(BOX, b"parent %d" % child, NOW)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
stop.set()
thread.join()
assert statuses == [0] * 4, statuses
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_F10_a_store_survives_forks_while_threads_use_it(path):
    """Parent, its thread and all children go on with the same object, and lose nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(FORKING), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    store = SQLiteStore(path, create=False)
    try:
        texts: set[bytes] = set()
        after = 0
        while page := store.fetch(BOX, after=after, limit=1000, now=NOW):
            texts.update(text for _, text in page)
            after = page[-1][0]
        assert {b"child %d %d" % (child, number) for child in range(4) for number in range(5)} <= texts
        assert {b"parent %d" % child for child in range(4)} <= texts
        assert store.check() == []
    finally:
        store.close()


def test_F10_a_fork_waits_for_what_is_under_way_and_holds_off_the_rest(store):
    """When the process forks, no connection is open, however busy its threads are; then they go on."""
    order: list[str] = []
    holding, let_go, forked, go_on = (threading.Event() for _ in range(4))

    def hold():
        with store._files.read():
            holding.set()
            let_go.wait()
            order.append("held")

    def fork():
        sqlite_files._before_fork()
        order.append("forked")
        assert store._files._idle == []
        forked.set()
        go_on.wait()
        order.append("going on")
        sqlite_files._after_fork()

    def late():
        store.post(BOX, b"late", NOW)
        order.append("late")

    threads = [threading.Thread(target=target) for target in (hold, fork, late)]
    threads[0].start()
    holding.wait()
    threads[1].start()
    time.sleep(0.1)
    threads[2].start()
    time.sleep(0.1)
    let_go.set()
    assert forked.wait(10)
    time.sleep(0.1)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == ["held", "forked", "going on", "late"]
    assert store.fetch(BOX, after=0, limit=10, now=NOW) == [(1, b"late")]


def test_F10_a_fork_waits_for_a_watcher_and_does_not_stop_him(store):
    """Who watches by one connection reads by another while a fork waits for him: neither waits for ever."""
    watching, begun, forked = (threading.Event() for _ in range(3))
    found: list[list[tuple[int, bytes]]] = []

    def watch():
        with store.watch() as changed:
            watching.set()
            begun.wait()
            assert changed()
            found.append(store.fetch(BOX, after=0, limit=10, now=NOW))

    def fork():
        sqlite_files._before_fork()
        assert store._files._idle == []
        forked.set()
        sqlite_files._after_fork()

    threads = [threading.Thread(target=target, daemon=True) for target in (watch, fork)]
    threads[0].start()
    watching.wait()
    threads[1].start()
    time.sleep(0.1)
    assert not forked.is_set()
    begun.set()
    assert forked.wait(10)
    for thread in threads:
        thread.join(10)
    assert found == [[]]
    assert not store._files._holders


def test_a_fork_that_went_unnoticed_fails_closed(store, monkeypatch):
    """In a process that is not the one which opened it, no inherited connection is used."""
    store.put_items([task(1)], NOW)
    before = snapshot(store)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(StoreError, match="forked"):
        store.put_items([task(2)], NOW)
    monkeypatch.undo()
    assert snapshot(store) == before


def test_a_writer_that_holds_the_lock_too_long_is_a_store_error(path, monkeypatch):
    """Waiting has an end, and changes nothing."""
    monkeypatch.setattr("labelvault.stores.sqlite_files.BUSY_TIMEOUT_S", 0.05)
    store = SQLiteStore(path, create=True)
    before = snapshot(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="locked"):
            store.put_items([task(1)], NOW)
        assert snapshot(store) == before
        other.execute("ROLLBACK")
        assert store.put_items([task(1)], NOW) == 1
    finally:
        other.close()
        store.close()
