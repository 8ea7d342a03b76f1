"""Shamir's secret sharing (A. Shamir, "How to share a secret", 1979), by PyCryptodome; needs the extra `quorum`.

Its `Shamir` takes 16 bytes, over GF(2^128) with fresh random coefficients. A secret of 32 bytes is two of them, each
split by itself: fewer shares than the threshold say nothing of either half, whatever the other half's shares say.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from labelvault.crypto.secret import SecretBytes
from labelvault.errors import KeystoreError

if TYPE_CHECKING:
    from Crypto.Protocol.SecretSharing import Shamir

SECRET_BYTES: Final = 32
MAX_SHARES: Final = 16
_HALF: Final = 16


def split_secret(secret: SecretBytes, threshold: int, count: int) -> list[SecretBytes]:
    """Split a secret into shares; number n of them, from 1, stands at place n - 1.

    Args:
        secret: 32 bytes.
        threshold: how many give it back; from 2 on. Fewer say nothing of it.
        count: how many there are; at most 16.

    Raises:
        KeystoreError: the numbers are out of bounds, or the extra is not installed.
    """
    if not 2 <= threshold <= count <= MAX_SHARES:
        raise KeystoreError(f"shares: at least 2 of them open, at most {MAX_SHARES} are made")
    if len(secret) != SECRET_BYTES:
        raise ValueError("a secret of 32 bytes is split")
    shamir = _shamir()
    halves = [shamir.split(threshold, count, secret.reveal()[at : at + _HALF]) for at in (0, _HALF)]
    return [SecretBytes(first + second) for (_, first), (_, second) in zip(*halves, strict=True)]


def combine_shares(shares: Mapping[int, SecretBytes]) -> SecretBytes:
    """Put as many shares together as the threshold says.

    Nothing tells whether they belong together: compare the result with what is known of the secret.

    Args:
        shares: by number, from 1; exactly as many as are needed.

    Raises:
        KeystoreError: a share has another size, or the extra is not installed.
    """
    if not shares or any(len(each) != SECRET_BYTES for each in shares.values()):
        raise KeystoreError("a share has 32 bytes")
    shamir = _shamir()
    return SecretBytes(b"".join(shamir.combine(_halves(shares, at)) for at in (0, _HALF)))


def _halves(shares: Mapping[int, SecretBytes], at: int) -> "list[tuple[int, bytes]]":
    return [(number, share.reveal()[at : at + _HALF]) for number, share in shares.items()]


def _shamir() -> "type[Shamir]":
    try:
        from Crypto.Protocol.SecretSharing import Shamir
    except ModuleNotFoundError as error:
        raise KeystoreError(
            "shares of the root key need an extra", next_step="Install it: pip install 'labelvault[quorum]'."
        ) from error
    return Shamir
