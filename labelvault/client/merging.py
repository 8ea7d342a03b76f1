"""Taking a later copy of the lost home's ledger over into a home that is being restored (docs/spec.md, section 8.7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.client.ledgers import KnownLedger
from labelvault.database import Database
from labelvault.errors import BackupError, FormatError
from labelvault.issuer.replica import Replica, end_copy
from labelvault.issuer.state import set_frozen
from labelvault.ledger.entries import Dropped, Enrolled, Entry, Frozen, Revoked, Sealed, Shredded
from labelvault.ledger.export import MAX_EXPORT_BYTES, export_ledger
from labelvault.ledger.kept import KeptCopy, read_kept
from labelvault.ledger.tree import root, root_of_leaves
from labelvault.wire.times import to_ms

_REVOKED: Final = {
    "grant": ("grants", "grant_id"),
    "contractor": ("contractors", "key"),
    "batch": ("batches", "batch"),
    "project": ("projects", "project"),
}


@dataclass(frozen=True, slots=True)
class Merged:
    """What a later copy of the ledger added.

    Attributes:
        entries: how many.
        complete: nothing left the lost home that is not in it, and no other home took it over before.
        shredded: ids of projects that were shredded in that time, and have to be again.
        sealed: item versions that were sealed since: the backup has no keys of them.
        unknown: contractors that were enrolled since, and are not in the backup.
    """

    entries: int
    complete: bool
    shredded: tuple[bytes, ...]
    sealed: int
    unknown: int


def merge_ledger(
    database: Database, old: KnownLedger, place: Path, check: Callable[[bytes, Sequence[Entry]], None]
) -> Merged:
    """Add to the newest ledger of a backup what a later copy of it has, and act on what that says.

    Args:
        database: of the home that is being restored.
        old: its newest ledger, verified.
        place: the directory where the copy was kept, which is ended first: the lost home writes to it no more. Or a
            file with any copy or export, which says nothing of what came after it.
        check: called with the copy as an export, and with what it adds, before the copy is ended; refuses by raising.

    Raises:
        BackupError: it is no copy of this ledger, or older than the backup; its files are as they were.
        LedgerError, SignatureError: it does not hold together.
        ReplicaError: the directory's copy can't be ended.
    """
    kept = place.is_dir()
    file = Replica(place, "").file(old.log.epoch) if kept else place
    found = _read(file)
    check(export_ledger(found.entries, found.note), _checked(old, found))
    if kept:
        # From here on the lost home, should it live, is refused its copy, and lets nothing out.
        end_copy(file, "taken")
    copy = _read(file)
    added = _checked(old, copy)
    size = old.log.size()
    with database.erasing(), database.transaction():
        for data in copy.entries[size:]:
            old.log.append_raw(data)
        if added:
            old.log.keep_checkpoint(copy.note)
        for entry in added:
            _apply(database, entry)
    return Merged(
        entries=len(added),
        # Whoever took it over before may have lived since, with a ledger of his own.
        complete=kept and copy.complete and found.ending is None,
        shredded=tuple({entry.project for entry in added if isinstance(entry, Shredded)}),
        sealed=sum(isinstance(entry, Sealed) for entry in added),
        unknown=sum(isinstance(entry, Enrolled) for entry in added),
    )


def _read(file: Path) -> KeptCopy:
    try:
        if not file.is_file() or file.stat().st_size > MAX_EXPORT_BYTES:
            raise BackupError(f"{file} is no copy of a ledger: not a file, or larger than any")
        return read_kept(file.read_bytes())
    except FormatError as error:
        raise BackupError(f"{file.name} is no copy of a ledger: {error}") from error
    except OSError as error:
        raise BackupError(
            f"{file} can't be read: {error.strerror}", next_step="Give the directory of ledger replicate, or a file."
        ) from error


def _checked(old: KnownLedger, copy: KeptCopy) -> tuple[Entry, ...]:
    """Return the entries that a copy adds to the ledger that is known, once it verifies and extends that."""
    verified = old.verify(export_ledger(copy.entries, copy.note))
    size = old.log.size()
    if verified.checkpoint.size < size:
        raise BackupError(
            f"this copy of the ledger has {verified.checkpoint.size} entries, fewer than the backup's {size}",
            next_step="Restore without it.",
        )
    if root_of_leaves(verified.leaves[:size]) != root(size, old.log.read_node):
        raise BackupError("this copy of the ledger does not continue the backup's: one of them is of another history")
    return verified.entries[size:]


def _apply(database: Database, entry: Entry) -> None:
    """Act on what the ledger says was forbidden or destroyed since; what was allowed has ended anyway."""
    match entry:
        case Revoked():
            table, column = _REVOKED[entry.kind]
            database.execute(
                f"UPDATE {table} SET revoked_ms = coalesce(revoked_ms, ?) WHERE {column} = ?",  # noqa: S608 - own words
                to_ms(entry.at),
                entry.id,
            )
        case Frozen():
            set_frozen(database, entry.project, frozen=entry.frozen, now=entry.at)
        case Dropped():
            # The backup's current one, too, if what followed it is lost: then the source does not count as sealed.
            database.execute(
                "UPDATE versions SET wrapped = x'', source_hash = x'' WHERE item = ? AND version < ?",
                entry.item,
                entry.before,
            )
        case _:
            pass


def known_until(old: KnownLedger, merged: Merged | None, now: datetime) -> datetime:
    """Return until when everything of the old ledger is known."""
    if merged is not None and merged.complete:
        return now
    return min(old.log.reread(old.log.size()).latest or now, now)
