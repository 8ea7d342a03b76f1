"""Is a client's home in order? Every look says what it found and how to mend it; nothing is changed.

Most needs no passphrase: what is encrypted is only looked at from outside then.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from labelvault.client.backuprecords import backups
from labelvault.client.client import Client
from labelvault.client.home import read_vault_address
from labelvault.client.ledgers import known_ledgers, verify_ledgers
from labelvault.client.queries import grants
from labelvault.client.replicating import ledger_copy
from labelvault.database import Database
from labelvault.errors import LabelVaultError
from labelvault.health import Check, guarded, ok, problem, warning
from labelvault.health.machine import machine
from labelvault.health.places import private, room
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.doctor import hybrid_kem, key_file, opens, reach
from labelvault.keys.root import FILE_NAME, RootKeyProvider
from labelvault.wire.frame import open_frame
from labelvault.wire.ids import client_id, issuer_mailbox
from labelvault.wire.messages import IssuerCertificate
from labelvault.wire.times import from_ms, to_ms, truncate

_SOON: Final = timedelta(days=30)
_OLD_BACKUP: Final = timedelta(days=7)
_BACK_UP: Final = "Run labelvault client backup FILE, as often as you can bear to lose what comes after."
_RESTORE: Final = "Restore the home from its backup, into a new directory: labelvault client restore FILE."


def examine_client(home: Path, now: datetime, root: RootKeyProvider | None = None) -> list[Check]:
    """Look at a client's home, its machine and its way to the vault.

    Args:
        home: the client's.
        now: what this machine's clock says, aware UTC.
        root: opens the keys too, which takes the passphrase; without it they are only looked at from outside.
    """
    home, now = Path(home), truncate(now)
    if not (home / "client.db").is_file():
        what = "has no client.db" if home.is_dir() else "is missing"
        mend = "Give --home DIR if it is elsewhere, or make one: labelvault client init --vault URL."
        return [*machine(now, None), hybrid_kem(), problem("home", f"{home} {what}", mend)]
    try:
        database = Database(home / "client.db", CLIENT_SCHEMA)
    except LabelVaultError as error:
        return [*machine(now, None), hybrid_kem(), problem("client.db", str(error), error.next_step or _RESTORE)]
    with closing(database):
        seen = database.meta("clock_ms")
        checks = machine(now, from_ms(int.from_bytes(seen, "big")) if seen is not None else None)
        checks += [hybrid_kem(), private("home", home), room(home), key_file(home / FILE_NAME, "root")]
        checks += _home(home, database, now)
    if root is not None:
        checks += _keys(home, root)
    return checks


def _home(home: Path, database: Database, now: datetime) -> Iterator[Check]:
    identity_key = database.meta("identity_key")
    if identity_key is None:
        yield problem("client.db", "it is unfinished: init was interrupted", "Remove the home and run init again.")
        return
    if not (home / "identity.key").is_file():
        yield warning(
            "identity.key", "it is not here (kept offline?)", "Bring it back for grants and invites, which it signs."
        )
    yield guarded("vault", lambda: reach(home, read_vault_address(home), issuer_mailbox(client_id(identity_key))), "")
    try:
        frame = database.scalar("SELECT frame FROM certificates ORDER BY serial DESC LIMIT 1")
        certificate = open_frame(bytes(frame), IssuerCertificate, identity_key).message
    except LabelVaultError as error:
        yield problem("certificate", str(error), _RESTORE)
        return
    yield _certificate(certificate, now)
    yield guarded("ledger", lambda: _ledger(database, identity_key), "Don't rely on it; compare an older export.")
    yield guarded("grants", lambda: _grants(database, identity_key, certificate.issuer, now), _RESTORE)
    yield from _projects(database)
    yield _leases(database, now)
    yield _backup(database, now)
    log = Log(database, certificate.client, certificate.epoch)
    yield guarded("ledger copy", lambda: _ledger_copy(database, log), "See labelvault client ledger replicate.")


def _certificate(certificate: IssuerCertificate, now: datetime) -> Check:
    left = certificate.expires_at - now
    text = f"the issuer's certificate {certificate.serial} ends {certificate.expires_at:%Y-%m-%d}"
    mend = "Plan for a new home before then: this version does not renew certificates."
    if left <= timedelta(0):
        return problem("certificate", text, "Nothing is released any more; make a new home and enrol anew.")
    return warning("certificate", text, mend) if left < _SOON else ok("certificate", text)


def _ledger(database: Database, identity_key: bytes) -> Check:
    summary = verify_ledgers(known_ledgers(database, identity_key), None)
    older = f"; {len(summary.before)} older ledgers, of before restores, hold too" if summary.before else ""
    return ok("ledger", f"{summary.size} entries, as the newest checkpoint says{older}")


def _grants(database: Database, identity_key: bytes, issuer: bytes, now: datetime) -> Check:
    found = grants(database, identity_key, issuer, None, now)
    valid = [each for each in found if not each.revoked and each.not_before <= now < each.expires_at]
    return ok("grants", f"{len(valid)} of {len(found)} are valid now")


def _projects(database: Database) -> Iterator[Check]:
    for (name,) in database.rows("SELECT name FROM projects WHERE frozen = 1 ORDER BY name"):
        yield warning("projects", f"{name!r} is frozen: nothing of it is released", "See labelvault client unfreeze.")


def _leases(database: Database, now: datetime) -> Check:
    live, silent = database.rows(
        "SELECT coalesce(sum(slot_ended_ms IS NULL AND expires_ms > ?), 0),"
        " coalesce(sum(slot_ended_ms IS NULL AND expires_ms <= ?), 0) FROM leases",
        to_ms(now),
        to_ms(now),
    )[0]
    if silent:
        return warning(
            "leases",
            f"{live} are open; {silent} ended without a receipt: the ledger states them as erasure unconfirmed",
            "Have the contractors run labelvault contractor doctor.",
        )
    return ok("leases", f"{live} are open; every other was closed by a receipt")


def _backup(database: Database, now: datetime) -> Check:
    finished = [(each.done_at, each.place) for each in backups(database) if each.done_at is not None]
    if not finished:
        return warning("backup", "there is none: a lost home comes back from nothing else", _BACK_UP)
    at, place = max(finished)
    text = f"the newest is of {at:%Y-%m-%d %H:%M} UTC, at {place}"
    return ok("backup", text) if now - at < _OLD_BACKUP else warning("backup", text, _BACK_UP)


def _ledger_copy(database: Database, log: Log) -> Check:
    copy = ledger_copy(database, log)
    if copy is None:
        return ok("ledger copy", "none is kept: after a restore, what came after the backup is unknown")
    if copy.fault is not None:
        mend = "Mend or mount it, or keep a new one: labelvault client ledger replicate DIR."
        if copy.policy == "closed":
            mend += " Until then nothing is released."
        return problem("ledger copy", copy.fault, mend)
    text = f"in {copy.folder}, {copy.policy}, lacks {copy.behind} entries"
    mend = "The next commit writes them. Was an issuer stopped in between?"
    return warning("ledger copy", text, mend) if copy.behind else ok("ledger copy", text)


def _keys(home: Path, root: RootKeyProvider) -> Iterator[Check]:
    try:
        with Client.open(home, root) as client:
            if (home / "identity.key").is_file():
                client.identity()
            rows = client.database.rows(
                "SELECT project, kek_id, kek_generation FROM projects WHERE shredded_ms IS NULL"
            )
            for project, kek_id, generation in rows:
                client.keks.load(bytes(project), bytes(kek_id), generation)
    except LabelVaultError as error:
        yield opens("keys", error)
        return
    yield ok("keys", f"the passphrase opens the root key, and it the issuer's and those of {len(rows)} projects")
