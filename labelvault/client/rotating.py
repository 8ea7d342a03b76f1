"""Rotating a project's KEK: every wrap in the catalog goes under a new generation, and the old one is destroyed.

The new generation's file is durable first, then it becomes current, so that what is sealed meanwhile goes under it.
Then the old wraps are moved, some at a time, while an issuer in another process goes on releasing under either. Killed
anywhere, the catalog names only generations that have their file, and another run goes on where this one stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labelvault.client.key_records import RotationReport
from labelvault.client.records import Progress
from labelvault.client.rerooting import forget_staged
from labelvault.client.versions import current_kek
from labelvault.database import Database
from labelvault.errors import DecryptionError, KeystoreError, KeystoreForeignError, ShreddedError, StoreError
from labelvault.keys.kek import Kek, KekFiles, Rewrapper
from labelvault.ledger.entries import Entry, Rotated

BATCH_VERSIONS: Final = 500
"""Re-wrapped in one transaction: about 20 ms in which no release begins."""
_UNFINISHED: Final = "rotating/"
"""Named value of a project's rotation that is under way; it holds the new generation."""
_STALE: Final = "FROM versions WHERE kek_id = ? AND kek_generation < ?"
_WRAP_BYTES: Final = 72


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation works on.

    Attributes:
        home: where both are.
        client: 32 bytes.
        project: 16 bytes.
        record: appends entries and signs a checkpoint, inside the open transaction.
        check_root: raises if the root key was replaced meanwhile, inside the open transaction.
        now: the client's time.
    """

    home: Path
    database: Database
    keks: KekFiles
    client: bytes
    project: bytes
    record: Callable[[Sequence[Entry]], None]
    check_root: Callable[[], None]
    now: datetime


def rotate_kek(rotation: Rotation, progress: Callable[[Progress], None] | None = None) -> RotationReport:
    """Rotate, or finish a rotation that was interrupted; see `Project.rotate_kek`.

    Raises:
        ShreddedError: the project has no KEK any more.
        KeystoreError: a KEK's file can't be written or used.
        StoreError: `client.db` refused, or holds wraps that don't open under their own KEK.
    """
    database = rotation.database
    kek_id, generation = current_kek(database, rotation.project)
    resumed = database.meta(_name(rotation)) is not None
    if not resumed:
        generation = _begin(rotation, kek_id, generation)
    new = rotation.keks.load(rotation.project, kek_id, generation)
    moved = _Mover(rotation, new, progress).run()
    return RotationReport(generation, moved, _finish(rotation, new), resumed)


def _name(rotation: Rotation) -> str:
    return _UNFINISHED + rotation.project.hex()


def _number(generation: int) -> bytes:
    return generation.to_bytes(4, "big")


def _begin(rotation: Rotation, kek_id: bytes, generation: int) -> int:
    """Make the next generation and make it current, unless another process was faster; return the current one."""
    new = generation + 1
    try:
        rotation.keks.advance(rotation.project, rotation.keks.load(rotation.project, kek_id, generation))
    except KeystoreError:
        # Left by a run that was killed here, or by another process that is here now: it serves as well if it opens.
        if new not in rotation.keks.generations(kek_id):
            raise
        _check_opens(rotation, kek_id, new)
    try:
        with rotation.database.transaction():
            rotation.check_root()
            if current_kek(rotation.database, rotation.project)[1] == generation:
                rotation.database.execute(
                    "UPDATE projects SET kek_generation = ? WHERE project = ?", new, rotation.project
                )
                rotation.database.set_meta(_name(rotation), _number(new))
    except ShreddedError:
        rotation.keks.erase(kek_id, new)
        raise
    return current_kek(rotation.database, rotation.project)[1]


def _check_opens(rotation: Rotation, kek_id: bytes, new: int) -> None:
    """Make sure that the next generation's file opens; one that a replaced root key wrapped is made anew."""
    try:
        rotation.keks.load(rotation.project, kek_id, new)
    except KeystoreForeignError:
        with rotation.database.transaction():
            rotation.check_root()
            if current_kek(rotation.database, rotation.project)[1] >= new:
                return  # Another process has mended it, and even made it current.
            rotation.keks.erase(kek_id, new)
            rotation.keks.advance(rotation.project, rotation.keks.load(rotation.project, kek_id, new - 1))


