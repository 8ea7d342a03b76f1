"""Payloads that go over HTTP as streams: whole or not at all, within limits, and with typed errors."""

import contextlib
import socket
import time
from contextlib import closing

import httpx
import pytest

from labelvault.errors import ConflictError, FormatError, LabelVaultError, ProjectError, RelayError, StoreError
from labelvault.relay import http as relay_http
from labelvault.relay import http_send
from labelvault.relay.http import HttpRelay
from labelvault.relay.http_wire import ITEM_HEADER
from labelvault.vendor.http_limits import HttpLimits, Slots
from labelvault.wire.items import LEAF_BYTES
from tests.http.hostile import FAULTS, Hostile
from tests.http.serving import OTHER_TOKEN, QUICK, TOKEN, TOKENS, raw_server, serving, serving_vault
from tests.stores.samples import QUEUE, item, key_of, pieces_of, snapshot, task

LARGE = 3 * LEAF_BYTES + 5
"""Kept in a file by the store."""
HUGE = 64 * LEAF_BYTES
"""More than the buffers of two sockets hold."""


@pytest.fixture(autouse=True)
def _streams_begin_at_nothing(monkeypatch):
    monkeypatch.setattr(relay_http, "_HELD_BYTES", 0)
    monkeypatch.setattr(http_send, "_PAUSE_S", 0.001)


def put(relay, each):
    """Put an item version as a stream."""
    return relay.put_stream(each.header, len(each.payload), iter(pieces_of(each)), each.queue)


def path_of(each, tail=""):
    """Where an item version is put."""
    client, named, version = key_of(each)
    return f"/v1/items/{client.hex()}/{named.hex()}/{version}{tail}"


def left_over(tmp_path):
    """What the vault has in files beside its database."""
    folder = tmp_path / "vault.db.payloads"
    return sorted(folder.iterdir()) if folder.exists() else []


def soon(holds, seconds=5.0):
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what arrives ---


@pytest.mark.parametrize("size", [1, 5000, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, LARGE])
def test_a_stream_arrives_whole(relay, vault, size):
    """Leaves, bytes, header and queue are what was sent, whether the store keeps it in the database or in a file."""
    sealed = task(2, size=size)
    assert put(relay, sealed) == sealed.leaves
    found = vault.relay().read_item(*key_of(sealed))
    assert (found.header, found.size, found.data) == (sealed.header, size, sealed.payload)
    assert relay.read_leaves(*key_of(sealed)) == sealed.leaves
    (queue,) = vault.queues()
    assert (queue.id, queue.waiting) == (QUEUE, 1)


def test_a_stream_can_be_put_again_and_nothing_else_in_its_place(relay, vault, tmp_path):
    """The same is a no-op; other bytes or another queue are a ConflictError, and the first stays."""
    sealed = item(size=LARGE)
    assert put(relay, sealed) == put(relay, sealed) == sealed.leaves
    before = snapshot(vault._store)
    for other in (item(size=LARGE, seed="other"), task(size=LARGE)):
        with pytest.raises(ConflictError):
            put(relay, other)
    assert snapshot(vault._store) == before
    assert len(left_over(tmp_path)) == 1


def test_small_streams_are_held_and_made_good(vault, monkeypatch):
    """Below the bound a lost connection goes unnoticed: what is held in memory is sent again."""
    monkeypatch.setattr(relay_http, "_HELD_BYTES", LARGE)
    sealed, left = item(size=LARGE), [2]

    def plan(asked):
        left[0] -= 1
        return "lost_reply" if left[0] >= 0 else None

    hostile = Hostile(vault.asgi(authenticate=TOKENS, limits=QUICK), plan)
    with serving(hostile) as address, closing(HttpRelay(address, token=TOKEN)) as relay:
        assert put(relay, sealed) == sealed.leaves
    assert left[0] == -1
    assert vault.status().items == 1


# --- what does not ---


