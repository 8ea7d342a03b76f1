"""Ed25519 verification (RFC 8032) by libsodium, through PyNaCl: all the cryptography that a vendor has.

libsodium, unlike some other libraries, refuses small-order and non-canonical public keys and signatures: with
the identity point as public key, one signature would otherwise fit every message.
"""

from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from labelvault.errors import SignatureError

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature.

    Args:
        public_key: 32 bytes.
        message: the signed bytes.
        signature: 64 bytes.

    Raises:
        SignatureError: the key or signature has a wrong size, is small-order or non-canonical, or does not
            fit.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise SignatureError("a public key or signature has the wrong size")
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except CryptoError as error:
        raise SignatureError("the signature does not verify") from error


def check_public_key(public_key: bytes) -> None:
    """Refuse a public key that no honest signer can have; called when a key is enrolled or pinned.

    Args:
        public_key: 32 bytes.

    Raises:
        SignatureError: not a canonical encoding of a point in the prime-order subgroup.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or not bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise SignatureError("not a valid Ed25519 public key")
