"""Copies of known bytes are recognised wherever they stand, and nothing beside them is."""

import random

from labelvault.drill.explained import STEP_BYTES, Explained


def covered(explained, data):
    """The stretches of all of `data`."""
    return explained.cover(data, 0, len(data))


def test_a_payload_cut_into_pages_is_explained_and_a_key_between_is_not():
    """Stretches are found to the byte, give or take chance; a key between two of them stays unexplained."""
    numbers = random.Random(1)
    for _ in range(50):
        payload, key = numbers.randbytes(20_000), numbers.randbytes(32)
        cut = numbers.randrange(500, 19_000)
        head = numbers.randbytes(numbers.randrange(100))
        data = head + payload[:cut] + key + payload[cut:] + b"\0\0\0\x07"
        first, second = covered(Explained([payload, bytes(5)]), data)
        assert abs(first[0] - len(head)) <= 1
        assert abs(first[1] - (len(head) + cut)) <= 2
        assert abs(second[0] - (len(head) + cut + 32)) <= 2
        assert abs(second[1] - (len(data) - 4)) <= 1


def test_pieces_of_the_smallest_size_that_a_database_leaves_are_explained():
    """489 bytes from anywhere within a payload, in whatever order."""
    numbers = random.Random(2)
    payload = numbers.randbytes(10_000)
    starts = [numbers.randrange(9_500) for _ in range(40)]
    gap = b"\x0d" * 9
    data = gap.join(payload[at : at + 489] for at in starts)
    assert sum(end - start for start, end in covered(Explained([payload]), data)) >= 40 * 489


def test_across_the_pieces_that_are_read_at_a_time():
    """A copy that spans two pieces is one stretch."""
    numbers = random.Random(3)
    payload = numbers.randbytes(4 * STEP_BYTES)
    data = bytearray(3 << 20)
    data[(1 << 20) - 200 : (1 << 20) - 200 + len(payload)] = payload
    (stretch,) = covered(Explained([payload]), bytes(data))
    assert stretch == ((1 << 20) - 200, (1 << 20) - 200 + len(payload))


def test_zeros_and_noise_explain_nothing():
    """Repetitive known bytes match nowhere, and no index explains random bytes."""
    numbers = random.Random(4)
    assert covered(Explained([bytes(5000)]), bytes(50_000)) == []
    assert covered(Explained([numbers.randbytes(5000)]), numbers.randbytes(50_000)) == []
    assert covered(Explained([]), numbers.randbytes(1000)) == []


def test_public_ids_are_explained():
    """16 bytes of an id are enough; 8 of them are not."""
    numbers = random.Random(5)
    item = numbers.randbytes(16)
    data = numbers.randbytes(37) + item + numbers.randbytes(40) + item[:8] + numbers.randbytes(40)
    ((start, end),) = covered(Explained([item]), data)
    assert start <= 37
    assert 53 <= end <= 56
