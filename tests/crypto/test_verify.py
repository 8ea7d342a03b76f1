"""Ed25519: what signs verifies, and what no honest signer has is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.crypto.verify import check_public_key, verify
from labelvault.errors import SignatureError

KEY = SigningKey(SecretBytes(bytes(range(32))))
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"

# All encodings, canonical or not, of the eight points of small order.
SMALL_ORDER = [
    "01" + "00" * 31,
    "01" + "00" * 30 + "80",
    "ec" + "ff" * 30 + "7f",
    "ec" + "ff" * 31,
    "00" * 32,
    "00" * 31 + "80",
    "ed" + "ff" * 30 + "7f",
    "ed" + "ff" * 31,
    "ee" + "ff" * 30 + "7f",
    "ee" + "ff" * 31,
    ORDER_8,
    ORDER_8[:-2] + "85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@given(st.binary(max_size=300))
def test_signatures_verify(message: bytes) -> None:
    """A signature verifies, and covers its message."""
    signature = KEY.sign(message)
    check_public_key(KEY.public_key)
    verify(KEY.public_key, message, signature)
    with pytest.raises(SignatureError):
        verify(KEY.public_key, message + b"\0", signature)


def test_rfc_8032_vector() -> None:
    """RFC 8032, section 7.1, test 2."""
    key = SigningKey(SecretBytes(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
    assert key.public_key.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_F1_any_flipped_bit_of_a_signature_is_refused() -> None:
    """No bit of a signature or public key is idle."""
    signature = KEY.sign(b"message")
    for at in range(8 * 64):
        flipped = (int.from_bytes(signature, "big") ^ 1 << at).to_bytes(64, "big")
        with pytest.raises(SignatureError):
            verify(KEY.public_key, b"message", flipped)
    for at in range(8 * 32):
        flipped = (int.from_bytes(KEY.public_key, "big") ^ 1 << at).to_bytes(32, "big")
        with pytest.raises(SignatureError):
            verify(flipped, b"message", signature)


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_F8_small_order_keys_are_refused(encoded: str) -> None:
    """They are refused at enrolment, and sign nothing: with them, one signature would fit every message."""
    public_key = bytes.fromhex(encoded)
    with pytest.raises(SignatureError):
        check_public_key(public_key)
    for commitment in SMALL_ORDER:
        for message in (b"a", b"b", b"c"):
            with pytest.raises(SignatureError):
                verify(public_key, message, bytes.fromhex(commitment) + bytes(32))


def test_F8_mixed_order_key_is_refused() -> None:
    """An honest key plus a point of order 8 is refused at enrolment."""
    mixed = bindings.crypto_core_ed25519_add(KEY.public_key, bytes.fromhex(ORDER_8))
    with pytest.raises(SignatureError):
        check_public_key(mixed)


def test_F8_non_canonical_keys_are_refused() -> None:
    """A y of p or more is refused, at enrolment and at verification."""
    for y in range(PRIME, 2**255):
        public_key = y.to_bytes(32, "little")
        with pytest.raises(SignatureError):
            check_public_key(public_key)
        with pytest.raises(SignatureError):
            verify(public_key, b"message", KEY.sign(b"message"))


def test_F8_malleable_signature_is_refused() -> None:
    """S plus the group order would be a second signature for the same message; it is refused."""
    signature = KEY.sign(b"message")
    for times in (1, 2, 7):
        scalar = int.from_bytes(signature[32:], "little") + times * ORDER
        with pytest.raises(SignatureError):
            verify(KEY.public_key, b"message", signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_sizes_are_checked(size: int) -> None:
    """Keys and signatures of another size are refused: no byte is borrowed from the message."""
    with pytest.raises(SignatureError):
        check_public_key(bytes(size))
    with pytest.raises(SignatureError, match="size"):
        verify(bytes(size), b"message", KEY.sign(b"message"))
    with pytest.raises(SignatureError, match="size"):
        verify(KEY.public_key, b"essage", KEY.sign(b"message") + b"m")


def test_seed_restores_the_key() -> None:
    """A key rebuilt from its seed is the same key; a seed of another size is refused."""
    assert SigningKey(KEY.seed()).public_key == KEY.public_key
    assert SigningKey.generate().public_key != SigningKey.generate().public_key
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(SecretBytes(bytes(31)))
