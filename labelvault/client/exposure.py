"""The exposure statement as a client reads it: signed, with the catalog's names for what the ledger knows by ids."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from labelvault.database import Database
from labelvault.envelope.metadata import KINDS
from labelvault.errors import EnrolmentError, FormatError, LedgerError
from labelvault.issuer.log import Log
from labelvault.ledger.checkpoint import issuer_key_name, verify_checkpoint
from labelvault.ledger.scan import Reading, naming, needed
from labelvault.ledger.statement import StatedLedger, Statement, statement_lines
from labelvault.ledger.stating import LedgerView, Question, state
from labelvault.ledger.verdicts import VERDICTS, Interval, Verdicts, VersionVerdict
from labelvault.wire.frame import Signed, open_frame, sign_message
from labelvault.wire.messages import Grant

if TYPE_CHECKING:
    from labelvault.client.client import Client

NAMED_SURFACES: Final = ("desk", "contractor")
HONEY: Final = "honey"
"""The kind that is told of decoys."""
_UNKNOWN: Final = "unknown"
_PAGE: Final = 500
_IN_ORDER: Final = (
    "SELECT i.item, i.source, i.name, iif(h.item IS NULL, i.kind, 'honey'), b.name FROM items i"
    " LEFT JOIN batches b ON b.batch = i.batch LEFT JOIN honey h ON h.item = i.item"
    " WHERE i.project = ? AND i.source > ? ORDER BY i.source LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class StatedInterval:
    """A time in which the surface could give an item version away; see `labelvault.ledger.verdicts.Interval`.

    Attributes:
        contractor: the client's name for it; None for several.
        task: the name of the task that was opened; None for several.
        waived: presence was waived for a desk among them.
    """

    contractor: str | None
    tier: str
    waived: bool
    task: str | None
    leases: int
    since: datetime
    until: datetime
    erasure: str
    reason: str


@dataclass(frozen=True, slots=True)
class StatedVersion:
    """One version of an item, and what is stated of it.

    Attributes:
        verdict: one of `labelvault.ledger.verdicts.VERDICTS`.
        tasks: by how many different tasks it was opened.
    """

    version: int
    sealed_at: datetime
    verdict: str
    tasks: int
    intervals: tuple[StatedInterval, ...]


@dataclass(frozen=True, slots=True)
class ItemVerdict:
    """An item, and the worst that is stated of its versions.

    Attributes:
        project: its name.
        item: 16 bytes.
        batch: the batch's name, for tasks and gold.
    """

    project: str
    item: bytes
    name: str
    kind: str
    batch: str | None
    verdict: str
    versions: tuple[StatedVersion, ...]


class StatedItems:
    """Items and what is stated of them, the worst first, then by project and path.

    There may be millions: each is made when it is asked for, with the name that the catalog has, so only while the
    client is open.
    """

    def __init__(
        self, database: Database, rows: Verdicts, contractors: Mapping[bytes, str], waived: Collection[bytes]
    ) -> None:
        self._database, self._rows, self._contractors, self._waived = database, rows, contractors, waived
        self._projects = _names(database, "projects", "project", rows.projects)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._strangers: list[tuple[str, bytes, bytes]] = []
        found = rows.worst()
        while page := list(islice(found, _PAGE)):
            kinds = _kinds(database, [item for _, item, _ in page])
            for project, item, verdict in page:
                kind = kinds.get((project, item))
                self._counts[verdict, kind or _UNKNOWN] += 1
                if kind is None:
                    self._strangers.append((verdict, project, item))

    def __len__(self) -> int:
        return self._counts.total()

    def __iter__(self) -> Iterator[ItemVerdict]:
        return chain.from_iterable(map(self.of, VERDICTS))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which there are: kinds of items, `honey`, and `unknown` for what the catalog does not know."""
        found = {kind for _, kind in self._counts}
        return tuple(kind for kind in (*KINDS, HONEY, _UNKNOWN) if kind in found)

    def count(self, verdict: str, kind: str | None = None) -> int:
        """Return how many have a verdict: of one kind, or all."""
        return sum(self._counts[verdict, each] for each in (self.kinds if kind is None else (kind,)))

    def of(self, verdict: str) -> Iterator[ItemVerdict]:
        """Yield those that have a verdict."""
        left = self.count(verdict)
        for project, name in sorted(self._projects.items(), key=lambda each: each[1]):
            after = ""
            while left:
                page = self._database.rows(_IN_ORDER, project, after, _PAGE)
                for item, source, *about in page:
                    versions = self._rows.of(project, bytes(item))
                    after = source
                    if versions and _worst(versions) == verdict:
                        left -= 1
                        yield self._item(name, about, versions)
                if len(page) < _PAGE:
                    break
        for its, project, item in self._strangers:
            if its == verdict:
                name = self._projects[project]
                yield self._item(name, (item.hex(), _UNKNOWN, None), self._rows.of(project, item))

    def _item(self, project: str, about: Sequence[Any], rows: Sequence[VersionVerdict]) -> ItemVerdict:
        name, kind, batch = about
        versions = tuple(
            StatedVersion(row.version, row.sealed_at, row.verdict, row.tasks, tuple(map(self._interval, row.intervals)))
            for row in rows
        )
        return ItemVerdict(
            project, rows[0].item, str(name), str(kind), None if batch is None else str(batch), _worst(rows), versions
        )

    def _interval(self, each: Interval) -> StatedInterval:
        whose = each.contractor
        return StatedInterval(
            contractor=None if whose is None else self._contractors.get(whose, whose.hex()),
            tier=each.tier,
            waived=each.tier == "desk" and (bool(self._waived) if whose is None else whose in self._waived),
            task=None if each.task is None else _names(self._database, "items", "item", [each.task])[each.task],
            leases=each.leases,
            since=each.since,
            until=each.until,
            erasure=each.erasure,
            reason=each.reason,
        )


