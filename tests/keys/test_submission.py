"""A project's submission key opens under its own root, client and project only."""

import pytest

from labelvault.crypto.hpke import seal
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import KeystoreError
from labelvault.keys.root import LocalRootKey
from labelvault.keys.submission import load_submission_key, make_submission_key, rewrap_submission_key

OLD, NEW = LocalRootKey(SecretBytes(bytes(32))), LocalRootKey(SecretBytes(b"n" * 32))
CLIENT, PROJECT = b"c" * 32, b"p" * 16


def test_G8_the_private_half_loads_in_its_own_place_only() -> None:
    """What was sealed to the public key opens; another root, client or project, or a flipped byte, loads nothing."""
    public, wrapped = make_submission_key(OLD, CLIENT, PROJECT)
    assert (
        load_submission_key(OLD, CLIENT, PROJECT, wrapped).open(seal(public, b"answer", b"info"), b"info") == b"answer"
    )
    flipped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for root, client, project, data in (
        (NEW, CLIENT, PROJECT, wrapped),
        (OLD, b"d" * 32, PROJECT, wrapped),
        (OLD, CLIENT, b"q" * 16, wrapped),
        (OLD, CLIENT, PROJECT, flipped),
    ):
        with pytest.raises(KeystoreError):
            load_submission_key(root, client, project, data)
        with pytest.raises(KeystoreError):
            rewrap_submission_key(root, NEW, client, project, data)


def test_another_root_takes_it_over_and_the_old_one_does_not_open_that() -> None:
    """The key is the same; its place is bound under the new root too."""
    public, wrapped = make_submission_key(OLD, CLIENT, PROJECT)
    moved = rewrap_submission_key(OLD, NEW, CLIENT, PROJECT, wrapped)
    assert load_submission_key(NEW, CLIENT, PROJECT, moved).open(seal(public, b"answer", b"info"), b"info") == b"answer"
    for root, project in ((OLD, PROJECT), (NEW, b"q" * 16)):
        with pytest.raises(KeystoreError):
            load_submission_key(root, CLIENT, project, moved)


def test_a_wrapped_secret_of_another_size_is_no_key() -> None:
    """The root vouches for it, and it is refused all the same."""
    wrapped = OLD.wrap(SecretBytes(b"short"), b"labelvault/v1/submission-key\0" + CLIENT + PROJECT)
    with pytest.raises(KeystoreError):
        load_submission_key(OLD, CLIENT, PROJECT, wrapped)
