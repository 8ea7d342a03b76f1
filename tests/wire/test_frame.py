"""Frames: exact bytes, one signer, one type; a cosignature that can be neither moved nor dropped."""

from dataclasses import replace
from typing import Any

import pytest

from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, SignatureError
from labelvault.wire.codec import decode, encode
from labelvault.wire.frame import (
    COSIGNED_TYPES,
    MAX_BODY_BYTES,
    Frame,
    cosign,
    frame_hash,
    open_frame,
    parse_frame,
    parse_to_sign,
    sign_message,
)
from labelvault.wire.messages import Card, Grant, Lease, OpenRequest, Receipt
from labelvault.wire.schema import encode_record
from tests.vectors import world

SIGNED = sign_message(world.receipt(), world.HELPER)
DESK_CARD = world.desk_card()
COSIGNATURE = cosign(DESK_CARD, world.DESK.public_key, world.PRESENCE)
COSIGNED = sign_message(DESK_CARD, world.DESK, COSIGNATURE)


def resigned(frame: Frame, key: SigningKey, **changes: Any) -> bytes:
    """A frame with other fields under a signature that fits them."""
    draft = replace(frame, **changes)
    signature = key.sign(b"labelvault/v1/frame\0" + draft._covered() + draft.cosignature)
    return encode_record(replace(draft, signature=signature))


def test_signed_message_opens() -> None:
    """What was signed is what is read, with the exact bytes that carried it."""
    opened = open_frame(SIGNED.data, Receipt, world.HELPER.public_key)
    assert opened == SIGNED
    assert opened.message == world.receipt()
    assert opened.hash == frame_hash(SIGNED.data)
    assert parse_frame(SIGNED.data).signer == world.HELPER.public_key


def test_signing_is_deterministic() -> None:
    """The same message by the same key is the same bytes, so that a repeated request is the same request."""
    assert sign_message(world.receipt(), world.HELPER).data == SIGNED.data


def test_the_signed_bytes_stay_as_they_are() -> None:
    """What a signature covers is written out here once: label, type, version, signer, body, cosignature."""
    frame = COSIGNED.frame
    covered = (
        b"\x04card" + b"\x00\x01" + world.DESK.public_key + len(frame.body).to_bytes(8, "big") + frame.body
    )  # fmt: skip
    assert frame.cosignature == world.PRESENCE.sign(b"labelvault/v1/frame-cosignature\0" + covered)
    assert frame.signature == world.DESK.sign(b"labelvault/v1/frame\0" + covered + frame.cosignature)
    assert frame.body == encode_record(DESK_CARD)


@pytest.mark.parametrize(("signed", "kind"), [(SIGNED, Receipt), (COSIGNED, Card)], ids=["plain", "cosigned"])
def test_F1_any_flipped_bit_is_refused(signed: Any, kind: Any) -> None:
    """No bit of a frame is idle: names, lengths, signer, body, cosignature and signature alike."""
    data, signer = signed.data, signed.frame.signer
    for at in range(8 * len(data)):
        flipped = (int.from_bytes(data, "big") ^ 1 << at).to_bytes(len(data), "big")
        with pytest.raises((FormatError, SignatureError)):
            open_frame(flipped, kind, signer)


def test_F2_truncated_or_extended_frames_are_refused() -> None:
    """Every shorter length, and 1 to 64 bytes more."""
    for size in range(len(SIGNED.data)):
        with pytest.raises(FormatError):
            open_frame(SIGNED.data[:size], Receipt, world.HELPER.public_key)
    for more in range(1, 65):
        with pytest.raises(FormatError):
            open_frame(SIGNED.data + bytes(more), Receipt, world.HELPER.public_key)


def test_another_signer_is_refused() -> None:
    """The key comes from the receiver's state; what the frame names decides nothing."""
    with pytest.raises(SignatureError, match="another signer"):
        open_frame(SIGNED.data, Receipt, world.STRANGER.public_key)
    renamed = encode_record(replace(SIGNED.frame, signer=world.STRANGER.public_key))
    for key in (world.STRANGER.public_key, world.HELPER.public_key):
        with pytest.raises(SignatureError):
            open_frame(renamed, Receipt, key)


def test_the_named_signer_must_be_the_one_that_is_asked_about() -> None:
    """A frame that names somebody else is refused even if the signature would fit the asked-for key."""
    with pytest.raises(SignatureError, match="another signer"):
        open_frame(
            resigned(SIGNED.frame, world.HELPER, signer=world.STRANGER.public_key), Receipt, world.HELPER.public_key
        )


