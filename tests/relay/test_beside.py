"""The process that stores at the vault while the next window is sealed."""

import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from labelvault.errors import ConflictError, FormatError, RelayError, StoreError
from labelvault.relay import open_relay
from labelvault.relay.beside import Beside, answer_of
from labelvault.stores.values import StoredItem
from labelvault.vendor import Vault
from labelvault.wire.items import LEAF_BYTES
from tests.http.serving import TOKEN, serving_vault
from tests.stores.samples import CLIENT, item, item_id, task, tasks


@pytest.fixture
def url(tmp_path):
    address = f"sqlite:///{tmp_path}/vault.db"
    Vault.open(address).close()
    return address


def stored(url, each: StoredItem, number: int) -> bool:
    """Say whether the vault has exactly this."""
    with closing(open_relay(url)) as relay:
        part = relay.read_item(CLIENT, item_id(number), 1)
        return (part.header, part.data) == (each.header, each.payload)


def test_batches_are_stored_as_they_are(url):
    """Queued or not, of one leaf or several, one batch after the other; the same again changes nothing."""
    batch = [task(1), item(2), item(3, size=2 * LEAF_BYTES + 5)]
    with closing(Beside(url)) as beside:
        for each in (batch, [item(4)], batch):
            beside.begin(each)
            beside.settle()
    assert all(stored(url, each, number) for number, each in enumerate([*batch, item(4)], 1))
    with Vault.open(url) as vault:
        assert vault.check() == []
        assert [queue.waiting for queue in vault.queues()] == [1]


def test_batches_go_over_http_too(url):
    """With the token, which went through a pipe and stands in no command line or environment."""
    with Vault.open(url) as vault, serving_vault(vault) as address, closing(Beside(address, token=TOKEN)) as beside:
        beside.begin(tasks(20))
        beside.settle()
        process = Path(f"/proc/{beside.pid}")
        if process.is_dir():
            assert TOKEN.encode() not in process.joinpath("cmdline").read_bytes()
            assert TOKEN.encode() not in process.joinpath("environ").read_bytes()
        assert [queue.waiting for queue in vault.queues()] == [20]


@pytest.mark.parametrize(
    ("batch", "kind"),
    [
        ([item(1), item(1, seed=2)], ConflictError),
        ([replace(item(1), leaves=(bytes(32),))], FormatError),
        ([replace(item(1), header=b"no header")], FormatError),
        ([replace(item(1), queue=b"short")], FormatError),
        ([replace(item(1), payload=b"", leaves=())], FormatError),
    ],
)
def test_what_the_vault_refuses_is_raised_here(url, batch, kind):
    """As its own kind, with its words; nothing of the batch is stored, and the next batch is."""
    with closing(open_relay(url)) as relay, pytest.raises(kind) as expected:
        relay.put_items(batch)
    with closing(Beside(url)) as beside:
        beside.begin(batch)
        with pytest.raises(kind) as raised:
            beside.settle()
        assert str(raised.value) == str(expected.value)
        beside.begin([item(2)])
        beside.settle()
    with Vault.open(url) as vault:
        assert vault.status().items == 1


def test_no_vault_there(tmp_path):
    """Said at the first batch, as `open_relay` says it; nothing is made."""
    with closing(Beside(f"sqlite:///{tmp_path}/none.db")) as beside:
        beside.begin(tasks(3))
        with pytest.raises(RelayError, match="no vault can be reached") as raised:
            beside.settle()
    assert raised.value.next_step is not None
    assert list(tmp_path.iterdir()) == []


def test_a_vault_that_fails(url, tmp_path):
    """A store's failure is a store's failure here."""
    with closing(sqlite3.connect(tmp_path / "vault.db")) as db, db:
        db.execute("DROP TABLE pieces")
    with closing(Beside(url)) as beside:
        beside.begin(tasks(3))
        with pytest.raises(StoreError):
            beside.settle()


def test_what_is_no_text_ends_nothing(tmp_path):
    """An error may quote a path of bytes that are no UTF-8: it is told as it can be."""
    assert b"no vault at" in answer_of(RelayError("no vault at \udcff"))


@pytest.mark.parametrize("when", ["before", "between"])
def test_C1_killed(url, when):
    """At any time: an error, and no waiting."""
    with closing(Beside(url)) as beside:
        if when == "between":
            beside.begin([item(1)])
            beside.settle()
        os.kill(beside.pid, signal.SIGKILL)
        with pytest.raises(RelayError, match="has ended"):  # noqa: PT012 - which of the two tells depends on the pipe
            beside.begin([item(2, size=1_000_000)])
            beside.settle()
    assert not beside.alive()


def test_it_ends_with_its_input(url):
    """Which ends when whoever started it does, whatever way: nothing has to tell it."""
    with closing(Beside(url)) as beside:
        beside.begin([item(1)])
        beside.settle()
        assert beside.alive()
    assert not beside.alive()
    assert beside.exit_code == 0
