"""A small stolen world: a vault with sealed items and recorded messages, and the keys that should not be in it."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelvault.crypto import hpke
from labelvault.crypto.sign import SigningKey
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import SealedItem, seal_item
from labelvault.relay import StoredItem, open_relay
from labelvault.stores import open_store
from labelvault.wire.frame import sign_message
from labelvault.wire.ids import ClientId, client_id, contractor_mailbox, issuer_mailbox
from labelvault.wire.items import ItemHeader, parse_header
from labelvault.wire.messages import LEASE_INFO_LABEL, Lease, LeasedItem, LeaseOuter, LeaseSecrets, OpenRequest
from labelvault.wire.schema import encode_record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXTS = [
    f"Task {number}: weigh answer {number} against the rubric, and say in one line which half is wrong. " * 3
    for number in range(6)
]


@dataclass
class World:
    """What was made, and with which secrets."""

    vault: Path
    client: ClientId
    contractor: SigningKey
    issuer: SigningKey
    items: list[SealedItem] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    deks: list[bytes] = field(default_factory=list)
    seeds: list[bytes] = field(default_factory=list)
    leases: list[bytes] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.vault / "vault.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"


def build_world(folder: Path, texts=TEXTS, *, openings: int = 2) -> World:
    """Seal the texts into a vault and record as many openings, each of one task."""
    identity, contractor, issuer = (SigningKey.generate() for _ in range(3))
    world = World(folder / "vendor", client_id(identity.public_key), contractor, issuer)
    world.vault.mkdir(parents=True)
    open_store(world.url, create=True).close()
    relay = open_relay(world.url)
    project = os.urandom(16)
    for number, text in enumerate(texts):
        header = ItemHeader(1, world.client, project, os.urandom(16), 1)
        content = text if isinstance(text, bytes) else text.encode()
        metadata = Metadata("task", f"task-{number:04d}", "text/markdown", 0, (), ())
        sealed, dek = seal_item(header, metadata, content, floor_bytes=4096)
        world.items.append(sealed)
        world.names.append(metadata.name)
        world.deks.append(dek.reveal())
    relay.put_items([StoredItem(each.header, each.payload, each.leaves, None) for each in world.items])
    for number in range(openings):
        _record_opening(world, relay, project, number)
    relay.close()
    return world


def _record_opening(world, relay, project, number):
    one_time = hpke.OneTimeKey.generate()
    item = parse_header(world.items[number].header)
    request = sign_message(
        OpenRequest(
            client=world.client,
            project=project,
            epoch=bytes(16),
            grant_hash=os.urandom(32),
            item=item.item,
            one_time_key=one_time.public_key,
            at=NOW,
            expires_at=NOW + timedelta(minutes=5),
            replaces=None,
            approved_at=None,
        ),
        world.contractor,
    )
    outer = encode_record(
        LeaseOuter(
            client=world.client,
            project=project,
            lease_id=request.hash,
            item=item.item,
            certificate_hash=os.urandom(32),
            contractor=world.contractor.public_key,
            grant_hash=request.message.grant_hash,
            tier="helper",
            issued_at=NOW,
            expires_at=NOW + timedelta(hours=1),
            status_max_age_s=0,
        )
    )
    leased = LeasedItem(item.item, item.version, world.items[number].digest, world.deks[number])
    secrets = encode_record(LeaseSecrets(os.urandom(16), number, os.urandom(32), (leased,)))
    sealed = hpke.seal(one_time.public_key, secrets, LEASE_INFO_LABEL + outer)
    lease = sign_message(Lease(outer, sealed), world.issuer)
    mailbox = contractor_mailbox(world.client, world.contractor.public_key)
    relay.post(issuer_mailbox(world.client), request.data)
    relay.post(mailbox, lease.data)
    world.seeds.append(one_time.seed().reveal())
    world.leases.append(secrets)
