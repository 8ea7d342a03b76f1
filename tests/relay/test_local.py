"""The relay in this process, and opening one by its address."""

import pytest

from labelvault.errors import ConflictError, NotFoundError, RelayError, StoreError
from labelvault.relay import ItemPart, LocalRelay, Relay, open_relay
from labelvault.relay.local import utc_now
from labelvault.stores import open_store
from tests.stores.samples import BOX, NOW, item, key_of


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/vault.db"


@pytest.fixture
def store(url):
    opened = open_store(url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def relay(store) -> Relay:
    return LocalRelay(store, lambda: NOW, owns_store=False)


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


def test_refusals_keep_their_kind(relay):
    """A conflict stays a conflict, and what is missing is not found."""
    relay.put_items([item()])
    with pytest.raises(ConflictError):
        relay.put_items([item(seed="other")])
    with pytest.raises(NotFoundError):
        relay.read_item(*key_of(item(2)))


def test_a_relay_opens_by_its_address(url, store):
    """Two relays over one address see the same vault."""
    one, other = open_relay(url), open_relay(url)
    one.post(BOX, b"hello")
    assert [text for _, text in other.fetch(BOX)] == [b"hello"]
    one.close()
    other.close()


@pytest.mark.parametrize(
    "address", ["", "vault.db", "https://vault.example", "sqlite:///", "sqlite:///no/such/vault.db"]
)
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
    assert store.fetch(BOX, after=0, limit=1) == []
    LocalRelay(store).close()
    with pytest.raises(StoreError):
        store.fetch(BOX, after=0, limit=1)


def test_the_default_clock_is_aware_utc():
    """Facades take it unless they are given another."""
    assert utc_now().utcoffset() is not None
    assert utc_now().tzname() == "UTC"
