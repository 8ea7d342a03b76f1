"""Reading a long ledger for a statement: the few entries that count are decoded, and those by the short way.

For exact bytes that this issuer wrote itself, and only together with their root: whoever reads so compares
`Reading.root` with a checkpoint before anything that was read is used. What comes from elsewhere goes through
`labelvault.ledger.export`, which decodes all of it strictly.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from labelvault.errors import FormatError
from labelvault.ledger.entries import Entry, ReceiptEntry, Released, ReleasedItem, Sealed, decode_entry
from labelvault.ledger.tree import RunningRoot, leaf_hash
from labelvault.wire.codec import decode_own
from labelvault.wire.times import from_ms, to_ms

# An entry's map ends with its kind and begins with its record, whose first field is the time in all kinds but one:
# canonical bytes have one order. Times between 1970-02-19 and the year 9999 take nine bytes.
_TIME: Final = slice(8, 12)
_TIME_LEAD: Final = b"\xa2at\xcf"
_TIME_MS: Final = slice(12, 20)
# In releases, enrolments and grants the contractor comes next, and the tier last.
_CONTRACTOR: Final = slice(20, 33)
_CONTRACTOR_LEAD: Final = b"\xaacontractor\xc4\x20"
_CONTRACTOR_KEY: Final = slice(33, 65)
_SEALED: Final = b"\xa4kind\xa6sealed"
_RELEASED: Final = b"\xa4kind\xa8released"
_RECEIPT: Final = b"\xa4kind\xa7receipt"
_CLOSED: Final = b"\xa5event\xa6closed"
_OTHERS: Final = (b"\xa4kind\xa8enrolled", b"\xa4kind\xa7granted", b"\xa4kind\xa8restored")
_DESKS: Final = tuple(b"\xa4tier\xa4desk\xa6format\x01" + kind for kind in (_RELEASED, *_OTHERS))


class Reading:
    """What is known of entries that went by one by one; keeps one hash a level of the tree.

    Attributes:
        latest: of their times; None before the first.
    """

    def __init__(self) -> None:
        self.latest: datetime | None = None
        self._tree = RunningRoot()

    def through(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on each entry's exact bytes, and take them in."""
        latest_ms = -1
        for data in raw:
            self._tree.add(leaf_hash(data))
            quick = data[_TIME] == _TIME_LEAD
            at_ms = int.from_bytes(data[_TIME_MS], "big") if quick else to_ms(decode_entry(data).at)
            if at_ms > latest_ms:
                latest_ms, self.latest = at_ms, from_ms(at_ms)
            yield data

    @property
    def size(self) -> int:
        """How many."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """RFC 6962 root hash over all so far, 32 bytes."""
        return self._tree.root


def naming(raw: Iterable[bytes]) -> Iterator[Entry]:
    """Yield entries that name a contractor's key in a tier for the first time, or an older ledger; see `needed`."""
    seen: set[tuple[bytes, bool]] = set()
    for data in raw:
        if data[_TIME] != _TIME_LEAD:
            yield decode_entry(data)
        elif data.endswith((_RELEASED, *_OTHERS)):
            if data[_CONTRACTOR] != _CONTRACTOR_LEAD:
                yield decode_entry(data)
                continue
            found = (data[_CONTRACTOR_KEY], data.endswith(_DESKS))
            if found not in seen:
                seen.add(found)
                yield decode_entry(data)


def needed(raw: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries that decide verdicts: `verdicts` says the same of these as of all.

    Args:
        raw: exact bytes of all entries, in order, of a ledger whose root is checked by the caller.

    Raises:
        FormatError: bytes that are no entry.
    """
    # An entry is no older than those before it; what is left out must not be forgotten in that.
    latest_ms, newest_skipped, skipped_ms = 0, b"", 0
    for data in raw:
        if data[_TIME] != _TIME_LEAD:
            entry = decode_entry(data)
            latest_ms = max(latest_ms, to_ms(entry.at))
            yield entry
            continue
        at_ms = int.from_bytes(data[_TIME_MS], "big")
        if not _counts(data):
            if at_ms > max(latest_ms, skipped_ms):
                newest_skipped, skipped_ms = data, at_ms
            continue
        if skipped_ms > max(latest_ms, at_ms):
            yield decode_entry(newest_skipped)
            latest_ms = skipped_ms
        latest_ms = max(latest_ms, at_ms)
        yield _decode(data)
    if skipped_ms > latest_ms:
        yield decode_entry(newest_skipped)


def _counts(data: bytes) -> bool:
    return data.endswith((_SEALED, _RELEASED)) or (data.endswith(_RECEIPT) and _CLOSED in data)


def _decode(data: bytes) -> Entry:
    """Decode an entry of our own, of one of the kinds that count."""
    value: Any = decode_own(data)
    try:
        return _record(value["kind"], value["entry"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("not a ledger entry") from error


def _record(kind: str, fields: dict[str, Any]) -> Entry:
    fields["at"] = from_ms(fields["at"])
    if kind == "sealed":
        return Sealed(**fields)
    if kind == "receipt":
        return ReceiptEntry(**fields)
    fields["issued_at"], fields["expires_at"] = from_ms(fields["issued_at"]), from_ms(fields["expires_at"])
    fields["items"] = tuple(ReleasedItem(**item) for item in fields["items"])
    return Released(**fields)
