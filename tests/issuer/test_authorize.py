"""The choke point: every denial with its valid twin, boundaries, and that nothing else makes a verdict."""

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.envelope.metadata import Metadata
from labelvault.errors import DecryptionError, DeniedError, FormatError
from labelvault.issuer import authorize as module
from labelvault.issuer.authorize import Authorized, LiveLease, TaskFacts, Usage, asked, authorize
from labelvault.issuer.catalog import CatalogVersion
from labelvault.issuer.log import Position
from labelvault.issuer.release import release, released_entry
from labelvault.wire.frame import Signed, cosign, sign_message
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.messages import DENIAL_CODES, Grant, Limits, OpenRequest, Scope

NOW = datetime(2026, 5, 4, 10, 20, 30, 123000, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SKEW = timedelta(seconds=120)
CLIENT, PROJECT, EPOCH = b"c" * 32, b"p" * 16, b"e" * 16
BATCH, ITEM, OTHER = b"b" * 16, b"i" * 16, b"o" * 16
LEASE = b"l" * 32
ISSUER = b"s" * 32
KEY, OTHER_KEY = (OneTimeKey.generate().public_key for _ in range(2))
IDENTITY, HELPER, DESK, DEVICE, THIEF = (SigningKey.generate() for _ in range(5))
LIMITS = Limits(max_open=2, max_total=10, per_hour=5, lease_ttl_s=3600)

GRANT = Grant(
    client=CLIENT,
    project=PROJECT,
    grant_id=b"g" * 16,
    issuer=ISSUER,
    contractor=HELPER.public_key,
    scope=Scope((BATCH,), ()),
    limits=LIMITS,
    not_before=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=1),
    tier="helper",
    presence="device",
    presence_key=None,
    submission_key=bytes(1216),
    at=NOW - timedelta(days=1),
)
USAGE = Usage(
    issuer=ISSUER,
    epoch=EPOCH,
    certified_until=NOW + timedelta(days=300),
    accept_from=NOW - timedelta(days=2),
    grant_revoked=False,
    frozen=False,
    key_spent=False,
    task=TaskFacts(ITEM, PROJECT, BATCH, False),
    open_leases=1,
    total_leases=9,
    released_last_hour=4,
    replaces=None,
)
DESK_GRANT = {"contractor": DESK.public_key, "tier": "desk", "presence": "key", "presence_key": DEVICE.public_key}
RENEWAL = LiveLease(LEASE, b"", HELPER.public_key, ITEM)


class Case:
    """One decision: what differs from a request that is granted."""

    def __init__(
        self,
        *,
        grant: dict[str, Any] | None = None,
        request: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
        signer: SigningKey = HELPER,
        device: SigningKey | None = None,
        renews: dict[str, Any] | None = None,
        now: datetime = NOW,
    ) -> None:
        self.grant = sign_message(replace(GRANT, **grant or {}), IDENTITY)
        message = OpenRequest(
            CLIENT, PROJECT, EPOCH, self.grant.hash, ITEM, KEY, NOW, NOW + timedelta(minutes=5), None, None
        )
        message = replace(message, **request or {})
        cosignature = b"" if device is None else cosign(message, signer.public_key, device)
        self.request = sign_message(message, signer, cosignature)
        self.usage = replace(USAGE, **usage or {})
        if renews is not None:
            # The live lease stands on this very grant, unless the case says otherwise.
            self.usage = replace(self.usage, replaces=replace(RENEWAL, **{"grant_hash": self.grant.hash, **renews}))
        self.now = now

    def decide(self) -> Authorized:
        return authorize(self.request, self.grant, self.usage, self.now)

    def code(self) -> str:
        """The denial's code, or `granted`."""
        try:
            self.decide()
        except DeniedError as denied:
            return denied.code
        return "granted"


def desk(approved_at: datetime | None = NOW, device: SigningKey | None = DEVICE, **fields: Any) -> dict[str, Any]:
    """A desk's request with its device's approval."""
    request = {"approved_at": approved_at, **fields.pop("request", {})}
    return {"grant": DESK_GRANT, "request": request, "signer": DESK, "device": device, **fields}


def limits(**fields: int) -> dict[str, Any]:
    return {"limits": replace(LIMITS, **fields)}


