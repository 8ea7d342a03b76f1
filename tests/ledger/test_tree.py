"""The tree against published vectors, and every proof of every tree of up to 512 leaves."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from labelvault.errors import LedgerError
from labelvault.ledger.tree import (
    MAX_SIZE,
    Node,
    append,
    consistency_proof,
    extend,
    inclusion_proof,
    leaf_hash,
    root,
    root_of_leaves,
    verify_consistency,
    verify_inclusion,
)

Proof = tuple[bytes, ...]
SIZES = 512
STRANGER = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


class Stored:
    """Nodes as storage would keep them: written once, counted when read."""

    def __init__(self, entries: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        self.leaves = [leaf_hash(entry) for entry in entries]
        for size, leaf in enumerate(self.leaves):
            for node in append(size, leaf, self.read):
                assert (node.level, node.position) not in self.nodes
                self.nodes[node.level, node.position] = node.hash

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.nodes[level, index]


@pytest.fixture(scope="module")
def tree() -> Stored:
    return Stored([size.to_bytes(2, "big") for size in range(SIZES)])


@pytest.fixture(scope="module")
def roots(tree: Stored) -> list[bytes]:
    return [root(size, tree.read) for size in range(SIZES + 1)]


def refused(verify: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(LedgerError):
        verify(*arguments)


# github.com/transparency-dev/merkle, testonly/constants.go and log_verifier_test.go.
VECTOR_INPUTS = [
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
VECTOR_NODES = [
    [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1",
    ],
    [
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    ],
    [
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    ["5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf index, size) or (old, new), and the proof as (level, index) of `VECTOR_NODES`.
VECTOR_INCLUSION = [
    (0, 1, []),
    (0, 8, [(0, 1), (1, 1), (2, 1)]),
    (5, 8, [(0, 4), (1, 3), (2, 0)]),
    (2, 3, [(1, 0)]),
    (1, 5, [(0, 0), (1, 1), (0, 4)]),
]
VECTOR_CONSISTENCY = [
    (1, 1, []),
    (1, 8, [(0, 1), (1, 1), (2, 1)]),
    (6, 8, [(1, 2), (1, 3), (2, 0)]),
    (2, 5, [(1, 1), (0, 4)]),
    (6, 7, [(1, 2), (0, 6), (2, 0)]),
]


def vector_proof(places: list[tuple[int, int]]) -> Proof:
    return tuple(bytes.fromhex(VECTOR_NODES[level][index]) for level, index in places)


def test_published_nodes_and_roots() -> None:
    """Storage holds exactly the published perfect nodes, and every size has its published root."""
    stored = Stored(VECTOR_INPUTS)
    assert {place: node.hex() for place, node in stored.nodes.items()} == {
        (level, index): text for level, row in enumerate(VECTOR_NODES) for index, text in enumerate(row)
    }
    assert [root(size, stored.read).hex() for size in range(9)] == VECTOR_ROOTS
    assert [root_of_leaves(stored.leaves[:size]).hex() for size in range(9)] == VECTOR_ROOTS


@pytest.mark.parametrize(("index", "size", "places"), VECTOR_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, places: list[tuple[int, int]]) -> None:
    """The published paths are the ones made, and verify."""
    stored = Stored(VECTOR_INPUTS)
    assert inclusion_proof(index, size, stored.read) == vector_proof(places)
    top = bytes.fromhex(VECTOR_ROOTS[size])
    verify_inclusion(stored.leaves[index], index, size, vector_proof(places), top)


@pytest.mark.parametrize(("old", "new", "places"), VECTOR_CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, places: list[tuple[int, int]]) -> None:
    """The published consistency proofs are the ones made, and verify."""
    stored = Stored(VECTOR_INPUTS)
    assert consistency_proof(old, new, stored.read) == vector_proof(places)
    old_root, new_root = bytes.fromhex(VECTOR_ROOTS[old]), bytes.fromhex(VECTOR_ROOTS[new])
    verify_consistency(old, new, vector_proof(places), old_root, new_root)


def test_L1_roots_of_every_size(tree: Stored, roots: list[bytes]) -> None:
    """A root read from stored nodes equals the one hashed from all leaves, for every earlier state."""
    assert roots == [root_of_leaves(tree.leaves[:size]) for size in range(SIZES + 1)]
    assert len(set(roots)) == SIZES + 1


def broken_proofs(proof: Proof, turn: int) -> Iterator[Proof]:
    """Proofs with one fault each; `turn` picks where."""
    spot = turn % (len(proof) + 1)
    yield (*proof[:spot], STRANGER, *proof[spot:])
    yield (*proof[:spot], b"", *proof[spot:])
    if proof:
        spot = turn % len(proof)
        flipped = bytearray(proof[spot])
        flipped[turn % 32] ^= 1 << (turn % 8)
        yield (*proof[:spot], bytes(flipped), *proof[spot + 1 :])
        yield (*proof[:spot], *proof[spot + 1 :])
        yield (*proof[:spot], proof[spot], *proof[spot:])
        yield (*proof[:spot], proof[spot][:31], *proof[spot + 1 :])
    if len(proof) > 1:
        spot = turn % (len(proof) - 1)
        yield (*proof[:spot], proof[spot + 1], proof[spot], *proof[spot + 2 :])


def test_L1_inclusion(tree: Stored, roots: list[bytes]) -> None:
    """Every leaf verifies; each wrong index, size, hash, extra or missing element fails in turn."""
    for size in range(1, SIZES + 1):
        for index in range(size):
            leaf, proof, top = tree.leaves[index], inclusion_proof(index, size, tree.read), roots[size]
            verify_inclusion(leaf, index, size, proof, top)
            turn = index + 31 * size
            faults = [(leaf, index, size, broken, top) for broken in broken_proofs(proof, turn)]
            faults += [
                (STRANGER, index, size, proof, top),
                (leaf, index, size, proof, STRANGER),
                (leaf, index, size, proof, roots[size - 1]),
                (leaf, size, size, proof, top),
                (leaf, -1, size, proof, top),
                (leaf, index, 2 * size, proof, top),
                (leaf, index, 0, proof, top),
            ]
            if size > 1:
                faults.append((leaf, (index + 1 + turn % (size - 1)) % size, size, proof, top))
            if size < SIZES:
                faults.append((leaf, index, size + 1, proof, roots[size + 1]))
            refused(verify_inclusion, *faults[turn % len(faults)])
            if size <= 16 or index in (0, size - 1):
                for fault in faults:
                    refused(verify_inclusion, *fault)


def test_L1_consistency(tree: Stored, roots: list[bytes]) -> None:
    """All m <= n verify; each wrong size, hash, extra or missing element fails in turn."""
    for new in range(1, SIZES + 1):
        for old in range(1, new + 1):
            proof, before, after = consistency_proof(old, new, tree.read), roots[old], roots[new]
            verify_consistency(old, new, proof, before, after)
            turn = old + 31 * new
            faults = [(old, new, broken, before, after) for broken in broken_proofs(proof, turn)]
            faults += [
                (old, new, proof, STRANGER, after),
                (old, new, proof, before, STRANGER),
                (old, new, proof, before[:31], after),
                (old, new, proof, before, b""),
                (0, new, proof, roots[0], after),
                (new + 1, new, proof, before, after),
                (old, 0, proof, before, roots[0]),
                (old, 2 * new, proof, before, after),
            ]
            if old < new:
                faults += [
                    (old, new, proof, after, before),
                    (old + 1, new, proof, before, after),
                    (old + 1, new, proof, roots[old + 1], after),
                    (old, new - 1, proof, before, roots[new - 1]),
                ]
            if new < SIZES:
                faults.append((old, new + 1, proof, before, roots[new + 1]))
            refused(verify_consistency, *faults[turn % len(faults)])
            if new <= 16 or old in (1, new - 1, new):
                for fault in faults:
                    refused(verify_consistency, *fault)


def test_L1_no_proof_fits_elsewhere(tree: Stored, roots: list[bytes]) -> None:
    """Up to 12 leaves, a proof verifies for its own leaf, index and sizes only."""
    span = range(1, 13)
    for size, other in itertools.product(span, span):
        for index, place, leaf in itertools.product(range(size), range(other), range(other)):
            if (index, size) == (place, other) and leaf == index:
                continue
            proof = inclusion_proof(index, size, tree.read)
            refused(verify_inclusion, tree.leaves[leaf], place, other, proof, roots[other])
    pairs = [(old, new) for new in span for old in range(1, new + 1)]
    for (old, new), (first, then) in itertools.product(pairs, pairs):
        proof = consistency_proof(old, new, tree.read)
        if (old, new) == (first, then) or (old == new and first == then):
            verify_consistency(first, then, proof, roots[first], roots[then])
        else:
            refused(verify_consistency, first, then, proof, roots[first], roots[then])


def test_L1_a_path_never_runs_past_the_top(tree: Stored, roots: list[bytes]) -> None:
    """A proof out of a larger tree does not pass for one of a smaller tree, though it leads to the given roots."""
    left, right = tree.leaves[:2]
    verify_inclusion(right, 1, 2, (left,), roots[2])
    refused(verify_inclusion, right, 0, 1, (left,), roots[2])
    for size in range(2, 33):
        proof = consistency_proof(1, size, tree.read)
        verify_consistency(1, size, proof, roots[1], roots[size])
        refused(verify_consistency, 1, 1, proof, roots[1], roots[size])
        proof = consistency_proof(size - 1, size, tree.read)
        for claimed in range(1, size):
            for old in range(1, claimed + 1):
                if len(proof) > len(consistency_proof(old, claimed, tree.read)):
                    refused(verify_consistency, old, claimed, proof, roots[size - 1], roots[size])


def test_L1_size_zero_proves_nothing(roots: list[bytes]) -> None:
    """An empty tree is consistent with nothing and includes nothing, whatever the roots."""
    refused(verify_consistency, 0, 0, (), roots[0], roots[0])
    refused(verify_consistency, 0, 1, (), roots[0], roots[1])
    refused(verify_inclusion, roots[0], 0, 0, (), roots[0])
    refused(consistency_proof, 0, 0, None)
    refused(consistency_proof, 0, 1, None)
    refused(inclusion_proof, 0, 0, None)


def test_L2_another_history_is_not_consistent(tree: Stored, roots: list[bytes]) -> None:
    """A tree in which one early leaf was rewritten proves no consistency with the first tree's root."""
    other = Stored([size.to_bytes(2, "big") if size != 3 else b"rewritten" for size in range(40)])
    for old, new in itertools.product(range(4, 40), range(4, 40)):
        if old <= new:
            proof = consistency_proof(old, new, other.read)
            refused(verify_consistency, old, new, proof, roots[old], root(new, other.read))


