"""What the issuer remembers, as questions and facts: grants, usage, spent keys, stored answers, leases, clock.

Every method that changes something runs inside the caller's transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.database import Database
from labelvault.errors import ClockError
from labelvault.issuer.authorize import CLOCK_SKEW, Asked, Authorized, LiveLease, Usage
from labelvault.issuer.catalog import task_facts
from labelvault.ledger.entries import Frozen
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.messages import Grant, IssuerCertificate, OpenRequest, Receipt
from labelvault.wire.times import from_ms, to_ms, truncate

_SPENT_LABEL: Final = b"labelvault/v1/spent-key\0"
_HOUR_MS: Final = 3_600_000
_KEPT_GRANTS: Final = 1000
_KEPT_ENROLLED: Final = 100_000
# Leases of a grant are numbered as they are issued, and the issuer's time never runs backwards. So the number of the
# last one by some time says how many there were, and only those that are open are counted.
_USAGE: Final = (
    "SELECT coalesce(g.revoked_ms, c.revoked_ms, p.revoked_ms) IS NOT NULL, p.frozen,"
    " coalesce((SELECT number FROM leases WHERE grant_hash = ?1 ORDER BY issued_ms DESC, number DESC LIMIT 1), 0),"
    " coalesce((SELECT number FROM leases WHERE grant_hash = ?1 AND issued_ms <= ?2"
    " ORDER BY issued_ms DESC, number DESC LIMIT 1), 0),"
    " (SELECT count(*) FROM leases WHERE grant_hash = ?1 AND slot_ended_ms IS NULL AND expires_ms > ?3)"
    " FROM grants g JOIN contractors c ON c.key = g.contractor JOIN projects p ON p.project = g.project"
    " WHERE g.hash = ?1"
)
_INSERT_LEASE: Final = (
    "INSERT INTO leases SELECT ?2, ?1, 1 + coalesce((SELECT number FROM leases WHERE grant_hash = ?1"
    " ORDER BY issued_ms DESC, number DESC LIMIT 1), 0), ?3, ?4, ?5, ?6, NULL"
)
MAX_KEPT_BUNDLES: Final = 200
"""Of one contractor: 10,000 prekeys that wait to be used."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a request was answered with; `answer` is None once it may not be handed out again."""

    answer: bytes | None


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease of the issuer's own records.

    Attributes:
        version: of the task, which it released.
        revoked: the grant or its contractor was.
    """

    lease_id: bytes
    grant_hash: bytes
    contractor: bytes
    project: bytes
    item: bytes
    version: int
    issued_at: datetime
    expires_at: datetime
    revoked: bool


def set_frozen(
    database: Database, project: bytes, *, frozen: bool, now: datetime, contains: bytes | None = None
) -> Frozen:
    """Stop a project's releases, or allow them again, inside a transaction; return the entry to record with it.

    Args:
        database: open `client.db`.
        project: 16 bytes.
        frozen: which of both.
        now: the client's time.
        contains: hash of the statement that is being contained: what that froze, it may thaw. Whoever freezes or thaws
            after it answers for the project again.
    """
    database.execute("UPDATE projects SET frozen = ? WHERE project = ?", int(frozen), project)
    database.execute("DELETE FROM meta WHERE key = ?", frozen_mark(project))
    if contains is not None:
        database.set_meta(frozen_mark(project), contains)
    return Frozen(at=now, project=project, frozen=frozen)


def frozen_mark(project: bytes) -> str:
    """Return under which name `meta` says which statement's containment froze a project."""
    return f"contained/{project.hex()}"


