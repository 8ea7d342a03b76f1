"""What a contractor's device remembers of its openings: ids and times, nothing that opens or names anything.

`state.db` also keeps the highest issuer time ever seen, so that setting the clock back revives nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labelvault.contractor.outbox import Outbox
from labelvault.contractor.parts import OpenedAs
from labelvault.database import Database, Schema
from labelvault.errors import KeystoreError, LeaseError
from labelvault.wire.codec import decode, encode
from labelvault.wire.messages import LeaseOuter
from labelvault.wire.schema import decode_record, encode_record
from labelvault.wire.times import from_ms, to_ms

STATE_SCHEMA: Final = Schema(
    version=3,
    missing="`labelvault contractor init` makes it",
    statements="""
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE openings (
  lease_id BLOB PRIMARY KEY, outer BLOB NOT NULL, version INTEGER, opened_ms INTEGER NOT NULL, closed_ms INTEGER,
  folder TEXT, files BLOB, erased TEXT, recorded BLOB
) WITHOUT ROWID;
CREATE TABLE receipts_due (number INTEGER PRIMARY KEY AUTOINCREMENT, project BLOB NOT NULL, receipt BLOB NOT NULL);
CREATE TABLE submissions (
  lease_id BLOB NOT NULL REFERENCES openings, sequence INTEGER NOT NULL, hash BLOB NOT NULL UNIQUE,
  project BLOB NOT NULL, item BLOB NOT NULL, presence TEXT NOT NULL, at_ms INTEGER NOT NULL, frame BLOB NOT NULL,
  payload BLOB, posted_ms INTEGER, verdict TEXT, acked_ms INTEGER, PRIMARY KEY (lease_id, sequence)
) WITHOUT ROWID;
""",
)


@dataclass(frozen=True, slots=True)
class OpeningRecord:
    """One opening.

    Attributes:
        lease_id: 32 bytes.
        item: the task's id, 16 bytes.
        issued_at: the issuer's time, as the lease says.
        state: `open` or `closed`.
        folder: where files were written, if they were.
        erased: with `closed`: `process-exit` or `best-effort`.
        recorded: where the client's ledger records the release: epoch, index and entry hash; None if it never opened.
    """

    lease_id: bytes
    item: bytes
    issued_at: datetime
    opened_at: datetime
    expires_at: datetime
    state: str
    folder: Path | None
    erased: str | None
    recorded: tuple[bytes, int, bytes] | None = None


class OpeningLog:
    """`state.db` of a contractor's home.

    Attributes:
        outbox: what was submitted.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it, or make it with `create`."""
        self._database = Database(path, STATE_SCHEMA, create=create)
        self.outbox = Outbox(self._database, path.parent / "outbox")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def high_water(self) -> datetime:
        """Return the latest issuer time that was ever seen."""
        return from_ms(int.from_bytes(self._database.meta("issuer_ms") or b"", "big"))

    def _saw(self, name: str, time: datetime) -> None:
        if time > from_ms(int.from_bytes(self._database.meta(name) or b"", "big")):
            self._database.set_meta(name, to_ms(time).to_bytes(8, "big"))

    def status_at(self) -> datetime:
        """Return the time of the newest status that was ever seen."""
        return from_ms(int.from_bytes(self._database.meta("status_ms") or b"", "big"))

    def saw_status(self, at: datetime) -> None:
        """Remember that a status of this time was seen, and that the issuer's time has reached it."""
        with self._database.transaction():
            self._saw("status_ms", at)
            self._saw("issuer_ms", at)

    def served_at(self) -> datetime:
        """Return the time of the newest status that the vault ever served."""
        return from_ms(int.from_bytes(self._database.meta("status_served_ms") or b"", "big"))

    def was_served(self, at: datetime) -> None:
        """Remember that the vault served a status of this time."""
        with self._database.transaction():
            self._saw("status_served_ms", at)

    def was_opened(self, lease_id: bytes) -> bool:
        """Tell whether a lease was opened here, closed since or not."""
        return self._database.row("SELECT 1 FROM openings WHERE lease_id = ?", lease_id) is not None

    def forget(self, lease_id: bytes) -> None:
        """Forget a lease that could not be opened for want of its vault, so that it can be opened later."""
        with self._database.transaction():
            self._database.execute("DELETE FROM openings WHERE lease_id = ? AND closed_ms IS NULL", lease_id)

    def leased(self, outer: LeaseOuter, now: datetime, folder: Path | None) -> None:
        """Remember a verified lease before it is opened, and that the issuer's time has reached its issue.

        Args:
            outer: the lease's readable part.
            now: our time.
            folder: where files will be written, if they will.

        Raises:
            LeaseError: another process opens it, or did.
        """
        with self._database.transaction():
            if not self._note(outer, now, folder):
                raise LeaseError("this lease was opened already, and opens once")

    def _note(self, outer: LeaseOuter, now: datetime, folder: Path | None = None) -> bool:
        """Remember a lease unless it was before; return whether it was not."""
        self._saw("issuer_ms", outer.issued_at)
        added = self._database.execute(
            "INSERT OR IGNORE INTO openings VALUES (?, ?, NULL, ?, NULL, ?, ?, NULL, NULL)",
            outer.lease_id,
            encode_record(outer),
            to_ms(now),
            None if folder is None else str(folder),
            None if folder is None else encode([]),
        )
        return bool(added)

    def opened(
        self, outer: LeaseOuter, known: OpenedAs, files: list[tuple[int, int]], now: datetime, receipt: bytes | None
    ) -> None:
        """Remember that a lease was opened, and that its receipt is due.

        Args:
            outer: the lease's readable part; it need not have been remembered before.
            known: of what it opened.
            files: (device, inode) of each file written, by which it is known again without keeping a name.
            now: our time.
            receipt: to post; None if the vault has it already.
        """
        with self._database.transaction():
            self._note(outer, now)
            self._database.execute(
                "UPDATE openings SET version = ?, recorded = ? WHERE lease_id = ?",
                known.version,
                encode([known.epoch, known.index, known.entry_hash]),
                outer.lease_id,
            )
            self._database.execute(
                "UPDATE openings SET files = ? WHERE lease_id = ? AND folder IS NOT NULL",
                encode([[device, inode] for device, inode in files]),
                outer.lease_id,
            )
            if receipt is not None:
                self._queue(outer.project, receipt)

    def given_up(self, project: bytes, receipt: bytes) -> None:
        """Remember the receipt of a request whose lease, should it come, nobody opens."""
        with self._database.transaction():
            self._queue(project, receipt)

    def closed(self, outer: LeaseOuter, erased: str, receipt: bytes, now: datetime) -> None:
        """Remember that an opening is closed and its receipt is due; a second close changes nothing."""
        with self._database.transaction():
            self._note(outer, now)
            changed = self._database.execute(
                "UPDATE openings SET closed_ms = ?, erased = ?, folder = NULL, files = NULL"
                " WHERE lease_id = ? AND closed_ms IS NULL",
                to_ms(now),
                erased,
                outer.lease_id,
            )
            if changed:
                self._queue(outer.project, receipt)

    def _queue(self, project: bytes, receipt: bytes) -> None:
        self._database.execute("INSERT INTO receipts_due VALUES (NULL, ?, ?)", project, receipt)

    def receipts_due(self) -> list[tuple[int, bytes, bytes]]:
        """Return (number, project, receipt) of receipts that the vault has not taken yet, oldest first."""
        rows = self._database.rows("SELECT number, project, receipt FROM receipts_due ORDER BY number")
        return [(number, bytes(project), bytes(receipt)) for number, project, receipt in rows]

    def receipt_posted(self, number: int) -> None:
        """Remember that the vault took a receipt."""
        with self._database.transaction():
            self._database.execute("DELETE FROM receipts_due WHERE number = ?", number)

    def outer(self, lease_id: bytes) -> LeaseOuter:
        """Return the readable part of a lease that was opened here.

        Raises:
            LeaseError: none of this id was.
        """
        row = self._database.row("SELECT outer FROM openings WHERE lease_id = ?", lease_id)
        if row is None:
            raise LeaseError(
                "no task was opened here under this lease", next_step="See what was: labelvault contractor list."
            )
        return decode_record(LeaseOuter, bytes(row[0]))

    def opened_version(self, lease_id: bytes) -> tuple[LeaseOuter, int]:
        """Return a lease's readable part, and the version of the task that it opened.

        Raises:
            LeaseError: no task was opened here under this lease.
        """
        outer = self.outer(lease_id)
        version = self._database.scalar("SELECT version FROM openings WHERE lease_id = ?", lease_id)
        if version is None:
            raise LeaseError("the task of this lease was never opened, so there is nothing to answer")
        return outer, int(version)

    def files(self, lease_id: bytes) -> tuple[Path, frozenset[tuple[int, int]]] | None:
        """Return the folder and files that an opening wrote, if it did and is not closed."""
        row = self._database.row("SELECT folder, files FROM openings WHERE lease_id = ?", lease_id)
        if row is None or row[0] is None:
            return None
        found: Any = decode(bytes(row[1]))
        return Path(row[0]), frozenset((device, inode) for device, inode in found)

    def all(self) -> list[OpeningRecord]:
        """List openings, oldest first."""
        rows = self._database.rows(
            "SELECT outer, opened_ms, closed_ms, folder, erased, recorded FROM openings ORDER BY opened_ms"
        )
        return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> OpeningRecord:
    outer = decode_record(LeaseOuter, bytes(row[0]))
    return OpeningRecord(
        outer.lease_id,
        outer.item,
        outer.issued_at,
        from_ms(row[1]),
        outer.expires_at,
        "open" if row[2] is None else "closed",
        None if row[3] is None else Path(row[3]),
        row[4],
        None if row[5] is None else _place(bytes(row[5])),
    )


def _place(data: bytes) -> tuple[bytes, int, bytes]:
    found: Any = decode(data)
    epoch, index, entry_hash = found
    return epoch, index, entry_hash


def check_finished(home: Path) -> None:
    """Tell a home whose making was interrupted from a whole one: `state.db` is made last.

    Raises:
        KeystoreError: it was interrupted.
    """
    if not (home / "state.db").is_file():
        raise KeystoreError(
            f"{home} is unfinished: `labelvault contractor init` was interrupted; remove the home and run it again",
            next_step=f"Remove {home}, which holds nothing that counts yet, and run init again.",
        )
