"""Opening what was submitted: an answer, what it is an answer to, and what it becomes in a file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.envelope.answer import AnswerHead, open_answer
from labelvault.envelope.filenames import safe_file_name
from labelvault.envelope.seal import open_item
from labelvault.errors import DecryptionError, TamperedError
from labelvault.relay.protocol import Relay
from labelvault.wire.answers import Submission, SubmissionOuter
from labelvault.wire.frame import open_frame
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms

_JSON_ENDS: Final = "+json"
# What nests deeper stays text: it could be read but not written a few levels further in, and one such answer would stop
# the collecting of all others.
_MAX_NESTING: Final = 100


@dataclass(frozen=True, slots=True)
class CollectedAnswer:
    """One answer, opened; kept out of repr.

    Attributes:
        facts: of the line that it becomes, without the answer.
        head: name and media type.
        content: its bytes.
        file_name: under which it is written if it is large, or neither JSON nor text.
    """

    facts: dict[str, Any]
    head: AnswerHead = field(repr=False)
    content: bytes = field(repr=False)
    file_name: str = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("opened answers are not pickled or copied")

    def value(self) -> tuple[Any, bool]:
        """Return a JSON value or a text, and True; or None and False if the answer becomes a file, as large ones do."""
        if self.head.payload is not None:
            return None, False
        kind = self.head.media_type.partition(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith(_JSON_ENDS)
        if not is_json and not kind.startswith("text/"):
            return None, False
        try:
            text = self.content.decode()
        except UnicodeDecodeError:
            return None, False
        return (_json_value(text) if is_json else text), True


def _json_value(text: str) -> Any:
    """Return the JSON value of a text, or the text itself where it has none that could be written again."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value if _is_shallow(value) else text


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_NESTING):
        level = [inner for each in level for inner in _inner(each)]
    return not any(isinstance(each, dict | list) for each in level)


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse(word: str) -> None:
    raise ValueError(word)


class AnswerReader:
    """Opens the answers of one project."""

    def __init__(self, database: Database, relay: Relay, client: bytes, key: OneTimeKey) -> None:
        """Use a client's parts; `key` is the project's submission key."""
        self._database = database
        self._relay = relay
        self._client = client
        self._key = key

    def read(self, frame: bytes, contractor: bytes, received_ms: int) -> CollectedAnswer:
        """Open a submission that was kept.

        Args:
            frame: as it came.
            contractor: whose, by our own records.
            received_ms: when the issuer took it.

        Raises:
            DecryptionError: it is not sealed to this project, or not as it should be.
            TamperedError, NotFoundError: the vault has other bytes of a large answer, or none.
            FormatError, SignatureError: `client.db` holds another frame than it took.
            RelayError, StoreError: the vault is away.
        """
        signed = open_frame(frame, Submission, contractor)
        outer = decode_record(SubmissionOuter, signed.message.outer)
        opened = open_answer(self._key, signed.message.sealed, signed.message.outer)
        content = opened.content if opened.head.payload is None else self._large(opened.head, outer)
        name = f"{outer.lease_id.hex()[:16]}-{outer.sequence}-{safe_file_name(opened.head.name)}"
        return CollectedAnswer(self._facts(outer, opened.head, received_ms), opened.head, content, name)

    def _large(self, head: AnswerHead, outer: SubmissionOuter) -> bytes:
        where = head.payload
        if where is None:
            raise DecryptionError("decryption failed")
        expected = ItemHeader(ITEM_FORMAT, self._client, outer.project, where.item, where.version)
        served = self._relay.read_item(self._client, where.item, where.version)
        if served.size != len(served.data):
            raise TamperedError("the vault served a part of the answer")
        dek = SecretBytes(where.dek)
        content = open_item(served.header, served.data, dek, expected=expected, digest=where.digest).content
        if len(content) != head.size:
            raise DecryptionError("decryption failed")
        return content

    def _facts(self, outer: SubmissionOuter, head: AnswerHead, received_ms: int) -> dict[str, Any]:
        row = self._database.row(
            "SELECT i.name, b.name FROM items i LEFT JOIN batches b ON b.batch = i.batch WHERE i.item = ?", outer.item
        )
        (contractor,) = self._database.rows("SELECT name FROM contractors WHERE key = ?", outer.contractor)[0]
        name, batch = row or (None, None)
        return {
            "item": outer.item.hex(),
            "name": name,
            "batch": batch,
            "version": outer.version,
            "lease": outer.lease_id.hex(),
            "contractor": contractor,
            "sequence": outer.sequence,
            "at": _iso(outer.at),
            "received_at": _iso(from_ms(received_ms)),
            "presence": outer.presence,
            "answer_name": head.name,
            "media_type": head.media_type,
        }


def _iso(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Return one line of JSON for each answer."""
    return b"".join(_dumped(row) + b"\n" for row in rows)


def as_label_studio(rows: list[dict[str, Any]]) -> bytes:
    """Return Label Studio's JSON: an array of tasks with one annotation each.

    An answer that is a Label Studio result (an array of regions, or an annotation with one) stands as it is; any other
    becomes one text area named `answer` for an object named `item`. `data` holds what the answer is to, by name.
    """
    return _dumped([_task(row) for row in rows])


def _task(row: dict[str, Any]) -> dict[str, Any]:
    answer = row["answer"]
    result = answer.get("result") if isinstance(answer, dict) else answer
    if not _is_result(result):
        text = (
            row["file"] if answer is None and row["file"] else answer if isinstance(answer, str) else json.dumps(answer)
        )
        result = [{"from_name": "answer", "to_name": "item", "type": "textarea", "value": {"text": [text]}}]
    data = {key: value for key, value in row.items() if key != "answer"}
    return {"data": data, "annotations": [{"result": result, "was_cancelled": False, "ground_truth": False}]}


def _is_result(value: Any) -> bool:
    region = {"from_name", "to_name", "type", "value"}
    return isinstance(value, list) and all(isinstance(each, dict) and region <= each.keys() for each in value)


def _dumped(value: Any) -> bytes:
    # Escaped to ASCII: half a surrogate pair, which JSON can write, has no UTF-8 form.
    return json.dumps(value, allow_nan=False).encode()
