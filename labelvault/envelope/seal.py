"""Sealing an item under a fresh DEK, and opening it again (docs/spec.md, section 5).

plaintext = u32 metadata size ‖ metadata ‖ content ‖ zero padding to a Padmé size; payload = Cobblestone-256 of it, with
the canonical header as context. One AEAD pass covers all, so neither kind, name nor true size shows.
"""

import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from labelvault.crypto import aead
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.metadata import MAX_CONTENT_BYTES, MAX_METADATA_BYTES, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.errors import DecryptionError, FormatError, TamperedError
from labelvault.wire.items import ItemHeader, parse_header
from labelvault.wire.schema import decode_record, encode_record

_CONTEXT_LABEL: Final = b"labelvault/v1/payload\0"
_PREFIX_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SealedItem:
    """What the vault stores of one item version.

    Attributes:
        header: canonical header bytes.
        payload: Cobblestone-256 ciphertext.
        leaves: 32-byte leaf hashes of its 1 MiB pieces.
        digest: 32 bytes; the catalog, leases and the ledger name the bytes by it.
    """

    header: bytes
    payload: bytes = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)
    digest: bytes


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """An item's plaintext; content is kept out of repr."""

    header: ItemHeader
    metadata: Metadata = field(repr=False)
    content: bytes = field(repr=False)


def seal_item(
    header: ItemHeader, metadata: Metadata, content: bytes, *, floor_bytes: int
) -> tuple[SealedItem, SecretBytes]:
    """Seal one item version under a DEK of its own.

    The DEK is drawn here and seals nothing else: there is no way to pass one in.

    Args:
        header: where it belongs.
        metadata: `metadata.size` is set to the content's size.
        content: up to 64 MiB.
        floor_bytes: the project's padding floor.

    Returns:
        What to store, and the 32-byte DEK to wrap.

    Raises:
        FormatError: content or metadata over their bounds.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise FormatError(f"{len(content)} bytes; an item holds at most {MAX_CONTENT_BYTES}")
    encoded = encode_record(replace(metadata, size=len(content)))
    if len(encoded) > MAX_METADATA_BYTES:
        raise FormatError(f"metadata of {len(encoded)} bytes; at most {MAX_METADATA_BYTES}")
    size = _PREFIX_BYTES + len(encoded) + len(content)
    padding = bytes(padded_size(size, floor_bytes) - size)
    plaintext = b"".join((len(encoded).to_bytes(_PREFIX_BYTES, "big"), encoded, content, padding))
    header_bytes = header.encode()
    dek = SecretBytes(random_bytes(aead.KEY_BYTES))
    payload = aead.seal_payload(dek, plaintext, _CONTEXT_LABEL + header_bytes)
    leaves = payload_leaves(payload)
    return SealedItem(header_bytes, payload, leaves, item_digest(header_bytes, len(payload), leaves)), dek


def open_item(header: bytes, payload: bytes, dek: SecretBytes, *, expected: ItemHeader, digest: bytes) -> OpenedItem:
    """Check that these are the bytes that the client sealed, then open them.

    Args:
        header: as the vault served it.
        payload: as the vault served it.
        dek: 32 bytes, from a lease.
        expected: the item version that was leased.
        digest: its 32-byte digest, from the same lease.

    Raises:
        TamperedError: header or payload are not the ones that the digest names. Found before any decryption.
        DecryptionError: the DEK does not open them, or what it opens is malformed.
    """
    check_digest(header, payload, expected=expected, digest=digest)
    parts = _split(aead.open_payload(dek, payload, _CONTEXT_LABEL + header))
    # Sealed by someone who held the DEK and yet malformed: the same outcome as any failed opening. Raised here and not
    # below, where frames hold the plaintext that a traceback with locals would show.
    if parts is None:
        raise DecryptionError("decryption failed")
    return OpenedItem(expected, *parts)


def check_digest(header: bytes, payload: bytes, *, expected: ItemHeader, digest: bytes) -> None:
    """Check served bytes against the digest of the expected item version; needs no key.

    Raises:
        TamperedError: they are other bytes.
    """
    try:
        served = parse_header(header)
    except FormatError as error:
        raise TamperedError("the vault served a malformed header") from error
    if served != expected:
        raise TamperedError("the vault served another item or version")
    found = item_digest(header, len(payload), payload_leaves(payload))
    if not hmac.compare_digest(found, digest):
        raise TamperedError("the vault served other bytes than the client sealed")


def _split(plaintext: bytes) -> tuple[Metadata, bytes] | None:
    """Return metadata and content, or None if the plaintext is malformed."""
    start = _PREFIX_BYTES + int.from_bytes(plaintext[:_PREFIX_BYTES], "big")
    if len(plaintext) < _PREFIX_BYTES or start > min(len(plaintext), _PREFIX_BYTES + MAX_METADATA_BYTES):
        return None
    try:
        metadata = decode_record(Metadata, plaintext[_PREFIX_BYTES:start])
    except FormatError:
        return None
    end = start + metadata.size
    if end > len(plaintext):
        return None
    # A sealer that hides data in the padding would leak it to whoever stores decrypted files; refuse.
    if plaintext.count(0, end) != len(plaintext) - end:
        return None
    return metadata, plaintext[start:end]
