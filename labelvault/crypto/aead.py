"""Symmetric encryption: XChaCha20-Poly1305 for small secrets, Cobblestone-256 for payloads.

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) by libsodium: its 192-bit nonce may be drawn at random for any
number of wraps. Cobblestone-256 (C2SP chunked-encryption with SHA-512 and AES-256-GCM) by `cryptography`: it
derives key, nonce and a 32-byte commitment from key, salt and context, so a payload opens under one key only.
"""

from typing import Final

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from nacl import bindings
from nacl.exceptions import CryptoError

from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
WRAP_OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES

PAYLOAD_PREFIX_BYTES: Final = 56
"""Salt (24) and commitment (32) before the first chunk (C2SP chunked-encryption, Message chunking)."""
CHUNK_BYTES: Final = 16 * 1024
CHUNK_TAG_BYTES: Final = 16


def wrap(key: SecretBytes, secret: SecretBytes, associated_data: bytes) -> bytes:
    """Encrypt a small secret under `key`, bound to `associated_data`.

    Args:
        key: 32 bytes.
        secret: what to encrypt.
        associated_data: authenticated with it; required, so that no wrap floats free of its place.

    Returns:
        nonce (24) ‖ ciphertext ‖ tag (16).
    """
    nonce = random_bytes(NONCE_BYTES)
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        secret.reveal(), associated_data, nonce, key.reveal()
    )


def unwrap(key: SecretBytes, wrapped: bytes, associated_data: bytes) -> SecretBytes:
    """Undo `wrap`.

    Raises:
        DecryptionError: wrong key, associated data, size or any altered bit; which one is not told.
    """
    if len(wrapped) < WRAP_OVERHEAD_BYTES:
        raise DecryptionError("decryption failed")
    try:
        opened = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            wrapped[NONCE_BYTES:], associated_data, wrapped[:NONCE_BYTES], key.reveal()
        )
    except CryptoError:
        # `from None`: the library's own error is one more thing that could differ between causes.
        raise DecryptionError("decryption failed") from None
    return SecretBytes(opened)


def sealed_size(plaintext_bytes: int) -> int:
    """Return the size of a Cobblestone-256 ciphertext for a plaintext of this many bytes."""
    chunks = plaintext_bytes // CHUNK_BYTES + 1
    return PAYLOAD_PREFIX_BYTES + plaintext_bytes + chunks * CHUNK_TAG_BYTES


def opened_size(payload_bytes: int) -> int:
    """Undo `sealed_size`; for sizes that it gives."""
    chunks = (payload_bytes - PAYLOAD_PREFIX_BYTES) // (CHUNK_BYTES + CHUNK_TAG_BYTES) + 1
    return payload_bytes - PAYLOAD_PREFIX_BYTES - chunks * CHUNK_TAG_BYTES


def seal_payload(key: SecretBytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt a payload under a key that is used for this payload only.

    Args:
        key: 32 bytes, fresh.
        plaintext: any size up to 4 PiB.
        context: authenticated, and mixed into the key derivation.

    Returns:
        salt (24) ‖ commitment (32) ‖ chunks of 16 KiB, each with its 16-byte tag, the last one shorter.
    """
    encryptor = Cobblestone256Encryptor(key.reveal(), context)
    head = encryptor.update(plaintext)
    return head + encryptor.finalize()


class PayloadSealer:
    """Encrypts a payload piece by piece, in constant memory; gives the same format as `seal_payload`."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: SecretBytes, context: bytes) -> None:
        """Begin a payload.

        Args:
            key: 32 bytes, fresh, for this payload only.
            context: authenticated, and mixed into the key derivation.
        """
        self._encryptor = Cobblestone256Encryptor(key.reveal(), context)

    def update(self, plaintext: bytes) -> bytes:
        """Take the next plaintext, of any size; return what ciphertext is ready, the payload's prefix first."""
        return self._encryptor.update(plaintext)

    def update_into(self, plaintext: bytes, target: memoryview) -> int:
        """As `update`, but write to the beginning of `target`; return how many bytes that were.

        Args:
            plaintext: of any size.
            target: writable, with room for the plaintext, 32 KiB and a thousandth of the plaintext.
        """
        return self._encryptor.update_into(plaintext, target)

    def finish(self) -> bytes:
        """Return the rest, last chunk included; nothing can follow."""
        return self._encryptor.finalize()


def open_payload(key: SecretBytes, payload: bytes, context: bytes) -> bytes:
    """Decrypt a whole payload; the commitment is checked before any chunk is decrypted.

    Raises:
        DecryptionError: wrong key or context, altered, truncated or extended payload; which one is not told.
    """
    try:
        decryptor = Cobblestone256Decryptor(key.reveal(), context)
        head = decryptor.update(payload)
        return head + decryptor.finalize()
    except InvalidTag:
        # The chunks that did open leave this frame: a traceback may be logged with its locals.
        head = b""
        raise DecryptionError("decryption failed") from None
