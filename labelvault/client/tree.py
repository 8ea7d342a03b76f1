"""A new directory tree that takes exported files, and that no name leaves (POSIX).

Everything happens relative to descriptors of directories that were made here: no symlink is followed, nothing that
exists is opened, and a parent that is swapped meanwhile redirects nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from labelvault.errors import OutputError
from labelvault.keys.files import DIRECTORY_MODE, FILE_MODE

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NewTree:
    """A directory of mode 0700 with directories of 0700 and files of 0600 in it. Use it as a context manager."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        """Make the directory.

        Args:
            path: must not exist; its parent must.

        Raises:
            OutputError: something has that name already, or the file system refused.
        """
        self.path = path
        if path.name in ("", ".."):
            raise OutputError(f"{path} does not name a directory to make")
        try:
            parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._descriptor = _make(path.name, parent, fresh=True)
            finally:
                os.close(parent)
        except OSError as error:
            raise OutputError(f"{path} can't be made: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def new_file(self, name: str) -> "NewFile":
        """Make a file, and the directories above it.

        Args:
            name: a relative path with `/`.

        Raises:
            OutputError: the path is not one within the tree, the name is taken, or the file system refused.
        """
        try:
            return NewFile(name, self._at(name, _create))
        except OSError as error:
            raise OutputError(f"{name} can't be written: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Remove a file again.

        Raises:
            OutputError: the file system refused.
        """
        try:
            self._at(name, _unlink)
        except OSError as error:
            raise OutputError(f"{name} can't be removed again: {error.strerror}") from error

    def _at(self, name: str, act: Callable[[str, int], int]) -> int:
        """Do something at a path's last component, in the directory above it."""
        *above, last = name.split("/")
        if not all(part not in ("", ".", "..") and "\0" not in part for part in (*above, last)):
            raise OutputError(f"{name!r} is no path within the tree")
        folder = os.dup(self._descriptor)
        try:
            for part in above:
                inner = _make(part, folder, fresh=False)
                os.close(folder)
                folder = inner
            return act(last, folder)
        finally:
            os.close(folder)


class NewFile:
    """A file that was made in a tree. Use it as a context manager."""

    __slots__ = ("_descriptor", "_name", "_size")

    def __init__(self, name: str, descriptor: int) -> None:
        """Take over an open descriptor; the name is for messages."""
        self._name, self._descriptor, self._size = name, descriptor, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Write at the end: all of it, or on failure none.

        Raises:
            OutputError: the file system refused.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            # Without its cause, whose frames hold the plaintext that a traceback with locals would show.
            message = f"{self._name} can't be written: {error.strerror}"
        else:
            self._size += len(data)
            return
        del rest, data
        raise OutputError(message)

    def close(self) -> None:
        """Let go of the file; it stays."""
        os.close(self._descriptor)


def _create(name: str, folder: int) -> int:
    descriptor = os.open(name, _CREATE, FILE_MODE, dir_fd=folder)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _unlink(name: str, folder: int) -> int:
    os.unlink(name, dir_fd=folder)
    return 0


def _make(name: str, parent: int, *, fresh: bool) -> int:
    """Make and open a directory; unless it has to be fresh, one that is there will do."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        if fresh:
            raise
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise OutputError(f"{name} belongs to another user")
        os.fchmod(descriptor, DIRECTORY_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
