"""One file from a stream of unknown length: spooled without plaintext, sealed whole or not at all."""

import io
import os
import pickle
import resource
import stat
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from labelvault.client import single
from labelvault.client.places import given_place
from labelvault.client.spool import spooled
from labelvault.errors import DecryptionError, FormatError, ProjectError, RelayError, StoreError
from tests.client.test_large import content_of, stored_files, summary
from tests.world import PICTURE, World, bytes_of, counts, state_of, write_file

MIB = 1024 * 1024
CANARY = b"spool-canary: nobody reads this on a disk "


def given_back(world: World, path: str) -> bytes:
    """What an export has under a path."""
    out = world.folder / f"out-{os.urandom(4).hex()}"
    assert not world.project.export(out).faults
    return (out / path).read_bytes()


def whole(source: Any, size: int = 7000) -> bytes:
    """All that a source gives, in reads of a size."""
    found = b""
    while data := source.read(size):
        found += data
    return found


def kept(file: BinaryIO) -> bytes:
    """Everything in an open file."""
    return os.pread(file.fileno(), 2**30, 0)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that were made."""
    made: list[Any] = []
    true = tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        made.append(true(**options))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    return made


# The spool


def test_what_a_pipe_gives_rests_encrypted_in_a_file_without_a_name(tmp_path: Path, files: list[Any]) -> None:
    """Only this user may read it, no folder lists it, nothing of the content is in it, and every reading gives it."""
    content = CANARY * 100_000
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as end:

        def give() -> None:
            with end:
                end.write(content)

        thread = threading.Thread(target=give)
        thread.start()
        with spooled(pipe, tmp_path, place="-") as spool:
            thread.join()
            (file,) = files
            info = os.fstat(file.fileno())
            assert (stat.S_IMODE(info.st_mode), info.st_nlink, list(tmp_path.iterdir())) == (0o600, 0, [])
            assert info.st_size > len(content) == spool.size
            assert CANARY[:12] not in kept(file)
            for _ in range(2):
                source = spool.reader()
                assert whole(source) == content
                assert source.read(1) == b""
            with pytest.raises(TypeError):
                pickle.dumps(spool)
    assert file.closed


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, MIB, MIB + 16 * 1024])
def test_any_size_is_given_back(tmp_path: Path, size: int) -> None:
    """Also none, and whole chunks."""
    content = content_of(size)
    with spooled(io.BytesIO(content), tmp_path, place="-") as spool:
        assert spool.size == size
        assert whole(spool.reader()) == content


def test_two_spools_of_one_content_have_nothing_in_common(tmp_path: Path, files: list[Any]) -> None:
    """Each has a key of its own."""
    with spooled(io.BytesIO(CANARY), tmp_path, place="-"), spooled(io.BytesIO(CANARY), tmp_path, place="-"):
        first, second = map(kept, files)
        assert not {first[at : at + 8] for at in range(len(first))} & {second[at : at + 8] for at in range(len(second))}


@pytest.mark.parametrize("change", ["flipped", "cut"])
def test_a_spool_that_was_altered_is_noticed(tmp_path: Path, files: list[Any], change: str) -> None:
    """Nothing that the source did not give is handed out."""
    with spooled(io.BytesIO(bytes(100_000)), tmp_path, place="-") as spool:
        (file,) = files
        if change == "cut":
            os.ftruncate(file.fileno(), 50_000)
        else:
            os.pwrite(file.fileno(), bytes([kept(file)[60_000] ^ 1]), 60_000)
        source = spool.reader()
        assert source.read(1000) == bytes(1000)
        with pytest.raises((DecryptionError, StoreError)):
            whole(source)


def test_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    """The bound itself is taken, one byte more is not; memory is flat on the way."""
    with spooled(io.BytesIO(bytes(100)), tmp_path, place="x", max_bytes=100) as spool:
        assert spool.size == 100
    with (
        pytest.raises(ProjectError, match="100 bytes") as caught,
        spooled(io.BytesIO(bytes(101)), tmp_path, place="x", max_bytes=100),
    ):
        pass
    assert caught.value.file == "x"

    class Endless:
        def read(self, size: int, /) -> bytes:
            return bytes(size)

    tracemalloc.start()
    with pytest.raises(ProjectError), spooled(Endless(), tmp_path, place="x", max_bytes=64 * MIB):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB
    assert list(tmp_path.iterdir()) == []


class Failing(io.BytesIO):
    """Fails, or gives what is no bytes, at its second reading."""

    def __init__(self, what: Any) -> None:
        super().__init__(bytes(3 * MIB))
        self.what = what

    def read(self, size: int | None = -1, /) -> Any:
        if not self.tell():
            return super().read(size)
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


@pytest.mark.parametrize("what", [OSError(5, "Input/output error"), None, "text"])
def test_a_source_that_fails_or_gives_no_bytes_is_refused(world: World, what: Any) -> None:
    """An error, a pipe that does not block, a text: never taken for the end; nothing is changed."""
    before = state_of(world.home)
    with pytest.raises(ProjectError) as caught:
        world.project.seal_file("attachments/x.bin", Failing(what))
    assert caught.value.file == "attachments/x.bin"
    assert state_of(world.home) == before
    assert stored_files(world) == []


def test_C3_a_full_disk_is_a_store_error_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No space for the spool, none for a file at all."""
    before = state_of(world.home)
    with monkeypatch.context() as patched:
        full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed by what is tested
        patched.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(StoreError, match="No space"):
            world.project.seal_file("attachments/x.bin", io.BytesIO(bytes(MIB)))
    with pytest.raises(StoreError, match="no temporary file"), spooled(io.BytesIO(), tmp_path / "absent", place="x"):
        pass
    assert state_of(world.home) == before
    assert world.project.seal_file("attachments/x.bin", io.BytesIO(bytes(MIB))).outcome == "new"


