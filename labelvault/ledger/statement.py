"""The exposure statement: a window's verdicts, signed, in a file that anyone recomputes from exported ledgers.

The signed part names surface, window, the ledgers that it stands on, totals, and the root over all rows; the rows lie
beside it. So it is short, whatever it is about, and whoever holds the ledgers' exports and public keys needs nothing
else to tell whether it is true (docs/spec.md, section 7.6).
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

from labelvault.errors import FormatError, LedgerError
from labelvault.ledger.tree import RunningRoot, leaf_hash
from labelvault.ledger.verdicts import VERDICTS, Verdicts, VersionVerdict, Window
from labelvault.wire.frame import Signed, Signer, open_frame, parse_frame, sign_message
from labelvault.wire.messages import Hash32, Id16, Key32
from labelvault.wire.schema import Between, Count, OneOf, UInt, decode_record, encode_record

MAX_STATED_CONTRACTORS: Final = 1000
MAX_STATED_LEDGERS: Final = 32
MAX_STATED_GAPS: Final = 32
MAX_STATEMENT_BYTES: Final = 1024**3
SURFACES: Final = ("vendor", "desk", "contractor", "all")


@dataclass(frozen=True, slots=True)
class StatedLedger:
    """One ledger that a statement stands on, as far as it was known.

    Attributes:
        size: how many entries were read.
        root: RFC 6962 root hash over them.
    """

    epoch: Id16
    size: Annotated[int, UInt(0, 2**48)]
    root: Hash32


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which releases may have been made that no ledger here has."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since > self.until:
            raise FormatError("a gap ends before it begins")


Number = Annotated[int, UInt(0, 2**48)]


@dataclass(frozen=True, slots=True)
class Totals:
    """How many item versions got each verdict."""

    exposed: Number
    unknown: Number
    unconfirmed: Number
    after: Number
    closed_before: Number
    elsewhere: Number
    never_opened: Number

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Statement:
    """What a surface could give away in a window; signed by the issuer key.

    Attributes:
        project: only this one's items; None for all.
        contractors: the keys on the surface; sorted.
        complete: stated after the window's end, from a ledger that has an entry after it. If not, later releases may be
            missing.
        ledgers: what it stands on, oldest first.
        totals: how many rows have each verdict.
        root: RFC 6962 root hash over the encoded rows.
        certificate: the frame of the issuer's `IssuerCertificate`.
    """

    TYPE: ClassVar[str] = "statement"
    client: Hash32
    project: Id16 | None
    surface: Annotated[str, OneOf(*SURFACES)]
    contractors: Annotated[tuple[Key32, ...], Count(0, MAX_STATED_CONTRACTORS)]
    start: datetime
    end: datetime
    complete: bool
    ledgers: Annotated[tuple[StatedLedger, ...], Count(1, MAX_STATED_LEDGERS)]
    gaps: Annotated[tuple[Gap, ...], Count(0, MAX_STATED_GAPS)]
    totals: Totals
    root: Hash32
    certificate: Annotated[bytes, Between(1, 4096)]
    at: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise FormatError("a window ends before it begins")
        if list(self.contractors) != sorted(set(self.contractors)):
            raise FormatError("keys in a statement are sorted and different")

    def window(self) -> Window:
        """Return what was asked, to be asked again."""
        gaps = tuple((gap.since, gap.until) for gap in self.gaps)
        return Window(frozenset(self.contractors), self.start, self.end, self.project, gaps)


def summed(found: Iterable[VersionVerdict]) -> tuple[Totals, bytes]:
    """Return totals and root over rows, as a statement signs them.

    Args:
        found: from `labelvault.ledger.verdicts.Verdicts`, in its order.
    """
    count: Counter[str] = Counter()
    tree = RunningRoot()
    for each in found:
        count[each.verdict] += 1
        tree.add(leaf_hash(encode_record(each)))
    return Totals(*(count[verdict] for verdict in VERDICTS)), tree.root


def check_rows(statement: Statement, found: Iterable[VersionVerdict]) -> None:
    """Check that rows are the ones that a statement signs: those beside it in its file, or recomputed ones.

    Raises:
        LedgerError: they are not.
    """
    if summed(found) != (statement.totals, statement.root):
        raise LedgerError("the statement's rows are not those that it signs")


def write_statement(statement: Statement, found: Sequence[VersionVerdict] | Verdicts, signer: Signer) -> bytes:
    """Sign a statement and return its file: JSON lines, the signed frame first, then one row a line.

    Raises:
        LedgerError: the rows are not the statement's.
        FormatError: a field is out of its bounds.
    """
    check_rows(statement, found)
    return b"".join(statement_lines(sign_message(statement, signer), found))


def statement_lines(signed: Signed[Statement], found: Iterable[VersionVerdict]) -> Iterator[bytes]:
    """Yield a statement's file line by line; the rows are those that it signs."""
    yield _line("statement", signed.data)
    for each in found:
        yield _line("row", encode_record(each))


def read_statement(data: bytes, issuer: bytes) -> tuple[Signed[Statement], tuple[VersionVerdict, ...]]:
    """Verify a statement's file: the issuer signed it, and the rows are those that it signed.

    Whether they are true is for the ledgers to say: recompute them and `check_rows`.

    Args:
        data: the file.
        issuer: the 32-byte key that must have signed, from the reader's own state.

    Raises:
        FormatError: not a statement's file.
        SignatureError: not signed by this issuer.
        LedgerError: rows are missing, added or changed.
    """
    if len(data) > MAX_STATEMENT_BYTES:
        raise FormatError("a statement's file is too long")
    lines = data.split(b"\n")
    if len(lines) < 2 or lines.pop() != b"":
        raise FormatError("a statement's file ends with a newline")
    signed = open_frame(_read_line(lines[0], "statement"), Statement, issuer)
    signs = signed.message.totals.rows
    if len(lines) - 1 != signs:
        raise LedgerError(f"the file has {len(lines) - 1} rows where the statement signs {signs}")
    rows = tuple(decode_record(VersionVerdict, _read_line(line, "row")) for line in lines[1:])
    check_rows(signed.message, rows)
    return signed, rows


def statement_certificate(data: bytes) -> bytes:
    """Return the frame of the certificate that a statement's file brings; nothing of it is verified.

    Raises:
        FormatError: not a statement's file.
    """
    frame = parse_frame(statement_frame(data))
    if frame.type != Statement.TYPE:
        raise FormatError("a statement was expected")
    return decode_record(Statement, frame.body).certificate


def statement_frame(data: bytes) -> bytes:
    """Return the signed frame of a statement's file; nothing of it is verified.

    Raises:
        FormatError: not a statement's file.
    """
    return _read_line(data.partition(b"\n")[0], "statement")


def _line(name: str, data: bytes) -> bytes:
    return b'{"%s":"%s"}\n' % (name.encode(), base64.b64encode(data))


def _read_line(line: bytes, name: str) -> bytes:
    try:
        found: Any = json.loads(line)
        data = base64.b64decode(found[name], validate=True)
    except (ValueError, RecursionError, TypeError, KeyError, binascii.Error) as error:
        raise FormatError(f"a line of a statement's file is no {name}") from error
    # One spelling, so that equal statements are equal files.
    if _line(name, data) != line + b"\n":
        raise FormatError("a line of a statement's file is not in its canonical form")
    return data
