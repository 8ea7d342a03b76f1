"""Cards and the fingerprints that vouch for keys: what both ends of an enrolment compute alike."""

from typing import Final

from labelvault.crypto.verify import check_public_key
from labelvault.errors import FormatError, SignatureError
from labelvault.keys.fingerprint import fingerprint
from labelvault.wire.frame import Signed, Signer, cosign, open_frame, parse_frame, sign_message
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
    signed = _self_signed(data)
    presence = signed.message.presence_key
    if presence is not None:
        signed.frame.verify_cosignature(presence)
    elif signed.frame.cosignature:
        raise SignatureError("a cosignature, but no presence key that it could be of")
    return signed


def read_draft(data: bytes) -> Signed[Card]:
    """Verify the draft of a desk's card: signed by the desk, not yet cosigned, so nobody takes it for a card.

    Raises:
        FormatError: these bytes are no draft.
        SignatureError: a key is no valid one, or the draft is not signed by it.
    """
    signed = _self_signed(data)
    if signed.message.presence_key is None or signed.frame.cosignature:
        raise FormatError("not the draft of a desk's card")
    return signed


def cosign_draft(draft: Signed[Card], presence: Signer) -> bytes:
    """Return the presence device's cosignature for a draft, 64 bytes.

    Raises:
        SignatureError: the draft names another presence key.
    """
    if draft.message.presence_key != presence.public_key:
        raise SignatureError("the draft names another presence key than this device's")
    return cosign(draft.message, draft.frame.signer, presence)


def finish_card(draft: Signed[Card], cosignature: bytes, identity: Signer) -> bytes:
    """Return the card: the draft with its presence device's cosignature, signed by the desk.

    Raises:
        SignatureError: the cosignature is not of that device, or of another draft.
    """
    card = sign_message(draft.message, identity, cosignature).data
    return read_card(card).data


def _self_signed(data: bytes) -> Signed[Card]:
    signer = parse_frame(data).signer
    check_public_key(signer)
    signed = open_frame(data, Card, signer)
    presence = signed.message.presence_key
    if presence is not None:
        check_public_key(presence)
        if presence == signer:
            raise SignatureError("a presence key must be another key than the desk's own")
    return signed
