"""Reading a project folder: every fault with its file and line, and nothing else lost by it."""

import json
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import importing, rowfiles
from labelvault.client.importing import ProjectFolder, SourceItem
from labelvault.errors import ProjectError
from tests.world import TASK, rows, write_file, write_project

GOOD = 9


def read(folder: Path) -> tuple[dict[str, SourceItem], list[tuple[str | None, int | None]]]:
    """Items by source, and the faults' places."""
    source = ProjectFolder(folder)
    items = {item.source: item for item in source.items()}
    return items, [(error.file, error.line) for error in source.errors]


def messages(folder: Path) -> list[str]:
    source = ProjectFolder(folder)
    list(source.items())
    return [str(error) for error in source.errors]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder without faults."""
    made = write_project(tmp_path / "project")
    assert len(read(made)[0]) == GOOD
    return made


GOOD_ROW = json.dumps({"id": "good", "prompt": "x"})
BAD_ROWS: dict[str, bytes] = {
    "bad JSON": b'{"id": "x", ',
    "trailing comma": b'{"id": "x",}',
    "not UTF-8": b'{"id": "x", "prompt": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"id": "x"}',
    "a list": b'["id", "x"]',
    "a number": b"17",
    "null": b"null",
    "deep nesting": b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of too many digits": b'{"id": "x", "n": ' + b"1" * 5000 + b"}",
    "an id that is a list": b'{"id": ["x"]}',
    "an id that is an object": b'{"id": {}}',
    "an empty id": b'{"id": ""}',
    "an id that is too long": json.dumps({"id": "x" * 501}).encode(),
    "NaN": b'{"id": "x", "n": NaN}',
    "an infinity": b'{"id": "x", "n": -Infinity}',
    "a number beyond doubles": b'{"id": "x", "n": 1e999}',
    "a lone surrogate": b'{"id": "x", "prompt": "\\udfff"}',
    "an id with a lone surrogate": b'{"id": "\\ud800"}',
    "the id of another row": GOOD_ROW.encode(),
    "traversal": b'{"id": "x", "picture": "../guidelines/how.md"}',
    "deep traversal": b'{"id": "x", "picture": "../../../../etc/passwd"}',
    "an absolute path": b'{"id": "x", "picture": "/etc/passwd"}',
    "a file that is not there": b'{"id": "x", "picture": "nothing.png"}',
    "gold as an attachment": b'{"id": "x", "picture": "../gold/answers.jsonl"}',
    "a path with NUL": b'{"id": "x", "picture": "a\\u0000b"}',
    "a path that is a number": b'{"id": "x", "picture": 3}',
    "paths that are numbers": b'{"id": "x", "picture": [1, 2]}',
    "too many paths": json.dumps({"id": "x", "picture": ["p"] * 300}).encode(),
    "a path with a lone surrogate": b'{"id": "x", "picture": "\\ud800"}',
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_reported_with_file_and_line_and_nothing_else_is_lost(folder: Path, name: str) -> None:
    """Between two good rows, both of which are read; the message never quotes the row."""
    lines = [GOOD_ROW.encode(), b"", BAD_ROWS[name], json.dumps({"id": "after"}).encode()]
    write_file(folder, "tasks/w3.jsonl", b"\n".join(lines))
    items, faults = read(folder)
    assert faults == [("tasks/w3.jsonl", 3)]
    assert len(items) == GOOD + 2
    assert {"tasks/w3.jsonl#good", "tasks/w3.jsonl#after"} <= items.keys()
    (message,) = messages(folder)
    assert message.startswith("tasks/w3.jsonl:3: ")
    assert len(message) < 2000


def test_a_fault_does_not_quote_the_row(folder: Path) -> None:
    """What a parser says of a row may hold its text; only positions are passed on."""
    write_file(folder, "tasks/w3.jsonl", b'{"id": "x", "secret words of the task": }\n{"a": "\xff secret"}')
    text = " ".join(messages(folder))
    assert "secret" not in text
    assert "column" in text
    source = ProjectFolder(folder)
    list(source.items())
    for error in source.errors:
        assert "secret" not in repr(error) + repr(error.__cause__)
        assert (
            error.__suppress_context__ or error.__context__ is None or isinstance(error.__cause__, UnicodeDecodeError)
        )


def test_rows_without_an_id_are_named_by_their_content(folder: Path) -> None:
    """Unless a column is declared: then a row without it is a fault."""
    write_file(folder, "tasks/w3.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "a"}\n{"uid": 7}\n')
    items, faults = read(folder)
    assert faults == [("tasks/w3.jsonl", 3)]
    assert len(items) == GOOD + 3
    assert items["tasks/w3.jsonl#7"].name == "7"
    write_file(folder, "labelvault.toml", '[tasks]\nid = "prompt"\n')
    assert read(folder)[1] == [("tasks/w3.jsonl", 3), ("tasks/w3.jsonl", 4)]


def test_declared_columns_must_be_there(folder: Path) -> None:
    """Batch and id are required of every row; labels and attachments are not."""
    write_file(folder, "labelvault.toml", '[tasks]\nbatch = "week"\nlabels = ["tone"]\n')
    long = json.dumps({"id": "c", "week": "1", "tone": "x" * 1001})
    mixed = f'{{"id": "a", "week": "1"}}\n{{"id": "b"}}\n{long}\n{{"id": "d", "week": 2, "tone": true}}\n'
    (folder / "tasks" / "w2.jsonl").unlink()
    write_file(folder, "tasks/w1.jsonl", mixed)
    items, faults = read(folder)
    assert faults == [("tasks/w1.jsonl", 2), ("tasks/w1.jsonl", 3)]
    assert items["tasks/w1.jsonl#d"].batch == "2"
    assert [(label.name, label.value) for label in items["tasks/w1.jsonl#d"].labels] == [("tone", "true")]


def test_a_file_among_the_tasks_is_one_task_as_it_is(folder: Path) -> None:
    """By its suffix; its folder is its batch; it requires what tasks require; others are told of."""
    write_file(folder, "tasks/notes.txt", "x")
    write_file(folder, "tasks/week-3/deep/a#1.HTML", "<p>")
    write_file(folder, "tasks/week-3/scan.pdf", b"%PDF")
    for name in ("w1.jsonl.bak", "sheet.xlsx", "archive.zip", "nosuffix"):
        write_file(folder, f"tasks/{name}", "x")
    items, faults = read(folder)
    assert sorted(str(file) for file, _ in faults) == [
        "tasks/archive.zip",
        "tasks/nosuffix",
        "tasks/sheet.xlsx",
        "tasks/w1.jsonl.bak",
    ]
    assert len(items) == GOOD + 3
    found = {item.name: item for item in items.values()}
    note, page, scan = found["notes.txt"], found["week-3/deep/a#1.HTML"], found["week-3/scan.pdf"]
    assert (note.kind, note.batch, note.media_type, note.content) == ("task", "tasks", "text/plain", b"x")
    assert (page.batch, page.media_type, page.source) == ("week-3/deep", "text/html", "tasks/week-3/deep/a%231.HTML")
    assert (scan.batch, scan.media_type) == ("week-3", "application/pdf")
    assert {each.requires for each in (note, page, scan)} == {("guidelines/how.md",)}


def test_a_task_file_of_too_long_a_path_or_with_missing_requirements_is_reported(folder: Path) -> None:
    """By name; the rest is read."""
    long = "tasks/" + "/".join(["d" * 100] * 5) + "/x.md"
    write_file(folder, long, "x")
    assert read(folder)[1] == [(long, None)]
    (folder / long).unlink()
    write_file(folder, "tasks/a.md", "x")
    write_file(folder, "labelvault.toml", "[tasks]\nrequires = ['nothing.md']\n")
    assert ("tasks/a.md", None) in read(folder)[1]


def test_a_file_and_a_row_never_share_a_source(folder: Path) -> None:
    """A file whose name looks like a row of another file stays another item."""
    write_file(folder, "tasks/w3.jsonl", '{"id": "x.md"}\n')
    write_file(folder, "tasks/w3.jsonl#x.md", "x")
    items, faults = read(folder)
    assert faults == []
    assert {"tasks/w3.jsonl#x.md", "tasks/w3.jsonl%23x.md"} <= items.keys()


def test_columns_are_looked_up_in_data_too(folder: Path) -> None:
    """As Label Studio writes rows: the row's own column counts first, then that of `data`."""
    (folder / "tasks" / "w2.jsonl").unlink()
    settings = '[tasks]\nlabels = ["tone"]\nbatch = "week"\nattachments = ["picture"]\n'
    write_file(folder, "labelvault.toml", settings)
    tasks = [
        {"id": 7, "data": {"id": "inner", "week": "1", "tone": "dry", "picture": "picture.png"}},
        {"data": {"uid": "u", "week": 2, "picture": ""}, "annotations": []},
        {"id": 9, "week": "1", "data": ["no object"]},
        {"id": 10, "data": {}},
    ]
    (folder / "tasks" / "w1.jsonl").unlink()
    write_file(folder, "tasks/export.json", json.dumps(tasks, indent=2))
    items, faults = read(folder)
    assert [file for file, _ in faults] == ["tasks/export.json"]
    first, second = items["tasks/export.json#7"], items["tasks/export.json#u"]
    assert (first.batch, first.labels[0].value) == ("1", "dry")
    assert "attachments/picture.png" in first.requires
    assert (second.batch, second.labels) == ("2", ())
    assert items["tasks/export.json#9"].batch == "1"
    assert json.loads(first.content) == tasks[0]


