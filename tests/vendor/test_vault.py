"""The platform's view of the vault."""

import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from labelvault.crypto.sign import SigningKey
from labelvault.envelope.metadata import Label, Metadata
from labelvault.envelope.seal import seal_item
from labelvault.errors import ConflictError, FormatError, NotFoundError, StoreError
from labelvault.relay import StoredItem, open_relay
from labelvault.vendor import Vault
from labelvault.vendor import vault as vault_module
from labelvault.wire.ids import ClientId, issuer_mailbox
from labelvault.wire.items import ItemHeader
from tests.stores.samples import (
    BOX,
    CLIENT,
    DAY,
    NOW,
    OTHER_CLIENT,
    PROJECT,
    QUEUE,
    item,
    item_id,
    key_of,
    receipt,
    task,
    tasks,
)

ISSUER_BOX = issuer_mailbox(ClientId(CLIENT))
ROOT = Path(__file__).resolve().parent.parent.parent


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/lv/vault.db"


@pytest.fixture
def vault(url, clock):
    with Vault.open(url, clock) as opened:
        yield opened


def test_a_day_at_the_platform(vault, url):
    """Items come in by the relay; the platform claims, sees receipts, finishes, pays and cleans up."""
    ada = SigningKey.generate()
    client = open_relay(url)
    client.put_items([*tasks(3), item(9)])
    (queue,) = vault.queues()
    assert (queue.id, queue.client, queue.project, queue.waiting) == (QUEUE, CLIENT, PROJECT, 3)
    claim = vault.claim(queue, "ada", ttl_s=900)
    assert claim is not None
    assert claim.expires_at == NOW + timedelta(seconds=900)
    number = next(number for number in range(3) if item_id(number) == claim.item)
    client.post(ISSUER_BOX, receipt(ada, number, event="submitted"))
    (entry,) = vault.receipts()
    assert (entry.contractor, entry.item, entry.event) == (ada.public_key, claim.item, "submitted")
    assert list(vault.receipts(after=entry.number)) == []
    vault.finish(claim)
    (queue,) = vault.queues()
    assert (queue.waiting, queue.claimed, queue.done) == (2, 0, 1)
    ((waiting, _),) = client.fetch(ISSUER_BOX)
    client.ack(ISSUER_BOX, waiting)
    assert vault.purge().messages == 1
    assert vault.status().receipts == 1
    assert vault.check() == []
    client.close()


def test_ids_may_be_bytes_or_hex(vault):
    """As queue, claim, client and project; what is neither is refused."""
    vault.relay().put_items([*tasks(2), item(5, client=OTHER_CLIENT)])
    first = vault.claim(QUEUE.hex(), "ada", ttl_s=60)
    second = vault.claim(QUEUE, "ada", ttl_s=60)
    vault.finish(first.id.hex())
    vault.finish(first.id)
    vault.release_claim(second.id.hex())
    vault.release_claim(second.id)
    assert len(vault.items(client=CLIENT.hex(), project=PROJECT.hex())) == 2
    assert vault.items(client=CLIENT, project=PROJECT) == vault.items(client=CLIENT.hex())
    for bad in ("", "xyz", QUEUE.hex()[:-1], QUEUE.hex() + "00", b"short"):
        for call in (
            lambda bad=bad: vault.claim(bad, "ada", ttl_s=60),
            lambda bad=bad: vault.finish(bad),
            lambda bad=bad: vault.release_claim(bad),
            lambda bad=bad: vault.items(client=bad),
            lambda bad=bad: vault.items(project=bad),
        ):
            with pytest.raises(FormatError):
                call()


def test_G7_a_queue_from_the_list_is_unambiguous(vault):
    """With one queue id at two clients, the id alone is refused, and the Queue claims from its own client."""
    vault.relay().put_items([task(1), task(2, client=OTHER_CLIENT)])
    with pytest.raises(ConflictError):
        vault.claim(QUEUE, "ada", ttl_s=60)
    for queue in vault.queues():
        claim = vault.claim(queue, "ada", ttl_s=60)
        assert (claim.client, claim.project) == (queue.client, queue.project)
        assert vault.claim(queue, "ada", ttl_s=60) is None


def test_claims_end_by_the_vaults_clock(vault, clock):
    """The clock that was given decides about claims, counts and purge."""
    vault.relay().put_items([task(1)])
    claim = vault.claim(QUEUE, "ada", ttl_s=60)
    assert vault.claim(QUEUE, "bob", ttl_s=60) is None
    assert vault.status().live_claims == 1
    clock.now += timedelta(seconds=60)
    assert vault.status().live_claims == 0
    assert vault.queues()[0].waiting == 1
    assert vault.purge().claims == 1
    with pytest.raises(NotFoundError):
        vault.finish(claim)


