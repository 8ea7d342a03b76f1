"""The ledger's Merkle tree (RFC 6962, section 2.1) over stored nodes.

Storage keeps the node of every perfect subtree: (level, position) covers the leaves from position·2^level up to
(position + 1)·2^level. Such a node never changes, so storage only ever appends; an append, a root and a proof read
O(log n) nodes. Verifying needs no storage (RFC 9162, sections 2.1.3.2 and 2.1.4.2, for the same tree).

A root does not say how many leaves lie under it: a proof for leaf 2 of 3 also leads from leaf 1 of 2 to that
root. So `size` and `root` must always come from one signed checkpoint, never from two places.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.merkle import EMPTY_ROOT, leaf_hash, merkle_root, node_hash
from labelvault.errors import LedgerError

__all__ = [
    "MAX_SIZE",
    "Node",
    "ReadNode",
    "RunningRoot",
    "append",
    "consistency_proof",
    "extend",
    "inclusion_proof",
    "leaf_hash",
    "root",
    "root_of_leaves",
    "verify_consistency",
    "verify_inclusion",
]

MAX_SIZE: Final = 2**62
"""More leaves than any ledger has; bounds proofs and loops."""

ReadNode: TypeAlias = Callable[[int, int], bytes]
"""(level, position) → the stored 32-byte hash; raises the storage's own error where nothing is stored."""


class Node(NamedTuple):
    """The hash over a perfect subtree, final from the moment that it exists.

    Attributes:
        level: 0 for a leaf; a node of level k covers 2^k leaves.
        position: counted from the left, within the level.
        hash: 32 bytes.
    """

    level: int
    position: int
    hash: bytes


def append(size: int, leaf: bytes, read_node: ReadNode) -> list[Node]:
    """Return the nodes that come into being when a leaf is appended.

    Args:
        size: leaves in the tree before.
        leaf: the 32-byte `leaf_hash` of the new entry.
        read_node: reads the tree as it was.

    Returns:
        The leaf's node first, then every perfect subtree that it completes, from below.

    Raises:
        LedgerError: a size or hash is out of bounds.
    """
    return extend(size, [leaf], read_node)


def extend(size: int, leaves: Sequence[bytes], read_node: ReadNode) -> list[Node]:
    """Return the nodes that come into being when leaves are appended; as `append`, level by level."""
    if not leaves:
        return []
    _check_size(size + len(leaves))
    for leaf in leaves:
        _check_hash(leaf, "a leaf")
    level, start, hashes = 0, size, list(leaves)
    nodes = [Node(level, index, value) for index, value in enumerate(hashes, start)]
    while hashes:
        if start % 2:
            start -= 1
            hashes.insert(0, _read(read_node, level, start))
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]
        level, start = level + 1, start // 2
        nodes += [Node(level, index, value) for index, value in enumerate(hashes, start)]
    return nodes


def root(size: int, read_node: ReadNode) -> bytes:
    """Return the 32-byte root over the first `size` leaves, of this tree or of any earlier state of it.

    Raises:
        LedgerError: a size or a stored hash is out of bounds.
    """
    if size == 0:
        return EMPTY_ROOT
    _check_size(size)
    return _range_hash(0, size, read_node)


def root_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte root over leaf hashes that are all at hand.

    Args:
        leaves: 32-byte leaf hashes, in order.

    Raises:
        LedgerError: a hash has another size.
    """
    for leaf in leaves:
        _check_hash(leaf, "a leaf")
    return merkle_root(leaves)


class RunningRoot:
    """The root over leaves that come one by one, of which one hash a level is kept.

    Attributes:
        size: leaves so far.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take the next 32-byte leaf hash."""
        value, size = leaf, self.size
        while size & 1:
            value = node_hash(self._peaks.pop(), value)
            size >>= 1
        self._peaks.append(value)
        self.size += 1

    @property
    def root(self) -> bytes:
        """RFC 6962 root hash over all so far, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        value, *rest = reversed(self._peaks)
        for peak in rest:
            value = node_hash(peak, value)
        return value


