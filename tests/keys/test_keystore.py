"""The passphrase keystore: what opens it, and that each way of failing has its own name."""

from pathlib import Path

import pytest

from labelvault.crypto import kdf
from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    FormatError,
    KeystoreDamagedError,
    KeystoreForeignError,
    KeystorePassphraseError,
)
from labelvault.keys import keystore
from labelvault.keys.identity import create_identity
from labelvault.keys.keystore import MAGIC, open_keystore, seal_keystore
from labelvault.keys.root import PassphraseRoot

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
SECRET = bytes(range(32))
SEALED = seal_keystore("root", SecretBytes(SECRET), "correct horse", CHEAP)


def _with_checksum(whole: bytes) -> bytes:
    """What someone who alters a file on purpose does too."""
    return whole + tagged_hash(b"labelvault/v1/keystore\0", whole)


@pytest.fixture
def no_kdf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a passphrase is tried."""
    monkeypatch.setattr(kdf, "derive_key", lambda *_: pytest.fail("the passphrase was tried"))


@pytest.mark.parametrize("size", [1, 32, 1024])
def test_keystore_round_trips(size: int) -> None:
    """What was sealed opens, with its passphrase as text or as bytes."""
    data = seal_keystore("identity", SecretBytes(b"s" * size), SecretBytes(b"correct horse"), CHEAP)
    assert len(data) <= keystore.MAX_FILE_BYTES
    assert open_keystore("identity", data, "correct horse").matches(b"s" * size)


def test_default_cost_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without parameters the default cost is used, and the file's own is used to open it."""
    used = []
    derive = kdf.derive_key

    def cheap(passphrase: SecretBytes, salt: bytes, parameters: Argon2idParameters) -> SecretBytes:
        used.append(parameters)
        return derive(passphrase, salt, CHEAP)

    monkeypatch.setattr(kdf, "derive_key", cheap)
    data = seal_keystore("root", SecretBytes(SECRET), "pw")
    open_keystore("root", data, "pw")
    assert used == [Argon2idParameters(), Argon2idParameters()]


def test_salt_is_fresh() -> None:
    """Two keystores of one secret and passphrase have nothing but the header's form in common."""
    again = seal_keystore("root", SecretBytes(SECRET), "correct horse", CHEAP)
    assert again != SEALED
    assert again[-32:] != SEALED[-32:]


@pytest.mark.parametrize("passphrase", ["wrong horse", "correct horse ", "Correct horse", "\0"])
def test_wrong_passphrase_is_named(passphrase: str) -> None:
    """A whole file and another passphrase: exactly that error."""
    with pytest.raises(KeystorePassphraseError):
        open_keystore("root", SEALED, passphrase)


def test_passphrase_in_another_unicode_form_is_the_same() -> None:
    """Composed and decomposed accents open one another's keystores."""
    data = seal_keystore("root", SecretBytes(SECRET), "caf\u00e9", CHEAP)
    assert open_keystore("root", data, "cafe\u0301").matches(SECRET)


