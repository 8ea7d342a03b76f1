"""What a client's catalog and ledger hold, page by page: filters and paging happen in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from labelvault.client.places import FOLDERS, TASKS
from labelvault.client.records import ItemRecord
from labelvault.database import Database
from labelvault.envelope.metadata import KINDS, Metadata
from labelvault.errors import FormatError, ProjectError
from labelvault.issuer.log import Log
from labelvault.ledger.entries import KINDS as ENTRY_KINDS
from labelvault.ledger.entries import Entry, decode_entry
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms, to_ms

_LEAST_DIGITS: Final = 8
_LEDGER_PAGE: Final = 500
# In the order of an index, so that a part costs what it holds: nothing is sorted, and nothing before it is read.
_VERSIONS: Final = " CROSS JOIN versions v ON v.item = i.item AND v.version = i.version AND v.sealed_ms >= ?6"
_WHERE: Final = (
    " AND i.version IS NOT NULL AND i.source > ?2 AND i.source < ?3"
    " AND (?4 IS NULL OR i.kind = ?4) AND (?5 IS NULL OR i.name GLOB ?5 OR i.source GLOB ?5)"
)
_FOLDERS: Final = {"task": TASKS, **{kind: folder for folder, kind in FOLDERS.items()}}
_BEHIND_ALL: Final = "\U0010ffff"
"""No source begins with it, or with what sorts behind it."""


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items to list; None leaves that open.

    Attributes:
        kind: one of guideline, rubric, gold, task, attachment.
        batch: a batch's name, exactly.
        name: in the name or path: a part of it, or a pattern with `*`, `?` and `[...]` for all of it.
        changed_since: sealed at that time or later, aware UTC.
    """

    kind: str | None = None
    batch: str | None = None
    name: str | None = None
    changed_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A part of the items that a filter lets through, ordered by path, and rows of one file by their ids.

    Attributes:
        items: this part.
        total: how many the filter lets through; told with the first part only, as all are counted for it.
        next: the id to give as `after` for the part that follows; None at the end.
    """

    items: tuple[ItemRecord, ...]
    total: int | None
    next: bytes | None


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """A project and how much of everything it has.

    Attributes:
        project_id: 16 bytes.
        frozen: whether all releases are stopped.
        shredded: whether its keys are destroyed, or about to be.
        items: current versions.
        batches: of tasks.
        payload_bytes: what the vault stores of the current versions.
        grants: ever made, revoked and expired ones too.
    """

    name: str
    project_id: bytes
    frozen: bool
    shredded: bool
    items: int
    batches: int
    payload_bytes: int
    grants: int


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A ledger entry, and what the catalog calls the things that it names.

    Attributes:
        number: where it stands, from 0.
        kind: what it records.
        names: for fields of the entry that are ids or keys, the client's name; `task` for a receipt's lease.
    """

    number: int
    kind: str
    entry: Entry
    names: dict[str, str]


def page_items(
    database: Database, project: bytes, wanted: ItemFilter, after: bytes | None = None, limit: int | None = None
) -> ItemPage:
    """List items; see `Project.page`."""
    if wanted.kind is not None and wanted.kind not in KINDS:
        raise FormatError(f"no such kind; one of {', '.join(KINDS)}")
    places = _places(database, project, wanted.batch)
    begin, end = "", _BEHIND_ALL
    if wanted.kind is not None:
        # `0` is what sorts next to `/`.
        begin, end = f"{_FOLDERS[wanted.kind]}/", f"{_FOLDERS[wanted.kind]}0"
    since = 0 if wanted.changed_since is None else to_ms(wanted.changed_since)
    filters = (end, wanted.kind, _pattern(wanted.name), since)
    start = begin if after is None else max(begin, _source(database, project, after))
    rows: list[tuple[Any, ...]] = []
    for condition, place in places:
        # The words put together here are this module's own; all input goes in as parameters.
        rows += database.rows(
            "SELECT i.item, i.name, i.kind, b.name, v.version, v.payload_bytes, v.sealed_ms, v.metadata"  # noqa: S608
            f" FROM real_items i{_VERSIONS} LEFT JOIN batches b ON b.batch = i.batch"
            f" WHERE {condition}{_WHERE} ORDER BY i.source LIMIT ?7",
            place,
            start,
            *filters,
            -1 if limit is None else limit + 1 - len(rows),
        )
    items = tuple(_item_record(row) for row in rows[:limit])
    more = items[-1].item if len(items) < len(rows) else None
    if after is not None or more is None:
        return ItemPage(items, len(items) if after is None else None, more)
    count = f"SELECT count(*) FROM real_items i{_VERSIONS if since else ''}"  # noqa: S608
    asked = (begin, *(filters if since else filters[:-1]))
    total = sum(database.scalar(f"{count} WHERE {condition}{_WHERE}", place, *asked) for condition, place in places)
    return ItemPage(items, total, more)


def _places(database: Database, project: bytes, batch: str | None) -> list[tuple[str, bytes]]:
    """Return where to look, in order: the condition that begins an index, and its value."""
    if batch is None:
        return [("i.project = ?1", project)]
    # One of gold and one of tasks may share a name; gold comes first by its path.
    rows = database.rows("SELECT batch FROM batches WHERE project = ? AND name = ? ORDER BY gold DESC", project, batch)
    if not rows:
        raise ProjectError(
            f"there is no batch {batch!r} in this project", next_step="See them: labelvault client ls PROJECT."
        )
    return [("i.batch = ?1", bytes(row[0])) for row in rows]


def _source(database: Database, project: bytes, item: bytes) -> str:
    row = database.row("SELECT source FROM items WHERE item = ? AND project = ?", item, project)
    if row is None:
        raise ProjectError(f"there is no item {item.hex()} in this project, to begin behind")
    return str(row[0])


