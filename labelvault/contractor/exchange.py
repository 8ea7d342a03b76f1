"""Sending a request and finding its answer, through the vault's mailbox or an issuer in the same process."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from labelvault.contractor.membership import Membership, read_certificate
from labelvault.contractor.opening import read_denial, read_lease
from labelvault.errors import (
    DeniedError,
    EnrolmentError,
    FormatError,
    LabelVaultError,
    LeaseError,
    LeaseExpiredError,
    RelayError,
    RequestTimeoutError,
    RollbackError,
    SignatureError,
    StoreError,
)
from labelvault.relay.protocol import Relay, Reply
from labelvault.wire.answers import Ack
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import Frame, Signed, parse_frame
from labelvault.wire.ids import ClientId, contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import MAX_REQUEST_LIFETIME, Denial, IssuerCertificate, Lease, LeaseOuter, OpenRequest
from labelvault.wire.presence import Approval
from labelvault.wire.schema import decode_record

_POLL_S: Final = 0.02
_POLL_MAX_S: Final = 0.5
_PAGE: Final = 1000


class EpochChanged(LabelVaultError):
    """The issuer was certified for a new ledger epoch; asking again with its certificate will do.

    Attributes:
        certificate: the newer one, verified.
    """

    def __init__(self, certificate: Signed[IssuerCertificate]) -> None:
        super().__init__("the issuer was certified anew; ask again")
        self.certificate = certificate


class Exchange(Protocol):
    """A way to put a request to the issuer."""

    def ask(self, request: Signed[OpenRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """Send a request, and return the first answer that `accept` takes.

        Args:
            request: signed.
            accept: returns the answer if it is ours and verifies, None if it is not; raises if it settles the matter.
            timeout_s: how long to wait, in seconds.

        Raises:
            RequestTimeoutError: no answer came.
        """
        ...


class DirectExchange:
    """An issuer in this process, or behind a transport of the platform's own."""

    def __init__(self, handle: Callable[[bytes], bytes | None]) -> None:
        """Use `labelvault.issuer.service.Issuer.handle`, or anything that gets bytes there and back."""
        self._handle = handle

    def ask(self, request: Signed[OpenRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """See `Exchange`."""
        answer = self._handle(request.data)
        taken = None if answer is None else accept(answer)
        if taken is None:
            raise RequestTimeoutError(timeout_s)
        return taken


class MailboxExchange:
    """The vault's mailbox: post, then look for the answer until it is there."""

    def __init__(
        self,
        relay: Relay,
        membership: Membership,
        take_ack: Callable[[bytes], bool] = lambda _: False,
        drop: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        """Use a relay.

        Args:
            relay: the way to the vault.
            membership: says whose answers belong into the mailbox.
            take_ack: takes acks in.
            drop: with an answer, gets the numbers of messages that need no delivery any more, to say so at the vault
                with whatever is said next; by default it is said at once.
        """
        self._relay = relay
        self._membership = membership
        self._take_ack = take_ack
        self._drop = drop

    def ask(self, request: Signed[OpenRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """See `Exchange`."""
        client = ClientId(request.message.client)
        self._relay.post(issuer_mailbox(client), request.data)
        mailbox = contractor_mailbox(client, request.frame.signer)
        read: list[int] = []
        try:
            answer = await_message(
                self._relay, mailbox, accept, self._membership, request.message.at, timeout_s, read, self._take_ack
            )
        except LabelVaultError:
            drop(self._relay, mailbox, read)
            raise
        (self._drop or partial(drop, self._relay, mailbox))(read)
        return answer


def await_message(
    relay: Relay,
    mailbox: bytes,
    accept: Callable[[bytes], bytes | None],
    membership: Membership,
    asked_at: datetime,
    timeout_s: float,
    read: list[int],
    take_ack: Callable[[bytes], bool] = lambda _: False,
) -> bytes:
    """Look into a contractor's mailbox until a message comes that `accept` takes; return what it makes of it.

    Args:
        relay: the way to the vault.
        mailbox: 32 bytes.
        accept: see `Exchange.ask`.
        membership: says whose messages belong into the mailbox; others need no delivery, so that they don't fill it.
        asked_at: likewise, what was outdated by then.
        timeout_s: how long to wait, in seconds.
        read: gets the numbers of messages that need no delivery any more; see `drop`.
        take_ack: takes acks in, and says so; what it does not take goes on waiting.

    Raises:
        RequestTimeoutError: it did not come.
    """
    deadline = time.monotonic() + timeout_s
    pause = _POLL_S
    seen = 0
    while True:
        # A vault that keeps the question open answers as soon as something comes; one that does not is asked again.
        asked_s = time.monotonic()
        wait_s = max(0.0, deadline - asked_s)
        found = relay.fetch(mailbox, after=seen, limit=_PAGE, wait_s=wait_s)
        for number, data in found:
            seen = number
            # What is not ours, or does not verify, is passed over: the vault can put anything here, and a forged
            # answer must not hide the true one.
            try:
                taken = _taken(accept, data)
            except LabelVaultError:
                read.append(number)
                raise
            if taken is not None:
                read.append(number)
                return taken
            if take_ack(data) or not _is_genuine(data, membership) or is_outdated(data, asked_at):
                read.append(number)
        if time.monotonic() + pause > deadline:
            raise RequestTimeoutError(timeout_s)
        if not found and time.monotonic() - asked_s < _POLL_S:
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_MAX_S)


def drop(relay: Relay, mailbox: bytes, numbers: Sequence[int]) -> None:
    """Say at the vault that messages need no delivery any more."""
    # What is offered again is passed over again: a vault that is away now changes nothing.
    with suppress(RelayError, StoreError):
        if numbers:
            relay.reply(mailbox, [Reply(number) for number in numbers])


def _taken(accept: Callable[[bytes], bytes | None], data: bytes) -> bytes | None:
    try:
        return accept(data)
    except LeaseExpiredError:
        # Signed by the issuer, for this request, and over: a clock is wrong, and waiting on would hide it.
        raise
    except (FormatError, SignatureError, LeaseError, EnrolmentError, RollbackError):
        return None


def _is_genuine(data: bytes, membership: Membership) -> bool:
    """Tell whether the client's issuer or our presence device signed this, for whichever request of ours.

    Anything else only fills the mailbox.
    """
    try:
        frame = parse_frame(data)
        if frame.type == Lease.TYPE:
            frame.verify(membership.certificate.message.issuer)
        elif frame.type == Denial.TYPE:
            denial = decode_record(Denial, frame.body)
            frame.verify(read_certificate(denial.certificate, membership.identity_key).message.issuer)
        elif frame.type == Approval.TYPE:
            frame.verify(membership.grant.message.presence_key or b"")
        elif frame.type == Ack.TYPE:
            open_certified(data, Ack, membership.client)
        else:
            return False
    except (FormatError, SignatureError, EnrolmentError):
        return False
    return True


def is_outdated(data: bytes, now: datetime) -> bool:
    """Tell whether a waiting message is a dead answer to some earlier request, which only fills the mailbox.

    Decides nothing but whether the vault goes on offering it, so it is taken at its word.
    """
    try:
        frame = parse_frame(data)
        if frame.type == Lease.TYPE:
            return decode_record(LeaseOuter, decode_record(Lease, frame.body).outer).expires_at < now
        if frame.type == Approval.TYPE:
            return decode_record(Approval, frame.body).at < now - MAX_REQUEST_LIFETIME
        return frame.type == Denial.TYPE and decode_record(Denial, frame.body).at < now - MAX_REQUEST_LIFETIME
    except FormatError:
        return True


def acceptor(
    request: Signed[OpenRequest], membership: Membership, now: Callable[[], datetime]
) -> Callable[[bytes], bytes | None]:
    """Return the `accept` of a request: takes its verified lease, raises its verified denial, passes over the rest.

    The returned function raises DeniedError, EpochChanged, and what `read_lease` and `read_denial` raise.
    """

    def accept(data: bytes) -> bytes | None:
        frame = parse_frame(data)
        if answered(frame) != request.hash:
            return None
        if frame.type == Denial.TYPE:
            denial, certificate = read_denial(data, request, membership)
            if denial.code == "epoch" and certificate.message.serial > membership.certificate.message.serial:
                raise EpochChanged(certificate)
            raise DeniedError(denial.code)
        read_lease(data, request, membership, now())
        return data

    return accept


def answered(frame: Frame) -> bytes | None:
    """Return the hash of the request that an unverified frame claims to answer."""
    if frame.type == Lease.TYPE:
        return decode_record(LeaseOuter, decode_record(Lease, frame.body).outer).lease_id
    if frame.type == Denial.TYPE:
        return decode_record(Denial, frame.body).request_hash
    return None
