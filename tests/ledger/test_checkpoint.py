"""Checkpoints: canonical text, one signature that counts, one ledger."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.merkle import EMPTY_ROOT
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, LedgerError, SignatureError
from labelvault.ledger.checkpoint import (
    Checkpoint,
    issuer_key_name,
    ledger_origin,
    sign_checkpoint,
    verify_checkpoint,
)
from labelvault.ledger.note import sign_note
from labelvault.ledger.tree import MAX_SIZE

CLIENT = bytes(range(32))
EPOCH = bytes(range(100, 116))
ORIGIN = ledger_origin(CLIENT, EPOCH)
NAME = issuer_key_name(CLIENT)
ISSUER = SigningKey(SecretBytes(b"i" * 32))
WITNESS = SigningKey(SecretBytes(b"w" * 32))
ROOT = bytes(range(32))
CHECKPOINT = Checkpoint(ORIGIN, 42, ROOT)
SIGNED = sign_checkpoint(CHECKPOINT, NAME, ISSUER)
ROOT_TEXT = base64.b64encode(ROOT).decode()


def check(note: str) -> Checkpoint:
    return verify_checkpoint(note, NAME, ISSUER.public_key, ORIGIN)


def test_names() -> None:
    """Origin and key name are made of the client's id and the epoch."""
    assert ORIGIN == "labelvault.ledger/000102030405060708090a0b0c0d0e0f/6465666768696a6b6c6d6e6f70717273"
    assert NAME == "labelvault.issuer/000102030405060708090a0b0c0d0e0f"
    with pytest.raises(FormatError):
        ledger_origin(CLIENT[:31], EPOCH)
    with pytest.raises(FormatError):
        ledger_origin(CLIENT, EPOCH[:15])
    with pytest.raises(FormatError):
        issuer_key_name(CLIENT + b"x")


def test_text_of_a_checkpoint() -> None:
    """The signed text has the three lines that the specification names, and nothing else."""
    assert CHECKPOINT.text() == f"{ORIGIN}\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert SIGNED.startswith(CHECKPOINT.text() + f"\n— {NAME} ")


@pytest.mark.parametrize("size", [1, 10, 2**32, MAX_SIZE])
def test_round_trip(size: int) -> None:
    """What was signed is what is read."""
    checkpoint = Checkpoint(ORIGIN, size, ROOT)
    assert check(sign_checkpoint(checkpoint, NAME, ISSUER)) == checkpoint
    longest = Checkpoint("o" * 200, size, ROOT)
    note = sign_checkpoint(longest, NAME, ISSUER)
    assert verify_checkpoint(note, NAME, ISSUER.public_key, longest.origin) == longest


def test_empty_ledger() -> None:
    """The checkpoint of no entries has the empty tree's root, and no other."""
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), NAME, ISSUER)
    assert check(note).size == 0
    with pytest.raises(FormatError):
        check(sign_note(f"{ORIGIN}\n0\n{ROOT_TEXT}\n", NAME, ISSUER))


def test_witness_cosignatures_are_ignored() -> None:
    """Lines of other keys, of any algorithm, change nothing; without ours they are worth nothing."""
    witness = sign_note(CHECKPOINT.text(), "witness.example/w", WITNESS).removeprefix(CHECKPOINT.text() + "\n")
    quantum = f"— witness.example/pq {base64.b64encode(bytes(2424)).decode()}\n"
    assert check(SIGNED + witness + quantum) == CHECKPOINT
    with pytest.raises(LedgerError):
        check(CHECKPOINT.text() + "\n" + witness + quantum)


