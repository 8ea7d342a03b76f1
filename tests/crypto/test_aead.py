"""Wraps and payloads: round trips, published vectors, and every way to alter them."""

import base64
import hashlib
import json
import traceback
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto import aead
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors").joinpath("chunked_aes256gcm_sha256.json").read_text()
)["vectors"]
KEY_A = SecretBytes(b"a" * 32)
KEY_B = SecretBytes(b"b" * 32)
CANARY = b"canary-plaintext-0123456789"


def _ciphertext(vector: dict[str, Any]) -> bytes:
    raw = base64.b64decode(vector["ciphertext"] or "")
    return zlib.decompress(raw) if vector.get("compressed") else raw


def _flips(data: bytes) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_wrap_round_trips(secret: bytes, associated_data: bytes) -> None:
    """What was wrapped unwraps, and the wrap has the stated size."""
    wrapped = aead.wrap(KEY_A, SecretBytes(secret), associated_data)
    assert len(wrapped) == len(secret) + aead.WRAP_OVERHEAD_BYTES
    assert aead.unwrap(KEY_A, wrapped, associated_data).matches(secret)


def test_F6_every_failed_unwrap_looks_the_same() -> None:
    """Wrong key, wrong associated data, flipped bits and truncation give one error with one message."""
    wrapped = aead.wrap(KEY_A, SecretBytes(b"s" * 32), b"here")
    attempts = [(KEY_B, wrapped, b"here"), (KEY_A, wrapped, b"there"), (KEY_A, wrapped + b"\0", b"here")]
    attempts += [(KEY_A, flipped, b"here") for flipped in _flips(wrapped)]
    attempts += [(KEY_A, wrapped[:size], b"here") for size in range(len(wrapped))]
    seen = set()
    for key, data, associated_data in attempts:
        with pytest.raises(DecryptionError) as caught:
            aead.unwrap(key, data, associated_data)
        seen.add(str(caught.value))
    assert len(seen) == 1


def test_wraps_never_repeat() -> None:
    """Two wraps of one secret share neither nonce nor ciphertext."""
    wraps = {aead.wrap(KEY_A, SecretBytes(b"s" * 32), b"") for _ in range(100)}
    assert len({wrap[: aead.NONCE_BYTES] for wrap in wraps}) == 100


def test_vectors_are_there() -> None:
    """The vector file holds both kinds, so that the tests below test something."""
    assert sum(vector["expect"] == "success" for vector in VECTORS) == 9
    assert sum(vector["expect"] == "failure" for vector in VECTORS) == 25


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_reference_below_holds_to_the_published_vectors(vector: dict[str, Any]) -> None:
    """The specification written out below opens or refuses each published vector, with its SHA-256."""
    key, context, payload = bytes.fromhex(vector["key"]), vector["context"].encode(), _ciphertext(vector)
    if vector["expect"] == "success":
        opened = _open_by_the_specification(SHA256(), key, payload, context)
        assert len(opened) == vector["payload_length"]
        assert hashlib.sha256(opened).hexdigest() == vector["payload_sha256"]
        derived = _derive(SHA256(), key, payload[:24], context)
        assert (derived[0].hex(), derived[1].hex()) == (vector["aead_key"], vector["base_nonce"])
    else:
        with pytest.raises((InvalidTag, ValueError)):
            _open_by_the_specification(SHA256(), key, payload, context)


