"""Every 32 bytes of the loot that may be a key, once each, in batches of bounded size."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from labelvault.drill.capture import text_section
from labelvault.drill.encodings import encoded_keys
from labelvault.drill.entropy import KEY_BYTES, aligned_offsets, may_be_key, windows
from labelvault.drill.evidence import Source, View
from labelvault.drill.explained import Explained

BATCH_KEYS: Final = 4096
_PIECE: Final = 1 << 20
# msgpack's byte string of 32 bytes: how a key stands in a decoded or not yet sealed message, at any offset.
_BIN_32: Final = re.compile(rb"\xc4\x20(?=(.{32}))", re.DOTALL)
_EDGE_BYTES: Final = 4
"""A known stretch may have grown into a key by chance: by five bytes once in 2^40."""
_LEAST_GROUP_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where a guessed key stood.

    Attributes:
        key: 32 bytes.
        place: the source's.
        offset: in bytes; for text, where the text begins.
        encoding: raw, msgpack, hex, base64, literal or numbers.
    """

    key: bytes = field(repr=False)
    place: str
    offset: int
    encoding: str


def batches(
    sources: Iterable[Source], explained: Explained, baseline: Iterable[Source] = ()
) -> Iterator[list[Candidate]]:
    """Yield all candidates; a key that stands in many places comes once, with the first.

    Args:
        sources: the loot.
        explained: known bytes, which are not guessed from.
        baseline: captures of processes that never held a secret. What stands there too (tables of the
            interpreter, line numbers of its code) is no key.
    """
    # 64-bit hashes in place of keys keep this small; two of a million collide once in 2^25 runs.
    seen: set[int] = set()
    for candidate in _all(baseline, explained):
        seen.add(hash(candidate.key))
    batch: list[Candidate] = []
    for candidate in _all(sources, explained):
        mark = hash(candidate.key)
        if mark not in seen:
            seen.add(mark)
            batch.append(candidate)
            if len(batch) == BATCH_KEYS:
                yield batch
                batch = []
    if batch:
        yield batch


def _all(sources: Iterable[Source], explained: Explained) -> Iterator[Candidate]:
    for source in sources:
        raw = _captured(source.data, explained) if source.kind == "capture" else _anywhere(source.data, explained)
        for offset, encoding, key in raw:
            yield Candidate(key, source.place, offset, encoding)
        for offset, encoding, key in encoded_keys(source.data):
            yield Candidate(key, source.place, offset, encoding)


def _anywhere(data: View, explained: Explained) -> Iterator[tuple[int, str, bytes]]:
    """Yield raw candidates at every offset that is not explained."""
    for start, end in _gaps(data, 0, len(data), explained):
        for base in range(start, end, _PIECE):
            piece = data[base : min(base + _PIECE + KEY_BYTES - 1, end)]
            for at, key in windows(piece):
                yield base + at, "raw", key


def _captured(data: View, explained: Explained) -> Iterator[tuple[int, str, bytes]]:
    """Yield raw candidates of a capture of memory: aligned ones, and those that msgpack marks."""
    texts, regions = text_section(data)
    for at, key in windows(texts):
        yield at, "raw", key
    for start, end in _groups(aligned_offsets(data, regions)):
        if end - start < _LEAST_GROUP_BYTES:
            gaps: Iterable[tuple[int, int]] = [(start, end)]
        else:
            gaps = _gaps(data, start, end, explained)
        for first, last in gaps:
            for at in range(first + (start - first) % 8, last - KEY_BYTES + 1, 8):
                key = data[at : at + KEY_BYTES]
                if may_be_key(key):
                    yield at, "raw", key
    for match in _BIN_32.finditer(data):
        if may_be_key(match[1]):
            yield match.start() + 2, "msgpack", match[1]


def _groups(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join neighbouring windows into stretches (from, to)."""
    start = end = -1
    for at in offsets:
        if at > end:
            if end > 0:
                yield start, end
            start = at
        end = at + KEY_BYTES
    if end > 0:
        yield start, end


def _gaps(data: View, start: int, end: int, explained: Explained) -> Iterator[tuple[int, int]]:
    """Return what of `data[start:end]` is not explained, with a small margin."""
    at = start
    for first, last in explained.cover(data, start, end):
        if first > at:
            yield max(at - _EDGE_BYTES, start), min(first + _EDGE_BYTES, end)
        at = last
    if at < end:
        yield max(at - _EDGE_BYTES, start), end
