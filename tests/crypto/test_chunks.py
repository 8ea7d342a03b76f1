"""Chunks opened one by one: the published vectors, the library's own decryptor, and every chunk out of its place."""

import base64
import hashlib
import json
import os
import random
import traceback
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto import aead, chunks
from labelvault.crypto.chunks import SEALED_CHUNK_BYTES, ChunkOpener
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors").joinpath("chunked_aes256gcm_sha256.json").read_text()
)["vectors"]
KEY_A = SecretBytes(b"a" * 32)
KEY_B = SecretBytes(b"b" * 32)
PREFIX = aead.PAYLOAD_PREFIX_BYTES
BORDERS = sorted({max(0, k * aead.CHUNK_BYTES + d) for k in (0, 1, 2, 3) for d in (-17, -16, -1, 0, 1, 16)})


class PublishedSuite(ChunkOpener):
    """The same over SHA-256, for which vectors are published."""

    _ALGORITHM = "sha256"


def opener_of(key: SecretBytes, payload: bytes, context: bytes, kind: type[ChunkOpener] = ChunkOpener) -> ChunkOpener:
    """The opener of a whole payload."""
    return kind(key, payload[:PREFIX], context, len(payload))


def chunk_of(opener: ChunkOpener, payload: bytes, number: int) -> bytes:
    """One chunk's sealed bytes."""
    start, size = opener.place(number)
    return payload[start : start + size]


def open_all(key: SecretBytes, payload: bytes, context: bytes, kind: type[ChunkOpener] = ChunkOpener) -> bytes:
    """All chunks, opened in a random order."""
    opener = opener_of(key, payload, context, kind)
    order = list(range(opener.chunks))
    random.shuffle(order)
    opened = {number: opener.open(number, chunk_of(opener, payload, number)) for number in order}
    plaintext = b"".join(opened[number] for number in sorted(opened))
    assert len(plaintext) == opener.plaintext_bytes
    return plaintext


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_published_vectors(vector: dict[str, Any]) -> None:
    """Each published vector opens, or is refused, with the hash that it was made with."""
    raw = base64.b64decode(vector["ciphertext"] or "")
    payload = zlib.decompress(raw) if vector.get("compressed") else raw
    key, context = SecretBytes(bytes.fromhex(vector["key"])), vector["context"].encode()
    if vector["expect"] == "success":
        opened = open_all(key, payload, context, PublishedSuite)
        assert len(opened) == vector["payload_length"]
        assert hashlib.sha256(opened).hexdigest() == vector["payload_sha256"]
        derived = chunks.derive("sha256", key.reveal(), payload[:24], context)
        assert (derived[0].hex(), derived[1].hex()) == (vector["aead_key"], vector["base_nonce"])
    else:
        with pytest.raises(DecryptionError):
            open_all(key, payload, context, PublishedSuite)
    with pytest.raises(DecryptionError):
        open_all(key, payload, context)


@pytest.mark.parametrize("size", BORDERS)
def test_what_the_library_opens_opens_alike_around_the_borders(size: int) -> None:
    """Equal to the library's sequential decryptor at every size around a chunk's end."""
    payload = aead.seal_payload(KEY_A, os.urandom(size), b"context")
    assert open_all(KEY_A, payload, b"context") == aead.open_payload(KEY_A, payload, b"context")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200_000), st.binary(max_size=80), st.randoms(use_true_random=False))
def test_what_the_library_opens_opens_alike(size: int, context: bytes, source: random.Random) -> None:
    """Equal to the library's sequential decryptor for random keys, contexts, contents and sizes."""
    key, plaintext = SecretBytes(source.randbytes(32)), source.randbytes(size)
    payload = aead.seal_payload(key, plaintext, context)
    assert open_all(key, payload, context) == aead.open_payload(key, payload, context) == plaintext


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40_000), st.randoms(use_true_random=False))
def test_F2_what_the_library_refuses_is_refused(size: int, source: random.Random) -> None:
    """A payload cut or extended anywhere is refused by both."""
    payload = aead.seal_payload(KEY_A, bytes(size), b"")
    for altered in (payload[: source.randrange(len(payload))], payload + source.randbytes(source.randint(1, 64))):
        for opening in (aead.open_payload, open_all):
            with pytest.raises(DecryptionError):
                opening(KEY_A, altered, b"")


