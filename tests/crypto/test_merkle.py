"""RFC 6962 hashing against the published reference vectors and the RFC's own recursive definition."""

import hashlib

import pytest

from labelvault.crypto.merkle import EMPTY_ROOT, Leaf, leaf_hash, merkle_root, node_hash

# github.com/transparency-dev/merkle, testonly/constants.go; certificate-transparency's tests have the same.
LEAF_INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962's definition, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    """The reference trees of one to eight leaves have the published roots."""
    assert merkle_root([leaf_hash(data) for data in LEAF_INPUTS[:size]]).hex() == ROOTS[size - 1]


def test_no_leaves() -> None:
    """The empty tree has the hash of nothing."""
    assert merkle_root([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_every_size_matches_the_definition() -> None:
    """Building level by level equals the RFC's recursion for every size up to 200."""
    leaves: list[bytes] = []
    for size in range(201):
        assert merkle_root(leaves) == mth(leaves)
        leaves.append(leaf_hash(size.to_bytes(2, "big")))


def test_leaves_and_nodes_are_apart() -> None:
    """Two hashes side by side as a leaf's data are not the node above them."""
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert node_hash(left, right) != node_hash(right, left)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1 << 20])
def test_a_leaf_has_one_hash_however_it_is_computed(size: int) -> None:
    """In one piece or in two, at once or kept: SHA-256 over the prefix and the data."""
    data = bytes(number % 251 for number in range(size))
    expected = hashlib.sha256(b"\0" + data).digest()
    assert leaf_hash(data) == expected
    leaf = Leaf(data)
    assert leaf_hash(leaf) == expected
    assert leaf_hash(leaf) is leaf_hash(leaf)
    assert leaf_hash(Leaf(memoryview(bytearray(data)))) == expected
    assert leaf_hash(bytes(memoryview(Leaf(data)))) == expected


def test_what_is_cut_or_made_of_a_leaf_has_a_hash_of_its_own() -> None:
    """The kept hash is of the whole leaf alone: a part, a sum or a changed copy of it is hashed anew."""
    whole = Leaf(b"a leaf of some bytes")
    assert leaf_hash(whole) == hashlib.sha256(b"\0a leaf of some bytes").digest()
    for other in (whole[:-1], whole[1:], whole + b"x", whole.replace(b"a", b"b"), whole * 2, b"".join((whole, whole))):
        assert leaf_hash(other) == hashlib.sha256(b"\0" + other).digest()


def test_a_leaf_keeps_no_view_of_what_it_was_made_of() -> None:
    """Bytes and hash are those of the moment, whatever becomes of the buffer."""
    buffer = bytearray(b"sealed")
    leaf = Leaf(memoryview(buffer))
    buffer[:] = b"others"
    assert leaf == b"sealed"
    assert leaf_hash(leaf) == hashlib.sha256(b"\0sealed").digest()
