"""The codec: one encoding for each value, every bound checked, one error class for all that is refused."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgpack
import msgpack.fallback
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_BYTES, MAX_DEPTH, MAX_INT, MAX_VALUES, SHORT_BYTES, decode, decode_short, encode
from tests.vectors.pure import pure_python

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, MAX_INT) | st.text(max_size=40) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=20),
    max_leaves=30,
)


def array(size: int, body: bytes) -> bytes:
    """An array of 16 to 65,535 elements."""
    return b"\xdc" + size.to_bytes(2, "big") + body


@given(VALUES)
def test_values_round_trip(value: Any) -> None:
    """What is encoded decodes to the same value, deeper nesting aside."""
    try:
        data = encode(value)
    except FormatError as error:
        assert "nested deeper" in str(error)  # noqa: PT017
        return
    assert decode(data) == value


@given(VALUES, st.data())
def test_P1_altered_encodings_are_refused_or_are_another_value(value: Any, data: st.DataObject) -> None:
    """One byte changed, dropped or added: refused, or the one encoding of some other value."""
    try:
        encoded = encode(value)
    except FormatError:
        return
    at = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.binary(max_size=2))
    altered = encoded[:at] + byte + encoded[at + 1 :]
    try:
        decoded = decode(altered)
    except FormatError:
        return
    assert encode(decoded) == altered


# Bytes that begin like msgpack come further than random ones.
MSGPACK_LIKE = st.lists(
    st.sampled_from([bytes([lead]) for lead in range(256)])
    | st.sampled_from([b"\xa1a", b"\xa1b", b"\x81", b"\x82", b"\x92", b"\xc4\x01", b"\xd9\x20" + b"s" * 32])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


@settings(max_examples=400)
@given(st.binary(max_size=60) | MSGPACK_LIKE)
@example(b"")
def test_P1_arbitrary_bytes_raise_FormatError_only(data: bytes) -> None:
    """Nothing but FormatError leaves the decoder, and whatever it takes encodes back to the same bytes."""
    try:
        value = decode(data)
    except FormatError:
        return
    assert encode(value) == data


FAULTS = {
    "nothing": b"",
    "trailing byte": b"\x00\x00",
    "reserved type byte": b"\xc1",
    "negative fixint": b"\xff",
    "int8": b"\xd0\x01",
    "int16": b"\xd1\x01\x00",
    "int32": b"\xd2\x00\x01\x00\x00",
    "int64": b"\xd3" + bytes(3) + b"\x01" + bytes(4),
    "integer over 2^63-1": b"\xcf\x80" + bytes(7),
    "uint8 that fits a fixint": b"\xcc\x7f",
    "uint16 that fits 8 bits": b"\xcd\x00\xff",
    "uint32 that fits 16 bits": b"\xce\x00\x00\xff\xff",
    "uint64 that fits 32 bits": b"\xcf" + bytes(4) + b"\xff" * 4,
    "float32": b"\xca\x3f\x80\x00\x00",
    "float64": b"\xcb\x3f\xf0" + bytes(6),
    "NaN": b"\xcb\x7f\xf8" + bytes(6),
    "infinity": b"\xcb\x7f\xf0" + bytes(6),
    "ext": b"\xc7\x01\x05x",
    "fixext": b"\xd4\x05x",
    "ext16": b"\xc8\x00\x01\x05x",
    "ext32": b"\xc9\x00\x00\x00\x01\x05x",
    "timestamp": b"\xd6\xff" + bytes(4),
    "timestamp 64": b"\xd7\xff" + bytes(8),
    "str8 that fits a fixstr": b"\xd9\x1f" + b"a" * 31,
    "str16 that fits 8 bits": b"\xda\x00\x20" + b"a" * 32,
    "str32 that fits 16 bits": b"\xdb\x00\x00\x01\x00" + b"a" * 256,
    "bin16 that fits 8 bits": b"\xc5\x00\x01x",
    "bin32 that fits 16 bits": b"\xc6\x00\x00\x01\x00" + b"x" * 256,
    "array16 that fits a fixarray": b"\xdc\x00\x0f" + bytes(15),
    "array32 that fits 16 bits": b"\xdd\x00\x00\x00\x10" + bytes(16),
    "map16 that fits a fixmap": b"\xde\x00\x01\xa1a\x00",
    "map32 that fits 16 bits": b"\xdf\x00\x00\x00\x01\xa1a\x00",
    "str that ends early": b"\xa2a",
    "bin that ends early": b"\xc4\x02x",
    "length that ends early": b"\xda\x00",
    "array that ends early": b"\x92\x00",
    "map that ends early": b"\x81\xa1a",
    "str of 2^32-1": b"\xdb\xff\xff\xff\xffa",
    "bin of 2^32-1": b"\xc6\xff\xff\xff\xffa",
    "array of 2^32-1": b"\xdd\xff\xff\xff\xff\x00",
    "map of 2^32-1": b"\xdf\xff\xff\xff\xff\xa1a\x00",
    "bad UTF-8": b"\xa1\xff",
    "overlong UTF-8": b"\xa2\xc0\xaf",
    "UTF-8 surrogate": b"\xa3\xed\xa0\x80",
    "bad UTF-8 in a key": b"\x81\xa1\xff\x00",
    "duplicate key": b"\x82\xa1a\x00\xa1a\x00",
    "duplicate key with another value": b"\x82\xa1a\x00\xa1a\x01",
    "unsorted keys": b"\x82\xa1b\x00\xa1a\x00",
    "unsorted keys further in": b"\x91\x81\xa1z\x82\xa1b\x00\xa1a\x00",
    "key that is an integer": b"\x81\x00\x00",
    "key that is bytes": b"\x81\xc4\x01a\x00",
    "keys of two types": b"\x82\xa1a\x00\xc4\x01b\x00",
    "key that is nil": b"\x81\xc0\x00",
    "key that is a boolean": b"\x81\xc3\x00",
    "key that is an array": b"\x81\x90\x00",
    "key that is a map": b"\x81\x80\x00",
    "nested too deep": b"\x91" * (MAX_DEPTH + 1) + b"\x00",
    "maps nested too deep": b"\x81\xa1a" * (MAX_DEPTH + 1) + b"\x00",
    "nested 60,000 deep": b"\x91" * 60_000,
    "too many values": array(MAX_VALUES, bytes(MAX_VALUES)),
    "too long": b"\xc6\x00\x01\x00\x00" + bytes(MAX_BYTES),
}

TWINS = {
    "fixint": b"\x7f",
    "uint8": b"\xcc\x80",
    "uint16": b"\xcd\x01\x00",
    "uint32": b"\xce\x00\x01\x00\x00",
    "uint64": b"\xcf" + bytes(3) + b"\x01" + bytes(4),
    "largest integer": b"\xcf\x7f" + b"\xff" * 7,
    "fixstr": b"\xbf" + b"a" * 31,
    "str8": b"\xd9\x20" + b"a" * 32,
    "str16": b"\xda\x01\x00" + b"a" * 256,
    "bin8": b"\xc4\x01x",
    "empty bin8": b"\xc4\x00",
    "bin16": b"\xc5\x01\x00" + b"x" * 256,
    "fixarray": b"\x9f" + bytes(15),
    "array16": b"\xdc\x00\x10" + bytes(16),
    "array16 of 255": b"\xdc\x00\xff" + bytes(255),
    "array16 of 256": b"\xdc\x01\x00" + bytes(256),
    "fixmap": b"\x81\xa1a\x00",
    "map16": b"\xde\x00\x10" + b"".join(b"\xa1" + bytes([97 + at]) + b"\x00" for at in range(16)),
    "sorted keys": b"\x82\xa1a\x00\xa1b\x00",
    "shorter key first": b"\x82\xa1a\x00\xa2aa\x00",
    "keys in the order of their UTF-8 bytes": b"\x82\xa3\xef\xbf\xbd\x00\xa4\xf0\x9f\x98\x80\x00",
    "nil, false, true": b"\x93\xc0\xc2\xc3",
    "deepest nesting": b"\x91" * MAX_DEPTH + b"\x00",
    "most values": array(MAX_VALUES - 1, bytes(MAX_VALUES - 1)),
    "longest": b"\xc5\xff\xfd" + bytes(MAX_BYTES - 3),
}


def assert_refused(data: bytes) -> None:
    """FormatError and no other class, on any interpreter."""
    with pytest.raises(FormatError) as caught:
        decode(data)
    assert type(caught.value) is FormatError


@pytest.mark.parametrize("name", FAULTS)
def test_P1_fault_is_refused(name: str) -> None:
    """Each single fault in the encoding is refused with the one error class."""
    assert_refused(FAULTS[name])


@pytest.mark.parametrize("name", TWINS)
def test_P1_twin_is_accepted(name: str) -> None:
    """What lies just inside each bound is taken, and is what the encoder writes."""
    assert encode(decode(TWINS[name])) == TWINS[name]


def test_P1_faults_inside_containers_are_refused() -> None:
    """A fault is found wherever it stands: as an element, as a value, or after a good element."""
    short = {name: data for name, data in FAULTS.items() if 0 < len(data) < 100 and name != "trailing byte"}
    assert len(short) > 40
    for data in short.values():
        assert_refused(b"\x91" + data)
        assert_refused(b"\x92\x00" + data)
        assert_refused(b"\x81\xa1a" + data)


def outcome(data: bytes) -> Any:
    """The decoded value, or which error."""
    try:
        return decode(data)
    except FormatError:
        return FormatError


def test_P3_both_unpackers_agree_on_named_faults() -> None:
    """msgpack's C and pure-Python unpackers give the same outcome on every named fault and twin."""
    in_c = [outcome(data) for data in [*FAULTS.values(), *TWINS.values()]]
    compiled = msgpack.unpackb
    with pure_python():
        assert msgpack.unpackb is not compiled
        assert [outcome(data) for data in [*FAULTS.values(), *TWINS.values()]] == in_c
    assert msgpack.unpackb is compiled


