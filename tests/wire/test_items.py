"""The item header: all of it named, all of it bound, one format."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.wire.codec import Value, decode, encode
from labelvault.wire.items import ITEM_FORMAT, MAX_HEADER_BYTES, ItemHeader, parse_header

HEADER = ItemHeader(ITEM_FORMAT, b"c" * 32, b"p" * 16, b"i" * 16, 1)


@given(
    st.builds(
        ItemHeader,
        st.just(1),
        st.binary(min_size=32, max_size=32),
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=16, max_size=16),
        st.integers(1, 2**32),
    )
)
def test_header_round_trips(header: ItemHeader) -> None:
    """Any header in bounds is written and read back, within the stated size."""
    data = header.encode()
    assert len(data) <= MAX_HEADER_BYTES
    assert parse_header(data) == header


def test_header_bytes_stay_as_they_are() -> None:
    """Payloads are sealed over these bytes: they never change."""
    assert HEADER.encode() == (
        b"\x85\xa6client\xc4\x20" + b"c" * 32 + b"\xa6format\x01\xa4item\xc4\x10" + b"i" * 16
        + b"\xa7project\xc4\x10" + b"p" * 16 + b"\xa7version\x01"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 0),
        ("format", 2),
        ("format", None),
        ("format", "1"),
        ("format", True),
        ("client", b"c" * 31),
        ("client", b"c" * 33),
        ("project", b"p" * 15),
        ("item", b"i" * 17),
        ("version", 0),
        ("version", 2**32 + 1),
        ("version", 2**63 - 1),
        ("suite", 1),
    ],
)
def test_F7_P4_header_out_of_bounds_is_refused(field: str, value: Any) -> None:
    """Another format (also none), another size, a version that could not be counted on from, an unknown field."""
    good = decode(HEADER.encode())
    assert isinstance(good, dict)
    with pytest.raises(FormatError):
        parse_header(encode(good | {field: value}))
    if field in good:
        with pytest.raises(FormatError):
            replace(HEADER, **{field: value}).encode()


def test_F1_F2_flipped_bits_and_truncations_never_give_the_same_header() -> None:
    """Each is refused, or is plainly the header of something else."""
    data = HEADER.encode()
    for at in range(8 * len(data)):
        flipped = (int.from_bytes(data, "big") ^ 1 << at).to_bytes(len(data), "big")
        try:
            assert parse_header(flipped) != HEADER
        except FormatError:
            continue
    for size in range(len(data)):
        with pytest.raises(FormatError):
            parse_header(data[:size])
    for more in range(1, 65):
        with pytest.raises(FormatError):
            parse_header(data + bytes(more))


def test_P2_long_header_is_refused_unread() -> None:
    """The bound on headers is far below that on messages."""
    long: Value = {"a": bytes(MAX_HEADER_BYTES)}
    with pytest.raises(FormatError, match=f"more than the {MAX_HEADER_BYTES} allowed"):
        parse_header(encode(long))
