"""Exporting: exactly what was sealed, under its own names, and nothing that was altered."""

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelvault.client import Project, importing
from labelvault.client.columns import row_source, source_place, task_source
from labelvault.client.tree import NewTree
from labelvault.errors import NotFoundError, OutputError, ProjectError, RelayError, TamperedError
from labelvault.relay.protocol import ItemPart
from tests.world import RUBRIC, World, rows, state_of, write_file


def tree(folder: Path) -> dict[str, bytes]:
    """Files by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def lines(data: bytes) -> list[bytes]:
    return sorted(data.splitlines())


class Between:
    """A relay that a test has altered: what it does not override goes through."""

    def __init__(self, relay: Any, item: bytes) -> None:
        self._relay, self._item = relay, item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)


def put_between(world: World, monkeypatch: pytest.MonkeyPatch, kind: type[Between], item: bytes = b"") -> None:
    relay = kind(world.relay(), item)
    monkeypatch.setattr(world.lab, "relay", lambda: relay)


def test_what_was_sealed_comes_back_byte_for_byte(world: World, tmp_path: Path) -> None:
    """Files under their paths, rows in their file; directories 0700, files 0600, whatever the umask."""
    write_file(world.source, "tasks/deep/a#1%23.md", "a task")
    write_file(world.source, "guidelines/deep/er/x.md", b"\x00\xff")
    write_file(world.source, "attachments/empty.bin", b"")
    world.project.seal(world.source)
    before = state_of(world.home)
    old = os.umask(0)
    try:
        report = world.project.export(tmp_path / "out")
    finally:
        os.umask(old)
    given_back, source = tree(tmp_path / "out"), tree(world.source)
    del source["labelvault.toml"]
    assert given_back.keys() == source.keys()
    for name, data in source.items():
        if name.endswith(".jsonl") and name.startswith("tasks/"):
            assert lines(given_back[name]) == lines(data)
        else:
            assert given_back[name] == data
    assert (report.items, report.files, report.faults) == (12, 9, ())
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert state_of(world.home) == before


def test_rows_of_other_forms_come_back_as_jsonl_named_after_their_file(world: World, tmp_path: Path) -> None:
    """Also where such a file is there already."""
    write_file(world.source, "tasks/w3.csv", "id,b\n2,x\n1,y\n")
    write_file(world.source, "tasks/w3.csv.jsonl", '{"id": "own"}\n')
    write_file(world.source, "tasks/w4.json", '[{"id": 7, "data": {"t": 1.50}}]')
    world.project.seal(world.source)
    assert not world.project.export(tmp_path / "out").faults
    found = tree(tmp_path / "out")
    assert found["tasks/w3.csv-2.jsonl"] == b'{"id":"1","b":"y"}\n{"id":"2","b":"x"}\n'
    assert found["tasks/w3.csv.jsonl"] == b'{"id": "own"}\n'
    assert found["tasks/w4.json.jsonl"] == b'{"id":7,"data":{"t":1.50}}\n'


def test_large_items_come_back_in_pieces(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A streamed file of several leaves, and a row of more than one."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)
    film = os.urandom(3_500_000)
    write_file(world.source, "attachments/film.bin", film)
    row = rows("long", text="x" * 2_000_000)
    write_file(world.source, "tasks/w3.jsonl", row)
    world.project.seal(world.source)
    assert not world.project.export(tmp_path / "out").faults
    assert (tmp_path / "out/attachments/film.bin").read_bytes() == film
    assert (tmp_path / "out/tasks/w3.jsonl").read_text() == row


PARTS = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="/"), min_size=1, max_size=12)
NAMES = PARTS.filter(lambda part: not part.startswith("."))
VALUES = st.none() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=20)
TASKS = st.dictionaries(NAMES, VALUES, max_size=3)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, st.binary(max_size=300), max_size=3),
    st.dictionaries(NAMES, st.binary(max_size=300), max_size=2),
    st.lists(TASKS, max_size=4),
    st.booleans(),
)
def test_any_folder_comes_back(
    world: World, files: dict[str, bytes], texts: dict[str, bytes], tasks: list[dict[str, Any]], spaced: bool
) -> None:
    """Seal, then export: files byte for byte, rows of JSONL byte for byte."""
    number = len(world.lab.projects())
    source, out = world.folder / f"in{number}", world.folder / f"out{number}"
    write_file(source, "rubrics/score.md", RUBRIC)
    for name, data in files.items():
        write_file(source, f"guidelines/{name}", data)
    for name, data in texts.items():
        write_file(source, f"tasks/{name}.md", data)
    named = [{"id": f"{n}#{n}", **task} for n, task in enumerate(tasks)]
    encoded = [json.dumps(task, separators=(" ,", " : ") if spaced else None).encode() for task in named]
    if encoded:
        write_file(source, "tasks/all.jsonl", b"\r\n".join(encoded))
    project = world.lab.create_project(f"p{number}", floor_bytes=256)
    report = project.seal(source)
    # A drawn column `id` may repeat one, or hold what can't be an id.
    bad = {error.line for error in report.errors if error.file == "tasks/all.jsonl"}
    assert len(bad) == len(report.errors)
    assert not project.export(out).faults
    found, expected = tree(out), tree(source)
    good = [row for line, row in enumerate(encoded, 1) if line not in bad]
    expected.pop("tasks/all.jsonl", None)
    assert lines(found.pop("tasks/all.jsonl", b"")) == sorted(good)
    assert found == expected


@given(st.text(), st.text())
def test_a_source_says_its_path(path: str, name: str) -> None:
    """Of rows and of files that are a task; of other files it is the path."""
    assert source_place("task", row_source(path, name)) == (path, True)
    assert source_place("task", task_source(path)) == (path, False)
    assert source_place("guideline", path) == (path, False)


# Old versions


def test_an_old_version_comes_back_alone(world: World, tmp_path: Path) -> None:
    """By item and number; the items' names are found by id, path or name."""
    write_file(world.source, "rubrics/score.md", "changed")
    world.project.seal(world.source)
    item = world.project.find("rubrics/score.md")
    assert item == world.project.find("score.md") == world.project.find(item.hex())
    assert [(v.version, v.size, v.current) for v in world.project.versions(item)] == [
        (1, len(RUBRIC), False),
        (2, 7, True),
    ]
    report = world.project.export(tmp_path / "one", [(item, 1)])
    assert (report.items, report.files, report.faults) == (1, 1, ())
    assert tree(tmp_path / "one") == {"rubrics/score.md": RUBRIC.encode()}
    world.project.export(tmp_path / "two")
    assert tree(tmp_path / "two")["rubrics/score.md"] == b"changed"


