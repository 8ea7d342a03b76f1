"""Vectors of checkpoint."""

import base64
from datetime import timedelta

from labelvault.ledger.checkpoint import Checkpoint, issuer_key_name, ledger_origin, sign_checkpoint
from labelvault.ledger.entries import Certified, Enrolled, Frozen, encode_entry
from labelvault.ledger.note import sign_note
from labelvault.ledger.tree import leaf_hash, root_of_leaves
from tests.vectors import world
from tests.vectors.form import Book
from tests.vectors.world import ISSUER, NOW, STRANGER

FORMAT, SIGNATURE, LEDGER = "FormatError", "SignatureError", "LedgerError"
ORIGIN = ledger_origin(world.CLIENT, world.EPOCH)
NAME = issuer_key_name(world.CLIENT)
ENTRIES = [
    encode_entry(entry)
    for entry in (
        Certified(at=NOW, issuer=ISSUER.public_key, serial=2, certificate=world.CERTIFICATE.hash, epoch=world.EPOCH),
        Enrolled(at=NOW, contractor=world.HELPER.public_key, tier="helper", presence_key=False),
        Frozen(at=NOW + timedelta(seconds=1), project=world.PROJECT, frozen=True),
    )
]


def add(book: Book) -> None:
    """Write this chapter."""
    root = root_of_leaves([leaf_hash(entry) for entry in ENTRIES])
    encoded = base64.b64encode(root).decode()
    checkpoint = Checkpoint(ORIGIN, 3, root)
    good = sign_checkpoint(checkpoint, NAME, ISSUER)
    book.valid(
        "checkpoint_valid",
        "a ledger of three entries",
        note=good,
        name=NAME,
        issuer_key=ISSUER.public_key.hex(),
        origin=ORIGIN,
        entries=[entry.hex() for entry in ENTRIES],
    )
    witnessed = good + sign_note(checkpoint.text(), "witness.example", STRANGER).rpartition("\n\n")[2]
    book.valid(
        "checkpoint_valid-witnessed",
        "the same, with a witness's signature besides",
        **(book.vectors["checkpoint_valid"].inputs | {"note": witnessed}),
    )

    def fault(name: str, description: str, kind: str, note: str) -> None:
        book.fault(f"checkpoint_{name}", description, {"verify_checkpoint": kind, "verify_export": kind}, note=note)

    def text(name: str, description: str, *lines: str) -> None:
        """A text that the issuer signed, and that is no checkpoint in its one form."""
        fault(name, description, FORMAT, sign_note("".join(f"{line}\n" for line in lines), NAME, ISSUER))

    text("size-leading-zero", "the size has a leading zero", ORIGIN, "03", encoded)
    text("size-plus", "the size has a sign", ORIGIN, "+3", encoded)
    text("size-negative", "the size is negative", ORIGIN, "-3", encoded)
    text("size-blank", "a blank follows the size", ORIGIN, "3 ", encoded)
    text("size-not-ascii", "the size is an Arabic three", ORIGIN, "\N{ARABIC-INDIC DIGIT THREE}", encoded)
    text("size-empty", "no size", ORIGIN, "", encoded)
    text("size-over-2-62", "a size of 19 digits", ORIGIN, "9" * 19, encoded)
    text("root-not-base64", "a star in the root", ORIGIN, "3", "*" + encoded[1:])
    text("root-no-padding", "the root without its equals sign", ORIGIN, "3", encoded.rstrip("="))
    text("root-url-alphabet", "the root's last digit in the alphabet for URLs", ORIGIN, "3", encoded[:-2] + "_=")
    text("root-idle-bits", "the root with idle bits set", ORIGIN, "3", _idle_bit(encoded))
    text("root-short", "a root of 31 bytes", ORIGIN, "3", base64.b64encode(root[:31]).decode())
    text("root-empty", "no root", ORIGIN, "3", "")
    text("extension-line", "a fourth line", ORIGIN, "3", encoded, "extra")
    text("line-missing", "two lines", ORIGIN, "3")
    text("empty-with-root", "no entries, and a root that is not the empty tree's", ORIGIN, "0", encoded)
    fault(
        "other-origin",
        "about another ledger",
        LEDGER,
        sign_checkpoint(Checkpoint(ledger_origin(world.CLIENT, bytes(16)), 3, root), NAME, ISSUER),
    )
    fault(
        "other-client",
        "about another client's ledger",
        LEDGER,
        sign_checkpoint(Checkpoint(ledger_origin(world.OTHER_CLIENT, world.EPOCH), 3, root), NAME, ISSUER),
    )
    fault("other-key", "signed by another key under the same name", LEDGER, sign_checkpoint(checkpoint, NAME, STRANGER))
    fault(
        "other-name",
        "signed by the same key under another name",
        LEDGER,
        sign_checkpoint(checkpoint, "issuer.example", ISSUER),
    )
    head, tail = good.split("\n\n")
    fault("no-signature", "no signature line", FORMAT, f"{head}\n\n")
    fault("no-empty-line", "no line between text and signature", FORMAT, f"{head}\n{tail}")
    fault("no-last-newline", "the last newline is missing", FORMAT, good[:-1])
    fault("signed-twice", "the same signature twice", LEDGER, good + tail)
    fault("carriage-returns", "lines end in CR LF", FORMAT, good.replace("\n", "\r\n"))
    fault("hyphen-for-dash", "a hyphen where the dash belongs", FORMAT, good.replace("\N{EM DASH}", "-"))
    fault("flipped-signature", "a bit of the signature", SIGNATURE, f"{head}\n\n{_flip(tail)}")
    fault(
        "another-size-same-signature",
        "another size under the same signature",
        SIGNATURE,
        good.replace("\n3\n", "\n4\n"),
    )
    fault(
        "another-root-same-signature",
        "another root under the same signature",
        SIGNATURE,
        good.replace(encoded, base64.b64encode(bytes(32)).decode()),
    )
    alone = ("verify_checkpoint",)
    for name, description, entries in (
        ("entries-cut", "the last entry is missing", ENTRIES[:2]),
        ("entries-added", "an entry more", [*ENTRIES, ENTRIES[0]]),
        ("entries-reordered", "two entries in the other order", [ENTRIES[1], ENTRIES[0], ENTRIES[2]]),
        ("entries-rewritten", "a frozen project is not", [*ENTRIES[:2], ENTRIES[2].replace(b"\xc3", b"\xc2")]),
    ):
        book.fault(
            f"checkpoint_{name}",
            description,
            {"verify_export": LEDGER},
            accepted=alone,
            entries=[entry.hex() for entry in entries],
        )


def _idle_bit(encoded: str) -> str:
    """The same bytes, where the last digit has a bit that base64 does not use."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return encoded[:-2] + digits[digits.index(encoded[-2]) | 1] + "="


def _flip(line: str) -> str:
    """A signature line with a bit of its signature flipped."""
    start, _, encoded = line.rstrip("\n").rpartition(" ")
    value = bytearray(base64.b64decode(encoded))
    value[4] ^= 1
    return f"{start} {base64.b64encode(bytes(value)).decode()}\n"
