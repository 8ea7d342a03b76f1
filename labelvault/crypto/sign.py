"""Ed25519 signing (RFC 8032) by libsodium, through PyNaCl."""

from typing import Final, NoReturn

from nacl import bindings

from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes

SEED_BYTES: Final = 32


class SigningKey:
    """An Ed25519 key that signs, and gives out nothing but signatures and its public key.

    `seed()` exists for the one purpose of storing it in an encrypted key file.
    """

    __slots__ = ("__expanded", "public_key")

    def __init__(self, seed: SecretBytes) -> None:
        """Take the key's seed.

        Args:
            seed: 32 uniformly random bytes.

        Raises:
            ValueError: the seed has another size.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError("an Ed25519 seed has 32 bytes")
        public, expanded = bindings.crypto_sign_seed_keypair(seed.reveal())
        self.public_key: bytes = public
        self.__expanded = SecretBytes(expanded)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key from the operating system's randomness."""
        return cls(SecretBytes(random_bytes(SEED_BYTES)))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`."""
        return bytes(bindings.crypto_sign(message, self.__expanded.reveal())[: bindings.crypto_sign_BYTES])

    def seed(self) -> SecretBytes:
        """Return the seed, for a key file."""
        return SecretBytes(self.__expanded.reveal()[:SEED_BYTES])

    def __repr__(self) -> str:
        # Also of an object whose making failed, for tracebacks that show it.
        return f"<SigningKey for {getattr(self, 'public_key', b'').hex()[:16]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("signing keys are not pickled or copied")
