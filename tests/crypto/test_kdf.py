"""Argon2id: the bounds of its cost, and that every input counts."""

import pytest

from labelvault.crypto.kdf import Argon2idParameters, derive_key
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import FormatError

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [(8191, 1, 1), (2**21 + 1, 1, 1), (8192, 0, 1), (8192, 17, 1), (8192, 1, 0), (8192, 1, 17)],
)
def test_cost_out_of_bounds_is_refused(memory_kib: int, passes: int, lanes: int) -> None:
    """A file can't lower the cost to nothing, nor raise it to fill the memory."""
    with pytest.raises(FormatError):
        Argon2idParameters(memory_kib, passes, lanes)


def test_default_cost_is_rfc_9106s() -> None:
    """The default is the second recommended option: 64 MiB, 3 passes, 4 lanes."""
    assert Argon2idParameters() == Argon2idParameters(65536, 3, 4)


def test_every_input_counts() -> None:
    """Passphrase, salt and each parameter change the key; the same ones give the same key."""
    salt = bytes(16)
    keys = [
        derive_key(SecretBytes(b"one"), salt, CHEAP),
        derive_key(SecretBytes(b"two"), salt, CHEAP),
        derive_key(SecretBytes(b"one"), bytes(15) + b"\1", CHEAP),
        derive_key(SecretBytes(b"one"), salt, Argon2idParameters(8200, 1, 1)),
        derive_key(SecretBytes(b"one"), salt, Argon2idParameters(8192, 2, 1)),
        derive_key(SecretBytes(b"one"), salt, Argon2idParameters(8192, 1, 2)),
    ]
    assert len({key.reveal() for key in keys}) == len(keys)
    assert all(len(key) == 32 for key in keys)
    assert derive_key(SecretBytes(b"one"), salt, CHEAP).matches(keys[0].reveal())
