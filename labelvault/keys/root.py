"""The root wrapping key: what every other key of a client rests under, and the providers that hold it.

An HSM or a key management service fits behind the same two protocols: there, `wrap` and `unwrap` are calls to
the device and the key has no bytes here.
"""

from pathlib import Path
from typing import Final, NoReturn, Protocol

from labelvault.crypto import aead
from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import KeystoreDamagedError
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.keys.keystore import (
    DEFAULT_COST,
    MAX_FILE_BYTES,
    open_keystore,
    passphrase_secret,
    seal_keystore,
)

ROOT_ID_BYTES: Final = 16
FILE_NAME: Final = "root.keystore"
_KEY_ID_LABEL: Final = b"labelvault/v1/root-key-id\0"
_WRAP_LABEL: Final = b"labelvault/v1/root-wrap\0"


class RootKey(Protocol):
    """A root wrapping key, wherever it is."""

    @property
    def key_id(self) -> bytes:
        """16 bytes that name the key and say nothing of its bytes; kept beside each wrap."""

    def wrap(self, secret: SecretBytes, associated_data: bytes) -> bytes:
        """Encrypt `secret`, bound to `associated_data`."""

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> SecretBytes:
        """Undo `wrap`.

        Raises:
            DecryptionError: another key or associated data, or altered bytes; which one is not told.
        """


class RootKeyProvider(Protocol):
    """Makes and opens the root key of a client's home."""

    def create(self, home: Path) -> RootKey:
        """Make the root key of a new home; never replaces one.

        Raises:
            KeystoreError: there is one already, or it can't be stored.
        """

    def open(self, home: Path) -> RootKey:
        """Open the root key of a home.

        Raises:
            KeystoreError: or one of its kinds, as to why not.
        """


class LocalRootKey:
    """A root key in this process's memory."""

    __slots__ = ("__key", "key_id")

    def __init__(self, key: SecretBytes) -> None:
        """Take the key.

        Args:
            key: 32 uniformly random bytes.
        """
        if len(key) != aead.KEY_BYTES:
            raise ValueError("a root key has 32 bytes")
        self.__key = key
        self.key_id: bytes = tagged_hash(_KEY_ID_LABEL, key.reveal())[:ROOT_ID_BYTES]

    def wrap(self, secret: SecretBytes, associated_data: bytes) -> bytes:
        """Encrypt `secret` with XChaCha20-Poly1305; see `RootKey.wrap`."""
        return aead.wrap(self.__key, secret, _WRAP_LABEL + associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> SecretBytes:
        """Undo `wrap`; see `RootKey.unwrap`.

        Raises:
            DecryptionError: another key or associated data, or altered bytes; which one is not told.
        """
        return aead.unwrap(self.__key, wrapped, _WRAP_LABEL + associated_data)

    def secret(self) -> SecretBytes:
        """Return the key itself, for shares and for another keystore alone. A key in a device has no such method."""
        return self.__key

    def __repr__(self) -> str:
        # Also of an object whose making failed, for tracebacks that show it.
        return f"<LocalRootKey {getattr(self, 'key_id', b'').hex()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("root keys are not pickled or copied")


class PassphraseRoot:
    """Keeps a random root key in `root.keystore`, under a passphrase.

    Copy that file apart from the vault: with it and the passphrase, and a backup, a lost home comes back;
    without it, nothing does. Beside the vault it would invite offline guessing.
    """

    __slots__ = ("__parameters", "__passphrase")

    def __init__(self, passphrase: str | SecretBytes, *, parameters: Argon2idParameters = DEFAULT_COST) -> None:
        """Take the passphrase.

        Args:
            passphrase: not empty.
            parameters: the cost of a guess, for `create`; `open` uses what the file records.

        Raises:
            KeystorePassphraseError: the passphrase is empty.
        """
        self.__passphrase = passphrase_secret(passphrase)
        self.__parameters = parameters

    def create(self, home: Path) -> LocalRootKey:
        """Make a new root key and its file, in a home that is made if it is missing.

        Raises:
            KeystoreError: the home has a root key already, which is left as it is; or the file system
                refused.
        """
        root = LocalRootKey(SecretBytes(random_bytes(aead.KEY_BYTES)))
        make_private_dir(home)
        self.keep(root, home / FILE_NAME)
        return root

    def keep(self, root: LocalRootKey, file: Path) -> None:
        """Write a keystore that holds a root key which is there already; never replaces a file.

        Raises:
            KeystoreError: the file is there, or can't be written.
        """
        data = seal_keystore("root", root.secret(), self.__passphrase, self.__parameters)
        write_private(file, data, replace=False)

    def open(self, home: Path) -> LocalRootKey:
        """Open the home's root key.

        Raises:
            KeystorePassphraseError: the passphrase is wrong.
            KeystoreDamagedError: the file is truncated or altered.
            KeystoreForeignError: the file is something else.
            KeystoreError: the file is missing or can't be read.
        """
        key = open_keystore("root", read_private(home / FILE_NAME, MAX_FILE_BYTES), self.__passphrase)
        if len(key) != aead.KEY_BYTES:
            raise KeystoreDamagedError("the keystore holds no root key")
        return LocalRootKey(key)

    def __repr__(self) -> str:
        return "<PassphraseRoot>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("passphrases are not pickled or copied")
