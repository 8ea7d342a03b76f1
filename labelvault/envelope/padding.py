"""Padmé padding: a size leaks O(log log n) bits, for at most 12 % more bytes.

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019,
section 4.
"""

from typing import Final

DEFAULT_FLOOR_BYTES: Final = 4096


def padded_size(size: int, floor_bytes: int) -> int:
    """Return the padded size of `size` bytes.

    Args:
        size: bytes, 0 or more.
        floor_bytes: nothing is padded to less; 0 or more.
    """
    if size <= floor_bytes:
        return floor_bytes
    exponent = size.bit_length() - 1
    zero_bits = exponent - exponent.bit_length()
    mask = (1 << zero_bits) - 1
    return (size + mask) & ~mask