def inclusion_proof(index: int, size: int, read_node: ReadNode) -> tuple[bytes, ...]:
    """Return the path from a leaf to the root (RFC 6962, section 2.1.1).

    Args:
        index: of the leaf, from 0.
        size: leaves under the root.
        read_node: reads the tree.

    Returns:
        32-byte hashes, the leaf's sibling first.

    Raises:
        LedgerError: there is no such leaf.
    """
    _check_index(index, size)
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_hash(middle, high, read_node))
            high = middle
        else:
            path.append(_range_hash(low, middle, read_node))
            low = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, read_node: ReadNode) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` leaves begins with the tree of `old` (RFC 6962, section 2.1.2).

    Args:
        old: leaves before, at least 1.
        new: leaves now.
        read_node: reads the tree.

    Returns:
        32-byte hashes; none when the sizes are equal.

    Raises:
        LedgerError: sizes that no proof links.
    """
    _check_sizes(old, new)
    path: list[bytes] = []
    low, high = 0, new
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range_hash(middle, high, read_node))
            high = middle
        else:
            path.append(_range_hash(low, middle, read_node))
            low = middle
    if low:
        # The last subtree of the old tree; where it is the whole old tree, the verifier has its root already.
        path.append(_range_hash(low, high, read_node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf stands at `index` under a root.

    Args:
        leaf: 32-byte leaf hash.
        index: its place, from 0.
        size: leaves under the root; from the same checkpoint as `root`.
        proof: as `inclusion_proof` makes it.
        root: 32 bytes.

    Raises:
        LedgerError: it does not follow, or a hash or size is out of bounds.
    """
    _check_index(index, size)
    _check_hash(leaf, "a leaf")
    at, last = index, size - 1
    value = leaf
    for part in proof:
        _check_hash(part, "an element of the proof")
        if last == 0:
            raise LedgerError("the inclusion proof is too long")
        if at % 2 or at == last:
            value = node_hash(part, value)
            at, last = _climb_left(at, last)
        else:
            value = node_hash(value, part)
        at, last = at // 2, last // 2
    if last != 0:
        raise LedgerError("the inclusion proof is too short")
    if value != root:
        raise LedgerError("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that a tree only grew: its first `old` leaves are those of the old root.

    Args:
        old: leaves under `old_root`, at least 1: an empty tree proves nothing about a later one.
        new: leaves under `new_root`.
        proof: as `consistency_proof` makes it.
        old_root: 32 bytes, from the same checkpoint as `old`.
        new_root: 32 bytes, from the same checkpoint as `new`.

    Raises:
        LedgerError: it does not follow, or a hash or size is out of bounds.
    """
    _check_sizes(old, new)
    _check_hash(old_root, "a root")
    _check_hash(new_root, "a root")
    for part in proof:
        _check_hash(part, "an element of the proof")
    if old == new:
        if proof:
            raise LedgerError("the consistency proof is too long")
        if old_root != new_root:
            raise LedgerError("two trees of one size differ")
        return
    # A perfect old tree is itself the first node of the path, so the proof leaves it out.
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise LedgerError("the consistency proof is too short")
    at, last = old - 1, new - 1
    while at % 2:
        at, last = at // 2, last // 2
    old_value = new_value = path[0]
    for part in path[1:]:
        if last == 0:
            raise LedgerError("the consistency proof is too long")
        if at % 2 or at == last:
            old_value, new_value = node_hash(part, old_value), node_hash(part, new_value)
            at, last = _climb_left(at, last)
        else:
            new_value = node_hash(new_value, part)
        at, last = at // 2, last // 2
    if last != 0:
        raise LedgerError("the consistency proof is too short")
    if old_value != old_root:
        raise LedgerError("the consistency proof does not lead to the old root")
    if new_value != new_root:
        raise LedgerError("the consistency proof does not lead to the new root")


def _climb_left(at: int, last: int) -> tuple[int, int]:
    """Skip the levels on which a node at the right edge has no sibling and is carried up as it is.

    `at` is never 0 here: at the top there is no further element to take, so the loop ends.
    """
    while at % 2 == 0:
        at, last = at // 2, last // 2
    return at, last


def _range_hash(low: int, high: int, read_node: ReadNode) -> bytes:
    """Hash over the leaves from `low` up to `high`, where `low` is a multiple of the next power of two."""
    peaks: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        peaks.append(_read(read_node, level, low >> level))
        low += 1 << level
    value = peaks.pop()
    while peaks:
        value = node_hash(peaks.pop(), value)
    return value


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _read(read_node: ReadNode, level: int, index: int) -> bytes:
    value = read_node(level, index)
    _check_hash(value, f"stored node {level}/{index}")
    return value


def _check_hash(value: bytes, what: str) -> None:
    if len(value) != HASH_BYTES:
        raise LedgerError(f"{what} has {len(value)} bytes, not {HASH_BYTES}")


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_SIZE:
        raise LedgerError(f"a tree of {size} leaves proves nothing")


def _check_index(index: int, size: int) -> None:
    _check_size(size)
    if not 0 <= index < size:
        raise LedgerError(f"a tree of {size} leaves has no leaf {index}")


def _check_sizes(old: int, new: int) -> None:
    _check_size(old)
    _check_size(new)
    if old > new:
        raise LedgerError(f"a tree of {new} leaves can't have grown out of one of {old}")
