"""SHA-256 under a domain-separation label (FIPS 180-4). No third-party import: any room may load it."""

import hashlib
from typing import Final

HASH_BYTES: Final = 32


def tagged_hash(label: bytes, *parts: bytes) -> bytes:
    r"""Hash `parts` under `label`.

    The label ends in a NUL byte and is part of the hashed bytes, so two uses never collide; parts are
    concatenated as they are, so all but the last must have a fixed length (or be hashes).

    Args:
        label: `b"labelvault/v1/<what>\0"`.
        parts: what to hash.

    Returns:
        32 bytes.
    """
    return tagged_state(label, *parts).digest()


def tagged_state(label: bytes, *parts: bytes) -> "hashlib._Hash":
    """Return the state of `tagged_hash` after these parts, for a last part that comes in pieces."""
    state = hashlib.sha256(label)
    for part in parts:
        state.update(part)
    return state
