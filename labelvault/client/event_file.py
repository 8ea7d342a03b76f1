"""A file of events, one JSON object a line, that others may rotate away at any time."""

import errno
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from labelvault.client.events import Event
from labelvault.errors import OutputError
from labelvault.keys.files import write_all

_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class EventFile:
    """Appends whole lines, flushed. Opened by its path for every write, so a file that was moved away gets no more."""

    def __init__(self, path: Path) -> None:
        """Make sure that it can be written.

        Args:
            path: made with mode 0600 if it is not there.

        Raises:
            OutputError: it can't be opened, is no regular file, or others can read it.
        """
        self._path = path
        os.close(self._open())

    def ready(self) -> bool:
        """Tell that it always takes events."""
        return True

    def take(self, events: Sequence[Event]) -> bool:
        """Append events.

        Raises:
            OutputError: the file system refused. The last line may be cut short then; the next write ends it.
        """
        if not events:
            return True
        lines = "".join(json.dumps(event.flat()) + "\n" for event in events).encode()
        descriptor = self._open()
        try:
            write_all(descriptor, (b"" if self._ends_whole() else b"\n") + lines)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            os.close(descriptor)
        return True

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, _APPEND, 0o600)
        except OSError as error:
            raise self._refused(error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OutputError(f"{self._path} is no regular file", next_step="Give another --event-log FILE.")
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.close(descriptor)
            raise OutputError(f"{self._path} can be read by others", next_step=f"chmod 600 {self._path}")
        return descriptor

    def _ends_whole(self) -> bool:
        """Tell whether the last line has its end: a write that was cut short left none."""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _refused(self, error: OSError) -> OutputError:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            return OutputError(f"{self._path} is a symlink", next_step="Give another --event-log FILE.")
        return OutputError(f"{self._path} can't be written: {error.strerror}")
