"""Vectors of request, authorize, lease, denial and receipt."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from labelvault.envelope.metadata import Metadata
from labelvault.wire.codec import decode
from labelvault.wire.frame import sign_message
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import Lease, LeasedItem, LeaseOuter
from labelvault.wire.schema import encode_record
from tests.vectors import world
from tests.vectors.craft import DROP, Sealed, altered, flipped, forged, frame, leased, pack, plaintext, secrets, spoilt
from tests.vectors.form import Book
from tests.vectors.items_book import GUIDELINE_HEADER, HEADER, guideline_payload, task_payload
from tests.vectors.keys_book import flip_signature, ms
from tests.vectors.world import DAY, DESK, HELPER, IDENTITY, ISSUER, NOW, PRESENCE, STRANGER

FORMAT, SIGNATURE, DECRYPTION, TAMPERED = "FormatError", "SignatureError", "DecryptionError", "TamperedError"
LEASE, EXPIRED, CLOCK, TIMEOUT = "LeaseError", "LeaseExpiredError", "ClockError", "RequestTimeoutError"
MINUTE, MS = timedelta(minutes=1), timedelta(milliseconds=1)
SERVED = ["payload_valid", "payload_valid-chunks"]


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""
    _request(book)
    _authorize(book)
    _lease(book, sealed)
    _denial(book)
    _receipt(book)


def _request(book: Book) -> None:
    good = world.REQUEST.data
    book.valid(
        "request_valid",
        "the helper asks for the task; `now` is the issuer's time",
        request=good.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
    )

    def fault(name: str, description: str, data: bytes, kind: str = FORMAT) -> None:
        book.fault(f"request_{name}", description, {"open_frame": kind, "handle": "junk"}, request=data.hex())

    def denied(name: str, description: str, code: str, data: bytes) -> None:
        refused = {"handle": f"DeniedError: {code}"}
        book.fault(f"request_{name}", description, refused, accepted=("open_frame",), request=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(world.request(), HELPER, **changes)

    key = world.ONE_TIME.public_key
    fault("lives-too-long", "expires a millisecond after ten minutes", changed(expires_at=ms(NOW + 10 * MINUTE + MS)))
    fault("lives-not-at-all", "expires when it begins", changed(expires_at=ms(NOW)))
    fault("no-expiry", "no end", changed(expires_at=DROP))
    fault("one-time-key-short", "a one-time key of 1,215 bytes", changed(one_time_key=key[:-1]))
    fault("one-time-key-classical", "a one-time key without its post-quantum half", changed(one_time_key=key[1184:]))
    fault("unknown-field", "a field more", changed(limit=2))
    fault("time-beyond-9999", "asked in the year 10000", changed(at=253_402_300_800_000))
    fault("time-is-text", "a time as text", changed(at="2026-03-04T05:06:07Z"))
    fault("other-type", "well signed as a receipt", frame("receipt", altered(world.request()), HELPER))
    fault(
        "frame-version-0",
        "well signed in frame version 0",
        frame("open-request", altered(world.request()), HELPER, version=0),
    )
    fault("flipped-signature", "a bit of the signature", flip_signature(good), SIGNATURE)
    fault(
        "other-item-same-signature",
        "another item under the same signature",
        spoilt(good, body=altered(world.request(), item=world.OTHER_ITEM)),
        SIGNATURE,
    )
    fault("not-enrolled", "signed by a key that was never enrolled", forged(world.request(), STRANGER), SIGNATURE)
    book.fault(
        "request_other-client",
        "asks another client",
        {"handle": "junk"},
        accepted=("open_frame",),
        request=changed(client=world.OTHER_CLIENT).hex(),
    )
    # A coefficient of 4095, and the all-zero X25519 point.
    denied(
        "one-time-key-mlkem-not-canonical",
        "an ML-KEM coefficient over its modulus",
        "unavailable",
        changed(one_time_key=b"\xff\xff\xff" + key[3:]),
    )
    denied(
        "one-time-key-x25519-low-order",
        "an X25519 point of low order",
        "unavailable",
        changed(one_time_key=key[:1184] + bytes(32)),
    )
    denied(
        "one-time-key-x25519-not-canonical",
        "an X25519 coordinate over its modulus",
        "unavailable",
        changed(one_time_key=key[:1184] + key[1184:-1] + b"\xff"),
    )
    denied(
        "unknown-grant",
        "a grant that is not in the issuer's state",
        "unknown",
        changed(grant_hash=world.DESK_GRANT.hash),
    )
    denied("unknown-item", "an item that there is not", "unknown", changed(item=world.OTHER_ITEM))
    denied("guideline", "an item that is no task", "unknown", changed(item=world.GUIDELINE))
    denied("other-epoch", "another epoch of the ledger", "epoch", changed(epoch=world.fixed("old epoch", 16)))
    denied("expired", "expired at the issuer's time", "stale", changed(at=ms(NOW - 5 * MINUTE), expires_at=ms(NOW)))
    denied("from-the-future", "dated more than two minutes ahead", "stale", changed(at=ms(NOW + 2 * MINUTE + MS)))


USAGE: dict[str, Any] = {
    "issuer": ISSUER.public_key.hex(),
    "epoch": world.EPOCH.hex(),
    "certified_until": ms(NOW + 30 * DAY),
    "accept_from": 0,
    "grant_revoked": False,
    "frozen": False,
    "key_spent": False,
    "task": {"item": world.TASK.hex(), "project": world.PROJECT.hex(), "batch": world.BATCH.hex(), "revoked": False},
    "open_leases": 0,
    "total_leases": 199,
    "released_last_hour": 29,
    "replaces": None,
}
OLD_LEASE = world.fixed("old lease")


def _authorize(book: Book) -> None:
    def case(request: bytes, grant: bytes, contractor: bytes, **usage: Any) -> dict[str, Any]:
        return {
            "request": request.hex(),
            "grant": grant.hex(),
            "contractor": contractor.hex(),
            "identity_key": IDENTITY.public_key.hex(),
            "now": ms(NOW),
            "usage": USAGE | usage,
        }

    helper = case(world.REQUEST.data, world.GRANT.data, HELPER.public_key)
    desk = case(world.DESK_REQUEST.data, world.DESK_GRANT.data, DESK.public_key)
    old = {
        "lease_id": OLD_LEASE.hex(),
        "grant_hash": world.GRANT.hash.hex(),
        "contractor": HELPER.public_key.hex(),
        "item": world.TASK.hex(),
    }
    renewing = sign_message(world.request(replaces=OLD_LEASE), HELPER).data
    renewal = case(renewing, world.GRANT.data, HELPER.public_key, open_leases=1, replaces=old)
    book.valid("authorize_valid", "a helper's request, one below each limit", **helper)
    book.valid("authorize_valid-desk", "a desk's request that its presence device approved", **desk)
    book.valid("authorize_valid-renewal", "a request that takes over the only open slot", **renewal)

    def fault(name: str, description: str, code: str, twin: str = "authorize_valid", **changes: Any) -> None:
        given: dict[str, Any] = {k: v.hex() if isinstance(v, bytes) else v for k, v in changes.items()}
        book.fault(f"authorize_{name}", description, {"authorize": f"DeniedError: {code}"}, twin=twin, **given)

    def usage(name: str, description: str, code: str, twin: str = "authorize_valid", **changes: Any) -> None:
        fault(name, description, code, twin, usage=book.vectors[twin].inputs["usage"] | changes)

    def asks(name: str, description: str, code: str, **changes: Any) -> None:
        fault(name, description, code, request=sign_message(world.request(**changes), HELPER).data)

    def granted(name: str, description: str, code: str, **changes: Any) -> None:
        """Another grant in the issuer's state, named by a request of its own."""
        grant = sign_message(world.grant(**changes), IDENTITY)
        request = sign_message(world.request(grant_hash=grant.hash), HELPER)
        fault(name, description, code, request=request.data, grant=grant.data)

    fault(
        "other-contractor",
        "well signed by somebody whose grant it is not",
        "unknown",
        request=sign_message(world.request(), STRANGER).data,
        contractor=STRANGER.public_key,
    )
    fault(
        "other-grant",
        "found by another hash than it names",
        "unknown",
        request=sign_message(world.request(grant_hash=world.DESK_GRANT.hash), HELPER).data,
    )
    asks("other-client", "names another client than the grant", "unknown", client=world.OTHER_CLIENT)
    asks("other-project", "names another project than the grant", "unknown", project=world.OTHER_PROJECT)
    asks("other-epoch", "names another epoch of the ledger", "epoch", epoch=world.fixed("old epoch", 16))
    asks(
        "one-time-key-not-valid",
        "a one-time key to which nothing can be sealed",
        "unavailable",
        one_time_key=world.ONE_TIME.public_key[:1184] + bytes(32),
    )
    asks("expired", "expired at this very millisecond", "stale", at=NOW - 5 * MINUTE, expires_at=NOW)
    asks("from-the-future", "dated two minutes and a millisecond ahead", "stale", at=NOW + 2 * MINUTE + MS)
    usage("before-restore", "dated before the issuer was restored", "stale", accept_from=ms(NOW + MS))
    granted("grant-of-another-issuer", "the grant names another issuer", "unknown", issuer=STRANGER.public_key)
    granted("grant-not-yet-valid", "the grant begins in a millisecond", "not-yet-valid", not_before=NOW + MS)
    granted("grant-expired", "the grant ends at this very millisecond", "expired", expires_at=NOW)
    usage("revoked", "the grant, its contractor or its project was revoked", "revoked", grant_revoked=True)
    usage("batch-revoked", "the task's batch was revoked", "revoked", task=USAGE["task"] | {"revoked": True})
    usage("frozen", "the project is frozen", "frozen", frozen=True)
    usage("key-spent", "the one-time key was used before", "replayed", key_spent=True)
    usage("no-such-task", "unknown, gold, a decoy or no task", "unknown", task=None)
    usage(
        "task-of-another-project",
        "a task of another project",
        "unknown",
        task=USAGE["task"] | {"project": world.OTHER_PROJECT.hex()},
    )
    usage(
        "out-of-scope",
        "a task of a batch that the grant does not name",
        "unknown",
        task=USAGE["task"] | {"batch": world.fixed("other batch", 16).hex()},
    )
    usage("other-task", "the facts of another task", "unknown", task=USAGE["task"] | {"item": world.OTHER_ITEM.hex()})
    usage("open-limit", "max_open leases are open", "limit-open", open_leases=1)
    usage("total-limit", "max_total leases were made", "limit-total", total_leases=200)
    usage("rate-limit", "per_hour leases were made in this hour", "limit-rate", released_last_hour=30)
    asks("replaces-nothing-alive", "renews a lease that does not live", "replaces", replaces=OLD_LEASE)
    asks("helper-approved", "an approval time where no presence is asked for", "presence", approved_at=NOW)
    cosigned = world.cosign(world.request(), HELPER.public_key, PRESENCE)
    fault(
        "helper-cosigned",
        "a cosignature where no presence is asked for",
        "presence",
        request=sign_message(world.request(), HELPER, cosigned).data,
    )
    of_renewal = "authorize_valid-renewal"
    usage(
        "replaces-another-lease",
        "the live lease is another",
        "replaces",
        of_renewal,
        replaces=old | {"lease_id": world.fixed("third lease").hex()},
    )
    usage(
        "replaces-another-grants",
        "a lease of another grant",
        "replaces",
        of_renewal,
        replaces=old | {"grant_hash": world.DESK_GRANT.hash.hex()},
    )
    usage(
        "replaces-another-contractors",
        "a lease of another contractor",
        "replaces",
        of_renewal,
        replaces=old | {"contractor": DESK.public_key.hex()},
    )
    usage(
        "replaces-another-items",
        "a lease of another item",
        "replaces",
        of_renewal,
        replaces=old | {"item": world.OTHER_ITEM.hex()},
    )
    usage(
        "renewal-over-open-limit",
        "another slot is taken besides the one that passes over",
        "limit-open",
        of_renewal,
        open_leases=2,
    )
    usage("renewal-over-total-limit", "a renewal counts in the total", "limit-total", of_renewal, total_leases=200)
    usage("renewal-over-rate-limit", "a renewal counts in the rate", "limit-rate", of_renewal, released_last_hour=30)
    fault(
        "renewal-unasked",
        "a lease is handed on that the request does not name",
        "replaces",
        of_renewal,
        request=world.REQUEST.data,
    )

    def at_desk(name: str, description: str, request: bytes) -> None:
        fault(name, description, "presence", "authorize_valid-desk", request=request)

    desk_request = world.desk_request()
    at_desk("desk-not-cosigned", "an approval time without a cosignature", sign_message(desk_request, DESK).data)
    at_desk(
        "desk-not-approved",
        "a cosignature without an approval time",
        world.sign_desk_request(world.desk_request(approved_at=None)).data,
    )
    at_desk(
        "desk-cosigned-by-itself", "cosigned by the desk's own key", world.sign_desk_request(desk_request, DESK).data
    )
    at_desk(
        "desk-cosigned-by-another", "cosigned by another device", world.sign_desk_request(desk_request, STRANGER).data
    )
    at_desk(
        "desk-approval-old",
        "approved five minutes and a millisecond ago",
        world.sign_desk_request(world.desk_request(approved_at=NOW - 5 * MINUTE - MS)).data,
    )
    at_desk(
        "desk-approval-ahead",
        "approved two minutes and a millisecond ahead",
        world.sign_desk_request(world.desk_request(approved_at=NOW + 2 * MINUTE + MS)).data,
    )
    for_other = world.cosign(world.desk_request(item=world.OTHER_ITEM), DESK.public_key, PRESENCE)
    at_desk(
        "desk-approval-of-another-item",
        "the approval of another item",
        sign_message(desk_request, DESK, for_other).data,
    )
    other_key = world.cosign(world.desk_request(one_time_key=world.SUBMISSION.public_key), DESK.public_key, PRESENCE)
    at_desk(
        "desk-approval-of-another-key",
        "the approval of another one-time key",
        sign_message(desk_request, DESK, other_key).data,
    )
    other_desk = world.cosign(desk_request, STRANGER.public_key, PRESENCE)
    at_desk(
        "desk-approval-of-another-desk",
        "the approval of another desk",
        sign_message(desk_request, DESK, other_desk).data,
    )


