"""Telling at once whether guessed 32 bytes are a key of something that was recorded, from public bytes alone.

An attacker who tries every stretch of a memory image can't afford a decryption for each pair of guess and
ciphertext. Both formats give a cheaper answer: Cobblestone-256 stores a commitment that is derived from the
key, and an ML-KEM public key carries a seed that is derived from the private one. Neither gives away anything
secret.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from labelvault.crypto.aead import PAYLOAD_PREFIX_BYTES
from labelvault.crypto.chunks import BEFORE_COMMITMENT_BYTES, INFO_LABEL, SALT_BYTES, derive

_HASH_BYTES: Final = 64
_BLOCK_BYTES: Final = 128
_INNER_PAD: Final = bytes(value ^ 0x36 for value in range(256))
_OUTER_PAD: Final = bytes(value ^ 0x5C for value in range(256))

_RHO_AT: Final = 1152
"""An ML-KEM-768 public key is 1152 bytes of coefficients, then 32 of the seed rho (FIPS 203, section 7.1)."""
_RHO_BYTES: Final = 32
_MLKEM_768_RANK: Final = b"\x03"


def cobblestone_commitment(key: bytes, salt: bytes, context: bytes) -> bytes:
    """Return the commitment that Cobblestone-256 stores after the salt.

    Args:
        key: 32 bytes.
        salt: 24 bytes.
        context: as given to `seal_payload`.

    Returns:
        32 bytes.
    """
    return derive("sha512", key, salt, context)[2]


class PayloadRecogniser:
    """Finds the payloads that a guessed key is committed to, at about a microsecond for each pair."""

    __slots__ = ("_expected", "_messages")

    def __init__(self, payloads: Sequence[tuple[bytes, bytes]]) -> None:
        """Take what the guesses are compared with.

        Args:
            payloads: (payload or at least its first 56 bytes, context) of each.
        """
        first = _HASH_BYTES - BEFORE_COMMITMENT_BYTES
        self._messages = [INFO_LABEL + payload[:SALT_BYTES] + context + b"\x01" for payload, context in payloads]
        # The first HKDF block holds 20 bytes of the commitment: enough to tell, and half the work.
        self._expected = [payload[SALT_BYTES:PAYLOAD_PREFIX_BYTES][:first] for payload, _ in payloads]

    def matches(self, key: bytes) -> list[int]:
        """Return the indexes of the payloads whose stored commitment this key gives.

        Args:
            key: 32 bytes.
        """
        padded = key + bytes(_BLOCK_BYTES - len(key))
        inner = hashlib.sha512(padded.translate(_INNER_PAD))
        outer = hashlib.sha512(padded.translate(_OUTER_PAD))
        found = []
        for index, (message, expected) in enumerate(zip(self._messages, self._expected, strict=True)):
            # HMAC (RFC 2104) with the key's two blocks hashed once for all payloads.
            middle = inner.copy()
            middle.update(message)
            last = outer.copy()
            last.update(middle.digest())
            if last.digest()[BEFORE_COMMITMENT_BYTES:] == expected:
                found.append(index)
        return found


def one_time_mark(public_key: bytes) -> bytes:
    """Return the 32 bytes of a one-time public key by which `seed_mark` recognises its seed.

    Args:
        public_key: 1216 bytes, as `labelvault.crypto.hpke.OneTimeKey` has it.
    """
    return public_key[_RHO_AT : _RHO_AT + _RHO_BYTES]


def seed_mark(seed: bytes) -> bytes:
    """Return what `one_time_mark` gives for the public key of this seed, without computing the key.

    The seed is expanded with SHAKE-256 (draft-connolly-cfrg-xwing-kem, section 5.2), the first 32 bytes of
    that with SHA3-512 (FIPS 203, algorithm 13); the first 32 bytes of that are rho, which the public key
    carries.

    Args:
        seed: 32 bytes.
    """
    d = hashlib.shake_256(seed).digest(32)
    return hashlib.sha3_512(d + _MLKEM_768_RANK).digest()[:_RHO_BYTES]
