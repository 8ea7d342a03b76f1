"""What a vault's answers over HTTP say: each is what it can be, or an error of ours in our own words."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from labelvault.errors import ConflictError, FormatError, LabelVaultError, NotFoundError, RelayError, StoreError
from labelvault.relay.http_send import Answer
from labelvault.relay.http_wire import ERRORS, ITEM_HEADER, parse_item_header
from labelvault.stores.checks import check_int
from labelvault.stores.values import MAX_STREAM_PAYLOAD_BYTES, ItemPart

_CONTENT_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19})", re.ASCII)
_ASK_FOR_ONE: Final = "Write the token that the vendor gave you into the file vault.token in the home, mode 0600."
_ASK_FOR_BINDING: Final = (
    "Tell the vendor this client's id, and as a contractor your key too: the token has to be bound to them."
)
_T = TypeVar("_T")


def refusal(answer: Answer, what: str, kinds: tuple[str, ...]) -> LabelVaultError:
    """Return the error for a refusal: a kind of ours where status and kind agree, in our own words; else RelayError."""
    try:
        said = json.loads(answer.body)
        kind = said["error"] if isinstance(said, dict) else None
    except (ValueError, KeyError, RecursionError):
        kind = None
    if kind in kinds and ERRORS[kind][0] == answer.status:
        return _of_kind(kind, what)
    return _by_status(answer.status, what)


def _of_kind(kind: str, what: str) -> LabelVaultError:
    texts: dict[str, LabelVaultError] = {
        "FormatError": FormatError(f"{what}: the vault refuses it as malformed or out of bounds"),
        "NotFoundError": NotFoundError(f"{what}: the vault has no such thing stored"),
        "ConflictError": ConflictError(f"{what}: the vault has something else stored under this name"),
        "StoreError": StoreError(f"{what}: the vault's storage or mailbox is full, or failed"),
    }
    return texts[kind]


def _by_status(status: int, what: str) -> LabelVaultError:
    if status == 403:
        said = f"{what}: the vault does not let the holder of our token do this (HTTP 403)"
        return RelayError(said, next_step=_ASK_FOR_BINDING)
    if status == 401:
        said = f"{what}: the vault refuses our token, or its absence (HTTP {status})"
        return RelayError(said, next_step=_ASK_FOR_ONE)
    if status == 413:
        return RelayError(f"{what}: more bytes than this vault takes at once (HTTP 413)")
    return RelayError(f"{what}: the vault answers with HTTP {status}; check its address")


def body_of(answer: Answer, status: int) -> bytes:
    """Return an answer's body; refuse any status but this one."""
    if answer.status != status:
        raise _by_status(answer.status, "a request")
    return answer.body


def parsed(parse: Callable[[], _T]) -> _T:
    """Parse an answer; what is malformed is a RelayError."""
    try:
        return parse()
    except FormatError as error:
        # Not ours to mend: what we sent was in order, what came back is not.
        raise no_sense("bytes that are no answer") from error


def no_sense(what: str) -> RelayError:
    """Return the error for an answer that no vault gives."""
    return RelayError(f"the vault answers with {what}")


def _item_header(answer: Answer) -> bytes:
    return parsed(partial(parse_item_header, answer.headers.get(ITEM_HEADER, "")))


def content_range(answer: Answer) -> tuple[int, int, int]:
    """Return where a range starts and ends, and the size of the whole."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if answer.status != 206 or match is None or match[1] is None:
        raise no_sense("no range")
    start, end, size = int(match[1]), int(match[2]) + 1, int(match[3])
    if not start < end <= size <= MAX_STREAM_PAYLOAD_BYTES:
        raise no_sense("a range that can't be")
    return start, end, size


def nothing_at(answer: Answer, offset: int) -> ItemPart:
    """Return the empty part at a payload's very end; refuse an offset beyond it."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if (
        match is None
        or match[1] is not None
        or not 1 <= int(match[3]) <= MAX_STREAM_PAYLOAD_BYTES
        or offset < int(match[3])
    ):
        raise no_sense("no range where there is one")
    check_int(offset, "an offset", 0, int(match[3]))
    return ItemPart(_item_header(answer), int(match[3]), b"")


def part_of(answer: Answer, status: int, size: int, data: bytes) -> ItemPart:
    """Return a part of an item, with the header that came beside it."""
    body_of(answer, status)
    if not 1 <= size <= MAX_STREAM_PAYLOAD_BYTES:
        raise no_sense("a size that no item has")
    return ItemPart(_item_header(answer), size, data)
