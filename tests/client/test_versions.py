"""Old versions: compared, and made current again under a key and a number of their own."""

import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from labelvault.client import VersionComparison, comparing, importing
from labelvault.client.restoring import PieceSource
from labelvault.errors import FormatError, LabelVaultError, NotFoundError, ProjectError, RelayError, TamperedError
from labelvault.relay.protocol import ItemPart
from tests.client.test_large import content_of, stored_files, summary
from tests.world import GUIDELINE, PICTURE, RUBRIC, World, counts, dump, rows, state_of, write_file

MIB = 1024 * 1024


def changed(world: World, name: str, *contents: str | bytes) -> bytes:
    """Seal a file with each content in turn, and return its item."""
    for content in contents:
        write_file(world.source, name, content)
        assert not world.project.seal(world.source).errors
    return world.project.find(name)


def compared(world: World, name: str, *contents: str | bytes) -> VersionComparison:
    """Seal a new file with two contents, and compare them."""
    return world.project.compare(changed(world, name, *contents), 1)


def given_back(world: World, name: str, item: bytes | None = None, version: int = 0) -> bytes:
    """What an export has under a path."""
    out = world.folder / f"out-{os.urandom(4).hex()}"
    assert not world.project.export(out, None if item is None else [(item, version)]).faults
    return (out / name).read_bytes()


# Comparing


def test_texts_are_compared_line_by_line(world: World) -> None:
    """A unified diff with three lines around, what ends without a line feed marked as diff does."""
    lines = [f"line {number}\n" for number in range(20)]
    found = compared(world, "guidelines/new.md", "".join(lines), "".join([*lines[:9], "other\n", *lines[10:]]) + "end")
    assert found.diff == (
        "--- version 1",
        "+++ version 2",
        "@@ -7,7 +7,7 @@",
        *(f" line {number}" for number in (6, 7, 8)),
        "-line 9",
        "+other",
        *(f" line {number}" for number in (10, 11, 12)),
        "@@ -18,3 +18,4 @@",
        *(f" line {number}" for number in (17, 18, 19)),
        "+end",
        "\\ No newline at end of file",
    )
    assert (found.old.version, found.new.version, found.same_content) == (1, 2, False)
    assert found.source == "guidelines/new.md"
    assert "other" not in repr(found)


@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        ("a\n", "a", ("-a", "+a", "\\ No newline at end of file")),
        ("a\r\n", "a\n", ("-a\r", "+a")),
        ("", "a\n", ("+a",)),
        ("a\n", "", ("-a",)),
        ("a\u2028b\n", "a\nb\n", ("-a\u2028b", "+a", "+b")),
    ],
)
def test_whatever_differs_shows(world: World, old: str, new: str, diff: tuple[str, ...]) -> None:
    """Line ends, other marks that break lines, and nothing at all."""
    found = compared(world, "guidelines/new.md", old, new)
    assert found.diff is not None
    assert found.diff[3:] == diff


def test_rows_and_metadata_are_compared_too(world: World) -> None:
    """A row by its text; labels and requirements as they were."""
    write_file(world.source, "tasks/w2.jsonl", rows("four", picture="picture.png"))
    world.project.seal(world.source)
    item = world.project.find("tasks/w2.jsonl#four")
    found = world.project.compare(item, 2, 1)
    assert found.diff is not None
    assert found.diff[3].startswith('-{"id": "four"')
    assert len(found.old.requires) == len(found.new.requires) + 1
    assert found.old.labels == found.new.labels == (("id", "four"),)


def test_what_is_no_text_is_compared_by_size_and_hash(world: World) -> None:
    """Binary files, texts that are not UTF-8, and what is too long."""
    long = "x\n" * (comparing.MAX_DIFF_LINES + 1)
    large = "x" * (comparing.MAX_DIFF_BYTES + 1)
    for name, old, new in (
        ("attachments/a.bin", b"one", b"two"),
        ("guidelines/b.md", b"text", b"\xff"),
        ("guidelines/c.md", b"text", long.encode()),
        ("guidelines/d.md", large.encode(), b"text"),
    ):
        found = compared(world, name, old, new)
        assert found.diff is None
        assert (found.old.size, found.new.size) == (len(old), len(new))
        assert (found.old.sha256, found.new.sha256) == tuple(hashlib.sha256(each).digest() for each in (old, new))
    assert compared(world, "guidelines/e.md", "text", long[2:]).diff is not None


def test_the_same_content_under_other_metadata_is_told(world: World) -> None:
    """What a guideline requires changed: same bytes, another version."""
    toml = (world.source / "labelvault.toml").read_text()
    write_file(
        world.source, "labelvault.toml", toml + '[requires]\n"guidelines/how.md" = ["attachments/picture.png"]\n'
    )
    world.project.seal(world.source)
    found = world.project.compare(world.project.find("guidelines/how.md"), 1, 2)
    assert found.same_content
    assert found.diff == ()
    assert found.new.requires == (world.id_of("attachment"),)


