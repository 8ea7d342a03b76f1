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
        fields: by name, in the order of the encoding.
        bounded: its rules alone keep it within what the codec takes, so that nothing needs to be counted.
    """

    fields: dict[str, _Codec]
    values: int
    depth: int

    @property
    def bounded(self) -> bool:
        return self.depth <= MAX_DEPTH and self.values <= MAX_VALUES


_LAYOUTS: Final[dict[type[Any], _Layout]] = {}


def encode_record(record: Any) -> bytes:
    """Encode a record canonically.

    Raises:
        FormatError: a field is out of its bounds.
    """
    value, layout = to_value(record), _layout(type(record))
    return encode_ruled(value) if layout.bounded else encode(value)


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
    # What its rules let pass, and what encodes to the same bytes again, is canonical.
    record = from_value(record_type, decode_short(data))
    if encode_record(record) != data:
        raise FormatError(f"{record_type.__name__}: not the canonical encoding of its value")
    return record


def to_value(record: Any) -> Value:
    """Turn a record into the value that is encoded; as `encode_record`."""
    return {name: codec.to_value(getattr(record, name)) for name, codec in _layout(type(record)).fields.items()}


def from_value(record_type: type[R], value: Value) -> R:
    """Turn a decoded value into a record; as `decode_record`."""
    fields = _layout(record_type).fields
    if not isinstance(value, dict):
        raise FormatError(f"{record_type.__name__}: not a map")
    if value.keys() != fields.keys():
        raise FormatError(f"{record_type.__name__}: unknown or missing fields")
    made: dict[str, Any] = {}
    for name, codec in fields.items():
        try:
            made[name] = codec.from_value(value[name])
        except FormatError as error:
            raise FormatError(f"{record_type.__name__}.{name}: {error}") from error
    return record_type(**made)


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
    return _Layout(fields, values, 1 + max(codec.depth for codec in fields.values()))


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
            return _checked(lambda v: isinstance(v, bytes) and len(v) == size, f"not {size} bytes")
        case Between(least, most):
            return _checked(lambda v: isinstance(v, bytes) and least <= len(v) <= most, f"not {least} to {most} bytes")
        case Text():
            return _checked(
                lambda v: isinstance(v, str) and rule.least <= _utf8_size(v) <= rule.most,
                f"not a text of {rule.least} to {rule.most} bytes",
            )
        case OneOf():
            return _checked(lambda v: isinstance(v, str) and v in rule.options, f"not one of {sorted(rule.options)}")
        case UInt(least, most):
            return _checked(
                lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most,
                f"not an integer from {least} to {most}",
            )
        case Count(least, most):
            return _tuple(_codec_for(typing.get_args(base)[0]), least, most)
    raise TypeError(f"no wire rule {rule!r}")


def _checked(accepts: Callable[[Any], bool], complaint: str) -> _Codec:
    def check(value: Any) -> Any:
        if not accepts(value):
            raise FormatError(complaint)
        return value

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
    def check(count: int) -> None:
        if not least <= count <= most:
            raise FormatError(f"not {least} to {most} elements")

    def write(value: Any) -> Value:
        if not isinstance(value, tuple):
            raise FormatError("not a tuple")
        check(len(value))
        return [inner.to_value(part) for part in value]

    def read(value: Value) -> Any:
        if not isinstance(value, list):
            raise FormatError("not an array")
        check(len(value))
        return tuple(inner.from_value(part) for part in value)

    return _Codec(write, read, 1 + most * inner.values, 1 + inner.depth)


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _time_to_value(value: Any) -> Value:
    if not isinstance(value, datetime):
        raise FormatError("not a time")
    return to_ms(value)


def _time_from_value(value: Value) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError("not a time")
    return from_ms(value)
