"""Granting: from names that the client uses to a signed `Grant` of opaque ids."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labelvault.client.records import ContractorRecord
from labelvault.client.versions import current_kek
from labelvault.crypto.random import random_bytes
from labelvault.database import Database
from labelvault.errors import FormatError, GrantError, GrantRevokedError, GrantScopeError
from labelvault.issuer.catalog import task_facts
from labelvault.ledger.entries import Granted
from labelvault.wire import messages
from labelvault.wire.frame import Signed, Signer, sign_message
from labelvault.wire.ids import ID_BYTES, ProjectId
from labelvault.wire.messages import Limits

if TYPE_CHECKING:
    from labelvault.client.client import Client

__all__ = ["GrantTerms", "Limits", "Scope", "add_grant", "make_grant", "resolve_scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant covers, by the client's own names. Matched exactly; nothing named is nothing allowed.

    Attributes:
        batches: names of batches of tasks; tasks that are sealed into them later are covered too.
        items: names or ids (32 hex digits) of single tasks.
    """

    batches: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def __init__(self, batches: list[str] | tuple[str, ...] = (), items: list[str] | tuple[str, ...] = ()) -> None:
        object.__setattr__(self, "batches", tuple(batches))
        object.__setattr__(self, "items", tuple(items))


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """What a grant says besides whom and what.

    Attributes:
        waive_presence: at a desk, accept requests without a co-signature of the contractor's own device.
    """

    limits: Limits
    not_before: datetime
    expires_at: datetime
    waive_presence: bool


def resolve_scope(database: Database, project: ProjectId, scope: Scope) -> messages.Scope:
    """Turn names into ids.

    Raises:
        GrantScopeError: a name that is none of a batch of tasks or of a task here. Gold can't be granted.
    """
    batches = [task_batch_id(database, project, name) for name in scope.batches]
    items = [task_id(database, project, name) for name in scope.items]
    try:
        return messages.Scope(tuple(sorted(set(batches))), tuple(sorted(set(items))))
    except FormatError as error:
        raise GrantScopeError(str(error)) from error


def task_batch_id(database: Database, project: ProjectId, name: str) -> bytes:
    """Return the id of a batch of tasks.

    Raises:
        GrantScopeError: there is none of this name; gold is none.
    """
    row = database.row("SELECT batch FROM batches WHERE project = ? AND name = ? AND gold = 0", project, name)
    if row is None:
        raise GrantScopeError(
            f"there is no batch of tasks named {name!r}",
            next_step="See the batches: labelvault client ls PROJECT --kind task; gold is never granted.",
        )
    return bytes(row[0])


def task_id(database: Database, project: ProjectId, name: str) -> bytes:
    """Return the id of the one task of a project that has a name, or this id in hex.

    Raises:
        GrantScopeError: none, or several.
    """
    rows = database.rows(
        "SELECT item FROM items WHERE project = ? AND kind = 'task' AND version IS NOT NULL AND name = ?",
        project,
        name,
    )
    if len(rows) > 1:
        raise GrantScopeError(
            f"{len(rows)} tasks are named {name!r}",
            next_step="Name the one by its id: labelvault client ls PROJECT --kind task --name NAME.",
        )
    if rows:
        return bytes(rows[0][0])
    try:
        facts = task_facts(database, bytes.fromhex(name))
    except ValueError:
        facts = None
    if facts is None or facts.project != project:
        raise GrantScopeError(
            f"there is no task {name!r}",
            next_step="See the tasks: labelvault client ls PROJECT --kind task; nothing else can be granted.",
        )
    return facts.item


