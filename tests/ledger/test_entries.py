"""Entries: one encoding, strict reading, and nothing in them that a title could hide in."""

import dataclasses
import types
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.ledger.entries import (
    KINDS,
    MAX_ENTRY_BYTES,
    Alarmed,
    Certified,
    Denied,
    Dropped,
    Enrolled,
    Entry,
    Frozen,
    Granted,
    Junk,
    ReceiptEntry,
    Released,
    ReleasedItem,
    Restored,
    Revoked,
    Rotated,
    Sealed,
    Shredded,
    decode_entry,
    encode_entry,
)
from labelvault.wire.codec import decode, encode
from labelvault.wire.messages import DENIAL_CODES, MAX_LEASE_ITEMS
from labelvault.wire.schema import Between, Count, Fixed, OneOf, UInt, to_value

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
A16, B16 = b"a" * 16, b"b" * 16
A32, B32 = b"a" * 32, b"b" * 32
RELEASED = Released(
    at=AT,
    lease_id=A32,
    grant_hash=B32,
    contractor=A32,
    project=A16,
    tier="desk",
    presence="key",
    task=A16,
    items=(ReleasedItem(A16, 1, A32), ReleasedItem(B16, 2**32, B32)),
    issued_at=AT,
    expires_at=LATER,
    replaces=B32,
)
CERTIFIED = Certified(at=AT, issuer=A32, serial=1, certificate=B32, epoch=A16)
SEALED = Sealed(at=AT, project=A16, item=B16, version=3, digest=A32)
GRANTED = Granted(
    at=AT,
    grant_hash=A32,
    grant_id=A16,
    contractor=B32,
    project=B16,
    tier="helper",
    presence="device",
    expires_at=LATER,
)
EXAMPLES: list[Entry] = [
    CERTIFIED,
    SEALED,
    GRANTED,
    Enrolled(at=AT, contractor=A32, tier="desk", presence_key=True),
    Enrolled(at=AT, contractor=A32, tier="helper", presence_key=False),
    RELEASED,
    dataclasses.replace(RELEASED, tier="helper", presence="device", replaces=None),
    *(Denied(at=AT, request_hash=A32, contractor=B32, project=A16, code=code) for code in DENIAL_CODES),
    ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="opened", erased=None),
    ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="submitted", erased=None),
    ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="closed", erased="process-exit"),
    ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="closed", erased="best-effort"),
    Revoked(at=AT, kind="grant", id=A16),
    Revoked(at=AT, kind="contractor", id=A32),
    Revoked(at=AT, kind="batch", id=A16),
    Revoked(at=AT, kind="project", id=A16),
    Frozen(at=AT, project=A16, frozen=True),
    Rotated(at=AT, what="kek", project=A16, generation=2),
    Rotated(at=AT, what="root", project=None, generation=0),
    Dropped(at=AT, project=A16, item=B16, before=3, versions=2),
    Shredded(at=AT, project=A16, keks=2, versions=0),
    Restored(at=LATER, epoch=A16, size=41, root=A32, backup_at=AT),
    Alarmed(at=AT, request_hash=A32, contractor=B32, project=A16, item=B16, about="honey"),
    Junk(at=LATER, since=AT, count=12),
]


def name_of(entry: Entry) -> str:
    return type(entry).__name__


@pytest.mark.parametrize("entry", EXAMPLES, ids=name_of)
def test_round_trip(entry: Entry) -> None:
    """An entry comes back equal, and has one encoding."""
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert encode_entry(decode_entry(data)) == data


def test_every_kind_is_tried() -> None:
    """The examples cover every kind, so a new kind needs one."""
    assert {type(entry) for entry in EXAMPLES} == set(KINDS.values()) == set(typing.get_args(Entry))


def leaves(hint: typing.Any) -> typing.Iterator[typing.Any]:
    """Every elementary annotation in a record's field."""
    if dataclasses.is_dataclass(hint):
        for field in typing.get_type_hints(hint, include_extras=True).values():
            yield from leaves(field)
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from leaves(part)
    elif typing.get_origin(hint) is typing.Annotated and isinstance(typing.get_args(hint)[1], Count):
        yield from leaves(typing.get_args(typing.get_args(hint)[0])[0])
    else:
        yield hint