class State:
    """The issuer's view of `client.db`."""

    def __init__(self, database: Database, identity_key: bytes, certificate: IssuerCertificate) -> None:
        """Use a database.

        Args:
            database: open `client.db`.
            identity_key: the client's, 32 bytes: grants must be signed by it, also those in our own state.
            certificate: this issuer's.
        """
        self._database = database
        self._identity_key = identity_key
        self._certificate = certificate
        self._verified: dict[bytes, Signed[Grant]] = {}
        self._enrolled: set[bytes] = set()

    def tick(self, reading: datetime) -> datetime:
        """Return the issuer's time, which never runs backwards, and remember it.

        A reading at or past the certificate's end is not remembered: nothing is released then, and a clock that jumped
        years ahead once must not lock this issuer up for years.

        Args:
            reading: what the clock says.

        Raises:
            ClockError: the clock is behind a time that this issuer already acted at, by more than the skew.
        """
        reading = self.peek(reading)
        if reading < self._certificate.expires_at:
            self._database.set_meta("clock_ms", to_ms(reading).to_bytes(8, "big"))
        return reading

    def peek(self, reading: datetime) -> datetime:
        """Return the issuer's time as `tick` does, and remember nothing.

        Raises:
            ClockError: as `tick`.
        """
        reading = truncate(reading)
        seen = self._database.meta("clock_ms")
        if seen is None:
            return reading
        high = from_ms(int.from_bytes(seen, "big"))
        if reading < high - CLOCK_SKEW:
            raise ClockError(f"the clock says {reading.isoformat()}, but {high.isoformat()} has passed already")
        return max(reading, high)

    def is_enrolled(self, contractor: bytes) -> bool:
        """Tell whether a contractor key was ever enrolled."""
        if contractor in self._enrolled:
            return True
        found = self._database.row("SELECT 1 FROM contractors WHERE key = ?", contractor) is not None
        # What was ever true stays true.
        if found and len(self._enrolled) < _KEPT_ENROLLED:
            self._enrolled.add(contractor)
        return found

    def grant(self, grant_hash: bytes) -> Signed[Grant] | None:
        """Return a grant of our own state; one that isn't there is refused, however well signed.

        Raises:
            SignatureError: the stored frame is not one that the client's identity key signed.
        """
        row = self._database.row("SELECT frame FROM grants WHERE hash = ?", grant_hash)
        if row is None:
            return None
        frame = bytes(row[0])
        known = self._verified.get(grant_hash)
        # What was verified once is verified, as long as it is the same bytes.
        if known is None or known.data != frame:
            known = open_frame(frame, Grant, self._identity_key)
            if len(self._verified) >= _KEPT_GRANTS:
                self._verified.clear()
            self._verified[grant_hash] = known
        return known

    def grant_of(self, grant_id: bytes) -> Signed[Grant] | None:
        """Return a grant of our own state by its id, 16 bytes.

        Raises:
            SignatureError: the stored frame is not one that the client's identity key signed.
        """
        row = self._database.row("SELECT hash FROM grants WHERE grant_id = ?", grant_id)
        return None if row is None else self.grant(bytes(row[0]))

    def is_own(self, grant: Signed[Grant]) -> bool:
        """Tell whether a grant names this issuer."""
        return grant.message.issuer == self._certificate.issuer

    def usage(self, asked: Asked, grant: Signed[Grant], now: datetime) -> Usage:
        """Return what `authorize` needs to know of this moment."""
        now_ms = to_ms(now)
        revoked, frozen, total, before, open_ = self._database.rows(_USAGE, grant.hash, now_ms - _HOUR_MS, now_ms)[0]
        memo = self._database.memo
        if "accept_from" not in memo:
            memo["accept_from"] = from_ms(int.from_bytes(self._database.meta("accept_from_ms") or b"", "big"))
        return Usage(
            issuer=self._certificate.issuer,
            epoch=self._certificate.epoch,
            certified_until=self._certificate.expires_at,
            accept_from=memo["accept_from"],
            grant_revoked=bool(revoked),
            frozen=bool(frozen),
            key_spent=self.key_spent(asked.one_time_key),
            task=task_facts(self._database, asked.item),
            open_leases=open_,
            total_leases=total,
            released_last_hour=total - before,
            replaces=self._live_lease(asked.replaces, now_ms),
        )

    def key_spent(self, one_time_key: bytes) -> bool:
        """Tell whether a one-time key was in an earlier request that was recorded, or got a lease ahead."""
        spent = tagged_hash(_SPENT_LABEL, one_time_key)
        return self._database.row("SELECT 1 FROM spent_keys WHERE key_hash = ?", spent) is not None

    def _live_lease(self, lease_id: bytes | None, now_ms: int) -> LiveLease | None:
        row = lease_id and self._database.row(
            "SELECT l.lease_id, l.grant_hash, g.contractor, l.item FROM leases l"
            " JOIN grants g ON g.hash = l.grant_hash"
            " WHERE l.lease_id = ? AND l.slot_ended_ms IS NULL AND l.expires_ms > ?",
            lease_id,
            now_ms,
        )
        return LiveLease(*(bytes(part) for part in row)) if row else None

    def stored_answer(self, request_hash: bytes, now: datetime) -> StoredAnswer | None:
        """Return what this very request was answered with, if it was answered before.

        A lease is handed out again only while it lives and nothing of its grant is revoked or frozen.
        """
        if self._database.row("SELECT 1 FROM answers WHERE request_hash = ?", request_hash) is None:
            return None
        row = self._database.row(
            "SELECT a.answer FROM answers a"
            " LEFT JOIN leases l ON l.lease_id = a.lease_id LEFT JOIN grants g ON g.hash = l.grant_hash"
            " LEFT JOIN contractors c ON c.key = g.contractor LEFT JOIN projects p ON p.project = g.project"
            " LEFT JOIN items i ON i.item = l.item LEFT JOIN batches b ON b.batch = i.batch"
            " WHERE a.request_hash = ? AND (a.lease_id IS NULL OR (l.slot_ended_ms IS NULL AND l.expires_ms > ?"
            " AND coalesce(g.revoked_ms, c.revoked_ms, p.revoked_ms, b.revoked_ms) IS NULL AND p.frozen = 0))",
            request_hash,
            to_ms(now),
        )
        return StoredAnswer(None if row is None or row[0] is None else bytes(row[0]))

    def record_release(self, authorized: Authorized, version: int, answer: bytes) -> None:
        """Remember a release: lease, spent key, stored answer, and the slot that a renewal takes over.

        Args:
            authorized: the verdict.
            version: of the task, which the lease opens.
            answer: the lease's frame.
        """
        asked, expires_ms = authorized.asked, to_ms(authorized.expires_at)
        if authorized.replaces is not None:
            self._end_slot(authorized.replaces.lease_id, authorized.issued_at)
        self._database.execute(
            _INSERT_LEASE,
            authorized.grant.hash,
            asked.lease_id,
            asked.item,
            version,
            to_ms(authorized.issued_at),
            expires_ms,
        )
        self._spend(asked.one_time_key)
        keep_ms = max(expires_ms, to_ms(asked.expires_at))
        # What was issued ahead is kept like an answer: issuing again with the same prekey gives the same lease.
        self._keep_answer(asked.lease_id, asked.lease_id, answer, keep_ms)

    def record_denial(self, request: Signed[OpenRequest], answer: bytes) -> None:
        """Remember a denial: it spends the request's one-time key, and the same request gets the same answer."""
        self._spend(request.message.one_time_key)
        self._keep_answer(request.hash, None, answer, to_ms(request.message.expires_at))

    def _spend(self, one_time_key: bytes) -> None:
        spent = tagged_hash(_SPENT_LABEL, one_time_key)
        self._database.execute("INSERT OR IGNORE INTO spent_keys VALUES (?)", spent)

    def _keep_answer(self, request_hash: bytes, lease_id: bytes | None, answer: bytes, keep_ms: int) -> None:
        self._database.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", request_hash, lease_id, answer, keep_ms)

    def lease(self, lease_id: bytes) -> LeaseRow | None:
        """Return a lease of our own records."""
        row = self._database.row(
            "SELECT l.lease_id, l.grant_hash, g.contractor, g.project, l.item, l.version, l.issued_ms, l.expires_ms,"
            " coalesce(g.revoked_ms, c.revoked_ms) FROM leases l JOIN grants g ON g.hash = l.grant_hash"
            " JOIN contractors c ON c.key = g.contractor WHERE l.lease_id = ?",
            lease_id,
        )
        if row is None:
            return None
        lease, grant_hash, contractor, project, item = (bytes(part) for part in row[:5])
        version, issued_ms, expires_ms, revoked_ms = row[5:]
        issued_at, expires_at = from_ms(issued_ms), from_ms(expires_ms)
        return LeaseRow(
            lease, grant_hash, contractor, project, item, version, issued_at, expires_at, revoked_ms is not None
        )

    def is_closed(self, lease_id: bytes) -> bool:
        """Tell whether a lease's contractor said that it is closed."""
        row = self._database.row("SELECT 1 FROM receipts WHERE lease_id = ? AND event = 'closed'", lease_id)
        return row is not None

    def keep_bundle(self, bundle: Signed[PrekeyBundle]) -> bool:
        """Keep a verified bundle of prekeys until it expires; the same again changes nothing.

        Returns:
            False if its contractor has as many waiting as are kept; then it is not.
        """
        contractor = bundle.frame.signer
        self._database.execute(
            "INSERT INTO prekey_bundles SELECT ?1, ?2, ?3, ?4"
            " WHERE (SELECT count(*) FROM prekey_bundles WHERE contractor = ?2) < ?5 ON CONFLICT DO NOTHING",
            bundle.hash,
            contractor,
            to_ms(bundle.message.expires_at),
            bundle.data,
            MAX_KEPT_BUNDLES,
        )
        return self._database.row("SELECT 1 FROM prekey_bundles WHERE hash = ?", bundle.hash) is not None

    def bundles(self, contractor: bytes, now: datetime) -> list[bytes]:
        """Return a contractor's kept bundles that have not expired, those that end first before others."""
        rows = self._database.rows(
            "SELECT frame FROM prekey_bundles WHERE contractor = ? AND expires_ms > ? ORDER BY expires_ms, hash",
            contractor,
            to_ms(now),
        )
        return [bytes(row[0]) for row in rows]

    def record_receipt(self, receipt: Signed[Receipt], now: datetime) -> bool:
        """Remember a receipt for a lease of ours; a close frees the slot and withdraws the stored answer.

        Returns:
            False if this event of this lease was recorded before; then nothing changes.
        """
        message = receipt.message
        added = self._database.execute(
            "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?)",
            message.lease_id,
            message.event,
            receipt.hash,
            to_ms(now),
        )
        if added and message.event == "closed":
            self._end_slot(message.lease_id, now)
        return bool(added)

    def _end_slot(self, lease_id: bytes, now: datetime) -> None:
        self._database.execute(
            "UPDATE leases SET slot_ended_ms = ? WHERE lease_id = ? AND slot_ended_ms IS NULL",
            to_ms(now),
            lease_id,
        )
        # The row stays until the request itself has expired, so that a replay is told from a fresh request.
        self._database.execute("UPDATE answers SET answer = NULL WHERE request_hash = ?", lease_id)

    def count_junk(self, count: int) -> None:
        """Add to the one counter that junk leaves behind: a flood grows nothing else."""
        if count:
            total = int.from_bytes(self._database.meta("junk") or b"", "big") + count
            self._database.set_meta("junk", total.to_bytes(8, "big"))

    def prune(self, now: datetime) -> None:
        """Drop answers whose request has expired and whose lease has ended, and prekeys that have expired.

        A replay of either is stale by itself.
        """
        self._database.execute("DELETE FROM prekey_bundles WHERE expires_ms <= ?", to_ms(now))
        self._database.execute("DELETE FROM answers WHERE keep_ms < ?", to_ms(now - timedelta(minutes=1)))
