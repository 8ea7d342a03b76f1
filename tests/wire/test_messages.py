"""Messages: each rule between fields, and each bound, with the nearest message that is taken."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.errors import FormatError
from labelvault.wire.codec import decode, encode
from labelvault.wire.messages import (
    DENIAL_CODES,
    MAX_LEASE_ITEMS,
    MAX_SCOPE_BATCHES,
    MAX_SCOPE_ITEMS,
    Grant,
    Lease,
    LeasedItem,
    LeaseSecrets,
    Limits,
    Scope,
)
from labelvault.wire.schema import decode_record, encode_record
from tests.vectors import world
from tests.vectors.world import DAY, NOW

MS = timedelta(milliseconds=1)
LEASED = LeasedItem(world.TASK, 1, b"d" * 32, b"k" * 32)
SECRETS = LeaseSecrets(world.EPOCH, 7, b"e" * 32, (LEASED,))
LEASE = Lease(b"outer", b"sealed")


def ids(count: int) -> tuple[bytes, ...]:
    """So many sorted ids."""
    return tuple(number.to_bytes(16, "big") for number in range(count))


ALL = [
    world.card(),
    world.desk_card(),
    world.certificate(),
    world.grant(),
    world.desk_grant(),
    world.desk_grant(presence="waived", presence_key=None),
    world.invite(),
    world.request(),
    world.desk_request(),
    world.outer(),
    world.denial(),
    world.receipt(),
    world.receipt(event="opened", erased=None),
    LEASE,
    SECRETS,
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_messages_round_trip(message: Any) -> None:
    """Each message is written and read back, and written the same again."""
    data = encode_record(message)
    again = decode_record(type(message), data)
    assert again == message
    assert encode_record(again) == data


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_P1_unknown_and_missing_fields_are_refused(message: Any) -> None:
    """At every level of every message."""
    value = decode(encode_record(message))

    def spoilt(part: Any) -> list[Any]:
        """All copies of a value with one map in it that lacks a field or has one too many."""
        found: list[Any] = []
        if isinstance(part, dict):
            found += [{name: part[name] for name in part if name != dropped} for dropped in part]
            found.append(part | {"more": None})
            found += [part | {name: each} for name in part for each in spoilt(part[name])]
        elif isinstance(part, list):
            found += [part[:at] + [each] + part[at + 1 :] for at in range(len(part)) for each in spoilt(part[at])]
        return found

    for each in spoilt(value):
        with pytest.raises(FormatError):
            decode_record(type(message), encode(each))


def test_no_message_has_a_field_with_a_default() -> None:
    """What a sender forgot is never filled in by the reader."""
    for message in ALL:
        assert is_dataclass(message)
        for field in fields(message):
            assert field.default is field.default_factory, field.name


# The fault, and the nearest thing to it that is taken.
RULES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "a helper's card has no presence key": (
        lambda: world.card(presence_key=world.PRESENCE.public_key),
        lambda: world.card(tier="desk", presence_key=world.PRESENCE.public_key),
    ),
    "a certificate ends after it begins": (
        lambda: world.certificate(expires_at=NOW - DAY),
        lambda: world.certificate(expires_at=NOW - DAY + MS),
    ),
    "a scope names something": (lambda: Scope((), ()), lambda: Scope((), ids(1))),
    "batches are sorted": (lambda: Scope(ids(2)[::-1], ()), lambda: Scope(ids(2), ())),
    "batches are different": (lambda: Scope(ids(1) * 2, ()), lambda: Scope(ids(1), ids(1))),
    "items are sorted": (lambda: Scope((), ids(2)[::-1]), lambda: Scope((), ids(2))),
    "items are different": (lambda: Scope((), ids(1) * 2), lambda: Scope((), ids(1))),
    "a grant ends after it begins": (
        lambda: world.grant(expires_at=NOW - DAY),
        lambda: world.grant(expires_at=NOW - DAY + MS),
    ),
    "a helper's presence is its device": (
        lambda: world.grant(presence="waived"),
        lambda: world.grant(tier="desk", presence="waived"),
    ),
    "a helper has no presence key": (
        lambda: world.grant(presence="key", presence_key=world.PRESENCE.public_key),
        lambda: world.grant(tier="desk", presence="key", presence_key=world.PRESENCE.public_key),
    ),
    "a desk's presence is no device": (
        lambda: world.desk_grant(presence="device", presence_key=None),
        lambda: world.grant(),
    ),
    "presence by key names the key": (
        lambda: world.desk_grant(presence_key=None),
        lambda: world.desk_grant(presence="waived", presence_key=None),
    ),
    "waived presence names no key": (
        lambda: world.desk_grant(presence="waived"),
        lambda: world.desk_grant(),
    ),
    "a device's presence names no key": (
        lambda: world.grant(presence_key=world.PRESENCE.public_key),
        lambda: world.grant(),
    ),
    "a request lives": (lambda: world.request(expires_at=NOW), lambda: world.request(expires_at=NOW + MS)),
    "a request does not end before it begins": (
        lambda: world.request(expires_at=NOW - MS),
        lambda: world.request(expires_at=NOW + MS),
    ),
    "a request lives ten minutes at most": (
        lambda: world.request(expires_at=NOW + timedelta(minutes=10) + MS),
        lambda: world.request(expires_at=NOW + timedelta(minutes=10)),
    ),
    "a lease ends after it begins": (
        lambda: world.outer(expires_at=NOW),
        lambda: world.outer(expires_at=NOW + MS),
    ),
    "a close says how": (lambda: world.receipt(erased=None), lambda: world.receipt(event="opened", erased=None)),
    "only a close says how": (lambda: world.receipt(event="opened"), lambda: world.receipt(event="closed")),
    "a submission closes nothing": (
        lambda: world.receipt(event="submitted"),
        lambda: world.receipt(event="submitted", erased=None),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_between_fields_holds(rule: str) -> None:
    """What breaks the rule can't be made; its nearest neighbour is made, written and read."""
    wrong, right = RULES[rule]
    with pytest.raises(FormatError):
        wrong()
    message = right()
    assert decode_record(type(message), encode_record(message)) == message


