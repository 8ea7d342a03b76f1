"""How item versions come into the catalog: reserved first, then made current with their ledger entries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from labelvault.client.importing import SourceItem
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.keys.kek import Kek, wrap_context, wrap_dek
from labelvault.ledger.entries import Sealed
from labelvault.relay.protocol import Relay
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ItemHeader
from labelvault.wire.times import to_ms

Record = Callable[[list[Sealed]], None]
"""Appends entries to the ledger and signs a checkpoint, inside the open transaction."""


@dataclass(frozen=True, slots=True)
class SealTarget:
    """Where sealed items go.

    Attributes:
        client: 32 bytes.
        project: 16 bytes.
        floor_bytes: padding floor.
        kek: the project's.
        record: writes the ledger.
        now: the client's time.
    """

    database: Database
    relay: Relay
    client: bytes
    project: bytes
    floor_bytes: int
    kek: Kek
    record: Record
    now: datetime


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One item version on its way into the catalog.

    Attributes:
        batch: 16 bytes, or None.
        metadata: encoded.
        payload_bytes: size of the payload.
        source_hash: 32 bytes; this and the two below are empty while a stream is not sealed to its end.
        digest: 32 bytes.
        wrapped: the wrapped DEK.
    """

    source: SourceItem
    header: ItemHeader
    batch: bytes | None
    metadata: bytes
    payload_bytes: int
    source_hash: bytes = b""
    digest: bytes = b""
    wrapped: bytes = b""

    @property
    def queue(self) -> bytes | None:
        """The queue that the vendor sees it in: only tasks stand in one, and nothing tells what the rest is."""
        return self.batch if self.source.kind == "task" else None


def wrapped_dek(target: SealTarget, header: bytes, digest: bytes, dek: SecretBytes) -> bytes:
    """Return a DEK wrapped under the project's KEK, bound to the bytes that it sealed."""
    return wrap_dek(target.kek, dek, wrap_context(header, digest, target.kek.kek_id, target.kek.generation))


def batch_id(target: SealTarget, source: SourceItem) -> bytes | None:
    """Return the id of a source item's batch, which gets one if it is new."""
    if source.batch is None:
        return None
    gold = source.kind == "gold"
    with target.database.transaction():
        target.database.execute(
            "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, NULL)",
            random_bytes(ID_BYTES),
            target.project,
            source.batch,
            gold,
        )
    return bytes(
        target.database.scalar(
            "SELECT batch FROM batches WHERE project = ? AND name = ? AND gold = ?",
            target.project,
            source.batch,
            gold,
        )
    )


def reserve(database: Database, target: SealTarget, new: NewVersion) -> None:
    """Take a version number for good, inside a transaction; nothing names the version yet."""
    database.execute(
        "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?, NULL)",
        new.header.item,
        target.project,
        new.source.kind,
        new.source.source,
        new.source.name,
        new.batch,
    )
    database.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new.header.item,
        new.header.version,
        new.digest,
        new.payload_bytes,
        new.wrapped,
        target.kek.kek_id,
        target.kek.generation,
        new.source_hash,
        new.metadata,
        to_ms(target.now),
    )


def complete(database: Database, new: NewVersion) -> None:
    """Add to a reserved version what was known only after its stream was sealed, inside a transaction."""
    database.execute(
        "UPDATE versions SET digest = ?, wrapped = ?, source_hash = ? WHERE item = ? AND version = ?",
        new.digest,
        new.wrapped,
        new.source_hash,
        new.header.item,
        new.header.version,
    )


def make_current(target: SealTarget, versions: Sequence[NewVersion]) -> None:
    """Make stored versions the current ones, with their ledger entries, inside a transaction."""
    for new in versions:
        # Another run may have sealed a later version meanwhile: an older one never becomes current again.
        target.database.execute(
            "UPDATE items SET version = ?, name = ?, batch = ? WHERE item = ? AND coalesce(version, 0) < ?",
            new.header.version,
            new.source.name,
            new.batch,
            new.header.item,
            new.header.version,
        )
    target.record(
        [
            Sealed(
                at=target.now,
                project=target.project,
                item=new.header.item,
                version=new.header.version,
                digest=new.digest,
            )
            for new in versions
        ]
    )
