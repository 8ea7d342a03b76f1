"""Making a submission: an answer as bytes with a name and a type, numbered, sealed to the client and signed."""

import json
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labelvault.contractor.membership import Membership
from labelvault.crypto.random import random_bytes
from labelvault.envelope.answer import MAX_ANSWER_BYTES, MAX_INLINE_BYTES, AnswerHead, seal_answer, seal_large
from labelvault.envelope.seal import SealedItem
from labelvault.errors import FormatError
from labelvault.wire.answers import Submission, SubmissionOuter
from labelvault.wire.frame import Signed, Signer, sign_message
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.messages import LeaseOuter
from labelvault.wire.schema import encode_record

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain"
BYTES_TYPE: Final = "application/octet-stream"
DEFAULT_NAME: Final = "answer"

Answer = Any
"""A JSON value (dict, list, number, bool, None), a text, bytes, or the `Path` of a file."""


@dataclass(frozen=True, slots=True)
class Content:
    """An answer's bytes, kept out of repr, with the name and media type that go with them, sealed."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


def content_of(answer: Answer, name: str | None, media_type: str | None) -> Content:
    """Return an answer's bytes.

    Args:
        answer: see `Answer`.
        name: `answer` by default, or the file's.
        media_type: by default JSON for a JSON value, plain text for a text, what its name says for a file.

    Raises:
        FormatError: no such value has a JSON form, a file can't be read, or it is larger than 64 MiB.
    """
    if isinstance(answer, Path):
        guessed = mimetypes.guess_type(answer.name, strict=False)[0] or BYTES_TYPE
        made = Content(answer.name, guessed, _file(answer))
    elif isinstance(answer, bytes):
        made = Content(DEFAULT_NAME, BYTES_TYPE, answer)
    elif isinstance(answer, str):
        made = Content(DEFAULT_NAME, TEXT_TYPE, _encoded(answer))
    else:
        made = Content(DEFAULT_NAME, JSON_TYPE, _json(answer))
    if len(made.data) > MAX_ANSWER_BYTES:
        raise FormatError(f"an answer has at most {MAX_ANSWER_BYTES} bytes")
    return Content(name or made.name, media_type or made.media_type, made.data)


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_ANSWER_BYTES + 1)
    except OSError as error:
        raise FormatError(f"{path} can't be read: {error.strerror}") from error


def _json(value: Any) -> bytes:
    try:
        return _encoded(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        # Without its cause: its frames hold the answer.
        pass
    raise FormatError("the answer has no JSON form")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise FormatError("the answer holds half a surrogate pair, which no text has")


@dataclass(frozen=True, slots=True)
class Draft:
    """Which answer under which lease: all that goes into the outer part but times and presence.

    Attributes:
        outer: the lease's readable part.
        version: of the task that was opened.
        sequence: of the answer.
    """

    outer: LeaseOuter
    version: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Made:
    """A submission, signed, and the item that it names, which has to be stored before it is posted."""

    signed: Signed[Submission]
    item: SealedItem | None


def make_submission(
    draft: Draft,
    content: Content,
    membership: Membership,
    identity: Signer,
    now: datetime,
    cosign: Callable[[Submission], bytes] | None,
) -> Made:
    """Seal and sign an answer.

    Args:
        draft: which one.
        content: of the answer.
        membership: of the lease's grant.
        identity: our signing key.
        now: our time.
        cosign: at a desk, gets the presence device's cosignature; None leaves the answer unapproved there.

    Raises:
        FormatError: a name or type is out of bounds.
        PresenceError, ApprovalTimeoutError: the device did not approve.
    """
    lease = draft.outer
    presence = "device" if membership.tier == "helper" else "unapproved" if cosign is None else "key"
    outer = encode_record(
        SubmissionOuter(
            client=lease.client,
            project=lease.project,
            lease_id=lease.lease_id,
            item=lease.item,
            version=draft.version,
            contractor=lease.contractor,
            sequence=draft.sequence,
            presence=presence,
            approved_at=now if cosign is not None else None,
            at=now,
        )
    )
    size = len(content.data)
    if size > MAX_INLINE_BYTES:
        item, where = seal_large(lease.client, lease.project, random_bytes(ID_BYTES), content.data)
        head, inline = AnswerHead(content.name, content.media_type, size, where), b""
    else:
        item, head, inline = None, AnswerHead(content.name, content.media_type, size, None), content.data
    message = Submission(outer, seal_answer(membership.grant.message.submission_key, head, inline, outer))
    return Made(sign_message(message, identity, b"" if cosign is None else cosign(message)), item)