def test_F2_no_payload_has_a_last_chunk_without_a_tag_or_a_full_one() -> None:
    """Sizes that no sealing gives are refused before anything is opened, so a cut at a chunk's edge is seen."""
    payload = aead.seal_payload(KEY_A, bytes(3 * aead.CHUNK_BYTES), b"")
    for full in range(4):
        for last in (0, 1, 15):
            with pytest.raises(DecryptionError):
                ChunkOpener(KEY_A, payload[:PREFIX], b"", PREFIX + full * SEALED_CHUNK_BYTES + last)
        assert ChunkOpener(KEY_A, payload[:PREFIX], b"", PREFIX + full * SEALED_CHUNK_BYTES + 16).chunks == full + 1
    for size in (0, 1, PREFIX - 1, PREFIX):
        with pytest.raises(DecryptionError):
            ChunkOpener(KEY_A, payload[:PREFIX], b"", size)


def test_F10_the_chunk_counter_has_a_limit() -> None:
    """A payload of more than 2^38 chunks is refused."""
    prefix = aead.seal_payload(KEY_A, b"", b"")[:PREFIX]
    most = PREFIX + (chunks.MAX_CHUNKS - 1) * SEALED_CHUNK_BYTES + 16
    assert ChunkOpener(KEY_A, prefix, b"", most).chunks == 2**38
    with pytest.raises(DecryptionError):
        ChunkOpener(KEY_A, prefix, b"", most + SEALED_CHUNK_BYTES)


def test_F2_a_chunk_opens_in_its_own_place_only() -> None:
    """No chunk opens at another's number, nor another payload's chunk at its own."""
    payload = aead.seal_payload(KEY_A, os.urandom(3 * aead.CHUNK_BYTES + 5), b"")
    other = aead.seal_payload(KEY_A, os.urandom(3 * aead.CHUNK_BYTES + 5), b"")
    opener = opener_of(KEY_A, payload, b"")
    for number in range(4):
        for place in (-1, 0, 1, 2, 3, 4):
            if place != number:
                with pytest.raises(DecryptionError):
                    opener.open(place, chunk_of(opener, payload, number))
        with pytest.raises(DecryptionError):
            opener.open(number, chunk_of(opener, other, number))
        assert opener.open(number, memoryview(chunk_of(opener, payload, number)))


def test_F1_any_flipped_bit_and_any_other_size_of_a_chunk_is_refused() -> None:
    """A chunk of another size, or with one bit flipped, does not open, and the true one still does."""
    payload = aead.seal_payload(KEY_A, b"p" * 40, b"")
    opener = opener_of(KEY_A, payload, b"")
    chunk = chunk_of(opener, payload, 0)
    altered = [chunk[:at] + bytes([chunk[at] ^ 1 << bit]) + chunk[at + 1 :] for at in range(56) for bit in range(8)]
    altered += [chunk[:size] for size in range(56)] + [chunk + bytes(size) for size in range(1, 65)]
    for each in altered:
        with pytest.raises(DecryptionError):
            opener.open(0, each)
    assert opener.open(0, chunk) == b"p" * 40


def test_F5_F6_the_commitment_is_checked_before_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key, context, salt or commitment is refused in the same words, and no AEAD is made for it."""
    payload = aead.seal_payload(KEY_A, b"p" * 40, b"context")
    other = aead.seal_payload(KEY_B, b"p" * 40, b"context")
    made: list[bytes] = []
    monkeypatch.setattr(chunks, "AESGCM", made.append)
    prefixes = [other[:24] + payload[24:56], payload[:24] + other[24:56], payload[:55], payload[:57], b""]
    prefixes += [payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 : 56] for at in range(56)]
    attempts = [(KEY_A, prefix, b"context") for prefix in prefixes]
    attempts += [(KEY_B, payload[:56], b"context"), (KEY_A, payload[:56], b"other"), (KEY_A, payload[:56], b"")]
    attempts += [(SecretBytes(b"a" * size), payload[:56], b"context") for size in (0, 16, 31, 33)]
    seen = set()
    for key, prefix, context in attempts:
        with pytest.raises(DecryptionError) as caught:
            ChunkOpener(key, prefix, context, len(payload))
        seen.add(str(caught.value))
    assert len(seen) == 1
    assert not made


def test_X2_a_refused_chunk_and_a_refused_commitment_show_no_key() -> None:
    """Tracebacks with locals of both failures hold neither DEK nor derived key."""
    payload = aead.seal_payload(KEY_A, b"p" * 40, b"")
    opener = opener_of(KEY_A, payload, b"")
    shown = ""
    for refused in (lambda: opener.open(0, bytes(56)), lambda: ChunkOpener(KEY_A, bytes(56), b"", len(payload))):
        with pytest.raises(DecryptionError) as caught:
            refused()
        shown += "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "opener" in shown
    for secret in (KEY_A.reveal(), chunks.derive("sha512", KEY_A.reveal(), payload[:24], b"")[0]):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
