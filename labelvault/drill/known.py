"""Searching stolen bytes for plaintext that the attacker is told of: source texts, names and ids.

Every run of 12 bytes of a known file is looked for at every offset of stolen files; in memory, of 24, because
shorter ones occur in the interpreter's own texts. A run of 12 bytes holds an 8-byte word at an offset that is
a multiple of 4, so it is enough to look those words up among all words of the known bytes, and to look closer
at what fits. Text is also looked for as Python holds it in memory when it has letters beyond Latin-1: two or
four bytes a character.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from labelvault.drill.evidence import Source, View
from labelvault.errors import DrillError

FILE_RUN_BYTES: Final = 12
MEMORY_RUN_BYTES: Final = 24
LIST_FILES: Final = ("names.txt", "ids.txt")
_LEAST_WHOLE_BYTES: Final = 6
_WORD: Final = 8
_STRIDE: Final = 4
_WORDS_OF_A_RUN: Final = (MEMORY_RUN_BYTES - (_STRIDE - 1) - _WORD) // _STRIDE + 1
_PIECE: Final = 1 << 20
_SLAB_BYTES: Final = 2 << 20
"""How much known text is indexed at a time: some 200 MB of memory at most."""
_MAX_PLACES: Final = 16
_NEAR: Final = 128
_MAX_RUN: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """Some known bytes.

    Attributes:
        label: the known file, and the line in `names.txt` and `ids.txt`.
        data: the bytes.
        whole: only all of it together counts as found.
    """

    label: str
    data: bytes = field(repr=False)
    whole: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Known bytes that were found.

    Attributes:
        place: the source's.
        offset: in the source, in bytes.
        length: in bytes.
        labels: the known files that hold all of them.
    """

    place: str
    offset: int
    length: int
    labels: tuple[str, ...]


def read_known(folder: Path) -> list[Entry]:
    """Read the folder of what the attacker is told.

    `names.txt` and `ids.txt` hold one name or id a line, which count as whole lines only; every other file
    counts with any run of it.

    Raises:
        DrillError: the folder or a file can't be read, or there is nothing in it.
    """
    entries = []
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            label = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            if label in LIST_FILES:
                lines = enumerate(data.splitlines(), 1)
                entries += [Entry(f"{label}:{number}", line, True) for number, line in lines if line]
            elif data:
                entries.append(Entry(label, data, False))
    except OSError as error:
        raise DrillError(f"{folder} can't be read: {error.strerror}") from error
    if not entries:
        # An empty folder would find nothing anywhere, and look like success.
        raise DrillError(f"{folder} holds nothing that could be looked for")
    return entries


class KnownSearch:
    """The search."""

    def __init__(self, entries: Sequence[Entry], baseline: Sequence[View]) -> None:
        """Take what is known.

        Args:
            entries: from `read_known`.
            baseline: captures of processes that never saw any of it; what stands there too is no find.
        """
        self._entries = list(entries)
        self._baseline = list(baseline)
        self._unremarkable: dict[bytes, bool] = {}

    def search(self, sources: Sequence[Source]) -> list[Run]:
        """Return every find, by source and offset."""
        found: list[Run] = []
        for slab in _slabs(_with_wide_forms(self._entries)):
            index = _Slab(slab)
            for source in sources:
                found += [run for run in index.runs(source) if not self._is_unremarkable(source, run)]
        for source in sources:
            if source.kind != "capture":
                found += self._short_names(source)
        return sorted(set(found), key=lambda run: (run.place, run.offset, -run.length))

    def _is_unremarkable(self, source: Source, run: Run) -> bool:
        """Tell whether all of a run is trivial, or stands in a process that never saw the known bytes."""
        size = min(run.length, MEMORY_RUN_BYTES if source.kind == "capture" else FILE_RUN_BYTES)
        data = source.data[run.offset : run.offset + run.length]
        starts = [*range(0, run.length - size, size), run.length - size]
        return all(self._stands_in_baseline(data[at : at + size]) for at in starts)

    def _stands_in_baseline(self, window: bytes) -> bool:
        known = self._unremarkable.get(window)
        if known is None:
            known = _trivial(window) or any(data.find(window) >= 0 for data in self._baseline)
            self._unremarkable[window] = known
        return known

    def _short_names(self, source: Source) -> Iterator[Run]:
        """Look for whole names and ids shorter than a run, standing apart from other letters and digits."""
        for entry in self._entries:
            if entry.whole and _LEAST_WHOLE_BYTES <= len(entry.data) < FILE_RUN_BYTES and not _trivial(entry.data):
                pattern = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(entry.data) + rb"(?![0-9A-Za-z])")
                for match in pattern.finditer(source.data):
                    yield Run(source.place, match.start(), len(entry.data), (entry.label,))