# Each line: its name, the code, the case that is refused, and a twin that differs in the named fault only.
TABLE: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("another signer", "unknown", {"signer": THIEF}, {}),
    ("another grant's hash", "unknown", {"request": {"grant_hash": bytes(32)}}, {}),
    ("another client", "unknown", {"request": {"client": bytes(32)}}, {}),
    ("another project", "unknown", {"request": {"project": OTHER}}, {}),
    ("a grant of another issuer", "unknown", {"usage": {"issuer": bytes(32)}}, {}),
    ("another epoch", "epoch", {"request": {"epoch": OTHER}}, {}),
    ("request expires now", "stale", {"now": NOW + timedelta(minutes=5)}, {"now": NOW + timedelta(minutes=5) - MS}),
    ("request expired", "stale", {"now": NOW + timedelta(minutes=6)}, {}),
    ("request from the future", "stale", {"now": NOW - SKEW - MS}, {"now": NOW - SKEW}),
    ("request before restore", "stale", {"usage": {"accept_from": NOW + MS}}, {"usage": {"accept_from": NOW}}),
    ("grant not yet valid", "not-yet-valid", {"grant": {"not_before": NOW + MS}}, {"grant": {"not_before": NOW}}),
    ("grant expires now", "expired", {"grant": {"expires_at": NOW}}, {"grant": {"expires_at": NOW + MS}}),
    ("grant expired", "expired", {"grant": {"expires_at": NOW - MS}}, {"grant": {"expires_at": NOW + MS}}),
    ("revoked", "revoked", {"usage": {"grant_revoked": True}}, {}),
    ("frozen", "frozen", {"usage": {"frozen": True}}, {}),
    ("one-time key spent", "replayed", {"usage": {"key_spent": True}}, {}),
    ("no such task", "unknown", {"usage": {"task": None}}, {}),
    ("facts of another item", "unknown", {"usage": {"task": TaskFacts(OTHER, PROJECT, BATCH, False)}}, {}),
    ("revoked batch", "revoked", {"usage": {"task": TaskFacts(ITEM, PROJECT, BATCH, True)}}, {}),
    (
        "revoked batch out of scope",
        "unknown",
        {"usage": {"task": TaskFacts(ITEM, PROJECT, OTHER, True)}},
        {"usage": {"task": TaskFacts(ITEM, PROJECT, OTHER, False)}, "grant": {"scope": Scope((OTHER,), ())}},
    ),
    ("task of another project", "unknown", {"usage": {"task": TaskFacts(ITEM, OTHER, BATCH, False)}}, {}),
    (
        "batch out of scope",
        "unknown",
        {"usage": {"task": TaskFacts(ITEM, PROJECT, OTHER, False)}},
        {"usage": {"task": TaskFacts(ITEM, PROJECT, OTHER, False)}, "grant": {"scope": Scope((OTHER,), ())}},
    ),
    (
        "item out of scope",
        "unknown",
        {"grant": {"scope": Scope((), (OTHER,))}},
        {"grant": {"scope": Scope((), (ITEM,))}},
    ),
    ("a batch's id as an item's", "unknown", {"grant": {"scope": Scope((), (BATCH,))}}, {}),
    ("an item's id as a batch's", "unknown", {"grant": {"scope": Scope((ITEM,), ())}}, {}),
    ("helper with approval time", "presence", {"request": {"approved_at": NOW}}, {}),
    ("helper with cosignature", "presence", {"device": DEVICE}, {}),
    (
        "waived desk with approval time",
        "presence",
        desk(None, None, grant={**DESK_GRANT, "presence": "waived", "presence_key": None})
        | {"request": {"approved_at": NOW}},
        desk(None, None) | {"grant": {**DESK_GRANT, "presence": "waived", "presence_key": None}},
    ),
    ("desk without approval time", "presence", desk(None), desk()),
    ("desk without cosignature", "presence", desk(device=None), desk()),
    ("desk approved by another device", "presence", desk(device=THIEF), desk()),
    ("desk approving itself", "presence", desk(device=DESK), desk()),
    ("approval too old", "presence", desk(NOW - timedelta(minutes=5) - MS), desk(NOW - timedelta(minutes=5))),
    ("approval from the future", "presence", desk(NOW + SKEW + MS), desk(NOW + SKEW)),
    ("renewal that was not asked for", "replaces", {"renews": {}}, {"request": {"replaces": LEASE}, "renews": {}}),
    ("renewal of a dead lease", "replaces", {"request": {"replaces": LEASE}}, {}),
    (
        "renewal of another lease",
        "replaces",
        {"request": {"replaces": LEASE}, "renews": {"lease_id": bytes(32)}},
        {"request": {"replaces": LEASE}, "renews": {}},
    ),
    (
        "renewal across grants",
        "replaces",
        {"request": {"replaces": LEASE}, "renews": {"grant_hash": bytes(32)}},
        {"request": {"replaces": LEASE}, "renews": {}},
    ),
    (
        "renewal across contractors",
        "replaces",
        {"request": {"replaces": LEASE}, "renews": {"contractor": THIEF.public_key}},
        {"request": {"replaces": LEASE}, "renews": {}},
    ),
    (
        "renewal across items",
        "replaces",
        {"request": {"replaces": LEASE}, "renews": {"item": OTHER}},
        {"request": {"replaces": LEASE}, "renews": {}},
    ),
    ("too many open", "limit-open", {"usage": {"open_leases": 2}}, {"usage": {"open_leases": 1}}),
    (
        "too many open by renewal",
        "limit-open",
        {"usage": {"open_leases": 3}, "request": {"replaces": LEASE}, "renews": {}},
        {"usage": {"open_leases": 2}, "request": {"replaces": LEASE}, "renews": {}},
    ),
    ("too many in all", "limit-total", {"usage": {"total_leases": 10}}, {"usage": {"total_leases": 9}}),
    (
        "renewal counts in total",
        "limit-total",
        {"usage": {"total_leases": 10}, "request": {"replaces": LEASE}, "renews": {}},
        {"usage": {"total_leases": 9}, "request": {"replaces": LEASE}, "renews": {}},
    ),
    ("too many in an hour", "limit-rate", {"usage": {"released_last_hour": 5}}, {"usage": {"released_last_hour": 4}}),
    (
        "renewal counts in the rate",
        "limit-rate",
        {"usage": {"released_last_hour": 5}, "request": {"replaces": LEASE}, "renews": {}},
        {"usage": {"released_last_hour": 4}, "request": {"replaces": LEASE}, "renews": {}},
    ),
    ("low-order one-time key", "unavailable", {"request": {"one_time_key": KEY[:1184] + bytes(32)}}, {}),
    ("one-time key out of range", "unavailable", {"request": {"one_time_key": b"\xff" * 1184 + KEY[1184:]}}, {}),
]


