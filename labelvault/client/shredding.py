"""Shredding a project: its KEKs, the wraps under them and the key of its answers are destroyed, for good.

So are the copies that a killed backup or replacement of the root key left in the home.

Marked first, so that nothing is sealed into it or released from then on; the ledger's entry comes last, when nothing is
left. Killed in between, the project stays marked, and another run goes on.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.client.backuprecords import backups
from labelvault.client.backupstage import erase_stage
from labelvault.client.key_records import ShredReport
from labelvault.client.rerooting import forget_staged
from labelvault.client.versions import current_kek
from labelvault.database import Database
from labelvault.errors import ProjectError
from labelvault.keys.kek import KekFiles
from labelvault.ledger.entries import Entry, Shredded
from labelvault.wire.times import from_ms, to_ms

BATCH_VERSIONS: Final = 5000
_UNFINISHED: Final = "shredding/"
"""Named value of a project's shredding that is under way; it holds what is destroyed."""
_COUNTS: Final = struct.Struct(">QQQ")


def shred(
    home: Path,
    database: Database,
    keks: KekFiles,
    project: bytes,
    record: Callable[[Sequence[Entry]], None],
    now: datetime,
) -> ShredReport:
    """Shred a project, or finish what an interrupted run had begun; see `Client.shred`.

    Raises:
        ShreddedError: it was shredded already.
        KeystoreError: a KEK's file can't be destroyed.
        StoreError: `client.db` refused, or another process keeps it from being cleaned; running it again goes on.
        BackupError: a backup that began before is being made; running it again goes on.
    """
    name = _UNFINISHED + project.hex()
    kek_id = bytes(database.scalar("SELECT kek_id FROM projects WHERE project = ?", project))
    with database.transaction():
        marked = database.meta(name)
        if marked is None:
            current_kek(database, project)
            counted = _count(database, keks, project, kek_id)
            database.execute("UPDATE projects SET shredded_ms = ? WHERE project = ?", to_ms(now), project)
            database.set_meta(name, _COUNTS.pack(*counted))
        else:
            counted = _COUNTS.unpack(marked)
    for generation in keks.generations(kek_id):
        keks.erase(kek_id, generation)
    with database.erasing():
        while True:
            with database.transaction():
                # Rows under no KEK of this project are none of its wraps.
                if not database.execute(
                    "UPDATE versions SET wrapped = x'' WHERE (item, version) IN"
                    " (SELECT item, version FROM versions WHERE kek_id = ? AND wrapped != x'' LIMIT ?)",
                    kek_id,
                    BATCH_VERSIONS,
                ):
                    break
        with database.transaction():
            database.execute("UPDATE projects SET submission_wrapped = x'' WHERE project = ?", project)
            forget_staged(home, kek_id, project)
    database.rewrite()
    erase_stage(home)
    with database.transaction():
        if database.meta(name) is not None:
            database.execute("DELETE FROM meta WHERE key IN (?, ?)", name, f"rotating/{project.hex()}")
            record([Shredded(at=now, project=project, keks=counted[0], versions=counted[1])])
    created = from_ms(database.scalar("SELECT created_ms FROM projects WHERE project = ?", project))
    return ShredReport(*counted, resumed=marked is not None, backups=tuple(backups(database, created)))


def _count(database: Database, keks: KekFiles, project: bytes, kek_id: bytes) -> tuple[int, int, int]:
    """Return how many KEK files, wraps and uncollected answers there are."""
    versions = database.scalar("SELECT count(*) FROM versions WHERE kek_id = ? AND wrapped != x''", kek_id)
    answers = database.scalar(
        "SELECT count(*) FROM submissions WHERE project = ? AND verdict = 'accepted' AND collected IS NULL", project
    )
    return max(1, len(keks.generations(kek_id))), int(versions), int(answers)


def check_confirmed(name: str, confirm: str) -> None:
    """Make sure that a project is shredded on purpose.

    Raises:
        ProjectError: what was typed is not its name.
    """
    if confirm != name:
        raise ProjectError(
            f"the project's name was not confirmed: {name!r} was not shredded",
            next_step="Type the name exactly as it is.",
        )
