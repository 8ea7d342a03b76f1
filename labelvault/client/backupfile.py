r"""The backup's format: a home without root key and issuer key, sealed under that root key (docs/spec.md, 8.7).

    file   = "labelvault backup\n" ‖ u16 ‖ BackupFront ‖ sealed
    sealed = u16 ‖ wrapped key ‖ Cobblestone-256 of what is below
    inside = u16 ‖ BackupHeader ‖ (u16 ‖ BackupMember ‖ its bytes)… ‖ u16 0 ‖ zeros to a Padmé size

A backup is a chain of such parts: the first one whole, each other one with what changed in `client.db` since the part
before it. At the vault only the `sealed` part is kept. Each part has a key of its own, wrapped by the root key, which
is random and may be in a device: guessing passphrases helps nobody who has a backup and no keystore.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, BinaryIO, Final, NoReturn

from labelvault.crypto import aead
from labelvault.crypto.aead import PAYLOAD_PREFIX_BYTES, PayloadSealer
from labelvault.crypto.chunks import SEALED_CHUNK_BYTES, ChunkOpener
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.padding import padded_size
from labelvault.errors import BackupError, DecryptionError, FormatError, KeystoreForeignError
from labelvault.keys.root import RootKey
from labelvault.wire.messages import Hash32, Id16
from labelvault.wire.schema import Text, UInt, decode_record, encode_record

MAGIC: Final = b"labelvault backup\n"
VERSION: Final = 1
FLOOR_BYTES: Final = 4096
MAX_MEMBER_BYTES: Final = 2**40
MAX_NAME_BYTES: Final = 100
MAX_INCREMENTS: Final = 99
_WRAP_LABEL: Final = b"labelvault/v1/backup-key\0"
_CONTEXT_LABEL: Final = b"labelvault/v1/backup\0"
_MAX_RECORD_BYTES: Final = 4096
_PREFIX_BYTES: Final = 2
_PIECE_BYTES: Final = 1024 * 1024
_READ_CHUNKS: Final = 256
_OTHER_COPY: Final = "Take another copy of this backup, or an older one; nothing was written."


@dataclass(frozen=True, slots=True)
class BackupFront:
    """What a file says in clear, so that a wrong root key is told from a damaged file.

    Attributes:
        client: whose it is, its id.
        root: id of the root key that opens it.
    """

    version: Annotated[int, UInt(VERSION, VERSION)]
    client: Hash32
    root: Id16


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """Which state of which client a part holds, and which part it follows.

    Attributes:
        client: its id.
        root: id of the root key that opens it.
        chain: drawn for the first part; the others have it too.
        number: 0 for the first part, which stands by itself.
        before: hash of `client.db` as the part before this one left it; None for the first.
        database: hash of `client.db` after this part.
        epoch: of the ledger that was written then.
        size: how many entries that ledger had.
        at: the issuer's time.
    """

    version: Annotated[int, UInt(VERSION, VERSION)]
    client: Hash32
    root: Id16
    chain: Id16
    number: Annotated[int, UInt(0, MAX_INCREMENTS)]
    before: Hash32 | None
    database: Hash32
    epoch: Id16
    size: Annotated[int, UInt(0, 2**48)]
    at: datetime

    def __post_init__(self) -> None:
        if (self.number == 0) != (self.before is None):
            raise FormatError("only the first part of a backup follows no other one")

    @property
    def front(self) -> BackupFront:
        """What stands in front of it in a file."""
        return BackupFront(VERSION, self.client, self.root)


@dataclass(frozen=True, slots=True)
class BackupMember:
    """One file of the home; its bytes follow."""

    name: Annotated[str, Text(MAX_NAME_BYTES, 1)]
    size: Annotated[int, UInt(0, MAX_MEMBER_BYTES)]


@dataclass(frozen=True, slots=True)
class Member:
    """A file to back up: its name, how many bytes it has, and where they are read from its beginning."""

    name: str
    size: int
    source: BinaryIO


class SealedBackup:
    """A backup while it is sealed. Iterate once: it yields the sealed part, in pieces of any size.

    Attributes:
        header: what it holds.
        front: what a file has before the sealed part.
        size: of the sealed part, in bytes, known beforehand.
    """

    __slots__ = ("_inside", "_key", "_members", "_wrapped", "front", "header", "size")

    def __init__(self, header: BackupHeader, members: Sequence[Member], root: RootKey) -> None:
        """Draw the backup's key, and wrap it.

        Args:
            header: what it holds.
            members: in the order in which they are written.
            root: the client's.
        """
        self.header = header
        self.front = MAGIC + _prefixed(encode_record(header.front))
        self._members = [
            (_prefixed(encode_record(header)), None),
            *((_head(member), member) for member in members),
            (bytes(_PREFIX_BYTES), None),
        ]
        plain = sum(len(head) + (0 if member is None else member.size) for head, member in self._members)
        self._inside = padded_size(plain, FLOOR_BYTES) - plain
        self._key = SecretBytes(random_bytes(aead.KEY_BYTES))
        self._wrapped = _prefixed(root.wrap(self._key, _WRAP_LABEL + header.client))
        self.size = len(self._wrapped) + aead.sealed_size(plain + self._inside)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the sealed part. Whatever a source raises goes through.

        Raises:
            BackupError: a source gives fewer bytes than it should.
        """
        sealer = PayloadSealer(self._key, _CONTEXT_LABEL + self.header.client)
        yield self._wrapped
        for head, member in self._members:
            yield sealer.update(head)
            for data in () if member is None else _read_whole(member):
                yield sealer.update(data)
        while self._inside:
            size = min(self._inside, _PIECE_BYTES)
            self._inside -= size
            yield sealer.update(bytes(size))
        yield sealer.finish()

    def __reduce__(self) -> NoReturn:
        raise TypeError("backups are not pickled or copied")


