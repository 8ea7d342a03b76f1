"""Vectors of what goes before an opening ahead of time: bundles of prekeys, statuses, and leases sealed to a prekey."""

from datetime import timedelta
from typing import Any

from labelvault.wire.ahead import PrekeyBundle, Status
from labelvault.wire.frame import sign_message
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.messages import Lease
from labelvault.wire.schema import encode_record
from labelvault.wire.times import to_ms as ms
from tests.vectors import world
from tests.vectors.craft import Sealed, altered, forged, frame, spoilt
from tests.vectors.form import Book
from tests.vectors.world import CERTIFICATE, CLIENT, DESK, HELPER, IDENTITY, ISSUER, NOW, OTHER_CLIENT, STRANGER

FORMAT, SIGNATURE, LEASE = "FormatError", "SignatureError", "LeaseError"
MS, DAY, MINUTE = timedelta(milliseconds=1), timedelta(days=1), timedelta(minutes=1)
PREKEY = world.ONE_TIME.public_key


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""
    _bundle(book)
    _status(book)
    _lease(book, sealed)


def _bundle(book: Book) -> None:
    message = PrekeyBundle(CLIENT, world.EPOCH, (PREKEY, world.SUBMISSION.public_key), NOW, NOW + 30 * DAY)
    good = sign_message(message, HELPER).data
    book.valid(
        "prekey-bundle_valid",
        "two one-time keys of the helper's; `now` is the issuer's time",
        bundle=good.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
    )

    def fault(name: str, description: str, data: bytes, kind: str = FORMAT) -> None:
        refused = {"open_frame": kind, "issue": kind, "handle": "junk"}
        book.fault(f"prekey-bundle_{name}", description, refused, bundle=data.hex())

    def unusable(name: str, description: str, refused: dict[str, str], **changes: Any) -> None:
        accepted = tuple(entry for entry in ("open_frame", "handle") if entry not in refused)
        data = forged(message, HELPER, **changes).hex()
        book.fault(f"prekey-bundle_{name}", description, refused, accepted=accepted, bundle=data)

    fault("flipped-signature", "another signature", spoilt(good, signature=bytes(64)), SIGNATURE)
    fault("not-enrolled", "signed by a key that was never enrolled", forged(message, STRANGER), SIGNATURE)
    fault("other-type", "well signed as a card", frame("card", altered(message), HELPER))
    fault("key-twice", "the same key twice", forged(message, HELPER, keys=[PREKEY, PREKEY]))
    fault("key-classical", "a key without its post-quantum half", forged(message, HELPER, keys=[PREKEY[1184:]]))
    fault("no-keys", "no key", forged(message, HELPER, keys=[]))
    fault("too-many-keys", "51 keys", forged(message, HELPER, keys=[PREKEY] * 51))
    fault("lives-too-long", "31 days and 1 ms", forged(message, HELPER, expires_at=ms(NOW + 31 * DAY + MS)))
    fault("lives-not-at-all", "expires as it begins", forged(message, HELPER, expires_at=ms(NOW)))
    fault("unknown-field", "a field more", forged(message, HELPER, grant=world.GRANT.hash))
    book.fault(
        "prekey-bundle_of-a-desk",
        "well signed by the desk, which nobody is present at in advance",
        {"open_frame": SIGNATURE, "issue": SIGNATURE},
        accepted=("handle",),
        bundle=sign_message(message, DESK).data.hex(),
    )
    unusable("other-epoch", "another epoch", {"issue": "PrekeyError"}, epoch=world.fixed("old epoch", 16))
    unusable("other-client", "another client's", {"issue": "EnrolmentError", "handle": "junk"}, client=OTHER_CLIENT)
    low = PREKEY[:1184] + bytes(32)
    unusable("key-low-order", "an X25519 point of low order", {"issue": "IssueRefusedError: unavailable"}, keys=[low])
    book.fault(
        "prekey-bundle_expired",
        "at the very millisecond of its end",
        {"issue": "PrekeyExpiredError", "handle": "junk"},
        accepted=("open_frame",),
        bundle=forged(message, HELPER, at=ms(NOW - DAY), expires_at=ms(NOW)).hex(),
    )