@dataclass(frozen=True, slots=True)
class ExposureStatement:
    """A signed statement, and what it says by names.

    Attributes:
        signed: what is signed.
        rows: what it signs, by ids.
        surface: as it was asked for: `vendor`, `all`, `desk:NAME`, `contractor:NAME`.
        project: the name of the one project that it is about; None for all.
        contractors: names of those whose keys lay on the surface.
        waived: of these, desks for which presence was ever waived.
        items: by project and path, the worst first; to be read while the client is open.
        fingerprint: the client's, for the auditor.
    """

    signed: Signed[Statement]
    rows: Verdicts
    surface: str
    project: str | None
    contractors: tuple[str, ...]
    waived: tuple[str, ...]
    items: StatedItems
    fingerprint: str

    @property
    def statement(self) -> Statement:
        """What is signed."""
        return self.signed.message

    @property
    def file(self) -> bytes:
        """What an auditor is handed: the signed frame and all rows; some 250 bytes an item."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield `file` in pieces, as a whole it may be large."""
        lines = statement_lines(self.signed, self.rows)
        while piece := b"".join(islice(lines, _PAGE)):
            yield piece

    def totals(self, kind: str | None = None) -> dict[str, int]:
        """Return how many items have each verdict: of one kind, or all."""
        return {verdict: self.items.count(verdict, kind) for verdict in VERDICTS}


def make_statement(
    client: "Client", surface: str, start: datetime, end: datetime, project: str | None
) -> ExposureStatement:
    """State a window; see `Client.statement`."""
    kind, key = _surface(client, surface)
    project_id = None if project is None else client.project(project).project_id
    # Before the checkpoint: whatever is entered after it is no older than the statement.
    at = client.now()
    question = Question(kind, key, start, end, project_id)
    views, certificate = ledger_views(client), client.certificate
    statement, rows = state(views, question, client=client.client_id, certificate=certificate.data, at=at)
    names = {record.key: record.name for record in client.contractors()}
    waived = _waived(client) & set(statement.contractors)
    return ExposureStatement(
        signed=sign_message(statement, client.issuer_identity.signer),
        rows=rows,
        surface=surface,
        project=project,
        contractors=tuple(sorted(names.get(each, each.hex()) for each in statement.contractors)),
        waived=tuple(sorted(names.get(each, each.hex()) for each in waived)),
        items=StatedItems(client.database, rows, names, waived),
        fingerprint=client.fingerprint,
    )


def _surface(client: "Client", surface: str) -> tuple[str, bytes | None]:
    kind, _, name = surface.partition(":")
    if surface in ("vendor", "all"):
        return surface, None
    if kind not in NAMED_SURFACES or not name:
        raise FormatError("a surface is vendor, all, desk:NAME or contractor:NAME")
    record = client.contractor(name)
    if kind == "desk" and record.tier != "desk":
        raise EnrolmentError(
            f"{name!r} is no desk", next_step=f"Ask about the device of a helper: --surface contractor:{name}."
        )
    return kind, record.key


def ledger_views(client: "Client") -> list[LedgerView]:
    """Return the ledgers of all epochs, oldest first, streamed; what they hold is what their checkpoints sign.

    Raises:
        LedgerError: it is not.
    """
    return [_view(client, ledger.log, ledger.certificate.message.issuer) for ledger in client.ledgers()]


def _view(client: "Client", log: Log, issuer: bytes) -> LedgerView:
    name = issuer_key_name(client.client_id)
    checkpoint = verify_checkpoint(log.newest_checkpoint(), name, issuer, log.origin)
    size = checkpoint.size
    reading = Reading()
    named = list(naming(reading.through(log.stream(size))))
    if (reading.size, reading.root) != (size, checkpoint.root):
        raise LedgerError("a ledger's entries are not those that its newest checkpoint covers")

    return LedgerView(
        stated=StatedLedger(log.epoch, size, checkpoint.root),
        naming=lambda: named,
        needed=lambda: needed(log.stream(size)),
        latest=reading.latest,
        root_at=lambda count: log.reread(count).root,
    )


def _waived(client: "Client") -> set[bytes]:
    frames = client.database.rows("SELECT frame, contractor FROM grants")
    return {
        bytes(contractor)
        for frame, contractor in frames
        if open_frame(bytes(frame), Grant, client.identity_key).message.presence == "waived"
    }


def _worst(rows: Iterable[VersionVerdict]) -> str:
    return min((row.verdict for row in rows), key=VERDICTS.index)


def _names(database: Database, table: str, key: str, ids: Sequence[bytes]) -> dict[bytes, str]:
    """Return the catalog's names of projects or items; what it does not know keeps its id."""
    # Table and column are this module's own words.
    rows = {each: database.row(f"SELECT name FROM {table} WHERE {key} = ?", each) for each in ids}  # noqa: S608
    return {each: each.hex() if row is None else str(row[0]) for each, row in rows.items()}


def _kinds(database: Database, items: Sequence[bytes]) -> dict[tuple[bytes, bytes], str]:
    """Return the kinds of items by project and item, as far as the catalog knows them."""
    places = ", ".join("?" * len(items))
    rows = database.rows(
        "SELECT i.project, i.item, iif(h.item IS NULL, i.kind, ?) FROM items i"  # noqa: S608
        f" LEFT JOIN honey h ON h.item = i.item WHERE i.item IN ({places})",
        HONEY,
        *items,
    )
    return {(bytes(project), bytes(item)): str(kind) for project, item, kind in rows}
