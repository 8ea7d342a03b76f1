"""Openings in child processes: who holds what, when the child exits, what files are left, what a close may claim."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from labelvault.client import Limits, Scope
from labelvault.contractor import Contractor, Opening
from labelvault.contractor import ahead as module
from labelvault.contractor.worker import Worker
from labelvault.errors import (
    DeniedError,
    LeaseClosedError,
    LeaseError,
    NotFoundError,
    OutputError,
    RequestTimeoutError,
    StoreError,
    TamperedError,
)
from labelvault.ledger.entries import ReceiptEntry
from tests.world import GUIDELINE, PASSPHRASE, PICTURE, TASK, World, bytes_of, wait_gone

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

PAUSE_S = 0.02


def entries(world: World) -> list[tuple[str, str | None]]:
    """Receipts in the ledger."""
    return [(e.event, e.erased) for e in world.lab.ledger_entries() if isinstance(e, ReceiptEntry)]


def begin(world: World, me: Contractor, name: str = "one", output: Path | None = None) -> Opening:
    """Open a task while an issuer serves the mailbox."""
    with world.serving():
        return me.begin(world.task(name), timeout_s=60, output=output)


def shown(opening: Opening) -> str:
    """What the child writes to a descriptor, read by another process so that this one never has it."""
    reader, writer = os.pipe()
    script = f"import sys; t = sys.stdin.read(); print([w in t for w in {[TASK, GUIDELINE, 'how.md', 'one']!r}])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=reader, stdout=subprocess.PIPE, text=True) as process:
        os.close(reader)
        opening.show(writer)
        os.close(writer)
        return process.communicate(timeout=60)[0].strip()


def in_memory(pid: int | str, needle: bytes) -> bool:
    """Whether bytes stand anywhere in a process's readable memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, mode = line.split()[:2]
            if "r" not in mode or "[v" in line:
                continue
            start, end = (int(part, 16) for part in where.split("-"))
            try:
                memory.seek(start)
                kept = b""
                while start < end:
                    piece = memory.read(min(1 << 20, end - start))
                    if not piece:
                        break
                    if needle in kept + piece:
                        return True
                    kept, start = piece[-len(needle) :], start + len(piece)
            except OSError:
                continue
    return False


def test_a_child_shows_the_task_and_its_close_says_process_exit(world: World) -> None:
    """Alive while open; after the close it has exited, nothing more is shown, and only then the receipt said so."""
    me, _ = world.worker()
    opening = begin(world, me)
    assert opening.alive
    assert opening.folder is None
    assert shown(opening) == "[True, True, True, True]"
    assert me.openings()[0].state == "open"
    opening.close()
    assert not opening.alive
    wait_gone(opening.pid)
    with pytest.raises(LeaseClosedError):
        opening.show(1)
    opening.close()
    world.issuer().answer()
    assert entries(world) == [("opened", None), ("closed", "process-exit")]


@linux_only
def test_G2_only_the_child_ever_holds_the_plaintext(world: World) -> None:
    """A scan of both processes' memory finds the picture in the child and not in the parent; argv and environ neither.

    The parent runs as a process of its own, so that this one's copy of the canary does not count.
    """
    me, _ = world.worker()
    item = world.task()
    me.close()
    with world.serving(), _Parent(world, item) as parent:
        needle = PICTURE[:14] + bytes(range(64))
        assert in_memory(parent.child, needle)
        assert not in_memory(parent.pid, needle)
        assert in_memory(parent.child, GUIDELINE.encode()[:40])
        assert not in_memory(parent.pid, GUIDELINE.encode()[:40])
        for pid in (parent.pid, parent.child):
            texts = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            for word in (TASK, GUIDELINE, "how.md", "canary"):
                assert word.encode() not in texts
        environ = Path(f"/proc/{parent.child}/environ").read_bytes()
        assert b"SECRET_OF_THE_PARENT" not in environ
        assert b"PYTHONPATH" not in environ
        assert PASSPHRASE.encode() not in Path(f"/proc/{parent.child}/cmdline").read_bytes()


