"""What each caller may do over HTTP: a client for itself, a contractor for himself, and nobody for others."""

from contextlib import closing

import pytest

from labelvault.errors import FormatError, RelayError
from labelvault.relay import http as relay_http
from labelvault.relay.http import HttpRelay
from labelvault.vendor.http_callers import Caller
from labelvault.vendor.http_tokens import Tokens
from labelvault.wire import ids
from tests.http.serving import PLATFORM_TOKEN, QUICK, serving_vault
from tests.http.test_service import client_of
from tests.stores.samples import CLIENT as SAMPLE_CLIENT
from tests.stores.samples import item, key_of, pieces_of, snapshot

CLIENT = ids.ClientId(SAMPLE_CLIENT)
OTHER = ids.ClientId(bytes.fromhex("0b" * 32))
ADA, BOB, PHONE = (bytes([number]) * 32 for number in (1, 2, 3))

MINE, THEIRS = item(1), item(1, client=OTHER)
BOXES = {
    "my issuer": ids.issuer_mailbox(CLIENT),
    "my status": ids.status_mailbox(CLIENT),
    "ada": ids.contractor_mailbox(CLIENT, ADA),
    "ada's leases": ids.lease_mailbox(CLIENT, ADA),
    "ada's approvals": ids.presence_mailbox(CLIENT, ADA),
    "ada at the other": ids.contractor_mailbox(OTHER, ADA),
    "bob": ids.contractor_mailbox(CLIENT, BOB),
    "bob's leases": ids.lease_mailbox(CLIENT, BOB),
    "phone's approvals": ids.presence_mailbox(CLIENT, PHONE),
    "other issuer": ids.issuer_mailbox(OTHER),
    "other status": ids.status_mailbox(OTHER),
}
ADAS = {"ada", "ada's leases", "ada's approvals"}

LINES = {
    "trusted": "trusted:token-of-a-trusted-caller",
    "client": f"lab:token-of-a-bound-client-1:client={CLIENT.hex()}",
    "contractor": f"ada:token-of-a-contractor-ada:contractor={CLIENT.hex()}/{ADA.hex()}",
    "desk": f"desk:token-of-a-desk-with-peer:contractor={CLIENT.hex()}/{ADA.hex()}/{PHONE.hex()}/{BOB.hex()}",
}
TOKENS = Tokens(LINES.values())

ITEMS = {
    "trusted": ({"mine", "theirs"}, {"mine", "theirs"}),
    "client": ({"mine"}, {"mine"}),
    "contractor": ({"mine"}, {"mine"}),
    "desk": ({"mine"}, {"mine"}),
}
"""What each may store, and read."""
MAIL = {
    "trusted": (set(BOXES), set(BOXES), set(BOXES)),
    "client": (set(BOXES), {"my issuer", "my status"}, {"my issuer", "my status"}),
    "contractor": ({"my issuer"}, ADAS | {"my status"}, ADAS),
    "desk": ({"my issuer", "phone's approvals", "bob", "bob's leases"}, ADAS | {"my status"}, ADAS),
}
"""Where each may post, fetch and acknowledge."""


def allowed(call, *arguments, **more):
    """Whether the vault let a call pass; a refusal is a RelayError with advice, and nothing else."""
    try:
        call(*arguments, **more)
    except RelayError as error:
        refusal = error
    else:
        return True
    assert "HTTP 403" in str(refusal)
    assert "has to be bound" in str(refusal.next_step)
    return False


@pytest.fixture
def relay_of(vault):
    """Open relays for the callers above."""
    with serving_vault(vault, authenticate=TOKENS) as address:
        opened = {who: HttpRelay(address, token=line.split(":")[1]) for who, line in LINES.items()}
        yield opened.__getitem__
        for each in opened.values():
            each.close()


@pytest.mark.parametrize("who", LINES)
@pytest.mark.parametrize("as_stream", [False, True])
def test_who_may_store_items(vault, relay_of, monkeypatch, who, as_stream):
    """A client and its contractors its own; a batch with one item of another's is refused whole."""
    monkeypatch.setattr(relay_http, "_HELD_BYTES", 0)
    relay = relay_of(who)

    def put(each):
        if as_stream:
            return relay.put_stream(each.header, len(each.payload), iter(pieces_of(each)), None)
        return relay.put_items([each])

    before = snapshot(vault._store)
    assert "theirs" in ITEMS[who][0] or not allowed(relay.put_items, [MINE, THEIRS])
    if "theirs" not in ITEMS[who][0]:
        assert snapshot(vault._store) == before
    assert {name for name, each in (("mine", MINE), ("theirs", THEIRS)) if allowed(put, each)} == ITEMS[who][0]
    assert vault.status().items == len(ITEMS[who][0])


@pytest.mark.parametrize("who", LINES)
@pytest.mark.parametrize("change", [{"version": 2}, {"queue": b"q" * 16}])
def test_a_contractor_stores_answers_only(vault, relay_of, who, change):
    """No later version and nothing in a queue, so that no task leaves its own; a client may."""
    each = item(1, **change)
    before = snapshot(vault._store)
    may = who in ("trusted", "client")
    assert allowed(relay_of(who).put_items, [each]) == may
    assert may or snapshot(vault._store) == before


