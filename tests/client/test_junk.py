"""A hundred folders of junk: sealing never crashes, gives back what it took, and names all that it did not take."""

import csv
import io
import json
import os
import random
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from labelvault.client import Project, SealReport
from labelvault.client.columns import source_place
from labelvault.client.places import FOLDERS
from labelvault.client.rows import holds_rows
from labelvault.client.settings import FILE_NAME
from labelvault.errors import LabelVaultError, ProjectError
from tests.client.test_export import tree
from tests.world import World, bytes_of

CANARY = b"junk-canary-that-nobody-reads"
TEXT = CANARY.decode()
SEALED_FOLDERS = (*FOLDERS, "tasks")
EXAMPLES = 100


@dataclass(frozen=True)
class File:
    """A regular file.

    Attributes:
        rows: how many rows it surely holds, if it is sound.
    """

    data: bytes = field(repr=False)
    rows: int | None = None
    mode: int = 0o644


@dataclass(frozen=True)
class Other:
    """What is no regular file: `symlink`, `fifo` or `folder`."""

    kind: str
    target: str = ""


# What stands in rows

WORDS = st.sampled_from(["", "x", TEXT, "\u202e\x1b[2J", "ü\u2028", "=1+1", "a" * 600, "\x00", "7", "../../etc/passwd"])
NUMBERS = st.integers(-(10**30), 10**30) | st.sampled_from([10**400, -(2**63), 0]) | st.floats(allow_nan=False)
VALUES = st.none() | st.booleans() | NUMBERS | WORDS | st.lists(WORDS, max_size=2)
# Identical ones are drawn often enough to repeat.
IDS = st.sampled_from([*range(6), "one", "two", TEXT, "", "\x1b", "x" * 501, None, 1.5, True, [1]])
PATHS = st.sampled_from(
    ["there.bin", "attachments/there.bin", "nothing", "../guidelines/a.md", "/etc/passwd", "a\x00b", 7, ["there.bin"]]
)
ROWS = st.fixed_dictionaries({"text": st.just(TEXT)}, optional={"id": IDS, "picture": PATHS, "a": VALUES, "b": VALUES})
BROKEN_LINES = st.sampled_from(
    [b"{", b"[]", b"17", b'{"a": NaN}', b'{"a": 1e999}', b"\xff\xfe", b'{"a": "\\ud800"}', b"\x00", b"[" * 5000, b"{}}"]
)


