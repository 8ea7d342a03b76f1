"""A hostile relay between all actors: every fault ends in a typed error or a clean retry, and no guarantee bends."""

import json
import random
import threading
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import pytest

from labelvault.client import Limits
from labelvault.contractor import contractor as contractor_module
from labelvault.errors import (
    ConflictError,
    DeniedError,
    FormatError,
    LabelVaultError,
    NotFoundError,
    RelayError,
    RequestTimeoutError,
    StoreError,
    TamperedError,
)
from labelvault.ledger.entries import Granted, ReceiptEntry, Released
from labelvault.relay import ItemPart, http_send
from labelvault.relay.http import HttpRelay
from labelvault.vendor import Vault
from labelvault.vendor.http import HttpService
from tests.http.hostile import FAULTS, Hostile
from tests.http.serving import OTHER_TOKEN, PLATFORM, QUICK, TOKEN, TOKENS, serving
from tests.stores.samples import BOX, item, key_of, snapshot, task
from tests.world import GUIDELINE, MS, World


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """Pauses between attempts are short: the tests are about what follows them."""
    monkeypatch.setattr(http_send, "_PAUSE_S", 0.001)


@contextmanager
def hostile(vault, plan):
    """Serve a vault through a hostile relay; give its address and the relay's own record."""
    relay = Hostile(HttpService(vault, TOKENS, platform=PLATFORM, limits=QUICK).app, plan)
    with serving(relay, "127.0.0.3") as address:
        yield address, relay


# --- one fault at a time ---

OPERATIONS = {
    "PUT items": lambda relay: relay.put_items([item(), task(3)]),
    "GET items": lambda relay: relay.read_item(*key_of(item())),
    "GET items, a range": lambda relay: relay.read_item(*key_of(item()), 100, 2000),
    "GET leaves": lambda relay: relay.read_leaves(*key_of(item())),
    "POST messages": lambda relay: relay.post(BOX, b"one"),
    "GET messages": lambda relay: relay.fetch(BOX),
    "GET messages, waiting": lambda relay: relay.fetch(BOX, after=2**50, wait_s=0.05),
    "POST ack": lambda relay: relay.ack(BOX, 1),
}


def _has_its_shape(found) -> None:
    """Whatever a relay returns is of the kind and within the bounds that its callers rely on."""
    match found:
        case None | 0 | 1 | 2:
            return
        case ItemPart(header, size, data):
            assert 1 <= len(header) <= 256
            assert 1 <= len(data) <= size
        case list():
            numbers = [number for number, _ in found]
            assert numbers == sorted(set(numbers))
            assert all(1 <= len(message) <= 65536 for _, message in found)
        case tuple():
            assert found
            assert all(len(leaf) == 32 for leaf in found)
        case _:
            pytest.fail(f"not what a relay returns: {type(found)}")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_every_operation_is_a_typed_error_or_a_whole_answer(vault, fault):
    """One operation meets one fault without end: nothing but the protocol's errors, in our own words."""
    vault.relay().put_items([item(), task(3)])
    for text in (b"one", b"two", b"three"):
        vault.relay().post(BOX, text)
    current, refused = [None], []
    allowed = (RelayError, StoreError, ConflictError, NotFoundError, FormatError)
    with hostile(vault, lambda asked: current[0]) as (address, relay), closing(HttpRelay(address, token=TOKEN)) as ours:
        for name, operation in OPERATIONS.items():
            operation(ours)
            current[0] = fault
            for _ in range(3):
                try:
                    _has_its_shape(operation(ours))
                except allowed as error:
                    refused.append((name, error))
            current[0] = None
            _has_its_shape(operation(ours))
    assert {played for played, _ in relay.done} == {fault}
    assert not [each for each in refused if type(each[1]) not in allowed or "from-the-server" in str(each[1])]


