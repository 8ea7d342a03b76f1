"""Actors that hold the world's own keys, so that vectors can be put to them: a client's home and an issuer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from labelvault.client import Client, PassphraseRoot
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.database import Database
from labelvault.issuer.authorize import Authorized, LiveLease, TaskFacts, Usage, authorize
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.issuer.service import Issuer
from labelvault.keys.kek import Kek, KekFiles
from labelvault.keys.root import LocalRootKey
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Certified
from labelvault.relay import Relay
from labelvault.wire.frame import open_frame
from labelvault.wire.messages import OpenRequest
from labelvault.wire.schema import encode_record
from labelvault.wire.times import from_ms, to_ms
from tests.vectors import world
from tests.vectors.form import load
from tests.vectors.items_book import GUIDELINE_METADATA, KEK, KEK_ID, TASK_METADATA

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
IDENTITY = IssuerIdentity(world.CERTIFICATE, world.ISSUER, issuer_key_name(world.CLIENT))


@contextmanager
def client(folder: Path) -> Iterator[Client]:
    """A client of its own, to enrol cards at."""
    root = PassphraseRoot("test passphrase", parameters=CHEAP)
    with Client.create(folder / "client", root, world.VAULT, clock=lambda: world.NOW) as made:
        yield made


@contextmanager
def issuer(folder: Path, now: datetime, *, leased: bool) -> Iterator[tuple[Issuer, Database]]:
    """The world's issuer, over a `client.db` with its one task, guideline, helper, desk and grant.

    Args:
        folder: an empty one.
        now: what the clock says.
        leased: the helper's request was answered already.
    """
    database = Database(folder / "client.db", CLIENT_SCHEMA, create=True)
    keks = KekFiles(folder / "keks", LocalRootKey(SecretBytes(bytes(32))), world.CLIENT)
    keks.store(world.PROJECT, Kek(KEK_ID, 1, SecretBytes(KEK)))
    with database.transaction():
        _fill(database, leased=leased)
    made = Issuer(
        database, world.IDENTITY.public_key, world.CLIENT, IDENTITY, keks, lambda: cast(Relay, _NoRelay()), lambda: now
    )
    with made:
        yield made, database


class _NoRelay:
    """Messages are handed to the issuer in this process."""

    def close(self) -> None:
        """Nothing is held."""


def _fill(database: Database, *, leased: bool) -> None:
    log = Log(database, world.CLIENT, world.EPOCH)
    certificate, at = world.CERTIFICATE, to_ms(world.NOW)
    log.append(
        Certified(
            at=world.NOW, issuer=world.ISSUER.public_key, serial=2, certificate=certificate.hash, epoch=world.EPOCH
        )
    )
    log.sign(IDENTITY.name, IDENTITY.signer)
    for name, key in (("helper", world.HELPER), ("desk", world.DESK)):
        database.execute("INSERT INTO contractors VALUES (?, ?, ?, NULL)", key.public_key, name, b"card")
    database.execute(
        "INSERT INTO projects VALUES (?, 'eval', 256, ?, 1, 0, ?, ?, ?, NULL, NULL)",
        world.PROJECT,
        KEK_ID,
        b"",
        b"",
        at,
    )
    database.execute("INSERT INTO batches VALUES (?, ?, 'w14', 0, NULL)", world.BATCH, world.PROJECT)
    grant = world.GRANT
    database.execute(
        "INSERT INTO grants VALUES (?, ?, ?, ?, ?, NULL)",
        grant.hash,
        world.GRANT_ID,
        world.PROJECT,
        world.HELPER.public_key,
        grant.data,
    )
    for name, kind, batch, metadata in (
        ("payload_valid", "task", world.BATCH, TASK_METADATA),
        ("payload_valid-chunks", "guideline", None, GUIDELINE_METADATA),
    ):
        _item(database, name, kind, batch, encode_record(metadata))
    if leased:
        expires = to_ms(world.outer().expires_at)
        database.execute(
            "INSERT INTO leases VALUES (?, ?, 1, ?, 1, ?, ?, NULL)",
            world.REQUEST.hash,
            grant.hash,
            world.TASK,
            at,
            expires,
        )


def _item(database: Database, name: str, kind: str, batch: bytes | None, metadata: bytes) -> None:
    item = world.TASK if kind == "task" else world.GUIDELINE
    inputs, wraps = (
        load(name).inputs,
        {"task": load("wrap_valid").inputs["wrapped"], "guideline": load("wrap_of-another-item").inputs["wrapped"]},
    )
    database.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, 1)", item, world.PROJECT, kind, name, name, batch)
    database.execute(
        "INSERT INTO versions VALUES (?, 1, ?, ?, ?, ?, 1, ?, ?, ?)",
        item,
        bytes.fromhex(inputs["digest"]),
        len(inputs["payload"]) // 2,
        bytes.fromhex(wraps[kind]),
        KEK_ID,
        b"source",
        metadata,
        to_ms(world.NOW),
    )


def snapshot(database: Database) -> list[object]:
    """Everything that a database holds, save the clock's high-water mark."""
    tables = [row[0] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found: list[object] = []
    for table in tables:
        found.append([row for row in database.rows(f"SELECT * FROM {table}") if row[0] != "clock_ms"])  # noqa: S608
    return found


def usage(facts: dict[str, Any]) -> Usage:
    """The issuer's state as a vector tells it."""

    def ids(values: dict[str, Any]) -> dict[str, Any]:
        return {name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in values.items()}

    made, task, old = ids(facts), facts["task"], facts["replaces"]
    for name in ("accept_from", "certified_until"):
        made[name] = from_ms(facts[name])
    made["task"] = None if task is None else TaskFacts(**ids(task))
    made["replaces"] = None if old is None else LiveLease(**ids(old))
    return Usage(**made)


def authorized() -> Authorized:
    """The verdict on the helper's request."""
    request = open_frame(world.REQUEST.data, OpenRequest, world.HELPER.public_key)
    return authorize(request, world.GRANT, usage(load("authorize_valid").inputs["usage"]), world.NOW)
