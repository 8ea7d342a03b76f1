"""Issuing ahead by the client's own names: which grant, which tasks, from which file of prekeys."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from labelvault.client import grants
from labelvault.client.grants import Scope
from labelvault.errors import GrantError
from labelvault.issuer.ahead import DEFAULT_STATUS_AGE_S, IssueReport
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.ids import ProjectId

if TYPE_CHECKING:
    from labelvault.client.client import Client
    from labelvault.client.records import GrantRecord


def issue(
    client: "Client",
    contractor: str,
    tasks: Scope,
    *,
    prekeys: bytes | None = None,
    grant_id: bytes | None = None,
    status_max_age_s: int = DEFAULT_STATUS_AGE_S,
    post: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IssueReport:
    """Issue leases ahead to one contractor: all or none; again with the same arguments, the same leases.

    Args:
        client: an open home.
        contractor: its name.
        tasks: of the grant's project; of a batch all that are sealed.
        prekeys: the file that the contractor made; by default what came through the vault, which is asked for more.
        grant_id: 16 bytes; needed where the contractor has more than one grant that lives.
        status_max_age_s: how old the newest status may be at an opening, in seconds.
        post: leave the leases at the vault, which hands each out while its task is claimed.
        progress: called with (tasks done, tasks in all).

    Raises:
        EnrolmentError: no such contractor, or prekeys of another client.
        GrantError: no such grant, or several.
        GrantScopeError: there is no such batch or task.
        As `labelvault.issuer.ahead.Ahead.issue`, and RelayError and StoreError where the vault is needed.
    """
    grant = _grant(client, contractor, grant_id)
    project = client.project(grant.project).project_id
    items = _tasks(client, project, tasks)
    bundles = None if prekeys is None else unpack_frames(prekeys)
    with client.issuer() as issuer:
        if bundles is None:
            issuer.ahead.collect()
        report = issuer.issue(grant.grant_id, items, bundles, status_max_age_s=status_max_age_s, progress=progress)
        if post:
            issuer.ahead.deliver(report)
    return report


def _grant(client: "Client", contractor: str, grant_id: bytes | None) -> "GrantRecord":
    name, now = client.contractor(contractor).name, client.now()
    held = [grant for grant in client.grants() if grant.contractor == name]
    if grant_id is not None:
        held = [grant for grant in held if grant.grant_id == grant_id]
    elif len(held) > 1:
        held = [grant for grant in held if not grant.revoked and grant.expires_at > now]
    if not held:
        raise GrantError(f"{name} has no such grant")
    if len(held) > 1:
        raise GrantError(f"{name} has {len(held)} grants", next_step="Name one: --grant ID, from labelvault client ls.")
    return held[0]


def _tasks(client: "Client", project: ProjectId, tasks: Scope) -> list[bytes]:
    scope = grants.resolve_scope(client.database, project, Scope(tasks.batches)) if tasks.batches else None
    found = [] if scope is None else list(_of_batches(client, scope.batches))
    found += [grants.task_id(client.database, project, name) for name in tasks.items]
    return list(dict.fromkeys(found))


def _of_batches(client: "Client", batches: tuple[bytes, ...]) -> list[bytes]:
    found: list[bytes] = []
    for batch in batches:
        rows = client.database.rows(
            "SELECT item FROM items WHERE batch = ? AND kind = 'task' AND version IS NOT NULL ORDER BY name, item",
            batch,
        )
        found += [bytes(row[0]) for row in rows]
    return found