def _read_whole(member: Member) -> Iterator[bytes]:
    member.source.seek(0)
    left = member.size
    while left:
        data = member.source.read(min(left, _PIECE_BYTES))
        if not data:
            raise BackupError(f"{member.name} became shorter while it was read")
        left -= len(data)
        yield data


ReadAt = Callable[[int, int], bytes]
"""(offset, length) → exactly so many bytes of a backup; raises its own kind of error where they can't be had."""


def read_front(read: ReadAt, size: int) -> tuple[BackupFront, int]:
    """Return what stands in front of a backup's file, and where its sealed part begins.

    It is believed only once the sealed part says the same.

    Raises:
        BackupError: no backup of this version.
    """
    try:
        if size < len(MAGIC) + _PREFIX_BYTES or read(0, len(MAGIC)) != MAGIC:
            raise BackupError("this file is no backup of a client", next_step="Give the file that client backup wrote.")
        length = int.from_bytes(read(len(MAGIC), _PREFIX_BYTES), "big")
        start = len(MAGIC) + _PREFIX_BYTES
        if length > _MAX_RECORD_BYTES or start + length > size:
            raise BackupError("the backup is truncated or altered", next_step=_OTHER_COPY)
        return decode_record(BackupFront, read(start, length)), start + length
    except FormatError as error:
        raise BackupError("the backup is truncated or altered, or of another version", next_step=_OTHER_COPY) from error


class OpenedBackup:
    """A backup that opens: its header, and its members one by one. Every byte is authenticated before it is given.

    Attributes:
        header: as it was sealed.
    """

    def __init__(self, read: ReadAt, size: int, root: RootKey, client: bytes) -> None:
        """Open a sealed part.

        Args:
            read: reads it.
            size: of it, in bytes.
            root: the client's root key.
            client: the client's id, 32 bytes.

        Raises:
            BackupError: truncated, altered, another client's, or sealed under another root key.
        """
        self._read = read
        self._ready = b""
        self._number = 0
        if size < _PREFIX_BYTES:
            raise _damaged()
        length = int.from_bytes(read(0, _PREFIX_BYTES), "big")
        start = _PREFIX_BYTES + length
        if length > _MAX_RECORD_BYTES or size < start + PAYLOAD_PREFIX_BYTES:
            raise _damaged()
        try:
            key = root.unwrap(read(_PREFIX_BYTES, length), _WRAP_LABEL + client)
            prefix = read(start, PAYLOAD_PREFIX_BYTES)
            self._opener = ChunkOpener(key, prefix, _CONTEXT_LABEL + client, size - start)
        except DecryptionError as error:
            raise _damaged() from error
        self._start = start
        self.header = self._record(BackupHeader)
        if self.header.client != client:
            raise _damaged()

    def members(self) -> Iterator[tuple[BackupMember, Iterator[bytes]]]:
        """Yield each member, and its bytes in pieces, which have to be taken before the next member; to the very end.

        Raises:
            BackupError: truncated or altered; nothing of what was given before may count.
        """
        while head := self._prefixed():
            try:
                member = decode_record(BackupMember, head)
            except FormatError as error:
                raise _damaged() from error
            yield member, self._content(member.size)
        while rest := self._take(_PIECE_BYTES):
            if rest.count(0) != len(rest):
                raise _damaged()

    def _content(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._take(min(size, _PIECE_BYTES))
            if not data:
                raise _damaged()
            size -= len(data)
            yield data

    def _record(self, kind: type[BackupHeader]) -> BackupHeader:
        try:
            return decode_record(kind, self._prefixed())
        except FormatError as error:
            raise _damaged() from error

    def _prefixed(self) -> bytes:
        length = int.from_bytes(self._exactly(_PREFIX_BYTES), "big")
        if length > _MAX_RECORD_BYTES:
            raise _damaged()
        return self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        return b"".join(self._content(size))

    def _take(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        if not self._ready and self._number < self._opener.chunks:
            offset, _ = self._opener.place(self._number)
            count = min(_READ_CHUNKS, self._opener.chunks - self._number)
            last, length = self._opener.place(self._number + count - 1)
            sealed = self._read(self._start + offset, last + length - offset)
            try:
                self._ready = b"".join(
                    self._opener.open(self._number + n, sealed[n * SEALED_CHUNK_BYTES : (n + 1) * SEALED_CHUNK_BYTES])
                    for n in range(count)
                )
            except DecryptionError as error:
                raise _damaged() from error
            self._number += count
        given, self._ready = self._ready[:size], self._ready[size:]
        return given


def check_root(front: BackupFront, root: RootKey) -> None:
    """Refuse a root key that is not the one that a backup names.

    Raises:
        KeystoreForeignError: it is another.
    """
    if front.root != root.key_id:
        raise KeystoreForeignError(
            f"the backup was sealed under root key {front.root.hex()}; this keystore holds {root.key_id.hex()}",
            next_step="Give the root.keystore of its time; after rotate root, begin a new backup under another name.",
        )


def _head(member: Member) -> bytes:
    return _prefixed(encode_record(BackupMember(member.name, member.size)))


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(_PREFIX_BYTES, "big") + data


def _damaged() -> BackupError:
    return BackupError(
        "the backup does not open: truncated, altered, or sealed under another root key", next_step=_OTHER_COPY
    )
