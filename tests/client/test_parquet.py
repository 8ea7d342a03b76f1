"""Tasks from Parquet: one a row, values as JSON, decoded in a process of its own that may fail alone."""

import datetime
import decimal
import importlib.util
import io
import json
import os
import random
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from labelvault.client import parquet_child
from labelvault.client.parquet import parquet_rows
from labelvault.client.rows import MAX_COLUMNS
from labelvault.envelope.metadata import MAX_STREAM_BYTES
from labelvault.errors import ProjectError
from tests.client.test_large import summary
from tests.world import World, counts, write_file

Found = list[tuple[int, Any]]


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """Write a table."""
    parquet.write_table(pa.table(columns), path, **options)
    return path


def read(path: Path) -> Found:
    """Rows by number, parsed; faults as their messages."""
    found: Found = []
    for number, row in parquet_rows(path, "tasks/t.parquet"):
        found.append((number, str(row) if isinstance(row, ProjectError) else json.loads(row)))
    return found


def values(tmp_path: Path, values: list[Any], kind: Any = None) -> list[Any]:
    """What becomes of a column's values."""
    found = read(written(tmp_path / "t.parquet", {"v": pa.array(values, kind)}))
    return [row["v"] if isinstance(row, dict) else row for _, row in found]


DECIMAL = decimal.Decimal
FORMS: dict[str, tuple[list[Any], Any, list[Any]]] = {
    "booleans": ([True, None], pa.bool_(), [True, None]),
    "integers": ([2**63 - 1, -(2**63)], pa.int64(), [2**63 - 1, -(2**63)]),
    "unsigned": ([2**64 - 1], pa.uint64(), [2**64 - 1]),
    "doubles": ([0.1, 1e300, -0.0], pa.float64(), [0.1, 1e300, -0.0]),
    "floats": ([0.5, 0.1], pa.float32(), [0.5, 0.10000000149011612]),
    "halves": ([1.5], pa.float16(), [1.5]),
    "texts": (["a", "ü\n\x00", "", None], pa.string(), ["a", "ü\n\x00", "", None]),
    "large texts": (["a"], pa.large_string(), ["a"]),
    "text views": (["a"], pa.string_view(), ["a"]),
    "bytes": ([b"\x00\xff", b""], pa.binary(), ["AP8=", ""]),
    "large bytes": ([b"\x00"], pa.large_binary(), ["AA=="]),
    "fixed bytes": ([b"\x00\x01"], pa.binary(2), ["AAE="]),
    "decimals": ([DECIMAL("12.50"), DECIMAL("-0.00")], pa.decimal128(38, 2), ["12.50", "0.00"]),
    "long decimals": ([DECIMAL(9**70)], pa.decimal256(76, 0), [str(9**70)]),
    "dates": ([datetime.date(2026, 2, 28), datetime.date(1, 1, 1)], pa.date32(), ["2026-02-28", "0001-01-01"]),
    "seconds": ([-1], pa.timestamp("ms"), ["1969-12-31T23:59:59.999"]),
    "nanoseconds": ([1], pa.timestamp("ns"), ["1970-01-01T00:00:00.000000001"]),
    "zoned": ([0], pa.timestamp("us", tz="Europe/Berlin"), ["1970-01-01T00:00:00.000000Z"]),
    "times": ([1, 86_399_999], pa.time32("ms"), ["00:00:00.001", "23:59:59.999"]),
    "lists": ([[1, None], [], None], pa.list_(pa.int8()), [[1, None], [], None]),
    "large lists": ([[1]], pa.large_list(pa.int8()), [[1]]),
    "fixed lists": ([[1, 2]], pa.list_(pa.int8(), 2), [[1, 2]]),
    "structs": (
        [{"x": [{"y": DECIMAL("1.0")}]}, {"x": None}, None],
        pa.struct([("x", pa.list_(pa.struct([("y", pa.decimal128(5, 1))])))]),
        [{"x": [{"y": "1.0"}]}, {"x": None}, None],
    ),
    "maps": ([[("k", b"\x00")], []], pa.map_(pa.string(), pa.binary()), [{"k": "AA=="}, {}]),
    "dictionaries": (["a", "b", None], pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
    "nothing": ([None], pa.null(), [None]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_type_has_one_form(tmp_path: Path, form: str) -> None:
    """As docs/cli.md says; null is null everywhere."""
    given, kind, expected = FORMS[form]
    assert values(tmp_path, given, kind) == expected


def test_uuids_are_texts(tmp_path: Path) -> None:
    """In their common form."""
    one = uuid.UUID(int=1)
    assert values(tmp_path, [one.bytes], pa.uuid()) == [str(one)]


REFUSED: dict[str, tuple[list[Any], Any, str]] = {
    "NaN": ([1.0, float("nan"), 2.0], pa.float64(), "NaN"),
    "an infinity": ([1.0, float("inf"), 2.0], pa.float32(), "infinity"),
    "an infinity inside": ([[1.0], [float("-inf")], [2.0]], pa.list_(pa.float64()), "infinity"),
    "a key twice": ([[], [("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int8()), "key twice"),
    "a year that no date has": ([0, 2**62, 1], pa.timestamp("ms"), "years"),
    "a day that no date has": ([0, 2**31 - 1, 1], pa.date32(), "years"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_value_without_a_form_costs_its_row_alone(tmp_path: Path, case: str) -> None:
    """Reported with file and row; those around it are read."""
    given, kind, message = REFUSED[case]
    array = pa.array(given, kind) if kind != pa.date32() else pa.array(given, pa.int32()).cast(pa.date32())
    found = read(written(tmp_path / "t.parquet", {"v": array}))
    assert [number for number, _ in found] == [1, 2, 3]
    assert [isinstance(row, dict) for _, row in found] == [True, False, True]
    assert found[1][1].startswith("tasks/t.parquet:2: ")
    assert message in found[1][1]


def test_a_text_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    """The column is named, the text is not shown."""
    buffers = [None, pa.py_buffer(struct.pack("<iii", 0, 1, 3)), pa.py_buffer(b"a\xff\xfe")]
    column = pa.Array.from_buffers(pa.string(), 2, buffers)
    found = read(written(tmp_path / "t.parquet", {"id": [1, 2], "text": column}))
    assert found[0] == (1, {"id": 1, "text": "a"})
    assert found[1] == (2, "tasks/t.parquet:2: column 'text': not UTF-8")


SCHEMAS: dict[str, tuple[Any, str]] = {
    "a duration": (pa.table({"v": pa.array([1], pa.duration("s"))}), "no JSON form"),
    "a map of numbers": (pa.table({"v": pa.array([[(1, 1)]], pa.map_(pa.int8(), pa.int8()))}), "no texts"),
    "two columns of one name": (pa.table([[1], [2]], names=["a", "a"]), "one name"),
    "a column without a name": (pa.table([[1]], names=[" "]), "empty name"),
    "two fields of one name": (
        pa.table({"v": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])}),
        "one name",
    ),
    "too many columns": (pa.table({f"c{number}": [1] for number in range(MAX_COLUMNS + 1)}), "columns"),
}


def nested(depth: int) -> Any:
    """A list of lists."""
    value, kind = 1, pa.int8()
    for _ in range(depth):
        value, kind = [value], pa.list_(kind)  # type: ignore[assignment]
    return pa.table({"v": pa.array([value], kind)})


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_table_that_has_no_form_is_refused_as_a_whole(tmp_path: Path, case: str) -> None:
    """With its file, before any row."""
    table, message = SCHEMAS[case]
    parquet.write_table(table, tmp_path / "t.parquet", store_schema=True)
    ((number, found),) = read(tmp_path / "t.parquet")
    assert number == 0
    assert found.startswith("tasks/t.parquet: ")
    assert message in found


def test_nesting_is_bounded(tmp_path: Path) -> None:
    """Sixteen levels are read, one more is not, and a thousand do not crash anything here."""
    for depth, good in ((parquet_child.MAX_DEPTH - 1, True), (parquet_child.MAX_DEPTH, False), (200, False)):
        parquet.write_table(nested(depth), tmp_path / "t.parquet")
        ((_, found),) = read(tmp_path / "t.parquet")
        assert isinstance(found, dict) is good
        # At two hundred levels the decoder itself gives up.
        assert good or ("deeper" if depth < 200 else "can't be decoded") in found


# Hostile files


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Empty, something else, cut short."""
    whole = written(tmp_path / "whole.parquet", {"v": list(range(1000))}).read_bytes()
    for data in (b"", b"PAR1", b"PAR1PAR1", b"id,text\n1,2\n", whole[:-1], whole[: len(whole) // 2], whole[4:]):
        (tmp_path / "t.parquet").write_bytes(data)
        ((number, found),) = read(tmp_path / "t.parquet")
        assert number == 0
        assert found.startswith("tasks/t.parquet: can't be decoded")


def test_rows_before_a_broken_page_are_kept(tmp_path: Path) -> None:
    """What follows is reported with the row where it begins; the message says nothing of the content."""
    path = written(tmp_path / "t.parquet", {"v": [f"secret {n}" for n in range(1000)]}, row_group_size=500)
    data = bytearray(path.read_bytes())
    second = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    at = second.dictionary_page_offset or second.data_page_offset
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = read(path)
    good = [row for _, row in found if isinstance(row, dict)]
    assert 400 <= len(good) <= 500
    assert good == [{"v": f"secret {n}"} for n in range(len(good))]
    assert len(found) == len(good) + 1
    assert found[-1][0] == len(good) + 1
    assert "no row from here on was read" in found[-1][1]
    assert "secret" not in found[-1][1]


def test_P1_any_damage_costs_rows_and_faults_only(tmp_path: Path) -> None:
    """Forty files with random bytes changed: rows and faults, numbered upward, no exception and no hanging."""
    rng = random.Random(5)
    path = written(
        tmp_path / "t.parquet",
        {"id": list(range(50)), "t": ["x" * n for n in range(50)], "l": [[{"a": n}] * (n % 3) for n in range(50)]},
    )
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        found = read(path)
        numbers = [number for number, _ in found]
        assert numbers == sorted(numbers)
        outcomes.add("faults" if any(isinstance(row, str) for _, row in found) else "rows")
    assert outcomes == {"faults", "rows"}


def test_P2_a_small_file_that_claims_much_memory_is_stopped(tmp_path: Path) -> None:
    """64 rows of one text of 32 MiB are a file of a few KiB, and 2 GiB decoded: the process's limit says no."""
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int8()), pa.array(["x" * 32 * 1024 * 1024]))
    # Without Arrow's own schema it is read as plain texts.
    path = written(tmp_path / "t.parquet", {"v": one}, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    ((number, found),) = read(path)
    assert number == 0
    assert "memory" in found


def test_P2_more_rows_than_tasks_can_be_are_refused(tmp_path: Path) -> None:
    """Ten million and one, in a file of a few KiB."""
    path = written(tmp_path / "t.parquet", {"v": pa.repeat(1, parquet_child.MAX_ROWS + 1)}, compression="zstd")
    assert path.stat().st_size < 100_000
    assert read(path) == [(0, f"tasks/t.parquet: {parquet_child.MAX_ROWS + 1} rows; at most {parquet_child.MAX_ROWS}")]


def test_a_row_beyond_64_mib_costs_itself_alone(tmp_path: Path) -> None:
    """Bytes grow by a third as base64."""
    path = written(tmp_path / "t.parquet", {"v": [b"a", bytes(50 * 1024 * 1024), b"b"]})
    found = read(path)
    assert [number for number, row in found if isinstance(row, dict)] == [1, 3]
    assert "64 MiB" in found[1][1]


def test_the_reading_process_ends_when_nobody_reads_on(tmp_path: Path) -> None:
    """Whoever stops after the first row leaves no process behind."""
    path = written(tmp_path / "t.parquet", {"v": list(range(100_000))})
    rows = parquet_rows(path, "t.parquet")
    assert next(rows)[0] == 1
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text().split()
    assert isinstance(rows, Iterator)
    rows.close()  # type: ignore[attr-defined]
    assert len(children.read_text().split()) == len(before) - 1


@pytest.mark.parametrize("kind", ["symlink", "fifo", "absent", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    """No symlink is followed, no pipe waited for."""
    path = tmp_path / "t.parquet"
    if kind == "symlink":
        path.symlink_to(written(tmp_path / "u.parquet", {"v": [1]}))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    ((number, found),) = read(path)
    assert number == 0
    assert "can't be read" in found


def test_a_file_that_changes_while_it_is_read_is_reported(tmp_path: Path) -> None:
    """At its end; rows that were read before are given, as they are sealed in windows."""
    path = written(tmp_path / "t.parquet", {"v": list(range(1000))})
    found: list[Any] = []
    for number, row in parquet_rows(path, "t.parquet"):
        if number == 10:
            os.utime(path, (1, 1))
        found.append(row)
    assert len(found) == 1001
    assert "changed while it was read" in str(found[-1])


# Sealing


def test_rows_are_sealed_as_tasks(world: World) -> None:
    """By id, batch and columns of labelvault.toml; again nothing; a changed row a version; a repeated id a fault."""
    path = world.source / "tasks/w9.PARQUET"
    written(path, {"id": ["a", "b", "a"], "picture": ["picture.png", None, None], "n": [DECIMAL("1.50")] * 3})
    report = world.project.seal(world.source)
    assert summary(report) == (2, 0, 9, 0, 1)
    assert str(report.errors[0]) == "tasks/w9.PARQUET:3: the id of row 1 again"
    assert summary(world.project.seal(world.source)) == (0, 0, 11, 0, 1)
    item = next(each for each in world.project.items("task") if each.name == "a")
    assert (item.batch, len(item.requires)) == ("w9", 2)
    written(path, {"id": ["a", "b"], "picture": ["picture.png", None], "n": [DECIMAL("1.50"), DECIMAL("2.00")]})
    assert summary(world.project.seal(world.source)) == (0, 1, 10, 0, 0)
    out = world.folder / "out"
    assert not world.project.export(out).faults
    assert (out / "tasks/w9.PARQUET.jsonl").read_bytes() == (
        b'{"id":"a","picture":"picture.png","n":"1.50"}\n{"id":"b","picture":null,"n":"2.00"}\n'
    )
    plan = world.project.plan(world.source)
    assert (plan.new, plan.changed, plan.same) == ((), (), 11)


def test_traversal_in_a_column_is_refused(world: World) -> None:
    """As in any row."""
    written(world.source / "tasks/w9.parquet", {"id": ["a"], "picture": ["../../etc/passwd"]})
    (error,) = world.project.seal(world.source).errors
    assert (error.file, error.line) == ("tasks/w9.parquet", 1)


def test_progress_counts_rows_as_they_come(world: World) -> None:
    """The total grows with them."""
    written(world.source / "tasks/w9.parquet", {"id": list(range(100))})
    seen: list[tuple[int, int]] = []
    world.project.seal(world.source, progress=lambda each: seen.append((each.done, each.total)))
    assert seen[-1] == (109, 109)
    assert all(done <= total for done, total in seen)


def test_without_the_extra_one_line_says_which_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is reported, everything else is sealed."""
    written(world.source / "tasks/w9.parquet", {"id": [1]})
    write_file(world.source, "guidelines/new.md", "x")
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else true(name))
    report = world.project.seal(world.source)
    assert [str(error) for error in report.errors] == [
        "tasks/w9.parquet: Parquet needs an extra: pip install 'labelvault[parquet]'"
    ]
    assert report.new == 1
    assert counts(world.client_db)["items"] == 10


_LOADED = """
import json, sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot
from tests.world import CHEAP, PASSPHRASE
folder = Path(sys.argv[1])
with Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
    new = lab.project("eval").seal(folder / "source").new
print(json.dumps([new, sorted(name for name in sys.modules if name.partition(".")[0] in ("pyarrow", "numpy"))]))
"""


def test_the_decoder_is_never_loaded_where_keys_are(world: World) -> None:
    """A process that seals Parquet has no module of pyarrow in it."""
    written(world.source / "tasks/w9.parquet", {"id": [1, 2]})
    command = [sys.executable, "-c", _LOADED, str(world.folder)]
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, []]


@pytest.mark.parametrize(
    ("answer", "row"), [("", 1), ("os.write(1, bytes(7))", 1), ("os.write(1, ROW + b'{}' + ROW[:13] + b'{')", 2)]
)
def test_a_decoder_that_crashes_costs_the_rows_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, row: int
) -> None:
    """Before its first word, in the middle of a head, in the middle of a row: told, and nothing half is given."""
    script = tmp_path / "crash.py"
    head = bytes([parquet_child.ROW]) + (1).to_bytes(8, "big") + (2).to_bytes(4, "big")
    script.write_text(f"import os, signal\nROW = {head!r}\n{answer}\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(parquet_child, "__file__", str(script))
    found = read(written(tmp_path / "t.parquet", {"v": [1, 2, 3]}))
    assert found[-1] == (row, f"tasks/t.parquet:{row}: can't be decoded; no row from here on was read")
    assert [(number, each) for number, each in found[:-1]] == [(1, {})] * (row - 1)


def test_a_file_above_64_GiB_is_refused_unread(tmp_path: Path) -> None:
    """Sparse, one byte over."""
    with (tmp_path / "t.parquet").open("wb") as stream:
        stream.truncate(MAX_STREAM_BYTES + 1)
    ((number, found),) = read(tmp_path / "t.parquet")
    assert number == 0
    assert "64 GiB" in found


# The reading process's code, in this one


def answered(path: Path) -> list[tuple[int, int, bytes]]:
    """Records (kind, row, data) for a file."""
    target = io.BytesIO()
    parquet_child.answer(io.BytesIO(path.read_bytes()), target, MAX_COLUMNS)
    target.seek(0)
    found = []
    while head := target.read(parquet_child.HEAD_BYTES):
        size = int.from_bytes(head[9:], "big")
        found.append((head[0], int.from_bytes(head[1:9], "big"), target.read(size)))
        assert len(found[-1][2]) == size
    return found


@pytest.mark.parametrize("form", FORMS)
def test_records_hold_rows_and_an_end(tmp_path: Path, form: str) -> None:
    """As the parent reads them."""
    given, kind, expected = FORMS[form]
    found = answered(written(tmp_path / "t.parquet", {"v": pa.array(given, kind)}))
    assert [json.loads(data)["v"] for _, _, data in found[:-1]] == expected
    assert found[-1] == (parquet_child.END, len(expected), b"")


def test_records_hold_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rows, with files, with memory, with the extra; in words of our own."""
    path = tmp_path / "t.parquet"
    for given, kind, message in REFUSED.values():
        array = pa.array(given, kind) if kind != pa.date32() else pa.array(given, pa.int32()).cast(pa.date32())
        kinds = [each for each, _, _ in answered(written(path, {"v": array}))]
        assert kinds == [parquet_child.ROW, parquet_child.ROW_FAULT, parquet_child.ROW, parquet_child.END], message
    for table, message in SCHEMAS.values():
        parquet.write_table(table, path)
        ((kind, row, data),) = answered(path)
        assert (kind, row) == (parquet_child.FILE_FAULT, 0)
        assert message in data.decode()
    parquet.write_table(nested(parquet_child.MAX_DEPTH), path)
    assert b"deeper" in answered(path)[0][2]
    path.write_bytes(b"secret, and no Parquet")
    ((_, _, data),) = answered(path)
    assert data == b"can't be decoded (ArrowInvalid)"
    written(path, {"v": ["x" * 100, "y"]})
    with monkeypatch.context() as patched:
        patched.setattr(parquet_child, "MAX_ROW_BYTES", 99)
        assert [each for each, _, _ in answered(path)][:2] == [parquet_child.ROW_FAULT, parquet_child.ROW]
    with monkeypatch.context() as patched:
        patched.setattr(parquet_child, "MAX_ROWS", 1)
        assert b"2 rows" in answered(path)[0][2]
    for error, message in ((MemoryError(), "1 GiB"), (ImportError("x"), "can't be imported")):

        def failing(*_: Any, error: BaseException = error) -> Any:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(parquet_child, "rows", failing)
            assert message in answered(path)[0][2].decode()


def test_json_and_times_outside_a_day(tmp_path: Path) -> None:
    """Texts that are JSON stay texts; an hour 25 is a fault of its row."""
    path = written(tmp_path / "t.parquet", {"v": pa.array(['{"a": 1}'], pa.json_(pa.string()))})
    assert answered(path)[0][2] == b'{"v":"{\\"a\\": 1}"}'
    late = pa.array([25 * 3600 * 1000], pa.int32()).view(pa.time32("ms"))
    assert answered(written(path, {"v": late}))[0][0] == parquet_child.ROW_FAULT
