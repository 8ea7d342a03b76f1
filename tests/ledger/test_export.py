"""Exports: a ledger that was cut, reordered, rewritten or forked is refused, and the fault is named."""

import base64
import functools
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.merkle import leaf_hash, merkle_root
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import ForkError, FormatError, LedgerError, SignatureError
from labelvault.ledger.checkpoint import Checkpoint, issuer_key_name, ledger_origin, sign_checkpoint
from labelvault.ledger.entries import MAX_ENTRY_BYTES, Entry, Sealed, encode_entry
from labelvault.ledger.export import VerifiedLedger, claims, export_ledger, verify_export
from labelvault.ledger.note import MAX_NOTE_CHARACTERS

AT = datetime(2026, 3, 1, tzinfo=UTC)
CLIENT = bytes(range(32))
ORIGIN = ledger_origin(CLIENT, bytes(16))
NAME = issuer_key_name(CLIENT)
ISSUER = SigningKey(SecretBytes(b"i" * 32))


def sealed(number: int) -> Entry:
    return Sealed(
        at=AT + timedelta(minutes=number),
        project=bytes(16),
        item=number.to_bytes(16, "big"),
        version=1,
        digest=bytes(32),
    )


ENTRIES = [sealed(number) for number in range(7)]
RAW = [encode_entry(entry) for entry in ENTRIES]


def note_over(raw: list[bytes], size: int | None = None, origin: str = ORIGIN) -> str:
    covered = raw[:size]
    checkpoint = Checkpoint(origin, len(covered), merkle_root([leaf_hash(entry) for entry in covered]))
    return sign_checkpoint(checkpoint, NAME, ISSUER)


NOTE = note_over(RAW)
EXPORT = export_ledger(RAW, NOTE)


def check(data: bytes, older: str | None = None) -> VerifiedLedger:
    return verify_export(data, origin=ORIGIN, name=NAME, public_key=ISSUER.public_key, older=older)


def test_verifies_with_public_keys_only() -> None:
    """An export gives back the entries, the checkpoint and the note that covers them."""
    verified = check(EXPORT)
    assert verified.entries == tuple(ENTRIES)
    assert verified.checkpoint == Checkpoint(ORIGIN, 7, merkle_root([leaf_hash(entry) for entry in RAW]))
    assert verified.note == NOTE


def test_is_json_lines() -> None:
    """Any tool reads an export: one object a line, entries in base64, the checkpoint last."""
    *entries, last = [json.loads(line) for line in EXPORT.decode().splitlines()]
    assert [base64.b64decode(line["entry"]) for line in entries] == RAW
    assert last == {"checkpoint": NOTE}


def test_empty_ledger_exports() -> None:
    """A ledger of no entries is an export of its checkpoint alone."""
    assert check(export_ledger([], note_over([]))).entries == ()


@pytest.mark.parametrize("size", range(8))
def test_continues_every_older_checkpoint(size: int) -> None:
    """Whoever kept any earlier checkpoint of this ledger finds it continued."""
    assert check(EXPORT, older=note_over(RAW, size)).checkpoint.size == 7


@pytest.mark.parametrize("kept", range(7))
def test_L2_truncated(kept: int) -> None:
    """Entries that are missing under the old checkpoint are noticed, whichever they are."""
    with pytest.raises(LedgerError, match=f"cut: {kept} entries where the checkpoint covers 7"):
        check(export_ledger(RAW[:kept], NOTE))
    with pytest.raises(LedgerError, match="cut: 6 entries"):
        check(export_ledger(RAW[:kept] + RAW[kept + 1 :], NOTE))


def test_L2_extended() -> None:
    """An entry that the checkpoint does not cover is not taken along."""
    with pytest.raises(LedgerError, match="8 entries where the checkpoint covers 7"):
        check(export_ledger([*RAW, encode_entry(sealed(7))], NOTE))


@pytest.mark.parametrize("at", range(6))
def test_L2_reordered(at: int) -> None:
    """Any two neighbours that change places are noticed."""
    swapped = [*RAW[:at], RAW[at + 1], RAW[at], *RAW[at + 2 :]]
    with pytest.raises(LedgerError, match="reordered or rewritten"):
        check(export_ledger(swapped, NOTE))


