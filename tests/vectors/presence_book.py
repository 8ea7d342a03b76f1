"""Vectors of what a presence device is asked to approve, and of assignments."""

from dataclasses import replace
from datetime import timedelta

from labelvault.wire.frame import sign_message
from labelvault.wire.presence import ApprovalRequest, Assignment
from labelvault.wire.schema import encode_record
from labelvault.wire.times import to_ms as ms
from tests.vectors import world
from tests.vectors.craft import altered, forged, frame, spoilt
from tests.vectors.form import Book
from tests.vectors.world import (
    CERTIFICATE,
    CLIENT,
    DESK,
    IDENTITY,
    ISSUER,
    NOW,
    OTHER_CLIENT,
    OTHER_PROJECT,
    PRESENCE,
    STRANGER,
    TASK,
)

FORMAT, SIGNATURE, ENROLMENT = "FormatError", "SignatureError", "EnrolmentError"
MS = timedelta(milliseconds=1)
SKEW = timedelta(seconds=120)


def add(book: Book) -> None:
    """Add all of them."""
    _approval(book)
    _assignment(book)


def _asked(**changes: object) -> ApprovalRequest:
    body = encode_record(world.desk_request())
    made = ApprovalRequest(CLIENT, world.PROJECT, PRESENCE.public_key, "open-request", body, NOW)
    return replace(made, **changes)  # type: ignore[arg-type]


def _approval(book: Book) -> None:
    good = sign_message(_asked(), DESK).data
    invite = sign_message(world.invite(grant=world.DESK_GRANT.data), IDENTITY).data
    known = {
        "invite": invite.hex(),
        "identity_key": IDENTITY.public_key.hex(),
        "contractor": DESK.public_key.hex(),
        "presence_key": PRESENCE.public_key.hex(),
        "now": ms(NOW),
    }
    book.valid("approval_valid", "the desk asks its device to approve one opening", request=good.hex(), **known)

    def fault(name: str, description: str, data: bytes, kind: str) -> None:
        book.fault(f"approval_{name}", description, {"examine": kind}, request=data.hex())

    def refused(name: str, description: str, reason: str, message: ApprovalRequest) -> None:
        fault(name, description, sign_message(message, DESK).data, f"ApprovalRefusedError: {reason}")

    def body(**changes: object) -> bytes:
        return encode_record(replace(world.desk_request(), **changes))  # type: ignore[arg-type]

    stranger = sign_message(_asked(), STRANGER).data
    fault("other-signer", "signed by a key that is no desk of the device", stranger, "ApprovalRefusedError: desk")
    fault("flipped-signature", "one bit of the signature", spoilt(good, signature=bytes(64)), SIGNATURE)
    fault("other-type", "well signed as a card", frame("card", altered(_asked()), DESK), FORMAT)
    fault("asks-for-a-card", "asks for what is never approved", forged(_asked(), DESK, asks="card"), FORMAT)
    fault("body-of-another-record", "a body that is no opening", forged(_asked(), DESK, body=b"\x80"), FORMAT)
    fault("unknown-field", "a field that no approval request has", forged(_asked(), DESK, more=1), FORMAT)
    refused("of-another-device", "another presence key", "device", _asked(presence_key=STRANGER.public_key))
    refused("other-client", "the message names another client", "client", _asked(client=OTHER_CLIENT))
    refused("body-of-another-client", "the body does", "client", _asked(body=body(client=OTHER_CLIENT)))
    refused("other-project", "the message names another project", "grant", _asked(project=OTHER_PROJECT))
    refused("body-of-another-grant", "the helper's grant", "grant", _asked(body=body(grant_hash=world.GRANT.hash)))
    refused("not-dated", "no time of approval", "clock", _asked(body=body(approved_at=None)))
    refused("ahead", "dated 120.001 s ahead", "clock", _asked(body=body(approved_at=NOW + SKEW + MS)))
    refused("old", "dated 120.001 s ago", "clock", _asked(body=body(approved_at=NOW - SKEW - MS)))
    book.fault(
        "approval_grant-expired",
        "asked when the desk's grant has ended",
        {"examine": "ApprovalRefusedError: expired"},
        now=ms(world.desk_grant().expires_at),
    )


def _assignment(book: Book) -> None:
    message = Assignment(
        CLIENT, world.PROJECT, DESK.public_key, TASK, "no. 17", CERTIFICATE.data, NOW, NOW + timedelta(hours=8)
    )
    good = sign_message(message, ISSUER).data
    book.valid(
        "assignment_valid",
        "the task is assigned to the desk",
        assignment=good.hex(),
        invite=sign_message(world.invite(grant=world.DESK_GRANT.data), IDENTITY).data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=DESK.public_key.hex(),
        now=ms(NOW),
    )

    def fault(name: str, description: str, data: bytes, kind: str) -> None:
        book.fault(f"assignment_{name}", description, {"read_assignment": kind}, assignment=data.hex())

    other = sign_message(world.certificate(), STRANGER).data
    older = sign_message(world.certificate(serial=1), IDENTITY).data
    fault("other-signer", "signed by a key that is not certified", sign_message(message, STRANGER).data, SIGNATURE)
    fault("signed-by-the-desk", "a desk assigns itself", sign_message(message, DESK).data, SIGNATURE)
    fault("flipped-signature", "another signature", spoilt(good, signature=bytes(64)), SIGNATURE)
    fault("other-certificate", "a certificate of another client", forged(message, ISSUER, certificate=other), SIGNATURE)
    fault("older-certificate", "an older one", forged(message, ISSUER, certificate=older), "RollbackError")
    fault("other-type", "well signed as a card", frame("card", altered(message), ISSUER), FORMAT)
    fault("other-client", "another client's", forged(message, ISSUER, client=OTHER_CLIENT), ENROLMENT)
    fault("other-project", "another project", forged(message, ISSUER, project=OTHER_PROJECT), ENROLMENT)
    fault("other-desk", "for an unknown desk", forged(message, ISSUER, contractor=STRANGER.public_key), ENROLMENT)
    fault("long-label", "201 bytes", forged(message, ISSUER, label="x" * 201), FORMAT)
    fault("ends-before-it-begins", "ends as it begins", forged(message, ISSUER, expires_at=ms(NOW)), FORMAT)
    fault("from-the-future", "made 120.001 s ahead", forged(message, ISSUER, at=ms(NOW + SKEW + MS)), "ClockError")
    book.fault(
        "assignment_over",
        "it has ended",
        {"read_assignment": "GrantExpiredError"},
        now=ms(message.expires_at),
    )