class _Parent:
    """A contractor's process that begins an opening and then waits."""

    def __init__(self, world: World, item: bytes) -> None:
        script = (
            "import sys\nfrom pathlib import Path\nfrom labelvault.contractor import Contractor\n"
            "me = Contractor.open(Path(sys.argv[1]), sys.stdin.readline().rstrip('\\n'))\n"
            "opening = me.begin(sys.argv[2], timeout_s=60)\n"
            "print(opening.pid, flush=True)\nsys.stdin.readline()\nopening.close()\nprint('closed', flush=True)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(world.folder / "ada"), item.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SECRET_OF_THE_PARENT": "1"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(PASSPHRASE + "\n")
        self._process.stdin.flush()
        self.child = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(60)

    def __enter__(self) -> "_Parent":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


@linux_only
def test_G2_the_child_exits_when_its_parent_is_killed(world: World) -> None:
    """SIGKILL of the parent: the child sees its end of the socket close, and goes."""
    me, _ = world.worker()
    item = world.task()
    with world.serving(), _Parent(world, item) as parent:
        assert Path(f"/proc/{parent.child}").exists()
        parent.kill()
        wait_gone(parent.child)
    # What is left behind is closed later, and does not claim an exit that nobody saw.
    (record,) = me.openings()
    assert record.state == "open"
    me.close_opening(record.lease_id)
    world.issuer().answer()
    assert entries(world) == [("opened", None), ("closed", "best-effort")]


def test_the_child_exits_at_the_leases_end(world: World) -> None:
    """Nobody closes: at expiry it is gone, shows nothing, and a late close still works."""
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3))
    opening = begin(world, me)
    end = time.monotonic() + 60
    while opening.alive and time.monotonic() < end:
        time.sleep(PAUSE_S)
    assert not opening.alive
    with pytest.raises(LeaseClosedError):
        opening.show(1)
    opening.close()
    assert me.openings()[0].state == "closed"


def test_several_openings_are_several_processes(world: World) -> None:
    """Closing one leaves the other open; max_open is the issuer's word."""
    me, _ = world.worker()
    with world.serving():
        first = me.begin(world.task("one"), timeout_s=60)
        second = me.begin(world.task("two"), timeout_s=60)
        with pytest.raises(DeniedError, match="limit-open"):
            me.begin(world.task("three"), timeout_s=60)
        assert first.pid != second.pid
        first.close()
        assert second.alive
        assert shown(second)
        with me.begin(world.task("three"), timeout_s=60) as third:
            assert third.alive
        second.close()


@linux_only
def test_a_refused_opening_leaves_no_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied, timed out, tampered, lost at the vault, a full disk: typed errors through the child, and it is gone."""
    me, _ = world.worker(scope=Scope(batches=["w1"]))
    started: list[int] = []
    real = Worker

    def spied(*, readable: bool, writes: bool) -> object:
        made = real(readable=readable, writes=writes)
        started.append(made.pid)
        return made

    monkeypatch.setattr(module, "Worker", spied)
    with pytest.raises(RequestTimeoutError):
        me.begin(world.task(), timeout_s=0)
    with world.serving():
        with pytest.raises(DeniedError):
            me.begin(world.task("four"), timeout_s=60)
        _corrupt(world, "UPDATE items SET header = zeroblob(length(header)) WHERE item = ?", world.task("one"))
        with pytest.raises(TamperedError):
            me.begin(world.task("one"), timeout_s=60)
        _corrupt(world, "DELETE FROM items WHERE item = ?", world.task("two"))
        with pytest.raises(NotFoundError):
            me.begin(world.task("two"), timeout_s=60)

        def full(*_: object) -> None:
            raise StoreError("disk full")

        with monkeypatch.context() as patched:
            patched.setattr(me._log, "opened", full)
            with pytest.raises(StoreError, match="disk full"):
                me.begin(world.task("three"), timeout_s=60)
            with pytest.raises(StoreError, match="disk full"):
                me.begin(world.task("three"), timeout_s=60, output=world.folder / "out")
        assert not (world.folder / "out").exists()
    assert len(started) == 6
    for pid in started:
        wait_gone(pid)
    assert {record.state for record in me.openings()} == {"closed"}


def _corrupt(world: World, statement: str, item: bytes) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db, db:
        db.execute(statement, (item,))


# Files


def test_files_are_written_by_a_child_that_exits_and_erased_on_close(world: World) -> None:
    """0600 in a 0700 directory; the child is gone at once; the receipt claims no exit, since files were on a disk."""
    me, _ = world.worker()
    folder = world.folder / "out"
    opening = begin(world, me, output=folder)
    assert opening.folder == folder
    assert not opening.alive
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 3
    assert files["how.md"] == GUIDELINE.encode()
    assert files["picture.png"] == PICTURE
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert b"how.md" not in bytes_of(world.folder / "ada")
    with pytest.raises(LeaseClosedError):
        opening.show(1)
    opening.close()
    assert not folder.exists()
    world.issuer().answer()
    assert entries(world) == [("opened", None), ("closed", "best-effort")]


def test_files_are_erased_by_a_later_process_and_nothing_else(world: World) -> None:
    """After a restart the close finds its files by inode, renamed ones too; a stranger's file stays, and is told."""
    me, _ = world.worker()
    folder = world.folder / "out"
    opening = begin(world, me, output=folder)
    me.close()
    (folder / "how.md").rename(folder / "renamed.md")
    (folder / "mine.txt").write_text("the person's own notes")
    again = world.reopen("ada")
    with pytest.raises(OutputError, match="not written here"):
        again.close_opening(opening.lease_id)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert again.openings()[0].state == "open"
    (folder / "mine.txt").unlink()
    again.close_opening(opening.lease_id)
    assert not folder.exists()
    assert again.openings()[0].state == "closed"
    again.close_opening(opening.lease_id)
    world.issuer().answer()
    assert entries(world) == [("opened", None), ("closed", "best-effort")]