def test_another_key_or_name_or_ledger_is_refused() -> None:
    """The reader's own key, name and origin decide, not those in the note."""
    with pytest.raises(LedgerError):
        verify_checkpoint(SIGNED, NAME, WITNESS.public_key, ORIGIN)
    with pytest.raises(LedgerError):
        verify_checkpoint(SIGNED, issuer_key_name(bytes(32)), ISSUER.public_key, ORIGIN)
    with pytest.raises(LedgerError, match="another ledger"):
        verify_checkpoint(SIGNED, NAME, ISSUER.public_key, ledger_origin(CLIENT, bytes(16)))
    with pytest.raises(LedgerError, match="another ledger"):
        verify_checkpoint(SIGNED, NAME, ISSUER.public_key, ledger_origin(bytes(32), EPOCH))


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n042\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+42\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-42\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n4_2\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n 42\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\N{ARABIC-INDIC DIGIT FOUR}2\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{MAX_SIZE + 1}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n42\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n42\n{ROOT_TEXT[:-2]}9=\n",
        f"{ORIGIN}\n42\n{ROOT_TEXT} \n",
        f"{ORIGIN}\n42\nAAAA\n",
        f"{ORIGIN}\n42\n{'é' * 44}\n",
        f"{ORIGIN}\n42\n",
        f"{ORIGIN}\n",
        "\n",
        f"{ORIGIN}\n42\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n42\n{ROOT_TEXT}\n\n",
        f"\n{ORIGIN}\n42\n{ROOT_TEXT}\n",
        f"\n42\n{ROOT_TEXT}\n",
        f"two words\n42\n{ROOT_TEXT}\n",
        f"a+b\n42\n{ROOT_TEXT}\n",
        f"{'o' * 201}\n42\n{ROOT_TEXT}\n",
        f"dele\x7fte\n42\n{ROOT_TEXT}\n",
    ],
)
def test_signed_but_not_a_checkpoint(text: str) -> None:
    """A note by the right key whose text is not a checkpoint's one canonical form is refused."""
    with pytest.raises(FormatError):
        check(sign_note(text, NAME, ISSUER))


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, ROOT),
        ("a b", 1, ROOT),
        ("a\nb", 1, ROOT),
        ("o" * 201, 1, ROOT),
        (ORIGIN, -1, ROOT),
        (ORIGIN, MAX_SIZE + 1, ROOT),
        (ORIGIN, 1, ROOT[:31]),
        (ORIGIN, 0, ROOT),
    ],
)
def test_checkpoints_that_are_not_made(origin: str, size: int, root: bytes) -> None:
    """A checkpoint that no reader would take can't be built, so it can't be signed."""
    with pytest.raises(FormatError):
        Checkpoint(origin, size, root)


def test_F1_every_flipped_bit_is_refused() -> None:
    """No single flipped bit of a checkpoint leaves it believed."""
    data = SIGNED.encode()
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            text = flipped.decode("utf-8", "surrogateescape")
            with pytest.raises((FormatError, LedgerError, SignatureError)):
                check(text)


def test_F2_every_truncation_and_extension_is_refused() -> None:
    """A checkpoint cut or extended at any place is refused."""
    for end in range(len(SIGNED)):
        with pytest.raises((FormatError, LedgerError, SignatureError)):
            check(SIGNED[:end])
    for extra in ("\n", " ", "\0", SIGNED, "— a b\n"):
        with pytest.raises((FormatError, LedgerError, SignatureError)):
            check(SIGNED + extra)


@given(st.text(max_size=300))
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    """Text that the issuer didn't sign raises FormatError or LedgerError, signed text only FormatError."""
    with pytest.raises((FormatError, LedgerError)):
        check(text)
    try:
        note = sign_note(text + "\n", NAME, ISSUER)
    except FormatError:
        return
    with pytest.raises(FormatError):
        check(note)


def test_L1_size_is_bound_to_root() -> None:
    """Size and root are signed together: neither can be taken from another checkpoint of the same ledger."""
    later = sign_checkpoint(Checkpoint(ORIGIN, 43, bytes(32)), NAME, ISSUER)
    with pytest.raises(SignatureError):
        check(SIGNED.replace("\n42\n", "\n43\n"))
    with pytest.raises(SignatureError):
        check(later.replace(base64.b64encode(bytes(32)).decode(), ROOT_TEXT))
