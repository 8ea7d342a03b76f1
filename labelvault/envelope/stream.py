"""Sealing content of any size in constant memory (docs/spec.md, section 5); the bytes are as `seal_item` makes them.

AES-256-GCM takes about a quarter of the time of SHA-256: hashing has a thread of its own if whoever seals gives it one
(`labelvault.pipeline`).
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Final, NoReturn, Protocol

from labelvault.crypto import aead
from labelvault.crypto.merkle import Leaf, leaf_hash
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.digest import item_digest
from labelvault.envelope.metadata import MAX_STREAM_BYTES, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.envelope.ranges import Ahead
from labelvault.envelope.seal import payload_context, sealed_head
from labelvault.errors import FormatError
from labelvault.wire.items import LEAF_BYTES, ItemHeader

_READ_BYTES: Final = 1024 * 1024
_READY_BYTES: Final = LEAF_BYTES + _READ_BYTES + 64 * 1024
"""Less than a leaf, and what becomes of one reading: 16 bytes more a chunk, and a chunk that waited."""
_ZEROS: Final = bytes(_READ_BYTES)


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
        """Yield the payload's pieces: 1 MiB each, the last one shorter; see `pieces`."""
        return self.pieces()

    def pieces(self, ahead: Ahead = nullcontext) -> Iterator[bytes]:
        """Yield the payload's pieces: 1 MiB each, the last one shorter.

        Args:
            ahead: lends the pieces before they are hashed, so that another thread may seal them.

        Raises:
            FormatError: the source holds fewer or more bytes than it should; or this was iterated before, which would
                seal twice under one DEK [F10]. Whatever the source raises goes through.
        """
        with ahead(self._sealed()) as coming:
            for leaf in coming:
                self._leaves.append(leaf_hash(leaf))
                yield leaf
        self._digest = item_digest(self.header, self.payload_bytes, self._leaves)

    def _sealed(self) -> Iterator[bytes]:
        head, self._head = self._head, None
        if head is None:
            raise FormatError("an item is sealed once")
        sealer = aead.PayloadSealer(self.dek, payload_context(self.header))
        # What is sealed gathers here until it is a leaf, which is copied out: less than one is there when more comes.
        ready = _Ready()
        ready.take(sealer, head)
        left = self._content_bytes
        while left:
            ready.take(sealer, self._read(min(left, _READ_BYTES)))
            left -= min(left, _READ_BYTES)
            yield from ready.leaves()
        # Looked for before the last piece is yielded, so that who stores pieces never has them all.
        if self._source.read(1):
            raise FormatError(f"the source holds more than its {self._content_bytes} bytes")
        for size in self._padding(len(head)):
            ready.take(sealer, _ZEROS[:size])
            yield from ready.leaves()
        ready.end(sealer)
        yield from ready.leaves()
        if ready.filled:
            yield ready.cut()

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

    def __reduce__(self) -> NoReturn:
        raise TypeError("streams are not pickled or copied")


class _Ready:
    """Payload bytes that are sealed and wait to be a leaf, in one buffer that is used again and again."""

    __slots__ = ("_bytes", "filled")

    def __init__(self) -> None:
        self._bytes = memoryview(bytearray(_READY_BYTES))
        self.filled = 0

    def take(self, sealer: aead.PayloadSealer, plaintext: bytes) -> None:
        self.filled += sealer.update_into(plaintext, self._bytes[self.filled :])

    def end(self, sealer: aead.PayloadSealer) -> None:
        last = sealer.finish()
        self._bytes[self.filled : self.filled + len(last)] = last
        self.filled += len(last)

    def leaves(self) -> Iterator[Leaf]:
        """Take all whole leaves off the front."""
        while self.filled >= LEAF_BYTES:
            yield self.cut()

    def cut(self) -> Leaf:
        """Take a leaf off the front, or what is there if it is less."""
        size = min(self.filled, LEAF_BYTES)
        # Whoever stores it in this process needs its hash, too.
        leaf = Leaf(self._bytes[:size])
        self.filled -= size
        self._bytes[: self.filled] = self._bytes[size : size + self.filled]
        return leaf


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