def test_tables_are_read_with_columns_that_name_things(folder: Path) -> None:
    """Id, batch and attachments out of a table's columns; an empty cell names no attachment."""
    write_file(folder, "labelvault.toml", '[tasks]\nattachments = ["picture"]\n')
    write_file(folder, "tasks/w8.csv", "id,picture,prompt\r\na,picture.png,hello\r\nb,,\r\n,,no id\r\na,,again\r\n")
    items, faults = read(folder)
    assert faults == [("tasks/w8.csv", 4), ("tasks/w8.csv", 5)]
    assert items["tasks/w8.csv#a"].requires == ("guidelines/how.md", "attachments/picture.png")
    assert items["tasks/w8.csv#b"].content == b'{"id":"b","picture":"","prompt":""}'
    assert items["tasks/w8.csv#b"].batch == "w8"


# Files


def test_links_and_special_files_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """A symlink to a file, to a folder, a dangling one, a FIFO and a socket: each reported, none read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (folder / "guidelines" / "link.md").symlink_to(outside / "secret.md")
    (folder / "guidelines" / "folder").symlink_to(outside)
    (folder / "rubrics" / "dangling.md").symlink_to(outside / "nothing")
    os.mkfifo(folder / "attachments" / "pipe")
    os.mknod(folder / "gold" / "socket", stat.S_IFSOCK | 0o600)
    (folder / "tasks" / "w9.jsonl").symlink_to(folder / "tasks" / "w1.jsonl")
    items, faults = read(folder)
    assert sorted(str(file) for file, _ in faults) == [
        "attachments/pipe",
        "gold/socket",
        "guidelines/folder",
        "guidelines/link.md",
        "rubrics/dangling.md",
        "tasks/w9.jsonl",
    ]
    assert len(items) == GOOD
    assert not [item for item in items.values() if b"secret" in item.content]


def test_a_folder_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Also one of the five."""
    (folder / "rubrics").rename(tmp_path / "elsewhere")
    (folder / "rubrics").symlink_to(tmp_path / "elsewhere")
    items, faults = read(folder)
    assert faults == [("rubrics", None)]
    assert len(items) == GOOD - 1