@pytest.mark.parametrize(
    "error", [ProjectError("changed", "a", None), OSError("disk"), ValueError("x"), RelayError("y")]
)
def test_what_the_source_raises_goes_through(relay, vault, tmp_path, error):
    """No broken connection hides it, it is not tried again, and nothing is stored."""
    before, asked = snapshot(vault._store), [0]

    def pieces():
        asked[0] += 1
        yield bytes(LEAF_BYTES)
        yield bytes(LEAF_BYTES)
        raise error

    with pytest.raises(type(error)) as raised:
        relay.put_stream(item().header, LARGE, pieces(), None)
    assert raised.value is error
    assert asked == [1]
    soon(lambda: not left_over(tmp_path))
    assert snapshot(vault._store) == before
    assert put(relay, item(size=LARGE)) == item(size=LARGE).leaves


@pytest.mark.parametrize(
    "sizes", [[LEAF_BYTES], [LEAF_BYTES - 1, 1], [LEAF_BYTES] * 3, [LEAF_BYTES, 0, 5], [LARGE], []]
)
def test_pieces_of_other_sizes_are_refused(relay, vault, tmp_path, sizes):
    """Pieces that don't give the size are a FormatError, and nothing is stored."""
    before = snapshot(vault._store)
    with pytest.raises(FormatError):
        relay.put_stream(item().header, LEAF_BYTES + 5, iter([bytes(size) for size in sizes]), None)
    soon(lambda: not left_over(tmp_path))
    assert snapshot(vault._store) == before


def test_an_attempt_that_began_is_not_repeated(vault, tmp_path):
    """A connection that breaks while the payload goes out, or before the answer: RelayError, after one attempt."""
    sealed = item(size=LARGE)
    with raw_server(b"") as (address, requests), closing(HttpRelay(address, token=TOKEN)) as relay:
        with pytest.raises(RelayError, match="in the middle of an upload"):
            put(relay, sealed)
        assert len(requests) == 1
    hostile = Hostile(vault.asgi(authenticate=TOKENS, limits=QUICK), lambda asked: "lost_request")
    with (
        serving(hostile) as address,
        closing(HttpRelay(address, token=TOKEN)) as relay,
        pytest.raises(RelayError, match="in the middle of an upload"),
    ):
        put(relay, sealed)
    assert len(hostile.done) == 1
    assert vault.status().items == 0
    assert left_over(tmp_path) == []


