"""Cards and the fingerprints that vouch for keys: what both ends of an enrolment compute alike."""

from typing import Final

from labelvault.crypto.verify import check_public_key
from labelvault.errors import SignatureError
from labelvault.keys.fingerprint import fingerprint
from labelvault.wire.frame import Signed, open_frame, parse_frame
from labelvault.wire.messages import Card

_CLIENT_LABEL: Final = b"labelvault/v1/fingerprint/client\0"
_CARD_LABEL: Final = b"labelvault/v1/fingerprint/card\0"


def client_fingerprint(identity_key: bytes) -> str:
    """Return the fingerprint of a client's identity key, which contractors compare before they join."""
    return fingerprint(_CLIENT_LABEL, identity_key)


def card_fingerprint(card: bytes) -> str:
    """Return the fingerprint over the whole card; a desk's is read from the presence device."""
    return fingerprint(_CARD_LABEL, card)


def read_card(data: bytes) -> Signed[Card]:
    """Verify a card under the keys that it shows: who sent it is for the fingerprint to say.

    Raises:
        FormatError: these bytes are no card.
        SignatureError: a key is no valid one, or the card is not signed by it.
    """
    signer = parse_frame(data).signer
    check_public_key(signer)
    signed = open_frame(data, Card, signer)
    presence = signed.message.presence_key
    if presence is not None:
        check_public_key(presence)
        if presence == signer:
            raise SignatureError("a presence key must be another key than the desk's own")
        signed.frame.verify_cosignature(presence)
    elif signed.frame.cosignature:
        raise SignatureError("a cosignature, but no presence key that it could be of")
    return signed
