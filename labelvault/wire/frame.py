"""Signed frames: a type, a version, the exact bytes that were signed, and who signed them.

A frame names its signer only so that the receiver can look the key up among those it already trusts; a key is never
believed because a frame carries it. Nothing is re-encoded to verify. A cosignature (of a presence device) covers the
same fields under its own label, and the signature covers the cosignature (docs/spec.md, section 3).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Generic, Protocol, TypeVar

from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.verify import verify
from labelvault.errors import FormatError, SignatureError
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.schema import Between, Fixed, Text, UInt, decode_record, encode_record

FRAME_VERSION: Final = 1
MAX_BODY_BYTES: Final = MAX_BYTES - 512
_SIGNATURE_LABEL: Final = b"labelvault/v1/frame\0"
_COSIGNATURE_LABEL: Final = b"labelvault/v1/frame-cosignature\0"
COSIGNED_TYPES: Final = frozenset({"card", "open-request", "submission"})
"""Messages whose rules look at a cosignature; on any other it would go unseen, so it is refused there."""
FILE_TYPES: Final = frozenset({"card", "invite"})
"""Messages that people hand to each other as files, and so hand over by mistake."""
_HASH_LABEL: Final = b"labelvault/v1/frame-hash\0"


class Signer(Protocol):
    """Whatever signs: `labelvault.crypto.sign.SigningKey`, or a token that keeps its key."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message`."""
        ...


class Message(Protocol):
    """A record that travels in a frame of its own type."""

    TYPE: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as parsed: nothing in it is verified yet."""

    type: Annotated[str, Text(40, 1)]
    version: Annotated[int, UInt(0, 65535)]
    signer: Annotated[bytes, Fixed(32)]
    body: Annotated[bytes, Between(1, MAX_BODY_BYTES)]
    cosignature: Annotated[bytes, Between(0, 64)]
    signature: Annotated[bytes, Fixed(64)]

    def __post_init__(self) -> None:
        if len(self.cosignature) not in (0, 64):
            raise FormatError("a cosignature has 0 or 64 bytes")
        if self.cosignature and self.type not in COSIGNED_TYPES:
            raise FormatError(f"a {self.type} has no cosignature")

    def _covered(self) -> bytes:
        kind = self.type.encode()
        return b"".join(
            (
                len(kind).to_bytes(1, "big"),
                kind,
                self.version.to_bytes(2, "big"),
                self.signer,
                len(self.body).to_bytes(8, "big"),
                self.body,
            )
        )

    def verify(self, public_key: bytes) -> None:
        """Check that `public_key` signed this frame.

        Args:
            public_key: 32 bytes, from the receiver's own state.

        Raises:
            SignatureError: another signer, or the signature does not fit.
        """
        if self.signer != public_key:
            raise SignatureError("the frame names another signer")
        verify(public_key, _SIGNATURE_LABEL + self._covered() + self.cosignature, self.signature)

    def verify_cosignature(self, public_key: bytes) -> None:
        """Check that `public_key` cosigned this frame.

        Raises:
            SignatureError: there is no cosignature, or it does not fit.
        """
        verify(public_key, _COSIGNATURE_LABEL + self._covered(), self.cosignature)


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Signed(Generic[M]):
    """A message whose signature was verified, with the exact bytes that carried it.

    Only `open_frame` and `sign_message` make one.
    """

    message: M
    frame: Frame
    data: bytes

    @property
    def hash(self) -> bytes:
        """The 32-byte hash by which other messages name this one: over the whole frame, signature included."""
        return frame_hash(self.data)


# A release names its grant and its request many times.
@lru_cache(maxsize=64)
def frame_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of a frame's bytes."""
    return tagged_hash(_HASH_LABEL, data)


def parse_frame(data: bytes) -> Frame:
    """Parse a frame without believing it.

    Raises:
        FormatError: not a frame, or of another version.
    """
    frame = decode_record(Frame, data)
    if frame.version != FRAME_VERSION:
        raise FormatError(f"frame version {frame.version} is not known")
    return frame