def _lease(book: Book, sealed: Sealed) -> None:
    task = leased("task", HEADER, task_payload(sealed))
    guideline = leased("guideline", GUIDELINE_HEADER, guideline_payload(sealed))
    outer = world.outer()

    def lease(name: str, *items: LeasedItem, of: LeaseOuter = outer, **options: Any) -> bytes:
        inside = options.pop("inside", None) or secrets(*items, **options)
        return sign_message(Lease(encode_record(of), sealed.lease(name, of, inside)), ISSUER).data

    good = lease("valid", task, guideline)
    parts = sealed.lease("valid", outer, b"")
    other_header = world.header(item=world.OTHER_ITEM)
    gold_payload = sealed.payload("gold", other_header, b"")
    second = Metadata("task", "task-0002", "text/markdown", 0, (), ())
    second_payload = sealed.payload("second", other_header, plaintext(second, b"Another task.\n", 256))
    book.valid(
        "lease_valid",
        "the answer to the helper's request: the task and its guideline; `served` names the vectors whose items the "
        "vault serves, `now` is the contractor's time",
        lease=good.hex(),
        request=world.REQUEST.data.hex(),
        one_time_seed=world.ONE_TIME.seed().reveal().hex(),
        invite=world.INVITE.data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
        served=SERVED,
    )
    book.valid(
        "lease_valid-last-millisecond",
        "the same, a millisecond before it expires",
        **(book.vectors["lease_valid"].inputs | {"now": ms(NOW + timedelta(hours=1) - MS)}),
    )

    def unread(name: str, description: str, kind: str, data: bytes, exchange: str | None = None) -> None:
        """Refused before it is opened."""
        refused = {"read_lease": kind, "exchange": exchange or kind, "open_lease": kind}
        book.fault(f"lease_{name}", description, refused, lease=data.hex())

    def unopened(name: str, description: str, kind: str, data: bytes, **more: Any) -> None:
        """Well signed by the issuer, and refused when it is opened."""
        seen = ("read_lease", "exchange")
        book.fault(f"lease_{name}", description, {"open_lease": kind}, accepted=seen, lease=data.hex(), **more)

    def outside(name: str, description: str, kind: str, exchange: str | None = None, **changes: Any) -> None:
        """An outer part that the issuer signed, and that does not answer this request."""
        other = world.outer(**changes)
        unread(name, description, kind, sign_message(Lease(encode_record(other), parts), ISSUER).data, exchange)

    body = Lease(encode_record(outer), parts)
    unread("flipped-signature", "a bit of the signature", SIGNATURE, flip_signature(good))
    unread(
        "outer-altered",
        "a later end, under the same signature",
        SIGNATURE,
        spoilt(good, body=altered(body, outer=encode_record(world.outer(expires_at=NOW + DAY)))),
    )
    unread(
        "sealed-altered",
        "a bit of the sealed part, under the same signature",
        SIGNATURE,
        spoilt(good, body=altered(body, sealed=flipped(parts, -1))),
    )
    unread("other-signer", "signed by somebody else", SIGNATURE, forged(body, STRANGER))
    unread(
        "signed-by-client",
        "signed by the client's identity key, which issues nothing",
        SIGNATURE,
        forged(body, IDENTITY),
    )
    unread("other-type", "well signed as a denial", FORMAT, frame("denial", altered(body), ISSUER))
    unread(
        "outer-malformed", "an outer part with a field more", FORMAT, forged(body, ISSUER, outer=altered(outer, more=0))
    )
    unread(
        "ends-before-it-begins",
        "an outer part that ends when it begins",
        FORMAT,
        forged(body, ISSUER, outer=altered(outer, expires_at=ms(NOW))),
    )
    outside("other-request", "answers another request", LEASE, TIMEOUT, lease_id=world.DESK_REQUEST.hash)
    outside("other-client", "of another client", LEASE, client=world.OTHER_CLIENT)
    outside("other-project", "of another project", LEASE, project=world.OTHER_PROJECT)
    outside("other-item", "of another task", LEASE, item=world.OTHER_ITEM)
    outside("other-contractor", "of another contractor", LEASE, contractor=DESK.public_key)
    outside("other-certificate", "under another certificate", LEASE, certificate_hash=world.fixed("certificate"))
    outside("other-grant", "of another grant", LEASE, grant_hash=world.DESK_GRANT.hash)
    outside("other-tier", "of another tier", LEASE, tier="desk")
    outside(
        "lives-over-ttl",
        "lives a millisecond longer than the grant allows",
        LEASE,
        expires_at=NOW + timedelta(hours=1) + MS,
    )
    outside(
        "outlives-grant",
        "ends after the grant does",
        LEASE,
        issued_at=NOW + 7 * DAY - MINUTE,
        expires_at=NOW + 7 * DAY + MS,
    )
    outside("from-the-future", "issued two minutes and a millisecond ahead", CLOCK, issued_at=NOW + 2 * MINUTE + MS)
    everywhere = {"read_lease": EXPIRED, "exchange": EXPIRED, "open_lease": EXPIRED}
    book.fault("lease_expired", "read at the very millisecond of its end", everywhere, now=ms(NOW + timedelta(hours=1)))

    renewed = world.outer(status_max_age_s=1)
    unopened(
        "outer-resigned",
        "another outer part around the same sealed one, well signed",
        DECRYPTION,
        sign_message(Lease(encode_record(renewed), parts), ISSUER).data,
    )
    unopened(
        "sealed-flipped-resigned",
        "a bit of the sealed part, well signed",
        DECRYPTION,
        forged(body, ISSUER, sealed=flipped(parts, -1)),
    )
    unopened(
        "sealed-flipped-mlkem",
        "a bit of the ML-KEM ciphertext, well signed",
        DECRYPTION,
        forged(body, ISSUER, sealed=flipped(parts, 0)),
    )
    unopened(
        "sealed-flipped-x25519",
        "a bit of the X25519 share, well signed",
        DECRYPTION,
        forged(body, ISSUER, sealed=flipped(parts, 1088)),
    )
    unopened(
        "sealed-truncated",
        "the sealed part's last byte is missing, well signed",
        DECRYPTION,
        forged(body, ISSUER, sealed=parts[:-1]),
    )
    unopened(
        "sealed-without-post-quantum-half",
        "the sealed part without its ML-KEM ciphertext, well signed",
        DECRYPTION,
        forged(body, ISSUER, sealed=parts[1088:]),
    )
    unopened(
        "sealed-to-another-key",
        "sealed to another one-time key",
        DECRYPTION,
        sign_message(
            Lease(
                encode_record(outer),
                sealed.lease("to another key", outer, secrets(task, guideline), world.SUBMISSION.public_key),
            ),
            ISSUER,
        ).data,
    )
    unopened(
        "sealed-for-another-request",
        "the sealed part of the lease for another request",
        DECRYPTION,
        sign_message(
            Lease(
                encode_record(outer),
                sealed.lease(
                    "for another request", world.outer(lease_id=world.DESK_REQUEST.hash), secrets(task, guideline)
                ),
            ),
            ISSUER,
        ).data,
    )
    unopened(
        "secrets-malformed",
        "the sealed part holds a field more",
        DECRYPTION,
        lease("malformed", inside=_more(secrets(task, guideline))),
    )
    unopened(
        "holds-nothing", "the sealed part names no item", DECRYPTION, lease("nothing", inside=_no_items(secrets(task)))
    )
    unopened(
        "other-epoch",
        "of another epoch of the ledger",
        LEASE,
        lease("other epoch", task, guideline, epoch=world.fixed("old epoch", 16)),
    )
    unopened("task-not-first", "the guideline first", LEASE, lease("task not first", guideline, task))
    unopened("item-twice", "the guideline twice", LEASE, lease("item twice", task, guideline, guideline))
    unopened(
        "lacks-required-item", "without the guideline that the task requires", LEASE, lease("lacks guideline", task)
    )
    gold = leased("gold", other_header, gold_payload)
    unopened(
        "brings-gold",
        "a gold item besides",
        LEASE,
        lease("gold", task, guideline, gold),
        served=[*SERVED, _item(other_header, gold_payload)],
    )
    another = leased("second", other_header, second_payload)
    unopened(
        "brings-second-task",
        "a second task besides",
        LEASE,
        lease("second task", task, guideline, another),
        served=[*SERVED, _item(other_header, second_payload)],
    )
    unopened(
        "other-dek",
        "a DEK that does not open its item",
        DECRYPTION,
        lease("other dek", replace(task, dek=world.fixed("other dek")), guideline),
    )
    unopened(
        "other-digest",
        "another digest than the served bytes have",
        TAMPERED,
        lease("other digest", replace(task, digest=world.fixed("digest")), guideline),
    )
    unopened(
        "other-version",
        "another version than is served",
        TAMPERED,
        lease("other version", replace(task, version=2), guideline),
    )
    book.fault(
        "lease_served-another-item",
        "the vault serves the guideline's bytes for the task",
        {"open_lease": TAMPERED},
        accepted=("read_lease", "exchange"),
        served=["payload_valid-chunks", "payload_valid-chunks"],
    )
    foreign = sign_message(
        world.invite(certificate=sign_message(world.certificate(serial=3), IDENTITY).data), IDENTITY
    ).data
    book.fault(
        "lease_superseded-certificate",
        "issued under a certificate that was followed by another",
        dict.fromkeys(("read_lease", "exchange", "open_lease"), LEASE),
        invite=foreign.hex(),
    )


