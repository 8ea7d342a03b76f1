"""The presence device's facade: the contractor's own phone or laptop, which approves what a desk may open.

A home holds `presence.key` (under the passphrase), `device.db` (what was approved and assigned) and `desks/KEY/` with
each desk's card, the client's pinned identity key, certificate and invites. Nothing in it decrypts anything, and the
key can't ask for anything by itself: it only cosigns what a desk signs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from labelvault.contractor.clock import checked_now
from labelvault.contractor.membership import Membership
from labelvault.contractor.presence_checks import Desk, Question, approve, examine, read_assignment
from labelvault.contractor.presence_desks import KnownDesks, check_words
from labelvault.contractor.presence_state import DeviceState
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    ApprovalRefusedError,
    ClockError,
    FormatError,
    KeystoreError,
    LabelVaultError,
)
from labelvault.keys.cards import cosign_draft
from labelvault.keys.files import make_private_dir
from labelvault.keys.identity import create_identity, open_identity
from labelvault.keys.keystore import DEFAULT_COST
from labelvault.keys.token import read_token
from labelvault.relay import Relay, open_relay
from labelvault.relay.local import utc_now
from labelvault.wire.frame import Signed, Signer, parse_frame
from labelvault.wire.ids import ClientId, contractor_mailbox, presence_mailbox
from labelvault.wire.messages import Card
from labelvault.wire.presence import Assignment

_PAGE: Final = 100
_MAX_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits for this device at a vault.

    Attributes:
        question: what a desk asks, verified; None if it is refused.
        refused: why, where a desk of ours asked for what this device does not approve.
        assigned: an assignment that was taken in.
    """

    question: Question | None
    refused: LabelVaultError | None
    assigned: Assignment | None
    _relay: Relay
    _mailbox: bytes
    _number: int

    def done(self) -> None:
        """Have the vault stop offering it."""
        self._relay.ack(self._mailbox, self._number)

    def reply(self, mailbox: bytes, approval: bytes) -> None:
        """Post an approval, then be done."""
        self._relay.post(mailbox, approval)
        self.done()


