"""Fingerprints that people read to each other, out of band: eight pronounceable words.

The words are proquints (D. S. Wilkerson, "A Proposal for Proquints: Identifiers that are Readable, Spellable,
and Pronounceable", arXiv 0901.4016): 16 bits each as consonant, vowel, consonant, vowel, consonant. Eight of
them hold 128 bits of a tagged SHA-256: finding a second key with a given fingerprint takes about 2^128 tries.
"""

import hmac
import unicodedata
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import EnrolmentError, FormatError

WORDS: Final = 8
_WORD_LETTERS: Final = 5
_LETTERS: Final = WORDS * _WORD_LETTERS
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"
_MAX_SPOKEN: Final = 200


def fingerprint(label: bytes, data: bytes) -> str:
    r"""Return the fingerprint of `data` under `label`.

    Args:
        label: `b"labelvault/v1/<what>\0"`, so that a card's fingerprint never passes for an invite's.
        data: any size; what the fingerprint stands for.

    Returns:
        eight five-letter words, joined by hyphens.
    """
    return to_proquints(tagged_hash(label, data)[: 2 * WORDS])


def check_fingerprint(spoken: str, expected: str) -> None:
    """Compare what a person typed from a call or a letter with what was computed here.

    Case, spaces and hyphens don't matter. The comparison takes constant time, and the error doesn't say which
    words differ: whoever is tried by guesses learns nothing, and whoever misheard asks again for all of it.

    Args:
        spoken: as the person gave it.
        expected: from `fingerprint`.

    Raises:
        EnrolmentError: `spoken` is not a fingerprint at all, or another one; the message says which of the
            two.
    """
    letters = _letters(spoken)
    if not hmac.compare_digest(letters, expected.replace("-", "")):
        raise EnrolmentError("the fingerprints differ: this is not the key that was read out; do not go on")


def to_proquints(data: bytes) -> str:
    """Spell an even number of bytes as proquints, joined by hyphens."""
    return "-".join(_word(int.from_bytes(data[at : at + 2], "big")) for at in range(0, len(data), 2))


def from_proquints(text: str) -> bytes:
    """Return the bytes that words spell. Case, spaces, line ends and hyphens don't matter.

    Raises:
        FormatError: something in it is no such word; it says which one.
    """
    letters = _bare(text)
    found = bytearray()
    for place in range(0, len(letters), _WORD_LETTERS):
        word = letters[place : place + _WORD_LETTERS]
        if len(word) < _WORD_LETTERS or not _is_word(word):
            raise FormatError(f"word {place // _WORD_LETTERS + 1} is none; each is like 'lusab' or 'gutih'")
        bits = 0
        for at, letter in enumerate(word):
            bits = bits << 2 | _VOWELS.index(letter) if at in (1, 3) else bits << 4 | _CONSONANTS.index(letter)
        found += bits.to_bytes(2, "big")
    return bytes(found)


def _bare(text: str) -> str:
    """Return the letters alone."""
    # Zs and Pd: word processors make other spaces and dashes out of the plain ones.
    return "".join(
        mark for mark in text.lower() if not mark.isspace() and unicodedata.category(mark) not in ("Zs", "Pd")
    )


def _is_word(word: str) -> bool:
    return all(letter in (_VOWELS if at in (1, 3) else _CONSONANTS) for at, letter in enumerate(word))


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )


def _letters(spoken: str) -> str:
    """Return the bare letters of a spoken fingerprint, or refuse it if it can't be one."""
    if len(spoken) > _MAX_SPOKEN:
        raise EnrolmentError("that is too long for a fingerprint")
    letters = _bare(spoken)
    if len(letters) != _LETTERS:
        raise EnrolmentError(f"a fingerprint is {WORDS} words of five letters; that is {len(letters)} letters, not 40")
    for place in range(0, len(letters), _WORD_LETTERS):
        if not _is_word(letters[place : place + _WORD_LETTERS]):
            word = place // _WORD_LETTERS + 1
            raise EnrolmentError(f"word {word} is not a fingerprint word; each is like 'lusab' or 'gutih'")
    return letters
