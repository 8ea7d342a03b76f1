"""Vectors of shares of a root key: two of three."""

from typing import Any

from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.shares import split_secret
from labelvault.keys.root import LocalRootKey
from tests.vectors import world
from tests.vectors.craft import Sealed, flipped
from tests.vectors.form import Book

DAMAGED, FOREIGN, REFUSED = "KeystoreDamagedError", "KeystoreForeignError", "KeystoreError"
KEY = world.fixed("shared root")
ROOT = LocalRootKey(SecretBytes(KEY)).key_id


def checked(body: bytes) -> bytes:
    """A share with the check that fits it."""
    return body + tagged_hash(b"labelvault/v1/share-check\0", body)[:8]


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""
    parts = sealed.get("shares", lambda: b"".join(part.reveal() for part in split_secret(SecretBytes(KEY), 2, 3)))

    def share(number: int, *, form: int = 1, root: bytes = ROOT, threshold: int = 2, count: int = 3) -> bytes:
        part = parts[32 * ((number - 1) % 3) :][:32]
        return checked(bytes([form]) + root + bytes([threshold, count, number]) + part)

    one, two = share(1), share(3)
    book.valid("share_valid", "two of three", one=one.hex(), two=two.hex(), key=KEY.hex())

    def fault(name: str, description: str, kind: str, data: bytes) -> None:
        given: dict[str, Any] = {"two": data.hex()}
        book.fault(f"share_{name}", description, {"recover_root": kind}, **given)

    fault("flipped-part", "a bit of what it holds", DAMAGED, flipped(two, 30))
    fault("flipped-check", "a bit of its check", DAMAGED, flipped(two, -1))
    fault("cut", "a word is missing", DAMAGED, two[:-2])
    fault("longer", "a word too many", DAMAGED, two + bytes(2))
    fault("other-format", "format 2", DAMAGED, share(3, form=2))
    fault("threshold-1", "one share would be the key", DAMAGED, share(3, threshold=1))
    fault("number-0", "the key itself stands at 0", DAMAGED, share(0))
    fault("number-over-count", "number 4 of 3", DAMAGED, share(4))
    fault("other-root", "of another root key", FOREIGN, share(3, root=world.fixed("another root")[:16]))
    fault("other-threshold", "says that three are needed", FOREIGN, share(3, threshold=3))
    fault("forged-part", "another part, under a check that fits", FOREIGN, checked(flipped(two[:-8], 30)))
    fault(
        "moved", "a part under another number, and a check that fits", FOREIGN, checked(two[:19] + b"\x02" + two[20:-8])
    )
    fault("twice", "the same share again", REFUSED, one)