def jsonl(rows: list[dict[str, Any]], broken: list[bytes], ends: bytes) -> File:
    """Lines, sound and broken ones."""
    lines = [json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") for row in rows] + broken
    random.Random(len(lines)).shuffle(lines)
    return File(ends.join(lines), len(lines))


def listed(rows: list[dict[str, Any]], before: bytes, after: bytes) -> File:
    """A JSON list."""
    return File(before + json.dumps(rows, indent=1).encode() + after, len(rows) if not before and not after else None)


def table(rows: list[list[str]], delimiter: str, cut: int) -> File:
    """CSV or TSV, perhaps cut short."""
    target = io.StringIO()
    csv.writer(target, delimiter=delimiter).writerows([["id", "text", "picture"], *rows])
    data = target.getvalue().encode()
    return File(data[: len(data) - cut], len(rows) if not cut else None)


def columns(ids: list[int], damage: int) -> File:
    """Parquet, perhaps damaged."""
    target = io.BytesIO()
    parquet.write_table(pa.table({"id": ids, "text": [TEXT] * len(ids), "n": [[1.5]] * len(ids)}), target)
    data = bytearray(target.getvalue())
    if damage:
        data[damage % len(data)] ^= 0x55
    return File(bytes(data), None if damage else len(ids))


CELLS = st.sampled_from(["1", "2", "x", TEXT, "a\nb", 'a"b', "", "there.bin", "../x", "\u202e"])
# What stands in a column of paths is named in messages, as any path is; content is not.
PLACES = st.sampled_from(["", "there.bin", "../x", "nothing", "\u202e"])


def lines(least: int, most: int) -> st.SearchStrategy[list[str]]:
    """A row of a table: id, text, then paths."""
    return st.builds(
        lambda words, paths: [*words, *paths],
        st.lists(CELLS, min_size=2, max_size=2),
        st.lists(PLACES, min_size=least - 2, max_size=most - 2),
    )


ROW_FILES = {
    ".jsonl": st.builds(
        jsonl,
        st.lists(ROWS, max_size=6),
        st.lists(BROKEN_LINES, max_size=2),
        st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    ),
    ".json": st.builds(
        listed,
        st.lists(ROWS, max_size=4),
        st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"{", b"[", b"["]),
        st.sampled_from([b"", b"", b"]", b",", b'"', b" {}"]),
    ),
    ".csv": st.builds(table, st.lists(lines(3, 3), max_size=5), st.just(","), st.just(0)),
    ".TSV": st.builds(table, st.lists(lines(2, 4), max_size=5), st.just("\t"), st.integers(1, 9)),
}
PARQUET_FILES = st.builds(columns, st.lists(st.integers(0, 4), max_size=5), st.integers(0, 3).map(lambda n: n * 99))
BYTES = st.binary(max_size=200) | st.builds(lambda n: CANARY * n, st.sampled_from([1, 100, 3000])) | st.just(b"")
PLAIN = st.builds(File, BYTES | st.sampled_from([b"a: &a [*a]", b"<script>", b"%PDF-", b"PAR1", b"\xff\xfe\x00"]))
UNREADABLE = st.builds(File, BYTES, mode=st.just(0))
SUFFIXES = st.sampled_from(["", ".md", ".txt", ".html", ".pdf", ".docx", ".yaml", ".json", ".csv", ".bin", ".parquet"])
TARGETS = st.sampled_from(["../outside", "/etc/passwd", "there.bin", "nowhere", ".."])
KINDS = ("symlink", "fifo", "folder")


# What things are called

