"""The part of the catalog that a release needs: which versions open together, and their wraps."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from labelvault.database import Database
from labelvault.envelope.metadata import Metadata
from labelvault.errors import FormatError
from labelvault.issuer.authorize import TaskFacts
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.messages import MAX_LEASE_ITEMS
from labelvault.wire.schema import decode_record

MAX_REQUIRES_DEPTH: Final = 4
REQUIRABLE_KINDS: Final = frozenset({"guideline", "rubric", "attachment"})
"""Never gold, never a task: opening one task opens no other and no answers."""


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """The current version of an item, as sealed.

    Attributes:
        digest: 32 bytes.
        wrapped: its DEK under the KEK.
        kek_id: which KEK, 16 bytes.
        kek_generation: of which generation.
    """

    header: ItemHeader
    digest: bytes
    wrapped: bytes
    kek_id: bytes
    kek_generation: int
    metadata: Metadata


def task_facts(database: Database, item: bytes) -> TaskFacts | None:
    """Return an item's facts if it is a task in a queue with a current version, else None."""
    row = database.row(
        "SELECT i.project, i.batch, b.revoked_ms IS NOT NULL FROM items i JOIN batches b ON b.batch = i.batch"
        " WHERE i.item = ? AND i.kind = 'task' AND i.version IS NOT NULL AND b.gold = 0",
        item,
    )
    return None if row is None else TaskFacts(item, bytes(row[0]), bytes(row[1]), bool(row[2]))


def current_version(database: Database, client: bytes, item: bytes) -> CatalogVersion | None:
    """Return the current version of an item, or None if there is none."""
    row = database.row(
        "SELECT i.project, v.version, v.digest, v.wrapped, v.kek_id, v.kek_generation, v.metadata"
        " FROM items i JOIN versions v ON v.item = i.item AND v.version = i.version WHERE i.item = ?",
        item,
    )
    return None if row is None else _version(client, item, row)


def opened_together(
    database: Database, client: bytes, task: bytes, known: dict[bytes, CatalogVersion] | None = None
) -> tuple[CatalogVersion, ...]:
    """Return a task's current version and all that it requires, the task first.

    Args:
        database: open `client.db`.
        client: the client's id, 32 bytes.
        task: the task's item id.
        known: required items that were found in the same transaction already; further ones are added.

    Raises:
        FormatError: something required is missing, of another project, of a kind that can't be required, nested
            deeper than `MAX_REQUIRES_DEPTH`, or too many.
    """
    first = current_version(database, client, task)
    if first is None:
        raise FormatError("the task has no current version")
    found, known = {task: first}, {} if known is None else known
    level = [first]
    for _ in range(MAX_REQUIRES_DEPTH):
        wanted = [item for version in level for item in version.metadata.requires if item not in found]
        level = []
        for item in dict.fromkeys(wanted):
            version = known.get(item) or current_version(database, client, item)
            if version is None or version.header.project != first.header.project:
                raise FormatError("a required item is missing")
            if version.metadata.kind not in REQUIRABLE_KINDS:
                raise FormatError(f"a {version.metadata.kind} can't be required")
            found[item] = known[item] = version
            level.append(version)
    if any(item not in found for version in level for item in version.metadata.requires):
        raise FormatError(f"requirements nest deeper than {MAX_REQUIRES_DEPTH}")
    if len(found) > MAX_LEASE_ITEMS:
        raise FormatError(f"one opening brings at most {MAX_LEASE_ITEMS} items")
    return tuple(found.values())


@lru_cache(maxsize=1000)
def _version(client: bytes, item: bytes, row: tuple[Any, ...]) -> CatalogVersion:
    project, version, digest, wrapped, kek_id, kek_generation, metadata = row
    return CatalogVersion(
        ItemHeader(ITEM_FORMAT, client, bytes(project), item, version),
        bytes(digest),
        bytes(wrapped),
        bytes(kek_id),
        kek_generation,
        decode_record(Metadata, bytes(metadata)),
    )
