"""Vectors of cosignatures, and of what a witness is handed."""

from datetime import UTC, datetime

from labelvault.ledger.checkpoint import Checkpoint, sign_checkpoint
from labelvault.ledger.cosignature import CosignerKey, cosign
from labelvault.ledger.extension import Extension
from labelvault.ledger.note import signature_line, split_note
from labelvault.ledger.tree import consistency_proof, leaf_hash, root_of_leaves
from tests.vectors.form import Book
from tests.vectors.ledger_book import ENTRIES, NAME, ORIGIN
from tests.vectors.world import ISSUER, STRANGER, signing_key

FORMAT, SIGNATURE, LEDGER = "FormatError", "SignatureError", "LedgerError"
AT = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
WITNESS = signing_key("witness")
KEY = CosignerKey("witness.example/w1", WITNESS.public_key)
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, root_of_leaves(LEAVES)), NAME, ISSUER)
TEXT = split_note(NOTE)[0]


def add(book: Book) -> None:
    """Write this chapter."""
    _cosignatures(book)
    _extensions(book)


def _line(value: bytes, key: CosignerKey = KEY) -> str:
    return signature_line(key.name, key.key_id, value)


def _signed(seconds: int, text: str = TEXT, header: str = "cosignature/v1") -> bytes:
    return seconds.to_bytes(8, "big") + WITNESS.sign(f"{header}\ntime {seconds}\n{text}".encode())


def _cosignatures(book: Book) -> None:
    seconds = int(AT.timestamp())
    book.valid(
        "cosignature_valid",
        "a checkpoint with a witness's cosignature",
        note=cosign(NOTE, KEY.name, WITNESS, AT),
        witness_key=str(KEY),
    )

    def fault(name: str, description: str, kind: str, value: bytes, more: str = "") -> None:
        note = NOTE + _line(value) + more
        book.fault(f"cosignature_{name}", description, {"cosignature_by": kind}, note=note)

    good = _signed(seconds)
    fault("flipped-signature", "a bit of the signature", SIGNATURE, good[:-1] + bytes([good[-1] ^ 1]))
    fault(
        "flipped-time",
        "another second under the same signature",
        SIGNATURE,
        (seconds ^ 1).to_bytes(8, "big") + good[8:],
    )
    fault(
        "time-left-out",
        "the signature is over the header and the text alone",
        SIGNATURE,
        good[:8] + WITNESS.sign(f"cosignature/v1\n{TEXT}".encode()),
    )
    fault("other-header", "another version in the header", SIGNATURE, _signed(seconds, header="cosignature/v2"))
    fault("plain", "a plain signature of the text behind the time", SIGNATURE, good[:8] + WITNESS.sign(TEXT.encode()))
    fault("no-time", "a signature without its time", FORMAT, good[8:])
    fault("longer", "a byte more", FORMAT, good + b"\0")
    fault("after-9999", "a time after the year 9999, signed", FORMAT, _signed(253_402_300_800))
    fault("time-over-2-63", "a time with the highest bit set, signed", FORMAT, _signed(2**63 + seconds))
    fault("twice", "two lines of one witness, both valid", LEDGER, good, _line(_signed(seconds + 1)))
    other = sign_checkpoint(Checkpoint(ORIGIN, 2, root_of_leaves(LEAVES[:2])), NAME, ISSUER)
    book.fault(
        "cosignature_of-another-checkpoint",
        "a line that stood under another checkpoint of the ledger",
        {"cosignature_by": SIGNATURE},
        note=NOTE + _line(_signed(seconds, split_note(other)[0])),
    )
    book.fault(
        "cosignature_by-another-key",
        "signed by another key under the witness's name and id",
        {"cosignature_by": SIGNATURE},
        note=NOTE + _line(good[:8] + STRANGER.sign(f"cosignature/v1\ntime {seconds}\n{TEXT}".encode())),
    )


def _extensions(book: Book) -> None:
    proof = consistency_proof(2, 3, lambda level, at: root_of_leaves(LEAVES[at << level : (at + 1) << level]))
    good = Extension(2, proof, NOTE)
    old_root = root_of_leaves(LEAVES[:2])
    book.valid(
        "extension_valid",
        "a checkpoint of three entries, with the proof that it continues one of two",
        extension=good.text(),
        old_size=2,
        old_root=old_root.hex(),
    )
    empty = Extension(0, (), NOTE)
    book.valid(
        "extension_valid-from-nothing",
        "the same for a witness that saw nothing",
        extension=empty.text(),
        old_size=0,
        old_root=root_of_leaves([]).hex(),
    )

    def fault(name: str, description: str, kind: str, text: str, twin: str = "extension_valid") -> None:
        book.fault(f"extension_{name}", description, {"check": kind}, twin=twin, extension=text)

    text = good.text()
    fault("size-leading-zero", "the size has a leading zero", FORMAT, text.replace("old 2", "old 02"))
    fault("size-missing", "no size", FORMAT, text.replace("old 2", "old "))
    fault("other-size", "the proof says that it begins elsewhere", LEDGER, text.replace("old 2", "old 1"))
    fault("no-proof", "the proof is left out", LEDGER, Extension(2, (), NOTE).text())
    fault("longer-proof", "a hash more", LEDGER, Extension(2, (*proof, proof[0]), NOTE).text())
    fault(
        "other-hash",
        "a bit of the proof",
        LEDGER,
        Extension(2, (bytes([proof[0][0] ^ 1]) + proof[0][1:],), NOTE).text(),
    )
    fault("short-hash", "a hash of 31 bytes", FORMAT, Extension(2, (proof[0][:31],), NOTE).text())
    fault("too-many", "64 hashes", FORMAT, Extension(2, proof * 64, NOTE).text())
    fault(
        "proof-from-nothing",
        "a hash where nothing was seen",
        LEDGER,
        Extension(0, proof, NOTE).text(),
        "extension_valid-from-nothing",
    )
