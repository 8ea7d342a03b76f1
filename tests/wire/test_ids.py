"""Identifiers: what is computed from keys, and what people type."""

import pytest

from labelvault.errors import FormatError
from labelvault.wire.ids import client_id, contractor_mailbox, issuer_mailbox, parse_hex_id

KEY = bytes(range(32))


def test_computed_ids_differ_by_use_and_by_every_input() -> None:
    """32 bytes each; no two uses of the same key collide."""
    client, other = client_id(KEY), client_id(KEY[::-1])
    found = [
        client,
        other,
        issuer_mailbox(client),
        issuer_mailbox(other),
        contractor_mailbox(client, KEY),
        contractor_mailbox(other, KEY),
        contractor_mailbox(client, KEY[::-1]),
    ]
    assert len(set(found)) == len(found)
    assert {len(value) for value in found} == {32}


def test_computed_ids_stay_as_they_are() -> None:
    """Stored data is found by them: they never change."""
    client = client_id(KEY)
    assert client.hex() == "b3a0a12033fd8c8ab680769bc0420b665a8873eab0701f5d2925cfaf5a2b8c99"
    assert issuer_mailbox(client).hex() == "ec1bb1c87cf2499f2e73cd2c20c5f89efa805cf82e79698f5ee0a29ec3cdc01d"
    assert contractor_mailbox(client, KEY).hex() == "37e9b824c0c775bc46fa8854386689105b771ff45d732c9446dd580c450b4b78"


def test_typed_ids_are_read() -> None:
    """Hex of the asked-for size, with blanks around and in either case."""
    assert parse_hex_id(" 000102030405060708090A0B0C0D0E0F\n") == bytes(range(16))
    assert parse_hex_id(KEY.hex(), 32) == KEY


@pytest.mark.parametrize("text", ["", "00", "zz" * 16, "0" * 31, "00" * 17, "0x" + "00" * 15, "٠" * 32])
def test_P1_what_is_no_id_is_refused(text: str) -> None:
    """Another size or no hex at all."""
    with pytest.raises(FormatError, match="32 hex digits"):
        parse_hex_id(text)