def _status(book: Book) -> None:
    ids = sorted((world.GRANT.hash, world.DESK_GRANT.hash))
    message = Status(
        CLIENT,
        world.EPOCH,
        CERTIFICATE.data,
        "a signed note\n",
        tuple(ids),
        (world.fixed("lease", 32),),
        (world.PROJECT,),
        NOW,
        NOW + MINUTE,
    )
    good = sign_message(message, ISSUER).data
    book.valid(
        "status_valid",
        "both grants and a lease are revoked, the project is frozen; `seen` is when the newest known status was made",
        status=good.hex(),
        client=CLIENT.hex(),
        invite=world.INVITE.data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
        seen=ms(NOW),
    )

    def fault(name: str, description: str, data: bytes, kind: str = SIGNATURE) -> None:
        refused = {"open_certified": kind, "take_status": kind, "store": "opaque"}
        book.fault(f"status_{name}", description, refused, status=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(message, ISSUER, **changes)

    stranger = sign_message(world.certificate(), STRANGER).data
    fault("other-signer", "signed by a key that is not certified", forged(message, STRANGER))
    fault("signed-by-identity", "signed by the client's identity key", forged(message, IDENTITY))
    fault("flipped-signature", "another signature", spoilt(good, signature=bytes(64)))
    fault("certificate-by-stranger", "a certificate that another client signed", changed(certificate=stranger))
    fault("other-client", "names another client", changed(client=OTHER_CLIENT))
    after = NOW + 30 * DAY
    fault("after-its-certificate", "dated at its end", changed(at=ms(after), next_update=ms(after + MINUTE)))
    fault("revoked-unsorted", "revoked grants out of order", changed(revoked=ids[::-1]), FORMAT)
    fault("revoked-twice", "a revoked grant twice", changed(revoked=[ids[0], ids[0]]), FORMAT)
    many = sorted(world.fixed(f"lease {number}") for number in range(1499))
    fault("too-many-revoked", "1,499 leases besides two grants", changed(revoked_leases=many), FORMAT)
    fault("lease-twice", "a revoked lease twice", changed(revoked_leases=[many[0], many[0]]), FORMAT)
    fault("next-before-at", "the next one is due as it is made", changed(next_update=ms(NOW)), FORMAT)
    fault("next-too-late", "due in 7 days and 1 ms", changed(next_update=ms(NOW + 7 * DAY + MS)), FORMAT)
    fault("other-type", "well signed as a card", frame("card", altered(message), ISSUER), FORMAT)
    seen = ("open_certified", "store")
    book.fault(
        "status_older", "1 ms older than one seen", {"take_status": "RollbackError"}, accepted=seen, seen=ms(NOW + MS)
    )
    book.fault(
        "status_from-the-future",
        "made 120.001 s ahead",
        {"take_status": "ClockError"},
        accepted=seen,
        now=ms(NOW - timedelta(seconds=120) - MS),
    )


def _lease(book: Book, sealed: Sealed) -> None:
    parts = sealed.lease("valid", world.outer(), b"")
    outer = world.outer(lease_id=prekey_lease_id(world.GRANT.hash, PREKEY), status_max_age_s=86_400)

    def lease(**changes: Any) -> str:
        return forged(Lease(encode_record(outer), parts), ISSUER, outer=altered(outer, **changes)).hex()

    book.valid(
        "ahead_valid",
        "a lease that was issued ahead to a prekey, as far as it is read before it is opened",
        lease=lease(),
        prekey=PREKEY.hex(),
        invite=world.INVITE.data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
    )

    def fault(name: str, description: str, **changes: Any) -> None:
        book.fault(f"ahead_{name}", description, {"read_ahead_lease": LEASE}, accepted=("store",), **changes)

    other = world.SUBMISSION.public_key
    fault("other-prekey", "read with another prekey", prekey=other.hex())
    fault("lease-id-of-a-request", "the lease id is a request's hash", lease=lease(lease_id=world.REQUEST.hash))
    of_desk = prekey_lease_id(world.DESK_GRANT.hash, PREKEY)
    fault("lease-id-of-another-grant", "the lease id is of another grant", lease=lease(lease_id=of_desk))
    fault("no-status-age", "it says no age of a status", lease=lease(status_max_age_s=0))
    fault("other-item", "of another task", lease=lease(item=world.OTHER_ITEM))
    fault("lives-over-ttl", "1 ms too long", lease=lease(expires_at=ms(NOW + timedelta(hours=1) + MS)))
