"""Hybrid public-key encryption: HPKE (RFC 9180) single-shot base mode, one suite.

KEM MLKEM768_X25519 (0x647A, draft-connolly-cfrg-xwing-kem: secure while either ML-KEM-768 or X25519 is),
HKDF-SHA256, AES-256-GCM. A private key is kept as the KEM's 32-byte seed, from which SHAKE-256 expands both
halves. HPKE's base mode doesn't say who sent a message: every use here is inside a signed frame.
"""

import hashlib
from functools import lru_cache
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError, FormatError

SEED_BYTES: Final = 32
_MLKEM_PUBLIC_BYTES: Final = 1184
_X25519_BYTES: Final = 32
_X25519_PRIME: Final = 2**255 - 19
PUBLIC_KEY_BYTES: Final = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
ENCAPSULATED_BYTES: Final = 1088 + _X25519_BYTES
OVERHEAD_BYTES: Final = ENCAPSULATED_BYTES + 16

_ANY_X25519: Final = X25519PrivateKey.from_private_bytes(bytes(_X25519_BYTES))
"""No secret: it only tells low-order points, for which any private key is as good."""
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class OneTimeKey:
    """A private key that opens one message and is then dropped."""

    __slots__ = ("__private", "__seed", "public_key")

    def __init__(self, seed: SecretBytes) -> None:
        """Expand the KEM's seed (draft-connolly-cfrg-xwing-kem, section 5.2).

        Args:
            seed: 32 uniformly random bytes.

        Raises:
            ValueError: the seed has another size.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError("a one-time key's seed has 32 bytes")
        expanded = hashlib.shake_256(seed.reveal()).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.__seed = seed
        self.__private = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public_key: bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "OneTimeKey":
        """Make a new key from the operating system's randomness."""
        return cls(SecretBytes(random_bytes(SEED_BYTES)))

    def seed(self) -> SecretBytes:
        """Return the 32-byte seed, for an encrypted file of a key made ahead of time."""
        return self.__seed

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Decrypt a message sealed to this key.

        Args:
            sealed: encapsulated key (1120 bytes) ‖ ciphertext.
            info: the same bytes that `seal` was given.

        Raises:
            DecryptionError: another key or info, or altered bytes; which one is not told.
        """
        try:
            return _SUITE.decrypt(sealed, self.__private, info=info)
        except (InvalidTag, ValueError):
            # Wrong sizes raise ValueError in the library; here they are the same failure.
            raise DecryptionError("decryption failed") from None

    def __repr__(self) -> str:
        return "<OneTimeKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("one-time keys are not pickled or copied")


def check_public_key(public_key: bytes) -> None:
    """Refuse a one-time public key that `seal` would refuse; to be called before there is anything to seal.

    Args:
        public_key: ML-KEM-768 (1184 bytes) ‖ X25519 (32 bytes).

    Raises:
        FormatError: as `seal`.
    """
    _load_public_key(public_key)


# A release checks the key before anything is sealed to it, and then seals.
@lru_cache(maxsize=1)
def _load_public_key(public_key: bytes) -> MLKEM768X25519PublicKey:
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise FormatError(f"a one-time public key has {PUBLIC_KEY_BYTES} bytes")
    # RFC 7748 takes other encodings of the same point; taking them, one key could pass for several.
    if int.from_bytes(public_key[_MLKEM_PUBLIC_BYTES:], "little") >= _X25519_PRIME:
        raise FormatError("not a canonical one-time public key")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public_key[_MLKEM_PUBLIC_BYTES:])
        # A low-order point makes every exchange come out as zero, which the library refuses; so one key will do.
        _ANY_X25519.exchange(x25519)
    except ValueError as error:
        raise FormatError("not a valid one-time public key") from error
    return MLKEM768X25519PublicKey(mlkem, x25519)


def seal(public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Encrypt `plaintext` to a one-time public key.

    Args:
        public_key: ML-KEM-768 (1184 bytes) ‖ X25519 (32 bytes).
        plaintext: what to encrypt.
        info: bound to the ciphertext (RFC 9180, section 8.1); required.

    Returns:
        encapsulated key (1120 bytes) ‖ ciphertext with its 16-byte tag.

    Raises:
        FormatError: the key has a wrong size, is not canonical (FIPS 203, section 7.2; RFC 7748, section 5),
            or is a low-order X25519 point.
    """
    return _SUITE.encrypt(plaintext, _load_public_key(public_key), info=info)