@pytest.mark.parametrize("record", KINDS.values(), ids=KINDS)
def test_L5_no_field_can_hold_text_or_content(record: type[Entry]) -> None:
    """Every field is at most 32 bytes, a number, a time, a yes or no, or a word of a closed list."""
    for hint in leaves(record):
        if hint in (bool, datetime, types.NoneType):
            continue
        assert typing.get_origin(hint) is typing.Annotated, hint
        match typing.get_args(hint)[1]:
            case Fixed(size):
                assert size <= 32
            case Between(_, most):
                assert most <= 32
            case OneOf() | UInt():
                continue
            case rule:
                pytest.fail(f"{record.__name__} has a field under {rule}")


@pytest.mark.parametrize("entry", EXAMPLES, ids=name_of)
def test_unknown_and_missing_fields_are_refused(entry: Entry) -> None:
    """A field more or less, inside or outside, is refused; so are another format and kind."""
    value = decode(encode_entry(entry))
    assert isinstance(value, dict)
    fields = value["entry"]
    assert isinstance(fields, dict)
    faults: list[dict[str, typing.Any]] = [
        value | {"entry": fields | {"name": "x"}},
        value | {"name": "x"},
        value | {"format": 0},
        value | {"format": 2},
        value | {"format": True},
        value | {"kind": "leaked"},
        value | {"kind": 1},
        value | {"kind": None},
        value | {"entry": None},
        value | {"entry": []},
        {"entry": fields, "format": 1},
    ]
    for field in fields:
        less = dict(fields)
        del less[field]
        faults.append(value | {"entry": less})
        faults.append(value | {"entry": fields | {field: "not in any list"}})
        faults.append(value | {"entry": fields | {field: []}})
    for fault in faults:
        with pytest.raises(FormatError):
            decode_entry(encode(fault))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"\x80", b"\x01", bytes(100), b"\xa5hello"])
def test_other_values_are_refused(data: bytes) -> None:
    """Bytes that hold no map, or nothing at all, are no entry."""
    with pytest.raises(FormatError):
        decode_entry(data)


def test_a_kind_is_not_another() -> None:
    """The fields of one kind under the name of another are refused."""
    for entry in EXAMPLES:
        value = decode(encode_entry(entry))
        assert isinstance(value, dict)
        for kind in KINDS:
            if kind != value["kind"]:
                with pytest.raises(FormatError):
                    decode_entry(encode(value | {"kind": kind}))


def test_size_is_bounded() -> None:
    """The largest release fits; anything above the bound is refused before it is read."""
    many = tuple(ReleasedItem(index.to_bytes(16, "big"), 2**32, A32) for index in range(MAX_LEASE_ITEMS))
    data = encode_entry(dataclasses.replace(RELEASED, task=many[0].item, items=many))
    assert len(data) <= MAX_ENTRY_BYTES
    assert decode_entry(data) == dataclasses.replace(RELEASED, task=many[0].item, items=many)
    with pytest.raises(FormatError):
        decode_entry(bytes(MAX_ENTRY_BYTES + 1))
    extra = (*many, ReleasedItem(b"x" * 16, 1, A32))
    with pytest.raises(FormatError):
        encode_entry(dataclasses.replace(RELEASED, task=many[0].item, items=extra))


@pytest.mark.parametrize(
    "change",
    [
        {"tier": "helper"},
        {"presence": "device"},
        {"items": ()},
        {"task": B16},
        {"items": (ReleasedItem(A16, 1, A32), ReleasedItem(A16, 2, B32))},
        {"replaces": A32},
        {"issued_at": AT + timedelta(milliseconds=1)},
        {"expires_at": AT},
    ],
)
def test_releases_that_contradict_themselves(change: dict[str, typing.Any]) -> None:
    """A release without its task first, with an item twice, or with impossible times can't be built."""
    with pytest.raises(FormatError):
        dataclasses.replace(RELEASED, **change)