class _Slab:
    """An index over a bounded amount of known bytes."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._starts: list[int] = []
        self._text = b""
        parts = []
        size = 0
        for entry in entries:
            self._starts.append(size)
            parts.append(entry.data)
            size += len(entry.data)
        self._text = b"".join(parts)
        words: set[int] = set()
        for shift in range(_WORD):
            length = (len(self._text) - shift) // _WORD * _WORD
            if length > 0:
                words.update(array("Q", self._text[shift : shift + length]))
        # Words of one or two different bytes (blanks, rules, zeros) stand everywhere; any run that is not
        # trivial has others.
        self._words = {word for word in words if len(set(word.to_bytes(_WORD, "little"))) > 2}
        self._names = b"\n".join(entry.data for entry in entries if entry.whole)
        self._places: dict[bytes, list[int]] = {}

    def runs(self, source: Source) -> Iterator[Run]:
        """Yield maximal runs in one source, ascending."""
        least = MEMORY_RUN_BYTES if source.kind == "capture" else FILE_RUN_BYTES
        done = 0
        seeds = self._seeds(source.data)
        for at in self._in_rows(source.data, seeds) if source.kind == "capture" else seeds:
            if at < done:
                continue
            run = self._grow(source, at, least)
            if run is not None:
                yield run
                done = run.offset + run.length

    def _in_rows(self, data: View, seeds: Iterator[int]) -> Iterator[int]:
        """Drop the words that stand alone: a run of 24 bytes has four in a row; only names may be shorter."""
        row: list[int] = []
        for at in seeds:
            if row and at != row[-1] + _STRIDE:
                row = []
            row.append(at)
            if len(row) == _WORDS_OF_A_RUN:
                yield from row
            elif len(row) > _WORDS_OF_A_RUN or data[at : at + _WORD] in self._names:
                yield at

    def _seeds(self, data: View) -> Iterator[int]:
        for base in range(0, len(data), _PIECE):
            piece = data[base : base + _PIECE + _WORD]
            found: list[int] = []
            for shift in (0, _STRIDE):
                length = (len(piece) - shift) // _WORD * _WORD
                if length > 0:
                    words = array("Q", piece[shift : shift + length])
                    hits = self._words.intersection(words)
                    if hits:
                        found += [base + shift + _WORD * at for at, word in enumerate(words) if word in hits]
            found.sort()
            yield from found

    def _grow(self, source: Source, at: int, least: int) -> Run | None:
        """Return the longest run of known bytes around a word, if it is long enough."""
        # Most words are chance finds, so a little context is looked at first.
        behind, ahead, labels = self._longest(source.data, at, least, _NEAR)
        if max(behind, ahead) >= _NEAR:
            behind, ahead, labels = self._longest(source.data, at, least, _MAX_RUN)
        if not labels:
            return None
        return Run(source.place, at - behind, behind + ahead, tuple(sorted(labels)))

    def _longest(self, data: View, at: int, least: int, reach: int) -> tuple[int, int, set[str]]:
        """Return how far the longest run goes behind and ahead of `at`, and whose it is."""
        before = data[max(at - reach, 0) : at][::-1]
        after = data[at : at + reach]
        best, labels = (0, 0), set[str]()
        for place in self._places_of(after[:_WORD]):
            number = bisect_right(self._starts, place) - 1
            entry, offset = self._entries[number], place - self._starts[number]
            if offset + _WORD > len(entry.data):
                continue
            ahead = _common(after, entry.data[offset : offset + reach])
            behind = _common(before, entry.data[max(offset - reach, 0) : offset][::-1])
            enough = len(entry.data) if entry.whole else min(least, max(len(entry.data), FILE_RUN_BYTES))
            if behind + ahead < min(enough, reach) or behind + ahead < sum(best):
                continue
            if behind + ahead > sum(best):
                best, labels = (behind, ahead), set()
            labels.add(entry.label)
        return *best, labels

    def _places_of(self, word: bytes) -> list[int]:
        places = self._places.get(word)
        if places is None:
            places = []
            at = self._text.find(word)
            while at >= 0 and len(places) < _MAX_PLACES:
                places.append(at)
                at = self._text.find(word, at + 1)
            self._places[word] = places
        return places


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes two strings have in common at their beginnings."""
    size = 64
    limit = min(len(one), len(other))
    done = 0
    while done < limit:
        end = min(done + size, limit)
        if one[done:end] != other[done:end]:
            difference = int.from_bytes(one[done:end], "big") ^ int.from_bytes(other[done:end], "big")
            return end - (difference.bit_length() + 7) // 8
        done = end
        size *= 4
    return limit


def _trivial(run: bytes) -> bool:
    """Tell whether bytes say nothing: at most two different ones, or nothing but blanks."""
    return len(set(run)) <= 2 or not run.strip()


def _with_wide_forms(entries: Sequence[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if len(entry.data) >= (FILE_RUN_BYTES if entry.whole else 1):
            yield entry
        try:
            text = entry.data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if not text.isascii():
            yield Entry(entry.label, text.encode("utf-16-le"), entry.whole)
            yield Entry(entry.label, text.encode("utf-32-le"), entry.whole)


def _slabs(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Group entries into slabs of bounded size; a large one is cut, with an overlap that keeps every run."""
    slab: list[Entry] = []
    size = 0
    for entry in entries:
        for base in range(0, len(entry.data), _SLAB_BYTES):
            part = Entry(entry.label, entry.data[base : base + _SLAB_BYTES + MEMORY_RUN_BYTES], entry.whole)
            if slab and size + len(part.data) > _SLAB_BYTES:
                yield slab
                slab, size = [], 0
            slab.append(part)
            size += len(part.data)
    if slab:
        yield slab
