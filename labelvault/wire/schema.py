"""Records: frozen dataclasses whose annotations say, field by field, what bytes may hold.

A record is encoded as one canonical map from field name to value. Decoding refuses unknown and missing fields, other
types and anything out of bounds; encoding checks the same, so nothing leaves that would not be taken.

    @dataclass(frozen=True, slots=True)
    class Point:
        name: Annotated[str, Text(200)]
        hash: Annotated[bytes, Fixed(32)]
        tags: Annotated[tuple[Annotated[str, Text(20)], ...], Count(0, 10)]
        at: datetime
"""

import dataclasses
import operator
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from labelvault.errors import FormatError
from labelvault.wire.codec import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_INT,
    MAX_VALUES,
    SHORT_BYTES,
    Value,
    decode,
    decode_short,
    encode,
    encode_ruled,
)
from labelvault.wire.times import from_ms, to_ms

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Fixed:
    """A byte string of exactly `size` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Between:
    """A byte string of `least` to `most` bytes, both included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string of `least` to `most` UTF-8 bytes, both included."""

    most: int
    least: int = 0


class OneOf:
    """A string out of a closed list."""

    __slots__ = ("options",)

    def __init__(self, *options: str) -> None:
        self.options: Final = frozenset(options)


@dataclass(frozen=True, slots=True)
class UInt:
    """An integer from `least` to `most`, both included."""

    least: int = 0
    most: int = MAX_INT


@dataclass(frozen=True, slots=True)
class Count:
    """A tuple of `least` to `most` elements, both included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class _Codec:
    """How one field goes to and from a `Value`.

    Attributes:
        values: how many values it is made of, itself included, at most.
        depth: how many containers nest in it, itself included.
    """

    to_value: Callable[[Any], Value]
    from_value: Callable[[Value], Any]
    values: int = 1
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a record is laid out.

    Attributes:
        names: of the fields, in the order of the encoding.
        values_of: returns a record's values, in that order.
        writers: turn each of them into what is encoded.
        readers: turn it back.
        bounded: its rules alone keep it within what the codec takes, so that nothing needs to be counted.
    """

    names: tuple[str, ...]
    values_of: Callable[[Any], tuple[Any, ...]]
    writers: tuple[Callable[[Any], Value], ...]
    readers: tuple[Callable[[Value], Any], ...]
    values: int
    depth: int
    bounded: bool


_LAYOUTS: Final[dict[type[Any], _Layout]] = {}


def encode_record(record: Any) -> bytes:
    """Encode a record canonically.

    Raises:
        FormatError: a field is out of its bounds.
    """
    value = to_value(record)
    return encode_ruled(value) if _LAYOUTS[type(record)].bounded else encode(value)


def encode_in(name: str, record: Any, **beside: int | str) -> bytes:
    """Encode a map of a record under a name, and of texts and integers beside it; as `encode_record`."""
    value, layout = {name: to_value(record), **beside}, _layout(type(record))
    if layout.depth < MAX_DEPTH and layout.values + 1 + 2 * len(value) <= MAX_VALUES:
        return encode_ruled({key: value[key] for key in sorted(value)})
    return encode(value)


def decode_record(record_type: type[R], data: bytes, *, max_bytes: int = MAX_BYTES) -> R:
    """Decode a record.

    Args:
        record_type: the dataclass.
        data: canonical bytes.
        max_bytes: refuse anything longer.

    Raises:
        FormatError: not canonical, an unknown or missing field, another type, or out of bounds.
    """
    if len(data) > min(max_bytes, SHORT_BYTES):
        return from_value(record_type, decode(data, max_bytes=max_bytes))
    value = decode_short(data)
    # What its rules let pass, with every map in order, and what gives the same bytes again, is canonical.
    record = from_value(record_type, value)
    if encode_ruled(value) != data:
        raise _not_canonical(record_type)
    return record


def to_value(record: Any) -> Value:
    """Turn a record into the value that is encoded; as `encode_record`."""
    layout = _layout(type(record))
    parts = zip(layout.names, layout.writers, layout.values_of(record), strict=True)
    return {name: write(value) for name, write, value in parts}


def from_value(record_type: type[R], value: Value) -> R:
    """Turn a decoded value into a record; as `decode_record`."""
    layout = _layout(record_type)
    if not isinstance(value, dict):
        raise FormatError(f"{record_type.__name__}: not a map")
    # A decoded map keeps the order of its bytes.
    if tuple(value) != layout.names:
        if value.keys() == set(layout.names):
            raise _not_canonical(record_type)
        raise FormatError(f"{record_type.__name__}: unknown or missing fields")
    try:
        made = {name: read(part) for name, read, part in zip(layout.names, layout.readers, value.values(), strict=True)}
    except FormatError:
        raise _first_fault(record_type, layout, value) from None
    return record_type(**made)


def _first_fault(record_type: type[Any], layout: _Layout, value: dict[str, Value]) -> FormatError:
    """Return what is wrong with a record, and in which field; looked for only once something is."""
    for name, read in zip(layout.names, layout.readers, strict=True):
        try:
            read(value[name])
        except FormatError as error:
            return FormatError(f"{record_type.__name__}.{name}: {error}")
    return _not_canonical(record_type)


def _not_canonical(record_type: type[Any]) -> FormatError:
    return FormatError(f"{record_type.__name__}: not the canonical encoding of its value")


def _layout(record_type: Any) -> _Layout:
    found = _LAYOUTS.get(record_type)
    if found is None:
        found = _LAYOUTS[record_type] = _laid_out(record_type)
    return found


def _laid_out(record_type: Any) -> _Layout:
    hints = typing.get_type_hints(record_type, include_extras=True)
    # Sorted here once: code point order is the order of the UTF-8 bytes.
    fields = {name: _codec_for(hints[name]) for name in sorted(field.name for field in dataclasses.fields(record_type))}
    values = 1 + sum(1 + codec.values for codec in fields.values())
    depth = 1 + max(codec.depth for codec in fields.values())
    bounded = depth <= MAX_DEPTH and values <= MAX_VALUES
    writers = tuple(codec.to_value for codec in fields.values())
    readers = tuple(codec.from_value for codec in fields.values())
    return _Layout(tuple(fields), _getter(*fields), writers, readers, values, depth, bounded)


def _getter(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    get = operator.attrgetter(*names)
    # Of one name it would return the value alone.
    return get if len(names) > 1 else lambda record: (get(record),)


def _codec_for(hint: Any) -> _Codec:
    if typing.get_origin(hint) is typing.Annotated:
        base, rule = typing.get_args(hint)
        return _ruled(base, rule)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not types.NoneType]
        if len(inner) == 1:
            return _optional(_codec_for(inner[0]))
    if hint is bool:
        return _checked(lambda value: isinstance(value, bool), "not a boolean")
    if hint is datetime:
        return _Codec(_time_to_value, _time_from_value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _nested(hint)
    raise TypeError(f"no wire form for {hint!r}")


def _ruled(base: Any, rule: Any) -> _Codec:
    match rule:
        case Fixed(size):
            return _fixed(size)
        case Between(least, most):
            return _checked(lambda v: isinstance(v, bytes) and least <= len(v) <= most, f"not {least} to {most} bytes")
        case Text(most, least):
            return _text(least, most)
        case OneOf():
            return _one_of(rule.options)
        case UInt(least, most):
            return _uint(least, most)
        case Count(least, most):
            return _tuple(_codec_for(typing.get_args(base)[0]), least, most)
    raise TypeError(f"no wire rule {rule!r}")


def _checked(accepts: Callable[[Any], bool], complaint: str) -> _Codec:
    def check(value: Any) -> Any:
        if not accepts(value):
            raise FormatError(complaint)
        return value

    return _Codec(check, check)


# The rules that most fields have are one call each: an inner loop encodes and decodes a record an item.


def _fixed(size: int) -> _Codec:
    def check(value: Any) -> Any:
        if isinstance(value, bytes) and len(value) == size:
            return value
        raise FormatError(f"not {size} bytes")

    return _Codec(check, check)


def _one_of(options: frozenset[str]) -> _Codec:
    def check(value: Any) -> Any:
        if isinstance(value, str) and value in options:
            return value
        raise FormatError(f"not one of {sorted(options)}")

    return _Codec(check, check)


def _text(least: int, most: int) -> _Codec:
    def check(value: Any) -> Any:
        if isinstance(value, str):
            size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
            if least <= size <= most:
                return value
        raise FormatError(f"not a text of {least} to {most} bytes")

    return _Codec(check, check)


def _uint(least: int, most: int) -> _Codec:
    def check(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise FormatError(f"not an integer from {least} to {most}")

    return _Codec(check, check)


def _optional(inner: _Codec) -> _Codec:
    return _Codec(
        lambda value: None if value is None else inner.to_value(value),
        lambda value: None if value is None else inner.from_value(value),
        inner.values,
        inner.depth,
    )


def _nested(record_type: type[Any]) -> _Codec:
    def write(value: Any) -> Value:
        # Another record would be written with its own fields, and refused by whoever reads it.
        if type(value) is not record_type:
            raise FormatError(f"not a {record_type.__name__}")
        return to_value(value)

    layout = _layout(record_type)
    return _Codec(write, lambda value: from_value(record_type, value), layout.values, layout.depth)


def _tuple(inner: _Codec, least: int, most: int) -> _Codec:
    write_inner = inner.to_value

    def check(count: int) -> None:
        if not least <= count <= most:
            raise FormatError(f"not {least} to {most} elements")

    def write(value: Any) -> Value:
        if not isinstance(value, tuple):
            raise FormatError("not a tuple")
        check(len(value))
        return list(map(write_inner, value))

    def read(value: Value) -> Any:
        if not isinstance(value, list):
            raise FormatError("not an array")
        check(len(value))
        return tuple(inner.from_value(part) for part in value)

    return _Codec(write, read, 1 + most * inner.values, 1 + inner.depth)


def _time_to_value(value: Any) -> Value:
    if not isinstance(value, datetime):
        raise FormatError("not a time")
    return to_ms(value)


def _time_from_value(value: Value) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError("not a time")
    return from_ms(value)