@pytest.mark.parametrize(("code", "refused", "twin"), [line[1:] for line in TABLE], ids=[line[0] for line in TABLE])
def test_each_fault_is_denied_and_its_twin_granted(code: str, refused: dict[str, Any], twin: dict[str, Any]) -> None:
    """One fault, one code; the same request without it passes."""
    assert Case(**refused).code() == code
    assert Case(**twin).code() == "granted"


def test_the_table_covers_every_code_that_authorize_gives() -> None:
    """A code that is added without a line in the table is noticed."""
    assert {line[1] for line in TABLE} == set(DENIAL_CODES)


def test_the_verdict_says_what_release_needs() -> None:
    """Request, grant and times are those that were decided on; no renewal, nothing replaced."""
    case = Case()
    verdict = case.decide()
    assert verdict.asked == asked(case.request)
    assert verdict.grant is case.grant
    assert verdict.issued_at == NOW
    assert verdict.expires_at == NOW + timedelta(seconds=3600)
    assert verdict.replaces is None
    renewal = Case(request={"replaces": LEASE}, renews={})
    assert renewal.decide().replaces == renewal.usage.replaces


@pytest.mark.parametrize("left", [MS, timedelta(seconds=3599), timedelta(seconds=3600), timedelta(seconds=3601)])
def test_no_lease_outlives_its_grant_or_its_ttl(left: timedelta) -> None:
    """The end is the earliest of them, and of the certificate's."""
    for case in (Case(grant={"expires_at": NOW + left}), Case(usage={"certified_until": NOW + left})):
        assert case.decide().expires_at == NOW + min(left, timedelta(seconds=3600))


@pytest.mark.parametrize(
    "now",
    [
        NOW.replace(tzinfo=None),
        NOW.astimezone(timezone(timedelta(hours=2))),
        NOW.replace(microsecond=123456),
    ],
    ids=["naive", "not UTC", "not whole milliseconds"],
)
def test_R6_a_time_that_is_not_exact_UTC_decides_nothing(now: datetime) -> None:
    """A naive or foreign time is an error, not a guess."""
    with pytest.raises(FormatError):
        Case(now=now).decide()


@given(
    name=st.sampled_from(["request", "grant", "not_before", "skew"]),
    offset_ms=st.integers(-5, 5),
)
def test_R6_each_boundary_decides_alike_on_both_sides(name: str, offset_ms: int) -> None:
    """Expired means now >= the end, begun means now >= the beginning, skew is inclusive: to the millisecond."""
    end = NOW + offset_ms * MS
    case, granted = {
        "request": (Case(request={"at": NOW - 3 * MS, "expires_at": end + 10 * MS}, now=NOW + 10 * MS), offset_ms > 0),
        "grant": (Case(grant={"expires_at": end}), offset_ms > 0),
        "not_before": (Case(grant={"not_before": end}), offset_ms <= 0),
        "skew": (Case(request={"at": end + SKEW, "expires_at": NOW + timedelta(minutes=9)}), offset_ms <= 0),
    }[name]
    assert (case.code() == "granted") == granted


