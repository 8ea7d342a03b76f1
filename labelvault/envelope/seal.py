"""Sealing an item under a fresh DEK, and opening it again (docs/spec.md, section 5).

plaintext = u32 metadata size ‖ metadata ‖ content ‖ zero padding to a Padmé size; payload = Cobblestone-256 of it, with
the canonical header as context. One AEAD pass covers all, so neither kind, name nor true size shows.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

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
PREFIX_BYTES: Final = 4
"""Size of the metadata, before it."""


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

    def __reduce__(self) -> NoReturn:
        raise TypeError("opened items are not pickled or copied")


def seal_item(
    header: ItemHeader, metadata: Metadata, content: bytes, *, floor_bytes: int, encoded: bytes | None = None
) -> tuple[SealedItem, SecretBytes]:
    """Seal one item version under a DEK of its own.

    The DEK is drawn here and seals nothing else: there is no way to pass one in.

    Args:
        header: where it belongs.
        metadata: `metadata.size` is set to the content's size.
        content: up to 64 MiB.
        floor_bytes: the project's padding floor.
        encoded: the metadata's canonical bytes, from who has them already; with the content's size.

    Returns:
        What to store, and the 32-byte DEK to wrap.

    Raises:
        FormatError: content or metadata over their bounds.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise FormatError(f"{len(content)} bytes; an item holds at most {MAX_CONTENT_BYTES}")
    head = sealed_head(metadata, len(content)) if encoded is None else _framed(encoded)
    size = len(head) + len(content)
    plaintext = b"".join((head, content, bytes(padded_size(size, floor_bytes) - size)))
    header_bytes = header.encode()
    dek = SecretBytes(random_bytes(aead.KEY_BYTES))
    payload = aead.seal_payload(dek, plaintext, payload_context(header_bytes))
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
    parts = _split(aead.open_payload(dek, payload, payload_context(header)))
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
    check_leaves(header, len(payload), payload_leaves(payload), expected=expected, digest=digest)


def check_leaves(
    header: bytes, payload_bytes: int, leaves: Sequence[bytes], *, expected: ItemHeader, digest: bytes
) -> None:
    """Check served header, size and leaf hashes against the digest; then each leaf's bytes can be checked alone.

    Raises:
        TamperedError: they are others.
    """
    # One header has one encoding, so equal bytes need no parsing.
    if header != expected.encode():
        try:
            parse_header(header)
        except FormatError as error:
            raise TamperedError("the vault served a malformed header") from error
        raise TamperedError("the vault served another item or version")
    if not hmac.compare_digest(item_digest(header, payload_bytes, leaves), digest):
        raise TamperedError("the vault served other bytes than the client sealed")


def payload_context(header: bytes) -> bytes:
    """Return what a payload is bound to besides its key."""
    return _CONTEXT_LABEL + header


def sealed_head(metadata: Metadata, size: int) -> bytes:
    """Return what stands before the content: the metadata, its own size first.

    Args:
        metadata: its `size` is set.
        size: of the content, in bytes.

    Raises:
        FormatError: metadata over its bounds.
    """
    return _framed(encode_record(metadata if metadata.size == size else replace(metadata, size=size)))


def _framed(encoded: bytes) -> bytes:
    if len(encoded) > MAX_METADATA_BYTES:
        raise FormatError(f"metadata of {len(encoded)} bytes; at most {MAX_METADATA_BYTES}")
    return len(encoded).to_bytes(PREFIX_BYTES, "big") + encoded


def read_head(plaintext: bytes, plaintext_bytes: int) -> tuple[Metadata, int] | None:
    """Return metadata, and where the content begins; None if they are malformed.

    Args:
        plaintext: its beginning: whole, or at least 32 KiB and 4 bytes.
        plaintext_bytes: size of the whole.
    """
    start = PREFIX_BYTES + int.from_bytes(plaintext[:PREFIX_BYTES], "big")
    if plaintext_bytes < PREFIX_BYTES or start > min(plaintext_bytes, PREFIX_BYTES + MAX_METADATA_BYTES):
        return None
    try:
        metadata = decode_record(Metadata, plaintext[PREFIX_BYTES:start])
    except FormatError:
        return None
    return (metadata, start) if start + metadata.size <= plaintext_bytes else None


def _split(plaintext: bytes) -> tuple[Metadata, bytes] | None:
    """Return metadata and content, or None if the plaintext is malformed."""
    head = read_head(plaintext, len(plaintext))
    if head is None:
        return None
    metadata, start = head
    end = start + metadata.size
    # A sealer that hides data in the padding would leak it to whoever stores decrypted files; refuse.
    if plaintext.count(0, end) != len(plaintext) - end:
        return None
    return metadata, plaintext[start:end]
