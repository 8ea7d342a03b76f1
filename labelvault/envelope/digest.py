"""The digest that names an item version's exact bytes (docs/spec.md, section 5.4).

SHA-256(label ‖ SHA-256(header) ‖ u64 payload size ‖ RFC 6962 root over 1 MiB leaves). The size must be in: in a bare
tree, leaf 2 of 3 verifies as leaf 1 of 2 by the same proof.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.merkle import leaf_hash, merkle_root
from labelvault.wire.items import LEAF_BYTES

_LABEL: Final = b"labelvault/v1/item-digest\0"


def payload_leaves(payload: bytes) -> tuple[bytes, ...]:
    """Return the 32-byte RFC 6962 leaf hashes of a payload's 1 MiB pieces; the last may be shorter."""
    if len(payload) <= LEAF_BYTES:
        return (leaf_hash(payload),) if payload else ()
    view = memoryview(payload)
    return tuple(leaf_hash(bytes(view[at : at + LEAF_BYTES])) for at in range(0, len(view), LEAF_BYTES))


def item_digest(header: bytes, payload_bytes: int, leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte digest.

    Args:
        header: canonical header bytes.
        payload_bytes: size of the payload.
        leaves: `payload_leaves` of it.
    """
    return tagged_hash(_LABEL, hashlib.sha256(header).digest(), payload_bytes.to_bytes(8, "big"), merkle_root(leaves))
