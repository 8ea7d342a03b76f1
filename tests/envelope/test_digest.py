"""The digest: over header, size and a tree of the payload."""

import hashlib

from labelvault.crypto.merkle import leaf_hash, node_hash
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.wire.items import LEAF_BYTES

HEADER = b"header"
PAYLOAD = bytes(2 * LEAF_BYTES) + b"end"


def test_digest_is_what_the_specification_says() -> None:
    """Written out: label, header hash, size, RFC 6962 root over 1 MiB leaves."""
    leaves = payload_leaves(PAYLOAD)
    assert leaves == tuple(leaf_hash(piece) for piece in (bytes(LEAF_BYTES), bytes(LEAF_BYTES), b"end"))
    root = node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    covered = hashlib.sha256(HEADER).digest() + len(PAYLOAD).to_bytes(8, "big") + root
    assert (
        item_digest(HEADER, len(PAYLOAD), leaves) == hashlib.sha256(b"labelvault/v1/item-digest\0" + covered).digest()
    )


def test_leaves_of_edge_sizes() -> None:
    """Nothing has no leaves; a whole mebibyte has one, a byte more has two."""
    assert payload_leaves(b"") == ()
    assert payload_leaves(b"x") == (leaf_hash(b"x"),)
    assert len(payload_leaves(bytes(LEAF_BYTES))) == 1
    assert len(payload_leaves(bytes(LEAF_BYTES + 1))) == 2


def test_every_input_counts() -> None:
    """Another header, size, leaf, order or number of leaves: another digest."""
    leaves = payload_leaves(PAYLOAD)
    swapped = (leaves[2], leaves[1], leaves[0])
    found = [
        item_digest(HEADER, len(PAYLOAD), leaves),
        item_digest(b"headex", len(PAYLOAD), leaves),
        item_digest(HEADER, len(PAYLOAD) + 1, leaves),
        item_digest(HEADER, len(PAYLOAD), swapped),
        item_digest(HEADER, len(PAYLOAD), leaves[:2]),
        item_digest(HEADER, len(PAYLOAD), ()),
        item_digest(HEADER, 0, ()),
    ]
    assert len(set(found)) == len(found)


def test_leaf_2_of_3_does_not_pass_for_leaf_1_of_2() -> None:
    """In a bare tree it would: the same proof leads to the same root. The size in the digest tells them apart."""
    first, second, third = payload_leaves(PAYLOAD[:-3] + b"end")
    bare = node_hash(node_hash(first, second), third)
    # Who claims two leaves, of which the first is really an inner node, gets the same bare root ...
    claimed = (node_hash(first, second), third)
    assert node_hash(*claimed) == bare
    # ... but would have to claim a size of two leaves, at most 2 MiB, and that is another digest.
    honest = item_digest(HEADER, 2 * LEAF_BYTES + 3, (first, second, third))
    assert item_digest(HEADER, 2 * LEAF_BYTES + 3, claimed) == honest
    assert all(item_digest(HEADER, size, claimed) != honest for size in (LEAF_BYTES + 3, 2 * LEAF_BYTES))
