"""The ledger's copy elsewhere, kept at each commit: one file an epoch, in a directory (docs/spec.md, section 7.8).

The copy is written after the commit and before anything leaves that it decided. So it never holds what was not
committed; what a crash kept out of it is the first thing that the next commit of any process writes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from labelvault.crypto.merkle import EMPTY_ROOT
from labelvault.database import Database
from labelvault.errors import FormatError, ReplicaError
from labelvault.issuer.log import Log
from labelvault.keys.files import flush_dir, write_all
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint
from labelvault.ledger.export import checkpoint_line, entry_line
from labelvault.ledger.kept import POLICIES, kept_line, newest_checkpoint
from labelvault.ledger.tree import root

_META: Final = "replica"
_TAIL_BYTES: Final = 64 * 1024
_LINES: Final = 1000
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Replica:
    """Where the ledger's copy is kept, and how.

    Attributes:
        folder: an absolute path.
        policy: `closed`: nothing leaves that is not in it; `best-effort`: it may lag behind, unnoticed.
    """

    folder: Path
    policy: str

    def file(self, epoch: bytes) -> Path:
        """The copy of one ledger."""
        return self.folder / f"{epoch.hex()}.ledger"


def replica_of(database: Database) -> Replica | None:
    """Return where the copy is kept, if it is."""
    found = database.meta(_META)
    if found is None:
        return None
    policy, _, folder = found.decode().partition(":")
    return Replica(Path(folder), policy)


def set_replica(database: Database, replica: Replica | None) -> None:
    """Say where the copy is kept from now on, inside a transaction."""
    if replica is None:
        database.execute("DELETE FROM meta WHERE key = ?", _META)
    else:
        database.set_meta(_META, f"{replica.policy}:{replica.folder}".encode())


def follow(database: Database, log: Log, done: str = "") -> None:
    """Keep the copy, wherever `client.db` says, from now on at each commit of this connection.

    Args:
        database: the connection.
        log: its ledger.
        done: the newest checkpoint, where nothing leaves that rests on what others committed before.
    """

    def keep() -> None:
        nonlocal done
        replica = replica_of(database)
        if replica is None:
            return
        note = log.newest_checkpoint()
        if note == done:
            return
        try:
            bring_up(replica, log, note)
        except ReplicaError:
            if replica.policy == POLICIES[0]:
                raise
        else:
            done = note

    database.after_commit = keep


def bring_up(replica: Replica, log: Log, note: str, *, create: bool = False) -> None:
    """Write what a copy lacks, durably.

    Args:
        replica: where it is.
        log: the ledger.
        note: its newest checkpoint.
        create: make the file if it is missing, and say how it is kept from now on.

    Raises:
        ReplicaError: it is not there, is the copy of another history, or can't be written.
    """
    newest = claimed_checkpoint(note)
    try:
        with _locked(replica.file(log.epoch), create=create) as descriptor:
            before, end = _there(descriptor, log)
            if before.size > newest.size or (before.size == newest.size and not create):
                return  # Another process was faster.
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            lines = _lines(log, before.size, newest.size, kept_line(replica.policy) if create else None, note)
            while piece := list(islice(lines, _LINES)):
                write_all(descriptor, b"".join(line + b"\n" for line in piece))
        if create:
            flush_dir(replica.folder)
    except OSError as error:
        raise ReplicaError(
            f"the ledger's copy in {replica.folder} can't be kept: {error.strerror}",
            next_step="Mend or mount it and run this again; or end it: labelvault client ledger replicate --off.",
        ) from error


def end_copy(file: Path, word: str) -> None:
    """Write the last line of a copy: nobody adds to it any more. Doing it again changes nothing.

    Raises:
        ReplicaError: it is not there, or can't be written.
    """
    try:
        with _locked(file, create=False) as descriptor:
            found = _tail(descriptor)
            if found is None:
                raise ReplicaError(f"{file} is no copy of a ledger")
            _, end, ending = found
            if ending is None:
                os.ftruncate(descriptor, end)
                os.lseek(descriptor, end, os.SEEK_SET)
                write_all(descriptor, kept_line(word) + b"\n")
    except OSError as error:
        raise ReplicaError(
            f"{file} can't be ended: {error.strerror}",
            next_step="Mount it and run this again. If it is lost: labelvault client ledger replicate --off --force.",
        ) from error


def lag(replica: Replica, log: Log) -> int:
    """Return how many entries a copy lacks.

    Raises:
        ReplicaError: it is not there, is the copy of another history, or was ended.
    """
    try:
        with _locked(replica.file(log.epoch), create=False) as descriptor:
            return log.size() - _there(descriptor, log)[0].size
    except OSError as error:
        raise ReplicaError(f"the ledger's copy in {replica.folder} can't be read: {error.strerror}") from error


@contextmanager
def _locked(file: Path, *, create: bool) -> Iterator[int]:
    descriptor = os.open(file, _OPEN | os.O_CREAT if create else _OPEN, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _there(descriptor: int, log: Log) -> tuple[Checkpoint, int]:
    """Return how far a copy goes, and after which byte; what was torn off behind that counts for nothing."""
    found = _tail(descriptor)
    if found is None:
        if os.fstat(descriptor).st_size > _TAIL_BYTES:
            raise ReplicaError("the ledger's copy has no checkpoint: it is something else, or was altered")
        return Checkpoint(log.origin, 0, EMPTY_ROOT), 0
    before, end, ending = found
    if ending is not None:
        raise ReplicaError(
            "the ledger's copy was ended: " + ("a restored home took it over" if ending == "taken" else "by --off"),
            next_step="If this home is the one that counts, keep a new copy: labelvault client ledger replicate DIR.",
        )
    # What is in a copy was committed before: a ledger that has less was put back to an older state.
    if before.origin != log.origin or before.size > log.size() or root(before.size, log.read_node) != before.root:
        raise ReplicaError(
            "the ledger's copy is of another history than this ledger",
            next_step="Was an old copy of this home put back? Restore it instead: labelvault client restore.",
        )
    return before, end


def _tail(descriptor: int) -> tuple[Checkpoint, int, str | None] | None:
    """Find the newest checkpoint, from the end on: it, after which byte its line ends, and the copy's ending."""
    size, wanted = os.fstat(descriptor).st_size, _TAIL_BYTES
    while True:
        start = max(0, size - wanted)
        try:
            found = newest_checkpoint(os.pread(descriptor, size - start, start))
            if found is not None:
                return claimed_checkpoint(found[0]), start + found[1], found[2]
        except FormatError as error:
            raise ReplicaError("the ledger's copy was altered") from error
        if not start:
            return None
        wanted *= 4


def _lines(log: Log, begin: int, size: int, said: bytes | None, note: str) -> Iterator[bytes]:
    if said is not None:
        yield said
    yield from map(entry_line, log.stream(size, begin))
    yield checkpoint_line(note)