@pytest.mark.parametrize("size", [0, 7, 16384, 16385, 32768, 100000])
def test_payloads_are_what_the_reference_makes_with_SHA_512(size: int) -> None:
    """Ours opens by the specification, and the specification seals the same bytes from the same salt."""
    plaintext = bytes(index % 251 for index in range(size))
    payload = aead.seal_payload(KEY_A, plaintext, b"context")
    assert _open_by_the_specification(SHA512(), KEY_A.reveal(), payload, b"context") == plaintext
    assert _seal_by_the_specification(KEY_A.reveal(), payload[:24], plaintext, b"context") == payload


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_F7_payloads_of_another_suite_are_refused(vector: dict[str, Any]) -> None:
    """The same construction over SHA-256 is another suite: none of it opens here."""
    key, context = SecretBytes(bytes.fromhex(vector["key"])), vector["context"].encode()
    if len(key) != aead.KEY_BYTES:
        with pytest.raises(ValueError, match="key"):
            aead.open_payload(key, _ciphertext(vector), context)
    else:
        with pytest.raises(DecryptionError):
            aead.open_payload(key, _ciphertext(vector), context)


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 32768, 40000])
def test_payload_round_trips(size: int) -> None:
    """Payloads around chunk borders open, and have the stated size."""
    plaintext = bytes(index % 251 for index in range(size))
    payload = aead.seal_payload(KEY_A, plaintext, b"context")
    assert len(payload) == aead.sealed_size(size)
    assert aead.open_payload(KEY_A, payload, b"context") == plaintext


def test_F1_F2_altered_payloads_are_refused() -> None:
    """Any flipped byte, any truncation and any extension of a payload is refused in the same words."""
    payload = aead.seal_payload(KEY_A, b"p" * 40, b"context")
    altered = _flips(payload) + [payload[:size] for size in range(len(payload))]
    altered += [payload + bytes(extra) for extra in range(1, 65)]
    seen = set()
    for data in altered:
        with pytest.raises(DecryptionError) as caught:
            aead.open_payload(KEY_A, data, b"context")
        seen.add(str(caught.value))
    for key, context in ((KEY_B, b"context"), (KEY_A, b"other")):
        with pytest.raises(DecryptionError) as caught:
            aead.open_payload(key, payload, context)
        seen.add(str(caught.value))
    assert len(seen) == 1


def test_F2_chunks_swapped_dropped_or_doubled_are_refused() -> None:
    """A payload's chunks open in their places only."""
    payload = aead.seal_payload(KEY_A, b"p" * (3 * aead.CHUNK_BYTES + 5), b"")
    size = aead.CHUNK_BYTES + aead.CHUNK_TAG_BYTES
    body = payload[aead.PAYLOAD_PREFIX_BYTES :]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    for order in ((1, 0, 2, 3), (0, 2, 3), (0, 0, 1, 2, 3), (0, 1, 2), (3,), ()):
        spliced = payload[: aead.PAYLOAD_PREFIX_BYTES] + b"".join(chunks[at] for at in order)
        with pytest.raises(DecryptionError):
            aead.open_payload(KEY_A, spliced, b"")


def test_F5_prefix_of_another_key_is_refused() -> None:
    """With salt, commitment or both of a payload under key B, a payload under key A opens under neither."""
    ours = aead.seal_payload(KEY_A, b"p" * 40, b"")
    other = aead.seal_payload(KEY_B, b"p" * 40, b"")
    for spliced in (other[:24] + ours[24:], ours[:24] + other[24:56] + ours[56:], other[:56] + ours[56:]):
        for key in (KEY_A, KEY_B):
            with pytest.raises(DecryptionError):
                aead.open_payload(key, spliced, b"")


def test_F5_salamander_is_refused_by_commitment() -> None:
    """A chunk that AES-GCM accepts under two keys opens as a payload only under the one committed to."""
    salt = b"\x07" * 24
    derived_a, derived_b = (_derive(SHA512(), key.reveal(), salt, b"context") for key in (KEY_A, KEY_B))
    chunk = _two_key_block(derived_a[:2], derived_b[:2])
    for aes_key, nonce, _ in (derived_a, derived_b):
        assert len(AESGCM(aes_key).decrypt(nonce, chunk, None)) == 16  # GCM by itself takes both
    for committed, other, commitment in ((KEY_A, KEY_B, derived_a[2]), (KEY_B, KEY_A, derived_b[2])):
        payload = salt + commitment + chunk
        assert len(aead.open_payload(committed, payload, b"context")) == 16
        with pytest.raises(DecryptionError):
            aead.open_payload(other, payload, b"context")