def test_other_contradictions() -> None:
    """What can't be true of a card, grant, receipt, revocation or count can't be built."""
    with pytest.raises(FormatError):
        Enrolled(at=AT, contractor=A32, tier="helper", presence_key=True)
    with pytest.raises(FormatError):
        dataclasses.replace(GRANTED, presence="key")
    with pytest.raises(FormatError):
        ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="closed", erased=None)
    with pytest.raises(FormatError):
        ReceiptEntry(at=AT, lease_id=A32, contractor=B32, event="opened", erased="process-exit")
    with pytest.raises(FormatError):
        Revoked(at=AT, kind="grant", id=A32)
    with pytest.raises(FormatError):
        Revoked(at=AT, kind="contractor", id=A16)
    for kind in ("batch", "project"):
        with pytest.raises(FormatError):
            Revoked(at=AT, kind=kind, id=A32)
    with pytest.raises(FormatError):
        Rotated(at=AT, what="root", project=A16, generation=0)
    with pytest.raises(FormatError):
        Rotated(at=AT, what="kek", project=A16, generation=0)
    with pytest.raises(FormatError):
        Restored(at=AT, epoch=A16, size=0, root=A32, backup_at=LATER)
    with pytest.raises(FormatError):
        Junk(at=AT, since=LATER, count=1)


@pytest.mark.parametrize(
    "entry",
    [
        dataclasses.replace(CERTIFIED, issuer=b"short"),
        dataclasses.replace(CERTIFIED, serial=0),
        dataclasses.replace(SEALED, version=0),
        dataclasses.replace(SEALED, version=2**32 + 1),
        Enrolled(at=AT.replace(tzinfo=None), contractor=A32, tier="desk", presence_key=True),
        Enrolled(at=AT, contractor=A32, tier="cloud", presence_key=True),
        Denied(at=AT, request_hash=A32, contractor=B32, project=A16, code="gold"),
        Junk(at=AT, since=AT, count=0),
    ],
    ids=name_of,
)
def test_bounds_hold_when_encoding(entry: Entry) -> None:
    """A field out of its bounds is not written."""
    with pytest.raises(FormatError):
        encode_entry(entry)


def test_F1_every_flipped_bit_is_refused_or_another_entry() -> None:
    """No flipped bit leaves the same entry: it is refused, or reads as a different one."""
    for entry in EXAMPLES:
        data = encode_entry(entry)
        for at in range(len(data)):
            flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            try:
                read = decode_entry(flipped)
            except FormatError:
                continue
            assert read != entry
            assert encode_entry(read) == flipped


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_format_errors_only(data: bytes) -> None:
    """Bytes that nobody encoded raise FormatError and nothing else."""
    with pytest.raises(FormatError):
        decode_entry(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**63 - 1) | st.binary(max_size=40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_arbitrary_fields_raise_format_errors_only(entry: Entry, data: st.DataObject) -> None:
    """A well-formed map with any value in any field is read exactly or refused with FormatError."""
    value = decode(encode_entry(entry))
    assert isinstance(value, dict)
    fields = value["entry"]
    assert isinstance(fields, dict)
    changed = value | {"entry": fields | {data.draw(st.sampled_from(sorted(fields))): data.draw(VALUES)}}
    encoded = encode(changed)
    try:
        read = decode_entry(encoded)
    except FormatError:
        return
    assert encode_entry(read) == encoded


@pytest.mark.parametrize("version", [1, 127, 128, 255, 256, 65_536, 2**32])
def test_sealed_entries_are_encoded_as_all_others(version: int) -> None:
    """What is kept of one serves the next only where it is the same, whatever ids hold."""
    for item, digest in ((A16, A32), (B16, A32), (A32[:16], A32), (b"\xc4\x10" * 8, b"\xc4\x20" * 16)):
        entry = replace(SEALED, item=item, digest=digest, version=version)
        assert encode_entry(entry) == encode({"entry": to_value(entry), "format": 1, "kind": "sealed"})
        assert decode_entry(encode_entry(entry)) == entry


def test_equal_values_of_another_kind_are_no_sealed_entry() -> None:
    """True is 1 to a dictionary, and not to an entry; times are UTC."""
    encode_entry(replace(SEALED, version=1))
    other_zone = AT.astimezone(timezone(timedelta(hours=1)))
    for change in ({"version": True}, {"item": A16[:15]}, {"digest": A32 + b"x"}, {"at": other_zone}):
        with pytest.raises(FormatError):
            encode_entry(replace(SEALED, **change))