@pytest.mark.parametrize("at", range(7))
def test_L2_rewritten(at: int) -> None:
    """Any entry that is exchanged for another is noticed."""
    changed = [*RAW[:at], encode_entry(sealed(99)), *RAW[at + 1 :]]
    with pytest.raises(LedgerError, match="reordered or rewritten"):
        check(export_ledger(changed, NOTE))


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("length", [5, 6, 7, 9])
def test_L2_forked(at: int, length: int) -> None:
    """A second signed history is caught by an older checkpoint, and both are kept as evidence."""
    other = [*RAW, encode_entry(sealed(7)), encode_entry(sealed(8))][:length]
    other[at] = encode_entry(sealed(99))
    newer, older = note_over(other), note_over(RAW, 5)
    assert check(export_ledger(other, newer)).checkpoint.size == length
    with pytest.raises(ForkError, match="first 5 entries are not those") as caught:
        check(export_ledger(other, newer), older=older)
    assert (caught.value.older, caught.value.newer) == (older, newer)


@pytest.mark.parametrize("size", range(7))
def test_L2_cut_and_signed_again(size: int) -> None:
    """A ledger that shrank behind a checkpoint that someone kept is caught, with both kept as evidence."""
    newer = note_over(RAW, size)
    with pytest.raises(ForkError, match=f"shrank from 7 to {size}") as caught:
        check(export_ledger(RAW[:size], newer), older=NOTE)
    assert (caught.value.older, caught.value.newer) == (NOTE, newer)


def test_older_checkpoint_is_verified_too() -> None:
    """An older checkpoint counts only if it is this issuer's, and about this ledger."""
    forged = NOTE.replace("\n7\n", "\n6\n")
    with pytest.raises(SignatureError):
        check(EXPORT, older=forged)
    with pytest.raises(LedgerError, match="another ledger"):
        check(EXPORT, older=note_over(RAW, 5, ledger_origin(CLIENT, b"e" * 16)))
    with pytest.raises(FormatError):
        check(EXPORT, older="")


def test_issuer_and_origin_are_the_readers() -> None:
    """Another key, name or origin than the reader's own is refused."""
    other = SigningKey.generate().public_key
    with pytest.raises(LedgerError):
        verify_export(EXPORT, origin=ORIGIN, name=NAME, public_key=other)
    with pytest.raises(LedgerError):
        verify_export(EXPORT, origin=ORIGIN, name="labelvault.issuer/x", public_key=ISSUER.public_key)
    with pytest.raises(LedgerError, match="another ledger"):
        verify_export(EXPORT, origin=ORIGIN + "0", name=NAME, public_key=ISSUER.public_key)


def test_signed_entries_that_are_none() -> None:
    """Bytes that the issuer signed but that are no entry are refused, and the entry is named."""
    for junk in (b"", b"\x80", RAW[0][:-1]):
        raw = [*RAW[:2], junk, *RAW[3:]]
        with pytest.raises(FormatError, match="^entry 2: "):
            check(export_ledger(raw, note_over(raw)))


