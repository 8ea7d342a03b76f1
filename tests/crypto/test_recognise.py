"""Keys are recognised by what the ciphertexts and public keys say of them."""

import os

from labelvault.crypto import aead, hpke
from labelvault.crypto.recognise import PayloadRecogniser, cobblestone_commitment, one_time_mark, seed_mark
from labelvault.crypto.secret import SecretBytes


def test_the_commitment_is_the_one_that_the_library_stores():
    """Our derivation and the library's agree, whatever the context."""
    for context in (b"", b"c", os.urandom(300)):
        key = os.urandom(32)
        payload = aead.seal_payload(SecretBytes(key), b"text", context)
        assert cobblestone_commitment(key, payload[:24], context) == payload[24:56]
        assert cobblestone_commitment(os.urandom(32), payload[:24], context) != payload[24:56]
        assert cobblestone_commitment(key, payload[:24], context + b"x") != payload[24:56]


def test_a_key_is_matched_with_its_own_payloads_only():
    """Among several payloads exactly those under the guessed key are named."""
    keys = [os.urandom(32) for _ in range(3)]
    payloads = [
        (aead.seal_payload(SecretBytes(keys[which]), b"text", b"context %d" % which), b"context %d" % which)
        for which in (0, 1, 2, 1)
    ]
    recogniser = PayloadRecogniser(payloads)
    assert [recogniser.matches(key) for key in keys] == [[0], [1, 3], [2]]
    assert recogniser.matches(os.urandom(32)) == []
    assert PayloadRecogniser([(payloads[0][0], b"another context")]).matches(keys[0]) == []


def test_a_seed_is_matched_with_its_public_key_only():
    """The mark of a seed is that of its public key, and no other's."""
    seeds = [os.urandom(32) for _ in range(3)]
    marks = [one_time_mark(hpke.OneTimeKey(SecretBytes(seed)).public_key) for seed in seeds]
    assert [seed_mark(seed) for seed in seeds] == marks
    assert len(set(marks)) == 3
