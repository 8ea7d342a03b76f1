"""Making a backup of a home, while its issuer and whoever seals go on (docs/spec.md, section 8.7).

`client.db` is copied by SQLite in one read transaction, then the KEKs that this copy names are read, and tried. The
root key's own file is never in it: whoever has both, and guesses the passphrase, has everything.

The first part of a backup is whole; each further one holds what changed. Before it is added, all parts before it are
opened and put together: nothing is built on a part that is damaged or missing.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labelvault.client import backuprecords
from labelvault.client.backup_records import BackupReport
from labelvault.client.backupchain import (
    CHANGES,
    CONFIG,
    DATABASE,
    IDENTITY,
    Part,
    VaultShelf,
    assemble,
    first_part,
    hash_database,
    part_path,
    parts_in_files,
)
from labelvault.client.backupfile import MAX_INCREMENTS, VERSION, BackupHeader, Member, SealedBackup
from labelvault.client.backupstage import OLDER, staged
from labelvault.client.pagechanges import write_changes
from labelvault.client.rerooting import KEK_FOLDER
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.errors import BackupError, KeystoreError, OutputError
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import flush_dir, read_private
from labelvault.keys.root import RootKey
from labelvault.keys.token import TOKEN_FILE
from labelvault.wire.ids import ID_BYTES

if TYPE_CHECKING:
    from labelvault.client.opened import OpenedClient

_SMALL: Final = (CONFIG, TOKEN_FILE, IDENTITY)
_MAX_SMALL_BYTES: Final = 8192
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS: Final = 3
_ASK_VENDOR: Final = "Ask the vendor, and back up into a file meanwhile. --fresh begins anew with what there is."
_File = tuple[str, bytes]


def back_up(client: "OpenedClient", root: RootKey, file: Path) -> BackupReport:
    """Back up a home into a file, or add to a backup that is there what changed since; see `Client.backup`."""
    file = Path(os.path.abspath(file))
    if not file.parent.is_dir():
        raise OutputError(f"{file.parent} is no directory", next_step="Make it, or mount what belongs there.")
    first, number = first_part(file)
    if number:
        raise BackupError(
            f"{file.name} is the name of a part of {first.name}; nothing was written",
            next_step=f"Name the backup, and what changed is added to it: {first.name}. Or give a new name.",
        )
    with staged(client.home) as stage, parts_in_files(file) if os.path.lexists(file) else _nothing(file) as parts:
        if len(parts) > MAX_INCREMENTS:
            raise BackupError(f"{file.name} has as many parts as it may", next_step="Begin another: give a new name.")
        target = part_path(file, len(parts))
        return _add(client, root, stage, parts, str(file), lambda sealed: _write(target, sealed), target)


@contextmanager
def _nothing(file: Path) -> Iterator[list[Part]]:
    if os.path.lexists(part_path(file, 1)):
        raise BackupError(
            f"{file.name} is missing, and {part_path(file, 1).name} needs it",
            next_step="Put it back, or begin another backup: give a new name.",
        )
    yield []


def back_up_to_vault(client: "OpenedClient", root: RootKey, *, fresh: bool) -> BackupReport:
    """Back up a home to the vault; see `Client.backup_to_vault`."""
    shelf = VaultShelf(client.relay(), client.client_id, root)
    with staged(client.home) as stage:
        newest = shelf.newest()
        known, at = backuprecords.newest_at_vault(client.database, root.key_id)
        if newest < known and not fresh:
            raise BackupError(
                f"the vault took {known} backups and shows {newest}: it was put back to an older state, or hides some",
                next_step=_ASK_VENDOR,
            )
        if newest < known:
            backuprecords.lower(client.database, root.key_id, newest)
        parts = [] if fresh or not newest else shelf.parts(newest)
        if parts and at is not None and (shown := shelf.header(parts[-1]).at) < at:
            raise BackupError(
                f"the vault took a backup of {at.isoformat()} and shows one of {shown.isoformat()} as the newest",
                next_step=_ASK_VENDOR,
            )
        if len(parts) > MAX_INCREMENTS or sum(part.size for part in parts[1:]) > sum(part.size for part in parts[:1]):
            parts = []
        return _add(
            client, root, stage, parts, client.vault, lambda sealed: shelf.store(newest + 1, sealed), None, newest + 1
        )


def _add(
    client: "OpenedClient",
    root: RootKey,
    stage: Path,
    parts: Sequence[Part],
    place: str,
    write: Callable[[SealedBackup], None],
    file: Path | None,
    version: int | None = None,
) -> BackupReport:
    """Write the next part of a backup: whole if there is none yet."""
    for part in parts:
        if part.client != client.client_id:
            raise BackupError(f"{part.name} is of another client, or altered", next_step="Give another name.")
    older = stage / OLDER
    before = assemble(parts, root, older, with_files=False) if parts else None
    chain = random_bytes(ID_BYTES) if before is None else before.chain
    at = client.now()
    # On record first: a project's keys may be in it from here on.
    backuprecords.begin(client.database, chain, place, root.key_id, at)
    copy, keks, size = _copied(client, stage)
    header = BackupHeader(
        version=VERSION,
        client=client.client_id,
        root=root.key_id,
        chain=chain,
        number=len(parts),
        before=None if before is None else before.database,
        database=hash_database(copy),
        epoch=client.certificate.message.epoch,
        size=size,
        at=at,
    )
    there = [name for name in _SMALL if (client.home / name).is_file()]
    small = [(name, read_private(client.home / name, _MAX_SMALL_BYTES)) for name in there]
    with client.database.transaction():
        client.check_root()
    name, content = (DATABASE, copy) if before is None else (CHANGES, _changes(older / DATABASE, copy, stage))
    with content.open("rb") as stream:
        members = [Member(each, len(data), BytesIO(data)) for each, data in [*small, *keks]]
        members.append(Member(name, os.fstat(stream.fileno()).st_size, stream))
        sealed = SealedBackup(header, members, root)
        write(sealed)
    backuprecords.finish(client.database, chain, at, version)
    return BackupReport(
        at=at,
        epoch=header.epoch,
        size=size,
        number=header.number,
        written_bytes=sealed.size,
        has_identity=IDENTITY in there,
        file=file,
        version=version,
    )


def _changes(older: Path, newer: Path, stage: Path) -> Path:
    target = stage / CHANGES
    with older.open("rb") as before, newer.open("rb") as after, os.fdopen(os.open(target, _CREATE, 0o600), "wb") as out:
        write_changes(before, after, out)
    return target


def _copied(
    client: "OpenedClient", stage: Path, attempts: int = _ATTEMPTS
) -> tuple[Path, list[tuple[str, bytes]], int]:
    """Return a copy of the database, the KEK files that it names, and how long its newest ledger is."""
    copy = stage / f"{attempts}.db"
    client.database.snapshot(copy)
    try:
        return copy, *_read_keks(client, copy)
    except KeystoreError:
        if attempts == 1:
            raise
    # A rotation may have destroyed a KEK since: the next copy names the new one.
    copy.unlink()
    return _copied(client, stage, attempts - 1)


def _read_keks(client: "OpenedClient", copy: Path) -> tuple[list[_File], int]:
    """Return the KEK files that a copy of the database needs, each tried, and how long its newest ledger is."""
    with closing(Database(copy, CLIENT_SCHEMA)) as database:
        rows = database.rows(
            "SELECT project, kek_id, kek_generation FROM projects WHERE shredded_ms IS NULL UNION"
            " SELECT i.project, v.kek_id, v.kek_generation FROM versions v JOIN items i ON i.item = v.item"
            " JOIN projects p ON p.project = i.project WHERE p.shredded_ms IS NULL AND v.wrapped != x''"
        )
        size = Log(database, client.client_id, client.certificate.message.epoch).size()
    found = []
    for project, kek_id, generation in rows:
        client.keks.load(bytes(project), bytes(kek_id), generation)
        path = client.keks.path(bytes(kek_id), generation)
        found.append((f"{KEK_FOLDER}/{path.name}", read_private(path, _MAX_SMALL_BYTES)))
    return found, size


def _write(file: Path, backup: SealedBackup) -> None:
    """Write beside, flush, name: the file is whole or not there."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()  # What a killed run left.
        try:
            with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as stream:
                stream.write(backup.front)
                stream.writelines(backup)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, file)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        flush_dir(file.parent)
    except OSError as error:
        raise OutputError(f"{file} can't be written: {error.strerror}") from error
