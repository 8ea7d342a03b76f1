"""At the desk: getting the presence device's cosignature for what the desk is about to sign.

The device is the contractor's own and stands elsewhere, so a person approves there while the desk waits here. What
comes back counts only if the device's key, which the client's grant names, cosigned exactly these bytes for this desk.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from labelvault.contractor.exchange import await_message, drop
from labelvault.contractor.membership import Membership
from labelvault.errors import (
    ApprovalTimeoutError,
    FormatError,
    PresenceError,
    RequestTimeoutError,
    SignatureError,
)
from labelvault.keys.files import erase_file, make_private_dir, read_private, write_private
from labelvault.relay.protocol import Relay
from labelvault.wire.answers import Submission
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.frame import Signed, Signer, open_frame, parse_frame, sign_message
from labelvault.wire.ids import ClientId, contractor_mailbox, presence_mailbox
from labelvault.wire.messages import OpenRequest
from labelvault.wire.presence import Approval, ApprovalRequest
from labelvault.wire.schema import encode_record

APPROVAL_WAIT_S: Final = 120.0
"""How long a desk waits: a device refuses what is dated more than 120 s from its own clock."""
_POLL_S: Final = 0.2
_LOOK_S: Final = 1.0
"""How often a wait looks whether it is given up."""


def _never() -> bool:
    return False


class DeviceWay(Protocol):
    """A way to put a question to the presence device."""

    def ask(self, request: Signed[ApprovalRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """Send a request for approval, and return what `accept` makes of the first answer that it takes.

        Args:
            request: signed by the desk.
            accept: returns the cosignature, or None for whatever is no answer to this request.
            timeout_s: how long to wait, in seconds.

        Raises:
            ApprovalTimeoutError: nobody approved in time.
        """
        ...


class MailboxDevice:
    """The vault's mailbox: the device looks there with `labelvault contractor approve`."""

    def __init__(self, relay: Relay, membership: Membership, given_up: Callable[[], bool] = _never) -> None:
        """Use a relay; `membership` says whose messages belong into the desk's mailbox."""
        self._relay = relay
        self._membership = membership
        self._given_up = given_up

    def ask(self, request: Signed[ApprovalRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """See `DeviceWay`."""
        message = request.message
        client = ClientId(message.client)
        self._relay.post(presence_mailbox(client, message.presence_key), request.data)
        mailbox = contractor_mailbox(client, request.frame.signer)
        end, read = time.monotonic() + timeout_s, list[int]()
        try:
            while (left_s := end - time.monotonic()) > 0 and not self._given_up():
                with suppress(RequestTimeoutError):
                    look_s = min(left_s, _LOOK_S)
                    return await_message(self._relay, mailbox, accept, self._membership, message.at, look_s, read)
        finally:
            drop(self._relay, mailbox, read)
        raise ApprovalTimeoutError(timeout_s)


class DirectDevice:
    """A device in this process, or behind a transport of the platform's own."""

    def __init__(self, handle: Callable[[bytes], bytes | None]) -> None:
        """Use anything that gets bytes there and back; None says that nobody approved."""
        self._handle = handle

    def ask(self, request: Signed[ApprovalRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """See `DeviceWay`."""
        answer = self._handle(request.data)
        if answer is None:
            raise ApprovalTimeoutError(timeout_s)
        taken = accept(answer)
        if taken is None:
            raise PresenceError("what the device answered is no approval of this request")
        return taken


class FolderDevice:
    """A folder that both reach (a share, a stick): the request goes in as `ID.ask`, the approval as `ID.approval`."""

    def __init__(self, folder: Path, given_up: Callable[[], bool] = _never) -> None:
        """Use a folder; it is made if it is not there."""
        self._folder = Path(folder)
        self._given_up = given_up

    def ask(self, request: Signed[ApprovalRequest], accept: Callable[[bytes], bytes | None], timeout_s: float) -> bytes:
        """See `DeviceWay`."""
        make_private_dir(self._folder)
        asked = self._folder / f"{request.hash.hex()[:16]}.ask"
        answer = asked.with_suffix(".approval")
        write_private(asked, request.data, replace=True)
        end = time.monotonic() + timeout_s
        try:
            while time.monotonic() < end and not self._given_up():
                taken = accept(read_private(answer, MAX_BYTES)) if answer.exists() else None
                if taken is not None:
                    erase_file(answer)
                    return taken
                time.sleep(_POLL_S)
        finally:
            erase_file(asked)
        raise ApprovalTimeoutError(timeout_s)


def _unheard(request: ApprovalRequest) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Approving:
    """How a desk gets its approvals.

    Attributes:
        way: to the device: the vault's mailbox if None.
        timeout_s: how long to wait for a person, in seconds.
        on_wait: called when the device is about to be asked, so that somebody can be told.
        given_up: looked at while waiting on the vault; once it is true, the wait ends.
    """

    way: DeviceWay | Callable[[bytes], bytes | None] | None = None
    timeout_s: float = APPROVAL_WAIT_S
    on_wait: Callable[[ApprovalRequest], None] = _unheard
    given_up: Callable[[], bool] = _never


BY_MAILBOX: Final = Approving()


class Presence:
    """A desk's end of presence: gets the device's cosignature for a record, under the grant that names the device."""

    def __init__(
        self, membership: Membership, identity: Signer, relay: Callable[[], Relay], approving: Approving
    ) -> None:
        """Use a desk's parts.

        Args:
            membership: its grant names the presence key.
            identity: the desk's key.
            relay: the way to the vault; called if the device is reached through it.
            approving: how to get approvals.
        """
        self._membership = membership
        self._identity = identity
        self._relay = relay
        self._approving = approving

    def cosign(self, record: OpenRequest | Submission, now: datetime) -> bytes:
        """See `ask_device`."""
        way = self._approving.way
        if way is None:
            way = MailboxDevice(self._relay(), self._membership, self._approving.given_up)
        elif callable(way):
            way = DirectDevice(way)
        return ask_device(
            record,
            self._membership,
            self._identity,
            way,
            now,
            timeout_s=self._approving.timeout_s,
            on_wait=self._approving.on_wait,
        )


def ask_device(
    record: OpenRequest | Submission,
    membership: Membership,
    identity: Signer,
    way: DeviceWay,
    now: datetime,
    *,
    timeout_s: float = APPROVAL_WAIT_S,
    on_wait: Callable[[ApprovalRequest], None] = _unheard,
) -> bytes:
    """Have the presence device approve what this desk is about to sign.

    Args:
        record: what will be signed, with its time of approval in it: `now`, or the device refuses.
        membership: its grant names the presence key.
        identity: the desk's key.
        way: to the device.
        now: our time.
        timeout_s: how long to wait for a person, in seconds.
        on_wait: see `Approving`.

    Returns:
        The cosignature, 64 bytes, for `labelvault.wire.frame.sign_message`.

    Raises:
        PresenceError: the grant asks for no device, or something answered that is no approval.
        ApprovalTimeoutError: nobody approved in time, or the wait was given up.
        RelayError, StoreError: the vault can't be reached.
    """
    presence_key = membership.grant.message.presence_key
    if presence_key is None:
        raise PresenceError("this grant names no presence device")
    request = sign_message(
        ApprovalRequest(
            client=membership.client,
            project=membership.project,
            presence_key=presence_key,
            asks=record.TYPE,
            body=encode_record(record),
            at=now,
        ),
        identity,
    )
    on_wait(request.message)
    return way.ask(request, lambda data: read_approval(data, request, record, identity), timeout_s)


def read_approval(
    data: bytes, request: Signed[ApprovalRequest], record: OpenRequest | Submission, identity: Signer
) -> bytes | None:
    """Return the cosignature that an approval of our request holds; None for anything else.

    What waits in a mailbox is untrusted: what is malformed, not the device's, or for another request is passed over.
    """
    asked = request.message
    try:
        if parse_frame(data).type != Approval.TYPE:
            return None
        approval = open_frame(data, Approval, asked.presence_key).message
        expected = (asked.client, asked.project, request.frame.signer, request.hash)
        if (approval.client, approval.project, approval.contractor, approval.request_hash) != expected:
            return None
        sign_message(record, identity, approval.cosignature).frame.verify_cosignature(asked.presence_key)
    except (FormatError, SignatureError):
        return None
    return approval.cosignature
