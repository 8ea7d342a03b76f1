"""The process that reads one Parquet file: a decoder in C++ meets bytes that somebody else wrote, so it is kept apart.

Run as a script of its own, with nothing of LabelVault in it: a file that crashes it, or makes it ask for too much
memory, costs an error and no more. Standard input is the file; to standard output go records: kind (u8), row (u64 from
1), size (u32), then a row as JSON, or what is wrong. docs/cli.md says what becomes of each type.
"""

import base64
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

ROW, ROW_FAULT, FILE_FAULT, END = range(4)
HEAD_BYTES = 13
MAX_DEPTH = 16
MAX_ROWS = 10_000_000
MAX_ROW_BYTES = 64 * 1024 * 1024
BATCH_ROWS = 64
MEMORY_BYTES = 1024**3
"""For decoded values: far more than a row may have, far less than a file can claim."""
_FOOTER_STRING_BYTES = 16 * 1024 * 1024
_FOOTER_ITEMS = 1_000_000
_BUFFER_BYTES = 1024 * 1024
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Convert = Callable[[Any], Any]
"""Makes a value of a pyarrow scalar that is not null."""


class Refused(Exception):
    """Has no JSON form, or is beyond a bound; says so in words of our own, without any value."""


def main() -> None:
    """Read standard input to its end; the arguments are where pyarrow is, and how many columns there may be."""
    target = os.fdopen(os.dup(1), "wb")
    _limit()
    sys.path.append(sys.argv[1])
    answer(sys.stdin.buffer, target, int(sys.argv[2]))
    target.flush()
    # Nothing of the decoder's own ending is of use, and a damaged heap could still make it crash.
    os._exit(0)


def answer(source: BinaryIO, target: BinaryIO, max_columns: int) -> None:
    """Write a record for each row, then one for the end or for what is wrong with the rest."""
    row = 0
    try:
        for row, kind, data in rows(source, max_columns):
            _put(target, kind, row, data)
        _put(target, END, row, b"")
    except Refused as error:
        _put(target, FILE_FAULT, row, str(error).encode("utf-8", "backslashreplace"))
    except ImportError:
        _put(target, FILE_FAULT, row, b"pyarrow can't be imported")
    except MemoryError:
        _put(target, FILE_FAULT, row, f"needs more than {MEMORY_BYTES} bytes of memory (1 GiB)".encode())
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises; its messages may quote the file
        _put(target, FILE_FAULT, row, f"can't be decoded ({type(error).__name__})".encode())


def _limit() -> None:
    # What a file claims must not take this machine's memory; where the system has no such limit, there is none.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _put(target: BinaryIO, kind: int, row: int, data: bytes) -> None:
    target.write(bytes([kind]) + row.to_bytes(8, "big") + len(data).to_bytes(4, "big"))
    target.write(data)


