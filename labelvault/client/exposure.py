"""The exposure statement as a client reads it: signed, with the catalog's names for what the ledger knows by ids."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final

from labelvault.errors import EnrolmentError, FormatError, LedgerError
from labelvault.issuer.log import Log
from labelvault.ledger.checkpoint import issuer_key_name, verify_checkpoint
from labelvault.ledger.scan import Reading, naming, needed
from labelvault.ledger.statement import StatedLedger, Statement, write_statement
from labelvault.ledger.stating import LedgerView, Question, state
from labelvault.ledger.verdicts import VERDICTS, Interval, VersionVerdict
from labelvault.wire.frame import open_frame
from labelvault.wire.messages import Grant

if TYPE_CHECKING:
    from labelvault.client.client import Client

NAMED_SURFACES: Final = ("desk", "contractor")


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


@dataclass(frozen=True, slots=True)
class ExposureStatement:
    """A signed statement, and what it says by names.

    Attributes:
        statement: what is signed.
        file: what an auditor is handed: the signed frame and all rows.
        surface: as it was asked for: `vendor`, `all`, `desk:NAME`, `contractor:NAME`.
        project: the name of the one project that it is about; None for all.
        contractors: names of those whose keys lay on the surface.
        waived: of these, desks for which presence was ever waived.
        items: by kind, batch and name, the worst first.
        fingerprint: the client's, for the auditor.
    """

    statement: Statement
    file: bytes
    surface: str
    project: str | None
    contractors: tuple[str, ...]
    waived: tuple[str, ...]
    items: tuple[ItemVerdict, ...]
    fingerprint: str

    def totals(self, kind: str | None = None) -> dict[str, int]:
        """Return how many items have each verdict: of one kind, or all."""
        count = Counter(each.verdict for each in self.items if kind in (None, each.kind))
        return {verdict: count[verdict] for verdict in VERDICTS}


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
        statement=statement,
        file=write_statement(statement, rows, client.issuer_identity.signer),
        surface=surface,
        project=project,
        contractors=tuple(sorted(names.get(each, each.hex()) for each in statement.contractors)),
        waived=tuple(sorted(names.get(each, each.hex()) for each in waived)),
        items=_named(client, rows, names, waived),
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

    def root_at(count: int) -> bytes:
        start = Reading()
        deque(start.through(log.stream(count)), maxlen=0)
        return start.root

    return LedgerView(
        stated=StatedLedger(log.epoch, size, checkpoint.root),
        naming=lambda: named,
        needed=lambda: needed(log.stream(size)),
        latest=reading.latest,
        root_at=root_at,
    )


def _waived(client: "Client") -> set[bytes]:
    frames = client.database.rows("SELECT frame, contractor FROM grants")
    return {
        bytes(contractor)
        for frame, contractor in frames
        if open_frame(bytes(frame), Grant, client.identity_key).message.presence == "waived"
    }


def _named(
    client: "Client", rows: Sequence[VersionVerdict], names: dict[bytes, str], waived: set[bytes]
) -> tuple[ItemVerdict, ...]:
    """Return items with the catalog's names; what the catalog does not know keeps its id."""
    known = {
        bytes(item): (str(name), str(kind), None if batch is None else str(batch))
        for item, name, kind, batch in client.database.rows(
            "SELECT i.item, i.name, iif(h.item IS NULL, i.kind, 'honey'), b.name FROM items i"
            " LEFT JOIN batches b ON b.batch = i.batch LEFT JOIN honey h ON h.item = i.item"
        )
    }
    projects = {
        bytes(project): str(name) for project, name in client.database.rows("SELECT project, name FROM projects")
    }

    def name_of(item: bytes | None) -> str | None:
        return None if item is None else known[item][0] if item in known else item.hex()

    def interval(each: Interval) -> StatedInterval:
        whose = each.contractor
        return StatedInterval(
            contractor=None if whose is None else names.get(whose, whose.hex()),
            tier=each.tier,
            waived=each.tier == "desk" and (bool(waived) if whose is None else whose in waived),
            task=name_of(each.task),
            leases=each.leases,
            since=each.since,
            until=each.until,
            erasure=each.erasure,
            reason=each.reason,
        )

    found = []
    for (project, item), group in groupby(rows, key=lambda row: (row.project, row.item)):
        versions = tuple(
            StatedVersion(row.version, row.sealed_at, row.verdict, row.tasks, tuple(map(interval, row.intervals)))
            for row in group
        )
        name, kind, batch = known.get(item, (item.hex(), "unknown", None))
        worst = min((each.verdict for each in versions), key=VERDICTS.index)
        found.append(ItemVerdict(projects.get(project, project.hex()), item, name, kind, batch, worst, versions))
    found.sort(key=lambda each: (VERDICTS.index(each.verdict), each.project, each.kind, each.batch or "", each.name))
    return tuple(found)
