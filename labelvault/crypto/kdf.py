"""Argon2id (RFC 9106) for passphrases, HKDF (RFC 5869) for keys out of keys."""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from labelvault.crypto.secret import SecretBytes
from labelvault.errors import FormatError

SALT_BYTES: Final = 16
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Argon2idParameters:
    """Cost of one passphrase guess; stored beside what it protects, and bounded when read back.

    The default is RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes). The floor keeps a tampered
    file from lowering the cost to nothing; the ceiling keeps one from filling the memory.

    Attributes:
        memory_kib: 8,192 to 2,097,152 KiB.
        passes: 1 to 16.
        lanes: 1 to 16.
    """

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        if not 8 * 1024 <= self.memory_kib <= 2 * 1024 * 1024:
            raise FormatError("Argon2id memory lies outside 8 MiB to 2 GiB")
        if not 1 <= self.passes <= 16 or not 1 <= self.lanes <= 16:
            raise FormatError("Argon2id passes or lanes lie outside 1 to 16")


def derive_key(passphrase: SecretBytes, salt: bytes, parameters: Argon2idParameters) -> SecretBytes:
    """Derive a 32-byte key from a passphrase.

    Args:
        passphrase: UTF-8 bytes, not empty.
        salt: 16 random bytes.
        parameters: the cost.
    """
    derive = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=parameters.passes,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    return SecretBytes(derive.derive(passphrase.reveal()))


def derive_subkey(key: SecretBytes, label: bytes) -> SecretBytes:
    """Derive a 32-byte key from a uniformly random one (HKDF-SHA256 without salt); it tells nothing of that one.

    Args:
        key: 32 uniformly random bytes.
        label: what the new key is for; one label, one purpose.
    """
    return SecretBytes(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(key.reveal()))