def test_unknown_items_and_versions_are_refused_before_anything_is_made(world: World, tmp_path: Path) -> None:
    """No such version, another project's item, one item twice, an ambiguous name, no such name."""
    item = world.project.find("score.md")
    other = world.lab.create_project("other")
    cases: list[tuple[Project, list[tuple[bytes, int]]]] = [
        (world.project, [(item, 2)]),
        (world.project, [(bytes(16), 1)]),
        (other, [(item, 1)]),
        (world.project, [(item, 1), (item, 1)]),
    ]
    for project, versions in cases:
        with pytest.raises(ProjectError):
            project.export(tmp_path / "out", versions)
        assert not (tmp_path / "out").exists()
    write_file(world.source, "attachments/score.md", "x")
    world.project.seal(world.source)
    with pytest.raises(ProjectError, match="2 items"):
        world.project.find("score.md")
    for project, name in ((world.project, "nothing"), (other, item.hex()), (other, "rubrics/score.md")):
        with pytest.raises(ProjectError, match="no item"):
            project.find(name)
    assert other.versions(item) == []


def test_a_version_that_was_reserved_only_is_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that was cut short left a number behind, and no bytes."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 1000)
    write_file(world.source, "attachments/film.bin", b"x" * 5000)

    class Failing(Between):
        def put_stream(self, *_: Any) -> None:
            raise RelayError("gone")

    put_between(world, monkeypatch, Failing)
    with pytest.raises(RelayError):
        world.project.seal(world.source)
    item = world.project.find("film.bin")
    assert world.project.versions(item) == []
    with pytest.raises(ProjectError):
        world.project.export(tmp_path / "out", [(item, 1)])


