"""The choke point against a model that is written from the specification: any mix of faults, any number at a border."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from labelvault.issuer.authorize import TaskFacts
from labelvault.wire.messages import Scope
from tests.assurance.check import Cases, Check, Counts
from tests.issuer.test_authorize import (
    BATCH,
    DESK,
    DESK_GRANT,
    DEVICE,
    HELPER,
    ITEM,
    KEY,
    LEASE,
    MS,
    NOW,
    OTHER,
    PROJECT,
    SKEW,
    THIEF,
    USAGE,
    Case,
    limits,
)
from tests.vectors.entries import ENTRIES, said
from tests.vectors.form import load, names

HOARDED = timedelta(minutes=5)
Verdict = list[tuple[str, bool]]
"""Codes in the order in which they answer, each with whether it applies."""


def _odd(rng: Random) -> bool:
    """Most of what a request consists of is as it should be, so that the checks behind the first are reached."""
    return rng.random() < 0.06


def drawn(rng: Random) -> tuple[Case, str]:
    """A request, its grant and the issuer's state; and what must be answered."""
    case: dict[str, Any] = {"request": {}, "grant": {}, "usage": {}, "signer": HELPER}
    tier = rng.choice(("helper", "helper", "desk", "waived"))
    if tier != "helper":
        case["grant"] |= DESK_GRANT if tier == "desk" else DESK_GRANT | {"presence": "waived", "presence_key": None}
        case["signer"] = DESK
    order = [
        *_parties(case, rng),
        *_times(case, rng),
        *_stops(case, rng),
        *_scope(case, rng),
        *_presence(case, rng, tier),
        *_renewal(case, rng),
        *_limits(case, rng),
        *_one_time_key(case, rng),
    ]
    return Case(**case), next((code for code, applies in order if applies), "granted")


def _parties(case: dict[str, Any], rng: Random) -> Verdict:
    faults = {name: _odd(rng) for name in ("signer", "grant_hash", "client", "project", "epoch", "issuer")}
    if faults["signer"]:
        case["signer"] = THIEF
    for name, other in (("grant_hash", bytes(32)), ("client", bytes(32)), ("project", OTHER), ("epoch", OTHER)):
        if faults[name]:
            case["request"][name] = other
    if faults["issuer"]:
        case["usage"]["issuer"] = bytes(32)
    unknown = any(faults[name] for name in ("signer", "grant_hash", "client", "project"))
    return [("unknown", unknown), ("epoch", faults["epoch"]), ("unknown", faults["issuer"])]


def _times(case: dict[str, Any], rng: Random) -> Verdict:
    """Everything within a millisecond of its border, or far from it."""
    at, lives = NOW, timedelta(minutes=5)
    now = NOW + rng.choice((timedelta(0), timedelta(minutes=2)))
    if _odd(rng):
        now = at + rng.choice((lives - MS, lives, lives + MS, -SKEW, -SKEW - MS))
    accept_from, starts, ends = now - timedelta(days=2), now - timedelta(days=1), now + timedelta(days=1)
    if _odd(rng):
        accept_from = at + rng.choice((-MS, timedelta(0), MS))
    if _odd(rng):
        starts = now + rng.choice((-MS, timedelta(0), MS))
    if _odd(rng):
        ends = now + rng.choice((timedelta(0), MS, timedelta(hours=1)))
    if ends <= starts:
        starts = ends - MS
    case["now"] = now
    case["usage"]["accept_from"] = accept_from
    case["grant"] |= {"not_before": starts, "expires_at": ends}
    stale = now >= at + lives or at > now + SKEW or at < accept_from
    return [("stale", stale), ("not-yet-valid", now < starts), ("expired", now >= ends)]


def _stops(case: dict[str, Any], rng: Random) -> Verdict:
    faults = {name: _odd(rng) for name in ("grant_revoked", "frozen", "key_spent")}
    case["usage"] |= faults
    return [("revoked", faults["grant_revoked"]), ("frozen", faults["frozen"]), ("replayed", faults["key_spent"])]


def _scope(case: dict[str, Any], rng: Random) -> Verdict:
    task: TaskFacts | None = TaskFacts(ITEM, PROJECT, BATCH, False)
    named, fault = rng.random() < 0.3, None
    case["grant"]["scope"] = Scope((BATCH,), (ITEM,) if named else ())
    if _odd(rng):
        fault = rng.choice(("none", "item", "project", "batch", "revoked"))
        task = {
            "none": None,
            "item": TaskFacts(OTHER, PROJECT, BATCH, False),
            "project": TaskFacts(ITEM, OTHER, BATCH, False),
            "batch": TaskFacts(ITEM, PROJECT, OTHER, False),
            "revoked": TaskFacts(ITEM, PROJECT, BATCH, True),
        }[fault]
    case["usage"]["task"] = task
    unknown = fault in ("none", "item", "project") or (fault == "batch" and not named)
    return [("unknown", unknown), ("revoked", fault == "revoked")]


