"""The vault's service as any HTTP client sees it: who gets in, what is refused unread, and what answers say."""

import asyncio
import json
import logging
import threading
import time

import httpx
import pytest

from labelvault.errors import FormatError, StoreError
from labelvault.relay.http_wire import MAX_BATCH_BYTES, item_head, parse_page
from labelvault.vendor import Vault
from labelvault.vendor.http import HttpService
from labelvault.vendor.http_limits import Bells, HttpLimits, InFlight, RateLimit
from labelvault.vendor.http_tokens import Tokens, read_tokens
from tests.http.serving import OTHER_TOKEN, PLATFORM_TOKEN, TOKEN, TOKENS, serving_vault
from tests.stores.samples import BOX, CLIENT, QUEUE, item, item_id, key_of, snapshot, tasks

POST = f"/v1/mailboxes/{BOX.hex()}/messages"
BIG = item(size=2 * 1024 * 1024 + 100)


def path_of(sealed, tail=""):
    """Where an item version is served."""
    client, item_id, version = key_of(sealed)
    return f"/v1/items/{client.hex()}/{item_id.hex()}/{version}{tail}"


def client_of(address, token=TOKEN, **headers):
    """A plain HTTP client with the headers that every request has."""
    headers = {"labelvault-version": "1", "authorization": f"Bearer {token}", **headers}
    return httpx.Client(base_url=address, headers=headers, trust_env=False)


@pytest.fixture
def http(address):
    with client_of(address) as opened:
        yield opened


ROUTES = [
    ("PUT", "/v1/items"),
    ("GET", path_of(BIG)),
    ("HEAD", path_of(BIG)),
    ("GET", path_of(BIG, "/leaves")),
    ("POST", POST),
    ("GET", POST),
    ("POST", f"{POST}/1/ack"),
]
PLATFORM_ROUTES = [
    ("GET", "/v1/queues"),
    ("POST", "/v1/claims"),
    ("POST", f"/v1/claims/{'00' * 16}/finish"),
    ("POST", f"/v1/claims/{'00' * 16}/release"),
]


# --- who gets in ---


