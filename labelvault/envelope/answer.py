"""The sealed part of a submission: what a contractor answered, padded, for the client alone (docs/spec.md, 5.7).

plaintext = u32 size of head ‖ head ‖ content ‖ zero padding to a Padmé size. Small content travels inline; larger
content is an item of its own at the vault, and the head carries its digest and key. Pure: bytes in, bytes out.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, NoReturn

from labelvault.crypto import hpke
from labelvault.crypto.hpke import OneTimeKey
from labelvault.envelope.metadata import MAX_CONTENT_BYTES, Metadata
from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES, padded_size
from labelvault.envelope.seal import PREFIX_BYTES, SealedItem, seal_item
from labelvault.errors import DecryptionError, FormatError
from labelvault.wire.answers import SUBMISSION_INFO_LABEL
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import Fixed, Text, UInt, decode_record, encode_record

ANSWER_FLOOR_BYTES: Final = 1024
"""No answer is padded to less."""
MAX_ANSWER_HEAD_BYTES: Final = 2048
MAX_INLINE_BYTES: Final = 40 * 1024
"""Content up to this travels inside the submission."""
MAX_ANSWER_BYTES: Final = MAX_CONTENT_BYTES
ANSWER_ITEM_VERSION: Final = 1
"""A large answer's item has a random id and this one version."""


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """Where a large answer rests, and the key that opens it. The key is kept out of repr, pickle and copy.

    Attributes:
        item: random id.
        version: `ANSWER_ITEM_VERSION`.
        digest: of the item version.
        dek: opens it, and nothing else.
    """

    item: Annotated[bytes, Fixed(16)]
    version: Annotated[int, UInt(ANSWER_ITEM_VERSION, ANSWER_ITEM_VERSION)]
    digest: Annotated[bytes, Fixed(32)]
    dek: Annotated[bytes, Fixed(32)] = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys of answers are not pickled or copied")


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What stands before an answer's content.

    Attributes:
        name: of the answer, as its author calls it; untrusted where it becomes a file name.
        media_type: of the content.
        size: of the content, in bytes, wherever it rests.
        payload: where it rests if it is not inline.
    """

    name: Annotated[str, Text(1000, 1)]
    media_type: Annotated[str, Text(200, 1)]
    size: Annotated[int, UInt(0, MAX_ANSWER_BYTES)]
    payload: AnswerItem | None

    def __post_init__(self) -> None:
        if (self.size > MAX_INLINE_BYTES) != (self.payload is not None):
            raise FormatError(f"content of more than {MAX_INLINE_BYTES} bytes, and no other, is an item of its own")


@dataclass(frozen=True, slots=True)
class OpenedAnswer:
    """A submission's sealed part, opened. `content` is empty where the head names an item."""

    head: AnswerHead = field(repr=False)
    content: bytes = field(repr=False)


def seal_large(client: bytes, project: bytes, item: bytes, content: bytes) -> tuple[SealedItem, AnswerItem]:
    """Seal content that is too large to travel inline as an item of its own, under a fresh DEK.

    Args:
        client: 32 bytes.
        project: 16 bytes.
        item: 16 random bytes, never used before.
        content: up to 64 MiB.

    Raises:
        FormatError: too large.
    """
    header = ItemHeader(ITEM_FORMAT, client, project, item, ANSWER_ITEM_VERSION)
    # Name and media type stand in the submission's head alone.
    metadata = Metadata("attachment", "answer", "application/octet-stream", len(content), (), ())
    sealed, dek = seal_item(header, metadata, content, floor_bytes=DEFAULT_FLOOR_BYTES)
    return sealed, AnswerItem(item, ANSWER_ITEM_VERSION, sealed.digest, dek.reveal())


def seal_answer(submission_key: bytes, head: AnswerHead, content: bytes, outer: bytes) -> bytes:
    """Seal an answer to a grant's submission key; it opens beside no other outer part.

    Args:
        submission_key: public, 1,216 bytes.
        head: `head.size` is the content's.
        content: empty where the head names an item.
        outer: canonical bytes of the `SubmissionOuter`.

    Raises:
        FormatError: head or content out of bounds, or no valid key.
    """
    if len(content) != (head.size if head.payload is None else 0):
        raise FormatError("an answer's head gives its content another size")
    encoded = encode_record(head)
    if len(encoded) > MAX_ANSWER_HEAD_BYTES:
        raise FormatError(f"an answer's head of {len(encoded)} bytes; at most {MAX_ANSWER_HEAD_BYTES}")
    size = PREFIX_BYTES + len(encoded) + len(content)
    padding = bytes(padded_size(size, ANSWER_FLOOR_BYTES) - size)
    plaintext = b"".join((len(encoded).to_bytes(PREFIX_BYTES, "big"), encoded, content, padding))
    return hpke.seal(submission_key, plaintext, SUBMISSION_INFO_LABEL + outer)


def open_answer(key: OneTimeKey, sealed: bytes, outer: bytes) -> OpenedAnswer:
    """Open a submission's sealed part.

    Args:
        key: the project's submission key.
        sealed: as it came.
        outer: the exact outer bytes that stood beside it.

    Raises:
        DecryptionError: another key or outer part, altered bytes, or a plaintext that is malformed.
    """
    opened = _split(key.open(sealed, SUBMISSION_INFO_LABEL + outer))
    # Raised here and not below, where frames hold the plaintext that a traceback with locals would show.
    if opened is None:
        raise DecryptionError("decryption failed")
    return opened


def _split(plaintext: bytes) -> OpenedAnswer | None:
    start = PREFIX_BYTES + int.from_bytes(plaintext[:PREFIX_BYTES], "big")
    if len(plaintext) < PREFIX_BYTES or start > min(len(plaintext), PREFIX_BYTES + MAX_ANSWER_HEAD_BYTES):
        return None
    try:
        head = decode_record(AnswerHead, plaintext[PREFIX_BYTES:start])
    except FormatError:
        return None
    end = start + (head.size if head.payload is None else 0)
    # What hides in padding would pass a client's eyes by; one plaintext has one form.
    if end > len(plaintext) or len(plaintext) != padded_size(end, ANSWER_FLOOR_BYTES):
        return None
    if plaintext.count(0, end) != len(plaintext) - end:
        return None
    return OpenedAnswer(head, plaintext[start:end])
