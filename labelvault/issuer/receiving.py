"""Taking what contractors send back: receipts, and answers that are kept sealed, since no key here opens them.

Each is bound to a lease of the issuer's own records, and answered with a signed ack that the vendor can verify. The
same bytes get the same verdict for ever; what is not accepted is kept aside with the reason (docs/spec.md, 6.6).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from labelvault.database import Database
from labelvault.errors import SignatureError
from labelvault.issuer.authorize import CLOCK_SKEW, PRESENCE_MAX_AGE
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.issuer.state import LeaseRow, State
from labelvault.ledger.entries import ReceiptEntry
from labelvault.wire.answers import SUBMISSION_GRACE, Ack, Submission, SubmissionOuter
from labelvault.wire.frame import Signed, sign_message
from labelvault.wire.ids import ClientId
from labelvault.wire.messages import Receipt
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms, to_ms

MAX_ASIDE: Final = 100
"""Misbound and replayed submissions that are kept of one contractor; beyond it they are only counted. All others are
bounded by the leases that they belong to."""
_ACKED_EVENTS: Final = frozenset({"submitted", "closed"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message.

    Attributes:
        outcome: a verdict; `recorded` for a receipt; `repeated` for either; `dropped` for what is only counted.
        ack: the frame to answer with, if there is one.
    """

    outcome: str
    ack: bytes | None


class Receiving:
    """Takes receipts and submissions of enrolled keys. Every method runs inside the caller's transaction."""

    def __init__(self, database: Database, client: ClientId, state: State, log: Log, identity: IssuerIdentity) -> None:
        """Use an issuer's parts."""
        self._database = database
        self._client = client
        self._state = state
        self._log = log
        self._identity = identity

    def receipt(self, receipt: Signed[Receipt], now: datetime) -> Taken | None:
        """Record what became of a lease, once for each event; None if it is no lease of this contractor's."""
        message = receipt.message
        lease = self._state.lease(message.lease_id)
        # Bound to its client and lease: another contractor's, client's or item's receipt ends nothing.
        if (
            lease is None
            or message.client != self._client
            or receipt.frame.signer != lease.contractor
            or (message.project, message.item) != (lease.project, lease.item)
        ):
            return None
        recorded = self._state.record_receipt(receipt, now)
        if recorded:
            self._log.append(
                ReceiptEntry(
                    at=now,
                    lease_id=message.lease_id,
                    contractor=lease.contractor,
                    event=message.event,
                    erased=message.erased,
                )
            )
        return Taken("recorded" if recorded else "repeated", self._receipt_ack(receipt))

    def _receipt_ack(self, receipt: Signed[Receipt]) -> bytes | None:
        message = receipt.message
        # The first one stands: another of the same event gets no ack, or a contractor could have any number of them.
        row = self._database.row(
            "SELECT received_ms FROM receipts WHERE lease_id = ? AND event = ? AND hash = ?",
            message.lease_id,
            message.event,
            receipt.hash,
        )
        if row is None or message.event not in _ACKED_EVENTS:
            return None
        of = (message.project, message.lease_id, message.item, message.event)
        return self._ack(receipt.frame.signer, *of, receipt.hash, "accepted", row[0])

    def submission(self, submission: Signed[Submission], now: datetime) -> Taken:
        """Keep an answer, sealed, with the verdict on it.

        Raises:
            FormatError: its outer part is malformed; it names nothing to answer to.
        """
        outer, contractor = decode_record(SubmissionOuter, submission.message.outer), submission.frame.signer
        row = self._database.row("SELECT verdict, received_ms FROM submissions WHERE hash = ?", submission.hash)
        if row is not None:
            return Taken("repeated", self._submission_ack(outer, submission, *row))
        verdict = self._verdict(outer, submission, now)
        if verdict in ("misbound", "replayed") and self._aside(contractor) >= MAX_ASIDE:
            # No ack either: the vault would keep it.
            return Taken("dropped", None)
        self._database.execute(
            "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            submission.hash,
            outer.project,
            outer.lease_id,
            outer.sequence,
            contractor,
            verdict,
            to_ms(now),
            submission.data,
        )
        return Taken(verdict, self._submission_ack(outer, submission, verdict, to_ms(now)))

    def _aside(self, contractor: bytes) -> int:
        return int(
            self._database.scalar(
                "SELECT count(*) FROM submissions WHERE contractor = ? AND verdict IN ('misbound', 'replayed')",
                contractor,
            )
        )

    def _verdict(self, outer: SubmissionOuter, submission: Signed[Submission], now: datetime) -> str:
        lease = self._state.lease(outer.lease_id)
        if lease is None or not self._is_bound(outer, submission, lease):
            return "misbound"
        taken = self._database.row(
            "SELECT 1 FROM submissions WHERE lease_id = ? AND sequence = ? AND verdict NOT IN ('misbound', 'replayed')",
            outer.lease_id,
            outer.sequence,
        )
        if taken is not None:
            return "replayed"
        if lease.revoked:
            return "revoked"
        # The contractor's own time counts, so that an answer given offline is in time when it comes; one that is dated
        # ahead of this clock was signed by now all the same.
        if min(outer.at, now) >= lease.expires_at + SUBMISSION_GRACE:
            return "late"
        return "accepted"

    def _is_bound(self, outer: SubmissionOuter, submission: Signed[Submission], lease: LeaseRow) -> bool:
        signer = submission.frame.signer
        return (
            (outer.client, outer.project, outer.item, outer.version)
            == (self._client, lease.project, lease.item, lease.version)
            and signer == outer.contractor == lease.contractor
            and outer.at >= lease.issued_at - CLOCK_SKEW
            and self._is_present(outer, submission, lease)
        )

    def _is_present(self, outer: SubmissionOuter, submission: Signed[Submission], lease: LeaseRow) -> bool:
        """Tell whether presence is what the grant says, and a cosignature stands exactly where it says `key`."""
        signed = self._state.grant(lease.grant_hash)
        if signed is None:
            return False
        grant = signed.message
        if outer.presence != "key":
            expected = "device" if grant.tier == "helper" else "unapproved"
            return outer.presence == expected and not submission.frame.cosignature
        if grant.presence_key is None or outer.approved_at is None:
            return False
        # Both times are under the device's own cosignature.
        if not -CLOCK_SKEW <= outer.at - outer.approved_at <= PRESENCE_MAX_AGE:
            return False
        try:
            submission.frame.verify_cosignature(grant.presence_key)
        except SignatureError:
            return False
        return True

    def _submission_ack(
        self, outer: SubmissionOuter, submission: Signed[Submission], verdict: str, received_ms: int
    ) -> bytes:
        of = (outer.project, outer.lease_id, outer.item, "answer")
        return self._ack(submission.frame.signer, *of, submission.hash, verdict, received_ms)

    def _ack(
        self,
        contractor: bytes,
        project: bytes,
        lease_id: bytes,
        item: bytes,
        event: str,
        of: bytes,
        verdict: str,
        received_ms: int,
    ) -> bytes:
        certificate = self._identity.certificate
        message = Ack(
            client=self._client,
            project=project,
            contractor=contractor,
            lease_id=lease_id,
            item=item,
            event=event,
            of=of,
            verdict=verdict,
            certificate=certificate.data,
            # Of the first time, so that the same message gets the same ack, byte for byte; a newer certificate has
            # nothing to say about times before it.
            at=max(from_ms(received_ms), certificate.message.not_before),
        )
        return sign_message(message, self._identity.signer).data
