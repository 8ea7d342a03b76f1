"""Sealing content of any size in constant memory (docs/spec.md, section 5); the bytes are as `seal_item` makes them.

AES-256-GCM takes about a quarter of the time of SHA-256, so both are done in one thread. Whoever hashes the source or
what was stored, too, does that in others (`labelvault.pipeline`).
"""

from collections.abc import Iterator
from typing import Final, NoReturn, Protocol

from labelvault.crypto import aead
from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.digest import item_digest
from labelvault.envelope.metadata import MAX_STREAM_BYTES, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import payload_context, sealed_head
from labelvault.errors import FormatError
from labelvault.wire.items import LEAF_BYTES, ItemHeader

_READ_BYTES: Final = 1024 * 1024


class ByteSource(Protocol):
    """Where content is read from: a file opened for reading in binary."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end only."""
        ...


class SealedStream:
    """One item version while it is sealed. Iterate once: it yields the payload in its 1 MiB leaves.

    Nothing of it may count until the iteration has ended: only then is the source known to be whole.

    Attributes:
        header: canonical header bytes.
        payload_bytes: size of the payload, known beforehand.
        dek: 32 bytes, to wrap; drawn for this stream, and sealing nothing else.
    """

    __slots__ = ("_content_bytes", "_digest", "_head", "_leaves", "_source", "dek", "header", "payload_bytes")

    def __init__(
        self, header: bytes, head: bytes, source: ByteSource, content_bytes: int, plaintext_bytes: int
    ) -> None:
        """Made by `seal_stream`."""
        self.header = header
        self.payload_bytes = aead.sealed_size(plaintext_bytes)
        self.dek = SecretBytes(random_bytes(aead.KEY_BYTES))
        self._head: bytes | None = head
        self._source = source
        self._content_bytes = content_bytes
        self._leaves: list[bytes] = []
        self._digest: bytes | None = None

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """32-byte leaf hashes of what was yielded so far."""
        return tuple(self._leaves)

    @property
    def digest(self) -> bytes:
        """32 bytes, as `SealedItem.digest`.

        Raises:
            FormatError: the stream was not iterated to its end.
        """
        if self._digest is None:
            raise FormatError("the item is not sealed to its end")
        return self._digest

    def __iter__(self) -> Iterator[bytes]:
        """Yield the payload's pieces: 1 MiB each, the last one shorter.

        Raises:
            FormatError: the source holds fewer or more bytes than it should; or this was iterated before, which would
                seal twice under one DEK [F10]. Whatever the source raises goes through.
        """
        head, self._head = self._head, None
        if head is None:
            raise FormatError("an item is sealed once")
        sealer = aead.PayloadSealer(self.dek, payload_context(self.header))
        ready = bytearray(sealer.update(head))
        left = self._content_bytes
        while left:
            ready += sealer.update(self._read(min(left, _READ_BYTES)))
            left -= min(left, _READ_BYTES)
            yield from self._whole_leaves(ready)
        # Looked for before the last piece is yielded, so that who stores pieces never has them all.
        if self._source.read(1):
            raise FormatError(f"the source holds more than its {self._content_bytes} bytes")
        for size in self._padding(len(head)):
            ready += sealer.update(bytes(size))
            yield from self._whole_leaves(ready)
        ready += sealer.finish()
        yield from self._whole_leaves(ready)
        if ready:
            yield self._leaf(bytes(ready))
        self._digest = item_digest(self.header, self.payload_bytes, self._leaves)

    def _padding(self, head_bytes: int) -> Iterator[int]:
        left = aead.opened_size(self.payload_bytes) - head_bytes - self._content_bytes
        while left:
            yield min(left, _READ_BYTES)
            left -= min(left, _READ_BYTES)

    def _read(self, size: int) -> bytes:
        """Read exactly so much. The frame holds content only while nothing in it can raise but the source."""
        found = self._source.read(size)
        if len(found) == size:
            return found
        parts = [found]
        while found and (missing := size - sum(map(len, parts))) > 0:
            parts.append(found := self._source.read(missing))
        whole = b"".join(parts)
        if len(whole) != size:
            del found, parts, whole
            raise FormatError(f"the source does not hold {self._content_bytes} bytes")
        return whole

    def _whole_leaves(self, ready: bytearray) -> Iterator[bytes]:
        while len(ready) >= LEAF_BYTES:
            piece = bytes(memoryview(ready)[:LEAF_BYTES])
            del ready[:LEAF_BYTES]
            yield self._leaf(piece)

    def _leaf(self, piece: bytes) -> bytes:
        self._leaves.append(leaf_hash(piece))
        return piece

    def __reduce__(self) -> NoReturn:
        raise TypeError("streams are not pickled or copied")


def seal_stream(
    header: ItemHeader, metadata: Metadata, source: ByteSource, size: int, *, floor_bytes: int
) -> SealedStream:
    """Seal one item version under a DEK of its own, piece by piece; at most a few MiB are held at a time.

    Args:
        header: where it belongs.
        metadata: `metadata.size` is set to `size`.
        source: gives the content.
        size: how many bytes it gives, exactly; up to 64 GiB.
        floor_bytes: the project's padding floor.

    Returns:
        The stream to iterate, with header, size of the payload, and DEK; after that, leaves and digest.

    Raises:
        FormatError: content or metadata over their bounds.
    """
    if not 0 <= size <= MAX_STREAM_BYTES:
        raise FormatError(f"{size} bytes; an item holds at most {MAX_STREAM_BYTES}")
    head = sealed_head(metadata, size)
    return SealedStream(header.encode(), head, source, size, padded_size(len(head) + size, floor_bytes))
