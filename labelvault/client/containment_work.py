"""Whose work goes on after a breach, and what that work still needs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from labelvault.client.containment_records import ReissueStep
from labelvault.client.grants import presence_of
from labelvault.client.records import ContractorRecord
from labelvault.crypto.hashing import tagged_hash
from labelvault.database import Database
from labelvault.errors import EnrolmentError, FormatError, GrantError, GrantRevokedError
from labelvault.issuer.catalog import opened_together
from labelvault.wire.frame import open_frame
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.messages import Grant
from labelvault.wire.times import to_ms

if TYPE_CHECKING:
    from labelvault.client.client import Client

SUCCESSOR_LABEL: Final = b"labelvault/v1/successor-grant\0"
_NEW_CARD: Final = (
    "Have a new home and card made on a clean device (labelvault contractor init, card), enrol that card under another"
    " name, and allow that one."
)


def reissues(
    client: "Client",
    surface: Sequence[ContractorRecord],
    projects: dict[bytes, str],
    start: datetime,
    now: datetime,
    allow: Sequence[tuple[str, str]],
) -> tuple[ReissueStep, ...]:
    """Return the grants that go over to successors: of those with open work only, and nobody's but who is named.

    Args:
        client: whose.
        surface: contractors whose keys lay on it.
        projects: id to name of those that the statement is about.
        start: of its window.
        now: the client's time.
        allow: (name on the surface, name of its successor).

    Raises:
        EnrolmentError: somebody is not enrolled, did not lie on the surface, or has two successors.
        GrantRevokedError: a successor lay on the surface itself, or was revoked.
        GrantError: a successor is a desk without the presence device that the old grant needs, or somebody else has
            the old grant already.
    """
    on_surface = {each.name: each for each in surface}
    if len({old for old, _ in allow}) != len(allow):
        raise EnrolmentError("somebody is named with two successors", next_step="Allow one successor for each.")
    found = []
    for old, new in allow:
        if client.contractor(old).name not in on_surface:
            raise EnrolmentError(
                f"{old!r} did not lie on this surface, and keeps its grants",
                next_step="Name first whose identity ends, then who takes over.",
            )
        successor = client.contractor(new)
        if new in on_surface:
            raise GrantRevokedError(f"{new!r} lay on this surface, and is revoked with it", next_step=_NEW_CARD)
        if successor.revoked:
            raise GrantRevokedError(f"{new!r} was revoked, for good", next_step=_NEW_CARD)
        for project, name in projects.items():
            found += _passed_on(client, on_surface[old], successor, (project, name), (start, now))
    return tuple(found)


def _passed_on(
    client: "Client",
    old: ContractorRecord,
    new: ContractorRecord,
    project: tuple[bytes, str],
    times: tuple[datetime, datetime],
) -> list[ReissueStep]:
    start, now = times
    rows = client.database.rows(
        "SELECT hash, frame FROM grants WHERE contractor = ? AND project = ? AND revoked_ms IS NULL",
        old.key,
        project[0],
    )
    found = []
    for grant_hash, frame in rows:
        grant = open_frame(bytes(frame), Grant, client.identity_key).message
        grant_id = successor_id(grant.grant_id)
        holder = client.database.row(
            "SELECT c.name FROM grants g JOIN contractors c ON c.key = g.contractor WHERE g.grant_id = ?", grant_id
        )
        tasks = _open_tasks(client.database, bytes(grant_hash), old.key, start)
        if holder is None and (not tasks or grant.expires_at <= now):
            continue
        if holder is not None and holder[0] != new.name:
            raise GrantError(
                f"{holder[0]!r} took over from {old.name!r} already",
                next_step="A grant is passed on once. Make another one: labelvault client grant.",
            )
        # Said now, not after half of it is done.
        presence_of(new, waived=new.tier == "desk" and grant.presence == "waived")
        used = int(client.database.scalar("SELECT count(*) FROM leases WHERE grant_hash = ?", grant_hash))
        left = grant.limits.max_total - used + len(tasks)
        step = ReissueStep(
            project=project[1],
            contractor=old.name,
            successor=new.name,
            old=grant.grant_id,
            grant_id=grant_id,
            tasks=tuple(tasks),
            limits=replace(grant.limits, max_total=max(1, min(left, grant.limits.max_total))),
            expires_at=grant.expires_at,
            done=holder is not None,
        )
        found.append(step)
    return found


def successor_id(grant_id: bytes) -> bytes:
    """Return the id of the one grant that may follow another, 16 bytes."""
    return tagged_hash(SUCCESSOR_LABEL, grant_id)[:ID_BYTES]


def _open_tasks(database: Database, grant_hash: bytes, contractor: bytes, start: datetime) -> list[str]:
    """Return names of tasks whose last lease lived in the window or later, was not closed, and was not answered."""
    rows = database.rows(
        "SELECT i.name FROM leases l JOIN items i ON i.item = l.item LEFT JOIN batches b ON b.batch = i.batch"
        " WHERE l.grant_hash = ?1 AND l.expires_ms > ?3 AND b.revoked_ms IS NULL"
        " AND l.issued_ms = (SELECT max(n.issued_ms) FROM leases n WHERE n.grant_hash = ?1 AND n.item = l.item)"
        " AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.lease_id = l.lease_id AND r.event = 'closed')"
        " AND NOT EXISTS (SELECT 1 FROM submissions s JOIN leases a ON a.lease_id = s.lease_id"
        "  WHERE s.verdict = 'accepted' AND s.contractor = ?2 AND a.item = l.item)"
        " GROUP BY l.item ORDER BY i.name, l.item",
        grant_hash,
        contractor,
        to_ms(start),
    )
    return [str(name) for (name,) in rows]


def needed_items(database: Database, client: bytes, project: bytes) -> set[bytes]:
    """Return what work to come needs: tasks without an accepted answer, all that these require, and gold; and decoys.

    A decoy that alone kept its version, while all around it was sealed again, would show.

    A task that is to be answered several times counts as finished with its first answer: the client alone knows.

    Args:
        database: open `client.db`.
        client: 32 bytes.
        project: 16 bytes.
    """
    kept = database.rows(
        "SELECT item FROM items WHERE project = ?1 AND kind = 'gold' UNION SELECT item FROM honey WHERE project = ?1",
        project,
    )
    needed = {bytes(item) for (item,) in kept}
    tasks = database.rows(
        "SELECT i.item FROM items i JOIN batches b ON b.batch = i.batch"
        " WHERE i.project = ? AND i.kind = 'task' AND i.version IS NOT NULL AND b.revoked_ms IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM submissions s JOIN leases l ON l.lease_id = s.lease_id"
        "  WHERE s.verdict = 'accepted' AND l.item = i.item)",
        project,
    )
    for (task,) in tasks:
        try:
            needed |= {version.header.item for version in opened_together(database, client, bytes(task))}
        except FormatError:
            # It can't be opened as it stands; it alone is kept.
            needed.add(bytes(task))
    return needed
