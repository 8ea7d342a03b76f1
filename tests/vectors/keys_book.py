"""Vectors of card, certificate, grant and invite."""

from datetime import timedelta
from typing import Any

from labelvault.crypto.sign import SigningKey
from labelvault.keys.cards import client_fingerprint
from labelvault.wire.codec import decode
from labelvault.wire.frame import cosign, sign_message
from labelvault.wire.messages import Scope
from labelvault.wire.schema import encode_record
from tests.vectors import world
from tests.vectors.craft import DROP, altered, flipped, forged, frame, pack, spoilt
from tests.vectors.form import Book
from tests.vectors.world import DAY, DESK, HELPER, IDENTITY, ISSUER, NOW, PRESENCE, STRANGER

FORMAT, SIGNATURE, ENROLMENT, ROLLBACK = "FormatError", "SignatureError", "EnrolmentError", "RollbackError"
IDENTITY_POINT = b"\x01" + bytes(31)
NON_CANONICAL = ((2**255 - 19) + 3).to_bytes(32, "little")
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def ms(moment: Any) -> int:
    """A time as it stands on the wire."""
    return round(moment.timestamp() * 1000)


def add(book: Book) -> None:
    """Write this chapter."""
    _card(book)
    _certificate(book)
    _grant(book)
    _invite(book)


def _card(book: Book) -> None:
    helper = sign_message(world.card(), HELPER).data
    card = world.desk_card()
    desk = sign_message(card, DESK, cosign(card, DESK.public_key, PRESENCE)).data
    book.valid("card_valid", "a helper's card", card=helper.hex())
    book.valid("card_valid-desk", "a desk's card, cosigned by its presence device", card=desk.hex())

    def fault(name: str, description: str, kind: str, data: bytes, twin: str = "card_valid") -> None:
        book.fault(f"card_{name}", description, {"read_card": kind, "enroll": kind}, twin=twin, card=data.hex())

    of_desk = "card_valid-desk"
    fault("no-signature", "64 zeros where the signature was", SIGNATURE, spoilt(helper, signature=bytes(64)))
    fault("flipped-signature", "a bit of the signature", SIGNATURE, flip_signature(helper))
    fault("other-signer", "names another signer than signed it", SIGNATURE, spoilt(helper, signer=STRANGER.public_key))
    fault(
        "small-order-key",
        "the identity point as signer: one signature would fit every card",
        SIGNATURE,
        spoilt(helper, signer=IDENTITY_POINT, signature=IDENTITY_POINT + bytes(32)),
    )
    fault("order-8-key", "a point of order 8 as signer", SIGNATURE, spoilt(helper, signer=ORDER_8))
    fault("non-canonical-key", "a signer whose y is p + 3", SIGNATURE, spoilt(helper, signer=NON_CANONICAL))
    fault("other-type", "well signed as a receipt", FORMAT, frame("receipt", altered(world.card()), HELPER))
    fault(
        "frame-version-2",
        "well signed in frame version 2",
        FORMAT,
        frame("card", altered(world.card()), HELPER, version=2),
    )
    fault("frame-trailing-byte", "a byte follows the frame", FORMAT, helper + b"\0")
    fault("long-label", "a host label of 81 bytes", FORMAT, forged(world.card(), HELPER, host_label="x" * 81))
    fault("unknown-tier", "a tier that there is not", FORMAT, forged(world.card(), HELPER, tier="server"))
    fault("unknown-field", "a field more", FORMAT, forged(world.card(), HELPER, client=world.CLIENT))
    fault(
        "helper-with-presence",
        "a helper with a presence key",
        FORMAT,
        forged(world.card(), HELPER, PRESENCE, presence_key=PRESENCE.public_key),
    )
    fault(
        "helper-cosigned",
        "a cosignature, but no presence key",
        SIGNATURE,
        sign_message(world.card(), HELPER, cosign(world.card(), HELPER.public_key, PRESENCE)).data,
    )
    fault("desk-not-cosigned", "a presence key that did not cosign", SIGNATURE, sign_message(card, DESK).data, of_desk)
    fault(
        "desk-cosigned-by-another",
        "cosigned by another key",
        SIGNATURE,
        sign_message(card, DESK, cosign(card, DESK.public_key, STRANGER)).data,
        of_desk,
    )
    fault(
        "desk-cosigned-by-itself",
        "cosigned by the desk's own key",
        SIGNATURE,
        sign_message(card, DESK, cosign(card, DESK.public_key, DESK)).data,
        of_desk,
    )
    other = world.desk_card(host_label="desk 5")
    fault(
        "desk-cosignature-moved",
        "the cosignature of another card",
        SIGNATURE,
        sign_message(card, DESK, cosign(other, DESK.public_key, PRESENCE)).data,
        of_desk,
    )
    fault("desk-cosignature-short", "a cosignature of 63 bytes", FORMAT, spoilt(desk, cosignature=bytes(63)), of_desk)
    own = world.desk_card(presence_key=DESK.public_key)
    fault(
        "desk-presence-is-identity",
        "the desk's own key as presence key",
        SIGNATURE,
        sign_message(own, DESK, cosign(own, DESK.public_key, DESK)).data,
        of_desk,
    )
    weak = world.desk_card(presence_key=IDENTITY_POINT)
    fault(
        "desk-small-order-presence",
        "the identity point as presence key",
        SIGNATURE,
        sign_message(weak, DESK, IDENTITY_POINT + bytes(32)).data,
        of_desk,
    )