@pytest.mark.parametrize("passphrase", ["", SecretBytes(b"")])
@pytest.mark.usefixtures("no_kdf")
def test_empty_passphrase_is_refused(tmp_path: Path, passphrase: str | SecretBytes) -> None:
    """Everywhere that takes a passphrase refuses an empty one and leaves no file."""
    for attempt in (
        lambda: seal_keystore("root", SecretBytes(SECRET), passphrase, CHEAP),
        lambda: open_keystore("root", SEALED, passphrase),
        lambda: PassphraseRoot(passphrase),
        lambda: create_identity(tmp_path / "id", passphrase, CHEAP),
    ):
        with pytest.raises(KeystorePassphraseError, match="empty"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_passphrase_with_undecodable_bytes_opens_again() -> None:
    """A lone surrogate, as odd command lines give, is a character like any other, and not a question mark."""
    data = seal_keystore("root", SecretBytes(SECRET), "correct\udcff horse", CHEAP)
    assert open_keystore("root", data, "correct\udcff horse").matches(SECRET)
    with pytest.raises(KeystorePassphraseError):
        open_keystore("root", data, "correct? horse")


@pytest.mark.usefixtures("no_kdf")
def test_truncated_at_every_length_is_damaged() -> None:
    """Each proper start of a keystore is known as a damaged one, before the passphrase is tried."""
    for size in range(len(SEALED)):
        with pytest.raises(KeystoreDamagedError):
            open_keystore("root", SEALED[:size], "correct horse")
    for extra in (b"\0", b"x" * 64, SEALED):
        with pytest.raises(KeystoreDamagedError):
            open_keystore("root", SEALED + extra, "correct horse")


@pytest.mark.usefixtures("no_kdf")
def test_F1_each_flipped_bit_is_damage_and_not_a_wrong_passphrase() -> None:
    """A flipped bit of the magic makes a foreign file, any other a damaged one."""
    for at in range(8 * len(SEALED)):
        flipped = bytearray(SEALED)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(KeystoreForeignError if at // 8 < len(MAGIC) else KeystoreDamagedError):
            open_keystore("root", bytes(flipped), "correct horse")


def test_F1_each_byte_is_authenticated_also_with_a_mended_checksum() -> None:
    """With the checksum made anew, an altered body is foreign or does not open: never another secret."""
    body = SEALED[:-32]
    for at in range(len(MAGIC), len(body)):
        flipped = bytearray(body)
        flipped[at] ^= 1
        with pytest.raises((KeystoreForeignError, KeystorePassphraseError)):
            open_keystore("root", _with_checksum(bytes(flipped)), "correct horse")


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN PRIVATE KEY-----\n",
        b"\x89PNG" + bytes(100),
        b"labelvault Keystore\n" + bytes(99),
        SEALED[1:],
    ],
)
@pytest.mark.usefixtures("no_kdf")
def test_foreign_files_are_named(data: bytes) -> None:
    """Something that never was a keystore is called so."""
    with pytest.raises(KeystoreForeignError):
        open_keystore("root", data, "correct horse")


@pytest.mark.usefixtures("no_kdf")
def test_another_kind_is_foreign() -> None:
    """An identity's file does not open as a root key, nor the other way round."""
    with pytest.raises(KeystoreForeignError, match="of kind root, not identity"):
        open_keystore("identity", SEALED, "correct horse")


def test_kind_is_authenticated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose kind was rewritten, checksum and all, does not open."""
    forged = SEALED[:-32].replace(b"\xa4kind\xa4root", b"\xa4kind\xa8identity")
    with pytest.raises(KeystorePassphraseError):
        open_keystore("identity", _with_checksum(forged), "correct horse")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xaamemory_kib\xcd\x20\x00", b"\xaamemory_kib\xcd\x1f\xff"),
        (b"\xaamemory_kib\xcd\x20\x00", b"\xaamemory_kib\xce\x00\x20\x00\x01"),
        (b"\xa6passes\x01", b"\xa6passes\x00"),
        (b"\xa6passes\x01", b"\xa6passes\x11"),
        (b"\xa5lanes\x01", b"\xa5lanes\x00"),
        (b"\xa5lanes\x01", b"\xa5lanes\x11"),
        (b"\xa7version\x01", b"\xa7version\x00"),
        (b"\xa7version\x01", b"\xa7version\x02"),
    ],
)
@pytest.mark.usefixtures("no_kdf")
def test_F7_cost_out_of_bounds_and_other_versions_are_foreign(old: bytes, new: bytes) -> None:
    """A tampered file can't lower the cost, fill the memory, or name another version."""
    assert SEALED.count(old) == 1
    with pytest.raises(KeystoreForeignError):
        open_keystore("root", _with_checksum(SEALED[:-32].replace(old, new)), "correct horse")


@pytest.mark.usefixtures("no_kdf")
def test_oversized_body_is_foreign() -> None:
    """More than 4 KiB is refused before it is decoded."""
    with pytest.raises(KeystoreForeignError):
        open_keystore("root", _with_checksum(MAGIC + bytes(5000)), "correct horse")


@pytest.mark.parametrize("size", [0, 1025])
def test_secret_of_a_size_that_would_not_open_is_not_sealed(size: int) -> None:
    """What `open_keystore` would refuse is not written."""
    with pytest.raises(FormatError):
        seal_keystore("root", SecretBytes(bytes(size)), "pw", CHEAP)
