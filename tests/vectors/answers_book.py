"""Vectors of submission and ack."""

from datetime import timedelta
from typing import Any

from labelvault.envelope.answer import AnswerHead
from labelvault.wire.answers import Submission
from labelvault.wire.frame import sign_message
from labelvault.wire.schema import encode_record
from tests.vectors import world
from tests.vectors.craft import DROP, Sealed, altered, flipped, forged, frame, spoilt
from tests.vectors.form import Book
from tests.vectors.keys_book import flip_signature, ms
from tests.vectors.world import DAY, HELPER, IDENTITY, ISSUER, NOW, PRESENCE, STRANGER

FORMAT, SIGNATURE, DECRYPTION = "FormatError", "SignatureError", "DecryptionError"
CONTENT = b'{"label":"good"}'
SIZE = 1024


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""
    _submission(book, sealed)
    _ack(book)


def _plaintext(head: bytes | None = None, content: bytes = CONTENT, size: int = SIZE, last: bytes = b"") -> bytes:
    encoded = encode_record(AnswerHead("answer", "application/json", len(CONTENT), None)) if head is None else head
    start = len(encoded).to_bytes(4, "big") + encoded + content
    return start + bytes(size - len(start) - len(last)) + last


def _submission(book: Book, sealed: Sealed) -> None:
    outer = encode_record(world.submission_outer())
    good = Submission(outer, sealed.answer("valid", outer, _plaintext()))
    data = sign_message(good, HELPER).data
    book.valid(
        "submission_valid",
        "the helper answers the task; `now` is the issuer's time",
        submission=data.hex(),
        contractor=HELPER.public_key.hex(),
        now=ms(NOW),
    )

    def refused(name: str, description: str, kind: str, frame_: bytes, *, opens: bool = False) -> None:
        """The frame itself is refused."""
        words = {"open_frame": kind, "handle": "junk"} | ({} if opens else {"open_answer": kind})
        accepted = ("open_answer",) if opens else ()
        book.fault(f"submission_{name}", description, words, accepted=accepted, submission=frame_.hex())

    refused("unknown-field", "a field more", FORMAT, forged(good, HELPER, pay=2))
    refused("no-sealed-part", "no sealed part", FORMAT, forged(good, HELPER, sealed=DROP))
    refused("long-outer", "an outer part of 1,025 bytes", FORMAT, forged(good, HELPER, outer=bytes(1025)))
    refused("other-type", "well signed as a receipt", FORMAT, frame("receipt", altered(good), HELPER), opens=True)
    refused("flipped-signature", "a bit of the signature", SIGNATURE, flip_signature(data), opens=True)
    refused("not-enrolled", "signed by a key that was never enrolled", SIGNATURE, forged(good, STRANGER), opens=True)
    other = encode_record(world.submission_outer(sequence=2))
    moved = spoilt(data, body=altered(good, outer=other))
    book.fault(
        "submission_other-outer-same-signature",
        "another outer part under the same signature",
        {"open_frame": SIGNATURE, "handle": "junk", "open_answer": DECRYPTION},
        submission=moved.hex(),
    )

    def outer_fault(name: str, description: str, verdict: str, **changes: Any) -> None:
        """Another outer part, well signed, around the sealed part that was not made for it."""
        words = {"handle": verdict, "open_answer": DECRYPTION}
        made = forged(good, HELPER, outer=altered(world.submission_outer(), **changes))
        book.fault(f"submission_{name}", description, words, accepted=("open_frame",), submission=made.hex())

    outer_fault("outer-unknown-field", "a field more in the outer part", "junk", pay=2)
    outer_fault("outer-no-version", "no version in the outer part", "junk", version=DROP)
    outer_fault("sequence-0", "numbered 0", "junk", sequence=0)
    outer_fault("sequence-17", "numbered 17", "junk", sequence=17)
    outer_fault("approved-without-key", "a time of approval, and presence is not `key`", "junk", approved_at=ms(NOW))
    outer_fault("key-without-approval", "presence is `key`, and no time of approval", "junk", presence="key")
    outer_fault("unknown-presence", "a presence that there is not", "junk", presence="waived")
    outer_fault("other-client", "of another client", "misbound", client=world.OTHER_CLIENT)
    outer_fault("other-project", "of another project", "misbound", project=world.OTHER_PROJECT)
    outer_fault("other-lease", "under another lease", "misbound", lease_id=world.DESK_REQUEST.hash)
    outer_fault("other-item", "to another item", "misbound", item=world.OTHER_ITEM)
    outer_fault("other-version", "to another version", "misbound", version=2)
    outer_fault("other-contractor", "by another contractor", "misbound", contractor=world.DESK.public_key)
    outer_fault("helper-unapproved", "a helper's, and not approved", "misbound", presence="unapproved")
    outer_fault("before-the-lease", "dated before its lease", "misbound", at=ms(NOW - timedelta(seconds=121)))

    late = encode_record(world.submission_outer(at=NOW + timedelta(hours=2)))
    made = sign_message(Submission(late, sealed.answer("late", late, _plaintext())), HELPER).data
    book.fault(
        "submission_late",
        "dated an hour after its lease's end, and come a day later",
        {"handle": "late"},
        accepted=("open_frame", "open_answer"),
        submission=made.hex(),
        now=ms(NOW + DAY),
    )
    book.fault(
        "submission_helper-cosigned",
        "a helper's with a cosignature",
        {"handle": "misbound"},
        accepted=("open_frame", "open_answer"),
        submission=forged(good, HELPER, PRESENCE).hex(),
    )

    def inside(name: str, description: str, part: bytes) -> None:
        """Only who holds the project's key sees it."""
        frame_ = sign_message(Submission(outer, part), HELPER).data
        accepted = ("open_frame", "handle")
        words = {"open_answer": DECRYPTION}
        book.fault(f"submission_{name}", description, words, accepted=accepted, submission=frame_.hex())

    inside("sealed-flipped-mlkem", "a bit of the encapsulated ML-KEM part", flipped(good.sealed, 0))
    inside("sealed-flipped-x25519", "a bit of the encapsulated X25519 key", flipped(good.sealed, 1100))
    inside("sealed-flipped-tag", "a bit of the tag", flipped(good.sealed, -1))
    inside("sealed-truncated", "a byte less", good.sealed[:-1])
    key = world.ONE_TIME.public_key
    inside("sealed-to-another-key", "sealed to another key", sealed.answer("another key", outer, _plaintext(), key))
    head = AnswerHead("answer", "application/json", len(CONTENT), None)
    for name, description, plaintext in (
        ("padding-not-zero", "a last byte of padding that is 1", _plaintext(last=b"\1")),
        ("padding-too-long", "more padding than Padmé's", _plaintext(size=SIZE + 1)),
        ("padding-too-short", "less padding than the floor", _plaintext(size=SIZE - 1)),
        ("head-unknown-field", "a head with a field more", _plaintext(altered(head, pay=2))),
        ("head-no-name", "a head without a name", _plaintext(altered(head, name=""))),
        ("head-size-beyond-end", "content that is cut short", _plaintext(altered(head, size=2000))),
        ("head-beyond-its-bound", "a head that claims 2,049 bytes", (2049).to_bytes(4, "big") + bytes(SIZE - 4)),
        ("plaintext-empty", "nothing at all", b""),
    ):
        inside(name, description, sealed.answer(name, outer, plaintext))


