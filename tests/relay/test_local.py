"""What every relay does, in this process and over HTTP; and opening one by its address."""

from contextlib import closing

import pytest

from labelvault.errors import ConflictError, FormatError, NotFoundError, RelayError, StoreError
from labelvault.relay import ItemPart, LocalRelay, Reply, StoredItem, open_relay
from labelvault.relay.local import utc_now
from labelvault.stores import open_store
from labelvault.stores.sqlite import SQLiteStore
from labelvault.stores.sqlite_files import parse_sqlite_url
from labelvault.vendor import Vault
from tests.http.serving import TOKEN, serving_vault
from tests.stores.samples import BOX, CLIENT, NOW, item, key_of, snapshot, task, tasks


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/vault.db"


@pytest.fixture
def store(url):
    opened = open_store(url, create=True)
    yield opened
    opened.close()


@pytest.fixture(params=["local", "http"])
def relay(request, store):
    if request.param == "local":
        yield LocalRelay(store, lambda: NOW, owns_store=False)
        return
    with serving_vault(Vault(store, lambda: NOW)) as address:
        opened = open_relay(address, token=TOKEN)
        yield opened
        opened.close()


def test_items_pass_through(relay, store):
    """What one actor puts, another reads, whole or in part; the vault's clock dates it."""
    sealed = item()
    assert relay.put_items([sealed]) == 1
    assert relay.put_items([sealed]) == 0
    assert relay.read_item(*key_of(sealed)) == ItemPart(sealed.header, 5000, sealed.payload)
    assert relay.read_item(*key_of(sealed), 10, 20).data == sealed.payload[10:30]
    assert relay.read_leaves(*key_of(sealed)) == sealed.leaves
    (info,) = store.list_items(client=None, project=None, after=None, limit=10)
    assert info.stored_at == NOW.replace(minute=0, second=0, microsecond=0)


def test_messages_pass_through(relay):
    """Post, fetch from a cursor, ack."""
    relay.post(BOX, b"one")
    relay.post(BOX, b"two")
    (first, one), (second, two) = relay.fetch(BOX)
    assert (one, two) == (b"one", b"two")
    assert relay.fetch(BOX, after=first) == [(second, b"two")]
    assert relay.fetch(BOX, limit=1) == [(first, b"one")]
    relay.ack(BOX, first)
    assert relay.fetch(BOX) == [(second, b"two")]


def test_replies_pass_through(relay):
    """Answers go out, and what they answer is not delivered any more; again changes nothing."""
    relay.post(BOX, b"one")
    relay.post(BOX, b"two")
    (first, _), second = relay.fetch(BOX)
    other = b"o" * 32
    for _ in range(2):
        assert relay.reply(BOX, [Reply(first, other, b"answer"), Reply(None, other, b"news")]) == []
    assert relay.fetch(BOX) == [second]
    assert [text for _, text in relay.fetch(other)] == [b"answer", b"news"]
    assert relay.reply(BOX, [Reply(second[0])]) == []
    assert relay.fetch(BOX) == []


def test_refusals_keep_their_kind(relay, store):
    """A conflict stays a conflict, and what is missing is not found; nothing changes."""
    relay.put_items([item()])
    before = snapshot(store)
    with pytest.raises(ConflictError):
        relay.put_items([item(2), item(seed="other")])
    for call in (relay.read_item, relay.read_leaves):
        with pytest.raises(NotFoundError):
            call(*key_of(item(2)))
    assert snapshot(store) == before


def test_every_range_is_the_slice(relay):
    """Any offset and length within the payload gives what a slice does, over pieces and at both ends."""
    sealed = item(size=2 * 1024 * 1024 + 17)
    relay.put_items([sealed])
    size = len(sealed.payload)
    offsets = (0, 1, 1024 * 1024 - 1, 1024 * 1024, size - 1, size)
    for offset in offsets:
        for length in (0, 1, 5, 1024 * 1024 + 1, size, 2**62, None):
            part = relay.read_item(*key_of(sealed), offset, length)
            end = size if length is None else offset + length
            assert part == ItemPart(sealed.header, size, sealed.payload[offset:end])


@pytest.mark.parametrize(
    "call",
    [
        lambda relay: relay.read_item(*key_of(item()), 5001),
        lambda relay: relay.read_item(*key_of(item()), 5001, 1),
        lambda relay: relay.read_item(*key_of(item()), 5001, 0),
        lambda relay: relay.read_item(*key_of(item()), -1),
        lambda relay: relay.read_item(*key_of(item()), 0, -1),
        lambda relay: relay.read_item(CLIENT[1:], b"i" * 16, 1),
        lambda relay: relay.read_item(CLIENT, b"i" * 16, 0),
        lambda relay: relay.read_leaves(CLIENT, b"i" * 15, 1),
        lambda relay: relay.post(BOX[1:], b"message"),
        lambda relay: relay.post(BOX, b""),
        lambda relay: relay.post(BOX, b"m" * (64 * 1024 + 1)),
        lambda relay: relay.fetch(BOX, limit=0),
        lambda relay: relay.fetch(BOX, limit=1001),
        lambda relay: relay.fetch(BOX, after=-1),
        lambda relay: relay.fetch(BOX + b"b"),
        lambda relay: relay.ack(BOX, -1),
        lambda relay: relay.ack(b"", 1),
        lambda relay: relay.reply(BOX, [Reply(-1)]),
        lambda relay: relay.reply(BOX, [Reply(None, BOX[1:], b"message")]),
        lambda relay: relay.put_items([item(number) for number in range(1)] * 10_001),
    ],
)
def test_arguments_out_of_bounds_change_nothing(relay, store, call):
    """FormatError, as the protocol says, whichever way leads to the vault."""
    relay.put_items([item()])
    relay.post(BOX, b"one")
    before = snapshot(store)
    with pytest.raises(FormatError):
        call(relay)
    assert snapshot(store) == before