def _finish(rotation: Rotation, new: Kek) -> int:
    """Destroy older generations once nothing refers to them, put it on record, and return how many those were.

    One transaction: whoever reads a wrap and loads its KEK in a transaction of its own finds both, or neither.
    """
    database = rotation.database
    with database.transaction():
        if database.meta(_name(rotation)) != _number(new.generation):
            return 0  # Another process has finished it meanwhile, or even rotated further.
        if database.row(f"SELECT 1 {_STALE} LIMIT 1", new.kek_id, new.generation):
            raise StoreError("client.db names an old KEK again; run the rotation once more")
        older = [old for old in rotation.keks.generations(new.kek_id) if old < new.generation]
        for old in older:
            rotation.keks.erase(new.kek_id, old)
        forget_staged(rotation.home, new.kek_id)
        database.execute("DELETE FROM meta WHERE key = ?", _name(rotation))
        rotation.record([Rotated(at=rotation.now, what="kek", project=rotation.project, generation=new.generation)])
    return len(older)


class _Mover:
    """Moves wraps under the new generation, a bounded number in each transaction."""

    def __init__(self, rotation: Rotation, new: Kek, progress: Callable[[Progress], None] | None) -> None:
        self._rotation = rotation
        self._new = new
        self._progress = progress
        self._from: dict[int, Rewrapper] = {}
        self._damaged = 0

    def run(self) -> int:
        """Move all, and return how many that were."""
        place = (self._new.kek_id, self._new.generation)
        total = int(self._rotation.database.scalar(f"SELECT count(*) {_STALE}", *place))
        done, after = 0, (b"", 0)
        while True:
            with self._rotation.database.transaction():
                rows = self._rotation.database.rows(
                    f"SELECT item, version, digest, wrapped, kek_generation {_STALE}"
                    " AND (item, version) > (?, ?) ORDER BY item, version LIMIT ?",
                    *place,
                    *after,
                    BATCH_VERSIONS,
                )
                if not rows:
                    break
                self._move(rows)
            done += len(rows)
            after = (bytes(rows[-1][0]), int(rows[-1][1]))
            if self._progress is not None:
                self._progress(Progress(done, max(done, total), done * _WRAP_BYTES, max(done, total) * _WRAP_BYTES))
        if self._damaged:
            raise StoreError(
                f"{self._damaged} wraps in client.db don't open under their own KEK, which is kept therefore; all"
                " others are moved",
                next_step="Put client.db back from its backup, then rotate again; or shred what can't be read.",
            )
        return done

    def _move(self, rows: Sequence[tuple[Any, ...]]) -> None:
        moved = []
        for item, version, digest, wrapped, generation in rows:
            try:
                moved.append(
                    (self._moved(bytes(item), version, bytes(digest), bytes(wrapped), generation), item, version)
                )
            except DecryptionError:
                self._damaged += 1
        self._rotation.database.execute_many(
            f"UPDATE versions SET wrapped = ?, kek_generation = {self._new.generation:d}"  # noqa: S608 - an integer
            " WHERE item = ? AND version = ?",
            moved,
        )

    def _moved(self, item: bytes, version: int, digest: bytes, wrapped: bytes, generation: int) -> bytes:
        if not wrapped:
            return b""  # A stream that is still being sealed: it gets its wrap, and that KEK's name, at its end.
        if generation not in self._from:
            rotation = self._rotation
            old = rotation.keks.load(rotation.project, self._new.kek_id, generation)
            self._from[generation] = Rewrapper(rotation.client, rotation.project, old, self._new)
        return self._from[generation].rewrap(item, version, digest, wrapped)
