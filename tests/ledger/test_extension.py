"""The file that a witness is handed, against the example of the specification, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, LedgerError
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, sign_checkpoint
from labelvault.ledger.extension import MAX_PROOF_HASHES, Extension, is_extension, parse_extension
from labelvault.ledger.tree import consistency_proof

# C2SP tlog-witness, the example of a request body.
PUBLISHED = (
    "old 20852014\n"
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
    "\n"
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xe"
    "McTOAYQ8=\n"
)
LEAVES = [leaf_hash(bytes([number])) for number in range(20)]
KEY = SigningKey.generate()
ORIGIN = "labelvault.ledger/a/b"


def node(level: int, index: int) -> bytes:
    return merkle_root(LEAVES[index << level : (index + 1) << level])


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle_root(LEAVES[:size]))


def extension(old: int, new: int) -> Extension:
    proof = consistency_proof(old, new, node) if old else ()
    return Extension(old, proof, sign_checkpoint(checkpoint(new), "labelvault.issuer/a", KEY))


def test_the_published_example_is_read_and_written_again() -> None:
    """Byte for byte, with its sizes and hashes."""
    found = parse_extension(PUBLISHED)
    assert is_extension(PUBLISHED)
    assert (found.old, len(found.proof), claimed_checkpoint(found.note).size) == (20852014, 4, 20852163)
    assert found.text() == PUBLISHED


def test_L1_a_file_proves_growth_from_every_size_to_every_size() -> None:
    """What is written is read again and holds; against any other size or root it does not."""
    for new in range(21):
        for old in range(new + 1):
            made = parse_extension(extension(old, new).text())
            made.check(checkpoint(old), checkpoint(new))
            for other in {old - 1, old + 1} & set(range(new + 1)):
                with pytest.raises(LedgerError):
                    made.check(checkpoint(other), checkpoint(new))
            if old:
                with pytest.raises(LedgerError):
                    made.check(Checkpoint(ORIGIN, old, b"\7" * 32), checkpoint(new))


def test_L1_a_proof_from_nothing_is_empty() -> None:
    """Size 0 proves nothing, so nothing may claim to."""
    full = Extension(0, (b"\7" * 32,), extension(0, 5).note)
    with pytest.raises(LedgerError):
        full.check(Checkpoint(ORIGIN, 0, EMPTY_ROOT), checkpoint(5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "old 1",
        "old 1\n",
        PUBLISHED.replace("old 2", "old 02"),
        PUBLISHED.replace("old 20852014", "old -1"),
        PUBLISHED.replace("old 20852014", "old +1"),
        PUBLISHED.replace("old 20852014", "old 1 "),
        PUBLISHED.replace("old 20852014", "old"),
        PUBLISHED.replace("old 20852014", "old \N{ARABIC-INDIC DIGIT THREE}"),
        PUBLISHED.replace("old 20852014", f"old {2**62 + 1}"),
        PUBLISHED.replace("old ", "Old "),
        PUBLISHED.replace("PlRN", "*lRN"),
        PUBLISHED.replace("pkaw=", "pkax="),
        PUBLISHED.replace("pkaw=", "pkaw"),
        PUBLISHED.replace("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "PlRNCrw="),
        PUBLISHED.replace("\njrJ", "\r\njrJ"),
        PUBLISHED + "x" * 200_000,
        "old 5\n" + "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * (MAX_PROOF_HASHES + 1) + "\nnote",
    ],
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    """In any other spelling than the one."""
    with pytest.raises(FormatError):
        parse_extension(text)


@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    """With the parser's own error and nothing else, or read as what is written again."""
    try:
        found = parse_extension("old " + text)
    except FormatError:
        return
    assert found.text() == "old " + text
