"""Opening parts of an item: only the leaves and chunks that a range touches are fetched, checked and opened.

The digest of the lease covers size and leaf hashes, so these are checked once; then each 1 MiB leaf is checked by its
hash and each 16 KiB chunk by its tag, before any byte of it is handed out (docs/spec.md, section 5.6).
"""

import hmac
import io
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NoReturn, TypeAlias

from labelvault.crypto.aead import CHUNK_BYTES, PAYLOAD_PREFIX_BYTES
from labelvault.crypto.chunks import ChunkOpener
from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.metadata import MAX_METADATA_BYTES, Metadata
from labelvault.envelope.seal import PREFIX_BYTES, check_leaves, payload_context, read_head
from labelvault.errors import DecryptionError, FormatError, LabelVaultError, LeaseClosedError, LeaseError, TamperedError
from labelvault.wire.items import LEAF_BYTES, ItemHeader

_HELD_LEAVES: Final = 2
_BUFFER_BYTES: Final = 256 * 1024
_ZEROS: Final = bytes(CHUNK_BYTES)

Read = Callable[[int, int], bytes]
"""Fetches payload bytes: offset and length, both in bytes. Nothing that it returns is trusted."""
Ahead: TypeAlias = Callable[[Iterator[bytes]], AbstractContextManager[Iterator[bytes]]]
"""Lends an iterator over what another one gives, made in a thread perhaps: `labelvault.pipeline.ahead`."""


