"""The card in a contractor's home, and the draft of it that a desk's presence device has to cosign first."""

from pathlib import Path

from labelvault.crypto.verify import check_public_key
from labelvault.errors import EnrolmentError, KeystoreError
from labelvault.keys.cards import finish_card, read_card, read_draft
from labelvault.keys.files import read_private, write_private
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.frame import Signed, Signer, cosign, sign_message
from labelvault.wire.messages import Card
from labelvault.wire.schema import encode_record


class CardFile:
    """`card` of a home, and `card.draft` until it is finished; each is there whole or not at all."""

    def __init__(self, home: Path, contractor: bytes) -> None:
        """Use a home.

        Args:
            home: the contractor's.
            contractor: our own public key, 32 bytes.
        """
        self._card = home / "card"
        self._draft = home / "card.draft"
        self._contractor = contractor

    @staticmethod
    def check(message: Card) -> None:
        """Check what a card will say, before anything is written.

        Raises:
            FormatError: a field is out of its bounds.
            SignatureError: the presence key is no valid key.
        """
        encode_record(message)
        if message.presence_key is not None:
            check_public_key(message.presence_key)

    def make(self, message: Card, identity: Signer, presence: Signer | None) -> None:
        """Write the card, or its draft if its presence device is not in this process."""
        if message.presence_key is None or presence is not None:
            cosignature = b"" if presence is None else cosign(message, identity.public_key, presence)
            write_private(self._card, sign_message(message, identity, cosignature).data, replace=False)
        else:
            write_private(self._draft, sign_message(message, identity).data, replace=False)

    def read(self) -> Signed[Card]:
        """Return the card.

        Raises:
            EnrolmentError: its presence device has not cosigned it yet.
            KeystoreError: the card is not this identity's.
        """
        if not self._card.exists() and self._draft.exists():
            raise EnrolmentError(
                "the card is unfinished: the presence device has to cosign its draft",
                next_step="labelvault contractor card --draft -o FILE writes the draft; then, on the device:"
                " labelvault contractor device cosign FILE.",
            )
        return self._own(read_card(read_private(self._card, MAX_BYTES)))

    def draft(self) -> Signed[Card]:
        """Return the draft of the card.

        Raises:
            EnrolmentError: this home's card needs none.
            KeystoreError: the draft is not this identity's.
        """
        if not self._draft.exists():
            raise EnrolmentError(
                "this home's card is whole; there is no draft of it",
                next_step="Write the card: labelvault contractor card -o FILE.",
            )
        return self._own(read_draft(read_private(self._draft, MAX_BYTES)))

    def finish(self, cosignature: bytes, identity: Signer) -> bytes:
        """Write the card from its draft; returns it. Again with the same cosignature changes nothing.

        Raises:
            SignatureError: the cosignature is not of the presence device, or of another draft.
            EnrolmentError, KeystoreError: as `draft`.
        """
        card = finish_card(self.draft(), cosignature, identity)
        write_private(self._card, card, replace=True)
        return card

    def _own(self, signed: Signed[Card]) -> Signed[Card]:
        if signed.frame.signer != self._contractor:
            raise KeystoreError("the card in this home is not this identity's")
        return signed