STRANGERS = [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer x{TOKEN}", TOKEN]


def test_strangers_are_refused_everywhere(address, vault):
    """401, and nothing is done; a platform's route wants the platform's token, and the other way round."""
    before = snapshot(vault._store)
    with httpx.Client(base_url=address, trust_env=False, headers={"labelvault-version": "1"}) as http:
        for method, path in ROUTES + PLATFORM_ROUTES:
            wrong = TOKEN if (method, path) in PLATFORM_ROUTES else PLATFORM_TOKEN
            for value in (*STRANGERS, f"Bearer {wrong}"):
                headers = {} if value is None else {"authorization": value}
                found = http.request(method, path, headers=headers, content=b"x")
                assert found.status_code == 401, (method, path, value)
                assert found.headers["www-authenticate"] == 'Bearer realm="labelvault"'
    assert snapshot(vault._store) == before


def test_a_failing_or_lying_authenticate_lets_nobody_in(vault):
    """Fail closed: an exception, an empty name or another type is no name."""

    def broken(headers):
        raise ValueError("a secret in a foreign error")

    async def later(headers):
        return "ada" if headers["authorization"].endswith(TOKEN) else None

    for check, status in ((broken, 500), (lambda h: "", 401), (lambda h: True, 401), (later, 200)):
        with serving_vault(vault, authenticate=check) as address, client_of(address) as http:
            found = http.get(POST)
            assert found.status_code == status
            assert "secret" not in found.text


def test_without_the_version_header_nothing_is_done(address, vault):
    """A web page of another origin can't send it unasked, so its forms and images reach nothing."""
    for version in (None, "2", "11", "1"):
        headers = {"authorization": f"Bearer {TOKEN}"} | ({} if version is None else {"labelvault-version": version})
        with httpx.Client(base_url=address, trust_env=False) as http:
            found = http.post(POST, headers=headers, content=b"one")
        assert found.status_code == (204 if version == "1" else 400)
    assert vault.status().pending_messages == 1


def test_no_origin_is_allowed(http):
    """No CORS: the asking ahead that a browser does gets a refusal without any permission."""
    found = http.options(POST, headers={"origin": "https://evil.example", "access-control-request-method": "POST"})
    assert found.status_code == 405
    assert not [name for name in found.headers if name.startswith("access-control")]


def test_no_platform_no_claims(vault):
    """Without a platform there are no such routes."""
    with serving_vault(vault, platform=None) as address, client_of(address, PLATFORM_TOKEN) as http:
        for method, path in PLATFORM_ROUTES:
            assert http.request(method, path).status_code == 404


# --- what every answer carries ---


def test_every_answer_is_uncacheable_and_says_nothing_of_the_server(http, vault):
    """Found, refused or unknown: the same headers, no cookie, no name of the software."""
    vault.relay().put_items([BIG])
    answers = [http.request(method, path) for method, path in ROUTES]
    answers += [http.get("/"), http.get("/v1/items/"), http.delete(POST), http.get(path_of(item(9)))]
    for found in answers:
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["content-security-policy"].startswith("default-src 'none'")
        assert "set-cookie" not in found.headers
        assert "server" not in found.headers
        assert found.status_code < 300 or found.status_code == 411 or set(found.json()) == {"error", "message"}


def test_a_path_with_a_slash_too_many_is_not_redirected(http):
    """A redirect would be built from the Host header, which the sender writes."""
    assert http.get(POST + "/").status_code == 404


# --- items ---


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, None),
        ("bytes=0-", 206, 0, None),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=5-9", 206, 5, 10),
        ("bytes=-7", 206, -7, None),
        ("bytes=-99999999", 206, 0, None),
        ("bytes=1048570-1048580", 206, 1048570, 1048581),
        ("bytes=100-99999999", 206, 100, None),
        ("bytes=9-5", 200, 0, None),
        ("bytes=-", 200, 0, None),
        ("bytes=0-1,3-4", 200, 0, None),
        ("items=0-1", 200, 0, None),
        ("bytes=x-", 200, 0, None),
        ("bytes=" + "9" * 30 + "-", 200, 0, None),
    ],
)
def test_ranges(http, vault, asked, status, start, end):
    """RFC 9110: one range is served, malformed and several are ignored; HEAD says the same without the bytes."""
    vault.relay().put_items([BIG])
    headers = {} if asked is None else {"range": asked}
    found, head = http.get(path_of(BIG), headers=headers), http.head(path_of(BIG), headers=headers)
    assert found.status_code == head.status_code == status
    assert found.content == BIG.payload[start:end]
    assert found.headers["labelvault-item"] == BIG.header.hex()
    assert head.content == b""
    assert head.headers["content-length"] == found.headers["content-length"] == str(len(found.content))
    if status == 206:
        first = len(BIG.payload) + start if start < 0 else start
        last = first + len(found.content) - 1
        assert found.headers["content-range"] == f"bytes {first}-{last}/{len(BIG.payload)}"
        assert http.get(path_of(BIG), headers=headers | {"if-range": '"x"'}).status_code == 200


@pytest.mark.parametrize("asked", [f"bytes={len(BIG.payload)}-", "bytes=99999999-", "bytes=-0"])
def test_a_range_with_nothing_in_it_is_416(http, vault, asked):
    """The true size is told."""
    vault.relay().put_items([BIG])
    found = http.get(path_of(BIG), headers={"range": asked})
    assert found.status_code == 416
    assert found.headers["content-range"] == f"bytes */{len(BIG.payload)}"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/items/00/00/1",
        f"/v1/items/{CLIENT.hex()}/{'zz' * 16}/1",
        f"/v1/items/{CLIENT.hex()}/{'00' * 16}/0",
        f"/v1/items/{CLIENT.hex()}/{'00' * 16}/-1",
        f"/v1/items/{CLIENT.hex()}/{'00' * 16}/{'9' * 40}",
        f"/v1/items/{CLIENT.hex()}/{'00' * 16}/\u0661",
        f"/v1/mailboxes/{'00' * 31}/messages",
        f"{POST}?limit=0",
        f"{POST}?limit=1001",
        f"{POST}?limit=x",
        f"{POST}?after=-1",
        f"{POST}?wait_ms=1.5",
    ],
)
def test_malformed_names_are_400(http, path):
    """A kind, and no echo of what was sent."""
    found = http.get(path)
    assert (found.status_code, found.json()["error"]) == (400, "FormatError")


def body_of(*items):
    return b"".join(item_head(each) + each.payload for each in items)


