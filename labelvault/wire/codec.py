"""Canonical msgpack: one encoding for each value, every bound checked on the bytes before decoding.

msgpack by itself takes duplicate keys, non-minimal forms and extension types, and some 80 MB of memory for 68 KB of
hostile input. So `decode` walks the bytes first (allowed types, depth, count, what is left of the input), lets msgpack
decode what passed, and refuses what does not encode back to the same bytes (docs/spec.md, section 2.1).
"""

from typing import Final, TypeAlias

import msgpack

from labelvault.errors import FormatError

Value: TypeAlias = "None | bool | int | str | bytes | list[Value] | dict[str, Value]"

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_VALUES: Final = 4 * 1024
"""More than the largest message has, and few enough that no 64 KiB take more than 1.5 MiB to decode."""
MAX_INT: Final = 2**63 - 1
SHORT_BYTES: Final = 1024
"""What is so short may be built before it is looked at, unless it could hold many long arrays."""
_LONG_ARRAYS: Final = 64
"""For each, msgpack takes as much memory as it claims to need, before it has a value of it: 8 KiB in so few bytes."""

# By leading byte: how many bytes its length or number has. Shorter forms are not looked for here: `decode` compares.
_RAW: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4} | {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAY: Final = {0xDC: 2, 0xDD: 4}
_MAP: Final = {0xDE: 2, 0xDF: 4}
_UINT: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def encode(value: Value, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Encode a value canonically: map keys sorted by their UTF-8 bytes, shortest forms.

    Args:
        value: what to encode.
        max_bytes: refuse to write anything longer, as `decode` refuses to read it.

    Raises:
        FormatError: a type, integer, depth, count or size that `decode` would refuse.
    """
    encoded = _pack(_sorted(value, 0))
    _check_size(encoded, max_bytes)
    _scan(encoded)
    return encoded


def encode_ruled(value: Value) -> bytes:
    """Encode a value of which is known what `encode` would look for: allowed types, sorted maps, few and not deep.

    It takes a sixth of the time that `encode` takes. Only for `labelvault.wire.schema`, whose rules see to all that.

    Raises:
        FormatError: a lone surrogate, or a size that `decode` would refuse.
    """
    encoded = _pack(value)
    _check_size(encoded, MAX_BYTES)
    return encoded


def decode_short(data: bytes) -> Value:
    """Decode at most `SHORT_BYTES` bytes for a caller who encodes what came of it, and compares.

    Nothing is walked before, but where bytes that begin long arrays are many: what the others make takes less memory
    than the bounds of `decode` allow.

    Raises:
        FormatError: no msgpack, or longer; or as `decode`.
    """
    _check_size(data, SHORT_BYTES)
    if data.count(b"\xdc") + data.count(b"\xdd") > _LONG_ARRAYS:
        _scan(data)
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except Exception as error:
        raise FormatError("not canonical msgpack") from error
    return value


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> Value:
    """Decode canonical bytes.

    Args:
        data: the bytes.
        max_bytes: refuse anything longer, before looking at it.

    Raises:
        FormatError: not the one canonical encoding of an allowed value, or over a bound.
    """
    _check_size(data, max_bytes)
    _scan(data)
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except Exception as error:
        # msgpack leaks ValueError, UnicodeDecodeError and its own kinds; a parser of ours lets only ours out.
        raise FormatError("not canonical msgpack") from error
    # A decoded map keeps the order of its bytes, so that sorted maps need no sorted copy to be encoded again.
    _check_sorted(value)
    if _pack(value) != data:
        raise FormatError("not the canonical encoding of its value")
    return value


def decode_own(data: bytes) -> Value:
    """Decode bytes that `encode` wrote, and that a hash proves to be those: nothing is checked but that they decode.

    It takes a tenth of the time that `decode` takes. Never for what came from elsewhere.

    Raises:
        FormatError: no msgpack at all.
    """
    try:
        value: Value = msgpack.unpackb(data, raw=False)
    except Exception as error:
        raise FormatError("not msgpack") from error
    return value


def _check_size(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise FormatError(f"{len(data)} bytes, more than the {max_bytes} allowed")


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
    # `_scan` looks at integers once they are encoded.
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return value
    raise FormatError(f"a {type(value).__name__} has no canonical encoding")


def _check_sorted(value: Value) -> None:
    """Refuse a decoded value with a map whose keys are not text, or not in order."""
    if isinstance(value, dict):
        # msgpack's strict_map_key lets byte strings through.
        if not all(isinstance(key, str) for key in value):
            raise FormatError("map keys are text")
        if list(value) != sorted(value):
            raise FormatError("map keys are not sorted")
        for part in value.values():
            _check_sorted(part)
    elif isinstance(value, list):
        for part in value:
            _check_sorted(part)


def _scan(data: bytes) -> None:
    """Walk the bytes without building anything; refuse types that are not allowed and whatever breaks a bound."""
    size = len(data)
    position = 0
    values = 0
    # `due[-1]` counts the values still due in the innermost container.
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
            position += length
        elif lead in _UINT:
            number, position = _read_int(data, position, _UINT[lead])
            if number > MAX_INT:
                raise FormatError("an integer lies outside 0 to 2^63-1")
        elif 0x90 <= lead <= 0x9F:
            children = lead & 0x0F
        elif 0x80 <= lead <= 0x8F:
            children = 2 * (lead & 0x0F)
        elif lead in _ARRAY:
            children, position = _read_int(data, position, _ARRAY[lead])
        elif lead in _MAP:
            children, position = _read_int(data, position, _MAP[lead])
            children *= 2
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
    """Return the number and where it ends, which may lie beyond the data: the caller looks."""
    end = position + width
    return int.from_bytes(data[position:end], "big"), end
