"""Opened items on disk: in a directory of their own, under names of ours, and gone again on close (POSIX).

The items' names and contents are hostile, and other processes may swap files meanwhile: so everything happens
relative to a descriptor of the directory, a name is never followed, and nothing that exists is opened.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from labelvault.envelope.filenames import safe_file_name
from labelvault.errors import OutputError
from labelvault.keys.files import DIRECTORY_MODE, FILE_MODE
from labelvault.pipeline import Writer
from labelvault.wire.codec import MAX_INT

_MAX_TRIES: Final = 10_000
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OutputDirectory:
    """A directory that holds opened items and nothing else.

    Its files have mode 0600 and it has 0700, whatever the umask. It is held open by descriptor: renaming it
    or swapping a parent for a symlink meanwhile redirects nothing. Use it as a context manager, or call
    `close`.
    """

    __slots__ = ("_descriptor", "_erased", "_name", "_parent", "_written", "path")

    def __init__(self, path: Path, parent: int, descriptor: int) -> None:
        """Take over two open descriptors; `create` makes them."""
        self.path = path
        self._name = path.name
        self._parent = parent
        self._descriptor = descriptor
        self._written: list[str] = []
        self._erased = False

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a directory, or take an empty one that is the caller's own.

        Args:
            path: its parent exists and is no symlink; the path's last component is made, and is never
                followed.

        Raises:
            OutputError: a symlink or anything but an empty directory of this user is there, the parent is a
                symlink or missing, or the file system refused.
        """
        if path.name in ("", ".."):
            raise OutputError(f"{path} does not name a directory to make")
        try:
            parent = os.open(path.parent, _DIRECTORY)
        except OSError as error:
            raise OutputError(f"{path.parent} is not a directory, or is a symlink: {error.strerror}") from error
        try:
            return cls(path, parent, _take_directory(path.name, parent))
        except OSError as error:
            os.close(parent)
            raise OutputError(f"{path} can't be made: {error.strerror}") from error
        except OutputError:
            os.close(parent)
            raise

    @classmethod
    def resume(cls, path: Path, inodes: frozenset[tuple[int, int]] | None) -> Self:
        """Take a directory that an earlier process wrote, to erase it.

        A file system gives the number of a removed file to another one; so what somebody puts into this directory
        after removing an item may be erased in the item's place. Nothing outside the directory can be.

        Args:
            path: as given to `create`.
            inodes: what `inodes` said then: the files are known by them, so that no name has to be remembered.

        Raises:
            OutputError: no directory is there, or a symlink is in its place.
        """
        try:
            parent = os.open(path.parent, _DIRECTORY)
            try:
                descriptor = os.open(path.name, _DIRECTORY, dir_fd=parent)
            except OSError:
                os.close(parent)
                raise
        except OSError as error:
            raise OutputError(f"{path} is not there any more, or is a symlink: {error.strerror}") from error
        directory = cls(path, parent, descriptor)
        for name in os.listdir(descriptor):
            if inodes is None or _inode(name, descriptor) in inodes:
                directory._written.append(name)
        return directory

    def inodes(self) -> tuple[tuple[int, int], ...]:
        """Return (device, inode) of each file that was written and is there, by which `resume` finds it again.

        Raises:
            OutputError: the directory was closed.
        """
        self._check_open()
        found = (_inode(name, self._descriptor) for name in self._written)
        return tuple(inode for inode in found if inode is not None)

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of the directory, and of the one that it is in."""
        return self._descriptor, self._parent

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files that were written and not erased."""
        return tuple(self._written)

    def write(self, name: str, data: bytes) -> str:
        """Write one item to a new file; see `write_pieces`."""
        outcome = self._tried(name, iter((data,)))
        # Raised from here, without its cause, because frames below hold the plaintext, and tracebacks may be logged
        # with their locals.
        del name, data
        return self._finished(outcome)

    def write_pieces(self, name: str, pieces: Iterator[bytes]) -> str:
        """Write one item to a new file, piece by piece.

        Nothing that exists is touched: a name that is taken, on disk too, gets `-2`, `-3` and so on. If the
        disk fills up or fails, the file is removed again.

        Args:
            name: the item's, any text.
            pieces: its content.

        Returns:
            the file's name within the directory.

        Raises:
            OutputError: the file system refused, or the directory was erased or closed. What `pieces` raises goes
                through; no file is left then either.
        """
        return self._finished(self._tried(name, pieces))

    def _tried(self, name: str, pieces: Iterator[bytes]) -> str | OSError:
        self._check_open()
        return self._try_write(safe_file_name(name), pieces)

    def _finished(self, outcome: str | OSError) -> str:
        if isinstance(outcome, OSError):
            raise OutputError(f"an opened item can't be written to {self.path}: {outcome.strerror}")
        self._written.append(outcome)
        return outcome

    def erase(self) -> None:
        """Remove the files that were written, then the directory.

        A file that was replaced meanwhile is unlinked by name; a symlink is not followed. Other files are not
        touched; then the directory stays, and an error says so. What `keys.files.erase_file` can't promise
        about the medium, this can't either. Erasing again after an error tries again what is left.

        Raises:
            OutputError: something could not be removed, or the directory holds other files or was swapped.
        """
        if self._erased:
            return
        self._check_open()
        failed = [name for name in self._written if not self._removed(name)]
        self._written = failed
        if failed:
            raise OutputError(f"{len(failed)} of the files in {self.path} can't be removed")
        try:
            os.fsync(self._descriptor)
            others = len(os.listdir(self._descriptor))
            if others:
                raise OutputError(f"{self.path} holds {others} files that were not written here, and stays")
            if not self._is_in_place():
                raise OutputError(f"{self.path} was moved or swapped; its files are removed, the directory is not")
            os.rmdir(self._name, dir_fd=self._parent)
            os.fsync(self._parent)
        except OSError as error:
            raise OutputError(f"{self.path} can't be removed: {error.strerror}") from error
        self._erased = True
        self.close()

    def close(self) -> None:
        """Let go of the directory; its files stay. Closing twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            os.close(self._parent)
            self._descriptor = self._parent = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise OutputError(f"{self.path} was closed")

    def _try_write(self, safe: str, pieces: Iterator[bytes]) -> str | OSError:
        try:
            name, descriptor = self._open_new(safe)
        except OSError as error:
            return error
        try:
            try:
                os.fchmod(descriptor, FILE_MODE)
                writer = Writer(descriptor)
                for piece in pieces:
                    writer.write(piece)
                    # No name for it when the next one fails.
                    del piece
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except BaseException as error:
            # Remembered first, so that `erase` tries again should the removal fail now.
            self._written.append(name)
            if self._removed(name):
                self._written.remove(name)
            if isinstance(error, OSError):
                return error
            raise
        return name

    def _open_new(self, safe: str) -> tuple[str, int]:
        stem, dot, extension = safe.rpartition(".")
        if not dot:
            stem, extension = safe, ""
        for number in range(1, _MAX_TRIES):
            name = safe if number == 1 else f"{stem}-{number}{dot}{extension}"
            # O_EXCL and not a look first: the file system says what is taken, folded case and planted
            # symlinks too.
            with suppress(FileExistsError):
                return name, os.open(name, _CREATE, FILE_MODE, dir_fd=self._descriptor)
        raise FileExistsError(0, "too many files of one name")

    def _removed(self, name: str) -> bool:
        """Unlink a file; return whether its name is gone."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _is_in_place(self) -> bool:
        here = os.fstat(self._descriptor)
        try:
            there = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _inode(name: str, directory: int) -> tuple[int, int] | None:
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    # Kept to 63 bits: what is stored must have a wire form, and some file systems number higher.
    return info.st_dev & MAX_INT, info.st_ino & MAX_INT


def _take_directory(name: str, parent: int) -> int:
    """Make and open a directory, or open an empty one of ours."""
    with suppress(FileExistsError):
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        # Checked after opening, also when it was just made: between the two calls it may have been swapped.
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise OutputError("the output directory belongs to another user")
        if os.listdir(descriptor):
            raise OutputError("the output directory is not empty")
        os.fchmod(descriptor, DIRECTORY_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def filled(path: Path) -> Iterator[OutputDirectory]:
    """Lend a new directory to write into; whatever ends the block early, it is erased again. Raises as `create`."""
    with OutputDirectory.create(path) as directory:
        try:
            yield directory
        except BaseException:
            directory.erase()
            raise


def erase_output(folder: Path, files: frozenset[tuple[int, int]] | None) -> None:
    """Erase what an opening wrote; nothing to do if its folder is gone.

    Args:
        folder: where.
        files: (device, inode) of each; None for whatever is there.

    Raises:
        OutputError: something could not be removed, the folder holds other files, or its medium is not there.
    """
    if not folder.parent.is_dir():
        raise OutputError(f"{folder.parent} is not there; bring it back (a drive?), then close again")
    if folder.exists():
        with OutputDirectory.resume(folder, files) as directory:
            directory.erase()
