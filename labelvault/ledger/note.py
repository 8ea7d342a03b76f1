"""Signed notes: a text and who signed it (C2SP signed-note, https://c2sp.org/signed-note).

    <text, ending in a newline>
    <empty line>
    — <key name> <base64 of 4-byte key id ‖ signature>

A note may carry signatures of keys that the reader doesn't know (witnesses add theirs); they are held to the
format and otherwise ignored. A note holds no control characters, and all else that LabelVault signs begins
with a label that holds a NUL byte, so a signature over one never fits the other.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from labelvault.crypto.verify import check_public_key, verify
from labelvault.errors import FormatError, LedgerError
from labelvault.wire.frame import Signer

MAX_NOTE_CHARACTERS: Final = 128 * 1024
"""Room for 16 signatures of post-quantum size."""
MAX_SIGNATURES: Final = 16
"""What the specification asks every reader to take."""
MAX_NAME_CHARACTERS: Final = 200
KEY_ID_BYTES: Final = 4

_MARK: Final = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that signs notes, and the name that it signs under.

    Attributes:
        ALGORITHM: the signature type's byte.
        name: not empty, without spaces or plus signs.
        public_key: 32 bytes, Ed25519.
    """

    ALGORITHM: ClassVar[bytes] = b"\x01"

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        check_public_key(self.public_key)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that signature lines carry: they find a key, and prove nothing."""
        hashed = hashlib.sha256(self.name.encode() + b"\n" + self.ALGORITHM + self.public_key)
        return hashed.digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self.ALGORITHM + self.public_key)}"


_Key = TypeVar("_Key", bound=VerifierKey)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read `name+hash+base64`, the form in which a verifier is configured with a key.

    Raises:
        FormatError, SignatureError: as `parse_key`.
    """
    return parse_key(VerifierKey, text)


def parse_key(kind: type[_Key], text: str) -> _Key:
    """Read a key of one kind.

    Raises:
        FormatError: another form, another algorithm, or a hash that does not belong to the key.
        SignatureError: not a valid Ed25519 public key.
    """
    # The base64 part may hold plus signs itself.
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise FormatError("a verifier key is name+hash+base64")
    key = kind(parts[0], from_base64(parts[2])[1:])
    # One comparison for the hash, the algorithm's byte, and any second spelling of either.
    if str(key) != text:
        raise FormatError(f"not the verifier key of an Ed25519 key of type {kind.ALGORITHM.hex()}")
    return key


def sign_note(text: str, name: str, signer: Signer) -> str:
    """Sign a text.

    Args:
        text: not empty, ends in a newline, holds no other control characters.
        name: the name that the key signs under.
        signer: the key.

    Returns:
        The note, with this one signature.

    Raises:
        FormatError: text or name can't stand in a note.
        SignatureError: the signer's public key is not valid.
    """
    key = VerifierKey(name, signer.public_key)
    note = f"{text}\n{signature_line(name, key.key_id, signer.sign(_encode(text)))}"
    if split_note(note)[0] != text:
        raise FormatError("a note's text ends in a newline")
    return note


def open_note(note: str, key: VerifierKey) -> str:
    """Return the text of a note that `key` signed.

    Args:
        note: the whole note.
        key: the one key whose signature counts; there must be exactly one by it.

    Raises:
        FormatError: not a note, or over a bound.
        LedgerError: no signature line, or more than one, is by this key's name and id.
        SignatureError: the signature does not verify.
    """
    text, signatures = split_note(note)
    own = signatures_by(key, signatures)
    if len(own) != 1:
        raise LedgerError(f"{len(own)} signatures by the key of this ledger, not one")
    verify(key.public_key, _encode(text), own[0])
    return text


def signatures_by(key: VerifierKey, signatures: list[tuple[str, bytes, bytes]]) -> list[bytes]:
    """Return what stands in the lines of one key; nothing of it is verified."""
    return [value for name, key_id, value in signatures if (name, key_id) == (key.name, key.key_id)]


def signature_line(name: str, key_id: bytes, signature: bytes) -> str:
    """Return the line of a signature, with its newline."""
    return f"{_MARK}{name} {to_base64(key_id + signature)}\n"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and (name, key id, signature) for every signature line.

    Raises:
        FormatError: not a note, or over a bound.
    """
    if len(note) > MAX_NOTE_CHARACTERS:
        raise FormatError(f"a note of more than {MAX_NOTE_CHARACTERS} characters")
    # The text may hold empty lines; the last one ends it.
    head, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines.pop() != "":
        raise FormatError("a note is a text, an empty line and signature lines")
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise FormatError(f"a note has 1 to {MAX_SIGNATURES} signatures")
    return head + "\n", [_signature_line(line) for line in lines]


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    parts = line.removeprefix(_MARK).split(" ")
    if not line.startswith(_MARK) or len(parts) != 2:
        raise FormatError("a signature line is a dash, a name and a signature")
    _check_name(parts[0])
    value = from_base64(parts[1])
    if len(value) <= KEY_ID_BYTES:
        raise FormatError("a signature line without a signature")
    return parts[0], value[:KEY_ID_BYTES], value[KEY_ID_BYTES:]


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise FormatError(f"a key's name has 1 to {MAX_NAME_CHARACTERS} characters")
    if "+" in name or any(character.isspace() for character in name):
        raise FormatError("a key's name holds a space or a plus sign")
    _encode(name)


def _encode(text: str) -> bytes:
    if any(character < " " and character != "\n" for character in text):
        raise FormatError("a note holds a control character")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FormatError("a note that has no UTF-8 form") from error


def to_base64(value: bytes) -> str:
    """Encode as standard base64 (RFC 4648, section 4)."""
    return base64.b64encode(value).decode()


def from_base64(text: str) -> bytes:
    """Decode standard base64 (RFC 4648, section 4), in its one canonical form.

    Raises:
        FormatError: it is in another.
    """
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("not base64") from error
    if to_base64(value) != text:
        raise FormatError("not canonical base64")
    return value
