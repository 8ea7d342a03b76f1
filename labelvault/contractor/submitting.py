"""Submitting from a home: sealing what was answered, posting it when the vault is there, and taking the acks."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from labelvault.contractor.answering import Answer, Draft, content_of, make_submission
from labelvault.contractor.approval import Approving, Presence
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership, newer_certificate
from labelvault.contractor.opening import make_receipt
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.post import Post
from labelvault.contractor.records import OpeningLog
from labelvault.errors import FormatError, GrantError, LeaseExpiredError, RollbackError, SignatureError
from labelvault.wire.answers import SUBMISSION_GRACE, Ack
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import Signer, parse_frame
from labelvault.wire.ids import contractor_mailbox
from labelvault.wire.messages import LeaseOuter
from labelvault.wire.times import truncate

_PAGE: Final = 1000
Submit = Callable[[Answer, str | None, str | None, Approving | None], SubmissionRecord]
"""Submits an answer, with its name and media type, under the lease of an opening."""


class Submitting:
    """The way back of one home."""

    def __init__(
        self, identity: Signer, log: OpeningLog, joined: Joined, post: Post, clock: Callable[[], datetime]
    ) -> None:
        """Use a home's parts.

        Args:
            identity: signs submissions.
            log: what was opened, and what was submitted.
            joined: the grants that leases came from.
            post: the way to the vault.
            clock: says the time.
        """
        self._identity = identity
        self._log = log
        self._joined = joined
        self._post = post
        self._clock = clock

    def submit(
        self, lease_id: bytes, answer: Answer, name: str | None, media_type: str | None, approving: Approving | None
    ) -> SubmissionRecord:
        """Seal an answer and post it, now or when the vault is there; see `Contractor.submit`."""
        outer, version = self._log.opened_version(lease_id)
        membership = self._membership(outer)
        # An issuer time that was seen has passed, whatever this clock says; the answer must not be lost to a clock.
        now = max(truncate(self._clock()), self._log.high_water())
        if now >= outer.expires_at + SUBMISSION_GRACE:
            raise LeaseExpiredError(
                "the lease ended longer ago than an answer is taken", next_step="Open the task again, then submit."
            )
        content = content_of(answer, name, media_type)
        cosign = None
        if membership.presence == "key" and approving is not None:
            presence = Presence(membership, self._identity, lambda: self._post.relay(membership), approving)
            cosign = partial(presence.cosign, now=now)
        draft = Draft(outer, version, self._log.outbox.next_sequence(lease_id))
        made = make_submission(draft, content, membership, self._identity, now, cosign)
        shown = "device" if membership.tier == "helper" else "unapproved" if cosign is None else "key"
        record = SubmissionRecord(lease_id, outer.item, draft.sequence, shown, now, "queued", None)
        receipt = make_receipt(outer, self._identity, "submitted", None, now)
        self._log.outbox.add(made.signed, made.item, record, outer.project, receipt)
        self._post.post_due()
        return next(
            each for each in self._log.outbox.all() if (each.lease_id, each.sequence) == (lease_id, draft.sequence)
        )

    def _membership(self, outer: LeaseOuter) -> Membership:
        for membership in self._joined.memberships():
            if membership.grant.hash == outer.grant_hash:
                return membership
        raise GrantError("the invite of this lease's grant is not in this home any more")

    def take_ack(self, data: bytes) -> bool:
        """Take a message in if it is an ack, or looks like one and is none of ours; False for whatever else it is.

        Raises:
            StoreError: `state.db` refused; the ack was not taken.
        """
        try:
            if parse_frame(data).type != Ack.TYPE:
                return False
            for membership in self._joined.memberships()[:1]:
                signed, certificate = open_certified(data, Ack, membership.client)
                newer_certificate(membership.certificate, certificate)
                if signed.message.event == "answer" and signed.message.contractor == self._identity.public_key:
                    self._log.outbox.acked(signed.message)
        except (FormatError, SignatureError, RollbackError):
            # Made up, or by an issuer that was replaced: posting again brings the true one.
            return True
        return True

    def take_acks(self) -> None:
        """Take the acks that wait at the vaults of our invites.

        Raises:
            RelayError, StoreError: a vault can't be reached.
        """
        vaults = {membership.vault: membership for membership in self._joined.memberships()}
        for membership in vaults.values():
            relay, mailbox = (
                self._post.relay(membership),
                contractor_mailbox(membership.client, self._identity.public_key),
            )
            after = 0
            while page := relay.fetch(mailbox, after=after, limit=_PAGE):
                for number, data in page:
                    after = number
                    if self.take_ack(data):
                        relay.ack(mailbox, number)
