"""Items in each other's place: the matrix of two clients, two projects, two items and three versions, and chunks."""

import itertools
from dataclasses import replace
from pathlib import Path
from random import Random

from labelvault.crypto import aead
from labelvault.envelope.seal import seal_item
from labelvault.errors import DecryptionError, TamperedError
from tests.assurance.check import Cases, Check, Counts
from tests.envelope.test_seal import (
    HEADER,
    METADATA,
    chunks_of,
    digest_of,
    keeps_out,
    keeps_wrap_out,
    make_matrix,
    refused,
)
from tests.vectors import world

CONTENT_BYTES = 51_200
"""Four chunks."""


def swaps(_: Path) -> Cases:
    """Every ordered pair of the matrix: payloads, headers, digests; then wraps in each other's row of the catalog."""
    pairs = list(itertools.permutations(make_matrix(), 2))

    def attempt(number: int, _: Random) -> None:
        pair, wraps = divmod(number, 2)
        (keeps_wrap_out if wraps else keeps_out)(*pairs[pair])

    return Cases(attempt, 2 * len(pairs))


def chunks(_: Path) -> Cases:
    """Every payload of at most four chunks that two items' prefixes and chunks make, under either key."""
    one, dek = seal_item(HEADER, METADATA, bytes(range(256)) * 200, floor_bytes=4096)
    other = replace(HEADER, item=world.OTHER_ITEM)
    two, other_dek = seal_item(other, METADATA, bytes(CONTENT_BYTES), floor_bytes=4096)
    (prefix, ours), (other_prefix, theirs) = chunks_of(one.payload), chunks_of(two.payload)
    assert len(ours) == len(theirs) == 4
    orders = [order for size in range(5) for order in itertools.product(range(8), repeat=size)]
    each = [*ours, *theirs]

    def attempt(number: int, _: Random) -> None:
        order, which = divmod(number, 4)
        payload = (prefix, other_prefix)[which % 2] + b"".join(each[at] for at in orders[order])
        if payload == one.payload:
            return
        key = (dek, other_dek)[which // 2]
        refused(TamperedError, one, key, payload=payload)
        refused(DecryptionError, one, key, payload=payload, digest=digest_of(one.header, payload))

    assert len(one.payload) == aead.PAYLOAD_PREFIX_BYTES + sum(map(len, ours))
    return Cases(attempt, 4 * len(orders))


CHECKS = (
    Check(
        "swap matrix",
        "all ordered pairs of two clients, projects and items and three versions: header, payload, digest, wrap",
        ("F3", "F13"),
        swaps,
        Counts(200, None, None),
    ),
    Check(
        "chunks of two items",
        "every sequence of up to four chunks out of two items, with either prefix and under either key",
        ("F2", "F5"),
        chunks,
        Counts(300, None, None),
    ),
)