@pytest.mark.parametrize("fault", ["cut", "cut head", "longer head", "one more byte", "size", "too many"])
def test_malformed_batches_are_refused_whole(http, vault, fault):
    """Whatever is wrong with a batch, nothing of it is stored."""
    good = body_of(item(1), item(2))
    body = {
        "cut": good[:-1],
        "cut head": good[:3],
        "longer head": b"\x7f\xff\xff\xff" + good,
        "one more byte": good + b"\0",
        "size": good.replace(b"\xa4size\xcd\x13\x88", b"\xa4size\xcd\x13\x87", 1),
        "too many": body_of(item(1, size=1)) * 10_001,
    }[fault]
    assert body != good
    before = snapshot(vault._store)
    found = http.put("/v1/items", content=body)
    assert (found.status_code, found.json()["error"]) == (400, "FormatError")
    assert snapshot(vault._store) == before
    assert http.put("/v1/items", content=good).status_code == 200
    assert vault.status().items == 2


@pytest.mark.parametrize(("method", "path", "most"), [("PUT", "/v1/items", MAX_BATCH_BYTES), ("POST", POST, 65536)])
def test_large_bodies_are_refused_before_they_are_read(address, method, path, most, monkeypatch):
    """The declared size decides; one that is not declared is not taken."""
    monkeypatch.setattr("labelvault.vendor.http_answers._DRAIN_S", 0.05)
    headers = f"{method} {path} HTTP/1.1\r\nHost: x\r\nLabelvault-Version: 1\r\nAuthorization: Bearer {TOKEN}\r\n"
    for line, status in (
        (f"Content-Length: {most + 1}", 413),
        ("Content-Length: 9999999999999999999", 413),
        ("Transfer-Encoding: chunked", 411),
    ):
        assert _status_of(address, f"{headers}{line}\r\n\r\n") == status


def _status_of(address, request):
    import socket

    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request.encode())
        return int(connection.recv(65536).split(b" ")[1])


def test_a_body_that_does_not_come_is_not_waited_for(vault):
    """A sender that stops in the middle is let go, and nothing is stored."""
    limits = HttpLimits(body_s=0.1, body_bytes_per_s=10**9)
    with serving_vault(vault, limits=limits) as address:
        for method, path in (("PUT", "/v1/items"), ("POST", POST)):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nLabelvault-Version: 1\r\nAuthorization: Bearer {TOKEN}\r\n"
            assert _status_of(address, f"{head}Content-Length: 100\r\n\r\nabc") == 408
    assert vault.status().pending_messages == 0


def test_bytes_in_flight_are_bounded(vault):
    """What does not fit into memory now is told to come again."""
    with serving_vault(vault, limits=HttpLimits(in_flight_bytes=100)) as address, client_of(address) as http:
        found = http.put("/v1/items", content=body_of(item()))
        assert (found.status_code, found.json()["error"]) == (503, "Busy")
        assert found.headers["retry-after"] == "1"
    assert vault.status().items == 0


# --- rates ---


def test_each_principal_has_a_rate(vault):
    """Past the burst comes 429 with the time to wait; the other's share is untouched."""
    limits = HttpLimits(requests_per_s=0.5, burst=3)
    with (
        serving_vault(vault, limits=limits) as address,
        client_of(address) as http,
        client_of(address, OTHER_TOKEN) as other,
    ):
        assert [http.get(POST).status_code for _ in range(4)] == [200, 200, 200, 429]
        found = http.post(POST, content=b"one")
        assert (found.status_code, found.headers["retry-after"]) == (429, "2")
        assert other.get(POST).status_code == 200
    assert vault.status().pending_messages == 0


def test_a_bucket_fills_again_up_to_its_burst():
    """Time gives back, and never more than the burst."""
    now = [0.0]
    rate = RateLimit(2.0, 2, lambda: now[0])
    assert [rate.take("a") for _ in range(3)] == [0, 0, 1]
    now[0] = 0.5
    assert [rate.take("a"), rate.take("a")] == [0, 1]
    now[0] = 1000.0
    assert [rate.take("a") for _ in range(3)] == [0, 0, 1]


def test_no_more_buckets_than_principals_are_kept(monkeypatch):
    """Names without end cost no memory without end."""
    monkeypatch.setattr("labelvault.vendor.http_limits._MAX_PRINCIPALS", 10)
    rate = RateLimit(1.0, 1, lambda: 0.0)
    for number in range(100):
        assert rate.take(str(number)) == 0
    assert len(rate._buckets) == 10


def test_in_flight_gives_back_what_it_held():
    """Also when the block fails; what did not fit takes nothing."""
    held = InFlight(10)
    with held.hold(8) as first, held.hold(3) as second, held.hold(2) as third:
        assert (first, second, third) == (True, False, True)
    with pytest.raises(FormatError), held.hold(10):
        raise FormatError("x")
    with held.hold(10) as free:
        assert free


# --- waiting ---