def test_receipts_come_through_all_pages(vault, monkeypatch):
    """However many there are, each once, from the cursor on."""
    monkeypatch.setattr(vault_module, "_RECEIPT_PAGE", 2)
    ada = SigningKey.generate()
    relay = vault.relay()
    relay.put_items([task(1)])
    for lease in range(5):
        relay.post(BOX, receipt(ada, lease=bytes([lease]) * 32))
    entries = list(vault.receipts())
    assert [entry.lease_id[0] for entry in entries] == [0, 1, 2, 3, 4]
    assert list(vault.receipts(after=entries[2].number)) == entries[3:]


def test_items_are_paged(vault):
    """The last one of a page leads to the next."""
    vault.relay().put_items(tasks(5))
    first = vault.items(limit=3)
    second = vault.items(limit=3, after=first[-1])
    assert (len(first), len(second)) == (3, 2)
    assert first + second == vault.items()


def test_purge_keeps_days_on_request(vault, clock):
    """What was acked lately may stay."""
    relay = vault.relay()
    relay.post(BOX, b"m")
    relay.ack(BOX, relay.fetch(BOX)[0][0])
    clock.now += DAY
    assert vault.purge(keep_days=2).messages == 0
    assert vault.purge(keep_days=1).messages == 1


def test_C8_damage_is_named(vault, tmp_path):
    """By client, item and version."""
    sealed = task(1)
    vault.relay().put_items([sealed])
    vault.close()
    path = tmp_path / "lv" / "vault.db"
    data = bytearray(path.read_bytes())
    data[data.index(sealed.payload[-64:])] ^= 1
    path.write_bytes(data)
    with Vault.open(f"sqlite:///{path}") as again:
        (damage,) = again.check()
    assert (damage.client, damage.item, damage.version) == key_of(sealed)


def test_closing_ends_the_vault_and_its_relays(url, clock):
    """A relay of the vault may be closed before; after the vault, nothing works."""
    vault = Vault.open(url, clock)
    first, second = vault.relay(), vault.relay()
    first.close()
    second.post(BOX, b"m")
    with vault as same:
        assert same is vault
    for call in (vault.queues, vault.status, vault.check, lambda: second.fetch(BOX), lambda: list(vault.receipts())):
        with pytest.raises(StoreError):
            call()


def test_opening_creates_or_refuses(url, tmp_path):
    """A new vault is private; an unknown address or a foreign file is a StoreError."""
    Vault.open(url).close()
    assert (tmp_path / "lv" / "vault.db").stat().st_mode & 0o777 == 0o600
    (tmp_path / "notes").write_text("notes")
    for bad in ("https://vault.example", f"sqlite:///{tmp_path}/notes"):
        with pytest.raises(StoreError):
            Vault.open(bad)


def test_importing_the_vendor_loads_no_library_that_opens():
    """Neither the AEAD library nor the models of the edge; and what verifies, only when something is verified."""
    code = "import sys, labelvault.vendor; print(sorted({'cryptography', 'pydantic', 'nacl'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_G1_the_vaults_files_hold_nothing_readable(url, tmp_path, clock):
    """Names, labels, texts and true sizes of real sealed items are nowhere in file, log or shared memory."""
    source = random.Random(3)
    words = [b"rubric about refusals", b"gold answer: 42", b"customer transcript 17"]
    batch = []
    for number, text in enumerate(words * 3):
        header = ItemHeader(1, CLIENT, PROJECT, source.randbytes(16), 1)
        metadata = Metadata(
            name=f"tasks/name-{number}.md",
            kind="task",
            media_type="text/markdown",
            size=0,
            labels=(Label("label-in-clear", "value-in-clear"),),
            requires=(),
        )
        content = text * source.randint(1, 50)
        sealed, _ = seal_item(header, metadata, content, floor_bytes=4096)
        batch.append(StoredItem(sealed.header, sealed.payload, sealed.leaves, QUEUE))
    with Vault.open(url, clock) as vault:
        vault.relay().put_items(batch)
        stolen = b"".join(path.read_bytes() for path in sorted((tmp_path / "lv").iterdir()) if path.suffix == ".db-wal")
        assert len({info.size for info in vault.items()}) == 1
        assert stolen
    stolen += b"".join(path.read_bytes() for path in (tmp_path / "lv").iterdir())
    for needle in (*words, b"name-", b"markdown", b"label-in-clear", b"value-in-clear", os.fsencode("tasks/")):
        assert needle not in stolen
    assert CLIENT in stolen
