"""Stretches of stolen bytes that are copies of something known, so that no key hides in them.

Sealed payloads look as random as keys do, and make up most of a vault's file, its journal and a contractor's
memory, cut into pages. Trying each of their offsets as a key would cost everything and find nothing: a key
that stood inside a payload's ciphertext would have had to be chosen by the cipher. The index works as
rsync's: words at every 128th byte of the known bytes, looked up at every byte of the stolen ones, and grown
from there byte by byte. Ids and hashes that are public are known as well: a key that held 16 bytes of one
would be a chance of 2^-128.
"""

from array import array
from collections.abc import Iterable
from typing import Final

from labelvault.drill.evidence import View

STEP_BYTES: Final = 128
"""SQLite leaves at least 489 bytes of a payload in one piece, so each piece holds several steps."""
_WORD: Final = 8
_PIECE: Final = 1 << 20
_LEAST_DIFFERENT: Final = 4
_LEAST_KNOWN: Final = 16


class Explained:
    """An index over known bytes."""

    __slots__ = ("_blobs", "_index", "_words")

    def __init__(self, blobs: Iterable[bytes]) -> None:
        """Index whole payloads, and other bytes that are known to be no keys, of 16 bytes or more each."""
        self._blobs = list({blob for blob in blobs if len(blob) >= _LEAST_KNOWN})
        self._index: dict[int, tuple[int, int]] = {}
        for number, blob in enumerate(self._blobs):
            words = array("Q", blob[: len(blob) // _WORD * _WORD])
            for at in range(0, len(words), STEP_BYTES // _WORD):
                # Runs of zeros and their like occur everywhere and explain nothing.
                if len(set(blob[at * _WORD : at * _WORD + _WORD])) >= _LEAST_DIFFERENT:
                    self._index.setdefault(words[at], (number, at * _WORD))
        self._words = frozenset(self._index)

    def cover(self, data: View, start: int, end: int) -> list[tuple[int, int]]:
        """Return the stretches of `data[start:end]` that are known: (from, to), ascending and apart."""
        if not self._words:
            return []
        found: list[tuple[int, int]] = []
        for base in range(start, end, _PIECE):
            piece = data[base : min(base + _PIECE + _WORD - 1, end)]
            for at in self._seeds(piece):
                if not found or base + at >= found[-1][1]:
                    grown = self._grow(data, base + at, start, end)
                    if grown is not None:
                        begin = max(grown[0], found[-1][1] if found else start)
                        found.append((begin, grown[1]))
        return found

    def _seeds(self, piece: bytes) -> list[int]:
        """Return where in a piece an indexed word stands, ascending."""
        seeds: list[int] = []
        for shift in range(_WORD):
            length = (len(piece) - shift) // _WORD * _WORD
            if length <= 0:
                continue
            words = array("Q", piece[shift : shift + length])
            hits = self._words.intersection(words)
            if hits:
                seeds += [shift + _WORD * at for at, word in enumerate(words) if word in hits]
        seeds.sort()
        return seeds

    def _grow(self, data: View, at: int, start: int, end: int) -> tuple[int, int] | None:
        number, offset = self._index[int.from_bytes(data[at : at + _WORD], _NATIVE)]
        blob = self._blobs[number]
        ahead = min(end - at, len(blob) - offset)
        behind = min(at - start, offset)
        right = _common_prefix(data[at : at + ahead], blob[offset : offset + ahead])
        left = _common_suffix(data[at - behind : at], blob[offset - behind : offset])
        if left + right < min(4 * _WORD, len(blob)):
            return None
        return at - left, at + right


_NATIVE: Final = "little" if array("H", b"\x01\x00")[0] == 1 else "big"


def _common_prefix(one: bytes, other: bytes) -> int:
    if one == other:
        return len(one)
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return len(one) - (difference.bit_length() + 7) // 8


def _common_suffix(one: bytes, other: bytes) -> int:
    if one == other:
        return len(one)
    difference = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return len(one) - (difference.bit_length() + 7) // 8
