"""Shares of the root key: any k of n give it back, fewer give nothing, and every slip is named."""

import itertools
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.shares import combine_shares, split_secret
from labelvault.errors import FormatError, KeystoreDamagedError, KeystoreError, KeystoreForeignError
from labelvault.keys.files import write_private
from labelvault.keys.fingerprint import from_proquints, to_proquints
from labelvault.keys.quorum import read_share, recover_root, split_root, write_shares
from labelvault.keys.root import LocalRootKey

KEY = bytes(range(32))
ROOT = LocalRootKey(SecretBytes(KEY))


def words_of(share: str) -> list[str]:
    """Its thirty words."""
    return " ".join(line for line in share.splitlines() if not line.startswith("#")).split()


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5), (16, 16)])
def test_any_so_many_give_the_key_back(threshold: int, count: int) -> None:
    """Every choice of them, in any order; more than needed too."""
    shares = split_root(ROOT, threshold, count)
    assert len(set(shares)) == count
    for chosen in itertools.islice(itertools.combinations(shares, threshold), 20):
        assert recover_root(chosen[::-1]).secret().reveal() == KEY
    assert recover_root(shares).key_id == ROOT.key_id
    assert [read_share(share).number for share in shares] == list(range(1, count + 1))
    assert all(len(words_of(share)) == 30 for share in shares)


def test_too_few_give_nothing() -> None:
    """They are refused before anything is computed; and what they would give is not the key."""
    shares = split_root(ROOT, 3, 5)
    with pytest.raises(KeystoreError, match="3 of these shares are needed, and 2 were given"):
        recover_root(shares[:2])
    with pytest.raises(KeystoreError, match="no share"):
        recover_root([])
    parts = split_secret(SecretBytes(KEY), 3, 5)
    assert combine_shares({1: parts[0], 2: parts[1], 3: parts[2]}).reveal() == KEY
    assert combine_shares({1: parts[0], 2: parts[1]}).reveal() not in (KEY, bytes(32))
    assert all(part.reveal() != KEY and KEY[:16] not in part.reveal() for part in parts)


def test_splitting_twice_gives_other_shares_that_do_not_mix() -> None:
    """Two splits of one key are told apart by their result, two of different keys by their names."""
    one, two = split_root(ROOT, 2, 3), split_root(ROOT, 2, 3)
    assert not set(one) & set(two)
    with pytest.raises(KeystoreForeignError, match="not what was given out"):
        recover_root([one[0], two[1]])
    other = split_root(LocalRootKey(SecretBytes(bytes(32))), 2, 3)
    for mixed in ([one[0], other[1]], [one[0], split_root(ROOT, 3, 3)[1]], [one[0], split_root(ROOT, 2, 4)[1]]):
        with pytest.raises(KeystoreForeignError, match="different"):
            recover_root(mixed)
    with pytest.raises(KeystoreError, match="twice"):
        recover_root([one[0], one[0]])


def test_a_forged_share_is_found_also_among_more_than_are_needed() -> None:
    """Its check fits, as whoever forges it can compute it; the key's id does not."""
    shares = split_root(ROOT, 2, 4)
    forged = split_root(ROOT, 2, 4)[3]
    with pytest.raises(KeystoreForeignError, match="not what was given out"):
        recover_root([*shares[:3], forged])


def test_every_slip_is_found_and_named() -> None:
    """Each word changed to another word, left out, doubled or swapped; a letter that is in none."""
    shares = split_root(ROOT, 2, 3)
    words = words_of(shares[1])
    for place in range(30):
        other = "lusab" if words[place] != "lusab" else "gutih"
        slips = [
            [*words[:place], other, *words[place + 1 :]],
            [*words[:place], *words[place + 1 :]],
            [*words[: place + 1], *words[place:]],
            [*words[:place], "xyzzy", *words[place + 1 :]],
        ]
        if place and words[place] != words[place - 1]:
            slips.append([*words[: place - 1], words[place], words[place - 1], *words[place + 1 :]])
        for slip in slips:
            with pytest.raises(KeystoreDamagedError, match="share 2"):
                recover_root([shares[0], " ".join(slip)])
    with pytest.raises(KeystoreDamagedError, match="word 8"):
        read_share(" ".join([*words[:7], "xyzzy", *words[8:]]))
    for text in ("", "#\n", "lusab", "\N{SNOWMAN}", "lusab " * 5000):
        with pytest.raises(KeystoreDamagedError):
            read_share(text)