# What the world looks like besides the item that is asked for.
STATES = st.fixed_dictionaries(
    {
        "grant_revoked": st.booleans(),
        "frozen": st.booleans(),
        "key_spent": st.booleans(),
        "open_leases": st.integers(0, 3),
        "total_leases": st.integers(8, 11),
        "released_last_hour": st.integers(3, 6),
    }
)
HIDDEN = [
    None,
    TaskFacts(ITEM, PROJECT, OTHER, False),
    TaskFacts(ITEM, OTHER, BATCH, False),
    TaskFacts(OTHER, PROJECT, BATCH, False),
]


@given(
    state=STATES,
    fields=st.fixed_dictionaries(
        {"approved_at": st.sampled_from([None, NOW]), "replaces": st.sampled_from([None, LEASE])}
    ),
    now=st.sampled_from([NOW, NOW + timedelta(minutes=5), NOW - timedelta(hours=1)]),
)
def test_order_of_checks_tells_nothing_of_hidden_items(
    state: dict[str, Any], fields: dict[str, Any], now: datetime
) -> None:
    """Unknown, gold, decoy, foreign and out-of-scope items get one and the same answer in every state."""
    codes = {Case(request=fields, usage={**state, "task": task}, now=now).code() for task in HIDDEN}
    assert len(codes) == 1
    assert not codes & {"granted", "unavailable", "presence", "replaces", "limit-open", "limit-total", "limit-rate"}


@given(state=STATES, renew=st.booleans())
def test_nothing_is_granted_beyond_a_cap(state: dict[str, Any], renew: bool) -> None:
    """Whatever the state, a grant leaves open, total and rate within their limits, a renewal included."""
    extra: dict[str, Any] = {"request": {"replaces": LEASE}, "renews": {}} if renew else {}
    case = Case(usage=state, **extra)
    free = not (state["grant_revoked"] or state["frozen"] or state["key_spent"])
    fits = (
        state["open_leases"] + (0 if renew else 1) <= 2
        and state["total_leases"] + 1 <= 10
        and state["released_last_hour"] + 1 <= 5
    )
    assert (case.code() == "granted") == (free and fits)