def test_bounds_are_checked(tree: Stored, roots: list[bytes]) -> None:
    """Leaves and roots of another size, indexes outside the tree and absurd sizes are refused."""
    refused(append, 0, b"short", tree.read)
    refused(append, -1, STRANGER, tree.read)
    refused(append, MAX_SIZE, STRANGER, tree.read)
    refused(root, -1, tree.read)
    refused(root, MAX_SIZE + 1, tree.read)
    refused(root_of_leaves, [STRANGER, b"short"])
    refused(inclusion_proof, 5, 5, tree.read)
    refused(inclusion_proof, 0, MAX_SIZE + 1, lambda level, index: bytes(32))
    refused(consistency_proof, 1, MAX_SIZE + 1, lambda level, index: bytes(32))
    refused(inclusion_proof, -1, 5, tree.read)
    refused(consistency_proof, 6, 5, tree.read)
    refused(verify_inclusion, b"", 0, 1, (), b"")
    refused(verify_inclusion, STRANGER, 0, MAX_SIZE + 1, (), STRANGER)
    refused(verify_consistency, 1, 1, (), b"", b"")
    refused(verify_consistency, 1, MAX_SIZE + 1, (STRANGER,) * 63, STRANGER, STRANGER)


def test_hashes_of_another_size_are_named(tree: Stored, roots: list[bytes]) -> None:
    """Whatever is no hash is refused as such, before anything is computed from it."""
    path, link = inclusion_proof(2, 5, tree.read), consistency_proof(3, 5, tree.read)
    short = STRANGER[:31]
    for verify, arguments in (
        (verify_inclusion, (short, 2, 5, path, roots[5])),
        (verify_inclusion, (tree.leaves[2], 2, 5, (short, *path[1:]), roots[5])),
        (verify_consistency, (3, 5, (*link[:-1], STRANGER + b"x"), roots[3], roots[5])),
        (verify_consistency, (3, 5, link, short, roots[5])),
        (verify_consistency, (3, 5, link, roots[3], short)),
        (verify_consistency, (3, 3, (), short, roots[3])),
        (verify_consistency, (3, 3, (), roots[3], short)),
    ):
        with pytest.raises(LedgerError, match=r"has 3[13] bytes, not 32"):
            verify(*arguments)


