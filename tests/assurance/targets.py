"""Every kind of object that is stored or sent, with each way in which it is opened, and what its refusals may be.

Objects and ways are those of the test vectors; what rests in files of its own is added here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.answer import open_answer
from labelvault.envelope.digest import payload_leaves
from labelvault.envelope.ranges import SealedReader
from labelvault.errors import LabelVaultError
from labelvault.keys.identity import Identity, load_signing_key, store_signing_key
from labelvault.keys.kek import Kek, KekFiles
from labelvault.keys.keystore import open_keystore, seal_keystore
from labelvault.keys.prekeys import PrekeyFiles
from labelvault.keys.root import LocalRootKey
from labelvault.ledger.export import verify_export
from labelvault.ledger.statement import read_statement
from labelvault.wire.answers import Submission
from labelvault.wire.frame import parse_frame
from labelvault.wire.items import parse_header
from labelvault.wire.schema import decode_record
from tests.ledger import test_export, test_statement
from tests.vectors import world
from tests.vectors.entries import ENTRIES, said
from tests.vectors.form import load

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
SIGNED = "FormatError SignatureError"
DAMAGED = "KeystoreDamagedError KeystoreForeignError"

_WAYS = (
    # Valid vector, the input that is tampered with, the entry, the kinds of error that may answer.
    ("header_valid", "header", "check_digest", "TamperedError"),
    ("header_valid", "header", "open_item", "TamperedError"),
    ("header_valid", "header", "open_item-certified", "DecryptionError FormatError"),
    ("header_valid", "header", "open_lease", "TamperedError"),
    ("payload_valid", "payload", "check_digest", "TamperedError"),
    ("payload_valid", "payload", "open_item", "TamperedError"),
    ("payload_valid", "payload", "open_item-certified", "DecryptionError"),
    ("payload_valid", "payload", "open_lease", "TamperedError"),
    ("payload_valid", "digest", "open_item", "TamperedError"),
    ("payload_valid-chunks", "payload", "open_item", "TamperedError"),
    ("payload_valid-chunks", "payload", "open_item-certified", "DecryptionError"),
    ("wrap_valid", "wrapped", "unwrap_dek", "DecryptionError"),
    ("wrap_valid", "wrapped", "release", "DecryptionError"),
    ("wrap_valid", "header", "unwrap_dek", "DecryptionError FormatError"),
    ("wrap_valid", "header", "release", "DecryptionError FormatError"),
    ("wrap_valid", "digest", "release", "DecryptionError FormatError"),
    ("wrap_valid", "kek_id", "release", "DecryptionError FormatError"),
    ("card_valid", "card", "read_card", SIGNED),
    ("card_valid-desk", "card", "read_card", SIGNED),
    ("certificate_valid", "certificate", "read_certificate", SIGNED),
    ("certificate_valid", "certificate", "read_invite", SIGNED),
    ("certificate_valid-newer", "certificate", "read_denial", SIGNED),
    ("grant_valid", "grant", "open_frame", SIGNED),
    ("grant_valid", "grant", "read_invite", SIGNED),
    ("grant_valid-desk", "grant", "open_frame", SIGNED),
    ("invite_valid", "invite", "read_invite", SIGNED),
    ("invite_valid", "identity_key", "read_invite", SIGNED),
    ("invite_valid", "contractor", "read_invite", "EnrolmentError"),
    ("request_valid", "request", "open_frame", SIGNED),
    ("lease_valid", "lease", "read_lease", SIGNED),
    ("lease_valid", "lease", "open_lease", SIGNED),
    ("ahead_valid", "lease", "read_ahead_lease", SIGNED),
    ("ahead_valid", "prekey", "read_ahead_lease", "LeaseError"),
    ("denial_valid", "denial", "read_denial", SIGNED),
    ("receipt_valid", "receipt", "open_frame", SIGNED),
    ("receipt_valid", "receipt", "store", "opaque"),
    ("submission_valid", "submission", "open_frame", SIGNED),
    ("ack_valid", "ack", "open_certified", SIGNED),
    ("ack_valid", "ack", "store", "opaque"),
    ("prekey-bundle_valid", "bundle", "open_frame", SIGNED),
    ("status_valid", "status", "open_certified", SIGNED),
    ("status_valid", "status", "store", "opaque"),
    ("approval_valid", "request", "examine", SIGNED + " ApprovalRefusedError:desk"),
    ("assignment_valid", "assignment", "read_assignment", SIGNED + " EnrolmentError"),
)
_KEYS = (
    ("payload_valid", "dek", "open_item", "DecryptionError"),
    ("wrap_valid", "kek", "release", "DecryptionError"),
    ("lease_valid", "one_time_seed", "open_lease", "DecryptionError"),
)
"""Keys are not stored as they are, and have one size: their bits are flipped, and nothing else."""


@dataclass(frozen=True)
class Target:
    """An object, and one way to open it.

    Attributes:
        name: object and way.
        kind: of the object; objects of one kind are opened alike.
        data: its bytes.
        open: gives None if these bytes are accepted, else the kind of error that refused them.
        refused: the kinds of error that may refuse bytes that were tampered with.
    """

    name: str
    kind: str
    data: bytes
    open: Callable[[bytes], str | None]
    refused: frozenset[str]

    def must_refuse(self, data: bytes, *also: str) -> None:
        """Open other bytes than the object's own.

        Args:
            data: the bytes.
            also: further kinds of error that may refuse them.

        Raises:
            AssertionError: they were accepted, or refused with another error.
        """
        found = self.open(data)
        assert found is not None, f"{self.name}: accepted"
        assert found in self.refused or found in also, f"{self.name}: {found}"


def targets(folder: Path, *, keys: bool = False) -> list[Target]:
    """All of them, the smaller ones first.

    Args:
        folder: files are put there.
        keys: what opens them too.
    """
    ways = (*_WAYS, *_KEYS) if keys else _WAYS
    made = [*_of_vectors(folder, ways), *_of_ledgers(), *_of_files(folder), *_of_parts()]
    for target in made:
        assert target.open(target.data) is None, f"{target.name}: the untouched object is refused"
    return sorted(made, key=lambda target: len(target.data))


def _of_vectors(folder: Path, ways: tuple[tuple[str, str, str, str], ...]) -> Iterator[Target]:
    for name, field, label, refused in ways:
        vector = load(name)
        entry = ENTRIES[vector.area][label]

        def opened(data: bytes, entry=entry, inputs=vector.inputs, field=field) -> str | None:
            found = said(entry, inputs | {field: data.hex()}, folder)
            return found if found is None else found.replace(" ", "")

        kinds = frozenset(refused.split())
        data = bytes.fromhex(vector.inputs[field])
        yield Target(f"{name} {field}: {label}", f"{vector.area} {field}", data, opened, kinds)


def _of_ledgers() -> Iterator[Target]:
    """A checkpoint's note, an export, a statement."""
    inputs = load("checkpoint_valid").inputs
    for label, entry in ENTRIES["checkpoint"].items():

        def noted(data: bytes, entry=entry) -> str | None:
            return said(entry, inputs | {"note": data.decode("utf-8", "surrogateescape")}, Path())

        kinds = frozenset({"FormatError", "SignatureError", "LedgerError"})
        yield Target(f"checkpoint note: {label}", "checkpoint note", inputs["note"].encode(), noted, kinds)

    def exported(data: bytes) -> None:
        verify_export(data, origin=test_export.ORIGIN, name=test_export.NAME, public_key=test_export.ISSUER.public_key)

    yield _calling("ledger export", test_export.EXPORT, exported, "FormatError SignatureError LedgerError ForkError")

    def stated(data: bytes) -> None:
        read_statement(data, test_statement.ISSUER.public_key)

    yield _calling("exposure statement", test_statement.FILE, stated, "FormatError SignatureError LedgerError")


