"""Root keys: created once, opened by passphrase, and bound wraps."""

import os
import stat
from pathlib import Path

import pytest

from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    DecryptionError,
    KeystoreDamagedError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
)
from labelvault.keys.files import write_private
from labelvault.keys.identity import create_identity
from labelvault.keys.keystore import seal_keystore
from labelvault.keys.root import LocalRootKey, PassphraseRoot, RootKey, RootKeyProvider

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
PROVIDER: RootKeyProvider = PassphraseRoot("pw", parameters=CHEAP)


def test_created_root_opens_again(tmp_path: Path) -> None:
    """A new home gets mode 0700 and a 0600 file; opening it gives the same key."""
    home = tmp_path / "new" / "home"
    created: RootKey = PROVIDER.create(home)
    opened = PassphraseRoot(SecretBytes(b"pw")).open(home)
    assert opened.key_id == created.key_id
    assert len(created.key_id) == 16
    assert opened.unwrap(created.wrap(SecretBytes(b"s"), b"here"), b"here").matches(b"s")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "root.keystore").stat().st_mode) == 0o600
    assert os.listdir(home) == ["root.keystore"]


def test_create_never_overwrites(tmp_path: Path) -> None:
    """A second create fails, and the first key still opens."""
    created = PROVIDER.create(tmp_path)
    with pytest.raises(KeystoreError, match="exists already"):
        PROVIDER.create(tmp_path)
    assert PROVIDER.open(tmp_path).key_id == created.key_id


def test_open_says_why_not(tmp_path: Path) -> None:
    """Missing, wrong passphrase, damaged, foreign and another kind each have their error."""
    with pytest.raises(KeystoreError, match="does not exist"):
        PROVIDER.open(tmp_path)
    PROVIDER.create(tmp_path)
    path = tmp_path / "root.keystore"
    with pytest.raises(KeystorePassphraseError):
        PassphraseRoot("other").open(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(KeystoreDamagedError):
        PROVIDER.open(tmp_path)
    path.write_bytes(b"\x7fELF" + whole)
    with pytest.raises(KeystoreForeignError):
        PROVIDER.open(tmp_path)
    path.unlink()
    create_identity(path, "pw", CHEAP)
    with pytest.raises(KeystoreForeignError):
        PROVIDER.open(tmp_path)


def test_keystore_of_another_secret_size_holds_no_root_key(tmp_path: Path) -> None:
    """A well-sealed file with 31 bytes in it is refused as damaged."""
    data = seal_keystore("root", SecretBytes(bytes(31)), "pw", CHEAP)
    write_private(tmp_path / "root.keystore", data, replace=False)
    with pytest.raises(KeystoreDamagedError, match="no root key"):
        PROVIDER.open(tmp_path)
    with pytest.raises(ValueError, match="32 bytes"):
        LocalRootKey(SecretBytes(bytes(31)))


def test_F6_wraps_are_bound_to_key_and_associated_data() -> None:
    """Another root key, other associated data and any flipped byte fail with one message."""
    root = LocalRootKey(SecretBytes(bytes(32)))
    other = LocalRootKey(SecretBytes(bytes(31) + b"\1"))
    assert root.key_id != other.key_id
    wrapped = root.wrap(SecretBytes(b"secret"), b"here")
    attempts = [(other, wrapped, b"here"), (root, wrapped, b"there"), (root, wrapped, b"")]
    for at in range(len(wrapped)):
        attempts.append((root, wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], b"here"))
    seen = set()
    for key, data, associated_data in attempts:
        with pytest.raises(DecryptionError) as caught:
            key.unwrap(data, associated_data)
        seen.add(str(caught.value))
    assert len(seen) == 1


def test_key_id_is_no_part_of_the_key() -> None:
    """The id, kept in clear beside wraps, is not cut from the key or its bare hash."""
    import hashlib

    key = bytes(range(32))
    key_id = LocalRootKey(SecretBytes(key)).key_id
    assert key_id not in key
    assert key_id != hashlib.sha256(key).digest()[:16]
