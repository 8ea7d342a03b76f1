"""Signed notes against the vectors of Go's sumdb/note, and everything that is not a note."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, LedgerError, SignatureError
from labelvault.ledger.note import (
    MAX_NAME_CHARACTERS,
    MAX_NOTE_CHARACTERS,
    MAX_SIGNATURES,
    VerifierKey,
    open_note,
    parse_verifier_key,
    sign_note,
)

# Go's module golang x/mod, sumdb/note/note_test.go; the key names are the test's own.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = TEXT + "\n" + PETER_LINE


@pytest.fixture
def peter() -> VerifierKey:
    return parse_verifier_key(PETER_KEY)


def test_published_note_opens(peter: VerifierKey) -> None:
    """The published note verifies under the published verifier key."""
    assert peter.name == "PeterNeumann"
    assert peter.key_id.hex() == "c74f20a3"
    assert open_note(NOTE, peter) == TEXT


def test_published_note_is_made() -> None:
    """Signing the published text with the published key gives the published note, byte for byte."""
    seed = base64.b64decode(PETER_SECRET.split("+", 4)[4])[1:]
    assert sign_note(TEXT, "PeterNeumann", SigningKey(SecretBytes(seed))) == NOTE


def test_signatures_of_unknown_keys_are_ignored(peter: VerifierKey) -> None:
    """Another key's line is no obstacle, before or after ours, and each key opens the same note."""
    for lines in (PETER_LINE + ENOCH_LINE, ENOCH_LINE + PETER_LINE):
        assert open_note(TEXT + "\n" + lines, peter) == TEXT
        assert open_note(TEXT + "\n" + lines, parse_verifier_key(ENOCH_KEY)) == TEXT


def test_a_shared_name_or_id_is_another_key(peter: VerifierKey) -> None:
    """A line that shares only the name, or only the id, with our key is some other key's."""
    same_name = PETER_LINE.replace("x08g", "xxxx")
    same_id = PETER_LINE.replace("PeterNeumann", "CarmenSandiego")
    assert open_note(TEXT + "\n" + same_name + same_id + PETER_LINE, peter) == TEXT
    for lines in (same_name, same_id, ENOCH_LINE):
        with pytest.raises(LedgerError, match="0 signatures"):
            open_note(TEXT + "\n" + lines, peter)


def test_two_signatures_by_one_key_are_refused(peter: VerifierKey) -> None:
    """Our line must be there once; a second, even a valid one, is refused."""
    with pytest.raises(LedgerError, match="2 signatures"):
        open_note(TEXT + "\n" + PETER_LINE + PETER_LINE, peter)


def test_a_bad_signature_by_a_known_key_is_refused(peter: VerifierKey) -> None:
    """An altered text or signature, or one of another length, does not verify."""
    with pytest.raises(SignatureError):
        open_note(NOTE.replace("answer", "Answer"), peter)
    with pytest.raises(SignatureError):
        open_note(NOTE.replace("JkuBS", "JkuBT"), peter)
    with pytest.raises(SignatureError):
        open_note(NOTE.replace("JkuBS9UG", "JkuBS9UGABCD"), peter)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        NOTE + "\n",
        TEXT[:-1] + "\n" + PETER_LINE,
        "\x01" + NOTE,
        NOTE.replace(" the", "\tthe"),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("answer", "\ud800"),
        NOTE + "Unexpected line.\n",
        NOTE + ENOCH_LINE.replace("EnochRoot", "Enoch Root"),
        NOTE + ENOCH_LINE.replace("EnochRoot", "Enoch\N{NO-BREAK SPACE}Root"),
        NOTE + ENOCH_LINE.replace("EnochRoot", "Enoch+Root"),
        NOTE + ENOCH_LINE.replace("EnochRoot", ""),
        NOTE + ENOCH_LINE.replace("EnochRoot", "E" * (MAX_NAME_CHARACTERS + 1)),
        NOTE + ENOCH_LINE.replace("— ", "- "),
        NOTE + ENOCH_LINE.replace("— ", "—  "),
        NOTE + ENOCH_LINE.replace("— ", ""),
        NOTE + ENOCH_LINE.replace("Enoch", "En\x01och"),
        NOTE + ENOCH_LINE.replace("Enoch", "En\ud800och"),
        NOTE + ENOCH_LINE.replace("\n", " \n"),
        NOTE + ENOCH_LINE.replace("=\n", "\n"),
        NOTE + ENOCH_LINE.replace("QQ=\n", "QR=\n"),
        NOTE + ENOCH_LINE.replace("rwz+", "rwz-"),
        NOTE + "— EnochRoot rwz+eA==\n",
        NOTE + "— EnochRoot \n",
        NOTE + ENOCH_LINE * MAX_SIGNATURES,
        "x" * MAX_NOTE_CHARACTERS + NOTE,
    ],
)
def test_malformed_notes_are_refused(note: str, peter: VerifierKey) -> None:
    """Whatever is not a note, or holds one malformed line beside our good one, is refused as malformed."""
    with pytest.raises(FormatError):
        open_note(note, peter)