def _of_files(folder: Path) -> Iterator[Target]:
    """What holds secrets on the client's and the contractor's disk."""
    sealed = seal_keystore("root", SecretBytes(b"r" * 32), "correct horse", CHEAP)
    # A checksum finds damage before the passphrase is tried; the tag behind it is held to by a test of its own.
    yield _calling("keystore", sealed, lambda data: open_keystore("root", data, "correct horse"), DAMAGED)

    root = LocalRootKey(SecretBytes(b"r" * 32))
    keks = KekFiles(folder / "keks", root, world.CLIENT)
    kek = keks.store(world.PROJECT, Kek(world.fixed("kek", 16), 1, SecretBytes(world.fixed("kek secret"))))
    path = keks.path(kek.kek_id, 1)
    yield _in_file("KEK file", path, lambda: keks.load(world.PROJECT, kek.kek_id, 1), DAMAGED)

    signing = folder / "issuer.key"
    store_signing_key(signing, world.ISSUER, root, "issuer", world.CLIENT)
    yield _in_file(
        "signing key file", signing, lambda: load_signing_key(signing, root, "issuer", world.CLIENT), DAMAGED
    )

    prekeys = PrekeyFiles(folder / "prekeys", Identity(world.HELPER))
    key = prekeys.create(world.NOW)
    (place,) = (folder / "prekeys").iterdir()
    yield _in_file("prekey file", place, lambda: prekeys.seed(key), "KeystoreError KeystoreDamagedError")


def _of_parts() -> Iterator[Target]:
    """An answer's sealed part; a payload and its leaf hashes, as they are read range by range."""
    message = decode_record(Submission, parse_frame(bytes.fromhex(load("submission_valid").inputs["submission"])).body)
    opening = "DecryptionError"
    yield _calling("answer", message.sealed, lambda data: open_answer(world.SUBMISSION, data, message.outer), opening)
    yield _calling(
        "answer's head", message.outer, lambda data: open_answer(world.SUBMISSION, message.sealed, data), opening
    )
    inputs = load("payload_valid-chunks").inputs
    header, payload, digest = (bytes.fromhex(inputs[name]) for name in ("header", "payload", "digest"))
    leaves = b"".join(payload_leaves(payload))

    def ranged(stored: bytes, hashes: bytes) -> None:
        dek = SecretBytes(bytes.fromhex(inputs["dek"]))
        parts = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
        reader = SealedReader(
            header, parse_header(header), digest, dek, len(stored), parts, lambda at, size: stored[at : at + size]
        )
        reader.read_range(0, reader.size)

    yield _calling("payload, by ranges", payload, lambda data: ranged(data, leaves), "TamperedError")
    yield _calling("leaf hashes", leaves, lambda data: ranged(payload, data), "TamperedError")


def _calling(name: str, data: bytes, call: Callable[[bytes], object], refused: str) -> Target:
    def opened(tampered: bytes) -> str | None:
        try:
            call(tampered)
        except LabelVaultError as error:
            return type(error).__name__
        return None

    return Target(name, name, data, opened, frozenset(refused.split()))


def _in_file(name: str, path: Path, read: Callable[[], object], refused: str) -> Target:
    """The bytes are put into the file, and its own are put back."""
    own = path.read_bytes()

    def call(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read()
        finally:
            path.write_bytes(own)

    return _calling(name, own, call, refused)
