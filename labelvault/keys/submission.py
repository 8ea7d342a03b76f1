"""A project's submission key pair: answers are sealed to it; its private half rests wrapped by the root (spec, 8.5)."""

from typing import Final

from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import DecryptionError, KeystoreError
from labelvault.keys.root import RootKey

_SUBMISSION_LABEL: Final = b"labelvault/v1/submission-key\0"


def make_submission_key(root: RootKey, client: bytes, project: bytes) -> tuple[bytes, bytes]:
    """Make a project's key pair.

    Returns:
        The public key, 1,216 bytes, and the private one, wrapped.
    """
    key = OneTimeKey.generate()
    return key.public_key, root.wrap(key.seed(), _SUBMISSION_LABEL + client + project)


def rewrap_submission_key(old: RootKey, new: RootKey, client: bytes, project: bytes, wrapped: bytes) -> bytes:
    """Wrap a project's private key under another root key.

    Raises:
        KeystoreError: as `load_submission_key`.
    """
    seed = load_submission_key(old, client, project, wrapped).seed()
    return new.wrap(seed, _SUBMISSION_LABEL + client + project)


def load_submission_key(root: RootKey, client: bytes, project: bytes, wrapped: bytes) -> OneTimeKey:
    """Unwrap a project's private key.

    Raises:
        KeystoreError: it is not this project's, or another root's.
    """
    try:
        return OneTimeKey(root.unwrap(wrapped, _SUBMISSION_LABEL + client + project))
    except (DecryptionError, ValueError):
        raise KeystoreError("the project's submission key is not this project's, or another root's") from None
