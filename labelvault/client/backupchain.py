"""A backup's parts where they lie, in files or at the vault, and the state that they give when put together.

In files the first part has the name that was given, the others that name with `.01`, `.02` and so on. At the vault they
are the versions of one item, whose ids follow from the client's id and the root key's: whoever has `root.keystore`
finds them, and to whoever has not they look like any item's.
"""

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from labelvault.client.backupfile import (
    MAX_INCREMENTS,
    BackupFront,
    BackupHeader,
    OpenedBackup,
    ReadAt,
    SealedBackup,
    check_root,
    read_front,
)
from labelvault.client.pagechanges import apply_changes
from labelvault.client.rerooting import KEK_FOLDER
from labelvault.crypto.hashing import tagged_hash, tagged_state
from labelvault.errors import BackupError, FormatError, NotFoundError, RelayError
from labelvault.keys.files import make_private_dir
from labelvault.keys.root import RootKey
from labelvault.keys.token import TOKEN_FILE
from labelvault.relay import Relay
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, LEAF_BYTES, ItemHeader

DATABASE: Final = "client.db"
CHANGES: Final = "client.db.changes"
IDENTITY: Final = "identity.key"
CONFIG: Final = "config.json"
MAX_VAULT_PARTS: Final = 2**20
_DATABASE_LABEL: Final = b"labelvault/v1/backup-database\0"
_PLACE_LABEL: Final = b"labelvault/v1/backup-place\0"
_KEK: Final = re.compile(rf"{KEK_FOLDER}/[0-9a-f]{{32}}\.[1-9][0-9]{{0,9}}\.kek")
_PART: Final = re.compile(r"(.+)\.([0-9]{2})")
_PIECE_BYTES: Final = 1024 * 1024
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a backup that is there to be read.

    Attributes:
        name: what people know it by.
        read: (offset, length) → exactly so many bytes of the sealed part.
        size: of it.
        client: whose it is; of a file, whose it says to be.
        front: what a file says in clear; None at the vault.
    """

    name: str
    read: ReadAt
    size: int
    client: bytes
    front: BackupFront | None

    def open(self, root: RootKey) -> OpenedBackup:
        """Open it.

        Raises:
            KeystoreForeignError: it was sealed under another root key.
            BackupError: it is truncated or altered.
        """
        if self.front is not None:
            check_root(self.front, root)
        opened = OpenedBackup(self.read, self.size, root, self.client)
        if self.front is not None and self.front != opened.header.front:
            raise BackupError("what stands in front of it is not what was sealed")
        return opened


# In files


def part_path(file: Path, number: int) -> Path:
    """Return the name of a part; the first one's is the backup's."""
    return file.with_name(f"{file.name}.{number:02d}") if number else file


def first_part(file: Path) -> tuple[Path, int]:
    """Return a backup's first file, and which of its parts a file is: 0 for the first, or where there is no other."""
    asked = _PART.fullmatch(file.name)
    if asked is not None and int(asked[2]) and (first := file.with_name(asked[1])).is_file():
        return first, int(asked[2])
    return file, 0


def _places(file: Path) -> tuple[Path, list[int]]:
    """Return a backup's first file, and the numbers that are there of those that follow, as far as `file` asks."""
    file, asked = first_part(file)
    most = asked or MAX_INCREMENTS
    follows = re.compile(re.escape(file.name) + r"\.([0-9]{2})")
    found = [int(each[1]) for path in file.parent.iterdir() if (each := follows.fullmatch(path.name))]
    return file, sorted(number for number in found if 0 < number <= most)


@contextmanager
def parts_in_files(file: Path) -> Iterator[list[Part]]:
    """Lend a backup's parts, oldest first.

    Args:
        file: the first part, for all that are there; a later one, for as far as that.

    Raises:
        BackupError: one of them is missing, is none, or can't be read.
    """
    with ExitStack() as lent:
        try:
            first, numbers = _places(file)
            for place, number in enumerate(numbers, 1):
                if place != number:
                    missing = part_path(first, place).name
                    less = f"restore as far as {part_path(first, place - 1).name}"
                    if place == 1:
                        less = f"move what follows it elsewhere and restore {first.name} alone"
                    raise BackupError(
                        f"{missing} is missing, and {part_path(first, number).name} needs it",
                        next_step=f"Put {missing} back, or {less}.",
                    )
            parts = [_in_file(part_path(first, number), lent) for number in (0, *numbers)]
        except OSError as error:
            raise BackupError(f"{file} can't be read: {error.strerror}") from error
        yield parts


def _in_file(path: Path, lent: ExitStack) -> Part:
    stream = lent.enter_context(path.open("rb", buffering=0))
    descriptor, size = stream.fileno(), os.fstat(stream.fileno()).st_size

    def read(offset: int, length: int) -> bytes:
        return _whole(os.pread(descriptor, length, offset), length)

    with _naming(path.name):
        front, start = read_front(read, size)
    return Part(path.name, lambda offset, length: read(start + offset, length), size - start, front.client, front)