def rows(source: BinaryIO, max_columns: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (row, kind, JSON or what is wrong) of each row, batch by batch.

    Raises:
        Refused: nothing, or nothing from the last row on, can be read.
    """
    import pyarrow
    from pyarrow import parquet

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    file = parquet.ParquetFile(
        source,
        memory_map=False,
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES,
        thrift_string_size_limit=_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
        arrow_extensions_enabled=True,
    )
    if file.metadata.num_rows > MAX_ROWS:
        raise Refused(f"{file.metadata.num_rows} rows; at most {MAX_ROWS}")
    if file.metadata.num_columns > max_columns:
        raise Refused(f"{file.metadata.num_columns} columns, nested ones counted; at most {max_columns}")
    names = [field.name for field in file.schema_arrow]
    _check_names(names)
    columns = [_converter(field.type, field.name, 1) for field in file.schema_arrow]
    first = 1
    for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        if first + batch.num_rows > MAX_ROWS + 1:
            raise Refused(f"more than {MAX_ROWS} rows")
        for at in range(batch.num_rows):
            yield first + at, *_row(names, columns, batch, at)
        first += batch.num_rows


def _row(names: list[str], columns: list[Convert], batch: Any, at: int) -> tuple[int, bytes]:
    row, name = {}, ""
    try:
        for name, convert, column in zip(names, columns, batch.columns, strict=True):
            row[name] = _value(convert, column[at])
        # Surrogates can't come from UTF-8.
        data = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except Refused as error:
        return ROW_FAULT, f"column {name!r}: {error}".encode("utf-8", "backslashreplace")
    except UnicodeDecodeError:
        return ROW_FAULT, f"column {name!r}: not UTF-8".encode("utf-8", "backslashreplace")
    except (ValueError, OverflowError):
        # From the encoder, which does not say which column; or from a date.
        return ROW_FAULT, b"NaN, an infinity, or a time outside the years 1 to 9999"
    if len(data) > MAX_ROW_BYTES:
        return ROW_FAULT, f"{len(data)} bytes as JSON; a row holds at most {MAX_ROW_BYTES} (64 MiB)".encode()
    return ROW, data


def _value(convert: Convert, scalar: Any) -> Any:
    return convert(scalar) if scalar.is_valid else None


def _check_names(names: list[str]) -> None:
    if not all(name.strip() for name in names):
        raise Refused("a column has an empty name")
    if len(set(names)) < len(names):
        raise Refused("two columns have one name")


def _converter(kind: Any, name: str, depth: int) -> Convert:
    """Return how values of a type become JSON.

    Raises:
        Refused: there is no JSON form, or it nests too deep.
    """
    from pyarrow import types

    if depth > MAX_DEPTH:
        raise Refused(f"column {name!r} nests deeper than {MAX_DEPTH}")
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind):
        return _plain
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _plain
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    ):
        return _base64
    if types.is_decimal(kind):
        return _decimal
    if types.is_date(kind):
        return _date
    if types.is_timestamp(kind):
        return _timestamp(kind.unit, kind.tz is not None)
    if types.is_time(kind):
        return _time(kind.unit)
    if types.is_dictionary(kind):
        inner = _converter(kind.value_type, name, depth + 1)
        return lambda scalar: _value(inner, scalar.value)
    if types.is_map(kind):
        return _map(kind, name, depth)
    if types.is_struct(kind):
        return _struct(kind, name, depth)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type, name, depth + 1)
        return lambda scalar: [_value(inner, each) for each in scalar.values]
    if str(kind) == "extension<arrow.uuid>":
        return lambda scalar: str(scalar.as_py())
    if str(kind).startswith("extension<arrow.json"):
        return _plain
    raise Refused(f"column {name!r}: values of type {kind} have no JSON form".replace("\n", " ")[:1000])


def _plain(scalar: Any) -> Any:
    return scalar.as_py()


def _base64(scalar: Any) -> str:
    return base64.b64encode(scalar.as_py()).decode("ascii")


def _decimal(scalar: Any) -> str:
    # A text with all digits: as a number it would lose those that a double does not have.
    return format(scalar.as_py(), "f")


def _date(scalar: Any) -> str:
    return str(scalar.as_py().isoformat())


def _timestamp(unit: str, has_zone: bool) -> Convert:
    import datetime

    epoch = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - without a zone, and UTC is said by the mark behind

    def convert(scalar: Any) -> str:
        seconds, fraction = divmod(scalar.value, _PER_SECOND[unit])
        moment = epoch + datetime.timedelta(seconds=seconds)
        return moment.isoformat() + _fraction(fraction, unit) + ("Z" if has_zone else "")

    return convert


def _time(unit: str) -> Convert:
    def convert(scalar: Any) -> str:
        seconds, fraction = divmod(scalar.value, _PER_SECOND[unit])
        if not 0 <= seconds < 86400:
            raise Refused("a time outside a day")
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + _fraction(fraction, unit)

    return convert


def _fraction(count: int, unit: str) -> str:
    digits = len(str(_PER_SECOND[unit])) - 1
    return f".{count:0{digits}}" if digits else ""


def _struct(kind: Any, name: str, depth: int) -> Convert:
    names = [kind.field(at).name for at in range(kind.num_fields)]
    _check_names(names)
    inner = [_converter(kind.field(at).type, name, depth + 1) for at in range(kind.num_fields)]
    return lambda scalar: {
        field: _value(convert, scalar[at]) for at, (field, convert) in enumerate(zip(names, inner, strict=True))
    }


def _map(kind: Any, name: str, depth: int) -> Convert:
    from pyarrow import types

    if not (types.is_string(kind.key_type) or types.is_large_string(kind.key_type)):
        raise Refused(f"column {name!r}: a map whose keys are no texts has no JSON form")
    inner = _converter(kind.item_type, name, depth + 1)

    def convert(scalar: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in scalar.values:
            key = entry[0].as_py()
            if key in found:
                raise Refused("a map has a key twice")
            found[key] = _value(inner, entry[1])
        return found

    return convert


if __name__ == "__main__":
    main()