def test_damaged_storage_is_noticed(tree: Stored) -> None:
    """A stored node that is no hash never becomes part of a root, proof or new node."""

    def damaged(level: int, index: int) -> bytes:
        return tree.read(level, index)[:-1]

    refused(root, 3, damaged)
    refused(inclusion_proof, 0, 3, damaged)
    refused(consistency_proof, 2, 3, damaged)
    refused(append, 3, STRANGER, damaged)


def test_cost_grows_with_the_logarithm(tree: Stored) -> None:
    """Appending, a root and a proof read at most a few nodes for each of the tree's nine levels."""
    for size in range(1, SIZES):
        for work in (
            lambda n: append(n, STRANGER, tree.read),
            lambda n: root(n, tree.read),
            lambda n: inclusion_proof(n // 2, n, tree.read),
            lambda n: consistency_proof((n + 1) // 2, n, tree.read),
        ):
            tree.reads = 0
            work(size)
            assert tree.reads <= 2 * size.bit_length()


def test_append_names_only_new_nodes() -> None:
    """The fourth leaf completes one pair and the pair of pairs."""
    nodes = append(3, STRANGER, lambda level, index: bytes(32))
    assert [(node.level, node.position) for node in nodes] == [(0, 3), (1, 1), (2, 0)]
    assert nodes[0] == Node(0, 3, STRANGER)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 13])
def test_many_leaves_make_the_nodes_that_one_after_the_other_make(size: int) -> None:
    """From trees of every shape, as many at once as cross several levels."""
    entries = [bytes([number]) for number in range(size + 20)]
    before = Stored(entries[:size])
    for count in range(20):
        after = Stored(entries[: size + count])
        made = extend(size, after.leaves[size:], before.read)
        assert len({(node.level, node.position) for node in made}) == len(made)
        assert before.nodes | {(node.level, node.position): node.hash for node in made} == after.nodes
        assert len(made) == len(after.nodes) - len(before.nodes)
