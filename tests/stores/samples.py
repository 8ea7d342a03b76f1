"""Sealed-looking items, signed receipts and a view of all that a store holds, for the vendor's tests."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.sign import SigningKey
from labelvault.stores.base import Store
from labelvault.stores.values import StoredItem
from labelvault.wire.ahead import Status
from labelvault.wire.answers import Ack
from labelvault.wire.frame import sign_message
from labelvault.wire.ids import ClientId, client_id, contractor_mailbox, lease_mailbox, status_mailbox
from labelvault.wire.items import LEAF_BYTES, ItemHeader, parse_header
from labelvault.wire.messages import IssuerCertificate, Lease, LeaseOuter, Receipt
from labelvault.wire.schema import encode_record
from labelvault.wire.times import truncate

NOW = datetime(2026, 5, 4, 10, 20, 30, 123000, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
CLIENT = bytes(range(32))
OTHER_CLIENT = bytes(range(100, 132))
PROJECT = bytes(range(16))
QUEUE = bytes(range(200, 216))
BOX = b"b" * 32


def item(number=1, *, client=CLIENT, project=PROJECT, version=1, queue=None, size=5000, seed=None) -> StoredItem:
    """An item version with bytes of its own."""
    header = ItemHeader(1, client, project, item_id(number), version)
    source = random.Random(repr((number, client, version, size, seed)))
    return stored(header.encode(), source.randbytes(size), queue)


def item_id(number) -> bytes:
    """The id of the item of that number; not in the order of the numbers."""
    return random.Random(number).randbytes(16)


def stored(header, payload, queue=None) -> StoredItem:
    """What a client would hand over, leaves computed."""
    pieces = range(0, len(payload), LEAF_BYTES)
    return StoredItem(header, payload, tuple(leaf_hash(payload[at : at + LEAF_BYTES]) for at in pieces), queue)


def task(number=1, **options) -> StoredItem:
    """An item in a queue."""
    return item(number, **{"queue": QUEUE, **options})


def tasks(count, **options) -> list[StoredItem]:
    """Different tasks of one queue."""
    return [task(number, **options) for number in range(count)]


def pieces_of(each: StoredItem) -> list[bytes]:
    """Its payload as a stream gives it."""
    return [each.payload[at : at + LEAF_BYTES] for at in range(0, len(each.payload), LEAF_BYTES)]


def put_stream(store: Store, each: StoredItem, now=NOW) -> tuple[bytes, ...]:
    """Put an item version as a stream."""
    return store.put_stream(each.header, len(each.payload), iter(pieces_of(each)), each.queue, now)


def key_of(each: StoredItem) -> tuple[bytes, bytes, int]:
    """What an item version is read by."""
    header = parse_header(each.header)
    return header.client, header.item, header.version


def receipt(signer: SigningKey, number=1, *, client=CLIENT, event="closed", lease=b"l" * 32, at=NOW) -> bytes:
    """A contractor's receipt for an item."""
    erased = "process-exit" if event == "closed" else None
    return sign_message(Receipt(client, PROJECT, lease, item_id(number), event, erased, truncate(at)), signer).data


def lease_of(
    contractor: SigningKey, number=1, *, client=CLIENT, lease=b"l" * 32, grant=b"g" * 32, ends=DAY, sealed=b"sealed"
) -> bytes:
    """A lease that was issued ahead; who signed it, no store can say."""
    outer = LeaseOuter(
        client,
        PROJECT,
        lease,
        item_id(number),
        b"c" * 32,
        contractor.public_key,
        grant,
        "helper",
        truncate(NOW),
        truncate(NOW + ends),
        3600,
    )
    return sign_message(Lease(encode_record(outer), sealed), SigningKey.generate()).data


def leases_of(contractor: SigningKey, client=CLIENT) -> bytes:
    """The mailbox where a contractor's leases are held."""
    return lease_mailbox(ClientId(client), contractor.public_key)


class Lab:
    """A client whose issuer signs status messages and acks."""

    def __init__(self):
        self.identity, self.issuer = SigningKey.generate(), SigningKey.generate()
        self.id = client_id(self.identity.public_key)
        self.mailbox = status_mailbox(self.id)

    def certificate(self, serial=1, signer=None, **fields) -> bytes:
        """Of the issuer."""
        times = {"not_before": truncate(NOW - DAY), "expires_at": truncate(NOW + 90 * DAY), "at": truncate(NOW)}
        message = IssuerCertificate(
            **{
                "client": self.id,
                "issuer": self.issuer.public_key,
                "serial": serial,
                "epoch": b"e" * 16,
                **times,
                **fields,
            }
        )
        return sign_message(message, signer or self.identity).data

    def status(self, at=NOW, *, revoked=(), serial=1, signer=None, certificate=None, **fields) -> bytes:
        """What is revoked at a time."""
        at = truncate(at)
        message = Status(
            **{
                "client": self.id,
                "epoch": b"e" * 16,
                "certificate": certificate or self.certificate(serial),
                "checkpoint": "note",
                "revoked": tuple(revoked),
                "revoked_leases": (),
                "frozen": (),
                "at": at,
                "next_update": at + DAY,
                **fields,
            }
        )
        return sign_message(message, signer or self.issuer).data

    def ack(self, contractor: bytes, *, signer=None, **fields) -> bytes:
        """Of an answer to item 1."""
        accepted, certificate = (b"f" * 32, "accepted"), self.certificate()
        message = Ack(
            self.id, PROJECT, contractor, b"l" * 32, item_id(1), "answer", *accepted, certificate, truncate(NOW)
        )
        return sign_message(replace(message, **fields), signer or self.issuer).data

    def acks_to(self, contractor: bytes) -> bytes:
        """The mailbox where a contractor's acks go."""
        return contractor_mailbox(self.id, contractor)


def snapshot(store: Store, mailboxes=(BOX,), now=NOW):
    """All that a store gives out: equal before and after whatever must change nothing."""
    infos = store.list_items(client=None, project=None, after=None, limit=1000)
    return (
        [
            (info, store.read_item(*key), store.read_leaves(*key))
            for info in infos
            for key in [(info.client, info.item, info.version)]
        ],
        [store.fetch(mailbox, after=0, limit=1000, now=NOW) for mailbox in mailboxes],
        store.receipts(after=0, limit=1000),
        store.acks(after=0, limit=1000),
        store.queues(now),
        replace(store.status(now), stored_bytes=0),
    )