def test_a_close_that_failed_can_be_tried_again(world: World) -> None:
    """The same object closes once its folder is clear."""
    me, _ = world.worker()
    folder = world.folder / "out"
    opening = begin(world, me, output=folder)
    (folder / "mine.txt").write_text("notes")
    with pytest.raises(OutputError):
        opening.close()
    assert me.openings()[0].state == "open"
    (folder / "mine.txt").unlink()
    opening.close()
    assert me.openings()[0].state == "closed"


def test_a_folder_that_can_not_be_made_gives_the_lease_back(world: World) -> None:
    """Not empty, a symlink, no parent: an error of its own, nothing written or touched, the slot free."""
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3600))
    taken, link = world.folder / "taken", world.folder / "link"
    taken.mkdir()
    (taken / "file").write_text("kept")
    link.symlink_to(taken)
    for folder in (taken, link, world.folder / "no" / "parent"):
        with pytest.raises(OutputError):
            begin(world, me, output=folder)
    assert [path.name for path in taken.iterdir()] == ["file"]
    assert {record.state for record in me.openings()} == {"closed"}
    begin(world, me, output=world.folder / "fine").close()


def test_closing_what_was_never_opened_is_refused(world: World) -> None:
    """A lease id of someone else, or none."""
    me, _ = world.worker()
    with pytest.raises(LeaseError, match="no task was opened"):
        me.close_opening(bytes(32))


def test_what_is_shown_into_a_file_is_not_called_erased(world: World) -> None:
    """A redirect to a file outlives the process: the receipt says best-effort; a pipe leaves nothing of its own."""
    me, _ = world.worker()
    opening = begin(world, me)
    with open(world.folder / "notes.txt", "wb") as notes:
        opening.show(notes.fileno())
    assert TASK in (world.folder / "notes.txt").read_text()
    opening.close()
    assert opening.erased == "best-effort"
    world.issuer().answer()
    assert entries(world) == [("opened", None), ("closed", "best-effort")]


def test_G2_the_child_ends_with_the_lease_though_nobody_reads_what_it_shows(world: World) -> None:
    """A pager that pauses blocks the child's write; the lease's end ends it all the same."""
    (world.source / "guidelines" / "long.md").write_text("guidance " * 40_000)
    world.project.seal(world.source)
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3))
    opening = begin(world, me)
    reader, writer = os.pipe()
    # The call blocks with the child, so it waits in a thread: until the child is gone.
    showing = threading.Thread(target=_shows, args=(opening, writer), daemon=True)
    showing.start()
    wait_gone(opening.pid)
    showing.join(30)
    assert not showing.is_alive()
    os.close(reader)
    os.close(writer)
    opening.close()


def _shows(opening: Opening, writer: int) -> None:
    with pytest.raises(LeaseClosedError):
        opening.show(writer)


def test_an_interrupted_opening_to_a_folder_leaves_no_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right after the child wrote: its files are erased, the lease is given back."""
    me, _ = world.worker()
    folder = world.folder / "out"

    def interrupted(*_: object) -> None:
        assert list(folder.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(me._log, "opened", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(world, me, output=folder)
    assert not folder.exists()
    assert [(record.state, record.erased) for record in me.openings()] == [("closed", "best-effort")]


def test_a_folder_whose_medium_is_away_stays_open(world: World) -> None:
    """Nothing is forgotten that can come back: the close fails until the folder can be looked at."""
    me, _ = world.worker()
    medium = world.folder / "stick"
    medium.mkdir()
    opening = begin(world, me, output=medium / "out")
    medium.rename(world.folder / "away")
    with pytest.raises(OutputError, match="bring it back"):
        opening.close()
    assert me.openings()[0].state == "open"
    (world.folder / "away").rename(medium)
    me.close_opening(opening.lease_id)
    assert not (medium / "out").exists()
    assert me.openings()[0].state == "closed"


def test_a_state_that_can_not_be_written_leaves_no_child(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease came, but its opening could not be remembered: the child ends all the same, and the lease is closed."""
    me, _ = world.worker()

    def fails(*_: object) -> None:
        raise StoreError("disk full")

    children: list[Worker] = []
    real = Worker.stop

    def stopped(worker: Worker) -> None:
        children.append(worker)
        real(worker)

    monkeypatch.setattr(Worker, "stop", stopped)
    monkeypatch.setattr(me._log, "opened", fails)
    with pytest.raises(StoreError, match="disk full"):
        begin(world, me)
    assert [child.alive for child in children] == [False]
    assert [each.state for each in me.openings()] == ["closed"]