def _pattern(name: str | None) -> str | None:
    """Return the GLOB pattern for a part of a name, or for a pattern as it is."""
    if name is None or any(mark in name for mark in "*?["):
        return name
    return f"*{name}*"


def _item_record(row: tuple[Any, ...]) -> ItemRecord:
    item, name, kind, batch, version, payload_bytes, sealed_ms, encoded = row
    metadata = decode_record(Metadata, bytes(encoded))
    return ItemRecord(
        bytes(item),
        str(name),
        str(kind),
        None if batch is None else str(batch),
        int(version),
        metadata.size,
        int(payload_bytes),
        from_ms(int(sealed_ms)),
        metadata.requires,
    )


def find_item(database: Database, project: bytes, name: str) -> bytes:
    """Return the id of an item; see `Project.find`."""
    is_hex = set(name.lower()) <= set("0123456789abcdef")
    ways: list[tuple[str, Sequence[object]]] = [("source = ?", [name]), ("name = ?", [name])]
    if is_hex and len(name) == 2 * ID_BYTES:
        ways.insert(0, ("item = ?", [bytes.fromhex(name)]))
    elif is_hex and _LEAST_DIGITS <= len(name) < 2 * ID_BYTES:
        ends = [bytes.fromhex(name.ljust(2 * ID_BYTES, digit)) for digit in "0f"]
        ways.append(("item BETWEEN ? AND ?", ends))
    for condition, value in ways:
        # `condition` is one of this function's own.
        query = f"SELECT count(*), min(item) FROM real_items WHERE project = ? AND {condition}"  # noqa: S608
        count, item = database.rows(query, project, *value)[0]
        if count == 1:
            return bytes(item)
        if count:
            raise ProjectError(f"{count} items are named {name!r}", next_step="Give its id or its path instead.")
    raise ProjectError(
        f"there is no item {name!r} in this project", next_step="See what there is: labelvault client ls PROJECT."
    )


def project_records(database: Database) -> list[ProjectRecord]:
    """List projects by name, with what they have."""
    # In the order of both tables: looked up project by project, each version lies elsewhere in the file.
    sizes = {
        bytes(project): (count, size)
        for project, count, size in database.rows(
            "SELECT i.project, count(*), sum(v.payload_bytes) FROM items i NOT INDEXED"
            " CROSS JOIN versions v ON v.item = i.item AND v.version = i.version"
            " WHERE NOT EXISTS (SELECT 1 FROM honey h WHERE h.item = i.item) GROUP BY i.project"
        )
    }
    rows = database.rows(
        "SELECT p.name, p.project, p.frozen, p.shredded_ms IS NOT NULL,"
        " (SELECT count(*) FROM batches b WHERE b.project = p.project AND b.gold = 0),"
        " (SELECT count(*) FROM grants g WHERE g.project = p.project)"
        " FROM projects p ORDER BY p.name"
    )
    return [
        ProjectRecord(str(name), bytes(project), bool(frozen), bool(shredded), items, batches, size, grants)
        for name, project, frozen, shredded, batches, grants in rows
        for items, size in [sizes.get(bytes(project), (0, 0))]
    ]


def ledger_lines(database: Database, log: Log, last: int, kind: str | None) -> list[LedgerLine]:
    """Return the newest ledger entries; see `Client.ledger_lines`."""
    if kind is not None and kind not in ENTRY_KINDS:
        raise FormatError(f"no such kind of entry; one of {', '.join(ENTRY_KINDS)}")
    found: list[LedgerLine] = []
    before = log.size()
    while before > 0 and len(found) < last:
        page = log.page(before, _LEDGER_PAGE)
        for number, data in page:
            entry = decode_entry(data)
            if kind is None or isinstance(entry, ENTRY_KINDS[kind]):
                found.append(LedgerLine(number, _kind_of(entry), entry, _names(database, entry)))
            if len(found) == last:
                break
        before = page[-1][0]
    return found[::-1]


def _kind_of(entry: Entry) -> str:
    return next(name for name, record in ENTRY_KINDS.items() if type(entry) is record)


_LOOKUPS: Final = {
    "project": "SELECT name FROM projects WHERE project = ?",
    "contractor": "SELECT name FROM contractors WHERE key = ?",
    "item": "SELECT name FROM items WHERE item = ?",
    "task": "SELECT name FROM items WHERE item = ?",
    "lease_id": "SELECT i.name FROM leases l JOIN items i ON i.item = l.item WHERE l.lease_id = ?",
}
_REVOKED: Final = {
    "contractor": "SELECT name FROM contractors WHERE key = ?",
    "grant": "SELECT c.name || ' on ' || p.name FROM grants g JOIN contractors c ON c.key = g.contractor"
    " JOIN projects p ON p.project = g.project WHERE g.grant_id = ?",
    "batch": "SELECT b.name || ' of ' || p.name FROM batches b JOIN projects p ON p.project = b.project"
    " WHERE b.batch = ?",
    "project": "SELECT name FROM projects WHERE project = ?",
}


def _names(database: Database, entry: Entry) -> dict[str, str]:
    """Return what the catalog calls the things that an entry names."""
    queries = {field: (query, getattr(entry, field, None)) for field, query in _LOOKUPS.items()}
    kind = getattr(entry, "kind", None)
    if kind in _REVOKED:
        queries["id"] = (_REVOKED[kind], getattr(entry, "id", None))
    names = {}
    for field, (query, value) in queries.items():
        row = database.row(query, value) if isinstance(value, bytes) else None
        if row is not None:
            names["task" if field == "lease_id" else field] = str(row[0])
    return names