def test_bounds_are_reachable(peter: VerifierKey) -> None:
    """As many signatures as allowed are taken, and text may hold empty lines."""
    assert open_note(NOTE + ENOCH_LINE * (MAX_SIGNATURES - 1), peter) == TEXT
    signer = SigningKey.generate()
    key = VerifierKey("example.com/key", signer.public_key)
    assert open_note(sign_note("a\n\n\nb\n\n", key.name, signer), key) == "a\n\n\nb\n\n"
    longest = VerifierKey("n" * MAX_NAME_CHARACTERS, signer.public_key)
    rest = len(sign_note("\n", longest.name, signer)) - 1
    text = "x" * (MAX_NOTE_CHARACTERS - rest - 1) + "\n"
    assert open_note(sign_note(text, longest.name, signer), longest) == text
    with pytest.raises(FormatError, match="a note of more than"):
        sign_note("x" + text, longest.name, signer)


@pytest.mark.parametrize(
    "text", ["", "no newline", "a\n\nb", "a\n\n— b AAAAAAA=", "tab\t\n", "nul\0\n", "\ud800\n", "x" * 200_000 + "\n"]
)
def test_texts_that_are_not_signed(text: str) -> None:
    """A text that no reader would take is not signed."""
    with pytest.raises(FormatError):
        sign_note(text, "example.com/key", SigningKey.generate())


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x01b", "a\N{EM SPACE}b", "\ud800", "n" * 201])
def test_names_that_are_refused(name: str) -> None:
    """A name that would break the line, the verifier key or a bound is refused."""
    with pytest.raises(FormatError):
        sign_note(TEXT, name, SigningKey.generate())


def test_verifier_key_round_trip(peter: VerifierKey) -> None:
    """A verifier key prints as it was read."""
    assert str(peter) == PETER_KEY
    assert str(parse_verifier_key(ENOCH_KEY)) == ENOCH_KEY


def test_mangled_verifier_keys_are_refused() -> None:
    """No proper substring of a verifier key, and no changed character, is one."""
    mangled = {PETER_KEY[:end] for end in range(len(PETER_KEY))}
    mangled |= {PETER_KEY[start:] for start in range(1, len(PETER_KEY))}
    for at, character in enumerate(PETER_KEY):
        mangled.add(PETER_KEY[:at] + chr(ord(character) + 1) + PETER_KEY[at + 1 :])
    mangled.add("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
    mangled.add("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    mangled.add(PETER_KEY.replace("c74f20a3", "C74F20A3"))
    for text in mangled:
        with pytest.raises((FormatError, SignatureError)):
            parse_verifier_key(text)


def test_F8_low_order_verifier_key_is_refused() -> None:
    """The identity point, under which one signature fits every text, is no verifier key."""
    with pytest.raises(SignatureError):
        VerifierKey("example.com/key", b"\x01" + bytes(31))


@given(st.text(max_size=300))
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    """Text that nobody signed raises one of the parser's own errors and nothing else."""
    peter = parse_verifier_key(PETER_KEY)
    for note in (text, text + "\n\n" + PETER_LINE, TEXT + "\n" + text):
        with pytest.raises((FormatError, LedgerError, SignatureError)):
            open_note(note, peter)


@given(st.text(alphabet=st.sampled_from("ab\n —+=é"), max_size=20))
def test_whatever_is_signed_opens(text: str) -> None:
    """A text is either refused by the signer or comes back from the note exactly."""
    signer = SigningKey(SecretBytes(bytes(32)))
    key = VerifierKey("example.com/key", signer.public_key)
    try:
        note = sign_note(text, key.name, signer)
    except FormatError:
        assert not text.endswith("\n")
    else:
        assert open_note(note, key) == text