# A vault that can't be trusted


class Missing(Between):
    """Has lost one item."""

    def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
        if item == self._item:
            raise NotFoundError("no such item version")
        return self._relay.read_item(client, item, *rest)


class Flipping(Between):
    """Serves one item with a bit of its last byte flipped."""

    def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
        part = self._relay.read_item(client, item, *rest)
        data = part.data
        if item == self._item and len(rest) == 3 and rest[1] + len(data) == part.size:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return ItemPart(part.header, part.size, data)


class Huge(Between):
    """Says that one item is larger than any."""

    def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
        part = self._relay.read_item(client, item, *rest)
        return ItemPart(part.header, 1 << 50, part.data) if item == self._item else part


@pytest.mark.parametrize(
    ("kind", "error"), [(Missing, NotFoundError), (Flipping, TamperedError), (Huge, TamperedError)]
)
@pytest.mark.parametrize("source", ["rubrics/score.md", "tasks/w1.jsonl#two", "attachments/film.bin"])
def test_what_is_missing_or_altered_is_named_and_the_rest_is_exported(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Between], error: type, source: str
) -> None:
    """Nothing of it is left, also where only its last leaf was altered; every other item is there."""
    monkeypatch.setattr(importing, "STREAM_ABOVE_BYTES", 100_000)
    write_file(world.source, "attachments/film.bin", os.urandom(2_500_000))
    world.project.seal(world.source)
    world.project.export(tmp_path / "whole")
    item = world.project.find(source)
    put_between(world, monkeypatch, kind, item)
    report = world.project.export(tmp_path / "out")
    (fault,) = report.faults
    assert (fault.source, fault.item, fault.version, type(fault.error)) == (source, item, 1, error)
    assert report.items == 9
    expected = tree(tmp_path / "whole")
    if "#" in source:
        kept = [row for row in expected["tasks/w1.jsonl"].splitlines(True) if b'"two"' not in row]
        expected["tasks/w1.jsonl"] = b"".join(kept)
    else:
        del expected[source]
    assert tree(tmp_path / "out") == expected


