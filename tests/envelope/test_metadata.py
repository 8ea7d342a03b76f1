"""Metadata: bounds of each field, and all of it out of sight."""

from dataclasses import replace
from typing import Any

import pytest

from labelvault.envelope.metadata import KINDS, MAX_METADATA_BYTES, MAX_REQUIRES, Label, Metadata
from labelvault.errors import FormatError
from labelvault.wire.codec import Value, decode, encode
from labelvault.wire.schema import decode_record, encode_record

METADATA = Metadata("task", "t-1", "text/markdown", 3, (Label("category", "code"),), (b"g" * 16,))


def test_metadata_round_trips() -> None:
    """Every kind, and the most of everything."""
    for kind in KINDS:
        made = replace(METADATA, kind=kind)
        assert decode_record(Metadata, encode_record(made)) == made
    most = replace(
        METADATA,
        name="n" * 1000,
        media_type="m" * 200,
        labels=tuple(Label("n" * 200, "v" * 100) for _ in range(64)),
        requires=tuple(number.to_bytes(16, "big") for number in range(MAX_REQUIRES)),
        size=2**52,
    )
    assert len(encode_record(most)) <= MAX_METADATA_BYTES
    assert decode_record(Metadata, encode_record(most)) == most


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "secret"),
        ("kind", ""),
        ("name", ""),
        ("name", "n" * 1001),
        ("media_type", ""),
        ("media_type", "m" * 201),
        ("size", -1),
        ("size", 2**52 + 1),
        ("size", True),
        ("labels", (Label("", "v"),)),
        ("labels", (Label("n" * 201, "v"),)),
        ("labels", (Label("n", "v" * 1001),)),
        ("labels", (Label("n", "v"),) * 65),
        ("labels", (METADATA,)),
        ("requires", (b"g" * 15,)),
        ("requires", tuple(number.to_bytes(16, "big") for number in range(MAX_REQUIRES + 1))),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_P1_metadata_out_of_bounds_is_refused(field: str, value: Any) -> None:
    """On the way out; on the way in, the same values are refused wherever bytes can hold them."""
    with pytest.raises(FormatError):
        encode_record(replace(METADATA, **{field: value}))
    good = decode(encode_record(METADATA))
    assert isinstance(good, dict)
    if field not in ("labels", "requires") and value != -1:
        with pytest.raises(FormatError):
            decode_record(Metadata, encode(good | {field: value}))


def test_P1_too_many_labels_or_requirements_are_refused_on_the_way_in() -> None:
    """Counts are bounded where bytes are read, too."""
    good = decode(encode_record(METADATA))
    assert isinstance(good, dict)
    labels: list[Value] = [{"name": "n", "value": "v"}] * 65
    requires: list[Value] = [number.to_bytes(16, "big") for number in range(MAX_REQUIRES + 1)]
    for field, parts in (("labels", labels), ("requires", requires)):
        read = decode_record(Metadata, encode(good | {field: parts[:-1]}))
        assert len(getattr(read, field)) == len(parts) - 1
        with pytest.raises(FormatError):
            decode_record(Metadata, encode(good | {field: parts}))


@pytest.mark.parametrize("requires", [(b"h" * 16, b"g" * 16), (b"g" * 16, b"g" * 16)], ids=["unsorted", "twice"])
def test_P1_required_ids_are_sorted_and_different(requires: tuple[bytes, ...]) -> None:
    """One set of requirements has one encoding; neither bytes nor a program make another."""
    with pytest.raises(FormatError, match="sorted and different"):
        replace(METADATA, requires=requires)
    good = decode(encode_record(METADATA))
    assert isinstance(good, dict)
    with pytest.raises(FormatError, match="sorted and different"):
        decode_record(Metadata, encode(good | {"requires": list[Value](requires)}))
    assert decode_record(Metadata, encode(good | {"requires": [b"g" * 16, b"h" * 16]})).requires == (
        b"g" * 16,
        b"h" * 16,
    )
