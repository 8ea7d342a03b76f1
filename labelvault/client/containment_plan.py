"""The plan of a containment: out of a verified statement, today's ledger and today's state. Reads, and writes nothing.

Nothing remembers which steps were done. Each is read off the state itself (frozen, revoked, a newer version, a grant
whose id follows from the old one's), so a run that was killed anywhere goes on, and a second one finds nothing to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from labelvault.client.containment_records import (
    ContainmentPlan,
    DropStep,
    FreezeStep,
    Orders,
    RekeyStep,
    RevokeStep,
)
from labelvault.client.containment_work import needed_items, reissues
from labelvault.client.exposure import ledger_views
from labelvault.client.records import ContractorRecord
from labelvault.client.rekeying import EXPOSED, own_statement
from labelvault.errors import FormatError, RelayError, SignatureError, StoreError
from labelvault.issuer.state import frozen_mark
from labelvault.ledger.statement import Statement
from labelvault.ledger.stating import gaps_of
from labelvault.ledger.verdicts import Verdicts, VersionVerdict
from labelvault.wire.ahead import Status
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import parse_frame
from labelvault.wire.ids import status_mailbox
from labelvault.wire.messages import Grant, Lease, LeaseOuter
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms, to_ms

if TYPE_CHECKING:
    from labelvault.client.client import Client


@dataclass(frozen=True, slots=True)
class Case:
    """A statement that is to be contained, verified, with what must be known about it now.

    Attributes:
        hash: of the statement's frame, 32 bytes.
        exposed: (item, version) of each project that the statement calls exposed, or today's ledger does.
        later: how many of them only today's ledger does.
        surface: enrolled contractors whose keys lay there.
        projects: id to name of those that the statement is about and whose keys are not destroyed.
    """

    statement: Statement
    hash: bytes
    exposed: dict[bytes, list[tuple[bytes, int]]]
    later: int
    surface: tuple[ContractorRecord, ...]
    projects: dict[bytes, str]
    now: datetime


def read_case(client: "Client", data: bytes) -> Case:
    """Verify a statement's file, and ask the ledger the same question again.

    What was released since to a key that lay there is in no statement of before. The keys stay the statement's: one
    that was enrolled since is a successor's.

    Raises:
        FormatError: not a statement's file.
        SignatureError, LedgerError: not this client's, or altered; or the ledger does not hold together.
        ClockError: this machine's clock runs behind.
    """
    signed, rows = own_statement(data, client.client_id)
    statement = signed.message
    views = ledger_views(client)
    # A restore since may have lost releases to anybody.
    gaps = {(gap.since, gap.until) for gap in (*statement.gaps, *gaps_of(views))}
    window = replace(statement.window(), gaps=tuple(sorted(gaps)))
    entries = (entry for view in views for entry in view.needed())
    before, today = _exposed(rows), _exposed(Verdicts(entries, window))
    exposed: dict[bytes, list[tuple[bytes, int]]] = {}
    # What the statement alone has, of a ledger that a restore has lost, stays stated.
    for project, item, version in dict.fromkeys([*before, *today]):
        exposed.setdefault(project, []).append((item, version))
    keys = frozenset(statement.contractors)
    found = client.database.rows("SELECT project, name FROM projects WHERE shredded_ms IS NULL ORDER BY name")
    return Case(
        statement=statement,
        hash=signed.hash,
        exposed=exposed,
        later=len(set(today) - set(before)),
        surface=tuple(each for each in client.contractors() if each.key in keys),
        projects={bytes(each): str(name) for each, name in found if statement.project in (None, bytes(each))},
        now=client.peek_now(),
    )


def _exposed(rows: Iterable[VersionVerdict]) -> list[tuple[bytes, bytes, int]]:
    return [(row.project, row.item, row.version) for row in rows if row.verdict in EXPOSED]


def make_plan(client: "Client", case: Case, orders: Orders) -> ContainmentPlan:
    """Return what is to be done and what is done; see `Client.plan_containment`."""
    rekey = {name: _rekey(client, case, project, name, orders) for project, name in case.projects.items()}
    reissue = reissues(client, case.surface, case.projects, case.statement.start, case.now, orders.allow)
    revoke = tuple(_revoke(client, each, case.now) for each in case.surface)
    granted = _granted(client, case.surface, case.now)
    # Nothing has to stay frozen for what is done.
    busy = {name for name, step in rekey.items() if step.plan.versions}
    busy |= _granted(client, [each for each in case.surface if not each.revoked], case.now)
    freeze = tuple(
        FreezeStep(name, project, frozen=frozen, done=frozen or name not in busy)
        for project, name in case.projects.items()
        if name in granted or case.exposed.get(project)
        for frozen in [client.project(name).frozen]
    )
    told = _told(client, case)
    drop = tuple(_drop(client, each, case.now, done=told is True) for each in case.surface)
    return ContainmentPlan(
        statement=case.statement,
        later=case.later,
        freeze=freeze,
        revoke=revoke,
        drop=tuple(each for each in drop if each is not None),
        told=told,
        rekey=tuple(each for each in rekey.values() if each.plan.versions or each.plan.done or each.spared),
        reissue=reissue,
        unfreeze=_unfreeze(client, case, freeze) if orders.unfreeze else (),
        elsewhere=tuple(sorted(granted - set(case.projects.values()))),
    )


def _rekey(client: "Client", case: Case, project: bytes, name: str, orders: Orders) -> RekeyStep:
    stated = case.exposed.get(project, [])
    current = dict(
        client.database.rows("SELECT item, version FROM items WHERE project = ? AND version IS NOT NULL", project)
    )
    wanted = [(item, version) for item, version in stated if item in current]
    spared: set[bytes] = set()
    if orders.only_needed:
        needed = needed_items(client.database, client.client_id, project)
        spared = {item for item, version in wanted if version >= current[item]} - needed
    plan = client.project(name).plan_rekey([each for each in wanted if each[0] not in spared])
    return RekeyStep(name, plan, len(spared), len({item for item, _ in stated} - set(current)))


def _revoke(client: "Client", contractor: ContractorRecord, now: datetime) -> RevokeStep:
    frames = client.database.rows(
        "SELECT frame FROM grants WHERE contractor = ? AND revoked_ms IS NULL", contractor.key
    )
    return RevokeStep(
        contractor=contractor.name,
        key=contractor.key,
        tier=contractor.tier,
        grants=sum(_grant(frame).expires_at > now for (frame,) in frames),
        done=contractor.revoked,
    )


def _grant(frame: bytes) -> Grant:
    # Of our own state; what is acted on is verified where it is.
    return decode_record(Grant, parse_frame(bytes(frame)).body)


def _granted(client: "Client", contractors: Iterable[ContractorRecord], now: datetime) -> set[str]:
    """Return names of the projects in which contractors have grants that were neither revoked nor have expired."""
    found = set()
    for contractor in contractors:
        rows = client.database.rows(
            "SELECT p.name, g.frame FROM grants g JOIN projects p ON p.project = g.project"
            " WHERE g.contractor = ? AND g.revoked_ms IS NULL AND p.revoked_ms IS NULL",
            contractor.key,
        )
        found |= {str(name) for name, frame in rows if _grant(frame).expires_at > now}
    return found


def _drop(client: "Client", contractor: ContractorRecord, now: datetime, *, done: bool) -> DropStep | None:
    rows = client.database.rows(
        "SELECT a.answer, l.expires_ms FROM leases l JOIN answers a ON a.request_hash = l.lease_id"
        " JOIN grants g ON g.hash = l.grant_hash"
        " WHERE g.contractor = ? AND l.slot_ended_ms IS NULL AND l.expires_ms > ? AND a.answer IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.lease_id = l.lease_id)",
        contractor.key,
        to_ms(now),
    )
    ends = [expires_ms for answer, expires_ms in rows if _is_ahead(bytes(answer))]
    return DropStep(contractor.name, len(ends), from_ms(max(ends)), done) if ends else None


def _is_ahead(frame: bytes) -> bool:
    # A lease that answers a request asks for no status.
    lease = decode_record(Lease, parse_frame(frame).body)
    return decode_record(LeaseOuter, lease.outer).status_max_age_s > 0


def _told(client: "Client", case: Case) -> bool | None:
    """Tell whether the vault has a status that revokes every grant that ended with an identity on the surface."""
    rows = [
        (bytes(grant_hash), _grant(frame))
        for each in case.surface
        for grant_hash, frame in client.database.rows("SELECT hash, frame FROM grants WHERE contractor = ?", each.key)
    ]
    wanted = {grant_hash for grant_hash, grant in rows if grant.expires_at > case.now}
    if not wanted:
        return True
    try:
        waiting = client.relay().fetch(status_mailbox(client.client_id))
    except (RelayError, StoreError):
        return None
    for _, message in waiting:
        try:
            signed, certificate = open_certified(message, Status, client.client_id)
        except (FormatError, SignatureError):
            # Whatever else the vault gives is no news of ours.
            continue
        if certificate.message.serial == client.certificate.message.serial and wanted <= set(signed.message.revoked):
            return True
    return False


def _unfreeze(client: "Client", case: Case, freeze: tuple[FreezeStep, ...]) -> tuple[str, ...]:
    """Return the projects that this containment froze, or is about to."""
    about_to = {each.project for each in freeze if not each.done}
    frozen = {
        name
        for project, name in case.projects.items()
        if client.project(name).frozen and client.database.meta(frozen_mark(project)) == case.hash
    }
    return tuple(sorted(about_to | frozen))