def test_waiting_ends_with_a_message_or_in_time(http, vault, address):
    """A post ends it at once, one by another process soon, and the time in any case."""
    started = time.monotonic()
    assert parse_page(http.get(POST, params={"wait_ms": 200}).content).messages == ()
    assert 0.2 <= time.monotonic() - started < 2
    for post in (lambda: http.post(POST, content=b"one"), lambda: vault.relay().post(BOX, b"two")):
        timer = threading.Timer(0.1, post)
        timer.start()
        started = time.monotonic()
        after = max((number for number, _ in vault.relay().fetch(BOX)), default=0)
        page = parse_page(http.get(POST, params={"wait_ms": 15_000, "after": after}, timeout=30).content)
        assert len(page.messages) == 1
        assert time.monotonic() - started < 3
        timer.join()


def test_waiters_are_tasks_and_no_threads(vault):
    """Sixty wait at once; other requests are served meanwhile, and all of them get the message."""
    service = HttpService(vault, TOKENS, limits=HttpLimits(requests_per_s=1e6, burst=10**6))
    headers = {"labelvault-version": "1", "authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(service.app)

    async def play():
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as http:
            before = threading.active_count()
            waiting = [asyncio.create_task(http.get(POST, params={"wait_ms": 15_000})) for _ in range(60)]
            while service.waiting < 60:
                await asyncio.sleep(0.01)
            assert threading.active_count() <= before + 45
            assert (await http.post(POST, content=b"one")).status_code == 204
            pages = [parse_page((await each).content) for each in waiting]
            assert {page.messages[0].message for page in pages} == {b"one"}
            gone = asyncio.create_task(http.get(POST, params={"wait_ms": 15_000, "after": 10**6}))
            while not service.waiting:
                await asyncio.sleep(0.01)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert service.waiting == 0
            last = asyncio.create_task(http.get(POST, params={"wait_ms": 15_000, "after": 10**6}))
            while not service.waiting:
                await asyncio.sleep(0.01)
            service.end()
            assert parse_page((await asyncio.wait_for(last, 2)).content).messages == ()
            at_once = http.get(POST, params={"wait_ms": 15_000, "after": 10**6})
            assert (await asyncio.wait_for(at_once, 2)).status_code == 200

    asyncio.run(play())


def test_too_many_waiters_are_answered_at_once():
    """The bound holds, and a place that was left is free again."""

    async def play():
        bells = Bells(1)
        with bells.listen(BOX) as first, bells.listen(BOX) as second:
            assert first is not None
            assert second is None
            bells.ring(b"c" * 32)
            assert not first.is_set()
            bells.ring(BOX)
            assert first.is_set()
        assert bells.waiting == 0
        assert bells._waiters == {}

    asyncio.run(play())


def test_who_leaves_while_waiting_frees_the_place(vault):
    """A caller that hangs up is noticed within a second."""
    service = HttpService(vault, TOKENS)
    from tests.http.serving import serving

    with serving(service.app) as address:
        with client_of(address) as http, pytest.raises(httpx.ReadTimeout):
            http.get(POST, params={"wait_ms": 20_000}, timeout=0.3)
        deadline = time.monotonic() + 3
        while service.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# --- claims ---


def test_a_platform_claims_over_http(address, vault):
    """Queues, one claim for each task, finish and release; bodies are strict."""
    vault.relay().put_items(tasks(2))
    with client_of(address, PLATFORM_TOKEN) as http:
        (queue,) = http.get("/v1/queues").json()["queues"]
        assert (queue["queue"], queue["waiting"]) == (QUEUE.hex(), 2)
        wanted = {name: queue[name] for name in ("queue", "client", "project")} | {"contractor": "ada", "ttl_s": 60}
        first, second, none = (http.post("/v1/claims", json=wanted).json()["claim"] for _ in range(3))
        assert {first["item"], second["item"]} == {item_id(0).hex(), item_id(1).hex()}
        assert none is None
        assert http.post(f"/v1/claims/{first['claim']}/finish").status_code == 204
        assert http.post(f"/v1/claims/{second['claim']}/release").status_code == 204
        assert http.post(f"/v1/claims/{'00' * 16}/finish").status_code == 404
        before = snapshot(vault._store)
        for broken in ({"ttl_s": 0}, {"ttl_s": "60"}, {"extra": 1}, {"queue": "x"}, {"contractor": ""}, {"client": ""}):
            assert http.post("/v1/claims", json=wanted | broken).status_code == 400
        assert http.post("/v1/claims", content=b"{").status_code == 400
        assert http.post("/v1/claims", json=wanted | {"queue": "00" * 16}).status_code == 404
        assert snapshot(vault._store) == before
    (found,) = vault.queues()
    assert (found.waiting, found.claimed, found.done) == (1, 0, 1)


# --- logs and errors ---


def test_logs_hold_names_sizes_and_times(vault, caplog):
    """No token, no path, no message; a name can't forge a line."""
    caplog.set_level(logging.DEBUG)
    with serving_vault(vault, authenticate=lambda headers: "ada\nforged") as address, client_of(address) as http:
        http.post(POST, content=b"plain-canary")
        http.get("/v1/items/canary%0aforged/x/1")
        http.get("/canary%0aforged")
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("labelvault"))
    assert "post 'ada\\nforged' 204" in text
    assert TOKEN not in caplog.text
    assert "canary" not in text
    assert "\nforged" not in text


