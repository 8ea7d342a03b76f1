"""Cosignatures against what is published of them, and everything that is none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.crypto.verify import verify
from labelvault.errors import FormatError, LedgerError, QuorumError, SignatureError
from labelvault.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from labelvault.ledger.cosignature import (
    CosignerKey,
    add_lines,
    cosign,
    cosignature_by,
    covered_by,
    only_lines,
    parse_cosigner_key,
)
from labelvault.ledger.note import (
    VerifierKey,
    from_base64,
    open_note,
    parse_verifier_key,
    signature_line,
    split_note,
    to_base64,
)

# A published witness key of signature type 04, and one of type 01: transparency-dev/formats, note/note_cosigv1_test.go.
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
PLAIN = "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6"
# The example of the specification (C2SP tlog-cosignature), whose keys are not published.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xe"
    "McTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA==\n"
)
AT = datetime(2023, 3, 20, 12, 25, 47, tzinfo=UTC)
ISSUER = SigningKey(SecretBytes(b"\1" * 32))
WITNESSES = [SigningKey(SecretBytes(bytes([number]) * 32)) for number in range(2, 6)]
KEYS = [CosignerKey(f"witness.example/{number}", key.public_key) for number, key in enumerate(WITNESSES)]
ORIGIN = "labelvault.ledger/a/b"
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"\7" * 32), "labelvault.issuer/a", ISSUER)


def cosigned(*numbers: int, note: str = NOTE, at: datetime = AT) -> str:
    for number in numbers:
        note = cosign(note, KEYS[number].name, WITNESSES[number], at)
    return note


def test_the_published_example_is_read_as_it_says() -> None:
    """Its line is 4, 8 and 64 bytes: key id, the time that the specification's text names, and a signature."""
    text, lines = split_note(EXAMPLE)
    assert text.startswith("example.com/behind-the-sofa\n20852163\n")
    name, key_id, value = lines[1]
    assert (name, key_id.hex(), len(value)) == ("witness.example.com/w1", "8d66cf3f", 72)
    assert int.from_bytes(value[:8], "big") == 1679315147 == int(AT.timestamp())


def test_published_witness_keys_are_read() -> None:
    """A key of type 04 has the id that its owner computed; one of type 01 is none."""
    key = parse_cosigner_key(REMORA)
    assert (key.name, key.key_id.hex(), str(key)) == ("remora.n621.de", "da77ade7", REMORA)
    with pytest.raises(FormatError):
        parse_verifier_key(REMORA)
    with pytest.raises(FormatError):
        parse_cosigner_key(PLAIN)
    assert parse_verifier_key(PLAIN).key_id != CosignerKey("TEST", parse_verifier_key(PLAIN).public_key).key_id


def test_what_is_signed_is_the_header_the_time_and_the_text() -> None:
    """Byte for byte as the specification says it, checked without this module's own reading."""
    text, lines = split_note(cosigned(0))
    (value,) = [value for name, _, value in lines if name == KEYS[0].name]
    assert value[:8] == (1679315147).to_bytes(8, "big")
    message = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    verify(KEYS[0].public_key, message, value[8:])


def test_a_cosignature_is_added_and_takes_the_place_of_an_older_one() -> None:
    """The issuer's line and other witnesses' stay; the same witness has one line."""
    note = cosigned(0, 1)
    later = cosign(note, KEYS[0].name, WITNESSES[0], AT + timedelta(hours=1, microseconds=999_000))
    assert [name for name, _, _ in split_note(later)[1]] == ["labelvault.issuer/a", KEYS[1].name, KEYS[0].name]
    found = cosignature_by(later, KEYS[0])
    assert found is not None
    assert (found.size, found.at) == (3, AT + timedelta(hours=1))
    assert cosignature_by(later, KEYS[2]) is None
    issuer = VerifierKey("labelvault.issuer/a", ISSUER.public_key)
    assert verify_checkpoint(later, issuer.name, issuer.public_key, ORIGIN).size == 3
    assert only_lines(later, [issuer]) == NOTE
    assert add_lines(NOTE, later, [KEYS[1]]) == cosigned(1)


def test_a_cosignature_never_fits_as_a_plain_signature_nor_the_other_way_round() -> None:
    """The same key and name under another type has another id, and its line is another key's."""
    plain = VerifierKey(KEYS[0].name, KEYS[0].public_key)
    with pytest.raises(LedgerError):
        open_note(cosigned(0), plain)
    forged = NOTE + signature_line(plain.name, KEYS[0].key_id, WITNESSES[0].sign(split_note(NOTE)[0].encode()))
    with pytest.raises(FormatError):
        cosignature_by(forged, KEYS[0])


def test_F1_any_flipped_bit_of_a_cosigned_note_is_refused() -> None:
    """In the text or in the witness's line: it does not verify, or the line is nobody's."""
    note = cosigned(0)
    start = note.index(KEYS[0].name)
    seen = set()
    for at in [*range(note.index("\n\n")), *range(start, len(note))]:
        for bit in (1, 2, 4, 8, 16):
            changed = note[:at] + chr(ord(note[at]) ^ bit) + note[at + 1 :]
            try:
                found = cosignature_by(changed, KEYS[0])
            except (FormatError, SignatureError) as error:
                seen.add(type(error))
                continue
            assert found is None, (at, bit)
    assert seen == {FormatError, SignatureError}


