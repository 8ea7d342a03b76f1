"""Rows of task files: JSONL and JSON as they were written, CSV and TSV as JSON objects of texts.

Every fault has the physical line where its row begins, or where the parser stumbled; the rows around it are read all
the same. Messages hold positions and column names, never a row's content.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final, NoReturn

from labelvault.envelope.metadata import MAX_CONTENT_BYTES
from labelvault.errors import ProjectError

MAX_COLUMNS: Final = 1000
_MAX_DIGITS: Final = 4000
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r\n"
# Possessive, so that no input makes them go back; a quote that opens no whole text is a token of its own.
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
_TOKEN: Final = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)
_BETWEEN: Final = re.compile(rb"(" + _STRING + rb")|[ \t\r\n]++", re.DOTALL)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_QUOTED: Final = re.compile(r'"((?:[^"]++|"")*+)"')
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


def holds_rows(name: str) -> bool:
    """Say whether a task file holds rows, by its suffix; any other is a task as a whole."""
    return _suffix(name) in _FORMS or is_parquet(name)


def is_jsonl(name: str) -> bool:
    """Say whether a task file is JSONL, which can be read in pieces."""
    return _suffix(name) == ".jsonl"


def is_parquet(name: str) -> bool:
    """Say whether a task file is Parquet, whose rows are read by `labelvault.client.parquet`."""
    return _suffix(name) == ".parquet"


def iter_rows(name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    """Yield each row's line, and the row as a JSON object or what is wrong with it.

    Rows of JSONL are as they were written and not parsed yet. Rows of a JSON list lose the white space between their
    tokens and nothing else, so that numbers keep all digits. Rows of CSV and TSV become compact JSON in the order of
    the header.

    Args:
        name: the file's path, for its suffix and for messages; one that `holds_rows` and is not Parquet.
        data: its content, at most 64 MiB.
    """
    return _FORMS[_suffix(name)](name, data)


def count_rows(name: str, data: bytes) -> int:
    """Return about how many rows there are, without reading them."""
    if _suffix(name) == ".json":
        return sum(1 for _ in _elements(name, data))
    header = 0 if _suffix(name) == ".jsonl" else 1
    return max(sum(1 for line in data.split(b"\n") if line.strip()) - header, 0)


def parse_row(path: str, line: int, content: bytes) -> dict[str, Any]:
    """Return a row's columns.

    Raises:
        ProjectError: not a JSON object in UTF-8; too large, or nested too deep; or it holds NaN, an infinity, a number
            beyond a double's range, or a lone surrogate.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise ProjectError(f"{len(content)} bytes; a row holds at most {MAX_CONTENT_BYTES} (64 MiB)", path, line)
    # The parser's own messages may quote the row, and its errors hold it: only positions are passed on, `from None`.
    try:
        row = _DECODER.decode(content.decode("utf-8"))
        if _SURROGATE.search(content):
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise ProjectError(f"not UTF-8 at byte {error.start} of the row", path, line) from None
    except UnicodeEncodeError:
        raise ProjectError("a text holds a lone surrogate", path, line) from None
    except json.JSONDecodeError as error:
        place = line + error.lineno - 1
        raise ProjectError(f"not valid JSON at column {error.colno}", path, place) from None
    except RecursionError:
        raise ProjectError("not valid JSON: nested too deep", path, line) from None
    except _RefusedError as error:
        raise ProjectError(f"not valid JSON: {error}", path, line) from None
    if not isinstance(row, dict):
        raise ProjectError("a row is a JSON object", path, line)
    return row


class _RefusedError(ValueError):
    """A number that is not to be passed on; its message is our own."""


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError("a number beyond a double's range")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _RefusedError(f"a number of more than {_MAX_DIGITS} digits")
    return int(text)


