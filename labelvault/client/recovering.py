"""Bringing a home back from its backup, under a new ledger epoch (docs/spec.md, section 8.7).

The whole home is made beside its place and gets its name in one step. What happened after the backup is unknown: so
nothing of before is answered any more. The issuer's key is new, which ends every grant at once; a later copy of the old
ledger can be merged, and what it leaves open is stated as unknown.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.client.backup import CONFIG, DATABASE, IDENTITY, parse_locator
from labelvault.client.backupfile import BackupHeader, OpenedBackup, check_root, read_front
from labelvault.client.home import CERTIFICATE_LIFETIME, read_vault_address
from labelvault.client.ledgers import known_ledgers, verify_ledgers
from labelvault.client.records import RestoreReport
from labelvault.client.rerooting import KEK_FOLDER
from labelvault.crypto.random import random_bytes
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.errors import BackupError, ClockError, KeystoreError, NotFoundError, OutputError
from labelvault.issuer.authorize import CLOCK_SKEW
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.keys.identity import load_signing_key, store_signing_key
from labelvault.keys.root import FILE_NAME, RootKey, RootKeyProvider
from labelvault.keys.token import TOKEN_FILE
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Certified, Restored
from labelvault.ledger.tree import root
from labelvault.relay import Relay, open_relay
from labelvault.relay.local import utc_now
from labelvault.wire.frame import open_frame, sign_message
from labelvault.wire.ids import ID_BYTES, client_id
from labelvault.wire.messages import Grant, IssuerCertificate
from labelvault.wire.times import from_ms, to_ms, truncate

_KEK: Final = re.compile(rf"{KEK_FOLDER}/[0-9a-f]{{32}}\.[1-9][0-9]{{0,9}}\.kek")
_MAX_KEY_BYTES: Final = 4096
VERSION_STEP_BITS: Final = 16
"""Versions that are sealed after a restore go on from the next multiple of 65,536: the vault holds what
was sealed in the time that is lost."""
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is there to be read: a file, or what the vault keeps.

    Attributes:
        read: (offset, length) → exactly so many bytes of the sealed part.
        size: of it.
        client: whose it is; of a file, whose it says to be.
        header: what a file says in front; None at the vault.
    """

    read: Callable[[int, int], bytes]
    size: int
    client: bytes
    header: BackupHeader | None


@contextmanager
def backup_in_file(file: Path) -> Iterator[Backup]:
    """Lend the backup in a file.

    Raises:
        BackupError: it is none, or can't be read.
    """
    try:
        with file.open("rb", buffering=0) as stream:
            descriptor, size = stream.fileno(), os.fstat(stream.fileno()).st_size

            def read(offset: int, length: int) -> bytes:
                return _whole(os.pread(descriptor, length, offset), length)

            header, start = read_front(read, size)
            yield Backup(lambda offset, length: read(start + offset, length), size - start, header.client, header)
    except OSError as error:
        raise BackupError(f"{file} can't be read: {error.strerror}") from error


def backup_at_vault(relay: Relay, locator: str) -> Backup:
    """Return the backup that a vault keeps.

    Raises:
        BackupError: the vault has nothing there.
        RelayError: it can't be reached.
    """
    client, item = parse_locator(locator)

    def read(offset: int, length: int) -> bytes:
        return _whole(relay.read_item(client, item, 1, offset, length).data, length)

    try:
        size = relay.read_item(client, item, 1, 0, 1).size
    except NotFoundError as error:
        raise BackupError("the vault has no backup there", next_step="Check locator and --vault.") from error
    return Backup(read, size, client, None)


