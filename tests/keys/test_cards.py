"""A desk's card is made in three steps by two keys, and none of them can be left out or moved."""

import pytest

from labelvault.errors import FormatError, SignatureError
from labelvault.keys.cards import cosign_draft, finish_card, read_card, read_draft
from labelvault.wire.frame import sign_message
from tests.vectors import world

DRAFT = sign_message(world.desk_card(), world.DESK)


def test_a_desks_card_is_drafted_cosigned_and_finished() -> None:
    """The finished card is the draft's words, cosigned by the device and signed by the desk."""
    draft = read_draft(DRAFT.data)
    assert draft == DRAFT
    data = finish_card(draft, cosign_draft(draft, world.PRESENCE), world.DESK)
    card = read_card(data)
    assert (card.message, card.frame.signer) == (world.desk_card(), world.DESK.public_key)
    card.frame.verify_cosignature(world.PRESENCE.public_key)
    with pytest.raises(FormatError):
        read_draft(data)
    with pytest.raises(SignatureError):
        read_card(DRAFT.data)


def test_F14_only_the_named_device_cosigns_a_draft() -> None:
    """Another device refuses, and its cosignature, or one of another draft or desk, finishes no card."""
    with pytest.raises(SignatureError):
        cosign_draft(DRAFT, world.HELPER)
    other = sign_message(world.desk_card(host_label="desk 5"), world.DESK)
    for cosignature in (cosign_draft(other, world.PRESENCE), bytes(64), b""):
        with pytest.raises(SignatureError):
            finish_card(DRAFT, cosignature, world.DESK)
    with pytest.raises(SignatureError):
        finish_card(DRAFT, cosign_draft(DRAFT, world.PRESENCE), world.HELPER)


def test_a_helpers_card_is_no_draft() -> None:
    """There is no presence device that could cosign it."""
    with pytest.raises(FormatError):
        read_draft(sign_message(world.card(), world.HELPER).data)