# Sealing


def test_a_file_is_sealed_as_if_the_folder_had_it(world: World) -> None:
    """New, the same, changed; and the folder that then has it seals nothing."""
    content = content_of(3 * MIB)
    sealed = [
        world.project.seal_file("attachments/deep/film.bin", io.BytesIO(each))
        for each in (content, content, content[1:])
    ]
    assert [(each.outcome, each.version, each.size) for each in sealed] == [
        ("new", 1, 3 * MIB),
        ("same", 1, 3 * MIB),
        ("changed", 2, 3 * MIB - 1),
    ]
    assert len({each.item for each in sealed}) == 1
    assert given_back(world, "attachments/deep/film.bin") == content[1:]
    write_file(world.source, "attachments/deep/film.bin", content[1:])
    assert summary(world.project.seal(world.source)) == (0, 0, 10, 0, 0)
    write_file(world.source, "attachments/deep/film.bin", content)
    assert summary(world.project.seal(world.source)) == (0, 1, 9, 0, 0)
    world.lab.verify_ledger()


@pytest.mark.parametrize(
    "path", ["guidelines/new.md", "rubrics/a b#%.yaml", "gold/g.jsonl", "attachments/\u202e\x1b.png", "tasks/t/a#.md"]
)
def test_every_kind_of_file_is_taken(world: World, path: str) -> None:
    """Then the folder with the same file seals nothing, so kind, name, batch, type and requirements are the same."""
    assert world.project.seal_file(path, io.BytesIO(CANARY)).outcome == "new"
    assert given_back(world, path) == CANARY
    write_file(world.source, path, CANARY)
    report = world.project.seal(world.source)
    # Tasks require all guidelines, and now there is one more.
    assert summary(report)[:2] == (0, 5 if path.startswith("guidelines") else 0)
    assert world.source.joinpath("tasks").exists()


def test_a_sealed_file_keeps_its_labels_and_requirements(world: World) -> None:
    """What labelvault.toml said of it when the folder was sealed stays."""
    toml = (world.source / "labelvault.toml").read_text()
    write_file(world.source, "labelvault.toml", toml + '[requires]\n"rubrics/score.md" = ["attachments/picture.png"]\n')
    world.project.seal(world.source)
    world.project.seal_file("rubrics/score.md", io.BytesIO(b"changed"))
    (item,) = world.project.items("rubric")
    assert (item.version, item.requires) == (3, (world.id_of("attachment"),))