STEMS = st.one_of(
    st.sampled_from(
        ["a", "A", "a b", " ", "a.", "a..", "CON", "ü", "u\u0308", "\u0430", "a\u200b", "\u202egpj", "\x1b[2J", "a\nb"]
        + ["#", "%23", "a#1", "~", "-rf", "$(x)", "*", "\\", "C:\\x", ":", "x" * 240, "\udcff\udcfe", "labelvault.toml"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=8),
)
PARTS = STEMS.filter(lambda part: not part.startswith(".") and len(os.fsencode(part)) < 240)
DEEP = st.lists(PARTS, max_size=2).map("/".join) | st.just("/".join(["d" * 200] * 6))


def below(folder: str, content: st.SearchStrategy[Any], suffix: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Paths under a folder, with what is there."""
    path = st.builds(lambda deep, stem, end: "/".join(filter(None, [folder, deep, stem + end])), DEEP, PARTS, suffix)
    return st.tuples(path, content)


ENTRIES = st.one_of(
    *(below(folder, PLAIN | UNREADABLE, SUFFIXES) for folder in FOLDERS),
    *(below("tasks", content, st.just(suffix)) for suffix, content in ROW_FILES.items() for _ in range(2)),
    below("tasks", PLAIN, st.sampled_from([".md", ".png", ".zip", ""])),
)
# Each folder gets one of what is no file; which kind, its number says.
STRANGERS = st.one_of(*(below(folder, TARGETS, SUFFIXES) for folder in SEALED_FOLDERS))
SETTINGS = st.sampled_from(
    [None, None, "", '[tasks]\nattachments = ["picture"]\n', '[tasks]\nattachments = ["picture"]\nlabels = ["a"]\n']
    + ['[tasks]\nbatch = "a"\nrequires = []\n', '[tasks]\nid = "id"\n', '[requires]\n"guidelines/a" = ["rubrics/a"]\n']
    + ['[requires]\n"guidelines/a.md" = ["guidelines/a.md"]\n', "[project]\nfloor_bytes = 256\n"]
    + [
        "junk",
        "a = 1",
        "[tasks]\nid = 7\n",
        "x = " + "9" * 5000,
        "\x00",
        "[project]\nfloor_bytes = 0\n",
        "[[[",
        "é = 1",
    ]
)


def build(folder: Path, entries: list[tuple[str, Any]], toml: str | None) -> dict[str, File | Other]:
    """Make a folder, and say what is really in it: names may collide, or be refused by the file system."""
    folder.mkdir()
    (folder.parent / "outside").write_bytes(CANARY)
    made: dict[str, File | Other] = {}
    for path, what in [("attachments/there.bin", File(CANARY)), *entries]:
        target = Path(os.fsdecode(os.fsencode(folder)) + "/" + path)
        # A folder of that name, a file above it, a name too long.
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                continue
            if isinstance(what, File):
                target.write_bytes(what.data)
                target.chmod(what.mode)
            elif what.kind == "symlink":
                target.symlink_to(what.target)
            elif what.kind == "fifo":
                os.mkfifo(target)
            else:
                target.mkdir()
            made[path] = what
    if toml is not None:
        (folder / FILE_NAME).write_text(toml)
    return made


def told(path: str) -> str:
    """A path as faults name it: what is not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sealed(project: Project, source: Path) -> SealReport | None:
    """Seal; None if the folder can't be used at all, which a bad labelvault.toml alone may cause."""
    found: SealReport | ProjectError
    try:
        found = project.seal(source)
    except ProjectError as error:
        found = error
    if isinstance(found, SealReport):
        return found
    assert found.file == FILE_NAME
    assert project.items() == []
    (source / FILE_NAME).unlink()
    return None


def check_nothing_is_lost(
    project: Project, made: dict[str, File | Other], report: SealReport, out: Path, totals: Counter[str]
) -> None:
    """Each file, and each row, was given back as it is, or is among the errors."""
    assert not project.export(out).faults
    found = tree(out)
    faults: dict[str | None, list[ProjectError]] = {}
    for error in report.errors:
        assert TEXT not in str(error).removeprefix(error.file or "")
        faults.setdefault(error.file, []).append(error)
    per_file = Counter(
        source_place(kind, str(source))
        for kind, source in project._client.database.rows(
            "SELECT kind, source FROM items WHERE project = ?", project.project_id
        )
    )
    assert sum(per_file.values()) == report.new == len(project.items())
    for path, what in made.items():
        errors = faults.get(told(path), [])
        if isinstance(what, Other):
            # An empty folder is nothing; everything else is no file, and told.
            assert bool(errors) is (what.kind != "folder"), path
            totals[what.kind] += 1
        elif path.startswith("tasks/") and holds_rows(path):
            rows = per_file[path, True]
            in_rows = [error for error in errors if error.line is not None]
            if what.rows is not None and len(in_rows) == len(errors):
                assert rows + len(in_rows) == what.rows, (path, errors)
            if path.endswith(".jsonl"):
                check_lines(what.data, found.get(path, b""), {error.line for error in in_rows}, whole=not errors)
            totals["rows"] += rows
            totals["bad rows"] += len(errors)
        else:
            assert (path in found) is not bool(errors), path
            assert errors or found[path] == what.data
            totals["bad files" if errors else "files"] += 1
            if what.mode == 0 and os.geteuid() != 0:
                # Root reads whatever the permission bits say.
                assert errors


def check_lines(data: bytes, given_back: bytes, bad: set[int | None], *, whole: bool) -> None:
    """Lines that are not among the faults came back as they were."""
    lines = dict(enumerate(data.split(b"\n"), 1))
    good = sorted(line.strip() for number, line in lines.items() if line.strip() and number not in bad)
    if given_back or whole:
        assert sorted(given_back.split(b"\n")[:-1]) == good


def test_a_hundred_folders_of_junk_lose_nothing(world: World, tmp_path: Path) -> None:
    """Each file is given back or told with its name; a second run seals nothing; the vendor can read nothing."""
    totals: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(ENTRIES, min_size=2, max_size=12),
        STRANGERS,
        SETTINGS,
        st.none() | st.none() | st.none() | below("tasks", PARQUET_FILES, st.just(".parquet")),
    )
    def junk(
        entries: list[tuple[str, Any]],
        stranger: tuple[str, str],
        toml: str | None,
        columns: tuple[str, Any] | None,
    ) -> None:
        totals["folders"] += 1
        kind = KINDS[totals["folders"] % len(KINDS)]
        strange = (stranger[0], Other(kind, stranger[1] if kind == "symlink" else ""))
        place = tmp_path / str(totals["folders"])
        place.mkdir()
        source = place / "source"
        made = build(source, [strange, *entries, *([columns] if columns else [])], toml)
        project = world.lab.create_project(f"junk {totals['folders']}", floor_bytes=256)
        report = sealed(project, source)
        if report is None:
            totals["bad settings"] += 1
            report = sealed(project, source)
        assert report is not None
        assert (report.changed, report.same, report.gone) == (0, 0, 0)
        check_nothing_is_lost(project, made, report, place / "out", totals)
        plan = project.plan(source)
        again = project.seal(source)
        assert (again.new, again.changed, again.same, again.gone) == (0, 0, report.new, 0)
        assert (plan.new, plan.changed, plan.same) == ((), (), report.new)
        assert sorted(map(str, again.errors)) == sorted(map(str, report.errors)) == sorted(map(str, plan.errors))

    junk()
    world.lab.verify_ledger()
    held = bytes_of(world.folder / "vendor")
    assert CANARY[:12] not in held
    assert b"there.bin" not in held
    # The junk was what it was meant to be.
    assert totals["folders"] == EXAMPLES
    for what in ("files", "bad files", "rows", "bad rows", "bad settings", "symlink", "fifo", "folder"):
        assert totals[what] >= 10, totals


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_of_rows_that_changes_while_it_is_read_costs_itself_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Longer, or with another time: reported with its name, and nothing of it is sealed half."""
    path = world.source / "tasks/w1.jsonl"
    true = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = true(descriptor)
        if stat.S_ISREG(found.st_mode) and os.path.samestat(found, path.stat()):
            with path.open("ab") as stream:
                stream.write(b'{"id": "late"}\n')
        return found if when == "before" else true(descriptor)

    monkeypatch.setattr(os, "fstat", growing)
    report = world.project.seal(world.source)
    monkeypatch.undo()
    assert [str(error) for error in report.errors] == [
        "tasks/w1.jsonl: changed while it was read; seal again when it is at rest"
    ]
    assert (report.new, report.changed, report.gone) == (0, 0, 0)


def test_oversized_rows_are_told_with_file_and_line(world: World, tmp_path: Path) -> None:
    """An id, a label, a list of paths, a row of Parquet: each costs its row, and every error is LabelVault's."""
    cases: list[dict[str, Any]] = [
        {"id": "x" * 501},
        {"id": "a", "picture": ["picture.png"] * 256},
        {"id": "b", "n": 10**4500},
        {"id": "c"},
    ]
    with pytest.raises(ValueError, match="4300 digits"):
        json.dumps(cases[2])
    lines = [json.dumps(each) if each["id"] != "b" else '{"id": "b", "n": ' + "9" * 4500 + "}" for each in cases]
    (world.source / "tasks/w9.jsonl").write_text("\n".join(lines))
    report = world.project.seal(world.source)
    assert [(error.file, error.line) for error in report.errors] == [("tasks/w9.jsonl", line) for line in (1, 2, 3)]
    assert all(isinstance(error, LabelVaultError) for error in report.errors)
    assert report.new == 1