def test_comparing_refuses_what_there_is_not(world: World) -> None:
    """Unknown versions and items, a version with itself, altered bytes; nothing is changed by comparing."""
    item = changed(world, "guidelines/how.md", "two")
    before = state_of(world.home)
    for old, new, kind in ((1, 3, ProjectError), (7, None, ProjectError), (2, None, FormatError)):
        with pytest.raises(kind):
            world.project.compare(item, old, new)
    with pytest.raises(ProjectError):
        world.project.compare(bytes(16), 1)
    world.project.compare(item, 1)
    after = state_of(world.home)
    assert after == before


# Making an old one current again


def test_an_old_version_is_sealed_again(world: World) -> None:
    """New number, new key, other bytes at the vault, in the ledger; the old ones stay as they are."""
    item = changed(world, "rubrics/score.md", "changed")
    before = counts(world.client_db)
    done = world.project.restore_version(item, 1)
    assert (done.restored, done.version, done.source, done.size) == (1, 3, "rubrics/score.md", len(RUBRIC))
    assert [(v.version, v.current) for v in world.project.versions(item)] == [(1, False), (2, False), (3, True)]
    assert given_back(world, "rubrics/score.md") == RUBRIC.encode()
    assert given_back(world, "rubrics/score.md", item, 2) == b"changed"
    found = {row[1]: row for row in dump(world.client_db)["versions"] if row[0] == item}
    digest, payload_bytes, wrapped, source_hash, metadata = 2, 3, 4, 7, 8
    for column in (digest, wrapped):
        assert len({found[number][column] for number in (1, 2, 3)}) == 3
    for column in (payload_bytes, source_hash, metadata):
        assert found[3][column] == found[1][column]
    after = counts(world.client_db)
    assert after["ledger_entries"] == before["ledger_entries"] + 1
    assert after["versions"] == before["versions"] + 1
    world.lab.verify_ledger()
    relay = world.relay()
    first, third = (relay.read_item(world.lab.client_id, item, number).data for number in (1, 3))
    assert len(first) == len(third)
    assert first[:24] != third[:24]


def test_the_folder_decides_at_the_next_seal(world: World) -> None:
    """With other content it is sealed as changed; with the restored content nothing is."""
    item = changed(world, "rubrics/score.md", "changed")
    world.project.restore_version(item, 1)
    assert summary(world.project.seal(world.source)) == (0, 1, 8, 0, 0)
    assert given_back(world, "rubrics/score.md") == b"changed"
    done = world.project.restore_version(item, 1)
    write_file(world.source, "rubrics/score.md", RUBRIC)
    assert summary(world.project.seal(world.source)) == (0, 0, 9, 0, 0)
    assert world.project.versions(item)[-1].version == done.version


def test_every_kind_of_item_is_restored(world: World) -> None:
    """Guideline, attachment, gold and a row, with labels, requirements and batch."""
    for name, first in (
        ("guidelines/how.md", GUIDELINE.encode()),
        ("attachments/picture.png", PICTURE),
        ("gold/answers.jsonl", (world.source / "gold/answers.jsonl").read_bytes()),
    ):
        item = changed(world, name, b"changed")
        world.project.restore_version(item, 1)
        assert given_back(world, name) == first
    row = rows("four", picture="picture.png")
    write_file(world.source, "tasks/w2.jsonl", row)
    world.project.seal(world.source)
    item = world.project.find("tasks/w2.jsonl#four")
    world.project.restore_version(item, 1)
    record = next(each for each in world.project.items("task") if each.item == item)
    assert (record.version, record.batch, len(record.requires)) == (3, "w2", 1)
    assert b"picture" not in given_back(world, "tasks/w2.jsonl", item, 3)


def test_a_restored_task_stands_in_its_queue_and_opens(world: World) -> None:
    """What a contractor opens then is the old text, in the version that the ledger names last."""
    write_file(world.source, "tasks/w1.jsonl", rows("one", more="changed") + rows("two", "three"))
    world.project.seal(world.source)
    item = world.task("one")
    world.project.restore_version(item, 1)
    me, _ = world.worker()
    with me.open_task(item, exchange=world.issuer().handle) as task:
        assert "picture.png" in task.text
        assert "changed" not in task.text