def make_grant(
    terms: GrantTerms,
    contractor: ContractorRecord,
    scope: messages.Scope,
    *,
    client: bytes,
    project: bytes,
    issuer: bytes,
    submission_key: bytes,
    identity: Signer,
    now: datetime,
    grant_id: bytes | None = None,
) -> Signed[messages.Grant]:
    """Sign a grant.

    Args:
        terms: limits and times.
        contractor: whom it is for.
        scope: what it covers, by ids.
        client: 32 bytes.
        project: 16 bytes.
        issuer: the certified issuer's key.
        submission_key: the project's, that answers are sealed to.
        identity: signs.
        now: the client's time.
        grant_id: 16 bytes; random by default.

    Raises:
        GrantRevokedError: the contractor was revoked.
        GrantError: a desk without a presence device, and presence is not waived; or waived for a helper.
        FormatError: a limit, or a time, is out of its bounds.
    """
    if contractor.revoked:
        raise GrantRevokedError(
            f"{contractor.name} was revoked, for good",
            next_step="Enrol a card with a new key: labelvault client enroll CARD --name NAME.",
        )
    if terms.expires_at <= now:
        raise GrantError(
            "the grant would have expired already",
            next_step="Give an end that lies ahead: --expires 7d, or a time with its zone.",
        )
    if terms.not_before >= terms.expires_at:
        raise GrantError(
            "the grant would end before it begins", next_step="Give --expires a later time than --not-before."
        )
    presence = presence_of(contractor, waived=terms.waive_presence)
    grant = messages.Grant(
        client=client,
        project=project,
        grant_id=grant_id or random_bytes(ID_BYTES),
        issuer=issuer,
        contractor=contractor.key,
        scope=scope,
        limits=terms.limits,
        not_before=terms.not_before,
        expires_at=terms.expires_at,
        tier=contractor.tier,
        presence=presence,
        presence_key=contractor.presence_key if presence == "key" else None,
        submission_key=submission_key,
        at=now,
    )
    return sign_message(grant, identity)


def presence_of(contractor: ContractorRecord, *, waived: bool) -> str:
    """Return what a grant to a contractor says of presence: `device`, `key` or `waived`.

    Raises:
        GrantError: a desk without a presence device, and presence is not waived; or waived for a helper.
    """
    if contractor.tier == "helper":
        if waived:
            raise GrantError(
                "a helper is the contractor's own device: there is no presence to waive",
                next_step="Leave --waive-presence out.",
            )
        return "device"
    if waived:
        return "waived"
    if contractor.presence_key is None:
        raise GrantError(
            f"the desk {contractor.name} has no presence device; enrol one, or waive presence and accept the weaker"
            " statement",
            next_step="Enrol a card that names a presence device, or add --waive-presence.",
        )
    return "key"


def add_grant(
    client: "Client",
    project: bytes,
    contractor: ContractorRecord,
    scope: messages.Scope,
    terms: GrantTerms,
    *,
    now: datetime,
    grant_id: bytes | None = None,
) -> bytes:
    """Sign a grant and keep it, in one transaction with its ledger entry; return its id.

    Args:
        client: whose.
        project: 16 bytes.
        contractor: whom it is for, as just read.
        scope: by ids.
        terms: limits and times.
        now: the client's time.
        grant_id: 16 bytes; random by default.

    Raises:
        ShreddedError, GrantError, KeystoreError: as `Project.grant`.
    """
    current_kek(client.database, project)
    query = "SELECT submission_public FROM projects WHERE project = ?"
    signed = make_grant(
        terms,
        contractor,
        scope,
        client=client.client_id,
        project=project,
        issuer=client.certificate.message.issuer,
        submission_key=bytes(client.database.scalar(query, project)),
        identity=client.identity(),
        now=now,
        grant_id=grant_id,
    )
    grant = signed.message
    entry = Granted(
        at=now,
        grant_hash=signed.hash,
        grant_id=grant.grant_id,
        contractor=grant.contractor,
        project=project,
        tier=grant.tier,
        presence=grant.presence,
        expires_at=grant.expires_at,
    )
    with client.database.transaction():
        client.database.execute(
            "INSERT INTO grants VALUES (?, ?, ?, ?, ?, NULL)",
            signed.hash,
            grant.grant_id,
            project,
            grant.contractor,
            signed.data,
        )
        client.record([entry])
    return grant.grant_id
