"""Where a backup is put together, in its home: a copy of `client.db` that lives no longer than its making."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from labelvault.errors import BackupError, LabelVaultError, OutputError
from labelvault.keys.files import make_private_dir, remove_dir

OLDER: Final = "older"
"""In the stage: what the parts before give."""
_STAGE: Final = ".backup.tmp"
_BUSY: Final = "another backup of this home is being made, or its root key is being replaced"


@contextmanager
def staged(home: Path) -> Iterator[Path]:
    """Lend a private directory in a home, to one backup at a time; what a killed one left is removed first.

    Raises:
        BackupError: another one is being made.
        OutputError: the file system refused.
    """
    with alone(home, BackupError(_BUSY, next_step="Wait until it is done.")):
        stage = home / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        make_private_dir(stage)
        make_private_dir(stage / OLDER)
        try:
            yield stage
        except OSError as error:
            raise OutputError(f"the backup can't be made: {error.strerror}") from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def erase_stage(home: Path) -> None:
    """Overwrite and remove the copy of `client.db` that a killed backup left in a home.

    Call it once what is to be destroyed is in `client.db` no more: a backup that begins later copies none of it.

    Raises:
        BackupError: one that began before is being made.
        KeystoreError: the file system refused.
    """
    stage = home / _STAGE
    if not os.path.lexists(stage):
        return
    wait = "Wait until it is done, or stop it; then run this again: it goes on where it stopped."
    with alone(home, BackupError(_BUSY, next_step=wait)):
        remove_dir(stage / OLDER)
        remove_dir(stage)


@contextmanager
def alone(home: Path, busy: LabelVaultError) -> Iterator[None]:
    """Do what only one process at a time may do in a home, or raise `busy`: a backup, or replacing the root key."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        yield
    finally:
        os.close(descriptor)
