"""Large files: sealed as streams, only when they changed, alone, and not at all unless they are at rest."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, importing
from labelvault.client.files import STREAM_ABOVE_BYTES, LargeFile
from labelvault.client.importing import ProjectFolder
from labelvault.envelope.metadata import MAX_STREAM_BYTES
from labelvault.errors import FormatError, ProjectError, RelayError, StoreError
from tests.world import World, write_file

MIB = 1024 * 1024
SOURCES = 9


def content_of(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing else has."""
    return random.Random(seed).randbytes(size)


def put(world: World, name: str, content: bytes) -> Path:
    """Write a file into the folder."""
    path = world.source / name
    path.write_bytes(content)
    return path


def summary(report: Any) -> tuple[int, int, int, int, int]:
    return report.new, report.changed, report.same, report.gone, len(report.errors)


def stored_files(world: World) -> list[str]:
    """What lies beside the vault's database."""
    return sorted(path.name for path in world.folder.rglob("*.payloads/*"))


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files above 100 KB are large."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)


def test_a_large_file_goes_as_a_stream_and_opens(world: World) -> None:
    """Above 8 MiB a file rests beside the vault's database, unreadable there, and opens as it was."""
    content = b"a secret marker " + content_of(STREAM_ABOVE_BYTES)
    put(world, "attachments/picture.png", content)
    put(world, "attachments/small.bin", content_of(STREAM_ABOVE_BYTES, 1))
    assert summary(world.project.seal(world.source)) == (1, 1, SOURCES - 1, 0, 0)
    (name,) = stored_files(world)
    (path,) = world.folder.rglob(name)
    assert b"a secret marker" not in path.read_bytes()
    me, _ = world.worker()
    issuer = world.issuer()
    item = next(each for each in world.project.items("task") if each.requires)
    with me.open_task(item.item, exchange=issuer.handle) as task:
        parts = {part.name: part for part in task.required}
        assert parts["picture.png"].content == content
        assert parts["picture.png"].metadata.size == len(content)
    world.lab.verify_ledger()