def check_type(data: bytes, wanted: type[Message], next_step: str) -> None:
    """Refuse one message file that was handed over for another, before anybody is asked about fingerprints.

    It vouches for nothing: what passes is unverified, and perhaps no frame at all.

    Args:
        data: the file's bytes.
        wanted: the one message type that is acceptable here.
        next_step: for the error.

    Raises:
        FormatError: it says that it is a message of another type.
    """
    found = parse_frame(data).type if is_frame(data) else wanted.TYPE
    if found != wanted.TYPE:
        # Only our own words: nothing has vouched for the frame's.
        named = _named(found) if found in FILE_TYPES else "another message"
        raise FormatError(f"this is {named}, not {_named(wanted.TYPE)}", next_step=next_step)


def is_frame(data: bytes) -> bool:
    """Tell whether bytes are a frame at all; nothing in it is verified."""
    try:
        parse_frame(data)
    except FormatError:
        return False
    return True


def _named(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def cosign(message: Message, signer_key: bytes, cosigner: Signer) -> bytes:
    """Cosign a message that `signer_key` is about to sign, as a presence device does.

    Args:
        message: the record.
        signer_key: the 32-byte key that will sign the frame.
        cosigner: the presence device's key.

    Returns:
        64 bytes for `sign_message`.
    """
    draft = Frame(message.TYPE, FRAME_VERSION, signer_key, encode_record(message), b"", bytes(64))
    return cosigner.sign(_COSIGNATURE_LABEL + draft._covered())


def sign_message(message: M, signer: Signer, cosignature: bytes = b"") -> Signed[M]:
    """Sign a message.

    Args:
        message: the record.
        signer: who sends it.
        cosignature: from `cosign`, where the message's rules ask for one.

    Raises:
        FormatError: a field of the record is out of its bounds.
    """
    body = encode_record(message)
    draft = Frame(message.TYPE, FRAME_VERSION, signer.public_key, body, cosignature, bytes(64))
    signature = signer.sign(_SIGNATURE_LABEL + draft._covered() + cosignature)
    frame = Frame(message.TYPE, FRAME_VERSION, signer.public_key, body, cosignature, signature)
    return Signed(message, frame, encode_record(frame))


def parse_to_sign(data: bytes) -> Frame:
    """Parse what `sign_message` gives to a signer, for one that looks at what it signs; the signature is still zeros.

    Raises:
        FormatError: anything else.
    """
    rest = data.removeprefix(_SIGNATURE_LABEL)
    kind_size = rest[0] if rest else 0
    head = 1 + kind_size + 2 + 32
    body_size = int.from_bytes(rest[head : head + 8], "big")
    body, cosignature = rest[head + 8 : head + 8 + body_size], rest[head + 8 + body_size :]
    try:
        kind = rest[1 : 1 + kind_size].decode()
    except UnicodeDecodeError:
        raise FormatError("not what a frame's signer is given") from None
    version = int.from_bytes(rest[1 + kind_size : 3 + kind_size], "big")
    draft = Frame(kind, version, rest[head - 32 : head], body, cosignature, bytes(64))
    # Canonical, every field within its bounds, and nothing left over.
    frame = parse_frame(encode_record(draft))
    if _SIGNATURE_LABEL + frame._covered() + frame.cosignature != data:
        raise FormatError("not what a frame's signer is given")
    return frame


def open_frame(data: bytes, message_type: type[M], public_key: bytes) -> Signed[M]:
    """Verify a frame, then parse its message: the only way from bytes to a believed message.

    Args:
        data: the frame's bytes.
        message_type: the one message type that is acceptable here.
        public_key: the 32-byte key, from the receiver's own state, that must have signed.

    Raises:
        FormatError: not a frame, another type or version, or a malformed message.
        SignatureError: not signed by `public_key`.
    """
    return open_parsed(parse_frame(data), data, message_type, public_key)


def open_parsed(frame: Frame, data: bytes, message_type: type[M], public_key: bytes) -> Signed[M]:
    """Do the same with a frame that `parse_frame` made of these very bytes; as `open_frame`."""
    frame.verify(public_key)
    if frame.type != message_type.TYPE:
        raise FormatError(f"a {message_type.TYPE} was expected")
    return Signed(decode_record(message_type, frame.body), frame, data)
