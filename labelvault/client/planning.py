"""A dry run of sealing: reads folder and catalog, and writes nothing anywhere.

It decides by the same hashes as sealing does, so what it names is what sealing the same folder then seals.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from labelvault.client.honey import count_pending
from labelvault.client.importing import ProjectFolder, SourceItem
from labelvault.client.records import OpeningSummary, QueueSummary, SealPlan
from labelvault.client.sealing import item_metadata, source_hash
from labelvault.client.taken import Taken
from labelvault.crypto.aead import sealed_size
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import sealed_head
from labelvault.errors import FormatError, ProjectError
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.messages import MAX_LEASE_ITEMS
from labelvault.wire.schema import encode_record


@dataclass(slots=True)
class _Plan:
    taken: Taken = field(default_factory=Taken)
    items: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    sealed: Counter[str] = field(default_factory=Counter)
    room: int = 0
    groups: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)


def plan_folder(folder: ProjectFolder, database: Database, project: bytes, floor_bytes: int) -> SealPlan:
    """Say what sealing a folder would do.

    Args:
        folder: to read.
        database: open `client.db`; only read.
        project: 16 bytes.
        floor_bytes: the padding floor that sealing would use.

    Raises:
        StoreError: the catalog can't be read.
    """
    plan = _Plan()
    for source in folder.items():
        try:
            _take(source, plan, database, project, floor_bytes)
        except ProjectError as error:
            folder.errors.append(error)
        except FormatError as error:
            folder.errors.append(ProjectError(str(error), *source.place))
    openings = tuple(_openings(folder, plan))
    waiting = count_pending(database, project)
    return SealPlan(
        tuple(sorted(plan.new)),
        tuple(sorted(plan.changed)),
        plan.same,
        plan.taken.gone(database, project, folder.errors),
        tuple(folder.errors),
        openings,
        tuple(sorted(plan.sizes.items())),
        tuple(QueueSummary(batch, count, plan.sealed[batch]) for batch, count in sorted(plan.tasks.items())),
        min(waiting, plan.room),
        max(0, waiting - plan.room),
    )


def _take(source: SourceItem, plan: _Plan, database: Database, project: bytes, floor_bytes: int) -> None:
    metadata = item_metadata(source, plan.items)
    row = database.row(
        "SELECT i.item, c.source_hash FROM items i LEFT JOIN versions c ON c.item = i.item AND c.version = i.version"
        " WHERE i.project = ? AND i.source = ?",
        project,
        source.source,
    )
    known = bytes(row[1]) if row and row[1] is not None else None
    size = len(sealed_head(metadata, source.size)) + source.size
    if known is not None and source_hash(source, encode_record(metadata)) == known:
        plan.same += 1
    else:
        (plan.new if known is None else plan.changed).append(source.source)
        plan.sizes[sealed_size(padded_size(size, floor_bytes))] += 1
        # What decoys go along with: new, in no queue, and in a window.
        plan.room += known is None and source.kind != "task" and source.large is None
        if source.kind == "task":
            plan.sealed[source.batch or ""] += 1
    if known is not None:
        plan.taken.add(source)
    if source.kind != "task":
        # A new item's id is any: it makes what requires it differ from all that the catalog has, as sealing will.
        plan.items[source.source] = bytes(row[0]) if row else random_bytes(ID_BYTES)
        plan.names[source.source], plan.requires[source.source] = source.name, source.requires
    else:
        plan.tasks[source.batch or ""] += 1
        plan.groups[source.batch or "", source.requires] += 1


def _openings(folder: ProjectFolder, plan: _Plan) -> Iterable[OpeningSummary]:
    for (batch, requires), count in sorted(plan.groups.items()):
        found: dict[str, None] = {}
        wanted = list(requires)
        while wanted:
            path = wanted.pop()
            if path not in found:
                found[path] = None
                wanted += plan.requires[path]
        if len(found) >= MAX_LEASE_ITEMS:
            message = f"one opening brings at most {MAX_LEASE_ITEMS} items"
            folder.errors.append(ProjectError(f"tasks of batch {batch!r} could not be opened: {message}"))
        else:
            yield OpeningSummary(batch, count, tuple(sorted(plan.names[path] for path in found)))
