"""One-time keys made ahead: each in one private file, opened by its own identity alone, and erasable."""

import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labelvault.crypto.hpke import OneTimeKey, seal
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import DecryptionError, KeystoreDamagedError, KeystoreError
from labelvault.keys.identity import Identity
from labelvault.keys.prekeys import PrekeyFiles

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
WEEK = NOW + timedelta(days=7)
MS = timedelta(milliseconds=1)


def made(folder: Path, identity: Identity | None = None) -> PrekeyFiles:
    return PrekeyFiles(folder / "prekeys", identity or Identity(SigningKey.generate()))


def test_a_prekey_opens_what_was_sealed_to_it(tmp_path: Path) -> None:
    """The seed that the file gives makes the same key again."""
    files = made(tmp_path)
    public_key = files.create(WEEK)
    sealed = seal(public_key, b"lease", b"info")
    assert OneTimeKey(files.seed(public_key)).open(sealed, b"info") == b"lease"
    assert files.public_keys() == [(public_key, WEEK)]


def test_C6_a_prekey_rests_in_one_private_encrypted_file(tmp_path: Path) -> None:
    """Mode 0600 in a 0700 folder even with umask 0; its seed stands in no file in clear."""
    files = made(tmp_path)
    mask = os.umask(0)
    try:
        keys = [files.create(WEEK) for _ in range(3)]
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "prekeys").stat().st_mode) == 0o700
    paths = list((tmp_path / "prekeys").iterdir())
    assert len(paths) == 3
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(files.seed(key).reveal() in path.read_bytes() for key in keys)


def test_only_its_own_identity_opens_a_prekey(tmp_path: Path) -> None:
    """Another identity, an altered end and another key's wrap open nothing; the file stays as it is."""
    identity = Identity(SigningKey.generate())
    files = made(tmp_path, identity)
    key = files.create(WEEK)
    (path,) = (tmp_path / "prekeys").iterdir()
    whole = path.read_bytes()
    with pytest.raises(KeystoreDamagedError):
        made(tmp_path).seed(key)
    for at in range(len(whole) - 80, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(KeystoreError):
            files.seed(key)
    path.write_bytes(whole)
    assert OneTimeKey(files.seed(key)).public_key == key


def test_an_identity_wraps_under_a_key_that_tells_nothing_of_its_seed(tmp_path: Path) -> None:
    """The same seed gives the same key, context counts, and the signing seed itself opens nothing."""
    signing = SigningKey.generate()
    wrapped = Identity(signing).seal_seed(SecretBytes(b"s" * 32), b"context")
    assert Identity(SigningKey(signing.seed())).open_seed(wrapped, b"context").reveal() == b"s" * 32
    for identity, context in ((Identity(signing), b"other"), (Identity(SigningKey.generate()), b"context")):
        with pytest.raises(DecryptionError):
            identity.open_seed(wrapped, context)
    assert signing.seed().reveal().hex() not in repr(Identity(signing))


def test_C6_erasing_overwrites_and_unlinks(tmp_path: Path) -> None:
    """Another name of the same file holds zeros afterwards; the other prekeys stay."""
    files = made(tmp_path)
    first, second = files.create(WEEK), files.create(WEEK)
    for path in (tmp_path / "prekeys").iterdir():
        if first in path.read_bytes():
            os.link(path, tmp_path / "another name")
    files.erase(first)
    files.erase(first)
    assert set((tmp_path / "another name").read_bytes()) == {0}
    assert [key for key, _ in files.public_keys()] == [second]
    with pytest.raises(KeystoreError, match="no such prekey"):
        files.seed(first)


def test_R6_a_prekey_expires_at_its_end_and_not_before(tmp_path: Path) -> None:
    """At equality it is erased."""
    files = made(tmp_path)
    files.create(WEEK)
    assert files.erase_expired(WEEK - MS) == 0
    assert files.erase_expired(WEEK) == 1
    assert list((tmp_path / "prekeys").iterdir()) == []


def test_erasing_all_takes_damaged_files_and_leftovers_too(tmp_path: Path) -> None:
    """What an interrupted write left is a seed as well; files that are not ours stay."""
    files = made(tmp_path)
    files.create(WEEK)
    folder = tmp_path / "prekeys"
    (folder / f"{'0' * 32}.prekey").write_bytes(b"damaged")
    (folder / f".{'1' * 32}.prekey.{'2' * 16}.tmp").write_bytes(b"left")
    (folder / "notes").write_bytes(b"mine")
    assert files.erase_all() == 2
    assert [path.name for path in folder.iterdir()] == ["notes"]
    assert files.erase_all() == 0


@pytest.mark.parametrize("name", ["fsync", "link"])
def test_C3_a_prekey_that_can_not_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A full or broken disk is a typed error; nothing is left, and a retry works."""
    files = made(tmp_path)
    files.create(WEEK)

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as broken:
        broken.setattr(os, name, failing)
        with pytest.raises(KeystoreError, match="no space"):
            files.create(WEEK)
    assert len(list((tmp_path / "prekeys").iterdir())) == 1
    files.create(WEEK)


@pytest.mark.parametrize("name", ["write", "fsync", "unlink"])
def test_C3_a_failed_erase_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nobody may count a prekey as gone whose erasing failed; the retry erases it."""
    files = made(tmp_path)
    key = files.create(WEEK)

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    with monkeypatch.context() as broken:
        broken.setattr(os, name, failing)
        with pytest.raises(KeystoreError, match="broken disk"):
            files.erase(key)
    files.erase_all()
    assert list((tmp_path / "prekeys").iterdir()) == []
