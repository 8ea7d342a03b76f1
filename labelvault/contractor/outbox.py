"""What was submitted from a home: sealed frames that wait until the vault took them, and what the issuer said.

Rows of `state.db`; a large answer's ciphertext waits beside it in `outbox/`. No answer rests here in clear.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from labelvault.database import Database
from labelvault.envelope.seal import SealedItem
from labelvault.errors import KeystoreError, LeaseError
from labelvault.keys.files import erase_file, make_private_dir, read_private, write_private
from labelvault.wire.answers import MAX_SUBMISSIONS, Ack, Submission
from labelvault.wire.frame import Signed
from labelvault.wire.items import MAX_HEADER_BYTES, parse_header
from labelvault.wire.times import from_ms, to_ms

RESEND_AFTER: Final = timedelta(minutes=1)
"""A submission without an ack is posted again after this; the same bytes get the same ack."""
_MAX_SEALED_BYTES: Final = MAX_HEADER_BYTES + 70 * 1024 * 1024
_PREFIX_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """One answer that was submitted.

    Attributes:
        lease_id: 32 bytes.
        item: the task's id, 16 bytes.
        sequence: of the answer under its lease, from 1.
        presence: `device`; at a desk `key` or `unapproved`.
        at: when it was sealed.
        state: `queued` until the vault took it, then `sent`, then the issuer's verdict: `accepted`, `late`,
            `misbound`, `replayed` or `revoked`.
        acked_at: when the issuer took it, by its clock.
    """

    lease_id: bytes
    item: bytes
    sequence: int
    presence: str
    at: datetime
    state: str
    acked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueSubmission:
    """A sealed answer that has to be posted.

    Attributes:
        hash: of the frame, 32 bytes.
        payload: id of the large answer's item, 16 bytes, while its ciphertext waits here.
    """

    hash: bytes
    project: bytes
    frame: bytes
    payload: bytes | None


class Outbox:
    """The submissions of a home."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Use `state.db`, and a folder for large answers, which is made when it is needed."""
        self._database = database
        self._folder = folder

    def next_sequence(self, lease_id: bytes) -> int:
        """Return the next free number under a lease.

        Raises:
            LeaseError: there were as many answers as there may be.
        """
        number = 1 + int(
            self._database.scalar("SELECT coalesce(max(sequence), 0) FROM submissions WHERE lease_id = ?", lease_id)
        )
        if number > MAX_SUBMISSIONS:
            raise LeaseError(f"{MAX_SUBMISSIONS} answers were submitted under this lease; open the task again")
        return number

    def add(
        self,
        submission: Signed[Submission],
        item: SealedItem | None,
        record: SubmissionRecord,
        project: bytes,
        receipt: bytes,
    ) -> None:
        """Keep a sealed answer, and the receipt that goes with it, until the vault takes them.

        Raises:
            LeaseError: another process took this number meanwhile; nothing was kept.
            KeystoreError: the file system refused; nothing was kept.
        """
        payload = None if item is None else parse_header(item.header).item
        if item is not None and payload is not None:
            make_private_dir(self._folder)
            size = len(item.header).to_bytes(_PREFIX_BYTES, "big")
            write_private(self._path(payload), size + item.header + item.payload, replace=False)
        with self._database.transaction():
            added = self._database.execute(
                "INSERT OR IGNORE INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
                record.lease_id,
                record.sequence,
                submission.hash,
                project,
                record.item,
                record.presence,
                to_ms(record.at),
                submission.data,
                payload,
            )
            if added:
                self._database.execute("INSERT INTO receipts_due VALUES (NULL, ?, ?)", project, receipt)
        if not added:
            self._drop(payload)
            raise LeaseError("another process submits under this lease; try again")

    def due(self, now: datetime) -> list[DueSubmission]:
        """Return what has to be posted: what never was, and what was a minute ago and got no ack."""
        rows = self._database.rows(
            "SELECT hash, project, frame, payload FROM submissions WHERE verdict IS NULL"
            " AND (posted_ms IS NULL OR posted_ms <= ? OR posted_ms > ?) ORDER BY at_ms, lease_id, sequence",
            to_ms(now - RESEND_AFTER),
            to_ms(now),
        )
        return [DueSubmission(*(None if part is None else bytes(part) for part in row)) for row in rows]  # type: ignore[arg-type]

    def unposted(self) -> int:
        """Return how many the vault has not taken yet."""
        return int(
            self._database.scalar("SELECT count(*) FROM submissions WHERE posted_ms IS NULL AND verdict IS NULL")
        )

    def sealed_item(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """Return a large answer's header and payload; None if they were stored at the vault already."""
        path = self._path(payload)
        if not path.exists():
            return None
        data = read_private(path, _MAX_SEALED_BYTES)
        start = _PREFIX_BYTES + int.from_bytes(data[:_PREFIX_BYTES], "big")
        return data[_PREFIX_BYTES:start], data[start:]

    def posted(self, due: DueSubmission, now: datetime) -> None:
        """Remember that the vault took a submission and its item."""
        with self._database.transaction():
            self._database.execute("UPDATE submissions SET posted_ms = ? WHERE hash = ?", to_ms(now), due.hash)
        self._drop(due.payload)

    def acked(self, ack: Ack) -> None:
        """Remember what the issuer said of a submission of ours; the first verdict stands, and the frame may go."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE submissions SET verdict = ?, acked_ms = ?, frame = x'' WHERE hash = ? AND verdict IS NULL",
                ack.verdict,
                to_ms(ack.at),
                ack.of,
            )

    def all(self) -> list[SubmissionRecord]:
        """List what was submitted, oldest first."""
        rows = self._database.rows(
            "SELECT lease_id, item, sequence, presence, at_ms, posted_ms, verdict, acked_ms FROM submissions"
            " ORDER BY at_ms, lease_id, sequence"
        )
        return [_record(*row) for row in rows]

    def _path(self, payload: bytes) -> Path:
        return self._folder / payload.hex()

    def _drop(self, payload: bytes | None) -> None:
        if payload is None or not self._path(payload).exists():
            return
        try:
            erase_file(self._path(payload))
        except KeystoreError:
            # Ciphertext whose key is sealed to the client: it takes up room and nothing else.
            return


def _record(
    lease_id: bytes,
    item: bytes,
    sequence: int,
    presence: str,
    at_ms: int,
    posted_ms: int | None,
    verdict: str | None,
    acked_ms: Any,
) -> SubmissionRecord:
    state = verdict or ("queued" if posted_ms is None else "sent")
    acked_at = None if acked_ms is None else from_ms(acked_ms)
    return SubmissionRecord(bytes(lease_id), bytes(item), sequence, presence, from_ms(at_ms), state, acked_at)
