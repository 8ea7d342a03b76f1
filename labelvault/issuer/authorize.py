"""The one choke point [G4]: every check that stands between a request and a DEK, in one pure function.

It runs where the key is, not where the attacker is. What it decides on comes from the issuer's own state (`grant`,
`usage`), never from the request, which only names things. Anything but an `Authorized` is refused by `release`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from labelvault.crypto.hpke import check_public_key
from labelvault.errors import DeniedError, FormatError, SignatureError
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import Frame, Signed
from labelvault.wire.ids import LeaseId, prekey_lease_id
from labelvault.wire.messages import Grant, OpenRequest
from labelvault.wire.times import check_time

CLOCK_SKEW: Final = timedelta(seconds=120)
"""How far a contractor's clock may run ahead of the issuer's."""
PRESENCE_MAX_AGE: Final = timedelta(minutes=5)
"""How old a presence device's approval may be."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the catalog says of the asked-for item, if it is a task that stands in a queue and can be opened.

    Attributes:
        revoked: its batch was revoked.
    """

    item: bytes
    project: bytes
    batch: bytes
    revoked: bool


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
        grant_revoked: the grant, its contractor or its project was revoked.
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


@dataclass(frozen=True, slots=True)
class PrekeyUse:
    """The client means one key of a contractor's verified bundle for one task, under one grant.

    Attributes:
        bundle: verified under the contractor key that signed it.
        index: of the key in the bundle, from 0.
        item: the task's id, 16 bytes.
        grant_hash: 32 bytes.
    """

    bundle: Signed[PrekeyBundle]
    index: int
    item: bytes
    grant_hash: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, however it came: by an open request, or with a prekey. Both pass the same checks.

    Attributes:
        lease_id: of the lease that answers, 32 bytes: hash of the request, or of grant and prekey.
        contractor: the key that signed request or bundle, 32 bytes.
        client: that request or bundle names, 32 bytes.
        project: that the request names; a bundle names none.
        one_time_key: the lease is sealed to it.
        at: when the contractor signed, by its own clock.
        expires_at: from then on nothing is released.
        lease_end: what else ends the lease; a prekey is erased then.
        approval: at a desk, when its presence device approved, and the frame that bears the cosignature.
        ahead: with a prekey.
    """

    lease_id: LeaseId
    contractor: bytes
    client: bytes
    project: bytes | None
    epoch: bytes
    grant_hash: bytes
    item: bytes
    one_time_key: bytes
    at: datetime
    expires_at: datetime
    lease_end: datetime | None
    replaces: bytes | None
    approval: tuple[datetime | None, Frame] | None
    ahead: bool


def asked(request: Signed[OpenRequest] | PrekeyUse) -> Asked:
    """Return what a verified request, or a prekey of a verified bundle, asks for.

    Raises:
        FormatError: the bundle has no such key.
    """
    if isinstance(request, PrekeyUse):
        return _asked_ahead(request)
    message = request.message
    return Asked(
        lease_id=LeaseId(request.hash),
        contractor=request.frame.signer,
        client=message.client,
        project=message.project,
        epoch=message.epoch,
        grant_hash=message.grant_hash,
        item=message.item,
        one_time_key=message.one_time_key,
        at=message.at,
        expires_at=message.expires_at,
        lease_end=None,
        replaces=message.replaces,
        approval=(message.approved_at, request.frame),
        ahead=False,
    )


def _asked_ahead(use: PrekeyUse) -> Asked:
    bundle = use.bundle.message
    if not 0 <= use.index < len(bundle.keys):
        raise FormatError("the bundle has no key of this number")
    key = bundle.keys[use.index]
    return Asked(
        lease_id=prekey_lease_id(use.grant_hash, key),
        contractor=use.bundle.frame.signer,
        client=bundle.client,
        project=None,
        epoch=bundle.epoch,
        grant_hash=use.grant_hash,
        item=use.item,
        one_time_key=key,
        at=bundle.at,
        expires_at=bundle.expires_at,
        lease_end=bundle.expires_at,
        replaces=None,
        approval=None,
        ahead=True,
    )


_PROOF: Final = object()


