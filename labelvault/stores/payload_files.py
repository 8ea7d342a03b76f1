"""Large payloads as files beside the SQLite file, which is slow for them and ends at about 1 GB a value.

A payload is written under a temporary name, flushed, and gets its own name within the transaction that adds its row:
so a row never stands without its file, and a crash leaves at most files without a row, which a purge collects.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.random import random_bytes
from labelvault.errors import StoreError
from labelvault.pipeline import Writer
from labelvault.stores.checks import HOUR_S, in_leaves

FILE_ABOVE_BYTES: Final = 2 * 1024 * 1024
"""Payloads that come as a stream rest in a file from this size on: measured, SQLite takes twice as long at 4 MiB."""
ORPHAN_AGE_S: Final = 24 * 3600
"""A file without a row is collected once nobody has touched it for so long: until then it may be on its way."""
_FOLDER_SUFFIX: Final = ".payloads"
_PART_SUFFIX: Final = ".part"
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

Key: TypeAlias = tuple[bytes, bytes, int]
"""Client, item, version."""


@dataclass(frozen=True, slots=True)
class Received:
    """A payload that is durable under its temporary name.

    Attributes:
        leaves: 32-byte leaf hashes of what was written.
    """

    path: Path = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)


class PayloadFiles:
    """The folder of one database's large payloads: `<database>.payloads`, mode 0700, made when it is needed."""

    def __init__(self, database: Path) -> None:
        """Name the folder; nothing is touched."""
        self.folder = database.with_name(database.name + _FOLDER_SUFFIX)

    @contextmanager
    def receive(self, pieces: Iterable[bytes], size: int, hour: int) -> Iterator[Received]:
        """Write a payload to a temporary file for the time of the block; `place` gives it its name within.

        Args:
            pieces: the payload in 1 MiB leaves, the last one shorter.
            size: of the payload, in bytes.
            hour: hours since 1970, the only time that the file shows.

        Raises:
            FormatError: the pieces are of other sizes. What `pieces` raises goes through.
            StoreError: the file system refused. In all cases nothing is left.
        """
        with _errors():
            self._make_folder()
            path = self.folder / f"{random_bytes(16).hex()}{_PART_SUFFIX}"
            descriptor = os.open(path, _CREATE, 0o600)
        try:
            try:
                leaves = tuple(self._leaves(descriptor, pieces, size))
                with _errors():
                    # What the file says of its time is what the row says. Its inode's own times can't be set.
                    os.utime(path, (hour * HOUR_S, hour * HOUR_S))
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            yield Received(path, leaves)
        finally:
            # Gone already if it was placed.
            with suppress(OSError):
                os.unlink(path)

    def _leaves(self, descriptor: int, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
        writer = Writer(descriptor)
        for piece in in_leaves(pieces, size):
            with _errors():
                writer.write(piece)
            yield leaf_hash(piece)

    def place(self, received: Received, key: Key) -> None:
        """Give a received payload its name, durably. Within a write transaction that found no row for it.

        Raises:
            StoreError: the file system refused.
        """
        with _errors():
            # What stands under the name is left of a put that never got its row.
            os.replace(received.path, self._path(key))
            _sync(self.folder)

    def drop(self, key: Key) -> None:
        """Remove a payload. Within a write transaction that found no row for it."""
        with suppress(OSError):
            os.unlink(self._path(key))

    def read(self, key: Key, offset: int, length: int) -> bytes:
        """Return a range; fewer bytes if the file is shorter.

        Raises:
            StoreError: it is not there, or the file system refused.
        """
        with _errors():
            descriptor = os.open(self._path(key), _READ)
            try:
                found = b""
                while len(found) < length:
                    more = os.pread(descriptor, length - len(found), offset + len(found))
                    if not more:
                        break
                    found = found + more if found else more
                return found
            finally:
                os.close(descriptor)

    def collect(self, is_stored: Callable[[Key], bool]) -> int:
        """Remove files that belong to no row and rest since a day; return how many. Within a write transaction.

        Args:
            is_stored: whether there is a row.

        Raises:
            StoreError: the file system refused.
        """
        removed = 0
        for entry in self._entries():
            key = _key(entry.name)
            if key is None and not entry.name.endswith(_PART_SUFFIX):
                continue  # not ours
            # By its inode's time, which every write and rename sets: whoever still writes here has set it just now.
            with _errors():
                if time.time() - entry.stat(follow_symlinks=False).st_ctime < ORPHAN_AGE_S:
                    continue
                if key is None or not is_stored(key):
                    os.unlink(entry.path)
                    removed += 1
        return removed

    def stored_bytes(self) -> int:
        """Return what all files take up, those without a row included."""
        with _errors():
            found = [entry.stat(follow_symlinks=False) for entry in self._entries()]
        return sum(info.st_size for info in found if stat.S_ISREG(info.st_mode))

    def _entries(self) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"payload files: {error.strerror}") from error

    def _make_folder(self) -> None:
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            return
        _sync(self.folder.parent)

    def _path(self, key: Key) -> Path:
        client, item, version = key
        return self.folder / f"{client.hex()}-{item.hex()}-{version}"


def _key(name: str) -> Key | None:
    """Return what a payload's file name stands for; None for any other name."""
    try:
        client, item, version = name.split("-")
        key = bytes.fromhex(client), bytes.fromhex(item), int(version)
    except ValueError:
        return None
    return key if name == f"{key[0].hex()}-{key[1].hex()}-{key[2]}" else None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"payload files: {error.strerror}") from error