def _whole(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise BackupError("it is truncated", next_step="Take another copy of it.")
    return data


# At the vault


class VaultShelf:
    """Where a vault keeps a client's backups: versions of one item, counted from 1, that no queue names."""

    def __init__(self, relay: Relay, client: bytes, root: RootKey) -> None:
        """Find the place.

        Args:
            relay: the way to the vault.
            client: the client's id, 32 bytes.
            root: the client's root key; after another one took its place, backups lie elsewhere.
        """
        place = tagged_hash(_PLACE_LABEL, client, root.key_id)
        self._relay = relay
        self._client = client
        self._root = root
        self._project, self._item = place[:ID_BYTES], place[ID_BYTES:]

    def newest(self) -> int:
        """Return the newest version that the vault shows; 0 if it shows none. Newer ones it may hide.

        Raises:
            RelayError: it can't be reached, or shows more than can be.
        """
        most = 1
        while self._size(most):
            most *= 2
            if most > MAX_VAULT_PARTS:
                raise RelayError("the vault shows more backups than there can be")
        least = most // 2
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if self._size(middle) else (least, middle)
        return least

    def _size(self, version: int) -> int:
        """Return a version's size, 0 if it is not there."""
        try:
            return self._relay.read_item(self._client, self._item, version, 0, 1).size
        except NotFoundError:
            return 0

    def part(self, version: int) -> Part:
        """Return one part.

        Raises:
            BackupError: the vault does not show it.
        """
        size = self._size(version)
        if not size:
            raise BackupError(f"the vault shows no backup {version}")

        def read(offset: int, length: int) -> bytes:
            return _whole(self._relay.read_item(self._client, self._item, version, offset, length).data, length)

        return Part(f"backup {version} at the vault", read, size, self._client, None)

    def parts(self, version: int) -> list[Part]:
        """Return the parts that a version stands on, oldest first, and it.

        Raises:
            BackupError: it does not open, or one is missing.
        """
        newest = self.part(version)
        number = self.header(newest).number
        if number >= version:
            raise BackupError(f"{newest.name} follows more parts than the vault has")
        return [*(self.part(version - back) for back in range(number, 0, -1)), newest]

    def header(self, part: Part) -> BackupHeader:
        """Return what a part says of itself, authenticated; the rest of it is not read."""
        with _naming(part.name):
            return part.open(self._root).header

    def store(self, version: int, backup: SealedBackup) -> None:
        """Store a part.

        Raises:
            ConflictError: the vault has another one of this version.
            StoreError, RelayError: it refused, or can't be reached.
        """
        header = ItemHeader(ITEM_FORMAT, self._client, self._project, self._item, version)
        self._relay.put_stream(header.encode(), backup.size, _leaves(backup), None)


def _leaves(pieces: SealedBackup) -> Iterator[bytes]:
    ready = bytearray()
    for piece in pieces:
        ready += piece
        while len(ready) >= LEAF_BYTES:
            yield bytes(ready[:LEAF_BYTES])
            del ready[:LEAF_BYTES]
    if ready:
        yield bytes(ready)


# Put together


def assemble(parts: Sequence[Part], root: RootKey, target: Path, *, with_files: bool) -> BackupHeader:
    """Write the state that a backup's parts give into a directory, and return what the newest part says of it.

    Args:
        parts: oldest first.
        root: the client's root key.
        target: a private directory that has none of these files yet.
        with_files: the newest part's other files too, not `client.db` alone.

    Raises:
        BackupError: a part does not open, or does not follow the one before it; it is named.
        KeystoreForeignError: one was sealed under another root key.
    """
    if with_files:
        make_private_dir(target / KEK_FOLDER)
    before: BackupHeader | None = None
    with os.fdopen(os.open(target / DATABASE, _CREATE, 0o600), "w+b") as database:
        for place, part in enumerate(parts):
            with _naming(part.name):
                opened = part.open(root)
                _check_follows(opened.header, before, place)
                _unpack(opened, database, target if with_files and place == len(parts) - 1 else None)
            before = opened.header
        if before is None:
            raise BackupError("a backup without parts")
        database.flush()
        os.fsync(database.fileno())
    if hash_database(target / DATABASE) != before.database:
        raise BackupError("the parts do not give the state that they say", next_step="Take another copy of them.")
    return before


def hash_database(path: Path) -> bytes:
    """Return the hash by which parts name states of `client.db`, 32 bytes."""
    state = tagged_state(_DATABASE_LABEL)
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            state.update(piece)
    return state.digest()


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say which part an error is about."""
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{name}: {error}", next_step=error.next_step) from error


def _check_follows(header: BackupHeader, before: BackupHeader | None, place: int) -> None:
    if before is not None and (header.chain, header.client) != (before.chain, before.client):
        raise BackupError("it belongs to another backup")
    if header.number != place:
        raise BackupError(f"it is number {header.number} of its backup, and stands where number {place} belongs")
    if before is not None and header.before != before.database:
        raise BackupError("it does not follow the part before it")


def _unpack(opened: OpenedBackup, database: BinaryIO, folder: Path | None) -> None:
    """Take a part's members to their very end: bring `client.db` up to date, write the others if they are wanted."""
    content = CHANGES if opened.header.number else DATABASE
    names: set[str] = set()
    for member, pieces in opened.members():
        if member.name in names or not _is_known(member.name, content):
            raise BackupError("it holds a file that no home of this version has")
        names.add(member.name)
        if member.name == DATABASE:
            database.writelines(pieces)
        elif member.name == CHANGES:
            try:
                apply_changes(pieces, database)
            except FormatError as error:
                raise BackupError(f"its changes can't be: {error}") from error
        elif folder is None:
            deque(pieces, maxlen=0)
        else:
            with os.fdopen(os.open(folder / member.name, _CREATE, 0o600), "wb") as stream:
                stream.writelines(pieces)
                stream.flush()
                os.fsync(stream.fileno())
    if not {content, CONFIG} <= names:
        raise BackupError("it lacks a file that every home has")


def _is_known(name: str, content: str) -> bool:
    return name in (content, CONFIG, IDENTITY, TOKEN_FILE) or _KEK.fullmatch(name) is not None