@pytest.mark.parametrize("size", [0, 8, 64, 71, 73, 2428])
def test_a_line_of_another_length_is_refused(size: int) -> None:
    """Of a known witness, it is no line to be passed over, the specification's other type included."""
    value = bytes(size) if size else b"\0"
    with pytest.raises(FormatError):
        cosignature_by(NOTE + signature_line(KEYS[0].name, KEYS[0].key_id, value), KEYS[0])


@pytest.mark.parametrize("seconds", [253_402_300_800, 2**63 - 1, 2**63, 2**64 - 1])
def test_P4_times_that_nobody_can_write_are_refused(seconds: int) -> None:
    """Never wrapped, also if the signature is good."""
    text, _ = split_note(NOTE)
    signature = WITNESSES[0].sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    note = NOTE + signature_line(KEYS[0].name, KEYS[0].key_id, seconds.to_bytes(8, "big") + signature)
    with pytest.raises(FormatError):
        cosignature_by(note, KEYS[0])


def test_two_lines_of_one_witness_are_refused() -> None:
    """Even if both are valid: nobody could say which one counts."""
    line = split_note(cosigned(0))[1][-1]
    with pytest.raises(LedgerError):
        cosignature_by(cosigned(0) + signature_line(*line), KEYS[0])


def test_lines_of_another_text_are_not_added() -> None:
    """A cosignature is of one checkpoint."""
    other = sign_checkpoint(Checkpoint(ORIGIN, 4, b"\7" * 32), "labelvault.issuer/a", ISSUER)
    with pytest.raises(LedgerError):
        add_lines(NOTE, cosigned(0, note=other), KEYS)


def test_a_note_that_is_full_takes_no_more() -> None:
    """16 lines are what every reader takes."""
    keys = [SigningKey.generate() for _ in range(16)]
    note = NOTE
    for number, key in enumerate(keys[:15]):
        note = cosign(note, f"w/{number}", key, AT)
    with pytest.raises(FormatError):
        cosign(note, "w/15", keys[15], AT)


@pytest.mark.parametrize("note", ["", "text\n", "text\n\n— a AAAAAAA=\n", NOTE[:-1]])
def test_only_checkpoints_are_cosigned(note: str) -> None:
    """A witness signs no other text."""
    with pytest.raises(FormatError):
        cosign(note, KEYS[0].name, WITNESSES[0], AT)


def larger(size: int) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, size, b"\7" * 32), "labelvault.issuer/a", ISSUER)


def test_a_quorum_covers_what_so_many_witnesses_cosigned_at_least() -> None:
    """Whoever cosigned more vouches for less, too; the k-th largest size is covered by k witnesses."""
    notes = [cosigned(0, 1), cosigned(1, 2, note=larger(5)), cosigned(2, note=larger(9)), larger(12)]
    assert [covered_by(notes, KEYS, k)[0] for k in (1, 2, 3)] == [9, 5, 3]
    assert [each.size for each in covered_by(notes, KEYS, 1)[1]] == [9, 5, 3]
    assert covered_by(notes, KEYS[:1], 1)[0] == 3


@pytest.mark.parametrize(("keys", "quorum"), [(KEYS, 4), (KEYS[:1], 2), (KEYS, 0), ([KEYS[0], KEYS[0]], 2), ([], 1)])
def test_too_few_witnesses_are_no_quorum(keys: list[CosignerKey], quorum: int) -> None:
    """Nor is one that is named twice, or none."""
    with pytest.raises(QuorumError):
        covered_by([cosigned(0, 1, 2)], keys, quorum)


def test_one_key_under_two_names_counts_once() -> None:
    """The message does not hold the witness's name, so one key could speak as many."""
    twin = CosignerKey("witness.example/twin", KEYS[0].public_key)
    note = cosign(cosigned(0), twin.name, WITNESSES[0], AT)
    with pytest.raises(QuorumError):
        covered_by([note], [KEYS[0], twin], 2)


def test_a_bad_line_of_a_trusted_witness_is_not_passed_over() -> None:
    """Also where the others would be enough."""
    value = bytearray(split_note(cosigned(0))[1][-1][2])
    value[20] ^= 1
    note = cosigned(1, 2) + signature_line(KEYS[0].name, KEYS[0].key_id, bytes(value))
    with pytest.raises(SignatureError):
        covered_by([note], KEYS, 2)


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=100))
def test_arbitrary_bytes_in_a_witnesss_line_raise_the_parsers_own_errors(value: bytes) -> None:
    """And nothing else."""
    note = f"{NOTE}— {KEYS[0].name} {to_base64(KEYS[0].key_id + value)}\n"
    assert from_base64(note.split()[-1])[4:] == value
    with pytest.raises((FormatError, SignatureError)):
        cosignature_by(note, KEYS[0])
