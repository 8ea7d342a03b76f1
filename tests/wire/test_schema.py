"""Records: each kind of field takes what it says, and nothing else, on both ways."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_INT, Value, decode, encode
from labelvault.wire.schema import (
    Between,
    Count,
    Fixed,
    OneOf,
    Text,
    UInt,
    decode_record,
    encode_record,
    from_value,
    to_value,
)
from labelvault.wire.times import MAX_MS, from_ms

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Inner:
    """A nested record, with a rule of its own."""

    least: Annotated[int, UInt(0, 9)]
    most: Annotated[int, UInt(0, 9)]

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise FormatError("out of order")


@dataclass(frozen=True, slots=True)
class Twin:
    """Another class with the fields of `Inner`, and one more."""

    least: Annotated[int, UInt(0, 9)]
    most: Annotated[int, UInt(0, 9)]


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of each kind."""

    fixed: Annotated[bytes, Fixed(4)]
    between: Annotated[bytes, Between(1, 3)]
    text: Annotated[str, Text(4, 1)]
    one_of: Annotated[str, OneOf("red", "green")]
    number: Annotated[int, UInt(2, 5)]
    flag: bool
    at: datetime
    maybe: Annotated[bytes, Fixed(2)] | None
    some: Annotated[tuple[Annotated[int, UInt(0, 9)], ...], Count(1, 2)]
    inner: Inner
    inners: Annotated[tuple[Inner, ...], Count(0, 2)]


GOOD = Everything(b"abcd", b"x", "ü", "red", 2, True, NOW, None, (1, 2), Inner(1, 2), (Inner(0, 0),))

# Field, what a program may put there, what the wire may hold there.
OUT_OF_BOUNDS: list[tuple[str, Any, Value]] = [
    ("fixed", b"abc", b"abc"),
    ("fixed", b"abcde", b"abcde"),
    ("fixed", "abcd", "abcd"),
    ("fixed", None, None),
    ("fixed", 4, 4),
    ("between", b"", b""),
    ("between", b"abcd", b"abcd"),
    ("between", "x", "x"),
    ("text", "", ""),
    ("text", "abcde", "abcde"),
    ("text", "üüü", "üüü"),
    ("text", b"x", b"x"),
    ("text", 1, 1),
    ("one_of", "blue", "blue"),
    ("one_of", "", ""),
    ("one_of", b"red", b"red"),
    ("one_of", None, None),
    ("one_of", ["red"], ["red"]),
    ("one_of", {"red": 1}, {"red": 1}),
    ("number", 1, 1),
    ("number", 6, 6),
    ("number", True, True),
    ("number", "2", "2"),
    ("number", None, None),
    ("flag", 1, 1),
    ("flag", 0, 0),
    ("flag", None, None),
    ("flag", "true", "true"),
    ("at", 5, "2026-03-04"),
    ("at", "2026-03-04", b"2026"),
    ("at", None, None),
    ("at", False, False),
    ("at", NOW.replace(tzinfo=None), MAX_MS + 1),
    ("at", NOW.astimezone(timezone(timedelta(hours=1))), MAX_INT),
    ("at", NOW + timedelta(microseconds=1), []),
    ("maybe", b"", b""),
    ("maybe", b"abc", b"abc"),
    ("maybe", "ab", "ab"),
    ("maybe", False, False),
    ("some", (), []),
    ("some", (1, 2, 3), [1, 2, 3]),
    ("some", (1, 10), [1, 10]),
    ("some", (1, None), [1, None]),
    ("some", [1], {"a": 1}),
    ("some", None, None),
    ("some", "1", "1"),
    ("inner", Twin(1, 2), {"least": 1}),
    ("inner", None, None),
    ("inner", {"least": 1, "most": 2}, {"least": 1, "most": 2, "more": 3}),
    ("inner", (1, 2), [1, 2]),
    ("inner", b"", {"least": 2, "most": 1}),
    ("inners", (Inner(0, 0),) * 3, [{"least": 0, "most": 0}] * 3),
    ("inners", (Twin(0, 0),), [{"least": 0, "most": 10}]),
    ("inners", (None,), [None]),
]


def test_record_round_trips() -> None:
    """A record is one canonical map from field name to value."""
    data = encode_record(GOOD)
    assert decode_record(Everything, data) == GOOD
    assert decode(data) == to_value(GOOD)
    assert list(decode(data)) == sorted(Everything.__slots__)  # type: ignore[arg-type]


@given(
    st.builds(
        Everything,
        fixed=st.binary(min_size=4, max_size=4),
        between=st.binary(min_size=1, max_size=3),
        text=st.text(min_size=1, max_size=4).filter(lambda text: len(text.encode()) <= 4),
        one_of=st.sampled_from(["red", "green"]),
        number=st.integers(2, 5),
        flag=st.booleans(),
        at=st.integers(0, MAX_MS).map(from_ms),
        maybe=st.none() | st.binary(min_size=2, max_size=2),
        some=st.lists(st.integers(0, 9), min_size=1, max_size=2).map(tuple),
        inner=st.builds(Inner, st.integers(0, 4), st.integers(5, 9)),
        inners=st.lists(st.builds(Inner, st.integers(0, 4), st.integers(5, 9)), max_size=2).map(tuple),
    )
)
def test_any_record_in_bounds_round_trips(record: Everything) -> None:
    """What the bounds allow is written and read back, and written the same again."""
    data = encode_record(record)
    again = decode_record(Everything, data)
    assert again == record
    assert encode_record(again) == data


