"""The world that the vectors are about: one client and project, a helper, a desk with its presence device.

Every key comes from a fixed seed and every id is a hash of its name, so that all that is signed here is the same bytes
each time. None of these keys is used anywhere else.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.wire.answers import Ack, SubmissionOuter
from labelvault.wire.frame import Signed, cosign, frame_hash, sign_message
from labelvault.wire.ids import client_id
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import (
    Card,
    Denial,
    Grant,
    Invite,
    IssuerCertificate,
    LeaseOuter,
    Limits,
    OpenRequest,
    Receipt,
    Scope,
)


def fixed(name: str, size: int = 32) -> bytes:
    """Bytes that mean nothing and never change."""
    return hashlib.sha256(f"labelvault test vector: {name}".encode()).digest()[:size]


def signing_key(name: str) -> SigningKey:
    """The signing key of an actor."""
    return SigningKey(SecretBytes(fixed(f"{name} signing key")))


NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
DAY = timedelta(days=1)

IDENTITY, ISSUER = signing_key("client identity"), signing_key("issuer")
HELPER, DESK, PRESENCE = signing_key("helper"), signing_key("desk"), signing_key("presence device")
STRANGER = signing_key("stranger")
ONE_TIME = OneTimeKey(SecretBytes(fixed("one-time key seed")))
SUBMISSION = OneTimeKey(SecretBytes(fixed("submission key seed")))

CLIENT = client_id(IDENTITY.public_key)
OTHER_CLIENT = client_id(STRANGER.public_key)
PROJECT, OTHER_PROJECT = fixed("project", 16), fixed("other project", 16)
BATCH, EPOCH, GRANT_ID = fixed("batch", 16), fixed("epoch", 16), fixed("grant", 16)
TASK, GUIDELINE, OTHER_ITEM = fixed("task", 16), fixed("guideline", 16), fixed("other item", 16)
VAULT = "sqlite:////srv/labelvault/vault.db"

LIMITS = Limits(max_open=1, max_total=200, per_hour=30, lease_ttl_s=3600)

# Each function makes a valid message; keyword arguments replace fields.


def header(**changes: Any) -> ItemHeader:
    """The task's header."""
    return replace(ItemHeader(1, CLIENT, PROJECT, TASK, 1), **changes)


def card(**changes: Any) -> Card:
    """A helper's card."""
    return replace(Card("helper", "laptop", None, NOW), **changes)


def desk_card(**changes: Any) -> Card:
    """A desk's card."""
    return replace(Card("desk", "desk 4", PRESENCE.public_key, NOW), **changes)


def certificate(**changes: Any) -> IssuerCertificate:
    """The issuer's certificate."""
    made = IssuerCertificate(CLIENT, ISSUER.public_key, 2, EPOCH, NOW - DAY, NOW + 30 * DAY, NOW - DAY)
    return replace(made, **changes)


def grant(**changes: Any) -> Grant:
    """The helper's grant: one batch."""
    made = Grant(
        client=CLIENT,
        project=PROJECT,
        grant_id=GRANT_ID,
        issuer=ISSUER.public_key,
        contractor=HELPER.public_key,
        scope=Scope((BATCH,), ()),
        limits=LIMITS,
        not_before=NOW - DAY,
        expires_at=NOW + 7 * DAY,
        tier="helper",
        presence="device",
        presence_key=None,
        submission_key=SUBMISSION.public_key,
        at=NOW - DAY,
    )
    return replace(made, **changes)


def desk_grant(**changes: Any) -> Grant:
    """The desk's grant, which asks for presence."""
    desk = {"contractor": DESK.public_key, "tier": "desk", "presence": "key", "presence_key": PRESENCE.public_key}
    return grant(**(desk | changes))


def invite(**changes: Any) -> Invite:
    """The helper's invite."""
    made = Invite(CLIENT, PROJECT, CERTIFICATE.data, GRANT.data, VAULT, NOW - DAY)
    return replace(made, **changes)


def request(**changes: Any) -> OpenRequest:
    """The helper asks for the task."""
    made = OpenRequest(
        client=CLIENT,
        project=PROJECT,
        epoch=EPOCH,
        grant_hash=GRANT.hash,
        item=TASK,
        one_time_key=ONE_TIME.public_key,
        at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        replaces=None,
        approved_at=None,
    )
    return replace(made, **changes)


def desk_request(**changes: Any) -> OpenRequest:
    """The desk asks for the task, as its presence device approves."""
    return request(**({"grant_hash": DESK_GRANT.hash, "approved_at": NOW} | changes))


def sign_desk_request(message: OpenRequest, presence: SigningKey = PRESENCE) -> Signed[OpenRequest]:
    """The desk's request, cosigned and signed."""
    return sign_message(message, DESK, cosign(message, DESK.public_key, presence))


def outer(**changes: Any) -> LeaseOuter:
    """The outer part of the lease that answers the helper's request."""
    made = LeaseOuter(
        client=CLIENT,
        project=PROJECT,
        lease_id=REQUEST.hash,
        item=TASK,
        certificate_hash=CERTIFICATE.hash,
        contractor=HELPER.public_key,
        grant_hash=GRANT.hash,
        tier="helper",
        issued_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        status_max_age_s=0,
    )
    return replace(made, **changes)


def denial(**changes: Any) -> Denial:
    """The denial of the helper's request."""
    return replace(Denial(CLIENT, PROJECT, REQUEST.hash, "frozen", CERTIFICATE.data, NOW), **changes)


def receipt(**changes: Any) -> Receipt:
    """The helper's close receipt."""
    made = Receipt(CLIENT, PROJECT, frame_hash(REQUEST.data), TASK, "closed", "process-exit", NOW)
    return replace(made, **changes)


def submission_outer(**changes: Any) -> SubmissionOuter:
    """The outer part of the helper's answer to the task."""
    made = SubmissionOuter(CLIENT, PROJECT, REQUEST.hash, TASK, 1, HELPER.public_key, 1, "device", None, NOW)
    return replace(made, **changes)


def ack(**changes: Any) -> Ack:
    """The issuer took an answer of the helper's."""
    accepted = fixed("submission frame"), "accepted"
    made = Ack(CLIENT, PROJECT, HELPER.public_key, REQUEST.hash, TASK, "answer", *accepted, CERTIFICATE.data, NOW)
    return replace(made, **changes)


CERTIFICATE = sign_message(certificate(), IDENTITY)
GRANT = sign_message(grant(), IDENTITY)
DESK_GRANT = sign_message(desk_grant(), IDENTITY)
REQUEST = sign_message(request(), HELPER)
DESK_REQUEST = sign_desk_request(desk_request())
INVITE = sign_message(invite(), IDENTITY)
