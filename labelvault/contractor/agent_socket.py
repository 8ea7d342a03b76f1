"""The agent's socket: where it is, who may be on its ends, and that there is one agent a home.

The socket (0600) is in the contractor's home (0700). Both ends ask the kernel who the other is. A lock that the agent
holds until it exits says whether a socket that lies there is one's of today.
"""

import errno
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labelvault.errors import KeystoreError, KeystoreForeignError

SOCKET: Final = "agent.sock"
LOCK: Final = "agent.lock"
_TIMEOUT_S: Final = 20.0
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_NEXT: Final = "Remove it after you have found out who put it there; then start the agent again."


def check_system() -> None:
    """Refuse where the kernel can't say who is at the other end.

    Raises:
        KeystoreError: this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise KeystoreError(
            "the agent needs Linux: elsewhere it could not tell who asks it",
            next_step="Give the passphrase to each command: --passphrase-file FILE.",
        )


def lock(home: Path) -> int | None:
    """Take the lock that the one agent of a home holds; return its descriptor, or None if it is taken.

    Raises:
        KeystoreForeignError: something else has the lock's name.
        KeystoreError: the file system refused.
    """
    try:
        descriptor = os.open(home / LOCK, _LOCK_FLAGS, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeystoreForeignError(f"{home / LOCK} is a symbolic link", next_step=_NEXT) from error
        raise KeystoreError(f"{home / LOCK} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def listen(home: Path) -> socket.socket:
    """Bind the socket, in place of one that a killed agent left; call it under the lock.

    Raises:
        KeystoreForeignError: something else has the socket's name, or another user's.
        KeystoreError: the file system refused.
    """
    _check(home)
    with _directory(home) as directory, _refusals(home):
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Nobody but us may connect even for the moment between bind and chmod.
            before = os.umask(0o177)
            try:
                listener.bind(_below(directory))
            finally:
                os.umask(before)
            listener.listen(16)
        except BaseException:
            listener.close()
            raise
        return listener


def remove(home: Path) -> None:
    """Remove the socket, under the lock."""
    with suppress(OSError):
        os.unlink(home / SOCKET)


def connect(home: Path) -> tuple[socket.socket, int] | None:
    """Connect to the agent of a home.

    Returns:
        The connection and the agent's process id; None if none runs.

    Raises:
        KeystoreForeignError: the socket, or who listens on it, is not ours.
        KeystoreError: the file system refused.
    """
    if not sys.platform.startswith("linux") or not home.is_dir() or not _check(home):
        return None
    with _directory(home) as directory, _refusals(home):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(_below(directory))
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
    pid, user = peer(connection)
    if user != os.geteuid():
        connection.close()
        raise KeystoreForeignError(f"another user listens on {home / SOCKET}", next_step=_NEXT)
    return connection, pid


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return process id and user id of who made or listens on the other end, as the kernel knows them."""
    size = struct.calcsize("3i")
    pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, user


def _check(home: Path) -> bool:
    """Tell whether there is a socket of ours.

    Raises:
        KeystoreForeignError: there is something else.
    """
    path = home / SOCKET
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        what = "belongs to another user" if stat.S_ISSOCK(found.st_mode) else "is no socket"
        raise KeystoreForeignError(f"{path} {what}", next_step=_NEXT)
    return True


@contextmanager
def _directory(home: Path) -> Iterator[int]:
    """Hold the home open, so that its path may be longer than a socket's address."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _below(directory: int) -> str:
    return f"/proc/self/fd/{directory}/{SOCKET}"


@contextmanager
def _refusals(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeystoreError(f"{home / SOCKET} can't be used: {error.strerror or error}") from error
