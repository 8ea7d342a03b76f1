"""The desks that a presence device knows: each one's card, and what its client granted to it.

`desks/KEY/` holds a desk's `card`, and what a joined home of that desk would (`labelvault.contractor.joining`). All
desks of one device belong to one client.
"""

from pathlib import Path
from typing import Final

from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership, check_invite_fingerprint, read_invite
from labelvault.contractor.presence_checks import Desk
from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import EnrolmentError, KeystoreError
from labelvault.keys.cards import card_fingerprint, client_fingerprint, read_card, read_draft
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.keys.fingerprint import to_proquints
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.ids import KEY_ID_BYTES, parse_hex_id
from labelvault.wire.messages import Card, Grant, Invite, IssuerCertificate

_CHECK_LABEL: Final = b"labelvault/v1/presence-check\0"
_CHECK_BYTES: Final = 4


def check_words(presence_key: bytes) -> str:
    """Return the two words that go with a presence key, by which a mistyped one shows."""
    return to_proquints(tagged_hash(_CHECK_LABEL, presence_key)[:_CHECK_BYTES])


class KnownDesks:
    """The desks of one device. All is verified anew each time it is read."""

    def __init__(self, folder: Path, presence_key: bytes) -> None:
        """Use a device's folder of desks.

        Args:
            folder: exists.
            presence_key: the device's public key, 32 bytes.
        """
        self._home = folder
        self._presence_key = presence_key

    def read_draft(self, draft: bytes) -> Signed[Card]:
        """See `PresenceDevice.read_draft`."""
        signed = read_draft(draft)
        if signed.message.presence_key != self._presence_key:
            raise EnrolmentError(
                "the draft names another presence device",
                next_step=f"Make the desk anew with this device's key: --presence-key {self._presence_key.hex()}.",
            )
        return signed

    def take_card(self, card: bytes) -> str:
        """See `PresenceDevice.take_card`."""
        signed = read_card(card)
        # This key's cosignature was verified, so this device has cosigned exactly this.
        if signed.message.presence_key != self._presence_key:
            raise EnrolmentError("not the card of a desk with this presence device")
        folder = self._folder(signed.frame.signer)
        make_private_dir(folder)
        write_private(folder / "card", card, replace=True)
        return card_fingerprint(card)

    def join(self, invite: bytes, fingerprint: str | None) -> Membership:
        """See `PresenceDevice.join`."""
        pinned = self._pinned()
        if pinned is None and fingerprint is None:
            raise EnrolmentError(
                "the first invite needs the client's fingerprint",
                next_step="Have the client read its fingerprint out, by phone or in person: --fingerprint WORDS.",
            )
        spoken = client_fingerprint(pinned) if pinned is not None and fingerprint is None else fingerprint or ""
        identity_key = check_invite_fingerprint(invite, spoken)
        if pinned is not None and identity_key != pinned:
            raise EnrolmentError(
                "this device is bound to another client; make another home for this one",
                next_step="Make a home for this client: labelvault contractor device init --home DIR.",
            )
        desk = self._invited(invite, identity_key)
        membership = read_invite(invite, identity_key, desk)
        if membership.grant.message.presence_key != self._presence_key:
            raise EnrolmentError("the grant does not name this presence device")
        return Joined(self._folder(desk), desk).join(invite, spoken, "desk")

    def _invited(self, invite: bytes, identity_key: bytes) -> bytes:
        grant = open_frame(open_frame(invite, Invite, identity_key).message.grant, Grant, identity_key)
        desk = grant.message.contractor
        if not (self._folder(desk) / "card").is_file():
            raise EnrolmentError(
                "this invite is for a desk that this device does not know",
                next_step="Take in the desk's finished card first: labelvault contractor device card FILE.",
            )
        return desk

    def _folder(self, desk: bytes) -> Path:
        return self._home / desk.hex()

    def _pinned(self) -> bytes | None:
        for path in sorted(self._home.glob("*/client.pin")):
            return read_private(path, 32)
        return None

    def desks(self) -> list[Desk]:
        """See `PresenceDevice.desks`."""
        found = []
        for path in sorted(self._home.glob("*/card")):
            key = parse_hex_id(path.parent.name, KEY_ID_BYTES)
            card = read_card(read_private(path, MAX_BYTES))
            if card.frame.signer != key or card.message.presence_key != self._presence_key:
                raise KeystoreError(f"{path} is not the card of that desk")
            found.append(Desk(key, card.message.host_label, tuple(Joined(path.parent, key).memberships())))
        return found

    def by_key(self) -> dict[bytes, Desk]:
        """Return the desks by their keys."""
        return {desk.key: desk for desk in self.desks()}

    def keep_certificate(self, desk: bytes, certificate: Signed[IssuerCertificate]) -> None:
        """Keep a newer certificate that came with an assignment, verified.

        Raises:
            RollbackError: a newer one is kept already.
        """
        joined = Joined(self._folder(desk), desk)
        for known in joined.memberships()[:1]:
            joined.keep_certificate(Membership(known.identity_key, known.invite, certificate, known.grant))
