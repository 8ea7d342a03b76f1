"""Vectors of backups: a whole part and one with what changed, together in two files."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from labelvault.client.backupchain import CHANGES, CONFIG, DATABASE
from labelvault.client.backupfile import MAGIC, BackupFront, BackupHeader, BackupMember
from labelvault.client.pagechanges import PAGE_BYTES
from labelvault.crypto import aead
from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.secret import SecretBytes
from labelvault.keys.root import LocalRootKey
from labelvault.wire.schema import encode_record
from tests.vectors import world
from tests.vectors.craft import Sealed, altered, flipped
from tests.vectors.form import Book

BACKUP, FOREIGN = "BackupError", "KeystoreForeignError"
ROOT_BYTES = world.fixed("backup root")
ROOT = LocalRootKey(SecretBytes(ROOT_BYTES))
CHAIN, OTHER_CHAIN = world.fixed("backup chain")[:16], world.fixed("another backup chain")[:16]
STATES = (b"state one", b"state one".ljust(PAGE_BYTES, b"\0") + b"and a page")
SEALED_BYTES = 8192
Members = list[tuple[str, bytes]]


def state_hash(database: bytes) -> bytes:
    """What names a state of `client.db`."""
    return tagged_hash(b"labelvault/v1/backup-database\0", database)


HEADERS = (
    BackupHeader(
        version=1,
        client=world.CLIENT,
        root=ROOT.key_id,
        chain=CHAIN,
        number=0,
        before=None,
        database=state_hash(STATES[0]),
        epoch=world.EPOCH,
        size=3,
        at=world.NOW,
    ),
    BackupHeader(
        version=1,
        client=world.CLIENT,
        root=ROOT.key_id,
        chain=CHAIN,
        number=1,
        before=state_hash(STATES[0]),
        database=state_hash(STATES[1]),
        epoch=world.EPOCH,
        size=5,
        at=world.NOW + timedelta(hours=1),
    ),
)
CONFIGURED: Members = [(CONFIG, b'{"vault": "https://vault.example"}')]
WHOLE = [*CONFIGURED, (DATABASE, STATES[0])]


def changes(size: int, *pages: tuple[int, bytes]) -> bytes:
    """The pages that changed."""
    return size.to_bytes(8, "big") + b"".join(
        at.to_bytes(4, "big") + page.ljust(PAGE_BYTES, b"\0") for at, page in pages
    )


SECOND = (1, STATES[1][PAGE_BYTES:])
CHANGED = [*CONFIGURED, (CHANGES, changes(len(STATES[1]), SECOND))]


def prefixed(data: bytes) -> bytes:
    """A u16 length, then the data."""
    return len(data).to_bytes(2, "big") + data


def front(part: BackupHeader) -> bytes:
    """What stands in clear."""
    return MAGIC + prefixed(encode_record(BackupFront(1, part.client, part.root)))


def inside(header: bytes, members: Members, padding: bytes = b"") -> bytes:
    """What is sealed."""
    files = b"".join(prefixed(encode_record(BackupMember(name, len(data)))) + data for name, data in members)
    made = prefixed(header) + files + bytes(2) + padding
    return made + bytes(-len(made) % SEALED_BYTES)


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""

    def part(name: str, header: BackupHeader, members: Members, padding: bytes = b"", **spoilt: Any) -> bytes:
        def make() -> bytes:
            key = SecretBytes(world.fixed(f"backup {name}"))
            wrapped = ROOT.wrap(key, b"labelvault/v1/backup-key\0" + header.client)
            plain = inside(altered(header, **spoilt) if spoilt else encode_record(header), members, padding)
            return prefixed(wrapped) + aead.seal_payload(key, plain, b"labelvault/v1/backup\0" + header.client)

        return front(header) + sealed.get(f"backup {name}", make)

    first, second = HEADERS
    base, increment = part("base", first, WHOLE), part("increment", second, CHANGED)
    book.valid(
        "backup_valid",
        "a whole part, and what changed",
        root=ROOT_BYTES.hex(),
        base=base.hex(),
        increment=increment.hex(),
        database=STATES[1].hex(),
    )

    def fault(name: str, description: str, kind: str = BACKUP, **given: bytes) -> None:
        changed: dict[str, Any] = {key: data.hex() for key, data in given.items()}
        book.fault(f"backup_{name}", description, {"assemble": kind}, **changed)

    start = len(front(first))
    fault("flipped-magic", "a bit of its first byte", base=flipped(base, 0))
    fault("front-other-client", "another client's id in clear", base=flipped(base, start - 1 - 40))
    fault("front-cut", "ends within what stands in clear", base=base[: start - 1])
    fault("other-root", "another root key", FOREIGN, root=world.fixed("another root"))
    fault("flipped-wrap", "a bit of the wrapped key", base=flipped(base, start + 10))
    fault("flipped-commitment", "a bit of the commitment", base=flipped(base, start + 2 + 72 + 30))
    fault("flipped-last-byte", "a bit of the last chunk's tag", increment=flipped(increment, -1))
    fault("cut", "the last byte is missing", increment=increment[:-1])
    fault("longer", "a byte follows", increment=increment + b"\0")
    fault("base-twice", "the whole part where what changed belongs", increment=base)
    crafted: dict[str, tuple[str, BackupHeader, Members, dict[str, Any]]] = {
        "other-chain": ("of another backup", replace(second, chain=OTHER_CHAIN), CHANGED, {}),
        "other-number": ("number 2 in the place of 1", replace(second, number=2), CHANGED, {}),
        "other-before": ("follows another state", replace(second, before=state_hash(b"other")), CHANGED, {}),
        "other-database": ("says to give another state", replace(second, database=state_hash(b"other")), CHANGED, {}),
        "before-missing": ("number 1, and follows nothing", second, CHANGED, {"before": None}),
        "header-unknown-field": ("a field too many", second, CHANGED, {"more": 1}),
        "member-unknown": ("holds the root key's file", second, [*CHANGED, ("root.keystore", b"x")], {}),
        "member-outside": ("a name that leads elsewhere", second, [*CHANGED, ("keks/../x", b"x")], {}),
        "member-twice": ("a file twice", second, [*CHANGED, *CONFIGURED], {}),
        "member-missing": ("no config.json", second, CHANGED[1:], {}),
        "whole-again": ("a whole database where changes belong", second, [*CONFIGURED, (DATABASE, STATES[1])], {}),
        "pages-out-of-order": (
            "a page twice",
            second,
            [*CONFIGURED, (CHANGES, changes(len(STATES[1]), SECOND, SECOND))],
            {},
        ),
        "page-beyond-size": (
            "a page behind the end",
            second,
            [*CONFIGURED, (CHANGES, changes(len(STATES[1]), SECOND, (2, b"x")))],
            {},
        ),
        "pages-cut": ("half a page", second, [*CONFIGURED, (CHANGES, CHANGED[1][1][:-1])], {}),
    }
    for name, (description, header, members, spoilt) in crafted.items():
        fault(name, description, increment=part(name, header, members, **spoilt))
    fault("padding-not-zero", "a byte in the padding", increment=part("padding", second, CHANGED, padding=b"\x01"))