def flip_signature(data: bytes) -> bytes:
    """A frame with a bit of its signature flipped."""
    at = data.index(b"\xa9signature") + 12
    return flipped(data, at)


def _certificate(book: Book) -> None:
    good = world.CERTIFICATE.data
    book.valid(
        "certificate_valid",
        "the issuer's certificate, of serial 2; `known` is the one that was seen before",
        certificate=good.hex(),
        known=good.hex(),
        identity_key=IDENTITY.public_key.hex(),
    )
    newer = sign_message(world.certificate(serial=3, epoch=world.fixed("next epoch", 16)), IDENTITY).data
    book.valid(
        "certificate_valid-newer",
        "a later certificate, of another epoch",
        certificate=newer.hex(),
        known=good.hex(),
        identity_key=IDENTITY.public_key.hex(),
    )

    def fault(name: str, description: str, kind: str, data: bytes) -> None:
        refused = {"read_certificate": kind, "read_invite": kind, "read_denial": kind}
        book.fault(f"certificate_{name}", description, refused, certificate=data.hex())

    def changed(signer: SigningKey = IDENTITY, **changes: Any) -> bytes:
        return forged(world.certificate(), signer, **changes)

    fault("serial-0", "serial 0", FORMAT, changed(serial=0))
    fault("ends-before-it-begins", "ends when it begins", FORMAT, changed(expires_at=ms(NOW - DAY)))
    fault("no-epoch", "no epoch", FORMAT, changed(epoch=DROP))
    fault("short-epoch", "an epoch of 15 bytes", FORMAT, changed(epoch=world.EPOCH[:15]))
    fault("unknown-field", "a field more", FORMAT, changed(path_length=1))
    fault("time-beyond-9999", "ends in the year 10000", FORMAT, changed(expires_at=253_402_300_800_000))
    fault("other-type", "well signed as a grant", FORMAT, frame("grant", altered(world.certificate()), IDENTITY))
    fault("other-signer", "signed by another key", SIGNATURE, changed(STRANGER))
    fault("self-signed", "signed by the issuer itself", SIGNATURE, changed(ISSUER))
    fault("flipped-signature", "a bit of the signature", SIGNATURE, flip_signature(good))
    fault("small-order-issuer", "the identity point as issuer key", SIGNATURE, changed(issuer=IDENTITY_POINT))
    fault("other-client", "of another client", ENROLMENT, changed(client=world.OTHER_CLIENT))
    alone = ("read_certificate", "read_invite")
    for name, description, kind, data in (
        ("older-serial", "serial 1, after serial 2 was seen", ROLLBACK, changed(serial=1)),
        (
            "same-serial",
            "another certificate of the same serial",
            SIGNATURE,
            changed(epoch=world.fixed("next epoch", 16)),
        ),
    ):
        book.fault(f"certificate_{name}", description, {"read_denial": kind}, accepted=alone, certificate=data.hex())