def test_a_large_version_is_restored_in_constant_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of 64 MiB takes less than 20 MiB, as each of four threads is two pieces ahead; small and large alike."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)
    film = content_of(64 * MIB)
    item = changed(world, "attachments/film.bin", film, b"short")
    world.project.versions(item)
    tracemalloc.start()
    world.project.restore_version(item, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MIB
    assert given_back(world, "attachments/film.bin") == film
    assert summary(world.project.seal(world.source))[:2] == (0, 1)


def test_the_size_that_the_vendor_sees_is_as_before(world: World) -> None:
    """A padding floor that labelvault.toml set then still holds."""
    toml = (world.source / "labelvault.toml").read_text()
    write_file(world.source, "labelvault.toml", toml + "[project]\nfloor_bytes = 65536\n")
    item = changed(world, "guidelines/how.md", "one", "two")
    world.project.restore_version(item, 2)
    sizes = [each.payload_bytes for each in world.project.versions(item)]
    assert sizes[1] == sizes[2] == sizes[3] > 65536 > sizes[0]


def test_restoring_refuses_what_there_is_not(world: World) -> None:
    """The current version, unknown ones, another project's: nothing is changed."""
    item = changed(world, "guidelines/how.md", "two")
    other = world.lab.create_project("other")
    before = state_of(world.home)
    for project, name, version in (
        (world.project, item, 2),
        (world.project, item, 3),
        (world.project, bytes(16), 1),
        (other, item, 1),
    ):
        with pytest.raises(ProjectError):
            project.restore_version(name, version)
    assert state_of(world.home) == before


@pytest.mark.parametrize("size", [100, 3 * MIB])
@pytest.mark.parametrize("fault", ["flipped", "missing", "away"])
def test_G6_what_the_vault_altered_or_lost_is_not_sealed_again(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int, fault: str
) -> None:
    """Read back, it is checked by the catalog's digest; the current version stays, and so does the ledger."""
    item = changed(world, "attachments/film.bin", content_of(size), b"two")
    relay = world.relay()
    true, stored = relay.read_item, stored_files(world)

    def altered(client: bytes, item_: bytes, version: int, offset: int = 0, length: int | None = None) -> ItemPart:
        if fault != "flipped":
            raise (NotFoundError if fault == "missing" else RelayError)("injected")
        part = true(client, item_, version, offset, length)
        return ItemPart(part.header, part.size, part.data[:-1] + bytes([part.data[-1] ^ 1]))

    monkeypatch.setattr(relay, "read_item", altered)
    monkeypatch.setattr(world.lab, "relay", lambda: relay)
    kind: type[LabelVaultError] = {"flipped": TamperedError, "missing": NotFoundError, "away": RelayError}[fault]
    before = counts(world.client_db)["ledger_entries"]
    with pytest.raises(kind):
        world.project.restore_version(item, 1)
    assert [each.version for each in world.project.versions(item) if each.current] == [2]
    assert counts(world.client_db)["ledger_entries"] == before
    assert stored_files(world) == stored
    world.lab.verify_ledger()


_KILLED = """
import os, signal, sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot, streaming
from tests.world import CHEAP, PASSPHRASE
folder, step = Path(sys.argv[1]), sys.argv[2]
lab = Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP))
relay = lab.relay()
def die():
    os.kill(os.getpid(), signal.SIGKILL)
true, made, record = relay.put_stream, streaming.make_current, lab.record
if step == "in the stream":
    relay.put_stream = lambda h, s, pieces, q: true(h, s, (p if n < 2 else die() for n, p in enumerate(pieces)), q)
elif step == "stored":
    streaming.complete = lambda *_: die()
elif step == "in the transaction":
    streaming.make_current = lambda *arguments: (made(*arguments), die())
else:
    lab.project("eval").restore_version(bytes.fromhex(sys.argv[3]), 1)
    die()
lab.project("eval").restore_version(bytes.fromhex(sys.argv[3]), 1)
"""


@pytest.mark.parametrize("step", ["in the stream", "stored", "in the transaction", "done"])
def test_C1_a_kill_leaves_the_old_version_or_the_new_one(world: World, step: str) -> None:
    """Killed anywhere, the catalog names one of both, whole; restoring once more works, under a number of its own."""
    film = content_of(4 * MIB)
    item = changed(world, "attachments/film.bin", film, b"two")
    command = [sys.executable, "-c", _KILLED, str(world.folder), step, item.hex()]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = world.open_client()
    again.verify_ledger()
    project = again.project("eval")
    (current,) = (each.version for each in project.versions(item) if each.current)
    assert current == (3 if step == "done" else 2)
    world.project = project
    assert given_back(world, "attachments/film.bin") == (film if step == "done" else b"two")
    assert project.restore_version(item, 1 if step != "done" else 2).version == 4
    assert given_back(world, "attachments/film.bin") == (b"two" if step == "done" else film)


def test_pieces_are_read_in_any_size() -> None:
    """Empty pieces are passed over; the end is told once and again."""
    source = PieceSource(iter([b"", b"abc", b"", b"defgh"]))
    assert [source.read(2) for _ in range(6)] == [b"ab", b"c", b"de", b"fg", b"h", b""]
    assert source.read(2) == b""
