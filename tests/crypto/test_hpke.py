"""One-time keys: round trips, published vectors, and keys that must be refused."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto import hpke
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError, FormatError

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors").joinpath("mlkem768_x25519.json").read_text()
)["vectors"]
KEY = hpke.OneTimeKey(SecretBytes(bytes(range(32))))
PRIME = 2**255 - 19

# The points of order 1, 2, 4 and 8 of the curve and its twist (RFC 7748, section 7), canonical.
LOW_ORDER = [
    0,
    1,
    PRIME - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]


def _with_x25519(u: int) -> bytes:
    return KEY.public_key[:1184] + u.to_bytes(32, "little")


@settings(max_examples=25)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_seal_round_trips(plaintext: bytes, info: bytes) -> None:
    """What is sealed to a key opens with it, and has the stated size."""
    sealed = hpke.seal(KEY.public_key, plaintext, info)
    assert len(sealed) == len(plaintext) + hpke.OVERHEAD_BYTES
    assert KEY.open(sealed, info) == plaintext


def test_seed_restores_the_key() -> None:
    """A key rebuilt from its seed has the same public key and opens the same messages."""
    key = hpke.OneTimeKey.generate()
    again = hpke.OneTimeKey(key.seed())
    assert again.public_key == key.public_key
    assert again.open(hpke.seal(key.public_key, b"m", b""), b"") == b"m"
    assert hpke.OneTimeKey.generate().public_key != key.public_key


def test_seed_of_another_size_is_refused() -> None:
    """A seed has 32 bytes."""
    for size in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            hpke.OneTimeKey(SecretBytes(bytes(size)))


def test_X_wing_public_key_vector() -> None:
    """The first vector of draft-connolly-cfrg-xwing-kem-08, appendix C: its seed gives its public key."""
    seed = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"
    public = hpke.OneTimeKey(SecretBytes(bytes.fromhex(seed))).public_key.hex()
    assert public.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")
    assert public.endswith("859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"kdf{vector['kdf_id']}")
def test_published_kem_vectors(vector: dict[str, Any]) -> None:
    """A published seed gives its public key, and opens what RFC 9180 makes of the shared secret."""
    key = hpke.OneTimeKey(SecretBytes(bytes.fromhex(vector["skRm"])))
    assert key.public_key.hex() == vector["pkRm"]
    info = bytes.fromhex(vector["info"])
    aes_key, nonce = _key_schedule(bytes.fromhex(vector["shared_secret"]), info)
    sealed = bytes.fromhex(vector["enc"]) + AESGCM(aes_key).encrypt(nonce, b"a lease", b"")
    assert key.open(sealed, info) == b"a lease"


def test_vectors_are_there() -> None:
    """The vector file is not empty."""
    assert len(VECTORS) == 2


def test_F1_F6_every_failed_open_looks_the_same() -> None:
    """Another key, other info, any flipped byte and any truncation give one error with one message."""
    sealed = hpke.seal(KEY.public_key, b"m" * 8, b"info")
    attempts = [
        (hpke.OneTimeKey.generate(), sealed, b"info"),
        (KEY, sealed, b"other"),
        (KEY, sealed + b"\0", b"info"),
    ]
    for at in range(len(sealed)):
        attempts.append((KEY, sealed[:at] + bytes([sealed[at] ^ 1 << at % 8]) + sealed[at + 1 :], b"info"))
    attempts += [(KEY, sealed[:size], b"info") for size in range(0, len(sealed), 7)]
    seen = set()
    for key, data, info in attempts:
        with pytest.raises(DecryptionError) as caught:
            key.open(data, info)
        seen.add((str(caught.value), caught.value.__suppress_context__))
    assert len(seen) == 1


@pytest.mark.parametrize("u", LOW_ORDER)
def test_F8_low_order_x25519_keys_are_refused(u: int) -> None:
    """No message is sealed to a point whose every exchange is zero."""
    for refuse in (hpke.check_public_key, lambda key: hpke.seal(key, b"m", b"")):
        with pytest.raises(FormatError):
            refuse(_with_x25519(u))


@pytest.mark.parametrize("u", [*(PRIME + low for low in range(19)), 2**255 + 9, 2**256 - 1])
def test_F8_non_canonical_x25519_keys_are_refused(u: int) -> None:
    """A point has one encoding, so that one key can't pass for two; the twin u = 9 is taken."""
    hpke.check_public_key(_with_x25519(9))
    for refuse in (hpke.check_public_key, lambda key: hpke.seal(key, b"m", b"")):
        with pytest.raises(FormatError, match="canonical"):
            refuse(_with_x25519(u))


def test_F8_non_canonical_mlkem_keys_are_refused() -> None:
    """A coefficient of q or more is refused (FIPS 203, section 7.2)."""
    for start in (b"\xff\xff\xff", b"\x01\x0d\x00"):  # 4095 and 4095; 3329 and 0
        with pytest.raises(FormatError, match="not a valid"):
            hpke.seal(start + KEY.public_key[3:], b"m", b"")
    hpke.check_public_key(b"\x00\x0d\x00" + KEY.public_key[3:])  # 3328 and 0


def test_F7_half_a_hybrid_key_is_refused() -> None:
    """A key without its post-quantum half, or of any other size, is refused."""
    for public_key in (
        KEY.public_key[1184:],
        KEY.public_key[:1184],
        KEY.public_key[:-1],
        KEY.public_key + b"\0",
        b"",
    ):
        with pytest.raises(FormatError, match="1216 bytes"):
            hpke.seal(public_key, b"m", b"")


def _key_schedule(shared_secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce of RFC 9180, section 5.1, base mode, HKDF-SHA256 and AES-256-GCM, written out."""
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)

    def expand(prk: bytes, label: bytes, context: bytes, size: int) -> bytes:
        labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(prk, labeled + b"\x01", hashlib.sha256)[:size]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