def _constant(_: str) -> NoReturn:
    raise _RefusedError("NaN or an infinity")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _jsonl(_: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    for line, content in enumerate(data.split(b"\n"), 1):
        if row := content.strip():
            yield line, row


def _json(name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    for line, found in _elements(name, data):
        if isinstance(found, ProjectError):
            yield line, found
            continue
        try:
            # Before white space goes: without it, two numbers side by side would be one.
            parse_row(name, line, found)
        except ProjectError as error:
            yield line, error
            continue
        yield line, _BETWEEN.sub(rb"\1", found)


def _elements(name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    """Split a JSON list at the commas of its outermost level, so that a fault in an element stays in it."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    while data[start : start + 1] and data[start] in _SPACE:
        start += 1
    line = 1 + data.count(b"\n", 0, start)
    if data[start : start + 1] != b"[":
        yield line, ProjectError("tasks in JSON are a list of objects", name, line)
        return
    depth, counted, begin, empty = 0, start, start + 1, True
    for token in _TOKEN.finditer(data, start):
        mark = token.group()
        if mark == b'"':
            line += data.count(b"\n", counted, token.start())
            yield line, ProjectError("a text has no end; nothing from here on was read", name, line)
            return
        depth += (mark in (b"[", b"{")) - (mark in (b"]", b"}"))
        if depth == 0 or (depth == 1 and mark == b","):
            element = data[begin : token.start()]
            content = element.strip(_SPACE)
            at = token.start() - len(element.lstrip(_SPACE))
            line += data.count(b"\n", counted, at)
            counted = at
            if content:
                yield line, content
            elif depth or not empty:
                yield line, ProjectError("an element is missing between commas", name, line)
            begin, empty = token.end(), False
        if depth == 0:
            break
    rest = data[begin:].lstrip(_SPACE)
    line += data.count(b"\n", counted, len(data) - len(rest))
    if depth:
        yield line, ProjectError("the list has no end; its last element was not read", name, line)
    elif rest:
        yield line, ProjectError("there is more after the list; it was not read", name, line)


def _delimited(delimiter: str, name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    # What is not UTF-8 comes as lone surrogates, so that it is told with its row and costs no other.
    text = data.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    header: list[str] | None = None
    for line, fields in _records(text, delimiter):
        fault = fields if isinstance(fields, str) else _fault(fields, header)
        if fault is not None:
            yield line, ProjectError(fault, name, line)
            if header is None:
                return
        elif header is None:
            header = list(fields)
        else:
            row = dict(zip(header, fields, strict=True))
            yield line, json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _fault(fields: list[str], header: list[str] | None) -> str | None:
    """Return what is wrong with a row's fields, or with the header's if there is none yet."""
    if any(not field.isascii() and _has_surrogate(field) for field in fields):
        return "not UTF-8"
    if header is not None:
        return None if len(fields) == len(header) else f"{len(fields)} fields; the header has {len(header)}"
    if len(fields) > MAX_COLUMNS:
        return f"the header has {len(fields)} names; at most {MAX_COLUMNS}"
    if not all(field.strip() for field in fields):
        return "the header has an empty name; no row was read"
    if len(set(fields)) < len(fields):
        return "the header has a name twice; no row was read"
    return None


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each record's first line, and its fields or what is wrong; after a fault, go on at the next line."""
    bare = re.compile(f'[^{delimiter}"\r\n]*+')
    place, line = 0, 1
    while place < len(text):
        start, first, fields, fault = place, line, list[str](), None
        while True:
            quoted = text[place : place + 1] == '"'
            match = (_QUOTED if quoted else bare).match(text, place)
            if match is None:
                fault = "a quoted field has no end"
                break
            value = match.group(1).replace('""', '"') if quoted else match.group()
            line += len(_LINE_END.findall(value)) if quoted else 0
            fields.append(value)
            place = match.end()
            if text[place : place + 1] != delimiter:
                break
            place += 1
        end = _LINE_END.match(text, place)
        if fault is None and end is None and place < len(text):
            fault = "a quote inside a field" if text[place] == '"' else "text after a closing quote"
        if fault is not None:
            end, line = _LINE_END.search(text, start), first
            yield first, fault
        elif fields != [""] or text[start:place]:
            yield first, fields
        place, line = (end.end() if end else len(text)), line + 1


def _csv(name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    return _delimited(",", name, data)


def _tsv(name: str, data: bytes) -> Iterator[tuple[int, bytes | ProjectError]]:
    return _delimited("\t", name, data)


_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=_constant)
_FORMS: Final = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _tsv}
