"""The one choke point [G4]: every check that stands between a request and a DEK, in one pure function.

It runs where the key is, not where the attacker is. What it decides on comes from the issuer's own state (`grant`,
`usage`), never from the request, which only names things. Anything but an `Authorized` is refused by `release`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from labelvault.crypto.hpke import check_public_key
from labelvault.errors import DeniedError, FormatError, SignatureError
from labelvault.wire.frame import Signed
from labelvault.wire.messages import Grant, OpenRequest
from labelvault.wire.times import check_time

CLOCK_SKEW: Final = timedelta(seconds=120)
"""How far a contractor's clock may run ahead of the issuer's."""
PRESENCE_MAX_AGE: Final = timedelta(minutes=5)
"""How old a presence device's approval may be."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the catalog says of the asked-for item, if it is a task that stands in a queue and can be opened."""

    item: bytes
    project: bytes
    batch: bytes


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease of the issuer's own state that is neither closed, renewed nor expired."""

    lease_id: bytes
    grant_hash: bytes
    contractor: bytes
    item: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What the issuer's state says at this moment, read in the transaction that the release will be part of.

    Attributes:
        issuer: this issuer's certified key, 32 bytes; a grant names the issuer that may act on it.
        epoch: the ledger's, 16 bytes.
        certified_until: when the issuer's certificate ends; no lease outlives it.
        accept_from: requests dated earlier are refused (a restored issuer answers nothing from before).
        grant_revoked: the grant or its contractor was revoked.
        frozen: the project is frozen.
        key_spent: the request's one-time key was used before.
        task: facts of the asked-for item; None if there is no such task, or it is gold, a decoy or not a task.
        open_leases: leases of this grant that are live now.
        total_leases: leases of this grant ever, renewals included.
        released_last_hour: of these, issued less than 3,600 s ago.
        replaces: the live lease that the request names to renew; None if it names none, or none that lives.
    """

    issuer: bytes
    epoch: bytes
    certified_until: datetime
    accept_from: datetime
    grant_revoked: bool
    frozen: bool
    key_spent: bool
    task: TaskFacts | None
    open_leases: int
    total_leases: int
    released_last_hour: int
    replaces: LiveLease | None


_PROOF: Final = object()


class Authorized:
    """A request that passed every check. Made by `authorize` alone.

    Attributes:
        request: the verified request.
        grant: the grant that it stands on, from the issuer's own state.
        issued_at: the issuer's time.
        expires_at: the lease's end: `lease_ttl_s` after issue, or the end of grant or certificate if that is sooner.
        replaces: the lease that passes its open slot on, if the request renews one.
    """

    __slots__ = ("expires_at", "grant", "issued_at", "replaces", "request")
    request: Signed[OpenRequest]
    grant: Signed[Grant]
    issued_at: datetime
    expires_at: datetime
    replaces: LiveLease | None

    def __init__(
        self, proof: object, request: Signed[OpenRequest], grant: Signed[Grant], now: datetime, usage: Usage
    ) -> None:
        if proof is not _PROOF:
            raise TypeError("only authorize() makes an Authorized")
        ttl = timedelta(seconds=grant.message.limits.lease_ttl_s)
        facts = {
            "request": request,
            "grant": grant,
            "issued_at": now,
            "expires_at": min(now + ttl, grant.message.expires_at, usage.certified_until),
            "replaces": usage.replaces,
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    # A verdict is on one request: it can't be changed into one on another, doubled, stored or imitated by a subclass.

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a verdict is never changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a verdict is never changed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("verdicts are not pickled or copied")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a verdict has no subclasses")


def authorize(request: Signed[OpenRequest], grant: Signed[Grant], usage: Usage, now: datetime) -> Authorized:
    """Decide on a request.

    Args:
        request: verified under the contractor key that signed it.
        grant: from the issuer's own state, found by the request's grant hash.
        usage: the issuer's state.
        now: the issuer's time, aware UTC, whole milliseconds.

    Returns:
        The verdict that `release` needs.

    Raises:
        DeniedError: with one of `DENIAL_CODES`. The request is spent by it.
        FormatError: `now` is naive or not UTC.
    """
    check_time(now)
    _check_parties(request, grant, usage)
    _check_times(request.message, grant.message, usage, now)
    if usage.grant_revoked:
        raise DeniedError("revoked")
    if usage.frozen:
        raise DeniedError("frozen")
    if usage.key_spent:
        raise DeniedError("replayed")
    _check_scope(request.message, grant.message, usage)
    _check_presence(request, grant.message, now)
    _check_replaces(request, usage)
    _check_limits(grant.message, usage)
    _check_one_time_key(request.message)
    return Authorized(_PROOF, request, grant, now, usage)


def _check_parties(request: Signed[OpenRequest], grant: Signed[Grant], usage: Usage) -> None:
    asked, granted = request.message, grant.message
    # "unknown" for all of these: who holds another's grant learns nothing of it.
    if request.frame.signer != granted.contractor or asked.grant_hash != grant.hash:
        raise DeniedError("unknown")
    if asked.client != granted.client or asked.project != granted.project or granted.issuer != usage.issuer:
        raise DeniedError("unknown")
    if asked.epoch != usage.epoch:
        raise DeniedError("epoch")


def _check_times(asked: OpenRequest, granted: Grant, usage: Usage, now: datetime) -> None:
    if now >= asked.expires_at or asked.at > now + CLOCK_SKEW or asked.at < usage.accept_from:
        raise DeniedError("stale")
    if now < granted.not_before:
        raise DeniedError("not-yet-valid")
    if now >= granted.expires_at:
        raise DeniedError("expired")


def _check_scope(asked: OpenRequest, granted: Grant, usage: Usage) -> None:
    task = usage.task
    if task is None or task.item != asked.item or task.project != granted.project:
        raise DeniedError("unknown")
    if task.batch not in granted.scope.batches and task.item not in granted.scope.items:
        raise DeniedError("unknown")


def _check_presence(request: Signed[OpenRequest], granted: Grant, now: datetime) -> None:
    approved_at = request.message.approved_at
    if granted.presence != "key":
        if approved_at is not None or request.frame.cosignature:
            raise DeniedError("presence")
        return
    if approved_at is None or granted.presence_key is None:
        raise DeniedError("presence")
    # An approval can't be hoarded: five minutes by the device's clock, which itself refuses a wrong one.
    if not -CLOCK_SKEW <= now - approved_at <= PRESENCE_MAX_AGE:
        raise DeniedError("presence")
    try:
        request.frame.verify_cosignature(granted.presence_key)
    except SignatureError:
        raise DeniedError("presence") from None


def _check_replaces(request: Signed[OpenRequest], usage: Usage) -> None:
    asked, old = request.message, usage.replaces
    if asked.replaces is None:
        if old is not None:
            raise DeniedError("replaces")
        return
    if old is None or old.lease_id != asked.replaces:
        raise DeniedError("replaces")
    if old.grant_hash != asked.grant_hash or old.contractor != request.frame.signer or old.item != asked.item:
        raise DeniedError("replaces")


def _check_one_time_key(asked: OpenRequest) -> None:
    # Before any DEK is unwrapped: sealing to it can't fail any more, with keys in the frames of a traceback.
    try:
        check_public_key(asked.one_time_key)
    except FormatError:
        raise DeniedError("unavailable") from None


def _check_limits(granted: Grant, usage: Usage) -> None:
    # A renewal hands its open slot on; it counts in total and rate like any other.
    held = usage.open_leases - (1 if usage.replaces is not None else 0)
    if held >= granted.limits.max_open:
        raise DeniedError("limit-open")
    if usage.total_leases >= granted.limits.max_total:
        raise DeniedError("limit-total")
    if usage.released_last_hour >= granted.limits.per_hour:
        raise DeniedError("limit-rate")