@pytest.mark.parametrize("fault", ["header", "leaves", "queue", "payload"])
def test_malformed_items_are_refused_whole(relay, store, fault):
    """One faulty item among good ones: none is stored."""
    good = item(7)
    broken = {
        "header": StoredItem(b"\x80", good.payload, good.leaves, None),
        "leaves": StoredItem(good.header, good.payload, (b"l" * 32,), None),
        "queue": StoredItem(good.header, good.payload, good.leaves, b"q" * 15),
        "payload": StoredItem(good.header, b"", (), None),
    }[fault]
    before = snapshot(store)
    with pytest.raises(FormatError):
        relay.put_items([item(1), broken, item(2)])
    assert snapshot(store) == before


def test_large_batches_and_pages(relay, store):
    """A thousand items in one batch, a thousand messages in one page, and the largest messages."""
    assert relay.put_items(tasks(1000, size=40)) == 1000
    assert relay.put_items([*tasks(1000, size=40), task(2000)]) == 1
    assert relay.put_items([]) == 0
    for number in range(120):
        relay.post(BOX, number.to_bytes(2, "big") * (32 * 1024 if number < 90 else 1))
    found = relay.fetch(BOX, limit=1000)
    assert [text[:2] for _, text in found] == [number.to_bytes(2, "big") for number in range(120)]
    assert relay.fetch(BOX, limit=85) == found[:85]
    assert store.fetch(BOX, after=0, limit=1000, now=NOW) == found


def test_the_same_message_waits_once(relay):
    """Posting again is a no-op until it is acked; acking again changes nothing."""
    for _ in range(2):
        relay.post(BOX, b"one")
    ((number, _),) = relay.fetch(BOX)
    for _ in range(2):
        relay.ack(BOX, number)
    assert relay.fetch(BOX) == []
    relay.ack(b"c" * 32, number)
    relay.post(BOX, b"one")
    assert len(relay.fetch(BOX)) == 1


def test_a_full_mailbox_is_a_store_error(url):
    """Whichever way a message comes, the mailbox's bound holds."""
    with closing(SQLiteStore(parse_sqlite_url(url), create=True, max_pending=2)) as store:
        vault = Vault(store, lambda: NOW)
        with serving_vault(vault) as address, closing(open_relay(address, token=TOKEN)) as far:
            for relay in (vault.relay(), far):
                for text in (b"one", b"two"):
                    relay.post(BOX, text)
                with pytest.raises(StoreError) as raised:
                    relay.post(BOX, b"three")
                assert type(raised.value) is StoreError
                ((one, _), two) = relay.fetch(BOX)
                assert relay.reply(BOX, [Reply(one, BOX, b"three"), Reply(None, b"o" * 32, b"four")]) == [0]
                assert len(relay.fetch(BOX)) == len(relay.fetch(b"o" * 32)) + 1 == 2
        assert len(store.fetch(BOX, after=0, limit=10, now=NOW)) == 2


def test_a_relay_opens_by_its_address(url, store):
    """Two relays over one address see the same vault."""
    one, other = open_relay(url), open_relay(url)
    one.post(BOX, b"hello")
    assert [text for _, text in other.fetch(BOX)] == [b"hello"]
    one.close()
    other.close()


@pytest.mark.parametrize("address", ["", "vault.db", "sqlite:///", "sqlite:///no/such/vault.db"])
def test_an_address_without_a_vault_is_refused_and_none_is_made(address, tmp_path, monkeypatch):
    """An address from elsewhere creates no file here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RelayError):
        open_relay(address)
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_something_else_changes_nothing(tmp_path):
    """A file that is no vault, empty ones included, stays as it is."""
    for content in (b"", b"notes" * 1000):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(RelayError):
            open_relay(f"sqlite:///{tmp_path}/file")
        assert (tmp_path / "file").read_bytes() == content


def test_a_closed_relay_does_nothing(store, url):
    """It closes the store exactly if it owns it, and may be closed twice."""
    borrowed, owning = LocalRelay(store, owns_store=False), open_relay(url)
    for relay in (borrowed, owning):
        relay.close()
        relay.close()
        with pytest.raises(StoreError):
            relay.fetch(BOX)
    assert store.fetch(BOX, after=0, limit=1, now=NOW) == []
    LocalRelay(store).close()
    with pytest.raises(StoreError):
        store.fetch(BOX, after=0, limit=1, now=NOW)


def test_the_default_clock_is_aware_utc():
    """Facades take it unless they are given another."""
    assert utc_now().utcoffset() is not None
    assert utc_now().tzname() == "UTC"