def test_another_type_is_refused() -> None:
    """A well-signed message of one type is never taken for another, even where its fields would fit."""

    class Look(Receipt):
        TYPE = "look-alike"

    with pytest.raises(FormatError, match="look-alike was expected"):
        open_frame(SIGNED.data, Look, world.HELPER.public_key)
    for kind in (Card, Grant, Lease, OpenRequest):
        with pytest.raises(FormatError, match="expected"):
            open_frame(SIGNED.data, kind, world.HELPER.public_key)


def test_a_signature_does_not_move_to_another_type_with_the_same_body() -> None:
    """The type is signed: relabelling a frame breaks its signature."""
    relabelled = encode_record(replace(SIGNED.frame, type="card"))
    with pytest.raises(SignatureError):
        open_frame(relabelled, Card, world.HELPER.public_key)


@pytest.mark.parametrize("version", [0, 2, 65535])
def test_F7_another_version_is_refused(version: int) -> None:
    """Well signed or not; "none" does not exist."""
    with pytest.raises(FormatError, match="not known"):
        open_frame(resigned(SIGNED.frame, world.HELPER, version=version), Receipt, world.HELPER.public_key)


def test_the_version_is_signed() -> None:
    """A parser of a later version could not be fed a frame of this one."""
    later = replace(SIGNED.frame, version=2)
    with pytest.raises(SignatureError):
        later.verify(world.HELPER.public_key)


def test_cosignature_verifies_under_its_key_only() -> None:
    """The presence device's, over the same fields under a label of its own."""
    frame = open_frame(COSIGNED.data, Card, world.DESK.public_key).frame
    frame.verify_cosignature(world.PRESENCE.public_key)
    for key in (world.DESK.public_key, world.STRANGER.public_key):
        with pytest.raises(SignatureError):
            frame.verify_cosignature(key)


def test_F14_cosignature_can_be_neither_dropped_added_nor_exchanged() -> None:
    """The signature covers it."""
    other = cosign(DESK_CARD, world.DESK.public_key, world.STRANGER)
    for cosignature in (b"", other, bytes(64)):
        with pytest.raises(SignatureError):
            open_frame(encode_record(replace(COSIGNED.frame, cosignature=cosignature)), Card, world.DESK.public_key)
    plain = sign_message(DESK_CARD, world.DESK)
    with pytest.raises(SignatureError):
        open_frame(encode_record(replace(plain.frame, cosignature=COSIGNATURE)), Card, world.DESK.public_key)


def test_F14_cosignature_does_not_move_to_another_message_or_signer() -> None:
    """Put under another body, or beside another desk's signature, it no longer verifies."""
    other_body = sign_message(world.desk_card(host_label="desk 5"), world.DESK, COSIGNATURE)
    other_desk = sign_message(DESK_CARD, world.STRANGER, COSIGNATURE)
    for signed in (other_body, other_desk):
        opened = open_frame(signed.data, Card, signed.frame.signer)
        with pytest.raises(SignatureError):
            opened.frame.verify_cosignature(world.PRESENCE.public_key)


def test_signature_and_cosignature_are_told_apart() -> None:
    """Neither passes for the other, although one key made both over the same fields."""
    cosigned = sign_message(DESK_CARD, world.DESK, cosign(DESK_CARD, world.DESK.public_key, world.DESK))
    swapped = replace(cosigned.frame, cosignature=cosigned.frame.signature, signature=cosigned.frame.cosignature)
    with pytest.raises(SignatureError):
        swapped.verify(world.DESK.public_key)
    with pytest.raises(SignatureError):
        swapped.verify_cosignature(world.DESK.public_key)
    plain = sign_message(DESK_CARD, world.DESK)
    with pytest.raises(SignatureError):
        replace(plain.frame, cosignature=plain.frame.signature).verify_cosignature(world.DESK.public_key)


def test_absent_cosignature_does_not_verify() -> None:
    """A frame without one was approved by nobody."""
    with pytest.raises(SignatureError, match="size"):
        SIGNED.frame.verify_cosignature(world.PRESENCE.public_key)


@pytest.mark.parametrize("size", [1, 32, 63])
def test_P1_cosignature_of_another_size_is_refused(size: int) -> None:
    """On the way in and on the way out: a cosignature has 64 bytes, or there is none."""
    value = decode(COSIGNED.data)
    assert isinstance(value, dict)
    with pytest.raises(FormatError, match="0 or 64"):
        parse_frame(encode(value | {"cosignature": bytes(size)}))
    with pytest.raises(FormatError, match="0 or 64"):
        sign_message(DESK_CARD, world.DESK, bytes(size))


