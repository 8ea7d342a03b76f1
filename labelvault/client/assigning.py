"""Assigning: the client says which task a desk is meant to open, so that its presence device knows what it approves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from labelvault.client.grants import task_id
from labelvault.client.records import ContractorRecord
from labelvault.errors import GrantError, GrantExpiredError, GrantRevokedError, GrantScopeError
from labelvault.issuer.catalog import task_facts
from labelvault.wire.frame import open_frame, sign_message
from labelvault.wire.ids import ProjectId, presence_mailbox
from labelvault.wire.messages import Grant
from labelvault.wire.presence import Assignment
from labelvault.wire.times import truncate

if TYPE_CHECKING:
    from labelvault.client.client import Client

LABEL_DIGITS: Final = 8
"""Of the item's id: a label by default, which says nothing to the vendor who relays it."""


@dataclass(frozen=True, slots=True)
class AssignmentRecord:
    """One task that was assigned to a desk.

    Attributes:
        item: the task's id, 16 bytes.
        label: what the presence device shows.
        frame: to be carried to the presence device, if the vault does not relay it.
    """

    item: bytes
    label: str
    expires_at: datetime
    frame: bytes


def assign(
    client: "Client",
    project: ProjectId,
    desk: ContractorRecord,
    items: Sequence[str | bytes],
    label: str | None,
    expires_at: datetime,
    post: bool,
) -> list[AssignmentRecord]:
    """Sign assignments, all or none, and post them; see `Project.assign`."""
    now = client.now()
    if desk.revoked:
        raise GrantRevokedError(f"{desk.name} was revoked")
    if desk.presence_key is None:
        raise GrantError(f"{desk.name} has no presence device: nobody would look at an assignment")
    if expires_at <= now:
        raise GrantExpiredError("the assignments would have expired already", next_step="Give a later --expires.")
    grants = _live_grants(client, project, desk, now)
    issuer, made = client.issuer_identity, []
    for named in items:
        item = _granted_task(client, project, grants, named)
        assignment = Assignment(
            client=client.client_id,
            project=project,
            contractor=desk.key,
            item=item,
            label=item.hex()[:LABEL_DIGITS] if label is None else label,
            certificate=issuer.certificate.data,
            at=now,
            expires_at=truncate(expires_at),
        )
        frame = sign_message(assignment, issuer.signer).data
        made.append(AssignmentRecord(item, assignment.label, assignment.expires_at, frame))
    if post:
        for each in made:
            client.relay().post(presence_mailbox(client.client_id, desk.presence_key), each.frame)
    return made


def _live_grants(client: "Client", project: ProjectId, desk: ContractorRecord, now: datetime) -> list[Grant]:
    """Return the desk's grants that ask for its presence device."""
    rows = client.database.rows(
        "SELECT frame FROM grants WHERE contractor = ? AND project = ? AND revoked_ms IS NULL", desk.key, project
    )
    grants = [open_frame(bytes(frame), Grant, client.identity_key).message for (frame,) in rows]
    return [grant for grant in grants if grant.presence_key == desk.presence_key and now < grant.expires_at]


def _granted_task(client: "Client", project: ProjectId, grants: Sequence[Grant], named: str | bytes) -> bytes:
    item = task_id(client.database, project, named.hex() if isinstance(named, bytes) else named)
    facts = task_facts(client.database, item)
    for grant in grants:
        if item in grant.scope.items or (facts is not None and facts.batch in grant.scope.batches):
            return item
    raise GrantScopeError(
        f"the task {item.hex()} is in no grant of this desk that asks for its presence device",
        next_step="See what is granted: labelvault client ls; or grant it: labelvault client grant --help.",
    )
