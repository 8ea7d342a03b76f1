"""Private files: whole or not at all, readable by their owner only (POSIX).

Every key file is written by `write_private` and read by `read_private`. What they are given is ciphertext
already: the modes and flags here are a second fence, not the first.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labelvault.crypto.random import random_bytes
from labelvault.errors import KeystoreError, KeystoreForeignError

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that someone put there must fail the check below, not hang.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OVERWRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What O_NOFOLLOW says of a symlink: POSIX, and FreeBSD.
_IS_SYMLINK: Final = (errno.ELOOP, errno.EMLINK)


def write_private(path: Path, data: bytes | Iterable[bytes], *, replace: bool) -> None:
    """Write a whole file with mode 0600, whatever the umask.

    A crash or power cut at any point leaves the old state or the new one, never a part: the bytes go to a
    temporary file beside it, are flushed, and then get the name. When an error is raised, no temporary file
    is left, and the old state stands; with one exception: if only the last flush of the directory fails, a
    *replaced* file already holds the new bytes, whole, and may fall back to the old ones in a power cut. A
    process that is killed may leave a temporary file, which `erase_file` removes.

    Args:
        path: where; a symlink of that name is replaced, not followed.
        data: the content, or its pieces.
        replace: whether a file of that name may be replaced. If not, it is never touched, also in a race.

    Raises:
        KeystoreError: `replace` is false and the name is taken, or the file system refused.
    """
    try:
        with _opened(path.parent) as directory:
            _write_beside(directory, path.name, data, replace)
    except FileExistsError as error:
        raise KeystoreError(f"{path} exists already and is not overwritten") from error
    except OSError as error:
        raise KeystoreError(f"{path} can't be written: {error.strerror}") from error


def read_private(path: Path, max_bytes: int) -> bytes:
    """Read a whole file that `write_private` wrote.

    Args:
        path: the file; not a symlink.
        max_bytes: refuse anything larger, before reading it.

    Raises:
        KeystoreForeignError: a symlink, not a regular file, or too large to be one of ours.
        KeystoreError: it is not there, or the file system refused.
    """
    try:
        descriptor = os.open(path, _READ)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise KeystoreForeignError(f"{path} is not a regular file")
            if info.st_size > max_bytes:
                raise KeystoreForeignError(f"{path} has {info.st_size} bytes, more than a key file's {max_bytes}")
            return _read_all(descriptor, path, max_bytes)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise KeystoreError(f"{path} does not exist") from error
    except OSError as error:
        if error.errno in _IS_SYMLINK:
            raise KeystoreForeignError(f"{path} is a symbolic link") from error
        raise KeystoreError(f"{path} can't be read: {error.strerror}") from error


def make_private_dir(path: Path) -> None:
    """Make a directory with mode 0700, and its missing parents; one that is there is tightened to 0700.

    Raises:
        KeystoreForeignError: something else, a symlink or another user's directory has that name.
        KeystoreError: the file system refused.
    """
    try:
        for missing in reversed([path, *path.parents]):
            if not os.path.lexists(missing):
                missing.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
                with _opened(missing.parent) as parent:
                    os.fsync(parent)
        descriptor = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise KeystoreForeignError(f"{path} belongs to another user")
            os.fchmod(descriptor, DIRECTORY_MODE)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, *_IS_SYMLINK):
            raise KeystoreForeignError(f"{path} is not a directory") from error
        raise KeystoreError(f"{path} can't be made a private directory: {error.strerror}") from error


def erase_file(path: Path, *, overwrite: bool = False) -> None:
    """Remove a file and what an interrupted write of it left, and make the removal durable. Absent is erased.

    After it returns, no name in the directory leads to the bytes, also after a power cut. It can't promise
    that the medium forgot them: flash translation layers, copy-on-write file systems, snapshots and backups
    keep blocks, and other hard links keep the file. So what is erased here was encrypted, and what ends it is
    that its key is gone.

    Args:
        path: the file.
        overwrite: with zeros first: where the file system writes in place, the blocks themselves forget.

    Raises:
        KeystoreError: the file system refused; the file may still be there, or hold zeros.
    """
    leftover = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp")
    try:
        with _opened(path.parent) as directory:
            for name in os.listdir(directory):
                if name == path.name or leftover.fullmatch(name):
                    if overwrite:
                        _overwrite(directory, name)
                    os.unlink(name, dir_fd=directory)
            os.fsync(directory)
    except OSError as error:
        raise KeystoreError(f"{path} can't be erased: {error.strerror}") from error


def move_private(source: Path, target: Path) -> None:
    """Give a file or directory another name on the same file system, in one step; a file of that name is replaced.

    Raises:
        KeystoreError: the file system refused.
    """
    try:
        with _opened(source.parent) as old, _opened(target.parent) as new:
            os.rename(source.name, target.name, src_dir_fd=old, dst_dir_fd=new)
            os.fsync(new)
            os.fsync(old)
    except OSError as error:
        raise KeystoreError(f"{source} can't be moved to {target}: {error.strerror}") from error


def remove_dir(path: Path) -> None:
    """Erase the files of a directory, overwritten first, and remove it. Absent is removed.

    Raises:
        KeystoreError: the file system refused, or something else than files is in it.
    """
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeystoreError(f"{path} can't be read: {error.strerror}") from error
    for name in names:
        erase_file(path / name, overwrite=True)
    try:
        with _opened(path.parent) as parent:
            os.rmdir(path.name, dir_fd=parent)
            os.fsync(parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeystoreError(f"{path} can't be removed: {error.strerror}") from error


def _overwrite(directory: int, name: str) -> None:
    """Write zeros over a regular file, and flush them; anything else of that name is left as it is."""
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return
    descriptor = os.open(name, _OVERWRITE, dir_fd=directory)
    try:
        write_all(descriptor, bytes(os.fstat(descriptor).st_size))
    finally:
        os.close(descriptor)


def flush_dir(path: Path) -> None:
    """Make durable which names a directory has.

    Raises:
        OSError: the file system refused.
    """
    with _opened(path) as directory:
        os.fsync(directory)


def write_all(descriptor: int, data: bytes | Iterable[bytes]) -> None:
    """Write all of `data`, or all its pieces, and flush it; `os.write` alone may stop early.

    Raises:
        OSError: the file system refused.
    """
    for piece in (data,) if isinstance(data, bytes) else data:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Hold a directory open: what follows is relative to it, so that a swapped parent changes nothing."""
    descriptor = os.open(directory, _DIRECTORY)
    try:
        yield descriptor
    finally:
        # Nothing was written through it, so no error of its close can mean that something is lost.
        with suppress(OSError):
            os.close(descriptor)


