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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from labelvault.client import backuprecords
from labelvault.client.backup_records import RestoreReport, StoredBackup
from labelvault.client.backupchain import CONFIG, DATABASE, IDENTITY, VaultShelf, assemble, parts_in_files
from labelvault.client.backupfile import BackupHeader
from labelvault.client.home import CERTIFICATE_LIFETIME, read_vault_address
from labelvault.client.ledgers import known_ledgers, verify_ledgers
from labelvault.client.merging import known_until, merge_ledger
from labelvault.client.rerooting import KEK_FOLDER
from labelvault.client.shredding import shred
from labelvault.crypto.random import random_bytes
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.errors import BackupError, ClockError, ForkError, KeystoreError, OutputError
from labelvault.issuer.authorize import CLOCK_SKEW
from labelvault.issuer.log import Log
from labelvault.issuer.replica import set_replica
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys import quorum
from labelvault.keys.files import flush_dir, make_private_dir, read_private, write_private
from labelvault.keys.identity import load_signing_key, store_signing_key
from labelvault.keys.kek import KekFiles
from labelvault.keys.root import FILE_NAME, PassphraseRoot, RootKey, RootKeyProvider
from labelvault.ledger.checkpoint import claimed_checkpoint, issuer_key_name
from labelvault.ledger.entries import Certified, Entry, Restored
from labelvault.ledger.tree import root
from labelvault.relay import open_relay
from labelvault.relay.local import utc_now
from labelvault.wire.frame import open_frame, sign_message
from labelvault.wire.ids import ID_BYTES, client_id
from labelvault.wire.messages import Grant, IssuerCertificate
from labelvault.wire.times import from_ms, to_ms, truncate

_MAX_KEY_BYTES: Final = 4096
VERSION_STEP_BITS: Final = 16
"""Versions that are sealed after a restore go on from the next multiple of 65,536: the vault holds what
was sealed in the time that is lost."""


@dataclass(frozen=True, slots=True)
class AtVault:
    """A backup that lies at a vault.

    Attributes:
        client: whose it is: the client's id, 32 bytes.
        vault: the vault's address.
        token: what an HTTP vault knows the client by.
        version: which of those that the vault shows; None for the newest.
    """

    client: bytes
    vault: str
    token: str | None = field(default=None, repr=False)
    version: int | None = None


def backups_at_vault(place: AtVault, root_key: RootKeyProvider, keystore: Path | None = None) -> list[StoredBackup]:
    """List what a vault shows of a client's backups under one root key, newest first. It may hide newer ones.

    Args:
        place: where; its version is not looked at.
        root_key: opens the client's root key.
        keystore: the copy of `root.keystore`, where the root key is in one.

    Raises:
        KeystoreError: or one of its kinds, as to why the root key does not open.
        RelayError: the vault can't be reached.
    """
    with TemporaryDirectory() as folder, closing(open_relay(place.vault, token=place.token)) as relay:
        shelf = VaultShelf(relay, place.client, _opened_root(Path(folder), root_key, keystore))
        found = []
        for version in range(shelf.newest(), 0, -1):
            size = 0
            try:
                part = shelf.part(version)
                size = part.size
                header = shelf.header(part)
            except BackupError:
                found.append(StoredBackup(version, size, None, None, None, None))
            else:
                found.append(StoredBackup(version, size, header.at, header.number, header.epoch, header.size))
        return found