class Authorized:
    """Something asked for that passed every check. Made by `authorize` alone.

    Attributes:
        asked: what was asked for.
        grant: the grant that it stands on, from the issuer's own state.
        issued_at: the issuer's time.
        expires_at: the lease's end: `lease_ttl_s` after issue, or the end of grant, certificate or prekey if that is
            sooner.
        replaces: the lease that passes its open slot on, if the request renews one.
    """

    __slots__ = ("asked", "expires_at", "grant", "issued_at", "replaces")
    asked: Asked
    grant: Signed[Grant]
    issued_at: datetime
    expires_at: datetime
    replaces: LiveLease | None

    def __init__(self, proof: object, asked: Asked, grant: Signed[Grant], now: datetime, usage: Usage) -> None:
        if proof is not _PROOF:
            raise TypeError("only authorize() makes an Authorized")
        end = now + timedelta(seconds=grant.message.limits.lease_ttl_s)
        if asked.lease_end is not None:
            end = min(end, asked.lease_end)
        facts = {
            "asked": asked,
            "grant": grant,
            "issued_at": now,
            "expires_at": min(end, grant.message.expires_at, usage.certified_until),
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


def authorize(
    request: Signed[OpenRequest] | PrekeyUse, grant: Signed[Grant], usage: Usage, now: datetime
) -> Authorized:
    """Decide on a request, or on a lease that the client means to issue ahead with a prekey: one path for both.

    Args:
        request: verified under the contractor key that signed it, or its bundle.
        grant: from the issuer's own state, found by the request's grant hash.
        usage: the issuer's state.
        now: the issuer's time, aware UTC, whole milliseconds.

    Returns:
        The verdict that `release` needs.

    Raises:
        DeniedError: with one of `DENIAL_CODES`. A request is spent by it; a prekey is not.
        FormatError: `now` is naive or not UTC, or the bundle has no such key.
    """
    check_time(now)
    what, granted = asked(request), grant.message
    _check_parties(what, grant, usage)
    _check_times(what, granted, usage, now)
    if usage.grant_revoked:
        raise DeniedError("revoked")
    if usage.frozen:
        raise DeniedError("frozen")
    if usage.key_spent:
        raise DeniedError("replayed")
    _check_scope(what, granted, usage)
    _check_presence(what, granted, now)
    _check_replaces(what, usage)
    _check_limits(granted, usage)
    _check_one_time_key(what)
    return Authorized(_PROOF, what, grant, now, usage)


def _check_parties(what: Asked, grant: Signed[Grant], usage: Usage) -> None:
    granted = grant.message
    # "unknown" for all of these: who holds another's grant learns nothing of it.
    if what.contractor != granted.contractor or what.grant_hash != grant.hash:
        raise DeniedError("unknown")
    # A bundle is for any project of its client; the grant says which.
    if what.client != granted.client or (what.project != granted.project and not what.ahead):
        raise DeniedError("unknown")
    # Before the issuer: who asks the issuer of before a restore has to hear that there is another epoch.
    if what.epoch != usage.epoch:
        raise DeniedError("epoch")
    if granted.issuer != usage.issuer:
        raise DeniedError("unknown")


def _check_times(what: Asked, granted: Grant, usage: Usage, now: datetime) -> None:
    if now >= what.expires_at or what.at > now + CLOCK_SKEW or what.at < usage.accept_from:
        raise DeniedError("stale")
    if now < granted.not_before:
        raise DeniedError("not-yet-valid")
    if now >= granted.expires_at:
        raise DeniedError("expired")


def _check_scope(what: Asked, granted: Grant, usage: Usage) -> None:
    task = usage.task
    if task is None or task.item != what.item or task.project != granted.project:
        raise DeniedError("unknown")
    if task.batch not in granted.scope.batches and task.item not in granted.scope.items:
        raise DeniedError("unknown")
    # Last, so that nobody learns of a batch that was never in his scope.
    if task.revoked:
        raise DeniedError("revoked")


def _check_presence(what: Asked, granted: Grant, now: datetime) -> None:
    if what.approval is None:
        # Nobody can be present in advance: prekeys are for the contractor's own device, waived or not.
        if granted.tier != "helper":
            raise DeniedError("presence")
        return
    approved_at, frame = what.approval
    if granted.presence != "key":
        if approved_at is not None or frame.cosignature:
            raise DeniedError("presence")
        return
    if approved_at is None or granted.presence_key is None:
        raise DeniedError("presence")
    # An approval can't be hoarded: five minutes by the device's clock, which itself refuses a wrong one.
    if not -CLOCK_SKEW <= now - approved_at <= PRESENCE_MAX_AGE:
        raise DeniedError("presence")
    try:
        frame.verify_cosignature(granted.presence_key)
    except SignatureError:
        raise DeniedError("presence") from None


def _check_replaces(what: Asked, usage: Usage) -> None:
    old = usage.replaces
    if what.replaces is None:
        if old is not None:
            raise DeniedError("replaces")
        return
    if old is None or old.lease_id != what.replaces:
        raise DeniedError("replaces")
    if old.grant_hash != what.grant_hash or old.contractor != what.contractor or old.item != what.item:
        raise DeniedError("replaces")


def _check_one_time_key(what: Asked) -> None:
    # Before any DEK is unwrapped: sealing to it can't fail any more, with keys in the frames of a traceback.
    try:
        check_public_key(what.one_time_key)
    except FormatError:
        raise DeniedError("unavailable") from None


def _check_limits(granted: Grant, usage: Usage) -> None:
    # A renewal hands its open slot on; it counts in total and rate like any other. So does a lease issued ahead: it is
    # open from its issue, whenever it is fetched.
    held = usage.open_leases - (1 if usage.replaces is not None else 0)
    if held >= granted.limits.max_open:
        raise DeniedError("limit-open")
    if usage.total_leases >= granted.limits.max_total:
        raise DeniedError("limit-total")
    if usage.released_last_hour >= granted.limits.per_hour:
        raise DeniedError("limit-rate")