def test_a_file_that_becomes_a_link_or_a_pipe_meanwhile_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """What was a file when it was listed is opened without following and without waiting."""
    (tmp_path / "secret").write_text("secret")
    source = ProjectFolder(folder)
    (folder / "guidelines" / "how.md").unlink()
    (folder / "guidelines" / "how.md").symlink_to(tmp_path / "secret")
    (folder / "rubrics" / "score.md").unlink()
    os.mkfifo(folder / "rubrics" / "score.md")
    items = list(source.items())
    assert {error.file for error in source.errors} >= {"guidelines/how.md", "rubrics/score.md"}
    assert not [item for item in items if b"secret" in item.content]


def test_an_oversized_file_is_refused_unread(folder: Path) -> None:
    """One byte over 64 GiB, or a table over 64 MiB, sparse: told with its size; the rest is read."""
    with (folder / "attachments" / "big.bin").open("wb") as stream:
        stream.truncate(64 * 1024**3 + 1)
    with (folder / "tasks" / "big.csv").open("wb") as stream:
        stream.truncate(1 << 33)
    with (folder / "tasks" / "big.jsonl").open("wb") as stream:
        stream.truncate(64 * 1024**3 + 1)
    items, faults = read(folder)
    assert sorted(faults) == [("attachments/big.bin", None), ("tasks/big.csv", None), ("tasks/big.jsonl", None)]
    assert len(items) == GOOD
    bounds = dict(zip([file for file, _ in faults], messages(folder), strict=True))
    assert "64 GiB" in bounds["attachments/big.bin"]
    assert "64 MiB" in bounds["tasks/big.csv"]
    assert "64 GiB" in bounds["tasks/big.jsonl"]