def _write_beside(directory: int, name: str, data: bytes | Iterable[bytes], replace: bool) -> None:
    temporary = f".{name}.{random_bytes(8).hex()}.tmp"
    descriptor = os.open(temporary, _CREATE, FILE_MODE, dir_fd=directory)
    try:
        try:
            os.fchmod(descriptor, FILE_MODE)
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        if replace:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            # link, unlike rename, fails if the name is taken: no window between a check and the act.
            os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        _unlink(directory, temporary)
        raise
    if replace:
        os.fsync(directory)
    else:
        _settle_link(directory, temporary, name)


def _settle_link(directory: int, temporary: str, name: str) -> None:
    """Drop the temporary name and make the new one durable; on failure take both back, for a retry."""
    try:
        os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)
    except BaseException:
        _unlink(directory, name)
        _unlink(directory, temporary)
        raise


def _unlink(directory: int, name: str) -> None:
    """Remove a name that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _read_all(descriptor: int, path: Path, max_bytes: int) -> bytes:
    data = b""
    # One byte more than allowed: a file that grows while it is read is refused, not cut.
    while chunk := os.read(descriptor, max_bytes + 1 - len(data)):
        data += chunk
    if len(data) > max_bytes:
        raise KeystoreForeignError(f"{path} has more than {max_bytes} bytes")
    return data