def _item(header: ItemHeader, payload: bytes) -> dict[str, str]:
    return {"header": header.encode().hex(), "payload": payload.hex()}


def _more(data: bytes) -> bytes:
    value: Any = decode(data)
    return pack(value | {"more": 0})


def _no_items(data: bytes) -> bytes:
    value: Any = decode(data)
    return pack(value | {"items": []})


def _denial(book: Book) -> None:
    good = sign_message(world.denial(), ISSUER).data
    book.valid(
        "denial_valid",
        "the helper's request was denied: the project is frozen",
        denial=good.hex(),
        request=world.REQUEST.data.hex(),
        invite=world.INVITE.data.hex(),
        identity_key=IDENTITY.public_key.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
    )

    def fault(name: str, description: str, kind: str, data: bytes, exchange: str | None = None) -> None:
        refused = {"read_denial": kind, "exchange": exchange or kind}
        book.fault(f"denial_{name}", description, refused, denial=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(world.denial(), ISSUER, **changes)

    fault("unknown-code", "a code that there is not", FORMAT, changed(code="because"))
    fault("other-signer", "signed by somebody else", SIGNATURE, forged(world.denial(), STRANGER))
    fault("flipped-signature", "a bit of the signature", SIGNATURE, flip_signature(good))
    fault("other-request", "of another request", LEASE, changed(request_hash=world.DESK_REQUEST.hash), TIMEOUT)
    fault("other-client", "of another client", LEASE, changed(client=world.OTHER_CLIENT))
    fault("other-type", "well signed as a lease", FORMAT, frame("lease", altered(world.denial()), ISSUER))
    own = sign_message(world.certificate(issuer=STRANGER.public_key, serial=9), STRANGER).data
    fault(
        "certificate-of-its-own",
        "signed under a certificate that it brings, which the client did not sign",
        SIGNATURE,
        forged(world.denial(certificate=own), STRANGER),
    )
    old = sign_message(world.certificate(serial=1), IDENTITY).data
    fault(
        "older-certificate",
        "brings a certificate older than the one that is known",
        "RollbackError",
        changed(certificate=old),
    )


def _receipt(book: Book) -> None:
    good = sign_message(world.receipt(), HELPER).data
    opened = sign_message(world.receipt(event="opened", erased=None), HELPER).data
    contractor = HELPER.public_key.hex()
    book.valid("receipt_valid", "the helper closed the task", receipt=good.hex(), contractor=contractor, now=ms(NOW))
    book.valid(
        "receipt_valid-opened", "the helper opened the task", receipt=opened.hex(), contractor=contractor, now=ms(NOW)
    )

    def fault(name: str, description: str, data: bytes, kind: str = FORMAT, twin: str = "receipt_valid") -> None:
        refused = {"open_frame": kind, "handle": "junk", "store": "opaque"}
        book.fault(f"receipt_{name}", description, refused, twin=twin, receipt=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(world.receipt(), HELPER, **changes)

    def foreign(name: str, description: str, data: bytes) -> None:
        """Well formed and signed, and no receipt for a lease of this issuer's."""
        book.fault(
            f"receipt_{name}", description, {"handle": "junk"}, accepted=("open_frame", "store"), receipt=data.hex()
        )

    fault("closed-without-erased", "closed, and does not say how keys were erased", changed(erased=None))
    fault(
        "opened-with-erased",
        "opened, and says how keys were erased",
        forged(world.receipt(event="opened", erased=None), HELPER, erased="process-exit"),
        twin="receipt_valid-opened",
    )
    fault("unknown-event", "an event that there is not", changed(event="lost", erased=None))
    fault("unknown-erasure", "a way of erasing that there is not", changed(erased="surely"))
    fault("unknown-field", "a field more", changed(pay=2))
    fault("no-lease", "no lease", changed(lease_id=DROP))
    fault("other-type", "well signed as a request", frame("open-request", altered(world.receipt()), HELPER))
    fault("flipped-signature", "a bit of the signature", flip_signature(good), SIGNATURE)
    fault(
        "other-lease-same-signature",
        "another lease under the same signature",
        spoilt(good, body=altered(world.receipt(), lease_id=world.DESK_REQUEST.hash)),
        SIGNATURE,
    )
    for name, signer in (("other-contractor", DESK), ("not-enrolled", STRANGER)):
        refused = {"open_frame": SIGNATURE, "handle": "junk"}
        data = forged(world.receipt(), signer)
        book.fault(
            f"receipt_{name}",
            "well signed by somebody whose lease it is not",
            refused,
            accepted=("store",),
            receipt=data.hex(),
        )
    foreign("other-client", "a lease of another client", changed(client=world.OTHER_CLIENT))
    foreign("other-project", "a lease of another project", changed(project=world.OTHER_PROJECT))
    foreign("other-item", "a lease of another task", changed(item=world.OTHER_ITEM))
    foreign("other-lease", "a lease that there is not", changed(lease_id=world.DESK_REQUEST.hash))