def test_a_failing_store_is_507_and_its_text_stays_here(vault, caplog):
    """What the database says may name a path: it goes to the log, not to the caller."""
    with serving_vault(vault) as address, client_of(address) as http:
        vault.close()
        found = http.get(POST)
        assert (found.status_code, found.json()["error"]) == (507, "StoreError")
        assert "closed" not in found.text
    assert "the store is closed" in caplog.text


def test_an_unexpected_error_says_nothing(vault, monkeypatch, caplog):
    """500, without a word of the foreign error in answer or log."""

    def broken(*_, **__):
        raise KeyError("canary")

    monkeypatch.setattr("labelvault.relay.local.LocalRelay.fetch", broken)
    with serving_vault(vault) as address, client_of(address) as http:
        found = http.get(POST)
    assert (found.status_code, found.json()["error"]) == (500, "Internal")
    assert "canary" not in found.text + caplog.text


def test_mounted_below_a_path(vault):
    """A platform mounts it where it likes; the relay takes the path along."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from labelvault.relay import open_relay
    from tests.http.serving import serving

    with serving(Starlette(routes=[Mount("/lv", vault.asgi(authenticate=TOKENS))])) as address:
        relay = open_relay(f"{address}/lv/", token=TOKEN)
        relay.post(BOX, b"one")
        assert [text for _, text in relay.fetch(BOX)] == [b"one"]
        relay.close()


# --- token files ---


def test_tokens_are_known_by_their_hash():
    """The token of a line names its principal; scheme in any case; nothing of a token is kept."""
    tokens = Tokens(["# people", "", f" ada:{TOKEN} ", f"bob:{OTHER_TOKEN}"])
    assert len(tokens) == 2
    assert tokens({"authorization": f"bearer {TOKEN}"}) == "ada"
    assert tokens({"authorization": f"Bearer {OTHER_TOKEN}"}) == "bob"
    assert tokens({"authorization": "Bearer \udcff"}) is None
    assert tokens({}) is None
    assert TOKEN not in repr(vars(tokens))


@pytest.mark.parametrize(
    "lines",
    [["ada"], ["ada:short"], [":" + TOKEN], ["ada:" + TOKEN + " x"], ["a b:" + TOKEN], [f"a:{TOKEN}", f"b:{TOKEN}"]],
)
def test_malformed_token_lines_are_refused(lines):
    """By line number, without quoting the line."""
    with pytest.raises(FormatError) as raised:
        Tokens(lines)
    assert TOKEN not in str(raised.value)


def test_token_files_are_private(tmp_path):
    """Readable by others, a symlink, a folder, too large, not ASCII or missing: refused."""
    path = tmp_path / "tokens"
    path.write_text(f"ada:{TOKEN}\n")
    path.chmod(0o600)
    assert len(read_tokens([path])) == 1
    path.chmod(0o604)
    with pytest.raises(StoreError, match="chmod 600"):
        read_tokens([path])
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    for other in (tmp_path / "link", tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError):
            read_tokens([other])
    path.write_bytes(b"\xff")
    with pytest.raises(FormatError):
        read_tokens([path])
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(StoreError):
        read_tokens([path])


def test_the_platforms_door_is_the_vault(tmp_path):
    """`Vault.asgi` is all that a platform needs."""
    with Vault.open(f"sqlite:///{tmp_path}/vault.db") as vault:
        app = vault.asgi(authenticate=TOKENS, platform=TOKENS, limits=HttpLimits(burst=5))

        async def play():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
                return await http.get("/v1/queues")

        found = asyncio.run(play())
    assert found.status_code == 401
    assert json.loads(found.content)["error"] == "Unauthorized"