def test_X2_failed_open_keeps_no_opened_chunk_in_its_frames() -> None:
    """When a later chunk is bad, a traceback with locals shows nothing of the chunks that did open."""
    payload = bytearray(aead.seal_payload(KEY_A, CANARY * 2000, b""))
    payload[-1] ^= 1
    with pytest.raises(DecryptionError) as caught:
        aead.open_payload(KEY_A, bytes(payload), b"")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY.decode() not in shown


def _derive(algorithm: HashAlgorithm, key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """AEAD key, base nonce and commitment (C2SP chunked-encryption, Key derivation)."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    derived = HKDFExpand(algorithm, 76, info).derive(key)
    return derived[:32], derived[32:44], derived[44:]


def _nonce(base_nonce: bytes, number: int) -> bytes:
    return (int.from_bytes(base_nonce, "big") ^ number).to_bytes(12, "big")


def _seal_by_the_specification(key: bytes, salt: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Message chunking and AEAD usage of C2SP chunked-encryption, with SHA-512."""
    aes_key, base_nonce, commitment = _derive(SHA512(), key, salt, context)
    chunks = [
        AESGCM(aes_key).encrypt(_nonce(base_nonce, number), plaintext[16384 * number :][:16384], None)
        for number in range(len(plaintext) // 16384 + 1)
    ]
    return salt + commitment + b"".join(chunks)


def _open_by_the_specification(algorithm: HashAlgorithm, key: bytes, payload: bytes, context: bytes) -> bytes:
    """Undo the above, for either hash."""
    if len(key) != 32 or len(payload) < 56:
        raise ValueError("a wrong size")
    aes_key, base_nonce, commitment = _derive(algorithm, key, payload[:24], context)
    if commitment != payload[24:56]:
        raise ValueError("a wrong commitment")
    opened, body, number = b"", payload[56:], 0
    while True:
        chunk, body = body[: 16384 + 16], body[16384 + 16 :]
        opened += AESGCM(aes_key).decrypt(_nonce(base_nonce, number), chunk, None)
        if len(chunk) < 16384 + 16:
            if body:
                raise ValueError("trailing bytes")
            return opened
        number += 1


def _two_key_block(first: tuple[bytes, bytes], second: tuple[bytes, bytes]) -> bytes:
    """One block and tag that AES-GCM takes under both (key, nonce) pairs.

    The tag over one block C is E(J0) + C·H² + L·H in GF(2^128); two such equal one another for
    C = (E1 + E2 + L·(H1 + H2)) / (H1² + H2²) (Grubbs, Lu and Ristenpart, eprint 2019/016).
    """
    (h1, e1), (h2, e2) = (_hash_key_and_mask(*pair) for pair in (first, second))
    length = int.from_bytes((0).to_bytes(8, "big") + (128).to_bytes(8, "big"), "big")
    block = _multiply(e1 ^ e2 ^ _multiply(length, h1 ^ h2), _inverse(_multiply(h1, h1) ^ _multiply(h2, h2)))
    tag = e1 ^ _multiply(block, _multiply(h1, h1)) ^ _multiply(length, h1)
    return block.to_bytes(16, "big") + tag.to_bytes(16, "big")


def _hash_key_and_mask(key: bytes, nonce: bytes) -> tuple[int, int]:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block of GCM by hand
    return (
        int.from_bytes(block.update(bytes(16)), "big"),
        int.from_bytes(block.update(nonce + b"\0\0\0\1"), "big"),
    )


def _multiply(left: int, right: int) -> int:
    """Multiply in GCM's field (NIST SP 800-38D, section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (0xE1 << 120 if right & 1 else 0)
    return product


def _inverse(value: int) -> int:
    """Raise to the power 2^128 - 2."""
    result = 1 << 127  # GCM's one
    for _ in range(127):
        value = _multiply(value, value)
        result = _multiply(result, value)
    return result