FIRST, REST = EXPORT.split(b"\n", 1)
BODY, LAST = EXPORT[:-1].rsplit(b"\n", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        EXPORT[:-1],
        EXPORT + b"\n",
        BODY + b"\n",
        LAST,
        b" " + EXPORT,
        EXPORT.replace(b"\n", b"\r\n"),
        b"\n" + REST,
        b'{"entry":"}\n' + REST,
        FIRST + b" \n" + REST,
        FIRST.replace(b":", b": ") + b"\n" + REST,
        FIRST.replace(b'"}', b'="}') + b"\n" + REST,
        FIRST.replace(b'"}', b'\\n"}') + b"\n" + REST,
        FIRST.replace(b"entry", b"Entry") + b"\n" + REST,
        FIRST.replace(b"}", b',"x":1}') + b"\n" + REST,
        b'{"entry":"' + b"A" * 200_000 + b'"}\n' + REST,
        BODY + b"\n" + LAST.replace(b":", b": ", 1) + b"\n",
        BODY + b"\n" + LAST.replace("—".encode(), b"\\u2014") + b"\n",
        BODY + b"\n" + LAST.replace(b"}", b',"x":1}') + b"\n",
        BODY + b"\n" + LAST.replace(b"{", b'{"checkpoint":"",') + b"\n",
        BODY + b"\n" + LAST.replace(b'"}', b'\\ud800"}') + b"\n",
        BODY + b"\n" + LAST.replace(b'"}', b'\xff"}') + b"\n",
        BODY + b"\n" + LAST.replace(b'"}', b'","checkpoint":7}') + b"\n",
        BODY + b'\n{"checkpoint":"\n',
        BODY + b'\n{"checkpoint":"","x":' + b"[" * 100_000 + b"\n",
        BODY + b'\n{"checkpoint":"' + b"x" * 300_000 + b'"}\n',
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    """JSON that means the same but is not the one canonical file, or means nothing, is malformed."""
    with pytest.raises(FormatError):
        check(data)


def test_size_is_bounded() -> None:
    """A file over the bound is refused before it is looked at."""
    check_within = functools.partial(verify_export, origin=ORIGIN, name=NAME, public_key=ISSUER.public_key)
    assert check_within(EXPORT, max_bytes=len(EXPORT)).note == NOTE
    with pytest.raises(FormatError, match="more than"):
        check_within(EXPORT, max_bytes=len(EXPORT) - 1)


def test_lines_are_bounded() -> None:
    """A line that is longer than the longest entry or note is refused before it is decoded."""
    entry = export_ledger([bytes(MAX_ENTRY_BYTES)], NOTE).splitlines()[0]
    largest = [bytes(MAX_ENTRY_BYTES)]
    with pytest.raises(FormatError, match="^entry 0: "):
        check(export_ledger(largest, note_over(largest)))
    longer = LAST.replace(b'"}', b"x" * 4 * MAX_NOTE_CHARACTERS + b'"}')
    with pytest.raises(FormatError, match="ends with a checkpoint"):
        check(entry + b"\n" + longer + b"\n")
    larger = [bytes(MAX_ENTRY_BYTES + 3)]
    with pytest.raises(FormatError, match=f"^entry 0 has more than {MAX_ENTRY_BYTES} bytes"):
        check(export_ledger(larger, note_over(larger)))


def test_F1_every_flipped_byte_is_refused() -> None:
    """No flipped bit of an export leaves it believed."""
    for at in range(len(EXPORT)):
        flipped = EXPORT[:at] + bytes([EXPORT[at] ^ 1 << at % 8]) + EXPORT[at + 1 :]
        with pytest.raises((FormatError, LedgerError, SignatureError)):
            check(flipped)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_cleanly(data: bytes) -> None:
    """Bytes that nobody exported raise the parser's own errors and nothing else."""
    for candidate in (data, data + b"\n" + LAST + b"\n", b'{"checkpoint":"' + data + b'"}\n'):
        with pytest.raises((FormatError, LedgerError, SignatureError)):
            check(candidate)


def test_errors_name_no_content() -> None:
    """What is wrong is said with numbers, not with bytes out of the file."""
    secret = b"not-to-be-printed"
    for data in (
        secret,
        secret + b"\n" + LAST + b"\n",
        EXPORT.replace(b'{"entry":"', b'{"entry":"' + secret, 1),
    ):
        with pytest.raises((FormatError, LedgerError)) as caught:
            check(data)
        assert not re.search("not-to-be", str(caught.value))


def test_claims_are_the_note_its_checkpoint_and_the_first_entry() -> None:
    """What an export says of itself is read without any key, so that the right one can be looked up."""
    note, checkpoint, first = claims(EXPORT)
    assert (note, first) == (NOTE, ENTRIES[0])
    assert checkpoint == Checkpoint(ORIGIN, 7, merkle_root([leaf_hash(entry) for entry in RAW]))
    one = export_ledger(RAW[:1], note_over(RAW, 1))
    assert claims(one)[1:] == (Checkpoint(ORIGIN, 1, leaf_hash(RAW[0])), ENTRIES[0])


def test_claims_of_an_empty_ledger_have_no_entry() -> None:
    """Its checkpoint is all there is."""
    empty = note_over([])
    assert claims(export_ledger([], empty)) == (empty, Checkpoint(ORIGIN, 0, merkle_root([])), None)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"{}\n", EXPORT.replace(b'{"entry"', b'{"entri"', 1), EXPORT[:-20] + b"\n"]
)
def test_claims_of_what_is_no_export_are_refused(data: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(FormatError):
        claims(data)
