"""The issuer's news of the day: what is revoked and frozen, signed, for all who hold leases that were issued ahead."""

from datetime import datetime, timedelta
from typing import Final

from labelvault.database import Database
from labelvault.errors import GrantLimitError
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.wire.ahead import MAX_STATUS_FROZEN, MAX_STATUS_REVOKED, Status
from labelvault.wire.frame import Signed, parse_frame, sign_message
from labelvault.wire.messages import Grant
from labelvault.wire.schema import decode_record
from labelvault.wire.times import to_ms

STATUS_INTERVAL: Final = timedelta(hours=1)
"""How often a running issuer posts a status; what `next_update` says."""


def make_status(database: Database, log: Log, identity: IssuerIdentity, now: datetime) -> Signed[Status]:
    """Sign what is revoked and frozen now.

    Args:
        database: open `client.db`.
        log: its ledger.
        identity: who signs.
        now: the issuer's time.

    Raises:
        GrantLimitError: more is revoked or frozen than one status can say; a part of it would pass for all.
    """
    rows = database.rows(
        "SELECT g.hash, g.frame FROM grants g JOIN contractors c ON c.key = g.contractor"
        " JOIN projects p ON p.project = g.project"
        " WHERE coalesce(g.revoked_ms, c.revoked_ms, p.revoked_ms) IS NOT NULL"
    )
    revoked = sorted(bytes(grant_hash) for grant_hash, frame in rows if _lives(bytes(frame), now))
    leases = sorted(
        bytes(row[0])
        for row in database.rows(
            "SELECT l.lease_id FROM leases l JOIN items i ON i.item = l.item JOIN batches b ON b.batch = i.batch"
            " WHERE l.expires_ms > ? AND l.slot_ended_ms IS NULL AND b.revoked_ms IS NOT NULL",
            to_ms(now),
        )
    )
    frozen = sorted(bytes(row[0]) for row in database.rows("SELECT project FROM projects WHERE frozen = 1"))
    if len(revoked) + len(leases) > MAX_STATUS_REVOKED or len(frozen) > MAX_STATUS_FROZEN:
        raise GrantLimitError(
            f"{len(revoked)} unexpired grants and {len(leases)} leases of revoked batches are revoked, and"
            f" {len(frozen)} projects frozen; a status names at most {MAX_STATUS_REVOKED} and {MAX_STATUS_FROZEN}",
            next_step="Revoke the project, or the grants that those leases stand on; no lease ahead opens meanwhile.",
        )
    certificate = identity.certificate
    message = Status(
        client=certificate.message.client,
        epoch=certificate.message.epoch,
        certificate=certificate.data,
        checkpoint=log.newest_checkpoint(),
        revoked=tuple(revoked),
        revoked_leases=tuple(leases),
        frozen=tuple(frozen),
        at=now,
        next_update=now + STATUS_INTERVAL,
    )
    return sign_message(message, identity.signer)


def _lives(frame: bytes, now: datetime) -> bool:
    # Of our own state, where only what the identity key signed is acted on; here it decides only what need not be said.
    return decode_record(Grant, parse_frame(frame).body).expires_at > now