def test_what_people_may_vary() -> None:
    """Case, spaces, hyphens and line ends, and comments or none."""
    shares = split_root(ROOT, 2, 2)
    words = words_of(shares[0])
    for typed in (" ".join(words).upper(), "-".join(words), "\r\n\n".join(words), "# mine\n" + "  ".join(words)):
        assert recover_root([typed, shares[1]]).secret().reveal() == KEY


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (0, 1), (4, 3), (2, 17), (2, 1)])
def test_numbers_out_of_bounds_are_refused(threshold: int, count: int) -> None:
    """One share that opens alone would be a copy of the key."""
    with pytest.raises(KeystoreError, match="at least 2"):
        split_root(ROOT, threshold, count)


def test_a_key_in_a_device_is_not_split() -> None:
    """It has no bytes here."""

    class Device:
        key_id = bytes(16)

        def wrap(self, secret: SecretBytes, associated_data: bytes) -> bytes:
            raise AssertionError

        def unwrap(self, wrapped: bytes, associated_data: bytes) -> SecretBytes:
            raise AssertionError

    with pytest.raises(KeystoreError, match="device"):
        split_root(Device(), 2, 3)


def test_without_the_extra_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splitting and recovering alike; nothing else needs it."""
    shares = split_root(ROOT, 2, 2)
    monkeypatch.setitem(sys.modules, "Crypto.Protocol.SecretSharing", None)
    for act in (lambda: split_root(ROOT, 2, 3), lambda: recover_root(shares)):
        with pytest.raises(KeystoreError, match="extra") as refused:
            act()
        assert "labelvault[quorum]" in str(refused.value.next_step)


def test_no_share_shows_in_a_repr() -> None:
    """Shares of a secret are secret."""
    share = read_share(split_root(ROOT, 2, 2)[0])
    assert share.part.reveal().hex() not in repr(share)
    assert repr(share.part.reveal()) not in repr(share)


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_words_spell_bytes_and_back(data: bytes) -> None:
    """Any even number of bytes."""
    assert from_proquints(to_proquints(data)) == data


@given(st.text(max_size=40))
def test_P1_arbitrary_text_raises_its_own_error_only(text: str) -> None:
    """Whatever is typed."""
    with suppress(FormatError):
        assert len(from_proquints(text)) % 2 == 0
    with pytest.raises(KeystoreDamagedError):
        read_share(text)


def test_shares_are_written_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is interrupted at the last one; what a killed run left is erased by the next, and nothing else."""
    shares = split_root(ROOT, 2, 3)
    written: list[Path] = []

    def interrupted(path: Path, data: bytes, *, replace: bool) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_private(path, data, replace=replace)

    with monkeypatch.context() as patched:
        patched.setattr("labelvault.keys.quorum.write_private", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_shares(tmp_path / "shares", shares)
    assert not list(tmp_path.iterdir())
    names = [f".shares.{'a' * 16}.tmp", f".other.{'a' * 16}.tmp", f".shares.{'a' * 15}.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "share-1.txt").write_text(shares[0])
    files = write_shares(tmp_path / "shares", shares)
    assert [file.read_text() for file in files] == list(shares)
    assert {path.name for path in tmp_path.iterdir()} == {"shares", *names[1:]}
    with pytest.raises(KeystoreError, match="there already"):
        write_shares(tmp_path / "shares", shares)