@pytest.mark.parametrize("bound", [40, 10**9])
def test_long_jsonl_is_read_in_pieces_and_as_any_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    """The same rows and faults, whether the file is above the bound of one reading or below it."""
    lines = [b'{"id": 1}', b"", b'  {"id": 2, "n": 1.50} \r', b"broken", b'{"id": 1}', b'{"id": 3}']
    (folder / "tasks" / "w9.jsonl").write_bytes(b"\n".join(lines))
    for module in (importing, rowfiles):
        monkeypatch.setattr(module, "MAX_CONTENT_BYTES", bound)
    (folder / "attachments" / "picture.png").write_bytes(b"x")
    (folder / "tasks" / "w1.jsonl").unlink()
    (folder / "tasks" / "w2.jsonl").unlink()
    (folder / "guidelines" / "how.md").write_bytes(b"x")
    (folder / "rubrics" / "score.md").write_bytes(b"x")
    (folder / "gold" / "answers.jsonl").write_bytes(b"x")
    (folder / "labelvault.toml").unlink()
    items, faults = read(folder)
    found = {source: item.content for source, item in items.items() if item.kind == "task"}
    assert found == {
        "tasks/w9.jsonl#1": b'{"id": 1}',
        "tasks/w9.jsonl#2": b'{"id": 2, "n": 1.50}',
        "tasks/w9.jsonl#3": b'{"id": 3}',
    }
    assert faults == [("tasks/w9.jsonl", 4), ("tasks/w9.jsonl", 5)]