@pytest.mark.parametrize("who", LINES)
def test_who_may_read_items(vault, relay_of, who):
    """Those of one's own client: bytes, ranges and leaves; also what is not stored is refused as another's."""
    vault.relay().put_items([MINE, THEIRS])
    relay, may_read = relay_of(who), ITEMS[who][1]
    for name, each in (("mine", MINE), ("theirs", THEIRS)):
        key = key_of(each)
        assert allowed(relay.read_item, *key) == (name in may_read)
        assert allowed(relay.read_item, *key, 1, 10) == (name in may_read)
        assert allowed(relay.read_leaves, *key) == (name in may_read)
    if "theirs" not in may_read:
        assert not allowed(relay.read_leaves, OTHER, b"i" * 16, 1)


@pytest.mark.parametrize("who", LINES)
def test_who_may_post_fetch_and_acknowledge(vault, relay_of, who):
    """One's own mailboxes; what is refused leaves every mailbox as it was."""
    relay, (post, fetch, ack) = relay_of(who), MAIL[who]
    for name, box in BOXES.items():
        vault.relay().post(box, b"waits")
        before = snapshot(vault._store)
        ((number, _),) = vault.relay().fetch(box)
        assert allowed(relay.fetch, box) == (name in fetch), name
        assert allowed(relay.fetch, box, wait_s=0.01) == (name in fetch), name
        if name not in ack:
            assert not allowed(relay.ack, box, number), name
        if name not in post:
            assert not allowed(relay.post, box, b"more"), name
        assert snapshot(vault._store) == before
        if name in post:
            relay.post(box, b"more")
            assert len(vault.relay().fetch(box)) == 2
        if name in ack:
            relay.ack(box, number)
            assert number not in dict(vault.relay().fetch(box))


def test_a_bound_caller_is_no_platform(vault):
    """Queues and claims are not for clients and contractors, even where their token is among the platform's."""
    bound = Tokens([f"lab:{PLATFORM_TOKEN}:client={CLIENT.hex()}"])
    with serving_vault(vault, platform=bound) as address, client_of(address, PLATFORM_TOKEN) as http:
        found = http.get("/v1/queues")
    assert (found.status_code, found.json()["error"]) == (403, "Forbidden")


def test_a_platforms_own_check_may_bind_callers(vault):
    """`authenticate` may return a Caller, from a function or a coroutine function."""

    async def later(headers):
        return Caller("ada", CLIENT, ADA)

    for check in (lambda headers: Caller("ada", CLIENT, ADA), later):
        with serving_vault(vault, authenticate=check, limits=QUICK) as address, closing(HttpRelay(address)) as relay:
            assert allowed(relay.fetch, BOXES["ada"])
            assert not allowed(relay.fetch, BOXES["bob"])


@pytest.mark.parametrize(
    "given",
    [
        ("ada", CLIENT.hex()),
        ("ada", CLIENT[:-1]),
        ("ada", None, ADA),
        ("ada", CLIENT, None, (PHONE,)),
        ("ada", CLIENT, ADA[:-1]),
        ("ada", CLIENT, ADA, (b"",)),
        (None, CLIENT),
        (5,),
    ],
)
def test_a_malformed_caller_is_none(vault, given):
    """FormatError where it is made, so a slip in a platform's check lets nobody in."""
    with pytest.raises(FormatError):
        Caller(*given)
    with serving_vault(vault, authenticate=lambda headers: Caller(*given)) as address, client_of(address) as http:
        assert http.get(f"/v1/mailboxes/{BOXES['ada'].hex()}/messages").status_code == 400


def test_lines_of_token_files_bind(vault):
    """What a line says is what its caller is; a name alone is a name."""
    said = {who: TOKENS({"authorization": f"Bearer {line.split(':')[1]}"}) for who, line in LINES.items()}
    assert said == {
        "trusted": "trusted",
        "client": Caller("lab", CLIENT),
        "contractor": Caller("ada", CLIENT, ADA),
        "desk": Caller("desk", CLIENT, ADA, (PHONE, BOB)),
    }
    assert (len(TOKENS), TOKENS.unbound) == (4, 1)


@pytest.mark.parametrize(
    "binding",
    [
        "",
        "client=",
        f"client={CLIENT.hex()[:-1]}",
        f"client={CLIENT.hex().upper()}x",
        f"client={CLIENT.hex()}/{ADA.hex()}",
        f"contractor={ADA.hex()}",
        f"contractor={CLIENT.hex()}/{ADA.hex()}/",
        f"contractor={CLIENT.hex()}/{ADA.hex()}/{PHONE.hex()[:-1]}",
        f"admin={CLIENT.hex()}",
        f"client={CLIENT.hex()}:client={OTHER.hex()}",
    ],
)
def test_malformed_bindings_are_refused(binding):
    """No line is taken for a wider one than it says; nothing of it is quoted."""
    with pytest.raises(FormatError) as raised:
        Tokens([f"ada:token-of-the-tests-and-more:{binding}"])
    assert "token-of-the-tests" not in str(raised.value)
    assert CLIENT.hex() not in str(raised.value)
