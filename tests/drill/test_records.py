"""Messages are carved out of any bytes, and nothing that merely looks like one is."""

import random

import pytest

from labelvault.crypto import hpke
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.drill.records import Messages
from labelvault.errors import DrillError
from labelvault.wire.frame import sign_message
from labelvault.wire.messages import Card
from tests.drill.world import NOW, build_world


def frames_of(world):
    """All frames in a vault's file."""
    messages = Messages()
    messages.carve(world.database.read_bytes())
    return messages


def test_frames_are_carved_at_every_offset(tmp_path):
    """Between random bytes, right after each other, and once only."""
    world = build_world(tmp_path, openings=2)
    frames = sorted(frames_of(world).frames)
    assert len(frames) == 4
    numbers = random.Random(1)
    for offset in range(9):
        messages = Messages()
        messages.carve(numbers.randbytes(offset) + b"\x86\xa4body".join(frames) + numbers.randbytes(50))
        messages.carve(frames[0])
        assert messages.frames == set(frames)
        assert messages.one_time_keys == {hpke.OneTimeKey(SecretBytes(seed)).public_key for seed in world.seeds}
        assert len(messages.leases) == 2
        assert messages.signers == {
            world.contractor.public_key: {"open-request"},
            world.issuer.public_key: {"lease"},
        }


def test_torn_frames_are_none(tmp_path):
    """Cut anywhere, or with a size that leads nowhere, no message is seen."""
    frame = min(frames_of(build_world(tmp_path, openings=1)).frames)
    for end in [*range(0, 60), *range(60, len(frame), 41)]:
        messages = Messages()
        messages.carve(frame[:end])
        messages.carve(frame[:end] + b"\xff" * 70_000)
        assert messages.frames == set()
    messages = Messages()
    messages.carve(frame[:-1] + b"\x02")
    assert messages.frames == set()


def test_other_frames_are_kept_without_their_meaning(tmp_path):
    """A request or lease with a malformed body adds a signer and no key."""
    presence, signer = SigningKey.generate(), SigningKey.generate()
    card = sign_message(Card("desk", "a desk", presence.public_key, NOW), signer).data
    messages = Messages()
    messages.carve(card)
    assert messages.signers == {signer.public_key: {"card"}, presence.public_key: {"presence"}}
    for name in ("open-request", "lease", "card"):

        class Odd(Card):
            TYPE = name

        odd = Messages()
        body = Odd("desk", "a desk", presence.public_key, NOW)
        odd.carve(sign_message(body, signer).data)
        assert len(odd.frames) == 1
        assert (odd.one_time_keys, odd.leases) == (set(), [])


def test_C9_payloads_beside_the_database_are_read_and_missed(tmp_path):
    """A large payload rests in a file: it is looked at like the rest, and a theft without it proves nothing."""
    from labelvault.drill.evidence import Source
    from labelvault.drill.records import read_databases
    from labelvault.stores.sqlite import SQLiteStore
    from tests.stores.samples import NOW, item, put_stream

    path = tmp_path / "vault.db"
    store = SQLiteStore(path, create=True)
    small, large = item(1), item(2, size=3_000_000)
    store.put_items([small], NOW)
    put_stream(store, large)
    store.close()
    loot = [Source("vault.db", path.read_bytes(), "file", path)]
    found, _ = read_databases(loot)
    assert {each.header_bytes: each.payload for each in found} == {
        small.header: small.payload,
        large.header: large.payload,
    }
    (payload,) = (tmp_path / "vault.db.payloads").iterdir()
    payload.unlink()
    with pytest.raises(DrillError, match="not among what was stolen"):
        read_databases(loot)