def test_P1_cosignature_is_refused_where_no_rule_would_look_at_it() -> None:
    """Cards and requests are cosigned; on any other message a cosignature would go unseen."""
    value = decode(COSIGNED.data)
    assert isinstance(value, dict)
    for kind in ("card", "open-request"):
        assert parse_frame(encode(value | {"type": kind})).cosignature == COSIGNATURE
    for kind in ("grant", "invite", "lease", "denial", "receipt", "issuer-certificate", "c"):
        with pytest.raises(FormatError, match="no cosignature"):
            parse_frame(encode(value | {"type": kind}))
    with pytest.raises(FormatError, match="no cosignature"):
        sign_message(world.receipt(), world.HELPER, COSIGNATURE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", ""),
        ("type", "t" * 41),
        ("version", 65536),
        ("signer", bytes(31)),
        ("body", b""),
        ("signature", bytes(63)),
        ("signature", bytes(65)),
        ("cosignature", bytes(65)),
        ("more", 0),
    ],
)
def test_P1_field_out_of_bounds_is_refused(field: str, value: Any) -> None:
    """Each field of the frame has its size."""
    good = decode(SIGNED.data)
    assert isinstance(good, dict)
    with pytest.raises(FormatError):
        parse_frame(encode(good | {field: value}))


def test_longest_body_still_fits_a_frame() -> None:
    """Whatever the bound on bodies lets through can be sent."""
    for frame in (
        Frame("t" * 40, 1, bytes(32), bytes(MAX_BODY_BYTES), b"", bytes(64)),
        Frame("open-request", 1, bytes(32), bytes(MAX_BODY_BYTES), bytes(64), bytes(64)),
    ):
        assert parse_frame(encode_record(frame)) == frame


def test_a_cosignature_that_nobody_would_look_at_is_refused() -> None:
    """Only cards and open requests carry one; on any other message it would go unseen."""
    good = decode(SIGNED.data)
    assert isinstance(good, dict)
    assert good["type"] not in COSIGNED_TYPES
    with pytest.raises(FormatError):
        parse_frame(encode(good | {"cosignature": bytes(64)}))


def test_F8_identity_point_signs_nothing() -> None:
    """With the identity as public key one signature would fit every message; it fits none."""
    identity = b"\x01" + bytes(31)
    forged = encode_record(replace(SIGNED.frame, signer=identity, signature=identity + bytes(32)))
    with pytest.raises(SignatureError):
        open_frame(forged, Receipt, identity)


def test_hash_covers_the_signature() -> None:
    """Two frames of one body and different signers or signatures are different things."""
    other = sign_message(world.receipt(), SigningKey(SecretBytes(bytes(32))))
    assert other.hash != SIGNED.hash
    assert frame_hash(encode_record(replace(SIGNED.frame, signature=bytes(64)))) != SIGNED.hash


def test_message_is_not_parsed_before_its_signature_is_checked() -> None:
    """A malformed body under a wrong signature is a wrong signature; under a right one it is malformed."""
    with pytest.raises(SignatureError):
        open_frame(encode_record(replace(SIGNED.frame, body=b"\xc1")), Receipt, world.HELPER.public_key)
    with pytest.raises(FormatError):
        open_frame(resigned(SIGNED.frame, world.HELPER, body=b"\xc1"), Receipt, world.HELPER.public_key)


def to_sign(message: Any, signer: SigningKey, cosignature: bytes = b"") -> bytes:
    """What `sign_message` hands to a signer."""
    taken: list[bytes] = []

    class Spy:
        public_key = signer.public_key

        def sign(self, data: bytes) -> bytes:
            taken.append(data)
            return bytes(64)

    sign_message(message, Spy(), cosignature)
    (data,) = taken
    return data


@pytest.mark.parametrize("signed", [SIGNED, COSIGNED], ids=["plain", "cosigned"])
def test_what_a_signer_is_given_parses_back(signed: Any) -> None:
    """A signer that looks at what it signs sees every field of the frame; the signature is not there yet."""
    key = world.DESK if signed is COSIGNED else world.HELPER
    data = to_sign(signed.message, key, signed.frame.cosignature)
    assert parse_to_sign(data) == replace(signed.frame, signature=bytes(64))
    assert key.sign(data) == signed.frame.signature


@pytest.mark.parametrize("signed", [SIGNED, COSIGNED], ids=["plain", "cosigned"])
def test_P1_a_signer_parses_nothing_else(signed: Any) -> None:
    """Cut anywhere, extended, without its label or under another, or under a type that is no text: refused."""
    data = to_sign(signed.message, world.DESK, signed.frame.cosignature)
    label = b"labelvault/v1/frame\0"
    assert data.startswith(label)
    rest = data.removeprefix(label)
    faults = [data[:size] for size in range(len(data) - len(signed.frame.cosignature))]
    faults += [data + bytes(1), data + bytes(64), rest, b"", label, b"labelvault/v1/frame-cosignature\0" + rest]
    faults += [label + rest[:1] + b"\xff" + rest[2:], label + bytes([rest[0] + 1]) + rest[1:], label + label + rest]
    for fault in faults:
        with pytest.raises(FormatError):
            parse_to_sign(fault)