def restore(
    home: Path,
    root_key: RootKeyProvider,
    backup: Path | AtVault,
    *,
    keystore: Path | None = None,
    identity: Path | None = None,
    vault: str | None = None,
    ledger: Path | None = None,
    against: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> RestoreReport:
    """Bring a home back from a backup, under a new ledger epoch, whole or not at all; then open it as any other.

    Nothing of before is answered any more: no request, no prekey, no stored answer. Every grant has ended, since the
    issuer's key is new; spent one-time keys stay spent. What was released, revoked or sealed between backup and restore
    is unknown here.

    Args:
        home: a directory that is made; it must not be there.
        root_key: opens the client's root key.
        backup: its first file, for all parts that lie beside it; a later one's, for as far as that; or where it lies at
            a vault.
        keystore: the copy of `root.keystore`, where the root key is in one.
        identity: the copy of `identity.key`, where it is kept offline.
        vault: the vault's address, if it is another by now.
        ledger: a later copy of the lost home's ledger: the directory where it was kept, which ends that copy, so that
            the lost home lets nothing out any more; or a file, which leaves what came after it unknown.
        against: a signed checkpoint that somebody kept: a backup, with that copy, that does not reach it is refused.
        clock: says the time, aware UTC.

    Raises:
        BackupError: truncated, altered, incomplete, no backup, or another client's.
        LedgerError: the backup's ledger, or the later copy, does not hold together.
        ReplicaError: the later copy can't be ended.
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
    with _staged(home) as stage, ExitStack() as lent:
        opened_root = _opened_root(stage, root_key, keystore)
        version = None
        if isinstance(backup, AtVault):
            vault = vault or backup.vault
            relay = lent.enter_context(closing(open_relay(backup.vault, token=backup.token)))
            shelf = VaultShelf(relay, backup.client, opened_root)
            version = backup.version or shelf.newest()
            if not version:
                raise BackupError(
                    "the vault shows no backup of this client under this root key",
                    next_step="Check the client's id and --vault, and that this is the keystore of that time.",
                )
            parts, place = shelf.parts(version), backup.vault
        else:
            parts, place = lent.enter_context(parts_in_files(Path(backup))), os.path.abspath(backup)
        header = assemble(parts, opened_root, stage, with_files=True)
        if identity is not None:
            write_private(stage / IDENTITY, read_private(identity, _MAX_KEY_BYTES), replace=True)
        if vault is not None:
            write_private(stage / CONFIG, json.dumps({"vault": vault}).encode(), replace=True)
        read_vault_address(stage)
        report = _certify(stage, opened_root, header, truncate(clock()), ledger, against)
        with closing(Database(stage / DATABASE, CLIENT_SCHEMA)) as database:
            backuprecords.begin(database, header.chain, place, header.root, header.at)
            backuprecords.finish(database, header.chain, header.at, version)
        _sync(stage)
        os.rename(stage, home)
        flush_dir(home.parent)
    return replace(report, version=version)


def recover_root(shares: Sequence[str], file: Path, new: PassphraseRoot) -> bytes:
    """Put the root key together from its shares, and write a keystore that opens with a new passphrase.

    Args:
        shares: the texts, at least as many as are needed.
        file: a new file, for `restore` or in place of a home's `root.keystore`.
        new: the passphrase.

    Returns:
        The root key's id, 16 bytes.

    Raises:
        KeystoreError: or one of its kinds: shares that are damaged, too few or don't belong together; the file is there
            already, or can't be written.
    """
    root_key = quorum.recover_root(shares)
    new.keep(root_key, file)
    return root_key.key_id


def _opened_root(folder: Path, root_key: RootKeyProvider, keystore: Path | None) -> RootKey:
    """Put the keystore's copy where it belongs, and open it."""
    if keystore is not None:
        write_private(folder / FILE_NAME, read_private(keystore, _MAX_KEY_BYTES), replace=False)
    return root_key.open(folder)


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


def _certify(
    stage: Path,
    opened_root: RootKey,
    header: BackupHeader,
    reading: datetime,
    ledger: Path | None,
    against: str | None,
) -> RestoreReport:
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

        def check(export: bytes, added: Sequence[Entry]) -> None:
            # What refuses afterwards has ended the copy in vain.
            if against is not None and claimed_checkpoint(against).origin == old.log.origin:
                _check_reaches(lambda: old.verify(export, against))
            _now(database, reading, max((entry.at for entry in added), default=reading))

        merged = None if ledger is None else merge_ledger(database, old, ledger, check)
        _check_reaches(lambda: verify_ledgers(ledgers, against))
        now = _now(database, reading, old.log.reread(old.log.size()).latest or reading)
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
        log = Log(database, header.client, message.epoch)

        def record(entries: Sequence[Entry]) -> None:
            for entry in entries:
                log.append(entry)
            log.sign(issuer_key_name(header.client), issuer)

        size, until = old.log.size(), known_until(old, merged, now)
        with database.transaction():
            database.execute("INSERT INTO certificates VALUES (?, ?)", serial, certificate.data)
            record(
                [
                    Certified(now, issuer.public_key, serial, certificate.hash, message.epoch),
                    Restored(now, old.log.epoch, size, root(size, old.log.read_node), until),
                ]
            )
            _close_the_past(database, now)
            set_replica(database, None)
        keks = KekFiles(stage / KEK_FOLDER, opened_root, header.client)
        for project in merged.shredded if merged is not None else ():
            if database.row("SELECT 1 FROM projects WHERE project = ? AND shredded_ms IS NULL", project):
                shred(stage, database, keks, project, record, now)
        report = _report(database, header, message, until, old.certificate.message.issuer)
    store_signing_key(stage / "issuer.key", issuer, opened_root, "issuer", header.client)
    return replace(
        report,
        known=size,
        merged=0 if merged is None else merged.entries,
        complete=merged is not None and merged.complete,
        lost_versions=0 if merged is None else merged.sealed,
        lost_contractors=0 if merged is None else merged.unknown,
    )


def _check_reaches(verify: Callable[[], object]) -> None:
    """Verify ledgers, and that they reach a checkpoint that somebody kept."""
    try:
        verify()
    except ForkError as error:
        raise BackupError(
            f"the backup does not reach that checkpoint: {error}",
            next_step="Take a newer backup. Without --against this one is restored; what came after it is unknown.",
        ) from error


def _now(database: Database, reading: datetime, last: datetime) -> datetime:
    high = max(last, from_ms(int.from_bytes(database.meta("clock_ms") or b"", "big")))
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
        made_at=header.at,
        parts=header.number + 1,
        version=None,
        backup_at=backup_at,
        restored_at=message.at,
        accept_from=message.at + CLOCK_SKEW,
        epoch=message.epoch,
        serial=message.serial,
        known=header.size,
        grants=sum(grant.issuer == old_issuer and grant.expires_at > message.at for grant in grants),
        contractors=tuple(str(name) for (name,) in contractors),
        frozen=tuple(str(name) for (name,) in closed),
        merged=0,
        complete=False,
        lost_versions=0,
        lost_contractors=0,
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
        flush_dir(directory)