def _presence(case: dict[str, Any], rng: Random, tier: str) -> Verdict:
    """Approved by the grant's own device, not long ago; elsewhere not approved at all."""
    wanted = tier == "desk"
    age, device = (timedelta(0), DEVICE) if wanted else (None, None)
    if _odd(rng):
        age = rng.choice((None, -SKEW - MS, -SKEW, HOARDED, HOARDED + MS))
    if _odd(rng):
        device = rng.choice((None, DEVICE, DESK, THIEF))
    case["request"]["approved_at"] = None if age is None else case["now"] - age
    case["device"] = device
    if not wanted:
        return [("presence", age is not None or device is not None)]
    return [("presence", age is None or not -SKEW <= age <= HOARDED or device is not DEVICE)]


def _renewal(case: dict[str, Any], rng: Random) -> Verdict:
    renewing, live = rng.random() < 0.3, None
    if renewing:
        case["request"]["replaces"] = LEASE
        live = "right"
    if _odd(rng):
        live = rng.choice((None, "right", "lease_id", "grant_hash", "contractor", "item"))
    if live is not None:
        owner = DESK if case["grant"].get("tier") == "desk" else HELPER
        changes: dict[str, Any] = {"contractor": owner.public_key}
        other = {"lease_id": bytes(32), "grant_hash": bytes(32), "contractor": THIEF.public_key, "item": OTHER}
        case["renews"] = changes | ({live: other[live]} if live != "right" else {})
    case["_live"] = live is not None
    return [("replaces", renewing != (live is not None) or live not in (None, "right"))]


def _limits(case: dict[str, Any], rng: Random) -> Verdict:
    most = {"max_open": rng.choice((1, 2, 5)), "max_total": rng.choice((1, 10)), "per_hour": rng.choice((1, 5))}
    case["grant"] |= limits(**most)
    renews = case.pop("_live")
    held = {name: max(0, most[name] - 1 - rng.randrange(2)) for name in most}
    held["max_open"] += renews
    for name in most:
        if _odd(rng):
            held[name] = most[name] + rng.choice((0, 1))
    state = {"max_open": "open_leases", "max_total": "total_leases", "per_hour": "released_last_hour"}
    case["usage"] |= {state[name]: number for name, number in held.items()}
    return [
        ("limit-open", held["max_open"] - renews >= most["max_open"]),
        ("limit-total", held["max_total"] >= most["max_total"]),
        ("limit-rate", held["per_hour"] >= most["per_hour"]),
    ]


def _one_time_key(case: dict[str, Any], rng: Random) -> Verdict:
    bad = _odd(rng)
    # An ML-KEM-768 key whose coefficients are out of range is none.
    case["request"]["one_time_key"] = b"\xff" * 1184 + KEY[1184:] if bad else KEY
    return [("unavailable", bad)]


def decisions(_: Path) -> Cases:
    """Any mix of faults."""

    def attempt(_: int, rng: Random) -> None:
        case, expected = drawn(rng)
        found = case.code()
        assert found == expected, f"{found}, and not {expected}"
        if found == "granted":
            verdict = case.decide()
            assert verdict.issued_at == case.now
            granted = case.grant.message
            lives = timedelta(seconds=granted.limits.lease_ttl_s)
            assert verdict.expires_at == min(case.now + lives, granted.expires_at, USAGE.certified_until)

    return Cases(attempt)


def vectors(folder: Path) -> Cases:
    """Every committed fault, by every entry of its area."""
    cases = [(name, label) for name in names() if load(name).twin is not None for label in ENTRIES[load(name).area]]

    def attempt(number: int, _: Random) -> None:
        name, label = cases[number]
        vector, place = load(name), folder / f"{number}"
        place.mkdir(exist_ok=True)
        found = said(ENTRIES[vector.area][label], vector.inputs, place)
        assert found == vector.refused.get(label), f"{name}, {label}: {found}, not {vector.refused.get(label)}"

    return Cases(attempt, len(cases))


CHECKS = (
    Check(
        "decisions",
        "requests with any mix of faults and every number at its border: the issuer's one decision is the model's",
        ("R1", "R3", "R6", "F14", "F15", "C5"),
        decisions,
        Counts(2_000, 200_000, 5_000_000),
    ),
    Check(
        "vectors",
        "every committed fault, by every entry of its area: refused as its file says",
        ("F1", "F3", "F7", "F8", "F9", "P1"),
        vectors,
        Counts(200, None, None),
    ),
)
