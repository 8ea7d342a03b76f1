"""Messages of the way back: what a contractor answers, sealed to the client, and what the issuer says to it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from labelvault.errors import FormatError
from labelvault.wire.messages import Hash32, Id16, Key32
from labelvault.wire.schema import Between, OneOf, UInt

SUBMISSION_INFO_LABEL: Final = b"labelvault/v1/submission\0"
"""HPKE info of a submission = this ‖ its outer bytes: the sealed part opens beside no other outer part."""
MAX_SUBMISSIONS: Final = 16
"""Of one lease: the first answer and its revisions."""
SUBMISSION_GRACE: Final = timedelta(hours=1)
"""How long after its lease's end an answer may be dated."""
ACK_VERDICTS: Final = ("accepted", "late", "misbound", "replayed", "revoked")


@dataclass(frozen=True, slots=True)
class SubmissionOuter:
    """The part of a submission that anyone may read; the sealed part is bound to all of it.

    Attributes:
        item: the task.
        version: of the task that was answered.
        sequence: 1 for the first answer under a lease, then 2, and so on; the highest is what counts.
        presence: `device` in the helper tier; at a desk `key` if its presence device cosigned, else `unapproved`.
        approved_at: when the presence device approved, by its own clock; present exactly with `key`.
    """

    client: Hash32
    project: Id16
    lease_id: Hash32
    item: Id16
    version: Annotated[int, UInt(1, 2**32)]
    contractor: Key32
    sequence: Annotated[int, UInt(1, MAX_SUBMISSIONS)]
    presence: Annotated[str, OneOf("device", "key", "unapproved")]
    approved_at: datetime | None
    at: datetime

    def __post_init__(self) -> None:
        if (self.presence == "key") != (self.approved_at is not None):
            raise FormatError("a time of approval stands exactly where presence is `key`")


@dataclass(frozen=True, slots=True)
class Submission:
    """An answer to a task, sealed to the grant's submission key; signed by the contractor's key.

    Attributes:
        outer: canonical bytes of a `SubmissionOuter`, kept exact because the sealed part is bound to them.
        sealed: HPKE of the padded answer (`labelvault.envelope.answer`).
    """

    TYPE: ClassVar[str] = "submission"
    outer: Annotated[bytes, Between(1, 1024)]
    sealed: Annotated[bytes, Between(1, 60_000)]


@dataclass(frozen=True, slots=True)
class Ack:
    """The issuer took a receipt or a submission, or says why not; signed by the issuer key.

    Brings the certificate that names that key, so that the vendor, who knows the client's id, can verify what it pays
    on. Holds no content.

    Attributes:
        contractor: whose message it was.
        event: of the receipt; `answer` for a submission.
        of: frame hash of the receipt or submission.
        verdict: one of `ACK_VERDICTS`.
        certificate: the frame of the issuer's `IssuerCertificate`.
    """

    TYPE: ClassVar[str] = "ack"
    client: Hash32
    project: Id16
    contractor: Key32
    lease_id: Hash32
    item: Id16
    event: Annotated[str, OneOf("opened", "submitted", "closed", "answer")]
    of: Hash32
    verdict: Annotated[str, OneOf(*ACK_VERDICTS)]
    certificate: Annotated[bytes, Between(1, 4096)]
    at: datetime