class PresenceDevice:
    """A presence device's home, opened."""

    def __init__(self, home: Path, key: Signer, clock: Callable[[], datetime]) -> None:
        """Open a home; use `create` or `open`."""
        self._home = home
        self._key = key
        self._clock = clock
        self._state = DeviceState(home / "device.db")
        self._known = KnownDesks(home / "desks", key.public_key)
        self._relays: dict[str, Relay] = {}

    @classmethod
    def create(
        cls,
        home: Path,
        passphrase: str | SecretBytes,
        *,
        parameters: Argon2idParameters = DEFAULT_COST,
        clock: Callable[[], datetime] = utc_now,
    ) -> "PresenceDevice":
        """Make a home with a new presence key, for desks of one client.

        Args:
            home: a directory that is made, with mode 0700.
            passphrase: protects the key.
            parameters: the cost of a passphrase guess.
            clock: says the time, aware UTC; approvals are dated by it.

        Raises:
            KeystoreError: there is a device in this home already; or the file system refused.
        """
        home = Path(home)
        if (home / "presence.key").exists():
            _check_finished(home)
            raise KeystoreError(
                f"{home} holds a presence device already; nothing was changed",
                next_step="Use it as it is (labelvault contractor device list), or give another --home DIR.",
            )
        make_private_dir(home)
        make_private_dir(home / "desks")
        key = create_identity(home / "presence.key", passphrase, parameters)
        DeviceState(home / "device.db", create=True).close()
        return cls(home, key, clock)

    @classmethod
    def open(
        cls, home: Path, passphrase: str | SecretBytes, *, clock: Callable[[], datetime] = utc_now
    ) -> "PresenceDevice":
        """Open a home.

        Raises:
            KeystoreError: or one of its kinds: no device there, wrong passphrase, damaged or foreign files.
        """
        home = Path(home)
        if not (home / "presence.key").is_file():
            raise KeystoreError(
                f"{home} holds no presence device",
                next_step="Give --home DIR if it is elsewhere, or make one: labelvault contractor device init.",
            )
        _check_finished(home)
        return cls(home, open_identity(home / "presence.key", passphrase), clock)

    def close(self) -> None:
        """Close state and relays."""
        self._state.close()
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    def __enter__(self) -> "PresenceDevice":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def public_key(self) -> bytes:
        """The presence key's public half, 32 bytes: what `contractor init --tier desk --presence-key` takes."""
        return self._key.public_key

    @property
    def check_words(self) -> str:
        """Two words that show a mistyped key; what vouches for it is the card's fingerprint, read from this device."""
        return check_words(self.public_key)

    @property
    def require_assignment(self) -> bool:
        """Whether only tasks that the client assigned are approved."""
        return self._state.require_assignment

    @require_assignment.setter
    def require_assignment(self, required: bool) -> None:
        self._state.require_assignment = required

    # Enrolment

    def read_draft(self, draft: bytes) -> Signed[Card]:
        """Verify the draft of a desk's card, to be shown before it is cosigned.

        Raises:
            FormatError, SignatureError: no draft, or not signed by its desk.
            EnrolmentError: it names another device.
        """
        return self._known.read_draft(draft)

    def cosign(self, draft: bytes) -> bytes:
        """Cosign a draft; returns 64 bytes for the desk, which finishes its card with them.

        Raises:
            FormatError, SignatureError, EnrolmentError: as `read_draft`.
        """
        return cosign_draft(self.read_draft(draft), self._key)

    def take_card(self, card: bytes) -> str:
        """Take in a desk's finished card; returns its fingerprint, which is read to the client from this device.

        Raises:
            FormatError, SignatureError: no card, or not signed by all its keys.
            EnrolmentError: it is no card of a desk of this device.
        """
        return self._known.take_card(card)

    def join(self, invite: bytes, *, fingerprint: str | None = None) -> Membership:
        """Join with a desk's invite. The first one binds this device to its client, for ever.

        Args:
            invite: the same file that the desk joins with.
            fingerprint: the client's, as heard from the client itself; not needed once joined.

        Raises:
            EnrolmentError: another client's fingerprint or invite, for a desk that this device did not enrol with, or
                with another presence key.
            SignatureError, FormatError: the invite is not whole.
            RollbackError: it brings an older certificate than we know.
        """
        return self._known.join(invite, fingerprint)

    def desks(self) -> list[Desk]:
        """List the desks that this device enrolled with; all is verified anew each time."""
        return self._known.desks()

    # Approving

    def now(self) -> datetime:
        """Return the time.

        Raises:
            ClockError: this device's clock is behind a time at which it approved something before.
        """
        return checked_now(self._clock, self._state.high_water())

    def examine(self, data: bytes) -> Question:
        """Verify a request for approval, to be shown to a person.

        Raises:
            FormatError, SignatureError: malformed, about anything but an open request or a submission, or not signed.
            ApprovalRefusedError: this device does not approve it, whatever its owner says.
            ClockError: this device's clock is set back.
        """
        now = self.now()
        question = examine(
            data,
            self._known.by_key(),
            self.public_key,
            self._state.assignments(now),
            now,
            require_assignment=self.require_assignment,
        )
        self._state.check_new(question.once)
        return question

    def times_approved(self, question: Question) -> int:
        """Return how often opening this task at this desk was approved here before."""
        return self._state.times_approved(question.desk.key, question.item)

    def approve(self, question: Question) -> bytes:
        """Approve what a person has seen and agreed to; returns the approval's frame for the desk.

        It is examined anew, because time has passed since it was shown, and remembered before it leaves.

        Raises:
            LabelVaultError: of the kinds of `examine`.
        """
        question = self.examine(question.request.data)
        now = self.now()
        self._state.approve(question.once, question.desk.key, question.item, question.request.message.asks, now)
        return approve(question, self._key, now).data

    def take_assignments(self, frames: Iterable[bytes]) -> list[Assignment]:
        """Verify and keep assignments, all or none.

        Raises:
            FormatError, SignatureError: malformed, or not signed by an issuer that the client certified.
            EnrolmentError, GrantExpiredError, ClockError, RollbackError: not for a desk of ours, over, from the
                future, or under an older certificate than we know.
        """
        now, desks = self.now(), self._known.by_key()
        verified = [read_assignment(data, desks, now) for data in frames]
        for assignment, certificate in verified:
            self._known.keep_certificate(assignment.message.contractor, certificate)
            self._state.assign(assignment.message, now)
        return [assignment.message for assignment, _ in verified]

    def assignments(self) -> list[Assignment]:
        """List the assignments that are not over."""
        return self._state.assignments(self.now())

    # The vault's mailbox

    def waiting(self, *, wait_s: float = 0.0) -> Iterator[Waiting]:
        """Look at what waits for this device: assignments are taken in, requests are examined.

        What is nothing, or from nobody that this device knows, is acknowledged and passed over.

        Args:
            wait_s: where nothing waits, how long the vault may keep the question open, in seconds.

        Raises:
            RelayError, StoreError: a vault can't be reached.
        """
        vaults = {m.vault: m.client for desk in self.desks() for m in desk.memberships}
        for address, client in vaults.items():
            relay = self._relay(address)
            mailbox = presence_mailbox(client, self.public_key)
            patience_s, after = wait_s / len(vaults), 0
            for _ in range(_MAX_PAGES):
                page = relay.fetch(mailbox, after=after, limit=_PAGE, wait_s=patience_s)
                if not page:
                    break
                patience_s, after = 0.0, page[-1][0]
                # Assignments first: the request that one is about may have come before it.
                for number, data in sorted(page, key=lambda message: not _is_assignment(message[1])):
                    found = self._met(data, partial(Waiting, _relay=relay, _mailbox=mailbox, _number=number))
                    if found is None:
                        relay.ack(mailbox, number)
                    else:
                        yield found

    def _met(self, data: bytes, made: Callable[..., Waiting]) -> Waiting | None:
        try:
            if _is_assignment(data):
                (assigned,) = self.take_assignments([data])
                return made(question=None, refused=None, assigned=assigned)
            return made(question=self.examine(data), refused=None, assigned=None)
        except ApprovalRefusedError as refused:
            # Of a desk that this device knows, its owner hears why; anybody else could flood the screen.
            return None if refused.reason == "desk" else made(question=None, refused=refused, assigned=None)
        except ClockError:
            # This device's own fault: what waits is left for when it is mended.
            raise
        except LabelVaultError:
            return None

    def send(self, approval: bytes, waiting: Waiting) -> None:
        """Send an approval to the desk that asked, through the vault, and take the question off the mailbox.

        Raises:
            RelayError, StoreError: the vault can't be reached, or the desk's mailbox is full. The approval is spent;
                the desk has to ask again.
        """
        if waiting.question is None:
            raise FormatError("nothing was asked")
        asked = waiting.question.request
        waiting.reply(contractor_mailbox(ClientId(asked.message.client), asked.frame.signer), approval)

    def _relay(self, address: str) -> Relay:
        if address not in self._relays:
            self._relays[address] = open_relay(address, token=read_token(self._home))
        return self._relays[address]


def _is_assignment(data: bytes) -> bool:
    try:
        return parse_frame(data).type == Assignment.TYPE
    except FormatError:
        return False


def _check_finished(home: Path) -> None:
    """Tell a home whose making was interrupted from a whole one: `device.db` is made last.

    Raises:
        KeystoreError: it was interrupted.
    """
    if not (home / "device.db").is_file():
        raise KeystoreError(
            f"{home} is unfinished: `labelvault contractor device init` was interrupted",
            next_step=f"Remove {home}, which holds nothing that counts yet, and run init again.",
        )
