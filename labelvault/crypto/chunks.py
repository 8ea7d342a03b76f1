"""Opening single chunks of a Cobblestone-256 payload, which the library's own decryptor only takes in sequence.

The construction is that of C2SP chunked-encryption (https://c2sp.org/chunked-encryption) with HKDF-Expand-SHA-512 and
AES-256-GCM; docs/spec.md, section 5.3, has it in full. Sealing stays with the library.
"""

import hmac
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from labelvault.crypto.aead import CHUNK_BYTES, CHUNK_TAG_BYTES, PAYLOAD_PREFIX_BYTES
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError

SALT_BYTES: Final = 24
COMMITMENT_BYTES: Final = 32
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + CHUNK_TAG_BYTES
"""Every chunk but the last, which is shorter."""
MAX_CHUNKS: Final = 2**38
"""So 4 PiB of plaintext, far below where AES-256-GCM's margins shrink (C2SP chunked-encryption, Limits)."""
INFO_LABEL: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_AEAD_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
BEFORE_COMMITMENT_BYTES: Final = _AEAD_KEY_BYTES + _NONCE_BYTES
"""AEAD key and base nonce come before the commitment in the derived bytes."""


def derive(algorithm: str, key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """Return AEAD key (32), base nonce (12) and commitment (32).

    HKDF-Expand (RFC 5869, section 2.3) with `key` as pseudorandom key, and label ‖ 0 ‖ salt ‖ context as info.

    Args:
        algorithm: `sha512`; the published vectors are for `sha256`.
        key: 32 bytes.
        salt: 24 bytes.
        context: as given to `seal_payload`.
    """
    info = INFO_LABEL + salt + context
    derived = block = b""
    number = 0
    while len(derived) < BEFORE_COMMITMENT_BYTES + COMMITMENT_BYTES:
        number += 1
        block = hmac.digest(key, block + info + bytes([number]), algorithm)
        derived += block
    return (
        derived[:_AEAD_KEY_BYTES],
        derived[_AEAD_KEY_BYTES:BEFORE_COMMITMENT_BYTES],
        derived[BEFORE_COMMITMENT_BYTES : BEFORE_COMMITMENT_BYTES + COMMITMENT_BYTES],
    )


class ChunkOpener:
    """Opens the chunks of one payload in any order, each in its own place only.

    A chunk that opens is one that was sealed under this key and context, at this number, and (the last one) at the
    payload's end. Says nothing of chunks that were not opened.

    Attributes:
        chunks: how many there are.
        plaintext_bytes: of all of them.
    """

    __slots__ = ("_aead", "_base_nonce", "chunks", "plaintext_bytes")

    # Not an argument: there is one suite, and only the test that holds this module to the published vectors swaps it.
    _ALGORITHM: ClassVar[str] = "sha512"

    def __init__(self, key: SecretBytes, prefix: bytes, context: bytes, payload_bytes: int) -> None:
        """Check that the payload is committed to this key and context, before any chunk is opened.

        Args:
            key: 32 bytes.
            prefix: the payload's first 56 bytes.
            context: as given to `seal_payload`.
            payload_bytes: size of the whole payload.

        Raises:
            DecryptionError: wrong key or context, or no payload has this size.
        """
        opener, base_nonce = self._committed(key, prefix, context)
        full, last = divmod(payload_bytes - PAYLOAD_PREFIX_BYTES, SEALED_CHUNK_BYTES)
        self.chunks = full + 1
        self.plaintext_bytes = full * CHUNK_BYTES + last - CHUNK_TAG_BYTES
        # A last chunk without room for its tag, or none because the payload ends with a full one.
        sized = payload_bytes > PAYLOAD_PREFIX_BYTES and last >= CHUNK_TAG_BYTES and self.chunks <= MAX_CHUNKS
        if opener is None or not sized:
            raise DecryptionError("decryption failed")
        self._aead, self._base_nonce = opener, int.from_bytes(base_nonce, "big")

    @classmethod
    def _committed(cls, key: SecretBytes, prefix: bytes, context: bytes) -> tuple[AESGCM | None, bytes]:
        """Return the AEAD if the prefix commits to key and context. Raises nothing, as its frame holds keys."""
        if len(key) != _AEAD_KEY_BYTES or len(prefix) != PAYLOAD_PREFIX_BYTES:
            return None, b""
        aead_key, base_nonce, commitment = derive(cls._ALGORITHM, key.reveal(), prefix[:SALT_BYTES], context)
        same = hmac.compare_digest(commitment, prefix[SALT_BYTES:])
        return (AESGCM(aead_key) if same else None), base_nonce

    def place(self, number: int) -> tuple[int, int]:
        """Return where a chunk begins in the payload, and its size; `number` is from 0 to `chunks` - 1."""
        last = number == self.chunks - 1
        size = self.plaintext_bytes - number * CHUNK_BYTES + CHUNK_TAG_BYTES if last else SEALED_CHUNK_BYTES
        return PAYLOAD_PREFIX_BYTES + number * SEALED_CHUNK_BYTES, size

    def open(self, number: int, chunk: bytes | memoryview) -> bytes:
        """Open one chunk.

        Args:
            number: from 0.
            chunk: its bytes, tag included, as `place` says.

        Raises:
            DecryptionError: not the bytes that were sealed at this number.
        """
        if not 0 <= number < self.chunks or len(chunk) != self.place(number)[1]:
            raise DecryptionError("decryption failed")
        nonce = (self._base_nonce ^ number).to_bytes(_NONCE_BYTES, "big")
        try:
            return self._aead.decrypt(nonce, chunk, None)
        except InvalidTag:
            raise DecryptionError("decryption failed") from None