@pytest.mark.parametrize("fault", ["lost_request", "lost_reply", "truncated", "busy"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_C7_a_few_lost_replies_are_made_good(vault, fault, times):
    """Up to three lost requests or replies in a row go unnoticed; each operation counts once."""
    left = [0]

    def plan(asked):
        left[0] -= 1
        return fault if left[0] >= 0 else None

    with hostile(vault, plan) as (address, _), closing(HttpRelay(address, token=TOKEN)) as ours:
        for operation in (
            lambda: ours.put_items([item()]),
            lambda: ours.post(BOX, b"one"),
            lambda: ours.read_item(*key_of(item())),
            lambda: ours.fetch(BOX),
        ):
            left[0] = times
            operation()
        assert ours.read_item(*key_of(item())).data == item().payload
        assert [text for _, text in ours.fetch(BOX)] == [b"one"]
        left[0] = times
        ours.ack(BOX, ours.fetch(BOX)[0][0])
        assert ours.fetch(BOX) == []
        assert vault.status().items == 1


def test_without_end_it_is_given_up(vault):
    """Four attempts, then RelayError; the vault is as it was."""
    before = snapshot(vault._store)
    with hostile(vault, lambda asked: "lost_request") as (address, relay):
        with closing(HttpRelay(address, token=TOKEN)) as ours, pytest.raises(RelayError, match="tried 4 times"):
            ours.put_items([item()])
        assert len(relay.done) == 4
    assert snapshot(vault._store) == before


# --- the whole story ---

TERMS = Limits(max_open=1, max_total=60, per_hour=1000, lease_ttl_s=3600)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    World(folder).close()
    return folder


class Story:
    """A world whose actors know the vault by its HTTP address only."""

    def __init__(self, folder, template, address):
        self.world = World(folder, template)
        self.world.vault = address
        (self.world.home / "config.json").write_text(json.dumps({"vault": address}))
        self.token(self.world.home, TOKEN)
        self.lab = self.world.lab = self.world.open_client()
        self.world.project = self.project = self.lab.project("eval")
        self.me = self.world.contractor("ada")
        self.token(folder / "ada", OTHER_TOKEN)
        self.world.enrol(self.me, "ada")
        self.world.join(self.me, "ada", limits=TERMS)

    @staticmethod
    def token(home, token):
        (home / "vault.token").write_text(token + "\n")
        (home / "vault.token").chmod(0o600)

    @contextmanager
    def answering(self):
        """The issuer, which outlives whatever the vault does."""
        stop, issuer, failed = threading.Event(), self.lab.issuer(), []

        def run():
            try:
                issuer.run(stop, poll_s=0.005, on_away=lambda error: None)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            issuer.close()
            if failed:
                raise failed[0]

    def check_ledger(self, opened):
        """L3, G4: all that was opened is in the ledger, and never more at a time than the grant allows."""
        self.lab.verify_ledger()
        alive: dict[bytes, datetime] = {}
        released: set[bytes] = set()
        for entry in self.lab.ledger_entries():
            if isinstance(entry, Released):
                alive = {lease: end for lease, end in alive.items() if entry.at < end}
                alive[entry.lease_id] = entry.expires_at
                released.add(entry.lease_id)
                assert len(alive) <= TERMS.max_open
            elif isinstance(entry, ReceiptEntry) and entry.event == "closed":
                alive.pop(entry.lease_id, None)
        assert set(opened) <= released
        assert len(released) <= TERMS.max_total


def _open(story, opened, name, timeout_s=2.0):
    item_id = story.world.task(name)
    with story.me.open_task(item_id, timeout_s=timeout_s) as opening:
        assert f"task-canary {name}" in opening.text
        assert GUIDELINE in [part.text for part in opening.required]
        opened.append(opening.lease_id)


def test_the_story_over_http(tmp_path, template):
    """Seal, enrol, grant, join, open in a process of its own, close, receipts: no file is shared."""
    with (
        Vault.open(f"sqlite:///{tmp_path}/at-the-vendor/vault.db") as vault,
        serving(HttpService(vault, TOKENS, limits=QUICK).app, "127.0.0.2") as address,
    ):
        story, opened = Story(tmp_path / "world", template, address), []
        # This vault is empty: all goes up over HTTP.
        second = story.lab.create_project("second", floor_bytes=256)
        assert second.seal(story.world.source).new == 9
        story.world.clock.advance(MS)
        story.world.join(story.me, "ada", project=second, limits=TERMS)
        first = next(each.item for each in second.items("task") if each.name == "one")
        with story.answering(), story.me.begin(first, timeout_s=20) as opening:
            opened.append(opening.lease_id)
        with story.answering():
            deadline = time.monotonic() + 10
            while story.me.post_due_receipts() or not _closed(story):
                assert time.monotonic() < deadline
        story.check_ledger(opened)
        (closed,) = (entry for entry in vault.receipts() if entry.event == "closed")
        assert (closed.item, closed.erased) == (first, "process-exit")
        story.world.close()


def _closed(story):
    return [e for e in story.lab.ledger_entries() if isinstance(e, ReceiptEntry) and e.event == "closed"]


@pytest.mark.parametrize("seed", range(8))
def test_no_guarantee_bends_under_a_hostile_relay(tmp_path, template, monkeypatch, seed):
    """G4, G6, L3: any mix of faults, then honest service: only sealed texts, max_open and the ledger hold, all ends."""
    monkeypatch.setattr(contractor_module, "DEFAULT_TIMEOUT_S", 2.0)
    chance, honest = random.Random(seed), [False]

    def plan(asked):
        return None if honest[0] or chance.random() < 0.6 else chance.choice(list(FAULTS))

    folder = tmp_path / "world"
    (tmp_path / "vendor").mkdir()
    with Vault.open(f"sqlite:///{template}/vendor/vault.db") as old:
        stored = _all_items(old)
    with Vault.open(f"sqlite:///{tmp_path}/vendor/vault.db") as vault:
        vault.relay().put_items(stored)
        with hostile(vault, plan) as (address, relay):
            story = Story(folder, template, address)
            opened: list[bytes] = []
            refused: list[LabelVaultError] = []
            with story.answering():
                for name in ("one", "two", "three", "four", "five") * 2:
                    try:
                        _open(story, opened, name, timeout_s=0.4)
                    except LabelVaultError as error:
                        refused.append(error)
                honest[0] = True
                deadline = time.monotonic() + 20
                while True:
                    try:
                        _open(story, opened, "one", timeout_s=5)
                        break
                    except (DeniedError, RequestTimeoutError, RelayError, StoreError) as error:
                        # A lease whose answer and receipts the vault made away with holds its slot until it expires.
                        refused.append(error)
                        story.world.clock.advance(timedelta(seconds=TERMS.lease_ttl_s))
                        assert time.monotonic() < deadline, refused[-1]
            story.check_ledger(opened)
            assert len(relay.done) > 10
            assert {type(error) for error in refused} <= {
                ConflictError,
                DeniedError,
                FormatError,
                NotFoundError,
                RelayError,
                RequestTimeoutError,
                StoreError,
                TamperedError,
            }
            assert [e for e in story.lab.ledger_entries() if isinstance(e, Granted)]
            story.world.close()


def _all_items(vault):
    from labelvault.relay import StoredItem

    found = []
    for info in vault.items():
        key = (info.client, info.item, info.version)
        part = vault.relay().read_item(*key)
        found.append(StoredItem(part.header, part.data, vault.relay().read_leaves(*key), info.queue))
    return found
