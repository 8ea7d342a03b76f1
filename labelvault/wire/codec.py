"""Canonical msgpack: one encoding for each value, every bound checked on the bytes before decoding.

msgpack by itself takes duplicate keys, non-minimal forms and extension types, and some 80 MB of memory for 68 KB of
hostile input. So `decode` walks the bytes first (allowed types, minimal lengths, depth, count, what is left of the
input), lets msgpack decode what passed, and refuses what does not encode back to the same bytes (docs/spec.md,
section 2.1).
"""

from typing import Final, TypeAlias

import msgpack

from labelvault.errors import FormatError

Value: TypeAlias = "None | bool | int | str | bytes | list[Value] | dict[str, Value]"

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_VALUES: Final = 8 * 1024
MAX_INT: Final = 2**63 - 1

# Length field sizes by leading byte: strings, byte strings, arrays, maps, unsigned integers.
_STR: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BIN: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAY: Final = {0xDC: 2, 0xDD: 4}
_MAP: Final = {0xDE: 2, 0xDF: 4}
_UINT: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_RAW: Final = _STR | _BIN


def encode(value: Value) -> bytes:
    """Encode a value canonically: map keys sorted by their UTF-8 bytes, shortest forms.

    Raises:
        FormatError: a type, integer, depth, count or size that `decode` would refuse.
    """
    encoded = _pack(_sorted(value, 0))
    _scan(encoded)
    return encoded


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> Value:
    """Decode canonical bytes.

    Args:
        data: the bytes.
        max_bytes: refuse anything longer, before looking at it.

    Raises:
        FormatError: not the one canonical encoding of an allowed value, or over a bound.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{len(data)} bytes, more than the {max_bytes} allowed")
    _scan(data)
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True)
        again = _pack(_sorted(value, 0))
    except FormatError:
        raise
    except Exception as error:
        # msgpack leaks ValueError, UnicodeDecodeError and its own kinds; a parser of ours lets only ours out.
        raise FormatError("not canonical msgpack") from error
    if again != data:
        raise FormatError("not the canonical encoding of its value")
    return value


def _pack(value: Value) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except Exception as error:
        # Lone surrogates and their like: nothing that has an encoding.
        raise FormatError("a value has no canonical encoding") from error
    return packed


def _sorted(value: Value, depth: int) -> Value:
    """Return `value` with every map sorted; refuse what is not in `Value`."""
    if depth > MAX_DEPTH:
        raise FormatError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise FormatError("map keys are text")
        # Code point order is the order of the UTF-8 bytes.
        return {key: _sorted(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(part, depth + 1) for part in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, bytes)):
        return value
    if isinstance(value, int):
        if not 0 <= value <= MAX_INT:
            raise FormatError("an integer lies outside 0 to 2^63-1")
        return value
    raise FormatError(f"a {type(value).__name__} has no canonical encoding")


def _scan(data: bytes) -> None:
    """Walk the bytes without building anything; refuse what breaks a bound or is not minimal."""
    size = len(data)
    position = 0
    values = 0
    # `open_[-1]` counts the values still due in the innermost container.
    due = [1]
    while due:
        if due[-1] == 0:
            due.pop()
            continue
        due[-1] -= 1
        values += 1
        if values > MAX_VALUES:
            raise FormatError(f"more than {MAX_VALUES} values")
        if position >= size:
            raise FormatError("ends too early")
        lead = data[position]
        position += 1
        children = 0
        if lead <= 0x7F or lead in (0xC0, 0xC2, 0xC3):
            continue
        if 0xA0 <= lead <= 0xBF:
            position += lead & 0x1F
        elif lead in _RAW:
            length, position = _read_int(data, position, _RAW[lead])
            shortest = 32 if lead in _STR else 0
            _check_minimal(length, _RAW[lead], shortest)
            position += length
        elif lead in _UINT:
            number, position = _read_int(data, position, _UINT[lead])
            _check_minimal(number, _UINT[lead], 0x80)
            if number > MAX_INT:
                raise FormatError("an integer lies outside 0 to 2^63-1")
        elif 0x90 <= lead <= 0x9F:
            children = lead & 0x0F
        elif 0x80 <= lead <= 0x8F:
            children = 2 * (lead & 0x0F)
        elif lead in _ARRAY or lead in _MAP:
            width = _ARRAY.get(lead) or _MAP[lead]
            children, position = _read_int(data, position, width)
            _check_minimal(children, width, 16 if width == 2 else 0)
            children *= 1 if lead in _ARRAY else 2
        else:
            raise FormatError(f"type byte 0x{lead:02x} is not allowed")
        if position > size:
            raise FormatError("ends too early")
        if children:
            # Each child takes a byte at least, so a claimed length is bounded by what is there.
            if children > size - position:
                raise FormatError("ends too early")
            if len(due) > MAX_DEPTH:
                raise FormatError(f"nested deeper than {MAX_DEPTH}")
            due.append(children)
    if position != size:
        raise FormatError("trailing bytes")


def _read_int(data: bytes, position: int, width: int) -> tuple[int, int]:
    end = position + width
    if end > len(data):
        raise FormatError("ends too early")
    return int.from_bytes(data[position:end], "big"), end


def _check_minimal(number: int, width: int, shortest: int) -> None:
    """Refuse a number that a shorter form would hold: `shortest` is the least that needs the one-byte form."""
    least = shortest if width == 1 else max(shortest, 1 << (8 * (width // 2)))
    if number < least:
        raise FormatError("not the shortest form")