def test_an_attempt_that_took_nothing_is_repeated(relay, monkeypatch):
    """As long as no piece was asked for, a vault that can't be reached is tried again."""
    true, calls = httpx.HTTPTransport.handle_request, [0]

    def unreachable_at_first(self, request):
        calls[0] += 1
        if calls[0] < 3:
            raise httpx.ConnectError("not yet")
        return true(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", unreachable_at_first)
    sealed = item(size=LARGE)
    assert put(relay, sealed) == sealed.leaves
    assert calls == [3]


def test_a_closed_relay_streams_nothing(address):
    """StoreError, as for every operation."""
    relay = HttpRelay(address, token=TOKEN)
    relay.close()
    with pytest.raises(StoreError):
        put(relay, item(size=LARGE))


@pytest.mark.parametrize(
    ("token", "limits", "error", "said"),
    [
        ("no-token-of-the-vault-at-all", QUICK, RelayError, "refuses our token"),
        (TOKEN, HttpLimits(stream_bytes=HUGE - 1), RelayError, "more bytes than this vault takes"),
        (TOKEN, HttpLimits(streams=0), RelayError, "HTTP 503"),
        (TOKEN, HttpLimits(streams_each=0), RelayError, "HTTP 503"),
    ],
)
def test_a_refused_stream_is_not_sent_to_its_end(vault, tmp_path, token, limits, error, said):
    """The vault's refusal arrives while the payload goes out, and is what the caller hears."""
    given = [0]

    def pieces():
        for _ in range(HUGE // LEAF_BYTES):
            given[0] += 1
            yield bytes(LEAF_BYTES)

    with (
        serving_vault(vault, limits=limits) as address,
        closing(HttpRelay(address, token=token)) as relay,
        pytest.raises(error, match=said),
    ):
        relay.put_stream(item().header, HUGE, pieces(), None)
    assert 0 < given[0] < HUGE // LEAF_BYTES
    assert vault.status().items == 0
    assert left_over(tmp_path) == []


def test_a_server_that_does_not_read_is_given_up(monkeypatch):
    """Neither silence nor a drip holds the sender longer than its bounds."""
    monkeypatch.setattr(http_send, "SILENCE_S", 0.3)
    with raw_server(b"", hold=True) as (address, _), closing(HttpRelay(address)) as relay:
        started = time.monotonic()
        with pytest.raises(RelayError):
            relay.put_stream(item().header, HUGE, (bytes(LEAF_BYTES) for _ in range(HUGE // LEAF_BYTES)), None)
        assert time.monotonic() - started < 5


def test_a_piece_that_goes_out_too_slowly_ends_it(monkeypatch):
    """Each piece has its time, whatever silence is allowed; a source that takes its time does not count."""
    monkeypatch.setattr(http_send, "GRACE_S", 0.3)
    monkeypatch.setattr(http_send, "SLOWEST_BYTES_PER_S", 1e9)

    def pieces():
        time.sleep(0.6)
        yield from (bytes(LEAF_BYTES) for _ in range(HUGE // LEAF_BYTES))

    with raw_server(b"", hold=True) as (address, requests), closing(HttpRelay(address)) as relay:
        started = time.monotonic()
        with pytest.raises(RelayError, match="in the middle of an upload"):
            relay.put_stream(item().header, HUGE, pieces(), None)
        assert 0.6 < time.monotonic() - started < 5
        assert len(requests) == 1


@pytest.mark.parametrize("leaves", [3, 5, 0])
def test_another_number_of_leaves_is_no_answer(leaves):
    """A vault that answers with other leaves than a payload of this size has makes no sense."""
    body = bytes(32 * leaves)
    said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body
    with raw_server(said) as (address, _), closing(HttpRelay(address)) as relay, pytest.raises(RelayError):
        put(relay, item(size=LARGE))


# --- what the service takes ---


@contextlib.contextmanager
def begun(address, each, token=TOKEN, size=None, header=None):
    """A connection that has sent a stream's head and half of its first MiB."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = (
            f"PUT {path_of(each)} HTTP/1.1\r\nHost: x\r\nLabelvault-Version: 1\r\nAuthorization: Bearer {token}\r\n"
            f"{ITEM_HEADER}: {header or each.header.hex()}\r\nContent-Length: {size or len(each.payload)}\r\n\r\n"
        )
        connection.sendall(head.encode() + each.payload[: LEAF_BYTES // 2])
        yield connection


def status_of(connection):
    """The status that it was answered with."""
    return int(connection.recv(65536).split(b" ")[1])


def test_a_sender_that_hangs_up_leaves_nothing(vault, address, tmp_path):
    """What came is dropped at once, its slot is free, and the item can be put."""
    sealed = item(size=LARGE)
    with begun(address, sealed) as connection:
        soon(lambda: left_over(tmp_path))
        connection.close()
        soon(lambda: not left_over(tmp_path))
    assert vault.status().items == 0
    with closing(HttpRelay(address, token=TOKEN)) as relay:
        assert put(relay, sealed) == sealed.leaves


def test_a_sender_that_stops_is_let_go(vault, tmp_path):
    """408 after the time that a piece has, the thread and the slot are free again, and nothing is left."""
    limits = HttpLimits(streams=1, body_s=0.2, body_bytes_per_s=10**9)
    sealed = item(size=LARGE)
    with serving_vault(vault, limits=limits) as address:
        for _ in range(3):
            with begun(address, sealed) as connection:
                assert status_of(connection) == 408
        assert left_over(tmp_path) == []
        with closing(HttpRelay(address, token=TOKEN)) as relay:
            assert put(relay, sealed) == sealed.leaves


def test_each_caller_has_so_many_streams_and_no_more(vault, tmp_path):
    """One more is told to come again, another caller's is taken, and so is the next once one has ended."""
    one, two, three = (item(number, size=LARGE) for number in range(3))
    with serving_vault(vault, limits=HttpLimits(streams=2, streams_each=1)) as address:
        with begun(address, one), begun(address, three, OTHER_TOKEN):
            soon(lambda: len(left_over(tmp_path)) == 2)
            with begun(address, two) as connection:
                answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in answer
        soon(lambda: not left_over(tmp_path))
        with closing(HttpRelay(address, token=TOKEN)) as relay:
            assert put(relay, two) == two.leaves
    assert vault.status().items == 1


def test_slots_are_counted_in_all_and_each():
    """Also when the block fails; no name is kept that holds nothing."""
    slots = Slots(2, 1)
    with slots.hold("a") as first, slots.hold("a") as second, slots.hold("b") as third, slots.hold("c") as fourth:
        assert (first, second, third, fourth) == (True, False, True, False)
    with pytest.raises(FormatError), slots.hold("a"):
        raise FormatError("x")
    with slots.hold("a") as again:
        assert again
    assert not slots._taken


@pytest.mark.parametrize("fault", ["none", "malformed", "upper", "long", "item", "version", "queue", "empty"])
def test_a_malformed_stream_is_refused(address, vault, fault):
    """A header that is none or names another item, a queue that is none, no payload: 400, and nothing is stored."""
    sealed, other = item(size=5000), item(2)
    header, tail, content = sealed.header.hex(), "", sealed.payload
    match fault:
        case "none":
            header = ""
        case "malformed":
            header = header[:-2]
        case "upper":
            header = header.upper()
        case "long":
            header = "00" * 257
        case "item":
            header = other.header.hex()
        case "version":
            header = item(version=2).header.hex()
        case "queue":
            tail = "?queue=00"
        case "empty":
            content = b""
    headers = {"labelvault-version": "1", "authorization": f"Bearer {TOKEN}", ITEM_HEADER: header}
    with httpx.Client(base_url=address, headers=headers, trust_env=False) as http:
        found = http.put(path_of(sealed, tail), content=content)
    assert (found.status_code, found.json()["error"]) == (400, "FormatError")
    assert vault.status().items == 0


def test_a_stream_without_its_size_is_refused(address, vault):
    """411, and nothing is read."""
    sealed = item(size=5000)
    headers = {"labelvault-version": "1", "authorization": f"Bearer {TOKEN}", ITEM_HEADER: sealed.header.hex()}
    with httpx.Client(base_url=address, headers=headers, trust_env=False) as http:
        found = http.put(path_of(sealed), content=iter(pieces_of(sealed)))
    assert (found.status_code, found.json()["error"]) == (411, "LengthRequired")
    assert vault.status().items == 0


def test_C3_a_failing_store_is_a_store_error_and_nothing_is_left(address, vault, tmp_path, monkeypatch):
    """A disk that is full in the middle: 507, StoreError at the caller, no file stays."""
    import errno
    import os

    true, written = os.write, [0]

    def full(descriptor, data):
        if len(data) == LEAF_BYTES:
            written[0] += 1
            if written[0] == 3:
                raise OSError(errno.ENOSPC, "no space")
        return true(descriptor, data)

    monkeypatch.setattr("labelvault.stores.payload_files.os.write", full)
    with closing(HttpRelay(address, token=TOKEN)) as relay:
        with pytest.raises(StoreError) as raised:
            put(relay, item(size=LARGE))
        assert type(raised.value) is StoreError
        assert left_over(tmp_path) == []
        assert vault.status().items == 0
        assert put(relay, item(size=LARGE)) == item(size=LARGE).leaves


def test_every_fault_of_a_stream_is_a_typed_error_or_a_whole_answer(vault):
    """A hostile relay does what it likes to a stream: nothing but the protocol's errors comes out."""
    current: list[str | None] = [None]
    refused: list[LabelVaultError] = []
    sealed = item(size=5000)
    hostile = Hostile(vault.asgi(authenticate=TOKENS, limits=QUICK), lambda asked: current[0])
    with serving(hostile, "127.0.0.3") as address, closing(HttpRelay(address, token=TOKEN)) as relay:
        for fault in FAULTS:
            current[0] = fault
            try:
                found = put(relay, sealed)
                assert len(found) == 1
            except LabelVaultError as error:
                refused.append(error)
    assert {type(error) for error in refused} <= {RelayError, StoreError, ConflictError, FormatError}
    assert len(refused) >= len(FAULTS) // 2
    assert not [error for error in refused if "from-the-server" in str(error)]
    assert vault.relay().read_item(*key_of(sealed)).data == sealed.payload
