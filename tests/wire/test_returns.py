"""Prekeys, status, presence, answers and acks: each rule between fields, and each bound, with its nearest twin."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.errors import FormatError
from labelvault.wire.ahead import MAX_BUNDLE_KEYS, MAX_PREKEY_LIFETIME, MAX_STATUS_LIFETIME, PrekeyBundle, Status
from labelvault.wire.answers import MAX_SUBMISSIONS, Ack, Submission, SubmissionOuter
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.frame import Signed, cosign, open_frame, sign_message
from labelvault.wire.presence import Approval, ApprovalRequest, Assignment
from labelvault.wire.schema import decode_record, encode_record
from tests.vectors import world
from tests.vectors.world import NOW

MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)


def keys(count: int) -> tuple[bytes, ...]:
    """So many different prekeys."""
    return tuple(bytes([number]) * 1216 for number in range(count))


BUNDLE = PrekeyBundle(world.CLIENT, world.EPOCH, keys(2), NOW, NOW + DAY)
STATUS = Status(world.CLIENT, world.EPOCH, b"c" * 400, "note", (), (), (), NOW, NOW + DAY)
ASK = ApprovalRequest(world.CLIENT, world.PROJECT, b"p" * 32, "open-request", b"body", NOW)
APPROVAL = Approval(world.CLIENT, world.PROJECT, b"k" * 32, b"h" * 32, bytes(64), NOW)
ASSIGNMENT = Assignment(world.CLIENT, world.PROJECT, b"k" * 32, world.TASK, "no. 1", b"c", NOW, NOW + MS)
OUTER = SubmissionOuter(world.CLIENT, world.PROJECT, b"l" * 32, world.TASK, 1, b"k" * 32, 1, "device", None, NOW)
SUBMISSION = Submission(encode_record(OUTER), b"sealed")
ACK = Ack(world.CLIENT, world.PROJECT, b"k" * 32, b"l" * 32, world.TASK, "answer", b"o" * 32, "accepted", b"c", NOW)
ALL = [BUNDLE, STATUS, ASK, APPROVAL, ASSIGNMENT, OUTER, SUBMISSION, ACK]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Any) -> None:
    """Every record survives its encoding."""
    assert decode_record(type(message), encode_record(message)) == message


@pytest.mark.parametrize(
    ("valid", "change"),
    [
        (BUNDLE, {"expires_at": NOW}),
        (BUNDLE, {"expires_at": NOW + MAX_PREKEY_LIFETIME + MS}),
        (BUNDLE, {"keys": (keys(1) * 2)}),
        (STATUS, {"next_update": NOW}),
        (STATUS, {"next_update": NOW + MAX_STATUS_LIFETIME + MS}),
        (STATUS, {"revoked": (b"b" * 32, b"a" * 32)}),
        (STATUS, {"revoked": (b"a" * 32, b"a" * 32)}),
        (STATUS, {"frozen": (b"b" * 16, b"a" * 16)}),
        (ASSIGNMENT, {"expires_at": NOW}),
        (OUTER, {"presence": "key"}),
        (OUTER, {"approved_at": NOW}),
        (OUTER, {"presence": "unapproved", "approved_at": NOW}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else type(value).__name__,
)
def test_what_contradicts_itself_is_refused(valid: Any, change: dict[str, Any]) -> None:
    """Rules between fields hold when a message is made and when it is read."""
    with pytest.raises(FormatError):
        replace(valid, **change)


@pytest.mark.parametrize(
    ("valid", "change"),
    [
        (BUNDLE, {"keys": ()}),
        (BUNDLE, {"keys": keys(MAX_BUNDLE_KEYS + 1)}),
        (BUNDLE, {"keys": (bytes(1215),)}),
        (STATUS, {"checkpoint": ""}),
        (ASK, {"asks": "card"}),
        (ASK, {"body": b""}),
        (APPROVAL, {"cosignature": bytes(63)}),
        (ASSIGNMENT, {"label": "x" * 201}),
        (OUTER, {"sequence": 0}),
        (OUTER, {"sequence": MAX_SUBMISSIONS + 1}),
        (SUBMISSION, {"sealed": bytes(60_001)}),
        (ACK, {"verdict": "paid"}),
        (ACK, {"event": "answered"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else type(value).__name__,
)
def test_what_is_out_of_bounds_is_not_encoded(valid: Any, change: dict[str, Any]) -> None:
    """Sizes and closed lists are checked on the way out too."""
    with pytest.raises(FormatError):
        encode_record(replace(valid, **change))


def test_the_largest_of_each_fits_into_a_frame() -> None:
    """Full bundles, statuses and submissions pass through a mailbox."""
    revoked = tuple(number.to_bytes(32, "big") for number in range(1500))
    frozen = tuple(number.to_bytes(16, "big") for number in range(200))
    full = Status(
        world.CLIENT, world.EPOCH, bytes(4096), "n" * 2000, revoked[:700], revoked[700:], frozen, NOW, NOW + DAY
    )
    for message in (
        replace(BUNDLE, keys=keys(MAX_BUNDLE_KEYS)),
        full,
        Submission(bytes(1024), bytes(60_000)),
        replace(ASK, body=encode_record(Submission(bytes(1024), bytes(60_000)))),
    ):
        assert len(sign_message(message, world.HELPER).data) <= MAX_BYTES


def test_F14_a_submission_is_cosigned_like_a_request() -> None:
    """A cosignature covers the body and the signer's key: another's frame does not carry it."""
    cosignature = cosign(SUBMISSION, world.HELPER.public_key, world.IDENTITY)
    signed: Signed[Submission] = sign_message(SUBMISSION, world.HELPER, cosignature)
    opened = open_frame(signed.data, Submission, world.HELPER.public_key)
    opened.frame.verify_cosignature(world.IDENTITY.public_key)
    with pytest.raises(FormatError):
        sign_message(ACK, world.HELPER, cosignature)
