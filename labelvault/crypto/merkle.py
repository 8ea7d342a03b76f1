"""Merkle tree hashing as in RFC 6962, section 2.1, over SHA-256. No third-party import: any room may load it.

Leaves and inner nodes are hashed under different prefixes, so no inner node passes for a leaf. The root alone
does not say how many leaves there are: whoever relies on one carries the size beside it.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of no leaves."""


_COPIED_BYTES: Final = 64 * 1024
"""Up to here, prefix and data in one piece are hashed faster than in two; above, the copy costs more."""


class Leaf(bytes):
    """A leaf's bytes that keep their hash once it was computed, so that all of one process who need it compute it once.

    Bytes don't change, so neither does the hash. What crosses a process is plain bytes again, and is hashed anew.
    """

    _hash: bytes | None = None


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of a leaf that holds `data`."""
    if type(data) is not Leaf:
        return _hashed(data)
    if data._hash is None:
        data._hash = _hashed(data)
    return data._hash


def _hashed(data: bytes) -> bytes:
    if len(data) <= _COPIED_BYTES:
        return hashlib.sha256(LEAF_PREFIX + data).digest()
    state = hashlib.sha256(LEAF_PREFIX)
    state.update(data)
    return state.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of the node above two 32-byte hashes."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def merkle_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes.

    Args:
        leaf_hashes: 32 bytes each, as `leaf_hash` makes them, in order.

    Returns:
        32 bytes; `EMPTY_ROOT` for no leaves.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        # Pairing neighbours and carrying an odd last one up is RFC 6962's split at the largest power of two.
        paired = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]