@pytest.mark.parametrize(("field", "value", "wire"), OUT_OF_BOUNDS, ids=lambda value: repr(value)[:24])
def test_P1_field_out_of_bounds_is_refused_on_both_ways(field: str, value: Any, wire: Value) -> None:
    """Another type and anything out of bounds is refused, on both ways; the error names the field."""
    with pytest.raises(FormatError):
        encode_record(replace(GOOD, **{field: value}))
    good = to_value(GOOD)
    assert isinstance(good, dict)
    assert from_value(Everything, good) == GOOD
    with pytest.raises(FormatError) as caught:
        from_value(Everything, good | {field: wire})
    assert type(caught.value) is FormatError
    assert f"Everything.{field}" in str(caught.value)


EDGES: list[tuple[str, Any]] = [
    ("between", b"abc"),
    ("text", "abcd"),
    ("text", "üü"),
    ("one_of", "green"),
    ("number", 5),
    ("flag", False),
    ("at", from_ms(0)),
    ("at", from_ms(MAX_MS)),
    ("maybe", b"ab"),
    ("some", (9,)),
    ("some", (0, 9)),
    ("inner", Inner(9, 9)),
    ("inners", ()),
    ("inners", (Inner(0, 0),) * 2),
]


@pytest.mark.parametrize(("field", "value"), EDGES, ids=lambda value: repr(value)[:24])
def test_edges_of_the_bounds_are_taken(field: str, value: Any) -> None:
    """The last value inside each bound is the twin of those just outside."""
    record = replace(GOOD, **{field: value})
    assert decode_record(Everything, encode_record(record)) == record


@pytest.mark.parametrize("field", list(Everything.__slots__))
def test_P1_missing_field_is_refused(field: str) -> None:
    """No field has a default, nil included."""
    value = to_value(GOOD)
    assert isinstance(value, dict)
    del value[field]
    with pytest.raises(FormatError, match="unknown or missing"):
        decode_record(Everything, encode(value))


@pytest.mark.parametrize("name", ["", "fixe", "fixed2", "Fixed", "__class__"])
def test_P1_unknown_field_is_refused(name: str) -> None:
    """A field that this version does not know might have changed the meaning of the others."""
    value = to_value(GOOD)
    assert isinstance(value, dict)
    with pytest.raises(FormatError, match="unknown or missing"):
        decode_record(Everything, encode(value | {name: 0}))


@pytest.mark.parametrize("value", [None, 0, True, "fixed", b"", [], [1, 2]], ids=repr)
def test_P1_what_is_no_map_is_no_record(value: Value) -> None:
    """A record is a map, whatever else its bytes may decode to."""
    with pytest.raises(FormatError, match="not a map"):
        decode_record(Everything, encode(value))


def test_rule_of_a_record_holds_on_decoding() -> None:
    """What the class refuses to be made of, no bytes make it of."""
    with pytest.raises(FormatError, match="out of order"):
        Inner(2, 1)
    with pytest.raises(FormatError, match="out of order"):
        decode_record(Inner, encode({"least": 2, "most": 1}))
    assert decode_record(Inner, encode({"least": 1, "most": 1})) == Inner(1, 1)


def test_lone_surrogates_are_refused() -> None:
    """A text that has no UTF-8 form is refused on the way out, although its size fits."""
    with pytest.raises(FormatError):
        encode_record(replace(GOOD, text="\ud800"))


def test_size_bound_is_passed_on() -> None:
    """`max_bytes` is checked before the bytes are looked at."""
    data = encode_record(GOOD)
    assert decode_record(Everything, data, max_bytes=len(data)) == GOOD
    with pytest.raises(FormatError, match="more than"):
        decode_record(Everything, data, max_bytes=len(data) - 1)


@given(st.binary(max_size=80))
def test_P1_arbitrary_bytes_raise_FormatError_only(data: bytes) -> None:
    """Nothing but FormatError leaves a record's parser."""
    with pytest.raises(FormatError):
        decode_record(Everything, data)


def _class_with(hint: Any) -> Callable[[Any], Any]:
    @dataclass(frozen=True, slots=True)
    class Odd:
        field: hint

    return Odd


@pytest.mark.parametrize(
    "hint",
    [int, bytes, str, dict, int | str, int | str | None, Annotated[int, "rule"], list[int]],
    ids=lambda hint: str(hint)[:30],
)
def test_field_without_a_bound_is_a_mistake_of_the_program(hint: Any) -> None:
    """A field whose size nobody stated can't be declared by oversight."""
    with pytest.raises(TypeError, match="no wire"):
        encode_record(_class_with(hint)(0))