def test_a_row_beyond_the_bound_costs_itself_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than what one item holds, many times over, and at the very end: told with its line; others are read."""
    monkeypatch.setattr(rowfiles, "MAX_CONTENT_BYTES", 40)
    path = folder / "tasks" / "w9.jsonl"
    row = b'{"id": "' + b"x" * 30 + b'"}'
    assert len(row) == 40
    for end in (b"\n", b""):
        path.write_bytes(b"\n".join([row, b"y" * 41, b"y" * 400, b'{"id": 2}', b"y" * 80]) + end)
        found = list(rowfiles.long_jsonl(path, "tasks/w9.jsonl"))
        assert [each for each in found if isinstance(each[1], bytes)] == [(1, row), (4, b'{"id": 2}')]
        assert [number for number, each in found if isinstance(each, ProjectError)] == [2, 3, 5]
        assert all("64 MiB" in str(each) for _, each in found if isinstance(each, ProjectError))


def test_a_jsonl_of_100_mib_is_sealed_in_bounded_memory(folder: Path) -> None:
    """Row by row; only what names them is kept."""
    with (folder / "tasks" / "w9.jsonl").open("wb") as stream:
        for number in range(100):
            stream.write(json.dumps({"id": number, "text": "x" * 1024 * 1024}).encode() + b"\n")
    tracemalloc.start()
    count = sum(1 for _ in ProjectFolder(folder).items())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == GOOD + 100
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".md"])
def test_a_task_file_that_is_gone_or_has_no_name_in_utf8_is_reported(folder: Path, suffix: str) -> None:
    """Whatever form it has; the rest is read."""
    Path(os.fsdecode(os.fsencode(folder / "tasks") + b"/\xff" + suffix.encode())).write_bytes(b"x")
    (folder / "tasks" / f"gone{suffix}").write_bytes(b"x")
    source = ProjectFolder(folder)
    (folder / "tasks" / f"gone{suffix}").unlink()
    assert len(list(source.items())) == GOOD
    assert [error.file for error in source.errors] == [f"tasks/\\xff{suffix}", f"tasks/gone{suffix}"]
    assert all("can't be read" in str(error) for error in source.errors)


def test_a_file_that_can_not_be_read_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission: told by name; the rest is read."""
    real = os.open

    def refusing(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(path).endswith(("score.md", "w2.jsonl")):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    items, faults = read(folder)
    assert sorted(faults) == [("rubrics/score.md", None), ("tasks/w2.jsonl", None)]
    assert len(items) == GOOD - 3


def test_a_folder_that_can_not_be_listed_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission on a folder: its files are not silently left out."""
    real = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("rubrics"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert read(folder)[1] == [("rubrics", None)]


@pytest.mark.parametrize("change", ["grows", "shrinks", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    folder: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half old, half new would be sealed as if someone had written it."""
    path, real, seen = folder / "rubrics" / "score.md", os.fstat, []
    inode = path.stat().st_ino

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if found.st_ino == inode:
            seen.append(found)
            if len(seen) == 2:  # opened and looked at; not yet read
                text = path.read_text()
                path.write_text({"grows": text + "!", "shrinks": text[:-1], "rewritten": text.upper()}[change])
                os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    items, faults = read(folder)
    assert faults == [("rubrics/score.md", None)]
    assert len(items) == GOOD - 1


def test_names_that_are_not_utf8_are_reported(folder: Path) -> None:
    """Shown with escapes; nothing else is lost."""
    with open(os.fsencode(folder / "guidelines") + b"/\xff.md", "wb") as stream:
        stream.write(b"x")
    _, faults = read(folder)
    assert ("guidelines/\\xff.md", None) in faults


def test_hidden_files_and_other_folders_are_left_out(folder: Path) -> None:
    """Editors' files and whatever else lies around are no items."""
    write_file(folder, "guidelines/.how.md.swp", "x")
    write_file(folder, "guidelines/.git/config", "x")
    write_file(folder, "notes/todo.md", "x")
    assert len(read(folder)[0]) == GOOD


def test_subfolders_are_read(folder: Path) -> None:
    """An item's name is its path below its folder."""
    write_file(folder, "guidelines/deep/er/x.md", "x")
    assert read(folder)[0]["guidelines/deep/er/x.md"].name == "deep/er/x.md"


# labelvault.toml


BAD_SETTINGS = {
    "not TOML": "[tasks",
    "unknown setting": "[tasks]\nids = 'x'\n",
    "unknown table": "[task]\nid = 'x'\n",
    "a number for a column": "[tasks]\nid = 3\n",
    "an empty column": "[tasks]\nid = ''\n",
    "a text for a list": "[tasks]\nlabels = 'x'\n",
    "a floor too small": "[project]\nfloor_bytes = 16\n",
    "a floor too big": "[project]\nfloor_bytes = 99999999\n",
    "a floor as text": "[project]\nfloor_bytes = '4096'\n",
    "requires as text": "[requires]\n'rubrics/score.md' = 'guidelines/how.md'\n",
    "deep nesting": "a = " + "[" * 100_000,
    "too many labels": f"[tasks]\nlabels = {['x'] * 65!r}\n",
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_stop_the_run_by_name(folder: Path, name: str) -> None:
    """Unknown or wrong settings are never guessed at; the file is named."""
    write_file(folder, "labelvault.toml", BAD_SETTINGS[name])
    with pytest.raises(ProjectError) as caught:
        ProjectFolder(folder)
    assert caught.value.file == "labelvault.toml"


def test_settings_that_are_no_file_stop_the_run(folder: Path, tmp_path: Path) -> None:
    """Not UTF-8, a link, a dangling link, a folder: never taken for absent, which would mean the defaults."""
    path = folder / "labelvault.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ProjectError, match="UTF-8"):
        ProjectFolder(folder)
    path.unlink()
    (tmp_path / "true.toml").write_text("")
    for target in ("true.toml", "nothing.toml"):
        path.symlink_to(tmp_path / target)
        with pytest.raises(ProjectError):
            ProjectFolder(folder)
        path.unlink()
    path.mkdir()
    with pytest.raises(ProjectError):
        ProjectFolder(folder)


@pytest.mark.parametrize("wanted", ["gold/answers.jsonl", "tasks/w1.jsonl", "../x", "/etc/passwd", "nothing.md", "."])
def test_nothing_but_this_folders_files_can_be_required(folder: Path, wanted: str) -> None:
    """Gold, tasks, traversal, absolute and absent: by tasks, by a row's column, and by a file."""
    write_file(folder, "labelvault.toml", f"[tasks]\nrequires = [{wanted!r}]\n")
    items, faults = read(folder)
    assert faults == [("tasks/w1.jsonl", n) for n in (1, 2, 3)] + [("tasks/w2.jsonl", n) for n in (1, 2)]
    assert len(items) == GOOD - 5
    write_file(folder, "labelvault.toml", "[tasks]\nrequires_column = 'needs'\n")
    write_file(folder, "tasks/w1.jsonl", rows("one", needs=[wanted]) + rows("two", needs="rubrics/score.md"))
    items, faults = read(folder)
    assert faults == [("tasks/w1.jsonl", 1)]
    assert items["tasks/w1.jsonl#two"].requires == ("guidelines/how.md", "rubrics/score.md")
    write_file(folder, "labelvault.toml", f"[requires]\n'rubrics/score.md' = [{wanted!r}]\n")
    items, faults = read(folder)
    assert faults == [("labelvault.toml", None)]
    assert "rubrics/score.md" not in items


def test_files_that_require_each_other_or_too_deep_are_reported(folder: Path) -> None:
    """A circle, oneself, and a chain that is one too long; one that just fits is taken."""
    for name in "abcd":
        write_file(folder, f"rubrics/{name}.md", name)

    def settings(**chains: str) -> None:
        table = "".join(f"'rubrics/{name}.md' = ['rubrics/{below}.md']\n" for name, below in chains.items())
        write_file(folder, "labelvault.toml", f"[requires]\n{table}")

    settings(a="b", b="c")
    assert read(folder)[1] == []
    settings(a="b", b="c", c="d")
    assert [file for file, _ in read(folder)[1]] == ["labelvault.toml"]
    settings(a="a")
    assert [file for file, _ in read(folder)[1]] == ["labelvault.toml"]
    settings(a="b", b="a")
    items, faults = read(folder)
    assert {file for file, _ in faults} == {"labelvault.toml"}
    assert "rubrics/c.md" in items
    write_file(folder, "labelvault.toml", "[requires]\n'rubrics/nothing.md' = []\n")
    assert read(folder)[1] == [("labelvault.toml", None)]


def test_what_others_require_comes_first(folder: Path) -> None:
    """So that its id is known when it is named."""
    write_file(folder, "rubrics/a.md", "a")
    write_file(folder, "labelvault.toml", "[requires]\n'guidelines/how.md' = ['rubrics/a.md']\n")
    order = [item.source for item in ProjectFolder(folder).items()]
    assert order.index("rubrics/a.md") < order.index("guidelines/how.md") < order.index("tasks/w1.jsonl#one")


def test_an_item_does_not_show_its_content(folder: Path) -> None:
    """Repr of what was read holds no content."""
    items, _ = read(folder)
    assert TASK not in repr([item for item in items.values() if item.kind == "task"])


def test_a_row_that_only_shares_a_hash_is_no_repeated_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hashes say nothing at all, each row is read, once, and true repetitions are still told with both lines."""
    monkeypatch.setattr(importing, "_MARK", 0)
    ids = ("1}", "2}", '"x"', "1}", "3}", "2}", "1}")
    write_file(folder, "tasks/w3.jsonl", "".join(f'{{"id": {each}\n' for each in ids))
    source = ProjectFolder(folder)
    found = [item.source for item in source.items() if item.source.startswith("tasks/w3")]
    assert found == [f"tasks/w3.jsonl#{number}" for number in (1, 2, 3)]
    assert [str(error) for error in source.errors if error.file == "tasks/w3.jsonl"] == [
        "tasks/w3.jsonl:3: not valid JSON at column 11",
        "tasks/w3.jsonl:4: the id of line 1 again",
        "tasks/w3.jsonl:6: the id of line 2 again",
        "tasks/w3.jsonl:7: the id of line 1 again",
    ]
