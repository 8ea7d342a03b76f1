"""What the facade hands out about backups, restores and copies of the ledger: plain values, without keys."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was made, or added to.

    Attributes:
        at: the state that it holds: the issuer's time.
        epoch: of the ledger that was written then, 16 bytes.
        size: how many entries that ledger had.
        number: 0 for a whole backup; else which increment of it this is.
        written_bytes: what it takes, padding included.
        has_identity: whether the identity key is in it; it is not where it is kept offline.
        file: what was written, if it went into a file.
        version: which of the client's backups at the vault it is, if it went there.
    """

    at: datetime
    epoch: bytes
    size: int
    number: int
    written_bytes: int
    has_identity: bool
    file: Path | None
    version: int | None


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """A backup that a home knows of. Where it is by now, and whether it still is, nobody here can know.

    Attributes:
        place: where it was written: a path, or the vault's address.
        root: id of the root key that opens it, 16 bytes.
        begun_at: its oldest part's time.
        newest_at: its newest part's time, also of one that was not finished.
        done_at: its newest finished part's time; None if none was.
        version: of its newest part, if it is at the vault.
    """

    place: str
    root: bytes
    begun_at: datetime
    newest_at: datetime
    done_at: datetime | None
    version: int | None


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """Where a copy of the ledger is kept.

    Attributes:
        folder: the directory.
        policy: `closed`: nothing leaves that is not in it; or `best-effort`.
        behind: how many entries it lacks; None if it can't be kept now.
        fault: why it can't be.
    """

    folder: Path
    policy: str
    behind: int | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup that a vault shows.

    Attributes:
        version: its number there.
        sealed_bytes: its size, padded; 0 if the vault does not show it.
        at: the state that it holds; None, as all below, if it does not open.
        number: 0 for a whole one; else it needs so many before it.
        epoch: of the ledger that was written then, 16 bytes.
        size: how many entries that ledger had.
    """

    version: int
    sealed_bytes: int
    at: datetime | None
    number: int | None
    epoch: bytes | None
    size: int | None


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """A home that was restored.

    Attributes:
        client: its id, 32 bytes.
        made_at: the state that the backup held.
        parts: how many parts it was put together from.
        version: which of the vault's backups it was, if it came from there.
        backup_at: the time of the last ledger entry that is known.
        restored_at: from then on the new ledger tells. What was released between the two is unknown.
        accept_from: no request that is dated earlier is answered.
        epoch: of the new ledger, 16 bytes.
        serial: of the issuer's new certificate.
        known: entries of the old ledger that are known.
        grants: how many grants were valid then; none is any more.
        contractors: names of the contractors that were enrolled and not revoked then.
        frozen: names of the projects that were frozen or revoked then, and still are.
        merged: entries that a later copy of the old ledger added.
        complete: whether that copy has all that left the lost home; then nothing is unknown.
        lost_versions: item versions that it says were sealed since; no key of them is left.
        lost_contractors: how many it says were enrolled since; the backup does not know them.
    """

    client: bytes
    made_at: datetime
    parts: int
    version: int | None
    backup_at: datetime
    restored_at: datetime
    accept_from: datetime
    epoch: bytes
    serial: int
    known: int
    grants: int
    contractors: tuple[str, ...]
    frozen: tuple[str, ...]
    merged: int
    complete: bool
    lost_versions: int
    lost_contractors: int
