"""Spoken fingerprints: the published words, what people may vary, and what is refused."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import EnrolmentError
from labelvault.keys.fingerprint import check_fingerprint, fingerprint, to_proquints

LABEL = b"labelvault/v1/test-fingerprint\0"
EXPECTED = fingerprint(LABEL, b"a key")

# The examples of arXiv 0901.4016.
PUBLISHED = {
    "127.0.0.1": "lusab-babad",
    "63.84.220.193": "gutih-tugad",
    "63.118.7.35": "gutuk-bisog",
    "140.98.193.141": "mudof-sakat",
    "64.255.6.200": "haguz-biram",
    "128.30.52.45": "mabiv-gibot",
    "147.67.119.2": "natag-lisaf",
    "212.58.253.68": "tibup-zujah",
    "216.35.68.215": "tobog-higil",
    "216.68.232.21": "todah-vobij",
    "198.81.129.136": "sinid-makam",
    "12.110.110.204": "budov-kuras",
}


@pytest.mark.parametrize(("address", "words"), PUBLISHED.items())
def test_published_proquints(address: str, words: str) -> None:
    """The paper's addresses give the paper's words."""
    assert to_proquints(bytes(map(int, address.split(".")))) == words


def test_every_word_stands_for_one_number() -> None:
    """All 65,536 words differ."""
    assert len({to_proquints(number.to_bytes(2, "big")) for number in range(2**16)}) == 2**16


def test_fingerprint_is_half_of_a_tagged_hash() -> None:
    """Eight words of the first 128 bits; label and data both count."""
    assert to_proquints(tagged_hash(LABEL, b"a key")[:16]) == EXPECTED
    assert len(EXPECTED.split("-")) == 8
    assert fingerprint(LABEL, b"another key") != EXPECTED
    assert fingerprint(b"labelvault/v1/other\0", b"a key") != EXPECTED


@pytest.mark.parametrize(
    "spoken",
    [
        EXPECTED,
        EXPECTED.upper(),
        EXPECTED.title(),
        EXPECTED.replace("-", " "),
        EXPECTED.replace("-", ""),
        f"  {EXPECTED}\n",
        EXPECTED.replace("-", "\u2013"),
        EXPECTED.replace("-", " \u2011\u00a0"),
        "\t".join(EXPECTED.replace("-", "")),
    ],
)
def test_case_spaces_and_hyphens_dont_matter(spoken: str) -> None:
    """A fingerprint is taken however it was typed or pasted."""
    check_fingerprint(spoken, EXPECTED)


def test_another_fingerprint_is_refused_without_saying_where() -> None:
    """One word off, wherever, gives the same words of error, and none of the fingerprint's."""
    words = EXPECTED.split("-")
    seen = set()
    for place in range(8):
        other = "babab" if words[place] != "babab" else "babad"
        with pytest.raises(EnrolmentError) as caught:
            check_fingerprint("-".join([*words[:place], other, *words[place + 1 :]]), EXPECTED)
        seen.add(str(caught.value))
    assert len(seen) == 1
    assert "differ" in seen.pop()


@pytest.mark.parametrize(
    ("spoken", "message"),
    [
        ("", "0 letters"),
        ("-" * 30, "0 letters"),
        (EXPECTED[:-1], "39 letters"),
        (EXPECTED[:-6], "35 letters"),
        (EXPECTED + "-babab", "45 letters"),
        ("aaaaa" + EXPECTED[5:], "word 1 is not"),
        (EXPECTED[:-5] + "babax", "word 8 is not"),
        (EXPECTED[:-5] + "bab\u0430b", "word 8 is not"),
        (EXPECTED + " " * 200, "too long"),
    ],
)
def test_malformed_fingerprints_are_said_to_be_malformed(spoken: str, message: str) -> None:
    """What can't be a fingerprint gets its own message, which names no word of the expected one."""
    with pytest.raises(EnrolmentError, match=message) as caught:
        check_fingerprint(spoken, EXPECTED)
    assert not any(word in str(caught.value) for word in EXPECTED.split("-"))


def test_X7_comparison_is_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprints are compared by hmac.compare_digest and nothing else."""
    calls = []

    def compare(left: str, right: str) -> bool:
        calls.append((left, right))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    check_fingerprint(to_proquints(bytes(16)), EXPECTED)
    assert calls == [(to_proquints(bytes(16)).replace("-", ""), EXPECTED.replace("-", ""))]
    assert hmac.compare_digest is compare


@given(st.text(max_size=80))
def test_any_text_is_refused_with_the_one_error(spoken: str) -> None:
    """No text makes the check raise anything else."""
    with pytest.raises(EnrolmentError):
        check_fingerprint(spoken, EXPECTED)