class SealedReader:
    """Opens ranges of one item version; not for several threads at once.

    Guarantees that every byte that it returns is one that the client sealed, at that place. Says nothing of bytes that
    were not read, except that the end is read only if the padding holds nothing.

    Attributes:
        header: of the item version.
        metadata: the item's.
    """

    __slots__ = (
        "__weakref__",
        "_files",
        "_guard",
        "_held",
        "_leaves",
        "_opener",
        "_padding_checked",
        "_read",
        "_size",
        "_start",
        "header",
        "metadata",
    )

    def __init__(
        self,
        header: bytes,
        expected: ItemHeader,
        digest: bytes,
        dek: SecretBytes,
        size: int,
        leaves: Sequence[bytes],
        read: Read,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Check header, size and leaf hashes, and open the metadata.

        Args:
            header: as the vault served it.
            expected: the item version that was leased.
            digest: its 32-byte digest, from the same lease.
            dek: 32 bytes, likewise; its use ends with `close`.
            size: of the payload, as the vault says.
            leaves: the payload's leaf hashes, as the vault says.
            read: fetches payload bytes.
            guard: called before any content is handed out; raises if that is over.

        Raises:
            TamperedError: header, size, leaf hashes or payload bytes are not those that the digest names.
            DecryptionError: the DEK does not open them, or what it opens is malformed.
        """
        if len(leaves) != -(-size // LEAF_BYTES) or any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise TamperedError("the vault served leaf hashes of another size")
        check_leaves(header, size, leaves, expected=expected, digest=digest)
        self.header = expected
        self._size, self._leaves, self._read, self._guard = size, tuple(leaves), read, guard
        self._held: dict[int, bytes] = {}
        self._files: weakref.WeakSet[io.BufferedReader] = weakref.WeakSet()
        prefix = bytes(_payload(0, min(PAYLOAD_PREFIX_BYTES, size), self._leaf))
        self._opener: ChunkOpener | None = ChunkOpener(dek, prefix, payload_context(header), size)
        self._padding_checked = False
        head = self._head(self._opener)
        # Raised here and not below, where frames hold the plaintext that a traceback with locals would show.
        if head is None:
            raise DecryptionError("decryption failed")
        self.metadata: Metadata = head[0]
        self._start = head[1]

    @property
    def size(self) -> int:
        """The content's size, in bytes."""
        return self.metadata.size

    def read_range(self, offset: int, length: int) -> bytes:
        """Return content from `offset` on, at most `length` bytes; fewer at the end, none beyond it.

        Args:
            offset: in bytes, 0 or more.
            length: in bytes, 0 or more; so much memory is taken.

        Raises:
            TamperedError: the vault served other bytes than the client sealed, or none.
            DecryptionError: a chunk does not open; or the end was asked for, and the padding behind it is not zeros.
            LeaseClosedError: the reader was closed.
            FormatError: a negative offset or length. What fetching raises goes through.
        """
        if offset < 0 or length < 0:
            raise FormatError("a range has neither a negative offset nor a negative length")
        return b"".join(self._range(offset, length, self._leaf))

    def read_into(self, offset: int, target: memoryview) -> int:
        """As `read_range`, but write to the beginning of `target`; return how many bytes.

        What an error leaves in it is content from `offset` on, or what was there before.
        """
        at = 0
        for piece in self._range(offset, len(target), self._leaf):
            target[at : at + len(piece)] = piece
            at += len(piece)
            # No name for it when the next one fails: a traceback may be logged with its locals.
            del piece
        return at

    def pieces(self, ahead: Ahead = nullcontext) -> Iterator[bytes]:
        """Yield the whole content, 1 MiB at a time, in order; each leaf is fetched once.

        Args:
            ahead: lends the leaves, fetched and checked, so that another thread may do that.

        Raises:
            As `read_range`: the last piece comes only after all before it, and with the padding checked.
        """
        self._live()
        with ahead(map(self._checked_leaf, range(len(self._leaves)))) as coming:
            leaf = _InOrder(coming, self._checked_leaf).leaf
            for offset in range(0, max(self.size, 1), LEAF_BYTES):
                yield b"".join(self._range(offset, LEAF_BYTES, leaf))

    def file(self) -> io.BufferedReader:
        """Return the content as a seekable binary file; any number of them, each with a position of its own.

        After an error it goes on failing until it is sought anew, so that nothing reads on past a gap. `close` of the
        reader closes it: then it raises ValueError, as any closed file does.
        """
        self._live()
        opened: io.BufferedReader = io.BufferedReader(_ContentFile(self), _BUFFER_BYTES)
        self._files.add(opened)
        return opened

    def close(self) -> None:
        """Let go of the key, of what is held, and of all files. Closing again does nothing."""
        self._opener = None
        self._held.clear()
        for each in list(self._files):
            each.close()

    def _live(self) -> ChunkOpener:
        if self._opener is None:
            raise LeaseClosedError("the item was closed; its key is gone")
        if self._guard is not None:
            self._guard()
        return self._opener

    def _range(self, offset: int, length: int, leaf: "_Leaf") -> Iterator[bytes]:
        opener = self._live()
        end = min(offset + length, self.size)
        if end == self.size and not self._padding_checked:
            if not all(_is_zeros(piece) for piece in self._padding(opener, leaf)):
                raise DecryptionError("decryption failed")
            self._padding_checked = True
        if offset >= end:
            return iter(())
        return self._plaintext(opener, self._start + offset, self._start + end, leaf)

    def _head(self, opener: ChunkOpener) -> tuple[Metadata, int] | None:
        whole = opener.plaintext_bytes
        longest = min(whole, PREFIX_BYTES + MAX_METADATA_BYTES)
        prefix = b"".join(self._plaintext(opener, 0, min(whole, PREFIX_BYTES), self._leaf))
        needed = min(longest, PREFIX_BYTES + int.from_bytes(prefix, "big"))
        return read_head(b"".join(self._plaintext(opener, 0, needed, self._leaf)), whole)

    def _padding(self, opener: ChunkOpener, leaf: "_Leaf") -> Iterator[bytes]:
        return self._plaintext(opener, self._start + self.size, opener.plaintext_bytes, leaf)

    def _plaintext(self, opener: ChunkOpener, start: int, end: int, leaf: "_Leaf") -> Iterator[bytes]:
        """Yield plaintext from `start` to before `end`, a chunk's share at a time."""
        for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            first = number * CHUNK_BYTES
            # No name for what was opened: when a later chunk fails, a traceback with locals would show it.
            yield opener.open(number, _payload(*opener.place(number), leaf))[max(start - first, 0) : end - first]

    def _leaf(self, number: int) -> bytes:
        held = self._held.get(number)
        if held is None:
            held = self._checked_leaf(number)
            _hold(self._held, number, held)
        return held

    def _checked_leaf(self, number: int) -> bytes:
        """Fetch a leaf; it gives its hash, or is refused."""
        offset = number * LEAF_BYTES
        length = min(LEAF_BYTES, self._size - offset)
        data = self._read(offset, length)
        if len(data) != length or not hmac.compare_digest(leaf_hash(data), self._leaves[number]):
            raise TamperedError("the vault served other bytes than the client sealed")
        return data

    def __reduce__(self) -> NoReturn:
        raise TypeError("open items are not pickled or copied")


_Leaf: TypeAlias = Callable[[int], bytes]
"""Gives a leaf that was checked, by its number."""


class _InOrder:
    """Leaves that come one after the other, the newest of them held; one from before these is fetched anew."""

    def __init__(self, coming: Iterator[bytes], fetch: _Leaf) -> None:
        self._coming, self._fetch = coming, fetch
        self._held: dict[int, bytes] = {}
        self._next = 0

    def leaf(self, number: int) -> bytes:
        while self._next <= number:
            _hold(self._held, self._next, next(self._coming))
            self._next += 1
        held = self._held.get(number)
        if held is None:
            held = self._fetch(number)
            _hold(self._held, number, held)
        return held


def _hold(held: dict[int, bytes], number: int, leaf: bytes) -> None:
    while len(held) >= _HELD_LEAVES:
        del held[next(iter(held))]
    held[number] = leaf


def _payload(offset: int, length: int, leaf: _Leaf) -> bytes | memoryview:
    """Return payload bytes out of leaves."""
    first, last = offset // LEAF_BYTES, (offset + length - 1) // LEAF_BYTES
    if first == last:
        return memoryview(leaf(first))[offset - first * LEAF_BYTES :][:length]
    # Views, because a chunk is a small part of its leaf.
    leaves = (memoryview(leaf(number)) for number in range(first, last + 1))
    at = offset - first * LEAF_BYTES
    return b"".join(
        each[max(0, at - k * LEAF_BYTES) : max(0, at + length - k * LEAF_BYTES)] for k, each in enumerate(leaves)
    )


def _is_zeros(piece: bytes) -> bool:
    # As one comparison: counting takes a step a byte, which tells where there is much padding.
    return piece == _ZEROS[: len(piece)]


class _ContentFile(io.RawIOBase):
    """The raw file under `SealedReader.file`."""

    def __init__(self, reader: SealedReader) -> None:
        self._reader = reader
        self._position = 0
        self._error: LabelVaultError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._reader.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("no such place in the file")
        self._position, self._error = base + offset, None
        return self._position

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        self._check_open()
        if self._error is not None:
            raise self._error
        # Whatever was buffered above is lost with an error, so reading on would skip it unnoticed.
        self._error = LeaseError("an earlier read of this file was cut short; seek to go on")
        try:
            size = self._reader.read_into(self._position, memoryview(buffer))
        except BaseException as error:
            # The buffer may hold what was read before, and a traceback may be logged with its locals.
            del buffer
            if isinstance(error, LabelVaultError):
                self._error = error
            raise
        self._error = None
        self._position += size
        return size

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
