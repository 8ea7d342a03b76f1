"""How item versions come into the catalog: reserved first, then made current with their ledger entries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from labelvault.client.importing import SourceItem
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.errors import ShreddedError
from labelvault.keys.kek import Kek, KekFiles, wrap_context, wrap_dek
from labelvault.ledger.entries import Entry, Sealed
from labelvault.relay.beside import Beside
from labelvault.relay.protocol import Relay
from labelvault.wire.ids import ID_BYTES
from labelvault.wire.items import ItemHeader
from labelvault.wire.times import to_ms

Record = Callable[[Sequence[Entry]], None]
"""Appends entries to the ledger and signs a checkpoint, inside the open transaction."""


class ProjectKek:
    """A project's KEK, of the generation that is current when it is asked for: a rotation may change it at any time."""

    def __init__(self, database: Database, keks: KekFiles, project: bytes) -> None:
        """Take where to look; the key is loaded when it is first needed.

        Args:
            database: open `client.db`.
            keks: the client's wrapped KEKs.
            project: 16 bytes.
        """
        self._database = database
        self._keks = keks
        self._project = project
        self._kek: Kek | None = None

    def current(self) -> Kek:
        """Return the KEK; inside a transaction it stays current until that ends.

        Raises:
            ShreddedError: the project has none any more.
            KeystoreError: it can't be used.
        """
        kek_id, generation = current_kek(self._database, self._project)
        if self._kek is None or (self._kek.kek_id, self._kek.generation) != (kek_id, generation):
            self._kek = self._keks.load(self._project, kek_id, generation)
        return self._kek


def current_kek(database: Database, project: bytes) -> tuple[bytes, int]:
    """Return id and generation of a project's current KEK.

    Raises:
        ShreddedError: the project has none any more.
    """
    kek_id, generation, name, shredded_ms = database.rows(
        "SELECT kek_id, kek_generation, name, shredded_ms FROM projects WHERE project = ?", project
    )[0]
    if shredded_ms is not None:
        raise ShreddedError(f"project {name!r} was shredded")
    return bytes(kek_id), int(generation)


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
        beside: starts a process that stores at the same vault; None where `relay` is to store all.
        read_back: a version becomes current only once the vault has given back all bytes of it.
    """

    database: Database
    relay: Relay
    client: bytes
    project: bytes
    floor_bytes: int
    kek: ProjectKek
    record: Record
    now: datetime
    beside: Callable[[], Beside] | None = None
    read_back: bool = False


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One item version on its way into the catalog.

    Attributes:
        batch: 16 bytes, or None.
        metadata: encoded.
        payload_bytes: size of the payload.
        source_hash: 32 bytes; this and the two below are empty while a stream is not sealed to its end.
        digest: 32 bytes.
        dek: wrapped in the transaction that writes it, so always under the generation that is current then.
    """

    source: SourceItem
    header: ItemHeader
    batch: bytes | None
    metadata: bytes
    payload_bytes: int
    source_hash: bytes = b""
    digest: bytes = b""
    dek: SecretBytes | None = field(default=None, repr=False)

    @property
    def queue(self) -> bytes | None:
        """The queue that the vendor sees it in: only tasks stand in one, and nothing tells what the rest is."""
        return self.batch if self.source.kind == "task" else None


def _wrapped(kek: Kek, new: NewVersion) -> tuple[bytes, bytes, int]:
    """Return a version's DEK under the current KEK, bound to the bytes that it sealed; and which KEK that is."""
    if new.dek is None:
        return b"", kek.kek_id, kek.generation
    context = wrap_context(new.header.encode(), new.digest, kek.kek_id, kek.generation)
    return wrap_dek(kek, new.dek, context), kek.kek_id, kek.generation


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


def reserve(target: SealTarget, versions: Sequence[NewVersion]) -> None:
    """Take version numbers for good, inside a transaction; nothing names the versions yet."""
    kek, now_ms = target.kek.current(), to_ms(target.now)
    target.database.execute_many(
        "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?, NULL)",
        [
            (new.header.item, target.project, new.source.kind, new.source.source, new.source.name, new.batch)
            for new in versions
        ],
    )
    target.database.execute_many(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                new.header.item,
                new.header.version,
                new.digest,
                new.payload_bytes,
                *_wrapped(kek, new),
                new.source_hash,
                new.metadata,
                now_ms,
            )
            for new in versions
        ],
    )


def complete(database: Database, target: SealTarget, new: NewVersion) -> None:
    """Add to a reserved version what was known only after its stream was sealed, inside a transaction."""
    database.execute(
        "UPDATE versions SET digest = ?, wrapped = ?, kek_id = ?, kek_generation = ?, source_hash = ?"
        " WHERE item = ? AND version = ?",
        new.digest,
        *_wrapped(target.kek.current(), new),
        new.source_hash,
        new.header.item,
        new.header.version,
    )


def make_current(target: SealTarget, versions: Sequence[NewVersion]) -> None:
    """Make stored versions the current ones, with their ledger entries, inside a transaction.

    Raises:
        ShreddedError: the project was shredded meanwhile.
    """
    current_kek(target.database, target.project)
    # Another run may have sealed a later version meanwhile: an older one never becomes current again.
    target.database.execute_many(
        "UPDATE items SET version = ?1, name = ?2, batch = ?3 WHERE item = ?4 AND coalesce(version, 0) < ?1",
        [(new.header.version, new.source.name, new.batch, new.header.item) for new in versions],
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