def test_a_task_from_a_pipe_opens(world: World) -> None:
    """In the queue of its folder, with the guidelines."""
    done = world.project.seal_file("tasks/w9/one.txt", io.BytesIO(b"a task from a pipe"))
    me, _ = world.worker()
    with me.open_task(done.item, exchange=world.issuer().handle) as task:
        assert task.text == "a task from a pipe"
        assert [part.name for part in task.required] == ["how.md"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x.md",
        "guidelines",
        "guidelines/",
        "guidelines//x",
        "guidelines/../rubrics/x",
        "guidelines/.hidden",
        "guidelines/.git/x",
        "/guidelines/x",
        "./guidelines/x",
        "Guidelines/x",
        "other/x",
        "labelvault.toml",
        "guidelines/a\0b",
        "guidelines/\udcff",
        "guidelines/" + "x" * 256,
        "guidelines/" + "x/" * 500 + "x",
        "tasks/x.jsonl",
        "tasks/x.csv",
        "tasks/x.zip",
        "tasks/" + "x/" * 250 + "x.md",
    ],
)
def test_X1_a_path_that_no_folder_has_is_refused_unread(world: World, path: str) -> None:
    """Traversal, hidden and foreign places, rows: refused before a byte is read."""

    class Unread:
        def read(self, size: int, /) -> bytes:
            raise AssertionError("it was read")

    before = state_of(world.home)
    with pytest.raises(ProjectError):
        world.project.seal_file(path, Unread())
    assert state_of(world.home) == before


def test_what_is_too_large_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task beyond what tasks hold, a file beyond what the way to the vault carries: told, and nothing changed."""
    monkeypatch.setattr(single, "MAX_CONTENT_BYTES", 1000)
    before = counts(world.client_db)
    with pytest.raises(ProjectError, match="1000 bytes"):
        world.project.seal_file("tasks/w/long.md", io.BytesIO(bytes(1001)))
    assert counts(world.client_db) == before
    relay = world.relay()

    def narrow(*_: Any) -> Any:
        raise FormatError("too much for this way")

    monkeypatch.setattr(relay, "put_stream", narrow)
    monkeypatch.setattr(world.lab, "relay", lambda: relay)
    with pytest.raises(ProjectError, match="too much") as caught:
        world.project.seal_file("attachments/x.bin", io.BytesIO(bytes(5000)))
    assert caught.value.file == "attachments/x.bin"
    assert counts(world.client_db)["ledger_entries"] == before["ledger_entries"]
    assert len(world.project.items("attachment")) == 1


def test_too_many_guidelines_for_a_task_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that nobody could seal from a folder either."""
    monkeypatch.setattr(single, "MAX_REQUIRES", 0)
    with pytest.raises(ProjectError, match="1 guidelines"):
        world.project.seal_file("tasks/w/a.md", io.BytesIO(b"x"))


def test_an_error_in_between_leaves_the_old_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault fails in the stream: the old version is current, and the next time it is sealed."""
    relay = world.relay()
    true = relay.put_stream

    def failing(header: bytes, size: int, pieces: Iterator[bytes], queue: bytes | None) -> Any:
        next(pieces)
        raise RelayError("injected")

    monkeypatch.setattr(world.lab, "relay", lambda: relay)
    monkeypatch.setattr(relay, "put_stream", failing)
    with pytest.raises(RelayError):
        world.project.seal_file("attachments/picture.png", io.BytesIO(b"other"))
    assert given_back(world, "attachments/picture.png") == PICTURE
    monkeypatch.setattr(relay, "put_stream", true)
    assert world.project.seal_file("attachments/picture.png", io.BytesIO(b"other")).version == 3
    world.lab.verify_ledger()


_LIMITED = """
import resource, sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot
from labelvault.errors import StoreError
from tests.world import CHEAP, PASSPHRASE
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Client.open(Path(sys.argv[1]) / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, resource.RLIM_INFINITY))
    try:
        lab.project("eval").seal_file("attachments/x.bin", sys.stdin.buffer)
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(len(lab.project("eval").items("attachment")), len(lab.project("eval").find("picture.png")))
"""


def test_C3_a_real_process_that_may_write_no_more_changes_nothing(world: World) -> None:
    """A limit on file sizes stands for the full disk: a typed error, no file left, the catalog as it was."""
    before = state_of(world.home)
    command = [sys.executable, "-c", _LIMITED, str(world.folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, input=CANARY * 200_000, capture_output=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [b"1 16"]
    assert b"temporary file can't be written" in done.stdout
    assert state_of(world.home) == before
    assert CANARY[:12] not in bytes_of(world.folder / "client")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_place_says_what_a_folder_would_make_of_it() -> None:
    """Kind, name, batch, source and media type."""
    place = given_place("tasks/week/a#1.md")
    assert (place.kind, place.name, place.batch, place.source) == ("task", "week/a#1.md", "week", "tasks/week/a%231.md")
    assert (given_place("gold/a.md").batch, given_place("rubrics/a.md").batch) == ("gold", None)