def test_what_did_not_change_is_not_sealed_again(world: World, low: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content decides, not the file's time; a new file is read once, a known one hashed before it is sealed."""
    path = put(world, "attachments/film.bin", content_of(3 * MIB))
    hashed: list[str] = []
    true = LargeFile.hash

    def counting(self: LargeFile, state: Any) -> bytes:
        hashed.append(self.place)
        return true(self, state)

    monkeypatch.setattr(LargeFile, "hash", counting)
    assert summary(world.project.seal(world.source))[:3] == (1, 0, SOURCES)
    assert hashed == []
    os.utime(path, (1, 1))
    assert summary(world.project.seal(world.source))[:3] == (0, 0, SOURCES + 1)
    assert hashed == ["attachments/film.bin"]
    put(world, "attachments/film.bin", content_of(3 * MIB, 1))
    assert summary(world.project.seal(world.source))[:3] == (0, 1, SOURCES)
    (item,) = (each for each in world.project.items("attachment") if each.name == "film.bin")
    assert (item.version, item.size) == (2, 3 * MIB)
    put(world, "attachments/film.bin", content_of(1000))
    assert summary(world.project.seal(world.source))[:3] == (0, 1, SOURCES)
    world.lab.verify_ledger()


def test_large_and_small_are_compared_alike(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose class changes with the threshold is the same file: both give one source hash."""
    put(world, "attachments/film.bin", content_of(300_000))
    assert summary(world.project.seal(world.source))[0] == 1
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)
    assert summary(world.project.seal(world.source))[:3] == (0, 0, SOURCES + 1)


@pytest.mark.parametrize("keep_time", [False, True])
@pytest.mark.parametrize("change", ["content", "longer", "shorter"])
def test_a_file_that_changes_between_hash_and_seal_is_reported_and_not_stored(
    world: World, low: None, monkeypatch: pytest.MonkeyPatch, change: str, keep_time: bool
) -> None:
    """Whatever changed of it, even behind its time: one fault with its name, everything else sealed."""
    path = put(world, "attachments/film.bin", content_of(3 * MIB))
    world.project.seal(world.source)
    before = stored_files(world)
    put(world, "attachments/film.bin", content_of(3 * MIB, 1))
    put(world, "guidelines/how.md", b"changed")
    true = LargeFile.hash

    def then_changed(self: LargeFile, state: Any) -> bytes:
        found = true(self, state)
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(content_of(3 * MIB + {"content": 0, "longer": 1, "shorter": -1}[change], 2))
        if keep_time:
            os.utime(path, ns=times)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(LargeFile, "hash", then_changed)
        report = world.project.seal(world.source)
    assert [(each.file, str(each).partition("changed")[1]) for each in report.errors] == [
        ("attachments/film.bin", "changed")
    ]
    assert summary(report)[:2] == (0, 1)
    assert stored_files(world) == before
    (item,) = (each for each in world.project.items("attachment") if each.name == "film.bin")
    assert item.version == 1
    assert summary(world.project.seal(world.source)) == (0, 1, SOURCES, 0, 0)
    (item,) = (each for each in world.project.items("attachment") if each.name == "film.bin")
    # A number that was reserved in vain is not used again.
    assert item.version in (2, 3)
    world.lab.verify_ledger()


def test_a_file_that_changes_while_it_is_sealed_the_first_time_is_not_stored(
    world: World, low: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to compare with: its size and time tell. Whoever requires it is reported too.

    It is larger than what is read ahead of the piece that is stored.
    """
    path = put(world, "attachments/film.bin", content_of(12 * MIB))
    relay = world.lab.relay()
    true = relay.put_stream

    def slow(header: bytes, size: int, pieces: Any, queue: Any) -> Any:
        def growing() -> Any:
            for number, piece in enumerate(pieces):
                if number == 1:
                    with path.open("ab") as stream:
                        stream.write(b"more")
                yield piece

        return true(header, size, growing(), queue)

    with monkeypatch.context() as patched:
        patched.setattr(relay, "put_stream", slow)
        report = world.project.seal(world.source)
    assert [each.file for each in report.errors] == ["attachments/film.bin"]
    assert stored_files(world) == []
    assert summary(world.project.seal(world.source)) == (1, 0, SOURCES, 0, 0)


def test_an_interrupted_run_seals_only_what_it_had_not_finished(
    world: World, low: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three large files, the vault fails in the middle of the third: it alone is sealed in the next run."""
    for number in range(3):
        put(world, f"attachments/film-{number}.bin", content_of(3 * MIB, number))
    relay = world.lab.relay()
    true, seen = relay.put_stream, []

    def failing(header: bytes, size: int, pieces: Any, queue: Any) -> Any:
        seen.append(header)
        if len(seen) == 3:
            for _ in zip(pieces, range(2), strict=False):
                pass
            raise StoreError("injected")
        return true(header, size, pieces, queue)

    with monkeypatch.context() as patched:
        patched.setattr(relay, "put_stream", failing)
        with pytest.raises(StoreError, match="injected"):
            world.project.seal(world.source)
    assert len(world.project.items("attachment")) == 3
    assert len(stored_files(world)) == 2
    world.lab.verify_ledger()
    assert summary(world.project.seal(world.source)) == (1, 0, SOURCES + 2, 0, 0)
    assert len(stored_files(world)) == 3
    assert len(set(seen)) == 3


_KILLED = """
import os, signal, sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot, importing, streaming
from tests.world import CHEAP, PASSPHRASE
importing.STREAM_ABOVE_BYTES = 100_000
folder, step = Path(sys.argv[1]), sys.argv[2]
lab = Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP))
relay = lab.relay()
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if step == "in the stream":
    true = relay.put_stream
    relay.put_stream = lambda h, s, pieces, q: true(h, s, (p if n < 2 else die() for n, p in enumerate(pieces)), q)
elif step == "before current":
    streaming.complete = lambda *_: die()
elif step == "after record":
    true_record = lab.record
    lab.record = lambda entries: (true_record(entries), die())
lab.project("eval").seal(folder / "source")
"""


@pytest.mark.parametrize("step", ["in the stream", "before current", "after record"])
def test_C1_a_kill_while_a_large_file_is_sealed_loses_nothing(world: World, low: None, step: str) -> None:
    """Killed anywhere: the catalog is as before, and a new run seals it under a version number of its own."""
    put(world, "attachments/film.bin", content_of(3 * MIB))
    command = [sys.executable, "-c", _KILLED, str(world.folder), step]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again: Client = world.open_client()
    assert len(again.project("eval").items("attachment")) == 1
    again.verify_ledger()
    assert summary(again.project("eval").seal(world.source)) == (1, 0, SOURCES, 0, 0)
    (item,) = (each for each in again.project("eval").items("attachment") if each.name == "film.bin")
    assert item.version == 2
    again.verify_ledger()


def test_a_vault_that_stores_other_bytes_is_not_believed(
    world: World, low: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaf hashes that are not those of what was sent end the run, and nothing becomes current."""
    put(world, "attachments/film.bin", content_of(3 * MIB))
    relay = world.lab.relay()
    true = relay.put_stream
    monkeypatch.setattr(relay, "put_stream", lambda *arguments: true(*arguments)[::-1])
    with pytest.raises(RelayError):
        world.project.seal(world.source)
    assert len(world.project.items("attachment")) == 1


def test_large_files_come_first_and_in_no_order(world: World, low: None) -> None:
    """The vault gets them one by one, so their order is drawn at random; what they require comes before them."""
    names = [f"attachments/film-{number}.bin" for number in range(6)]
    for name in names:
        put(world, name, content_of(150_000))
    (world.source / "labelvault.toml").write_text(
        '[tasks]\nattachments = ["picture"]\n[requires]\n"attachments/film-3.bin" = ["guidelines/how.md"]\n'
    )
    orders = set()
    for _ in range(20):
        items = list(ProjectFolder(world.source).items())
        sources = [item.source for item in items]
        assert sorted(sources[:7]) == sorted([*names, "guidelines/how.md"])
        assert sources.index("guidelines/how.md") < sources.index(names[3])
        assert all((item.large is not None) == (item.source in names) for item in items)
        assert all(not item.content for item in items if item.large is not None)
        orders.add(tuple(sources[:7]))
    assert len(orders) > 5


def test_a_file_above_64_GiB_is_refused_unread(world: World) -> None:
    """Sparse, one byte over: told with its size, and the rest is sealed."""
    with (world.source / "attachments/vast.bin").open("wb") as stream:
        stream.truncate(MAX_STREAM_BYTES + 1)
    report = world.project.seal(world.source)
    assert [each.file for each in report.errors] == ["attachments/vast.bin"]
    assert "64 GiB" in str(report.errors[0])
    assert summary(report)[:3] == (0, 0, SOURCES)


def test_a_large_file_that_is_swapped_or_gone_is_reported(world: World, low: None) -> None:
    """A symlink, a pipe, another file or none in its place since the listing: not followed, not waited for."""
    for number in range(4):
        put(world, f"attachments/film-{number}.bin", content_of(150_000))
    folder = ProjectFolder(world.source)
    large = sorted((item.large for item in folder.items() if item.large is not None), key=lambda each: each.place)
    for each in large:
        each.path.unlink()
    large[0].path.symlink_to(world.source / "guidelines/how.md")
    os.mkfifo(large[1].path)
    put(world, large[2].place, content_of(150_001))
    for each in large:
        with pytest.raises(ProjectError) as caught, each.open():
            pass
        assert caught.value.file == each.place


def test_a_window_that_the_vault_refuses_is_no_fault_of_the_stream_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a large file requires is stored before it; if the vault calls that malformed, the run ends and says so."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)
    before = world.project.items()
    write_file(world.source, "rubrics/first.md", "small")
    write_file(world.source, "attachments/after.bin", content_of(200_000))
    write_file(world.source, "labelvault.toml", '[requires]\n"attachments/after.bin" = ["rubrics/first.md"]\n')
    relay = world.lab.relay()

    def refuse(items: object) -> int:
        raise FormatError("malformed")

    with monkeypatch.context() as patched:
        patched.setattr(relay, "put_items", refuse)
        with pytest.raises(StoreError, match="took nothing of a window"):
            world.project.seal(world.source)
    assert world.project.items() == before
    report = world.project.seal(world.source)
    assert (report.errors, report.gone) == ((), 0)