def test_a_file_none_of_whose_rows_comes_back_is_not_made(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file would look like an empty source."""
    write_file(world.source, "tasks/w3.jsonl", rows("lone"))
    world.project.seal(world.source)
    put_between(world, monkeypatch, Missing, world.project.find("lone"))
    assert len(world.project.export(tmp_path / "out").faults) == 1
    assert not (tmp_path / "out/tasks/w3.jsonl").exists()


def test_swapped_items_are_found(world: World, tmp_path: Path) -> None:
    """Another item's bytes, whole and rightly sealed, in an item's place at the vault."""
    first, second = world.project.find("one"), world.project.find("two")
    relay = world.relay()
    monkey = pytest.MonkeyPatch()

    class Swapped(Between):
        def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
            return self._relay.read_item(client, {first: second, second: first}.get(item, item), *rest)

    with monkey.context() as patch:
        swapped = Swapped(relay, b"")
        patch.setattr(world.lab, "relay", lambda: swapped)
        report = world.project.export(tmp_path / "out")
    assert sorted(fault.source for fault in report.faults) == ["tasks/w1.jsonl#one", "tasks/w1.jsonl#two"]
    assert {type(fault.error) for fault in report.faults} == {TamperedError}


def test_a_vault_that_is_away_ends_the_export(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three items in a row; one or two are named, and what answers between starts the count anew."""
    asked: list[bytes] = []

    class Away(Between):
        lost: tuple[int, ...] = ()

        def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
            asked.append(item)
            if len(asked) in self.lost:
                raise RelayError("away")
            return self._relay.read_item(client, item, *rest)

    class Rarely(Away):
        lost = (1, 2, 4, 5, 7)

    class Long(Away):
        lost = (2, 3, 4)

    put_between(world, monkeypatch, Rarely)
    assert len(world.project.export(tmp_path / "some").faults) == 5
    asked.clear()
    put_between(world, monkeypatch, Long)
    with pytest.raises(RelayError):
        world.project.export(tmp_path / "none")
    assert len(asked) == 4
    assert len(tree(tmp_path / "none")) == 1


def test_a_catalog_with_altered_wraps_gives_nothing_back_of_that_item(world: World, tmp_path: Path) -> None:
    """The wrap of another item's key does not open this one."""
    item = world.project.find("score.md")
    with closing(sqlite3.connect(world.client_db)) as db, db:
        db.execute(
            "UPDATE versions SET wrapped = (SELECT wrapped FROM versions WHERE item != ?) WHERE item = ?", (item, item)
        )
    report = world.project.export(tmp_path / "out")
    assert [fault.source for fault in report.faults] == ["rubrics/score.md"]
    assert not (tmp_path / "out/rubrics/score.md").exists()


# The directory


@pytest.fixture
def paths(world: World) -> Any:
    """Give an item a path in the catalog."""

    def give(old: str, new: str) -> None:
        with closing(sqlite3.connect(world.client_db)) as db, db:
            db.execute("UPDATE items SET source = ? WHERE source = ?", (new, old))

    return give


@pytest.mark.parametrize("path", ["../out.md", "/etc/x", "a//b", "rubrics/../../x", ".", "a\0b", "rubrics/", "x" * 300])
def test_no_path_leaves_the_directory(world: World, tmp_path: Path, paths: Any, path: str) -> None:
    """Whatever a catalog says: named as a fault, and nothing is written outside."""
    paths("rubrics/score.md", path)
    outside = set(tmp_path.iterdir())
    report = world.project.export(tmp_path / "out")
    assert [(fault.source, type(fault.error)) for fault in report.faults] == [(path, OutputError)]
    assert set(tmp_path.iterdir()) - outside == {tmp_path / "out"}
    assert report.items == 8


def test_what_is_there_is_not_touched(world: World, tmp_path: Path) -> None:
    """A directory, a file, a link, a missing parent, and no name at all: refused."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link", "missing/out", ".."):
        with pytest.raises(OutputError):
            world.project.export(tmp_path / name)
    assert (tmp_path / "file").read_text() == "x"
    assert not (tmp_path / "nowhere").exists()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """A directory of the tree that was swapped for a link, and a file of the name: refused."""
    (tmp_path / "outside").mkdir()
    with NewTree(tmp_path / "out") as made:
        made.new_file("a/x").close()
        shutil.rmtree(tmp_path / "out/a")
        (tmp_path / "out/a").symlink_to(tmp_path / "outside")
        with pytest.raises(OutputError):
            made.new_file("a/y")
        (tmp_path / "out/b").symlink_to(tmp_path / "outside/b")
        with pytest.raises(OutputError):
            made.new_file("b")
        with pytest.raises(OutputError):
            made.remove("c")
    assert list((tmp_path / "outside").iterdir()) == []


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made and swapped between two calls."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(OutputError, match="another user"):
        NewTree(tmp_path / "out")


def test_a_full_disk_leaves_whole_items_only(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way: no part of a file, no part of a row."""
    real = os.write

    def cut(descriptor: int, data: Any) -> int:
        if bytes(data).find(b'"two"') >= 0 or bytes(data).startswith(b"rubric"):
            real(descriptor, bytes(data[:10]))
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", cut)
    report = world.project.export(tmp_path / "out")
    assert sorted(fault.source for fault in report.faults) == ["rubrics/score.md", "tasks/w1.jsonl#two"]
    assert {type(fault.error) for fault in report.faults} == {OutputError}
    assert all(fault.error.__context__ is None for fault in report.faults)
    found = tree(tmp_path / "out")
    assert "rubrics/score.md" not in found
    assert [json.loads(row)["id"] for row in found["tasks/w1.jsonl"].splitlines()] == ["one", "three"]


def test_an_interrupt_leaves_no_part_of_a_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes through, and what was begun is removed."""

    class Interrupted(Between):
        def read_item(self, client: bytes, item: bytes, *rest: Any) -> ItemPart:
            raise KeyboardInterrupt

    put_between(world, monkeypatch, Interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.project.export(tmp_path / "out")
    assert tree(tmp_path / "out") == {}