def _ack(book: Book) -> None:
    good = sign_message(world.ack(), ISSUER).data
    book.valid("ack_valid", "an answer was accepted", ack=good.hex(), client=world.CLIENT.hex())
    closed = sign_message(world.ack(event="closed"), ISSUER).data
    book.valid("ack_valid-closed", "a receipt was taken", ack=closed.hex(), client=world.CLIENT.hex())

    def fault(name: str, description: str, data: bytes, kind: str = FORMAT) -> None:
        book.fault(f"ack_{name}", description, {"open_certified": kind, "store": "opaque"}, ack=data.hex())

    def changed(**changes: Any) -> bytes:
        return forged(world.ack(), ISSUER, **changes)

    fault("unknown-verdict", "a verdict that there is not", changed(verdict="paid"))
    fault("unknown-event", "an event that there is not", changed(event="lost"))
    fault("unknown-field", "a field more", changed(amount=2))
    fault("no-certificate", "no certificate", changed(certificate=DROP))
    fault("other-type", "well signed as a denial", frame("denial", altered(world.ack()), ISSUER))
    fault("flipped-signature", "a bit of the signature", flip_signature(good), SIGNATURE)
    fault("signed-by-contractor", "signed by the contractor", forged(world.ack(), HELPER), SIGNATURE)
    fault("signed-by-identity", "signed by the client's identity key", forged(world.ack(), IDENTITY), SIGNATURE)
    fault("other-client", "of another client", changed(client=world.OTHER_CLIENT), SIGNATURE)
    stranger = sign_message(world.certificate(), STRANGER).data
    fault("certificate-by-stranger", "certified by another key", changed(certificate=stranger), SIGNATURE)
    of_other = sign_message(world.certificate(client=world.OTHER_CLIENT), IDENTITY).data
    fault("certificate-of-another-client", "certified for another client", changed(certificate=of_other), SIGNATURE)
    fault("after-its-certificate", "dated when its certificate has ended", changed(at=ms(NOW + 30 * DAY)), SIGNATURE)
    other_item = spoilt(good, body=altered(world.ack(), item=world.OTHER_ITEM))
    fault("other-item-same-signature", "of another item under the same signature", other_item, SIGNATURE)
