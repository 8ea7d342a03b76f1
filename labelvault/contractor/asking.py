"""Asking the issuer online: one request, one answer, and once more where the issuer was certified anew meanwhile."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from labelvault.contractor.approval import Approving, Presence
from labelvault.contractor.exchange import DirectExchange, EpochChanged, Exchange, MailboxExchange, acceptor
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import make_request
from labelvault.contractor.post import Post
from labelvault.errors import DeniedError, LabelVaultError, LeaseError
from labelvault.wire.frame import Signed, Signer
from labelvault.wire.ids import ID_BYTES, parse_hex_id
from labelvault.wire.messages import OpenRequest

_T = TypeVar("_T")
AnyExchange = Exchange | Callable[[bytes], bytes | None] | None
"""How to reach the issuer: the vault's mailbox if None, or `Issuer.handle`, or a transport of one's own."""


class Asking:
    """Puts requests of one identity to its client's issuer."""

    def __init__(
        self,
        identity: Signer,
        joined: Joined,
        post: Post,
        now: Callable[[], datetime],
        take_ack: Callable[[bytes], bool],
    ) -> None:
        """Use a home's parts.

        Args:
            identity: signs requests.
            joined: keeps a newer certificate that a denial brings.
            post: the way to the vault.
            now: the checked time; raises ClockError.
            take_ack: takes acks in, which wait in the same mailbox.
        """
        self._identity = identity
        self._joined = joined
        self._post = post
        self._now = now
        self._take_ack = take_ack

    def anew(self, membership: Membership, attempt: Callable[[Membership], _T]) -> _T:
        """Make an attempt, and a second one if the issuer was certified for a new ledger epoch meanwhile.

        The denial that said so spent request and one-time key, so nothing of the first attempt goes into the second.
        """
        try:
            return attempt(membership)
        except EpochChanged as changed:
            membership = Membership(membership.identity_key, membership.invite, changed.certificate, membership.grant)
            self._joined.keep_certificate(membership)
        return attempt(membership)

    def ask(
        self,
        membership: Membership,
        item: bytes | str,
        one_time_key: bytes,
        timeout_s: float,
        exchange: AnyExchange,
        approving: Approving,
    ) -> tuple[Signed[OpenRequest], bytes]:
        """Ask for a task; return the request and the frame of its verified lease. What fails is given up.

        Args:
            membership: under which grant.
            item: the task's id: 16 bytes, or 32 hex digits.
            one_time_key: fresh; the lease is sealed to it.
            timeout_s: how long to wait, in seconds.
            exchange: how to reach the issuer.
            approving: at a desk, how to reach its presence device; first, so that nothing is asked without it.

        Raises:
            As `Contractor.open_task`, and EpochChanged.
        """
        request = self.request(membership, item, one_time_key, approving)
        try:
            return request, self.put(membership, request, timeout_s, exchange)
        except (DeniedError, EpochChanged):
            raise
        except LabelVaultError:
            self._post.given_up(request)
            raise

    def request(
        self,
        membership: Membership,
        item: bytes | str,
        one_time_key: bytes,
        approving: Approving,
        replaces: bytes | None = None,
    ) -> Signed[OpenRequest]:
        """Sign a request, at a desk with its device's approval; nothing is asked of the issuer yet.

        Args:
            membership: under which grant.
            item: the task's id: 16 bytes, or 32 hex digits.
            one_time_key: fresh; the lease is sealed to it.
            approving: at a desk, how to reach its presence device.
            replaces: the live lease that this one renews, 32 bytes.

        Raises:
            GrantError, LeaseError, ClockError, PresenceError, ApprovalTimeoutError: or one of their kinds.
        """
        task = task_id(item)
        now = self._now()
        membership.check_valid(now)
        # What was closed while the vault was away is said first, or the issuer would still count it as open.
        self._post.post_due()
        presence = Presence(membership, self._identity, lambda: self._post.relay(membership), approving)
        cosign = partial(presence.cosign, now=now) if membership.presence == "key" else None
        return make_request(membership, self._identity, task, one_time_key, now, replaces, cosign)

    def put(
        self, membership: Membership, request: Signed[OpenRequest], timeout_s: float, exchange: AnyExchange
    ) -> bytes:
        """Put a request to the issuer, and return the frame of its verified lease.

        The same request may be put again after a timeout: it gets the same answer, never a second lease.

        Raises:
            As `Contractor.open_task`, and EpochChanged.
        """
        if exchange is None:
            way: Exchange = MailboxExchange(
                self._post.relay(membership), membership, self._take_ack, partial(self._post.read, membership)
            )
        else:
            way = DirectExchange(exchange) if callable(exchange) else exchange
        return way.ask(request, acceptor(request, membership, self._now), timeout_s)


def task_id(item: bytes | str) -> bytes:
    """Return a task's id as 16 bytes.

    Raises:
        LeaseError, FormatError: it has another size, or is no hex.
    """
    task = parse_hex_id(item) if isinstance(item, str) else item
    if len(task) != ID_BYTES:
        raise LeaseError(f"a task's id has {ID_BYTES} bytes")
    return task