def _whole(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise BackupError("the backup is truncated", next_step="Take another copy of it.")
    return data


def restore(
    home: Path,
    root_key: RootKeyProvider,
    backup: Path | str,
    *,
    keystore: Path | None = None,
    identity: Path | None = None,
    vault: str | None = None,
    token: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> RestoreReport:
    """Bring a home back from a backup, under a new ledger epoch, whole or not at all; then open it as any other.

    Nothing of before is answered any more: no request, no prekey, no stored answer. Every grant has ended, since the
    issuer's key is new; spent one-time keys stay spent. What was released, revoked or sealed between backup and restore
    is unknown here.

    Args:
        home: a directory that is made; it must not be there.
        root_key: opens the client's root key.
        backup: the file, or the locator of a backup that lies at the vault.
        keystore: the copy of `root.keystore`, where the root key is in one.
        identity: the copy of `identity.key`, where it is kept offline.
        vault: the vault's address, if it is another by now; needed with a locator.
        token: what an HTTP vault knows us by, with a locator.
        clock: says the time, aware UTC.

    Raises:
        BackupError: truncated, altered, no backup, or another client's.
        KeystoreError: or one of its kinds: something has this home's name; the keystore is another's, the passphrase
            wrong, or the identity key missing.
        ClockError: this machine's clock is behind the backup's time.
        RelayError: the vault can't be reached.
        OutputError: the file system refused.
    """
    home = Path(home)
    if os.path.lexists(home):
        raise KeystoreError(
            f"{home} is there already; nothing was changed", next_step="Restore into a new directory: --home DIR."
        )
    if vault is None and isinstance(backup, str):
        raise BackupError("a backup at the vault needs the vault's address", next_step="Give --vault URL.")
    with _staged(home) as stage, ExitStack() as lent:
        if isinstance(backup, str):
            source = backup_at_vault(lent.enter_context(closing(open_relay(vault or "", token=token))), backup)
        else:
            source = lent.enter_context(backup_in_file(Path(backup)))
        if keystore is not None:
            write_private(stage / FILE_NAME, read_private(keystore, _MAX_KEY_BYTES), replace=False)
        opened_root = root_key.open(stage)
        if source.header is not None:
            check_root(source.header, opened_root)
        header = _unpack(source, opened_root, stage)
        if identity is not None:
            write_private(stage / IDENTITY, read_private(identity, _MAX_KEY_BYTES), replace=True)
        if vault is not None:
            write_private(stage / CONFIG, json.dumps({"vault": vault}).encode(), replace=True)
        read_vault_address(stage)
        report = _certify(stage, opened_root, header, truncate(clock()))
        _sync(stage)
        os.rename(stage, home)
        _sync_directory(home.parent)
    return report


@contextmanager
def _staged(home: Path) -> Iterator[Path]:
    """Lend a private directory beside a home's place; what is left of it in the end is removed."""
    if not home.parent.is_dir():
        make_private_dir(home.parent)
    stage = home.parent / f".{home.name}.{random_bytes(8).hex()}.tmp"
    leftover = re.compile(rf"\.{re.escape(home.name)}\.[0-9a-f]{{16}}\.tmp")
    try:
        for path in home.parent.iterdir():
            if leftover.fullmatch(path.name):
                with _held(path) as abandoned:
                    if abandoned:
                        shutil.rmtree(path, ignore_errors=True)
        make_private_dir(stage)
        with _held(stage):
            yield stage
    except OSError as error:
        raise OutputError(f"{home} can't be made: {error.strerror}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _held(stage: Path) -> Iterator[bool]:
    """Hold a staging directory, and say whether nobody else did: a killed process holds nothing."""
    descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _unpack(backup: Backup, opened_root: RootKey, stage: Path) -> BackupHeader:
    """Write the files of a backup; its header is what was sealed."""
    opened = OpenedBackup(backup.read, backup.size, opened_root, backup.client)
    if backup.header is not None and backup.header != opened.header:
        raise BackupError("what stands in front of the backup is not what was sealed")
    make_private_dir(stage / KEK_FOLDER)
    names: set[str] = set()
    for member, pieces in opened.members():
        if member.name in names or not _is_known(member.name):
            raise BackupError("the backup holds a file that no home of this version has")
        names.add(member.name)
        descriptor = os.open(stage / member.name, _CREATE, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(descriptor)
    if not {DATABASE, CONFIG} <= names:
        raise BackupError("the backup lacks a file that every home has")
    return opened.header


def _is_known(name: str) -> bool:
    return name in (DATABASE, CONFIG, IDENTITY, TOKEN_FILE) or _KEK.fullmatch(name) is not None


def _certify(stage: Path, opened_root: RootKey, header: BackupHeader, reading: datetime) -> RestoreReport:
    """Begin a new epoch in the database that came back, under a new issuer key that the identity key certifies."""
    if not (stage / IDENTITY).is_file():
        raise KeystoreError(
            "the identity key is not in this backup", next_step="Give the copy that is kept offline: --identity FILE."
        )
    identity = load_signing_key(stage / IDENTITY, opened_root, "client-identity", header.client)
    issuer = SigningKey.generate()
    with closing(Database(stage / DATABASE, CLIENT_SCHEMA)) as database:
        if database.meta("identity_key") != identity.public_key or client_id(identity.public_key) != header.client:
            raise BackupError("the parts of this backup belong to different clients")
        ledgers = known_ledgers(database, identity.public_key)
        old = ledgers[-1]
        if verify_ledgers(ledgers, None).size != header.size or old.log.epoch != header.epoch:
            raise BackupError("the backup holds another ledger than it says")
        now = _now(database, reading)
        # By the clock, so that two restores of one backup don't use one number twice.
        serial = max(old.certificate.message.serial + 1, to_ms(now) // 1000)
        certificate = sign_message(
            IssuerCertificate(
                client=header.client,
                issuer=issuer.public_key,
                serial=serial,
                epoch=random_bytes(ID_BYTES),
                not_before=now,
                expires_at=now + CERTIFICATE_LIFETIME,
                at=now,
            ),
            identity,
        )
        message = certificate.message
        backup_at = max(entry.at for entry in old.log.entries())
        log = Log(database, header.client, message.epoch)
        with database.transaction():
            database.execute("INSERT INTO certificates VALUES (?, ?)", serial, certificate.data)
            log.append(Certified(now, issuer.public_key, serial, certificate.hash, message.epoch))
            old_root = root(header.size, old.log.read_node)
            log.append(Restored(now, old.log.epoch, header.size, old_root, min(backup_at, now)))
            log.sign(issuer_key_name(header.client), issuer)
            _close_the_past(database, now)
        report = _report(database, header, message, min(backup_at, now), old.certificate.message.issuer)
    store_signing_key(stage / "issuer.key", issuer, opened_root, "issuer", header.client)
    return report


def _now(database: Database, reading: datetime) -> datetime:
    high = from_ms(int.from_bytes(database.meta("clock_ms") or b"", "big"))
    if reading < high - CLOCK_SKEW:
        raise ClockError(f"the clock says {reading.isoformat()}, but the backup is of {high.isoformat()}")
    return max(reading, high)


def _close_the_past(database: Database, now: datetime) -> None:
    """Let nothing that was asked or given before be answered again; spent keys stay spent."""
    database.set_meta("clock_ms", to_ms(now).to_bytes(8, "big"))
    database.set_meta("accept_from_ms", to_ms(now + CLOCK_SKEW).to_bytes(8, "big"))
    # The rows stay, so that a replay is told from a fresh request; their leases may have been closed or revoked since.
    database.execute("UPDATE answers SET answer = NULL")
    database.execute("DELETE FROM prekey_bundles")
    database.execute(
        "INSERT INTO versions SELECT item, ((max(version) >> ?1) + 1) << ?1, x'', 0, x'', kek_id, kek_generation, x'',"
        " x'', ?2 FROM versions GROUP BY item",
        VERSION_STEP_BITS,
        to_ms(now),
    )


def _report(
    database: Database, header: BackupHeader, message: IssuerCertificate, backup_at: datetime, old_issuer: bytes
) -> RestoreReport:
    identity_key = database.meta("identity_key") or b""
    rows = database.rows(
        "SELECT g.frame FROM grants g JOIN contractors c ON c.key = g.contractor"
        " WHERE coalesce(g.revoked_ms, c.revoked_ms) IS NULL"
    )
    grants = [open_frame(bytes(frame), Grant, identity_key).message for (frame,) in rows]
    contractors = database.rows("SELECT name FROM contractors WHERE revoked_ms IS NULL ORDER BY name")
    closed = database.rows("SELECT name FROM projects WHERE frozen = 1 OR revoked_ms IS NOT NULL ORDER BY name")
    return RestoreReport(
        client=header.client,
        backup_at=backup_at,
        restored_at=message.at,
        accept_from=message.at + CLOCK_SKEW,
        epoch=message.epoch,
        serial=message.serial,
        known=header.size,
        grants=sum(grant.issuer == old_issuer and grant.expires_at > message.at for grant in grants),
        contractors=tuple(str(name) for (name,) in contractors),
        frozen=tuple(str(name) for (name,) in closed),
    )


def _sync(stage: Path) -> None:
    """Flush the database, which SQLite wrote last, and the directories."""
    descriptor = os.open(stage / DATABASE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for directory in (stage / KEK_FOLDER, stage):
        _sync_directory(directory)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
