"""Names for a shell's completion: out of the catalog, without a passphrase, and without any key."""

from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from labelvault.database import Database
from labelvault.issuer.schema import CLIENT_SCHEMA

Wanted = Literal["projects", "contractors", "batches", "grants"]
_MOST: Final = 500
_QUERIES: Final[dict[Wanted, str]] = {
    "projects": "SELECT name FROM projects ORDER BY name LIMIT ?",
    "contractors": "SELECT name FROM contractors WHERE revoked_ms IS NULL ORDER BY name LIMIT ?",
    "batches": "SELECT DISTINCT name FROM batches WHERE gold = 0 ORDER BY name LIMIT ?",
    "grants": "SELECT lower(hex(grant_id)) FROM grants WHERE revoked_ms IS NULL LIMIT ?",
}


def client_hints(home: Path, wanted: Wanted) -> list[str]:
    """Return what may stand at a place of a command line; at most 500.

    Args:
        home: the client's.
        wanted: what.

    Raises:
        StoreError: there is no catalog, or it can't be read.
    """
    with closing(Database(home / "client.db", CLIENT_SCHEMA)) as database:
        return [str(row[0]) for row in database.rows(_QUERIES[wanted], _MOST)]