def _grant(book: Book) -> None:
    helper = {"identity_key": IDENTITY.public_key.hex(), "contractor": HELPER.public_key.hex()}
    desk = {"identity_key": IDENTITY.public_key.hex(), "contractor": DESK.public_key.hex()}
    waived = sign_message(world.desk_grant(presence="waived", presence_key=None), IDENTITY).data
    book.valid("grant_valid", "a helper's grant of one batch", grant=world.GRANT.data.hex(), **helper)
    book.valid("grant_valid-desk", "a desk's grant that asks for presence", grant=world.DESK_GRANT.data.hex(), **desk)
    book.valid("grant_valid-waived", "a desk's grant with presence waived", grant=waived.hex(), **desk)

    def fault(name: str, description: str, data: bytes, kind: str = FORMAT, twin: str = "grant_valid") -> None:
        book.fault(f"grant_{name}", description, {"open_frame": kind, "read_invite": kind}, twin=twin, grant=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(world.grant(), IDENTITY, **changes)

    def desk_changed(**changes: Any) -> bytes:
        return forged(world.desk_grant(), IDENTITY, **changes)

    low, high = sorted((world.fixed("one", 16), world.fixed("two", 16)))
    fault("empty-scope", "a scope that names nothing", changed(scope__batches=[]))
    fault("unsorted-scope", "batches in falling order", changed(scope__batches=[high, low]))
    fault("scope-twice", "one batch twice", changed(scope__batches=[low, low]))
    fault("unsorted-items", "items in falling order", changed(scope__items=[high, low]))
    fault("wildcard", "a star where ids stand", changed(scope__batches=[b"*"]))
    fault("scope-all", "a text where ids stand", changed(scope__batches="all"))
    fault("no-scope", "no scope", changed(scope=DROP))
    for limit in ("max_open", "max_total", "per_hour", "lease_ttl_s"):
        fault(f"{limit.replace('_', '-')}-0", f"{limit} is 0", changed(**{f"limits__{limit}": 0}))
        fault(f"no-{limit.replace('_', '-')}", f"no {limit}", changed(**{f"limits__{limit}": DROP}))
    fault(
        "float-limit",
        "max_open is 1.0",
        frame("grant", pack({**_body(), "limits": {**_body()["limits"], "max_open": 1.0}}), IDENTITY),
    )
    fault("boolean-limit", "max_open is true", changed(limits__max_open=True))
    fault("long-lease", "leases of more than a week", changed(limits__lease_ttl_s=604_801))
    fault("no-expiry", "no end", changed(expires_at=DROP))
    fault("expiry-nil", "an end of nil", changed(expires_at=None))
    fault("ends-before-it-begins", "ends when it begins", changed(expires_at=ms(NOW - DAY)))
    fault("unknown-field", "a field more", changed(admin=False))
    fault("no-presence", "presence is absent", changed(presence=DROP))
    fault("helper-waived", "presence waived for a helper", changed(presence="waived"))
    fault("helper-with-presence-key", "a helper with a presence key", changed(presence_key=PRESENCE.public_key))
    fault(
        "short-submission-key",
        "a submission key without its post-quantum half",
        changed(submission_key=world.SUBMISSION.public_key[1184:]),
    )
    fault("other-type", "well signed as an invite", frame("invite", altered(world.grant()), IDENTITY))
    fault("other-signer", "signed by another key", forged(world.grant(), STRANGER), SIGNATURE)
    fault("signed-by-issuer", "signed by the issuer, who may not grant", forged(world.grant(), ISSUER), SIGNATURE)
    fault("flipped-signature", "a bit of the signature", flip_signature(world.GRANT.data), SIGNATURE)
    fault(
        "flipped-body",
        "another project under the same signature",
        spoilt(world.GRANT.data, body=altered(world.grant(), project=world.OTHER_PROJECT)),
        SIGNATURE,
    )
    fault(
        "desk-device",
        "a desk whose presence is its own device",
        desk_changed(presence="device", presence_key=None),
        twin="grant_valid-desk",
    )
    fault(
        "desk-key-missing",
        "presence by a key that is not named",
        desk_changed(presence_key=None),
        twin="grant_valid-desk",
    )
    fault(
        "waived-with-key",
        "a presence key, and presence waived",
        desk_changed(presence="waived"),
        twin="grant_valid-waived",
    )


def _body() -> dict[str, Any]:
    value: Any = decode(encode_record(world.grant()))
    return dict(value)


def _invite(book: Book) -> None:
    book.valid(
        "invite_valid",
        "the helper's invite, and the client's fingerprint as it was spoken",
        invite=world.INVITE.data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=HELPER.public_key.hex(),
        fingerprint=client_fingerprint(IDENTITY.public_key),
    )
    both = ("check_invite_fingerprint", "read_invite")

    def fault(name: str, description: str, kind: str, seen_by: tuple[str, ...] = both, **change: Any) -> None:
        given: dict[str, Any] = {k: v.hex() if isinstance(v, bytes) else v for k, v in change.items()}
        accepted = tuple(each for each in both if each not in seen_by)
        book.fault(f"invite_{name}", description, dict.fromkeys(seen_by, kind), accepted=accepted, **given)

    def changed(signer: SigningKey = IDENTITY, **changes: Any) -> bytes:
        return forged(world.invite(), signer, **changes)

    inside = ("read_invite",)
    fault(
        "spoken-otherwise",
        "the fingerprint of another client was spoken",
        ENROLMENT,
        ("check_invite_fingerprint",),
        fingerprint=client_fingerprint(STRANGER.public_key),
    )
    fault("trailing-byte", "a byte follows the invite", FORMAT, invite=world.INVITE.data + b"\0")
    fault("flipped-signature", "a bit of the signature", SIGNATURE, inside, invite=flip_signature(world.INVITE.data))
    fault("other-contractor", "made for another contractor", ENROLMENT, inside, contractor=DESK.public_key)
    fault("other-client", "names another client", ENROLMENT, inside, invite=changed(client=world.OTHER_CLIENT))
    fault(
        "other-project",
        "names another project than its grant",
        ENROLMENT,
        inside,
        invite=changed(project=world.OTHER_PROJECT),
    )
    fault("no-vault", "no address", FORMAT, inside, invite=changed(vault=""))
    foreign = sign_message(world.grant(client=world.OTHER_CLIENT), IDENTITY).data
    fault("grant-of-another-client", "its grant names another client", ENROLMENT, inside, invite=changed(grant=foreign))
    issued = sign_message(world.grant(issuer=STRANGER.public_key), IDENTITY).data
    fault(
        "grant-of-another-issuer",
        "its grant names another issuer than its certificate",
        ENROLMENT,
        inside,
        invite=changed(grant=issued),
    )
    unsigned = forged(world.grant(scope=Scope((), (world.TASK,)), expires_at=NOW + timedelta(days=90)), STRANGER)
    fault(
        "grant-of-another-signer",
        "its grant is signed by somebody else",
        SIGNATURE,
        inside,
        invite=changed(grant=unsigned),
    )
