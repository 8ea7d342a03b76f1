"""Catalogs of any size, written without sealing: for what looks at nothing but their rows."""

from collections.abc import Sequence
from typing import Final

from labelvault.client import Client
from labelvault.crypto.random import random_bytes
from labelvault.envelope.metadata import Metadata
from labelvault.keys.kek import Kek
from labelvault.wire.schema import encode_record

_PAGE: Final = 20_000
Row = tuple[bytes, bytes, bytes]
"""Item id, digest, wrap."""


def fill(lab: Client, project: bytes, kek: Kek, rows: Sequence[Row], batch: bytes | None = None) -> None:
    """Write tasks into a project's catalog, of one batch or none."""
    metadata = encode_record(Metadata("task", "t", "application/json", 4000, (), ()))
    for start in range(0, len(rows), _PAGE):
        page = rows[start : start + _PAGE]
        with lab.database.transaction():
            lab.database.execute_many(
                "INSERT INTO items VALUES (?1, ?2, 'task', ?3, ?3, ?4, 1)",
                [(item, project, item.hex(), batch) for item, _, _ in page],
            )
            lab.database.execute_many(
                "INSERT INTO versions VALUES (?, 1, ?, 4168, ?, ?, ?, x'', ?, 0)",
                [(item, digest, wrap, kek.kek_id, kek.generation, metadata) for item, digest, wrap in page],
            )


def new_batch(lab: Client, project: bytes, name: str) -> bytes:
    """Make a batch without tasks."""
    batch = random_bytes(16)
    with lab.database.transaction():
        lab.database.execute("INSERT INTO batches VALUES (?, ?, ?, 0, NULL)", batch, project, name)
    return batch
