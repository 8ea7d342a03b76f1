"""Signing keys in files: a contractor's under a passphrase, a client's under its root key."""

import os
import stat
from pathlib import Path
from typing import Any, get_args

import pytest

from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import (
    FormatError,
    KeystoreDamagedError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
)
from labelvault.keys.files import write_private
from labelvault.keys.identity import (
    SigningKeyLabel,
    create_identity,
    load_signing_key,
    open_identity,
    store_signing_key,
)
from labelvault.keys.keystore import seal_keystore
from labelvault.keys.root import LocalRootKey, PassphraseRoot

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
ROOT = LocalRootKey(SecretBytes(bytes(32)))
CLIENT = b"c" * 32


def test_identity_opens_again(tmp_path: Path) -> None:
    """A new identity is one private file, and opens to the same key."""
    path = tmp_path / "identity"
    created = create_identity(path, "pw", CHEAP)
    assert open_identity(path, "pw").public_key == created.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["identity"]
    assert create_identity(tmp_path / "other", "pw", CHEAP).public_key != created.public_key


def test_identity_is_never_overwritten(tmp_path: Path) -> None:
    """A second create fails, and the first key still opens."""
    created = create_identity(tmp_path / "identity", "pw", CHEAP)
    with pytest.raises(KeystoreError, match="exists already"):
        create_identity(tmp_path / "identity", "pw", CHEAP)
    assert open_identity(tmp_path / "identity", "pw").public_key == created.public_key


def test_identity_that_does_not_open_says_why(tmp_path: Path) -> None:
    """Missing, wrong passphrase, damaged, a root key's file, and a seed of another size."""
    path = tmp_path / "identity"
    with pytest.raises(KeystoreError, match="does not exist"):
        open_identity(path, "pw")
    create_identity(path, "pw", CHEAP)
    with pytest.raises(KeystorePassphraseError):
        open_identity(path, "wp")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(KeystoreDamagedError):
        open_identity(path, "pw")
    PassphraseRoot("pw", parameters=CHEAP).create(tmp_path)
    with pytest.raises(KeystoreForeignError):
        open_identity(tmp_path / "root.keystore", "pw")
    short = seal_keystore("identity", SecretBytes(bytes(31)), "pw", CHEAP)
    write_private(path, short, replace=True)
    with pytest.raises(KeystoreDamagedError, match="no identity"):
        open_identity(path, "pw")


def test_signing_keys_are_bound_to_label_client_and_root(tmp_path: Path) -> None:
    """A file loads under its own label, client and root key, and under no other."""
    key = SigningKey.generate()
    for label in get_args(SigningKeyLabel):
        store_signing_key(tmp_path / label, key, ROOT, label, CLIENT)
        assert load_signing_key(tmp_path / label, ROOT, label, CLIENT).public_key == key.public_key
        with pytest.raises(KeystoreDamagedError):
            load_signing_key(tmp_path / label, ROOT, label, b"d" * 32)
        with pytest.raises(KeystoreForeignError):
            load_signing_key(tmp_path / label, LocalRootKey(SecretBytes(b"r" * 32)), label, CLIENT)
    swapped: list[tuple[str, SigningKeyLabel]] = [
        ("issuer", "client-identity"),
        ("client-identity", "issuer"),
    ]
    for path, label in swapped:
        with pytest.raises(KeystoreDamagedError):
            load_signing_key(tmp_path / path, ROOT, label, CLIENT)


def test_signing_key_is_never_overwritten(tmp_path: Path) -> None:
    """Storing twice under one name fails, and the first key stays."""
    first = SigningKey.generate()
    store_signing_key(tmp_path / "issuer", first, ROOT, "issuer", CLIENT)
    with pytest.raises(KeystoreError, match="exists already"):
        store_signing_key(tmp_path / "issuer", SigningKey.generate(), ROOT, "issuer", CLIENT)
    assert load_signing_key(tmp_path / "issuer", ROOT, "issuer", CLIENT).public_key == first.public_key


def test_other_labels_and_client_ids_are_refused(tmp_path: Path) -> None:
    """There are two labels, and a client id has 32 bytes; nothing is written for others."""
    attempts: list[tuple[Any, bytes]] = [("kek", CLIENT), ("issuer", b"short")]
    for label, client in attempts:
        with pytest.raises(FormatError):
            store_signing_key(tmp_path / "key", SigningKey.generate(), ROOT, label, client)
    assert not list(tmp_path.iterdir())
