"""Messages between a desk, the contractor's own device that stands by it, and the issuer.

What the device approves with is a cosignature (`labelvault.wire.frame.cosign`) over the body that the desk is about to
sign: it fits that body and that desk's key only. These messages carry body and cosignature to and fro.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final

from labelvault.errors import FormatError
from labelvault.wire.messages import Hash32, Id16, Key32
from labelvault.wire.schema import Between, Fixed, OneOf, Text

MAX_APPROVED_BODY_BYTES: Final = 62_000
"""A submission's body with room for the frame around it; an open request's is smaller."""

Approvable = Annotated[str, OneOf("open-request", "submission")]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A desk asks its presence device to cosign; signed by the desk's key.

    Attributes:
        presence_key: the device that is asked.
        asks: the frame type of what the desk will sign.
        body: the exact record that it will sign.
    """

    TYPE: ClassVar[str] = "approval-request"
    client: Hash32
    project: Id16
    presence_key: Key32
    asks: Approvable
    body: Annotated[bytes, Between(1, MAX_APPROVED_BODY_BYTES)]
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """The device approved; signed by the presence key.

    Attributes:
        contractor: the desk's key; the cosignature fits no other.
        request_hash: frame hash of the `ApprovalRequest`.
        cosignature: 64 bytes, for `labelvault.wire.frame.sign_message`.
    """

    TYPE: ClassVar[str] = "approval"
    client: Hash32
    project: Id16
    contractor: Key32
    request_hash: Hash32
    cosignature: Annotated[bytes, Fixed(64)]
    at: datetime


@dataclass(frozen=True, slots=True)
class Assignment:
    """The issuer says which task a desk is meant to open next; signed by the issuer key.

    A device that checks it knows which task it approves; one that does not knows only that it is one task.

    Attributes:
        contractor: the desk's key.
        label: what the device shows beside the id. The vendor relays it, so it has to be opaque to him.
        certificate: the frame of the issuer's `IssuerCertificate`.
    """

    TYPE: ClassVar[str] = "assignment"
    client: Hash32
    project: Id16
    contractor: Key32
    item: Id16
    label: Annotated[str, Text(200)]
    certificate: Annotated[bytes, Between(1, 4096)]
    at: datetime
    expires_at: datetime

    def __post_init__(self) -> None:
        if self.at >= self.expires_at:
            raise FormatError("an assignment ends before it begins")
