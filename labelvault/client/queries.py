"""What the client's facade reads: contractors, grants, the ledger as a whole, and what it states."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from labelvault.client.records import ContractorRecord, GrantRecord, StatedItem
from labelvault.database import Database
from labelvault.envelope.metadata import Metadata
from labelvault.errors import GrantError
from labelvault.keys.cards import read_card
from labelvault.ledger.entries import Entry
from labelvault.ledger.exposure import open_items, vendor_host
from labelvault.wire.frame import open_frame
from labelvault.wire.messages import Grant
from labelvault.wire.schema import decode_record
from labelvault.wire.times import to_ms

_HOUR: Final = timedelta(hours=1)
SEE_GRANTS: Final = "See which there are: labelvault client grants."
"""What to do about a grant that is not there."""


def contractors(database: Database) -> list[ContractorRecord]:
    """List enrolled contractors by name; cards are verified anew."""
    found = []
    for name, card, revoked_ms in database.rows("SELECT name, card, revoked_ms FROM contractors ORDER BY name"):
        signed = read_card(bytes(card))
        message = signed.message
        found.append(
            ContractorRecord(
                str(name),
                signed.frame.signer,
                message.tier,
                message.host_label,
                message.presence_key,
                revoked_ms is not None,
            )
        )
    return found


def grants(
    database: Database, identity_key: bytes, issuer: bytes, project: str | None, now: datetime
) -> list[GrantRecord]:
    """List grants in the order of their making, with what was used of each; `issuer` is the key that acts on grants."""
    rows = database.rows(
        "SELECT g.frame, c.name, p.name, coalesce(g.revoked_ms, c.revoked_ms, p.revoked_ms),"
        " (SELECT count(*) FROM leases l WHERE l.grant_hash = g.hash),"
        " (SELECT count(*) FROM leases l WHERE l.grant_hash = g.hash AND l.issued_ms > ?),"
        " (SELECT count(*) FROM leases l WHERE l.grant_hash = g.hash AND l.slot_ended_ms IS NULL AND l.expires_ms > ?)"
        " FROM grants g JOIN contractors c ON c.key = g.contractor JOIN projects p ON p.project = g.project"
        " WHERE ? IS NULL OR p.name = ?",
        to_ms(now - _HOUR),
        to_ms(now),
        project,
        project,
    )
    found = []
    for frame, contractor, project_name, revoked_ms, total, last_hour, open_ in rows:
        grant = open_frame(bytes(frame), Grant, identity_key).message
        record = GrantRecord(
            grant.grant_id,
            str(contractor),
            str(project_name),
            grant.tier,
            grant.presence,
            grant.not_before,
            grant.expires_at,
            grant.limits,
            open_,
            total,
            revoked_ms is not None or grant.issuer != issuer,
            last_hour,
            _named(database, "SELECT name FROM batches WHERE batch = ?", grant.scope.batches),
            _named(database, "SELECT name FROM items WHERE item = ?", grant.scope.items),
        )
        found.append((grant.at, record))
    return [record for _, record in sorted(found, key=lambda pair: (pair[0], pair[1].grant_id))]


def _named(database: Database, query: str, ids: Sequence[bytes]) -> tuple[str, ...]:
    """Return names by ids, the id itself where the catalog has none."""
    found = (database.row(query, each) for each in ids)
    return tuple(sorted(each.hex() if row is None else str(row[0]) for each, row in zip(ids, found, strict=True)))


def find_grant(database: Database, start: str) -> bytes:
    """Return the id of the one grant whose id begins so; see `Client.find_grant`."""
    rows = database.rows(
        "SELECT grant_id FROM grants WHERE substr(hex(grant_id), 1, ?) = ? LIMIT 2", len(start), start.upper()
    )
    if len(rows) == 1:
        return bytes(rows[0][0])
    if rows:
        raise GrantError(f"several grants' ids begin with {start}", next_step="Write more digits of it.")
    raise GrantError(f"there is no grant whose id begins with {start}", next_step=SEE_GRANTS)


def stated(
    database: Database,
    entries: Sequence[Entry],
    contractor_keys: frozenset[bytes] | None,
    names: dict[bytes, str],
    start: datetime,
    end: datetime,
) -> list[StatedItem]:
    """Name what the ledger states as open at a surface; see `labelvault.ledger.exposure`."""
    keys = vendor_host(entries) if contractor_keys is None else contractor_keys
    found = []
    for exposure in open_items(entries, contractors=keys, start=start, end=end):
        encoded = database.scalar(
            "SELECT metadata FROM versions WHERE item = ? AND version = ?", exposure.item, exposure.version
        )
        metadata = decode_record(Metadata, bytes(encoded))
        found.append(
            StatedItem(
                metadata.name,
                metadata.kind,
                exposure.item,
                exposure.version,
                exposure.lease_id,
                names.get(exposure.contractor, exposure.contractor.hex()),
                exposure.tier,
                exposure.erasure,
            )
        )
    return found
