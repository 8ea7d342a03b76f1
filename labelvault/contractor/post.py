"""The contractor's post: relays to the vaults of its invites, and what waits until a vault takes it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import make_receipt
from labelvault.contractor.parts import OpenedAs
from labelvault.contractor.records import OpeningLog
from labelvault.errors import RelayError, StoreError
from labelvault.keys.token import read_token
from labelvault.relay import Relay, Reply, open_relay
from labelvault.wire.frame import Signed, Signer, sign_message
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.items import LEAF_BYTES
from labelvault.wire.messages import LeaseOuter, OpenRequest, Receipt
from labelvault.wire.times import truncate


class Post:
    """What one home says to its client's issuer. What a vault does not take now waits here, durably.

    Attributes:
        before_close: called with a lease before its close is recorded; erases the prekey of one that was issued ahead.
    """

    def __init__(
        self, home: Path, identity: Signer, log: OpeningLog, joined: Joined, clock: Callable[[], datetime]
    ) -> None:
        """Use a home's parts.

        Args:
            home: for the vault's token.
            identity: signs receipts.
            log: keeps what is due.
            joined: says which vault a project's receipts go to.
            clock: says the time that a receipt claims; no interval is ever ended by it.
        """
        self._home = home
        self._identity = identity
        self._log = log
        self._joined = joined
        self._clock = clock
        self._relays: dict[str, Relay] = {}
        self._read: dict[str, list[int]] = {}
        self.before_close: Callable[[LeaseOuter], None] = lambda _: None

    def close(self) -> None:
        """Close the relays."""
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    def relay(self, membership: Membership) -> Relay:
        """Return the way to a membership's vault; it stays open.

        Raises:
            RelayError: it can't be reached.
        """
        address = membership.vault
        if address not in self._relays:
            self._relays[address] = open_relay(address, token=read_token(self._home))
        return self._relays[address]

    def read(self, membership: Membership, numbers: Sequence[int]) -> None:
        """Note messages of our mailbox that need no delivery any more; the vault hears it with the next receipt."""
        self._read.setdefault(membership.vault, []).extend(numbers)

    def opened(self, outer: LeaseOuter, known: OpenedAs, files: list[tuple[int, int]]) -> None:
        """Record that a lease was opened, and say so.

        Args:
            outer: the lease's readable part.
            known: of what it opened.
            files: (device, inode) of each file written.
        """
        at = truncate(self._clock())
        receipt = make_receipt(outer, self._identity, "opened", None, at)
        if files:
            # On record before all else, or nobody would know what to erase.
            self._log.opened(outer, known, files, at, receipt)
            self.post_due()
            return
        # Said first, it need not wait here. Whoever is killed in between has shown nothing, and the lease ends.
        membership = self._projects().get(outer.project)
        taken = membership is not None and self._say(membership, receipt)
        self._log.opened(outer, known, files, at, None if taken else receipt)

    def closed(self, outer: LeaseOuter, erased: str) -> None:
        """Record that a lease was closed, and say so; it stands whatever the clock says by now.

        Args:
            outer: the lease's readable part.
            erased: `process-exit` or `best-effort`.
        """
        # First what could still open it, so that no receipt says so before.
        self.before_close(outer)
        now = truncate(self._clock())
        self._log.closed(outer, erased, make_receipt(outer, self._identity, "closed", erased, now), now)
        self.post_due()

    def given_up(self, request: Signed[OpenRequest]) -> None:
        """Say that nobody will open what may still be released for a request, or it would hold a slot until it expires.

        The receipt comes after the request in the issuer's mailbox, so it meets the lease whenever that is made.
        """
        message = request.message
        at = truncate(self._clock())
        receipt = Receipt(message.client, message.project, request.hash, message.item, "closed", "best-effort", at)
        self._log.given_up(message.project, sign_message(receipt, self._identity).data)
        self.post_due()

    def post_due(self) -> int:
        """Post what the vault has not taken yet; see `Contractor.post_due_receipts`."""
        projects = self._projects()
        away = self._post_answers(projects)
        for number, project, receipt in self._log.receipts_due():
            membership = projects.get(project)
            # Without an invite, nobody knows where this belongs until it is back.
            if membership is None or membership.vault in away:
                continue
            if self._say(membership, receipt):
                self._log.receipt_posted(number)
            else:
                # Nothing is lost by it: the task is open or closed here either way, and the receipt waits.
                away.add(membership.vault)
        return len(self._log.receipts_due()) + self._log.outbox.unposted()

    def _projects(self) -> dict[bytes, Membership]:
        # Newest last, so that it wins: a project's receipts go to the vault that its newest invite names.
        return {membership.project: membership for membership in reversed(self._joined.memberships())}

    def _say(self, membership: Membership, receipt: bytes) -> bool:
        """Post a receipt, and what was read with it; return whether the vault took it."""
        # What stays undelivered through this is offered again, and passed over.
        read = [Reply(number) for number in self._read.pop(membership.vault, ())]
        replies = [Reply(None, issuer_mailbox(membership.client), receipt), *read]
        own = contractor_mailbox(membership.client, self._identity.public_key)
        try:
            return not self.relay(membership).reply(own, replies)
        except (RelayError, StoreError):
            return False

    def _post_answers(self, projects: dict[bytes, Membership]) -> set[str]:
        """Post sealed answers that are due, each after the item that it names; return the vaults that are away."""
        away: set[str] = set()
        now = truncate(self._clock())
        for due in self._log.outbox.due(now):
            membership = projects.get(due.project)
            if membership is None or membership.vault in away:
                continue
            try:
                relay = self.relay(membership)
                item = None if due.payload is None else self._log.outbox.sealed_item(due.payload)
                if item is not None:
                    header, payload = item
                    pieces = (payload[at : at + LEAF_BYTES] for at in range(0, len(payload), LEAF_BYTES))
                    relay.put_stream(header, len(payload), pieces, None)
                relay.post(issuer_mailbox(membership.client), due.frame)
            except (RelayError, StoreError):
                # A vault that refuses a large answer still takes what is small: no receipt waits for it.
                if due.payload is None:
                    away.add(membership.vault)
                continue
            self._log.outbox.posted(due, now)
        return away
