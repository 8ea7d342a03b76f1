"""Randomness: the operating system's, and no way to choose it."""

import os


def random_bytes(size: int) -> bytes:
    """Return `size` bytes from the operating system's generator.

    Safe across fork and VM clone as far as the kernel is: no state is kept in this process.
    """
    return os.urandom(size)