def limits(**changes: Any) -> Grant:
    """A grant with other limits."""
    return world.grant(limits=replace(world.LIMITS, **changes))


# The fault can be made, as bounds are checked where bytes are written and read.
BOUNDS: dict[str, tuple[Any, Any]] = {
    "tier": (world.card(tier="server"), world.card(tier="desk")),
    "empty host label": (world.card(host_label=""), world.card(host_label="x")),
    "long host label": (world.card(host_label="x" * 81), world.card(host_label="x" * 80)),
    "serial 0": (world.certificate(serial=0), world.certificate(serial=1)),
    "serial": (world.certificate(serial=2**32 + 1), world.certificate(serial=2**32)),
    "max_open 0": (limits(max_open=0), limits(max_open=1)),
    "max_open": (limits(max_open=1001), limits(max_open=1000)),
    "max_total 0": (limits(max_total=0), limits(max_total=1)),
    "max_total": (limits(max_total=1_000_001), limits(max_total=1_000_000)),
    "per_hour 0": (limits(per_hour=0), limits(per_hour=1)),
    "per_hour": (limits(per_hour=100_001), limits(per_hour=100_000)),
    "lease_ttl_s 0": (limits(lease_ttl_s=0), limits(lease_ttl_s=1)),
    "lease_ttl_s": (limits(lease_ttl_s=604_801), limits(lease_ttl_s=604_800)),
    "limit that is true": (limits(max_open=True), limits(max_open=1)),
    "no limit": (limits(per_hour=None), limits()),
    "many batches": (
        world.grant(scope=Scope(ids(MAX_SCOPE_BATCHES + 1), ())),
        world.grant(scope=Scope(ids(MAX_SCOPE_BATCHES), ids(MAX_SCOPE_ITEMS))),
    ),
    "many items": (
        world.grant(scope=Scope((), ids(MAX_SCOPE_ITEMS + 1))),
        world.grant(scope=Scope((), ids(MAX_SCOPE_ITEMS))),
    ),
    "scope of another class": (world.grant(scope=world.LIMITS), world.grant()),
    "limits of another class": (world.grant(limits=Scope(ids(1), ())), world.grant()),
    "short submission key": (world.grant(submission_key=bytes(1215)), world.grant(submission_key=bytes(1216))),
    "vault without an address": (world.invite(vault=""), world.invite(vault="v")),
    "long vault address": (world.invite(vault="v" * 1001), world.invite(vault="v" * 1000)),
    "short one-time key": (world.request(one_time_key=bytes(32)), world.request(one_time_key=bytes(1216))),
    "status age": (world.outer(status_max_age_s=604_801), world.outer(status_max_age_s=604_800)),
    "version 0": (replace(SECRETS, items=(replace(LEASED, version=0),)), SECRETS),
    "lease of nothing": (replace(SECRETS, items=()), SECRETS),
    "lease of too much": (
        replace(SECRETS, items=(LEASED,) * (MAX_LEASE_ITEMS + 1)),
        replace(SECRETS, items=(LEASED,) * MAX_LEASE_ITEMS),
    ),
    "short DEK": (replace(SECRETS, items=(replace(LEASED, dek=bytes(31)),)), SECRETS),
    "long outer": (replace(LEASE, outer=bytes(1025)), replace(LEASE, outer=bytes(1024))),
    "long sealed": (replace(LEASE, sealed=bytes(60_001)), replace(LEASE, sealed=bytes(60_000))),
    "denial code": (world.denial(code="because"), world.denial(code="unknown")),
    "event": (world.receipt(event="lost", erased=None), world.receipt(event="opened", erased=None)),
    "erasure": (world.receipt(erased="surely"), world.receipt(erased="best-effort")),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_bound_holds(bound: str) -> None:
    """What lies just outside is not written; what lies just inside is written and read."""
    wrong, right = BOUNDS[bound]
    with pytest.raises(FormatError):
        encode_record(wrong)
    assert decode_record(type(right), encode_record(right)) == right


def test_largest_messages_fit_a_frame() -> None:
    """A grant of the widest scope, in an invite, and a lease of the most items: all of it can be sent."""
    widest = world.grant(scope=Scope(ids(MAX_SCOPE_BATCHES), ids(MAX_SCOPE_ITEMS)))
    signed = world.sign_message(widest, world.IDENTITY)
    assert decode_record(type(world.invite()), encode_record(world.invite(grant=signed.data))).grant == signed.data
    secrets = encode_record(replace(SECRETS, items=(LEASED,) * MAX_LEASE_ITEMS))
    assert len(secrets) + 1136 <= 60_000


def test_scope_has_no_wildcard() -> None:
    """Ids are matched exactly: what is no id is no scope."""
    for scope in (Scope((b"*",), ()), Scope((b"",), ()), Scope((), (b"i" * 15,)), Scope((), ("*",))):  # type: ignore[arg-type]
        with pytest.raises(FormatError):
            encode_record(world.grant(scope=scope))


def test_limits_are_all_mandatory() -> None:
    """There is no grant without every cap."""
    with pytest.raises(TypeError):
        Limits(1, 1, 1)  # type: ignore[call-arg]


def test_every_denial_code_is_taken() -> None:
    """The list that authorize uses is the list that the wire takes."""
    for code in DENIAL_CODES:
        assert decode_record(type(world.denial()), encode_record(world.denial(code=code))).code == code


def test_X2_leased_keys_are_neither_shown_nor_copied() -> None:
    """repr, pickle and copy give no DEK away."""
    assert "k" * 32 not in repr(SECRETS)
    assert b"k".hex() * 32 not in repr(SECRETS)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leave(LEASED)
