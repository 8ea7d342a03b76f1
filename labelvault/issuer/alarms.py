"""Alarms: somebody who is let in asked for what no queue shows, so that no platform and no grant could have named it.

Looked for after a request was denied, and put on record in the denial's own transaction. The answer is the common
`unknown`: whoever asked learns nothing of it, at least not from the answer (docs/spec.md, 6.2).
"""

from datetime import datetime
from typing import Final

from labelvault.database import Database
from labelvault.issuer.catalog import task_facts
from labelvault.issuer.log import Log
from labelvault.issuer.state import State, set_frozen
from labelvault.ledger.entries import Alarmed
from labelvault.wire.frame import Signed
from labelvault.wire.messages import OpenRequest

_STATUS_DUE: Final = "status_due"
"""Named value that outlives a crash between a freeze and the status that says so."""


class Alarms:
    """Tells which denied requests are alarming, and records those."""

    def __init__(self, database: Database, state: State, log: Log, *, freeze: bool) -> None:
        """Use an issuer's parts.

        Args:
            database: open `client.db`.
            state: what the issuer remembers.
            log: its ledger.
            freeze: stop a project's releases as soon as one of its decoys was asked for.
        """
        self._database = database
        self._state = state
        self._log = log
        self._freeze = freeze

    @property
    def unannounced(self) -> bool:
        """Whether a project was frozen, and no status at the vault says so yet."""
        return self._database.meta(_STATUS_DUE) is not None

    def announced(self) -> None:
        """Note that a status says it."""
        with self._database.transaction():
            self._database.execute("DELETE FROM meta WHERE key = ?", _STATUS_DUE)

    def look_at(self, request: Signed[OpenRequest], now: datetime) -> str | None:
        """Record an alarm if a request that was denied as `unknown` in the open transaction calls for one.

        Args:
            request: verified under an enrolled key.
            now: the issuer's time, which its denial was recorded with.

        Returns:
            What was asked for: `honey`, `not-a-task`, or None if there is no alarm.
        """
        message = request.message
        about = self._about(request)
        if about is None:
            return None
        self._log.append(
            Alarmed(
                at=now,
                request_hash=request.hash,
                contractor=request.frame.signer,
                project=message.project,
                item=message.item,
                about=about,
            )
        )
        # A decoy alone: people paste ids, and a guideline's is one that they can come by.
        if self._freeze and about == "honey":
            self._log.append(set_frozen(self._database, message.project, frozen=True, now=now))
            self._database.set_meta(_STATUS_DUE, b"\1")
        return about

    def _about(self, request: Signed[OpenRequest]) -> str | None:
        message = request.message
        grant = self._state.grant(message.grant_hash)
        # Under somebody else's grant, or none, a request says nothing of who has what; it was refused for that.
        if grant is None or not self._state.is_own(grant) or grant.message.contractor != request.frame.signer:
            return None
        if (grant.message.client, grant.message.project) != (message.client, message.project):
            return None
        if task_facts(self._database, message.item) is not None:
            return None
        row = self._database.row(
            "SELECT h.item IS NOT NULL FROM items i LEFT JOIN honey h ON h.item = i.item"
            " WHERE i.item = ? AND i.project = ? AND i.version IS NOT NULL",
            message.item,
            message.project,
        )
        if row is None:
            return None
        return "honey" if row[0] else "not-a-task"
