"""Fingerprints that people read to each other, out of band: eight pronounceable words.

The words are proquints (D. S. Wilkerson, "A Proposal for Proquints: Identifiers that are Readable, Spellable,
and Pronounceable", arXiv 0901.4016): 16 bits each as consonant, vowel, consonant, vowel, consonant. Eight of
them hold 128 bits of a tagged SHA-256: finding a second key with a given fingerprint takes about 2^128 tries.
"""

import hmac
import unicodedata
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import EnrolmentError

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
    # Zs and Pd: word processors make other spaces and dashes out of the plain ones.
    kept = [mark for mark in spoken.lower() if not mark.isspace() and unicodedata.category(mark) not in ("Zs", "Pd")]
    letters = "".join(kept)
    if len(letters) != _LETTERS:
        raise EnrolmentError(f"a fingerprint is {WORDS} words of five letters; that is {len(letters)} letters, not 40")
    for place, letter in enumerate(letters):
        if letter not in (_VOWELS if place % _WORD_LETTERS in (1, 3) else _CONSONANTS):
            word = place // _WORD_LETTERS + 1
            raise EnrolmentError(f"word {word} is not a fingerprint word; each is like 'lusab' or 'gutih'")
    return letters
