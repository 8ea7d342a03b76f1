"""Padmé padding: little overhead, few sizes, and a floor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.aead import sealed_size
from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES, padded_size

SIZES = st.integers(0, 10 * 1024 * 1024)
FLOORS = st.sampled_from([0, 1, 256, DEFAULT_FLOOR_BYTES, 5000, 1024 * 1024])


@given(SIZES, FLOORS)
def test_F11_padding_adds_at_most_12_percent_above_the_floor(size: int, floor: int) -> None:
    """It never cuts, never goes below the floor, and costs at most 12 %."""
    padded = padded_size(size, floor)
    assert padded >= max(size, floor)
    assert padded <= max(floor, size * 1.12)


@given(SIZES, SIZES, FLOORS)
def test_F11_padding_is_monotone(one: int, other: int, floor: int) -> None:
    """A longer item is never padded to less than a shorter one."""
    assert padded_size(min(one, other), floor) <= padded_size(max(one, other), floor)


@given(SIZES, FLOORS)
def test_F11_padding_is_idempotent(size: int, floor: int) -> None:
    """A padded size stays as it is, so all sizes in between look alike."""
    padded = padded_size(size, floor)
    assert padded_size(padded, floor) == padded


def test_F11_small_sizes_one_by_one() -> None:
    """All sizes up to 20,000, around every power of two: the three properties without chance."""
    before = 0
    for size in range(20_000):
        padded = padded_size(size, 0)
        assert before <= padded_size(padded, 0) == padded
        assert size <= padded <= size * 1.12
        before = padded


@pytest.mark.parametrize(
    ("size", "padded"),
    [(0, 0), (1, 1), (2, 2), (8, 8), (9, 10), (10, 10), (17, 18), (33, 36), (1000, 1024), (1025, 1088), (4097, 4352)],
)
def test_published_rule_gives_these_sizes(size: int, padded: int) -> None:
    """Worked by hand from the paper: E = floor(log2 L), S = floor(log2 E) + 1, the last E - S bits become zero."""
    assert padded_size(size, 0) == padded


@pytest.mark.parametrize("size", [0, 1, 4095, 4096])
def test_floor_hides_all_smaller_sizes(size: int) -> None:
    """Everything up to the floor has one size."""
    assert padded_size(size, 4096) == 4096


def test_item_of_the_floors_size_stays_there() -> None:
    """Also where the floor is no size of Padmé's own."""
    assert padded_size(5000, 5000) == 5000
    assert padded_size(5001, 5000) == 5120


def test_F11_few_sizes_are_left() -> None:
    """Ten MiB of different sizes become a few hundred."""
    assert len({padded_size(size, 4096) for size in range(0, 10 * 1024 * 1024, 997)}) < 300
    assert sealed_size(padded_size(5000, 4096)) == sealed_size(padded_size(5119, 4096))