def test_P3_the_compiled_unpacker_is_the_one_in_use() -> None:
    """Otherwise the comparison would hold the pure-Python unpacker to itself."""
    assert msgpack.Unpacker is not msgpack.fallback.Unpacker


@given(st.binary(max_size=40) | MSGPACK_LIKE | VALUES.map(lambda value: msgpack.packb(value)))
def test_P3_both_unpackers_agree_on_any_bytes(data: bytes) -> None:
    """The same, on bytes that hypothesis draws."""
    in_c = outcome(data)
    with pure_python():
        assert outcome(data) == in_c


def hostile() -> Iterator[tuple[str, bytes]]:
    """Inputs up to 64 KiB that cost msgpack, or us, the most memory or time for their size."""
    letters = (chr(0x3041 + at).encode() for at in count())
    most = MAX_VALUES - 1

    def text() -> bytes:
        return b"\xa3" + next(letters)

    yield "nested arrays", b"\x91" * MAX_BYTES
    yield "array that claims 2^32-1", b"\xdd\xff\xff\xff\xff" + bytes(MAX_BYTES - 5)
    yield "map that claims 2^32-1", b"\xdf\xff\xff\xff\xff" + bytes(MAX_BYTES - 5)
    yield "array of as many bytes as there are", b"\xdc\xff\xfd" + bytes(MAX_BYTES - 3)
    yield "empty maps, as many bytes as there are", b"\xdc\xff\xfd" + b"\x80" * (MAX_BYTES - 3)
    yield "empty maps", array(most, b"\x80" * most)
    yield "empty arrays", array(most, b"\x90" * most)
    yield "large integers", array(most, (b"\xcf\x7f" + b"\xff" * 7) * most)
    yield "different texts", array(most, b"".join(text() for _ in range(most)))
    yield "long texts", array(most, b"".join(b"\xaf" + next(letters) * 5 for _ in range(most)))
    nests = most // 8
    yield (
        "nested maps",
        array(nests, b"".join((b"\x81" + text()) * 3 + b"\x81" + text() + b"\x00" for _ in range(nests))),
    )
    keys = sorted(next(letters) for _ in range(most // 2))
    yield "map of empty maps", b"\xde" + len(keys).to_bytes(2, "big") + b"".join(b"\xa3" + k + b"\x80" for k in keys)
    unsorted = b"".join(b"\xa3" + k + b"\x00" for k in reversed(keys))
    yield "map in reverse", b"\xde" + len(keys).to_bytes(2, "big") + unsorted
    yield "one byte string", b"\xc5" + (MAX_BYTES - 4).to_bytes(2, "big") + bytes(MAX_BYTES - 4)
    yield "one wide text", b"\xda\xff\xf8" + b"a" * (0xFFF8 - 4) + "\N{GRINNING FACE}".encode()
    yield "bytes that are no UTF-8", b"\xda\xff\xf8" + b"\xff" * 0xFFF8
    yield "zeros", bytes(MAX_BYTES)


HOSTILE = dict(hostile())


def best_of(runs: int, measure: Callable[[], float]) -> float:
    """The least of several measurements: what the code needs, without what the machine was busy with."""
    return min(measure() for _ in range(runs))


@pytest.mark.parametrize("name", HOSTILE)
def test_P2_memory_is_bounded(name: str) -> None:
    """Decoding takes at most 8 times the input and 1 MiB, whatever it ends in."""
    data = HOSTILE[name]
    assert len(data) <= MAX_BYTES
    outcome(data)

    def peak() -> float:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            outcome(data)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    assert best_of(3, peak) <= 8 * len(data) + 1024 * 1024


@pytest.mark.parametrize("lead", [b"\xdc\x03\xfb", b"\xdd\x00\x00\x03\xf8", b"\xde\x01\xfc", b"\x9f", b"\x8f"])
def test_P2_memory_is_bounded_for_what_is_built_before_it_is_walked(lead: bytes) -> None:
    """A short record of nested containers, each of which claims all there is, takes no more than a long one may."""
    data = lead * (SHORT_BYTES // len(lead))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(FormatError):
            decode_short(data)
        assert tracemalloc.get_traced_memory()[1] - before <= 8 * len(data) + 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_P2_time_is_bounded(name: str) -> None:
    """Decoding takes at most 50 ms."""
    data = HOSTILE[name]

    def seconds() -> float:
        start = time.perf_counter()
        outcome(data)
        return time.perf_counter() - start

    assert best_of(5, seconds) <= 0.050


def test_P2_hostile_inputs_include_some_that_are_accepted() -> None:
    """The bounds are measured on full decodes too, not on early refusals only."""
    assert sum(outcome(data) is not FormatError for data in HOSTILE.values()) >= 8


@pytest.mark.parametrize(
    "value",
    [
        -1,
        MAX_INT + 1,
        2**64,
        1.0,
        float("nan"),
        {1: 0},
        {b"a": 0},
        {"a": {None: 0}},
        {1, 2},
        object(),
        bytearray(b"a"),
        "\ud800",
        {"\udfff": 0},
        [[[[[[[[[0]]]]]]]]],
        bytes(MAX_BYTES),
        "a" * MAX_BYTES,
        [0] * MAX_VALUES,
        [[0] * (MAX_VALUES // 2)] * 2,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_P4_encode_refuses_what_decode_would_refuse(value: Any) -> None:
    """Types, integers, depth, count and size are bounded on the way out as on the way in."""
    with pytest.raises(FormatError):
        encode(value)


def test_encode_refuses_a_value_that_holds_itself() -> None:
    """Depth is bounded before anything is packed: no RecursionError leaks."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(FormatError, match="nested deeper"):
        encode(loop)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("trailing byte", "trailing bytes"),
        ("array of 2^32-1", "ends too early"),
        ("str of 2^32-1", "ends too early"),
        ("integer over 2^63-1", "lies outside"),
        ("nested 60,000 deep", "nested deeper"),
        ("too many values", "more than 4096 values"),
        ("timestamp", "type byte 0xd6"),
        ("ext", "type byte 0xc7"),
        ("float64", "type byte 0xcb"),
    ],
)
def test_P2_bounds_are_checked_before_msgpack_sees_the_bytes(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What claims too much is refused by the walk over its bytes, which builds nothing."""
    monkeypatch.setattr(msgpack, "unpackb", None)
    with pytest.raises(FormatError, match=reason):
        decode(FAULTS[name])


def test_P4_integers_are_never_wrapped() -> None:
    """The largest integer is taken; one more is refused on both ways."""
    assert decode(encode(MAX_INT)) == 2**63 - 1
    assert_refused(msgpack.packb(2**63))
    assert_refused(msgpack.packb(2**64 - 1))
    assert_refused(msgpack.packb(-1))
    assert_refused(msgpack.packb(-(2**63)))


def test_own_size_bound_replaces_the_default() -> None:
    """`max_bytes` tightens and widens, alike on both ways, and is checked before anything else."""
    assert decode(encode([0]), max_bytes=2) == [0]
    with pytest.raises(FormatError, match="2 bytes, more than the 1 allowed"):
        decode(encode([0]), max_bytes=1)
    with pytest.raises(FormatError, match="2 bytes, more than the 1 allowed"):
        encode([0], max_bytes=1)
    long = encode(bytes(MAX_BYTES), max_bytes=2 * MAX_BYTES)
    assert decode(long, max_bytes=2 * MAX_BYTES) == bytes(MAX_BYTES)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 255, 256, 257, 1000])
def test_every_length_has_an_encoding(size: int) -> None:
    """Containers and strings of every size around a change of form round trip."""
    values: list[Any] = [[0] * size, {f"{at:04}": at for at in range(size)}, "s" * size, bytes(size), [size]]
    for value in values:
        assert decode(encode(value)) == value


def test_tuples_are_written_as_arrays_and_maps_sorted() -> None:
    """Values that mean the same are the same bytes."""
    with_tuple: Any = {"b": (1, 2), "a": None}
    assert encode(with_tuple) == encode({"a": None, "b": [1, 2]}) == b"\x82\xa1a\xc0\xa1b\x92\x01\x02"
