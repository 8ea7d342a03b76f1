"""Re-keying: what was exposed and is still needed is sealed again, under a fresh DEK, as the next version.

The exposed bytes stay what they are: whoever has their key reads them wherever they are kept. What this gives is a
version that he has no key of, and that is released from then on. What requires an item names it by its id, never by its
version, so nothing else has to be sealed again. A new version is read back from the vault before it becomes current.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from labelvault.client.key_records import RekeyPlan, RekeyReport
from labelvault.client.meter import Meter
from labelvault.client.reading import Origin, StoredVersion, named_version
from labelvault.client.records import ExportFault, Progress
from labelvault.client.restoring import seal_again
from labelvault.client.versions import SealTarget, current_kek
from labelvault.errors import LabelVaultError, ProjectError, RelayError, ShreddedError
from labelvault.ledger.entries import Dropped
from labelvault.ledger.statement import Statement, read_statement, statement_frame
from labelvault.ledger.verdicts import VersionVerdict
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import Signed
from labelvault.wire.ids import ClientId

EXPOSED: Final = frozenset({"exposed", "unconfirmed", "unknown"})
"""Verdicts of a statement that call for a new key."""
_MAX_AWAY: Final = 3


def own_statement(statement: bytes, client: ClientId) -> tuple[Signed[Statement], tuple[VersionVerdict, ...]]:
    """Verify a statement's file as one of this client's, and return it with its rows.

    Args:
        statement: its file.
        client: who must have stated it.

    Raises:
        FormatError: not a statement's file.
        SignatureError, LedgerError: not signed by an issuer of this client's, or its rows are not those that it signs.
    """
    _, certificate = open_certified(statement_frame(statement), Statement, client)
    return read_statement(statement, certificate.message.issuer)


def exposed_versions(rows: Iterable[VersionVerdict], project: bytes) -> list[tuple[bytes, int]]:
    """Return (item id, version) of all that a statement's rows call exposed, unconfirmed or unknown in a project."""
    return [(row.item, row.version) for row in rows if row.verdict in EXPOSED and row.project == project]


def plan_rekey(origin: Origin, items: Sequence[bytes | tuple[bytes, int]]) -> RekeyPlan:
    """Say what `rekey` would do; see `Project.plan_rekey`.

    Raises:
        ProjectError: an item is not in the project, or was never sealed.
    """
    wanted: dict[bytes, int | None] = {}
    for each in items:
        item, version = (each, None) if isinstance(each, bytes) else each
        known = wanted.get(item)
        # Named several times, the newest version counts.
        wanted[item] = max(known or 0, version or 0) or None
    current = dict(
        origin.database.rows(
            "SELECT item, version FROM items WHERE project = ? AND version IS NOT NULL", origin.project
        )
    )
    versions, done = [], 0
    for item, version in wanted.items():
        now = current.get(item)
        if now is None:
            raise ProjectError(
                f"item {item.hex()} has no current version in this project",
                next_step="See what there is: labelvault client ls PROJECT.",
            )
        if version is not None and version < now:
            done += 1
        else:
            versions.append(named_version(origin, item, now))
    return RekeyPlan(
        tuple((each.header.item, each.header.version) for each in versions),
        tuple(each.source for each in versions),
        sum(each.payload_bytes for each in versions),
        done,
    )


def rekey(
    origin: Origin,
    target: SealTarget,
    items: Sequence[bytes | tuple[bytes, int]],
    progress: Callable[[Progress], None] | None = None,
    *,
    drop_old: bool = False,
) -> RekeyReport:
    """Seal current versions again, and perhaps destroy the wraps of older ones; see `Project.rekey`.

    Raises:
        ProjectError: as `plan_rekey`.
        RelayError: the vault is away.
        ShreddedError, StoreError, KeystoreError: as sealing.
    """
    plan = plan_rekey(origin, items)
    target = replace(target, read_back=True)
    meter = Meter(progress, len(plan.versions), plan.payload_bytes)
    made: list[tuple[bytes, int]] = []
    faults: list[ExportFault] = []
    away, done = 0, plan.done
    for item, version in plan.versions:
        old = named_version(origin, item, version)
        if origin.database.scalar("SELECT version FROM items WHERE item = ?", item) > version:
            done += 1  # Another process was faster.
            continue
        try:
            made.append((item, seal_again(origin, target, old)))
            away = 0
        except ShreddedError:
            raise
        except LabelVaultError as error:
            away = away + 1 if isinstance(error, RelayError) else 0
            if away >= _MAX_AWAY:
                raise
            faults.append(_fault(old, error))
        meter.finished(old.payload_bytes)
    dropped = 0
    if drop_old:
        failed = {fault.item for fault in faults}
        named = dict.fromkeys(each if isinstance(each, bytes) else each[0] for each in items)
        dropped = _drop(target, [item for item in named if item not in failed])
    return RekeyReport(tuple(made), done, tuple(faults), dropped)


def _drop(target: SealTarget, items: Sequence[bytes]) -> int:
    """Destroy the wraps of all versions of items but the current ones, and return how many those were."""
    database, total = target.database, 0
    with database.erasing(), database.transaction():
        current_kek(database, target.project)
        entries = []
        for item in items:
            current = int(database.scalar("SELECT version FROM items WHERE item = ?", item))
            count = database.execute(
                "UPDATE versions SET wrapped = x'' WHERE item = ? AND version < ? AND wrapped != x''", item, current
            )
            if count:
                entries.append(
                    Dropped(at=target.now, project=target.project, item=item, before=current, versions=count)
                )
            total += count
        if entries:
            target.record(entries)
    # Also where an earlier run was killed before this.
    database.rewrite()
    return total


def _fault(version: StoredVersion, error: LabelVaultError) -> ExportFault:
    return ExportFault(version.source, version.header.item, version.header.version, error)
