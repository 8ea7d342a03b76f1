"""What a presence device remembers: what it approved, what was assigned, and how it is set. No secret is in it."""

from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.database import Database, Schema
from labelvault.errors import ApprovalRefusedError
from labelvault.wire.presence import Assignment
from labelvault.wire.schema import decode_record, encode_record
from labelvault.wire.times import from_ms, to_ms

DEVICE_SCHEMA: Final = Schema(
    version=1,
    missing="`labelvault contractor device init` makes it",
    statements="""
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE approved (
  hash BLOB PRIMARY KEY, desk BLOB NOT NULL, item BLOB NOT NULL, asks TEXT NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE assignments (
  desk BLOB NOT NULL, project BLOB NOT NULL, item BLOB NOT NULL, at_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (desk, project, item)
) WITHOUT ROWID;
""",
)


class DeviceState:
    """`device.db` of a presence device's home."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it, or make it with `create`."""
        self._database = Database(path, DEVICE_SCHEMA, create=create)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def high_water(self) -> datetime:
        """Return the latest time that anything was approved at."""
        return from_ms(int.from_bytes(self._database.meta("approved_ms") or b"", "big"))

    @property
    def require_assignment(self) -> bool:
        """Whether only assigned tasks are approved."""
        return self._database.meta("require_assignment") == b"\1"

    @require_assignment.setter
    def require_assignment(self, required: bool) -> None:
        with self._database.transaction():
            self._database.set_meta("require_assignment", b"\1" if required else b"\0")

    def approve(self, once: bytes, desk: bytes, item: bytes, asks: str, now: datetime) -> None:
        """Remember an approval before it is given; each body once, for ever.

        Raises:
            ApprovalRefusedError: `repeated`: it was given before.
        """
        with self._database.transaction():
            self.check_new(once)
            self._database.execute("INSERT INTO approved VALUES (?, ?, ?, ?, ?)", once, desk, item, asks, to_ms(now))
            self._database.set_meta("approved_ms", to_ms(max(now, self.high_water())).to_bytes(8, "big"))

    def check_new(self, once: bytes) -> None:
        """Refuse what was approved before.

        Raises:
            ApprovalRefusedError: `repeated`.
        """
        if self._database.row("SELECT 1 FROM approved WHERE hash = ?", once):
            raise ApprovalRefusedError("repeated", "this was approved before; each approval is for one opening")

    def times_approved(self, desk: bytes, item: bytes) -> int:
        """Return how often opening this task at this desk was approved before."""
        return int(
            self._database.scalar(
                "SELECT count(*) FROM approved WHERE desk = ? AND item = ? AND asks = 'open-request'", desk, item
            )
        )

    def assign(self, assignment: Assignment, now: datetime) -> None:
        """Keep a verified assignment, and drop those that are over. Of two of one task, the later made counts."""
        with self._database.transaction():
            self._database.execute("DELETE FROM assignments WHERE expires_ms <= ?", to_ms(now))
            self._database.execute(
                "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " at_ms = excluded.at_ms, expires_ms = excluded.expires_ms, record = excluded.record"
                " WHERE excluded.at_ms >= at_ms",
                assignment.contractor,
                assignment.project,
                assignment.item,
                to_ms(assignment.at),
                to_ms(assignment.expires_at),
                encode_record(assignment),
            )

    def assignments(self, now: datetime) -> list[Assignment]:
        """Return the assignments that are not over, first to end first."""
        rows = self._database.rows(
            "SELECT record FROM assignments WHERE expires_ms > ? ORDER BY expires_ms, item", to_ms(now)
        )
        return [decode_record(Assignment, bytes(record)) for (record,) in rows]
