"""The choke point for leases issued ahead: a prekey passes the checks of a request, each refusal beside its twin."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.errors import DeniedError, FormatError
from labelvault.issuer.authorize import Authorized, PrekeyUse, TaskFacts, authorize
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import Signed, sign_message
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.messages import Grant
from tests.issuer.test_authorize import (
    BATCH,
    CLIENT,
    DESK,
    DESK_GRANT,
    EPOCH,
    GRANT,
    HELPER,
    IDENTITY,
    ITEM,
    LIMITS,
    MS,
    NOW,
    OTHER,
    PROJECT,
    SKEW,
    THIEF,
    USAGE,
)

KEYS = tuple(OneTimeKey.generate().public_key for _ in range(2))
BUNDLE = PrekeyBundle(CLIENT, EPOCH, KEYS, NOW, NOW + timedelta(days=7))


def decide(
    *,
    bundle: dict[str, Any] | None = None,
    grant: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
    signer: SigningKey = HELPER,
    index: int = 0,
    item: bytes = ITEM,
    named: Signed[Grant] | None = None,
) -> Authorized:
    """Decide on a prekey's use; arguments say what differs from one that is granted."""
    signed = sign_message(replace(GRANT, **grant or {}), IDENTITY)
    keys = sign_message(replace(BUNDLE, **bundle or {}), signer)
    use = PrekeyUse(keys, index, item, (named or signed).hash)
    return authorize(use, signed, replace(USAGE, **usage or {}), NOW)


def test_a_prekey_gets_the_lease_of_its_own_grant_and_key() -> None:
    """The verdict names the contractor that signed the bundle, the key that was meant, and an id made of both."""
    for index, key in enumerate(KEYS):
        verdict = decide(index=index)
        assert verdict.asked.one_time_key == key
        assert verdict.asked.contractor == HELPER.public_key
        assert verdict.asked.lease_id == prekey_lease_id(verdict.grant.hash, key)
        assert verdict.asked.ahead
        assert verdict.expires_at == NOW + timedelta(seconds=LIMITS.lease_ttl_s)


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("unknown", {"signer": THIEF}),
        ("unknown", {"bundle": {"client": b"x" * 32}}),
        ("unknown", {"item": OTHER}),
        ("unknown", {"usage": {"task": None}}),
        ("unknown", {"usage": {"issuer": b"x" * 32}}),
        ("unknown", {"usage": {"task": TaskFacts(ITEM, PROJECT, b"x" * 16, False)}}),
        ("epoch", {"bundle": {"epoch": b"x" * 16}}),
        ("stale", {"bundle": {"at": NOW - timedelta(days=1), "expires_at": NOW}}),
        ("stale", {"bundle": {"at": NOW + SKEW + MS, "expires_at": NOW + timedelta(days=1)}}),
        ("stale", {"usage": {"accept_from": NOW + MS}}),
        ("not-yet-valid", {"grant": {"not_before": NOW + MS}}),
        ("expired", {"grant": {"expires_at": NOW}}),
        ("revoked", {"usage": {"grant_revoked": True}}),
        ("frozen", {"usage": {"frozen": True}}),
        ("replayed", {"usage": {"key_spent": True}}),
        ("limit-open", {"usage": {"open_leases": 2}}),
        ("limit-total", {"usage": {"total_leases": 10}}),
        ("limit-rate", {"usage": {"released_last_hour": 5}}),
        ("unavailable", {"bundle": {"keys": (bytes(1216),)}}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_C4_a_prekey_passes_every_check_of_a_request(code: str, refused: dict[str, Any]) -> None:
    """What refuses a request refuses a prekey, with the same code; without the fault it is granted."""
    with pytest.raises(DeniedError) as denied:
        decide(**refused)
    assert denied.value.code == code
    assert decide().asked.item == ITEM


def test_a_prekey_named_with_another_grant_is_refused() -> None:
    """The grant that the client means has to be the one that the issuer's state holds."""
    other = sign_message(replace(GRANT, grant_id=b"h" * 16), IDENTITY)
    with pytest.raises(DeniedError) as denied:
        decide(named=other)
    assert denied.value.code == "unknown"


@pytest.mark.parametrize("presence", ["key", "waived"])
def test_F14_a_desks_prekeys_are_refused(presence: str) -> None:
    """Nobody can be present in advance, so no desk gets a lease ahead, not even where presence is waived."""
    grant = dict(DESK_GRANT, presence=presence, presence_key=DESK_GRANT["presence_key"] if presence == "key" else None)
    with pytest.raises(DeniedError) as denied:
        decide(grant=grant, signer=DESK)
    assert denied.value.code == "presence"


def test_no_lease_outlives_its_prekey() -> None:
    """The device erases prekeys when their bundle ends, so no lease may need one after that."""
    end = NOW + timedelta(minutes=7)
    assert decide(bundle={"expires_at": end}).expires_at == end
    assert decide(grant={"scope": replace(GRANT.scope, batches=(BATCH,))}).expires_at > end


@pytest.mark.parametrize("index", [-1, 2])
def test_a_key_that_the_bundle_lacks_is_no_prekey(index: int) -> None:
    """Numbers outside the bundle are refused, also negative ones."""
    with pytest.raises(FormatError):
        decide(index=index)
