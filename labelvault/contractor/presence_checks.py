"""At the presence device: what it is asked to approve, and every check before a person is asked. No disk, no clock.

The vendor's host may be the attacker's, desk key included. So the device approves only for desks that it enrolled
with, under grants that the client signed with this device's key in them, at the present time, each body once; and it
shows what it is about to approve (docs/spec.md, section 4.13).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from labelvault.contractor.membership import CLOCK_SKEW, Membership, newer_certificate, read_certificate
from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import (
    ApprovalRefusedError,
    ClockError,
    EnrolmentError,
    FormatError,
    GrantExpiredError,
)
from labelvault.wire.answers import Submission, SubmissionOuter
from labelvault.wire.frame import Signed, Signer, cosign, open_frame, parse_frame, sign_message
from labelvault.wire.messages import IssuerCertificate, OpenRequest
from labelvault.wire.presence import Approval, ApprovalRequest, Assignment
from labelvault.wire.schema import decode_record

REFUSALS: Final = ("desk", "device", "client", "grant", "expired", "clock", "repeated", "unassigned")
"""Why a device refuses, whatever its owner says."""
_APPROVED_LABEL: Final = b"labelvault/v1/approved\0"


@dataclass(frozen=True, slots=True)
class Desk:
    """A desk that this device enrolled with.

    Attributes:
        key: the desk's, 32 bytes.
        label: what its card says of the host.
        memberships: of the client's grants to it, newest first.
    """

    key: bytes
    label: str
    memberships: Sequence[Membership]


@dataclass(frozen=True, slots=True)
class Question:
    """What a desk asks, verified: a person reads it and decides. Made by `examine` alone.

    Attributes:
        request: as it came.
        record: what the desk will sign.
        desk: who asks.
        membership: the grant that it stands on.
        item: the task's id, 16 bytes.
        approved_at: the time that the desk put into what it will sign.
        assignment: the client's, of this task to this desk, if there is one.
    """

    request: Signed[ApprovalRequest]
    record: OpenRequest | Submission
    desk: Desk
    membership: Membership
    item: bytes
    approved_at: datetime
    assignment: Assignment | None

    @property
    def renews(self) -> bool:
        """Whether it renews a task that is open."""
        return isinstance(self.record, OpenRequest) and self.record.replaces is not None

    @property
    def once(self) -> bytes:
        """32 bytes by which a device remembers that it approved this."""
        return approved_hash(self.request)


def approved_hash(request: Signed[ApprovalRequest]) -> bytes:
    """Return a hash of desk and body: the same body asked for again, in another message, is the same approval."""
    return tagged_hash(
        _APPROVED_LABEL, request.frame.signer, request.message.asks.encode(), b"\0", request.message.body
    )


def examine(
    data: bytes,
    desks: Mapping[bytes, Desk],
    presence_key: bytes,
    assignments: Sequence[Assignment],
    now: datetime,
    *,
    require_assignment: bool,
) -> Question:
    """Check a request for approval.

    Args:
        data: the frame, as it came.
        desks: those that this device enrolled with, by their keys.
        presence_key: this device's own, 32 bytes.
        assignments: verified ones.
        now: this device's time.
        require_assignment: refuse what no assignment names.

    Raises:
        FormatError, SignatureError: malformed, about anything but an open request or a submission, or not signed by
            the desk.
        ApprovalRefusedError: with one of `REFUSALS`.
    """
    signer = parse_frame(data).signer
    desk = desks.get(signer)
    if desk is None:
        raise ApprovalRefusedError("desk", "a desk asks that this device does not know")
    request = open_frame(data, ApprovalRequest, signer)
    if request.message.presence_key != presence_key:
        raise ApprovalRefusedError("device", "another device is asked")
    if request.message.asks == OpenRequest.TYPE:
        opening = decode_record(OpenRequest, request.message.body)
        membership = _granted(desk, request.message, opening.client, opening.project, opening.grant_hash)
        record: OpenRequest | Submission = opening
        item, approved_at = opening.item, opening.approved_at
    else:
        record = decode_record(Submission, request.message.body)
        outer = decode_record(SubmissionOuter, record.outer)
        if outer.contractor != signer:
            raise ApprovalRefusedError("grant", "the answer is another desk's")
        membership = _granted(desk, request.message, outer.client, outer.project, None)
        item, approved_at = outer.item, outer.approved_at
    if membership.grant.message.presence_key != presence_key:
        raise ApprovalRefusedError("grant", "this desk's grant names another device")
    if now >= membership.expires_at:
        raise ApprovalRefusedError("expired", f"this desk's grant expired at {membership.expires_at.isoformat()}")
    if approved_at is None or abs(approved_at - now) > CLOCK_SKEW:
        raise ApprovalRefusedError("clock", _off(approved_at, now))
    assignment = _assigned(assignments, signer, membership, item, now)
    if assignment is None and require_assignment:
        raise ApprovalRefusedError("unassigned", "the client has not assigned this task to this desk")
    return Question(request, record, desk, membership, item, approved_at, assignment)


def approve(question: Question, presence: Signer, now: datetime) -> Signed[Approval]:
    """Cosign what a person approved. The caller has made sure that it is the first time.

    Args:
        question: from `examine`, at this time.
        presence: this device's key.
        now: this device's time.
    """
    asked, desk = question.request.message, question.desk.key
    approval = Approval(
        client=asked.client,
        project=asked.project,
        contractor=desk,
        request_hash=question.request.hash,
        cosignature=cosign(question.record, desk, presence),
        at=now,
    )
    return sign_message(approval, presence)


def read_assignment(
    data: bytes, desks: Mapping[bytes, Desk], now: datetime
) -> tuple[Signed[Assignment], Signed[IssuerCertificate]]:
    """Verify an assignment down from the client's pinned key, and that it is for a desk of ours, now.

    Returns:
        The assignment, and the certificate under which it was verified.

    Raises:
        FormatError, SignatureError: malformed, or not signed by an issuer that the client certified.
        RollbackError: it brings an older certificate than we know.
        EnrolmentError: for a desk or a project that this device does not know.
        GrantExpiredError: it is over, or its issuer's certificate was when it was made.
        ClockError: it was made in what this device takes for the future.
    """
    # Unverified: which desk it names only says whose pinned key to verify it under.
    frame = parse_frame(data)
    if frame.type != Assignment.TYPE:
        raise FormatError(f"an {Assignment.TYPE} was expected")
    claimed = decode_record(Assignment, frame.body)
    desk = desks.get(claimed.contractor)
    ours = [m for m in desk.memberships if m.project == claimed.project] if desk is not None else []
    if not ours:
        raise EnrolmentError("an assignment for a desk or a project that this device does not know")
    offered = read_certificate(claimed.certificate, ours[0].identity_key)
    certificate = newer_certificate(ours[0].certificate, offered)
    assignment = open_frame(data, Assignment, certificate.message.issuer)
    if assignment.message.client != ours[0].client:
        raise EnrolmentError("an assignment of another client")
    at = assignment.message.at
    if (
        now >= assignment.message.expires_at
        or not certificate.message.not_before <= at < certificate.message.expires_at
    ):
        raise GrantExpiredError("the assignment is over")
    if at > now + CLOCK_SKEW:
        raise ClockError("the assignment was made in this device's future: its clock is behind the issuer's")
    return assignment, certificate


def _granted(desk: Desk, asked: ApprovalRequest, client: bytes, project: bytes, grant_hash: bytes | None) -> Membership:
    """Return the grant that a body stands on: the one that it names, or the newest of its project."""
    ours = [m for m in desk.memberships if m.client == client == asked.client]
    if not ours:
        raise ApprovalRefusedError("client", "another client's work, or this device has not joined this desk's yet")
    for membership in ours:
        if membership.project == project == asked.project and grant_hash in (None, membership.grant.hash):
            return membership
    raise ApprovalRefusedError("grant", "a grant that this device does not know; join with the desk's newest invite")


def _off(approved_at: datetime | None, now: datetime) -> str:
    if approved_at is None:
        return "no time of approval is in it"
    return (
        f"it is dated {approved_at.isoformat()}, and this device's clock says {now.isoformat()}: ask again, or set the"
        " clock that is wrong"
    )


def _assigned(
    assignments: Sequence[Assignment], desk: bytes, membership: Membership, item: bytes, now: datetime
) -> Assignment | None:
    for each in assignments:
        names = (each.client, each.project, each.contractor, each.item)
        if names == (membership.client, membership.project, desk, item) and now < each.expires_at:
            return each
    return None
