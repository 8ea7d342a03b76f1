"""Rows of JSONL, JSON, CSV and TSV: every fault with its line, and the rows around it as they were."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.client.rows import count_rows, holds_rows, iter_rows, parse_row
from labelvault.errors import ProjectError


def read(name: str, data: bytes | str) -> list[tuple[int, bytes | str]]:
    """Lines with rows, or with messages."""
    encoded = data.encode() if isinstance(data, str) else data
    found: list[tuple[int, bytes | str]] = []
    for line, row in iter_rows(name, encoded):
        if isinstance(row, ProjectError):
            assert row.file == name
            assert row.line is not None
            found.append((row.line, str(row).split(": ", 1)[1]))
        else:
            found.append((line, row))
    return found


def test_rows_are_told_by_their_suffix() -> None:
    """Four forms, in either case; anything else is no file of rows."""
    assert all(holds_rows(f"tasks/a.{suffix}") for suffix in ("jsonl", "json", "csv", "tsv", "CSV"))
    assert not any(holds_rows(name) for name in ("tasks/a.md", "tasks/json", "tasks/a.json.bak"))


# JSON


def test_a_list_of_objects_gives_each_with_its_line_and_its_own_tokens() -> None:
    """White space between tokens goes; numbers, escapes, key order and white space in texts stay."""
    data = '\ufeff\n[\n  {"b" : 1.10,\n   "a": 12345678901234567890.123456789},\n  {"t": " \\u00e9 é ,]} "} , {}\n]\n'
    assert read("t.json", data) == [
        (3, b'{"b":1.10,"a":12345678901234567890.123456789}'),
        (5, '{"t":" \\u00e9 é ,]} "}'.encode()),
        (5, b"{}"),
    ]
    assert count_rows("t.json", data.encode()) == 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"a": 1 2}', "not valid JSON at column 9"),
        ('{"a": }', "not valid JSON at column 7"),
        ("[1]", "a row is a JSON object"),
        ("17", "a row is a JSON object"),
        ("", "an element is missing between commas"),
        ('{"a": NaN}', "not valid JSON: NaN or an infinity"),
        ('{"a": 1e999}', "not valid JSON: a number beyond a double's range"),
        (f'{{"a": {"1" * 5000}}}', "not valid JSON: a number of more than 4000 digits"),
        ('{"a": "\\udc00"}', "a text holds a lone surrogate"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON: nested too deep"),
    ],
)
def test_a_bad_element_costs_itself_only(bad: str, message: str) -> None:
    """Told with its line, between two that are read."""
    found = read("t.json", f'[{{"a":1}},\n{bad}\n,{{"b":2}}]')
    assert [row for _, row in found] == [b'{"a":1}', message, b'{"b":2}']
    assert found[1][0] == (3 if not bad else 2)


def test_an_element_that_is_not_utf8_costs_itself_only() -> None:
    """Told by its place in the row."""
    assert read("t.json", b'[{"a": "\xff"},\n{}]') == [(1, "not UTF-8 at byte 7 of the row"), (2, b"{}")]


def test_a_fault_within_an_element_has_its_own_line() -> None:
    """Where the parser stumbled, not where the element begins."""
    assert read("t.json", '[\n{"a": 1,\n"b" 2}]') == [(3, "not valid JSON at column 5")]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("", [(1, "tasks in JSON are a list of objects")]),
        ('\n{"id": 1}', [(2, "tasks in JSON are a list of objects")]),
        ("[]", []),
        ("[ \n ]", []),
        ("[{}\n,]", [(1, b"{}"), (2, "an element is missing between commas")]),
        ("[{}\n,{}", [(1, b"{}"), (2, "the list has no end; its last element was not read")]),
        ("[{},\n{]", [(1, b"{}"), (2, "the list has no end; its last element was not read")]),
        ("[{}]\n[{}]", [(1, b"{}"), (2, "there is more after the list; it was not read")]),
        ('[{},\n{"a": "x]', [(1, b"{}"), (2, "a text has no end; nothing from here on was read")]),
    ],
)
def test_what_is_no_whole_list_is_told(data: str, found: list[tuple[int, bytes | str]]) -> None:
    """And what was whole of it is read."""
    assert read("t.json", data) == found


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=4), max_size=5), st.booleans(), st.sampled_from([None, 2])
)
def test_any_list_comes_back_row_for_row(tasks: list[dict], escape: bool, indent: int | None) -> None:
    """However it was laid out, a row is its compact form, keys in their order."""
    found = read("t.json", json.dumps(tasks, ensure_ascii=escape, indent=indent))
    assert [row for _, row in found] == [
        json.dumps(task, ensure_ascii=escape, separators=(",", ":")).encode() for task in tasks
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["a.json", "a.csv", "a.tsv", "a.jsonl"]),
    st.binary(max_size=60) | st.text('[]{}",:\\ \n\r\ta1', max_size=60).map(str.encode),
)
def test_arbitrary_bytes_end_in_rows_or_faults(name: str, data: bytes) -> None:
    """Nothing but a fault with a line of the file is ever raised, and what is given as a JSON row is one."""
    lines = len(data.replace(b"\r", b"\n").split(b"\n"))
    for line, row in iter_rows(name, b"[" + data + b"]" if name == "a.json" else data):
        assert 1 <= line <= lines
        if isinstance(row, bytes) and name != "a.jsonl":
            parse_row(name, line, row)
    assert count_rows(name, data) >= 0


# CSV and TSV


def test_a_table_gives_objects_of_texts_in_the_headers_order() -> None:
    """Quotes, doubled quotes, line breaks in fields and a byte order mark as RFC 4180 and spreadsheets have them."""
    data = '\ufeffb,a\r\n1,"x ""y"", z"\r\n"two\nlines",é\r\n\r\n3,\r\n'
    assert read("t.csv", data) == [
        (2, b'{"b":"1","a":"x \\"y\\", z"}'),
        (3, '{"b":"two\\nlines","a":"é"}'.encode()),
        (6, b'{"b":"3","a":""}'),
    ]
    assert read("t.tsv", 'a\tb\n1\t"x\ty"') == [(2, b'{"a":"1","b":"x\\ty"}')]
    assert count_rows("t.csv", b"a\n1\n2\n") == 2
    assert count_rows("t.csv", b"") == 0


def test_a_bad_record_costs_itself_only() -> None:
    """Too few, too many, stray quotes, not UTF-8: each with its physical line, and the rest is read."""
    data = b'a,b\n1,"2\n2"\n1\n1,2,3\n1,x"y\n"x"y,2\n1,\xff\n5,6\n7,"8\n9,10\n'
    assert read("t.csv", data) == [
        (2, b'{"a":"1","b":"2\\n2"}'),
        (4, "1 fields; the header has 2"),
        (5, "3 fields; the header has 2"),
        (6, "a quote inside a field"),
        (7, "text after a closing quote"),
        (8, "not UTF-8"),
        (9, b'{"a":"5","b":"6"}'),
        (10, "a quoted field has no end"),
        (11, b'{"a":"9","b":"10"}'),
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b,a", "the header has a name twice; no row was read"),
        ("a,,b", "the header has an empty name; no row was read"),
        ('a," "', "the header has an empty name; no row was read"),
        ('a,"b', "a quoted field has no end"),
        (",".join(f"c{n}" for n in range(1001)), "the header has 1001 names; at most 1000"),
    ],
)
def test_a_bad_header_stops_the_file(header: str, message: str) -> None:
    """Without it no row means anything."""
    assert read("t.csv", f"{header}\n1,2,3\n") == [(1, message)]


def test_a_header_that_is_not_utf8_stops_the_file() -> None:
    """Likewise."""
    assert read("t.csv", b"a,\xff\n1,2\n") == [(1, "not UTF-8")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), max_size=5),
    st.sampled_from([("t.csv", ","), ("t.tsv", "\t")]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_csv_writes_is_read_back(cells: list[tuple[str, str]], form: tuple[str, str], end: str) -> None:
    """Any texts, as Python's own writer quotes them."""
    name, delimiter = form
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *cells])
    rows = [json.loads(row) for _, row in read(name, stream.getvalue())]
    assert rows == [{"a": a, "b": b} for a, b in cells]
