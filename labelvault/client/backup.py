"""Making a backup of a home, while its issuer and whoever seals go on (docs/spec.md, section 8.7).

`client.db` is copied by SQLite in one read transaction, then the KEKs that this copy names are read, and tried. The
root key's own file is never in it: whoever has both, and guesses the passphrase, has everything.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labelvault.client.backupfile import VERSION, BackupHeader, Member, SealedBackup
from labelvault.client.records import BackupReport
from labelvault.client.rerooting import KEK_FOLDER
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.errors import BackupError, KeystoreError, OutputError, StoreError
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import make_private_dir, read_private, write_all
from labelvault.keys.root import RootKey
from labelvault.keys.token import TOKEN_FILE
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, LEAF_BYTES, ItemHeader

if TYPE_CHECKING:
    from labelvault.client.opened import OpenedClient

DATABASE: Final = "client.db"
IDENTITY: Final = "identity.key"
CONFIG: Final = "config.json"
_SMALL: Final = (CONFIG, TOKEN_FILE, IDENTITY)
_MAX_SMALL_BYTES: Final = 8192
_STAGE: Final = ".backup.tmp"
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS: Final = 3
_File = tuple[str, bytes]


def back_up(client: "OpenedClient", root: RootKey, file: Path | None, *, to_vault: bool) -> BackupReport:
    """Back up a home, while its issuer and whoever seals go on; each time all of it.

    In it are catalog, grants, counters and ledgers, the wrapped KEKs, the vault's address and token, and the identity
    key if it is here: sealed under the root key. The root key itself is not: copy `root.keystore` apart, never to the
    vault. Nor is the issuer's key, which a restore makes anew.

    Args:
        client: an open home.
        root: its root key.
        file: a new file; whole or not there.
        to_vault: store it at the vault, as an item that no queue names.

    Raises:
        BackupError: neither is asked for, or another backup of this home is being made.
        OutputError: the file is there already, or can't be written.
        KeystoreError: a KEK does not open.
        StoreError, RelayError: `client.db` or the vault refused.
    """
    if file is None and not to_vault:
        raise BackupError("a backup goes into a file or to the vault", next_step="Give -o FILE, or --to-vault.")
    if file is not None and os.path.lexists(file):
        raise OutputError(f"{file} is there already and is not overwritten", next_step="Give each backup its own name.")
    with _prepared(client, root) as (header, members):
        if file is not None:
            _write(file, SealedBackup(header, members, root))
        locator = None
        if to_vault:
            locator = _store(client, SealedBackup(header, members, root))
    names = {member.name for member in members}
    return BackupReport(
        header.at, header.epoch, header.size, sum(each.size for each in members), IDENTITY in names, file, locator
    )


@contextmanager
def _prepared(client: "OpenedClient", root: RootKey) -> Iterator[tuple[BackupHeader, list[Member]]]:
    """Lend a consistent state: a copy of the database, and the files that belong to it."""
    with _staged(client.home) as stage:
        at = client.now()
        copy, keks, size = _copied(client, stage)
        header = BackupHeader(VERSION, client.client_id, root.key_id, client.certificate.message.epoch, size, at)
        there = [name for name in _SMALL if (client.home / name).is_file()]
        small = [(name, read_private(client.home / name, _MAX_SMALL_BYTES)) for name in there]
        with client.database.transaction():
            client.check_root()
        with copy.open("rb") as database:
            members = [Member(name, len(data), BytesIO(data)) for name, data in [*small, *keks]]
            yield header, [*members, Member(DATABASE, os.fstat(database.fileno()).st_size, database)]


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


@contextmanager
def _staged(home: Path) -> Iterator[Path]:
    """Lend a private directory in a home, to one backup at a time; what a killed one left is removed first."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError(
                "another backup of this home is being made", next_step="Wait until it is done."
            ) from error
        stage = home / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        make_private_dir(stage)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        os.close(descriptor)


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
    temporary = file.parent / f".{file.name}.{random_bytes(8).hex()}.tmp"
    try:
        descriptor = os.open(temporary, _CREATE, 0o600)
        try:
            write_all(descriptor, backup.front)
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                for piece in backup:
                    stream.write(piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, file)
        parent = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise OutputError(f"{file} can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _store(client: "OpenedClient", backup: SealedBackup) -> str:
    """Store the sealed part as an item of random ids that no queue names; return where."""
    header = ItemHeader(ITEM_FORMAT, client.client_id, random_bytes(ID_BYTES), random_bytes(ID_BYTES), 1)
    try:
        client.relay().put_stream(header.encode(), backup.size, _leaves(backup), None)
    except OSError as error:
        raise StoreError(f"the copy of the database can't be read: {error.strerror}") from error
    return locator_of(header.client, header.item)


def _leaves(pieces: SealedBackup) -> Iterator[bytes]:
    ready = bytearray()
    for piece in pieces:
        ready += piece
        while len(ready) >= LEAF_BYTES:
            yield bytes(ready[:LEAF_BYTES])
            del ready[:LEAF_BYTES]
    if ready:
        yield bytes(ready)


def locator_of(client: bytes, item: bytes) -> str:
    """Return what a backup at the vault is found by; no secret."""
    return f"{client.hex()}-{item.hex()}"


def parse_locator(locator: str) -> tuple[bytes, bytes]:
    """Return client id and item id of a locator.

    Raises:
        BackupError: it is none.
    """
    client, _, item = locator.strip().partition("-")
    try:
        found = bytes.fromhex(client), bytes.fromhex(item)
    except ValueError:
        found = b"", b""
    if locator_of(*found) != locator.strip() or (len(found[0]), len(found[1])) != (32, ID_BYTES):
        raise BackupError("this is no locator", next_step="Give what client backup --to-vault printed, as a whole.")
    return found