@given(data=st.data())
def test_F1_any_flipped_bit_of_a_desks_approval_is_refused(data: st.DataObject) -> None:
    """The device's signature fits as a whole or not at all."""
    case = Case(**desk())
    frame = case.request.frame
    at = data.draw(st.integers(0, 64 * 8 - 1))
    flipped = bytearray(frame.cosignature)
    flipped[at // 8] ^= 1 << at % 8
    forged = sign_message(case.request.message, DESK, bytes(flipped))
    with pytest.raises(DeniedError, match="presence"):
        authorize(forged, case.grant, case.usage, NOW)


@pytest.mark.parametrize(
    "moved",
    [{"item": OTHER}, {"one_time_key": OTHER_KEY}, {"grant_hash": bytes(32)}, {"replaces": LEASE}],
    ids=["item", "one-time key", "grant", "renewal"],
)
def test_F14_an_approval_can_not_be_moved(moved: dict[str, Any]) -> None:
    """The device's signature over one request counts for no other one, though the desk signs that properly."""
    case = Case(**desk())
    stolen = case.request.frame.cosignature
    message = replace(case.request.message, **moved)
    request: Signed[OpenRequest] = sign_message(message, DESK, stolen)
    grant = case.grant if "grant_hash" not in moved else _other_grant(case)
    message = replace(message, grant_hash=grant.hash)
    request = sign_message(message, DESK, stolen)
    usage = replace(case.usage, task=TaskFacts(message.item, PROJECT, BATCH, False))
    if message.replaces:
        usage = replace(usage, replaces=LiveLease(LEASE, grant.hash, DESK.public_key, ITEM))
    with pytest.raises(DeniedError, match="presence"):
        authorize(request, grant, usage, NOW)
    own = sign_message(message, DESK, cosign(message, DESK.public_key, DEVICE))
    assert authorize(own, grant, usage, NOW).asked == asked(own)


def _other_grant(case: Case) -> Signed[Grant]:
    return sign_message(replace(case.grant.message, grant_id=OTHER), IDENTITY)


def test_F14_an_approval_can_not_be_moved_to_another_desk() -> None:
    """The cosignature covers who signs the frame."""
    other = SigningKey.generate()
    case = Case(**desk())
    grant = sign_message(replace(case.grant.message, contractor=other.public_key), IDENTITY)
    message = replace(case.request.message, grant_hash=grant.hash)
    stolen = cosign(message, DESK.public_key, DEVICE)
    with pytest.raises(DeniedError, match="presence"):
        authorize(sign_message(message, other, stolen), grant, case.usage, NOW)
    own = cosign(message, other.public_key, DEVICE)
    assert authorize(sign_message(message, other, own), grant, case.usage, NOW).issued_at == NOW


def test_G4_nothing_but_authorize_makes_a_verdict() -> None:
    """Neither the constructor, nor copying, pickling, changing or subclassing a verdict gets past it."""
    case = Case()
    for proof in (None, object(), True, "proof"):
        with pytest.raises(TypeError):
            Authorized(proof, asked(case.request), case.grant, NOW, case.usage)
    verdict = case.decide()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied"):
            duplicate(verdict)
    other = Case(request={"item": OTHER}, usage={"task": TaskFacts(OTHER, PROJECT, BATCH, False)}).request
    for name in Authorized.__slots__:
        with pytest.raises(AttributeError):
            setattr(verdict, name, other)
        with pytest.raises(AttributeError):
            delattr(verdict, name)
    assert verdict.asked == asked(case.request)
    with pytest.raises(TypeError, match="subclasses"):
        type("Mine", (Authorized,), {})
    assert not [name for name in vars(module) if name.isupper() and "PROOF" in name and not name.startswith("_")]


@pytest.mark.parametrize("offered", [None, True, object(), Case().request, "Authorized"])
def test_G4_release_takes_nothing_but_a_verdict(offered: Any) -> None:
    """Neither truth nor a look-alike opens the way to a KEK."""

    def never(version: Any) -> Any:
        raise AssertionError("a KEK was asked for")

    with pytest.raises(TypeError, match="Authorized"):
        release(offered, (), Position(0, bytes(32)), never, None)  # type: ignore[arg-type]


def test_G4_a_look_alike_is_no_verdict() -> None:
    """Duck typing does not pass release."""
    real = Case().decide()

    class Lookalike:
        asked, grant, issued_at, expires_at, replaces = real.asked, real.grant, NOW, NOW + MS, None

    with pytest.raises(TypeError, match="Authorized"):
        release(Lookalike(), (), Position(0, bytes(32)), lambda v: None, None)  # type: ignore[arg-type,return-value]


def test_release_takes_no_other_items_versions_under_a_verdict() -> None:
    """What is unwrapped is what was decided on: another task's versions are refused before any KEK is loaded."""

    def never(version: Any) -> Any:
        raise AssertionError("a KEK was asked for")

    header = ItemHeader(ITEM_FORMAT, CLIENT, PROJECT, OTHER, 1)
    metadata = Metadata("task", "n", "text/plain", 0, (), ())
    version = CatalogVersion(header, b"d" * 32, bytes(72), bytes(16), 1, metadata)
    with pytest.raises(DecryptionError):
        release(Case().decide(), [version], Position(0, bytes(32)), never, None)  # type: ignore[arg-type]


def test_the_entry_of_a_verdict_names_the_leases_own_facts() -> None:
    """What the ledger will say comes from grant and verdict."""
    case = Case(request={"replaces": LEASE}, renews={})
    metadata = Metadata("task", "n", "text/plain", 0, (), ())
    version = CatalogVersion(
        ItemHeader(ITEM_FORMAT, CLIENT, PROJECT, ITEM, 3), b"d" * 32, bytes(72), bytes(16), 1, metadata
    )
    entry = released_entry(case.decide(), [version])
    assert (entry.lease_id, entry.grant_hash, entry.contractor) == (
        case.request.hash,
        case.grant.hash,
        HELPER.public_key,
    )
    assert (entry.task, entry.replaces, entry.at, entry.issued_at) == (ITEM, LEASE, NOW, NOW)
    assert [(item.item, item.version, item.digest) for item in entry.items] == [(ITEM, 3, b"d" * 32)]


def test_no_lease_outlives_grant_or_certificate() -> None:
    """A lease ends with its lifetime, its grant or the issuer's certificate, whichever is soonest."""
    ttl = timedelta(seconds=LIMITS.lease_ttl_s)
    assert Case().decide().expires_at == NOW + ttl
    assert Case(usage={"certified_until": NOW + ttl / 2}).decide().expires_at == NOW + ttl / 2
    assert Case(grant={"expires_at": NOW + ttl / 4}).decide().expires_at == NOW + ttl / 4
