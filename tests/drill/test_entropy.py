"""The filters drop text, pointers and tables, and never a random key."""

import random
import string

import pytest

from labelvault.drill import entropy
from labelvault.drill.entropy import KEY_BYTES, aligned_offsets, may_be_key, windows


def test_random_keys_pass():
    """Of 200,000 random keys none is dropped."""
    numbers = random.Random(1)
    assert all(may_be_key(numbers.randbytes(KEY_BYTES)) for _ in range(200_000))


@pytest.mark.parametrize(
    "window",
    [
        bytes(KEY_BYTES),
        b"What the contractor reads aloud.",
        bytes(range(0x20, 0x40)),
        bytes(range(0x90, 0xB0)),
        b"".join((0x7F0011223340 + 16 * number).to_bytes(8, "little") for number in range(4)),
    ],
)
def test_what_is_no_key_is_dropped(window):
    """Zeros, text, counters and pointers are no keys."""
    assert not may_be_key(window)


@pytest.mark.parametrize("around", ["zeros", "text", "noise", "nothing"])
def test_a_key_is_seen_at_every_offset(around):
    """Wherever a key stands, its own window is among those that are looked at."""
    numbers = random.Random(2)
    for trial in range(400):
        before, after = numbers.randrange(0, 200), numbers.randrange(0, 200)
        key = numbers.randbytes(KEY_BYTES)
        filler = {
            "zeros": bytes,
            "text": lambda size: "".join(numbers.choices(string.printable, k=size)).encode(),
            "noise": numbers.randbytes,
            "nothing": lambda size: b"",
        }[around]
        data = filler(before) + key + filler(after)
        assert key in [window for _, window in windows(data)], trial
        assert all(data[at : at + KEY_BYTES] == window for at, window in windows(data))


def test_each_offset_is_looked_at_once():
    """Stretches that lie close together share no window."""
    numbers = random.Random(3)
    for gap in range(70):
        data = numbers.randbytes(40) + b"a" * gap + numbers.randbytes(40) + bytes(gap) + numbers.randbytes(40)
        offsets = [at for at, _ in windows(data)]
        assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("around", [b"\0", b"e", b"\xff"])
def test_a_key_in_memory_is_seen_at_every_multiple_of_eight(around, monkeypatch):
    """Also where pieces of the capture meet, and at its very end."""
    piece = 1 << 16
    monkeypatch.setattr(entropy, "_PIECE", piece)
    key = random.Random(4).randbytes(KEY_BYTES)
    size = piece + 4096
    for at in [0, 8, 16, 4096, *range(piece - 64, piece + 64, 8), size - KEY_BYTES]:
        data = bytearray(around * size)
        data[at : at + KEY_BYTES] = key
        assert at in aligned_offsets(bytes(data), 0), at


def test_random_keys_in_memory_pass():
    """Of 50,000 random keys side by side none is dropped for its words."""
    data = random.Random(5).randbytes(50_000 * KEY_BYTES)
    seen = set(aligned_offsets(data, 0))
    assert seen >= set(range(0, len(data), KEY_BYTES))


def test_pointers_and_text_in_memory_are_no_keys():
    """A heap of object headers and a text give nothing to try."""
    numbers = random.Random(6)
    heap = b"".join((0x7F00_0000_0000 + numbers.randrange(1 << 32)).to_bytes(8, "little") for _ in range(4000))
    assert list(aligned_offsets(heap, 0)) == []
    assert list(aligned_offsets(b"Any reader may judge an answer by the rubric. " * 400, 0)) == []
