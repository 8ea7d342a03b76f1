"""Saying where the ledger's copy is kept, and that it is kept no more."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from labelvault.client.backup_records import LedgerCopy
from labelvault.database import Database
from labelvault.errors import ReplicaError
from labelvault.issuer.log import Log
from labelvault.issuer.replica import Replica, bring_up, end_copy, lag, replica_of, set_replica
from labelvault.ledger.kept import POLICIES

if TYPE_CHECKING:
    from labelvault.client.opened import OpenedClient


def replicate(client: "OpenedClient", folder: Path, *, best_effort: bool) -> None:
    """Keep a copy in a directory from now on; see `Client.replicate_ledger`."""
    closed, behind = (Replica(folder.absolute(), policy) for policy in POLICIES)
    replica = behind if best_effort else closed
    if not replica.folder.is_dir():
        raise ReplicaError(f"{folder} is no directory", next_step="Make it, or mount what belongs there.")
    before = replica_of(client.database)
    # Killed anywhere, no copy says that it is kept closed unless every process keeps it so.
    _bring_up(client, behind)
    if before is not None and before.folder != replica.folder:
        end_copy(before.file(client.certificate.message.epoch), "ended")
    with client.database.transaction():
        set_replica(client.database, replica)
    if not best_effort:
        _bring_up(client, closed)


def _bring_up(client: "OpenedClient", replica: Replica) -> None:
    # Older ledgers too, which grow no more: a later restore may begin from a backup that lacks some.
    for ledger in client.ledgers():
        bring_up(replica, ledger.log, ledger.log.newest_checkpoint(), create=True)


def stop(client: "OpenedClient", *, force: bool) -> None:
    """Keep no copy any more; see `Client.stop_replicating`."""
    replica = replica_of(client.database)
    if replica is None:
        return
    with suppress(*((ReplicaError,) if force else ())):
        end_copy(replica.file(client.certificate.message.epoch), "ended")
    with client.database.transaction():
        set_replica(client.database, None)


def ledger_copy(database: Database, log: Log) -> LedgerCopy | None:
    """Return where a copy is kept, and how far it is behind; see `Client.ledger_copy`."""
    replica = replica_of(database)
    if replica is None:
        return None
    try:
        return LedgerCopy(replica.folder, replica.policy, lag(replica, log), None)
    except ReplicaError as error:
        return LedgerCopy(replica.folder, replica.policy, None, str(error))
