"""Ed25519 signing keys in files: a contractor's under a passphrase, a client's under its root key.

They sign. A contractor's also wraps the seeds of one-time keys that it made ahead of time, under a key derived from its
seed: whoever unlocks the identity can open those that are left, and nobody else can.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn, Protocol

from labelvault.crypto import aead
from labelvault.crypto.kdf import Argon2idParameters, derive_subkey
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SEED_BYTES, SigningKey
from labelvault.errors import KeystoreDamagedError
from labelvault.keys.files import read_private, write_private
from labelvault.keys.keystore import (
    DEFAULT_COST,
    MAX_FILE_BYTES,
    open_keystore,
    passphrase_secret,
    seal_keystore,
)
from labelvault.keys.root import RootKey
from labelvault.keys.wrapped import load_wrapped, store_wrapped
from labelvault.wire.ids import KEY_ID_BYTES
from labelvault.wire.schema import Fixed, OneOf, encode_record

SigningKeyLabel = Literal["client-identity", "issuer"]
_LABEL: Final = b"labelvault/v1/signing-key-file\0"
_PREKEYS_LABEL: Final = b"labelvault/v1/prekeys\0"


@dataclass(frozen=True, slots=True)
class _SigningKeyContext:
    """What a client's signing-key file stands for."""

    client: Annotated[bytes, Fixed(KEY_ID_BYTES)]
    label: Annotated[str, OneOf("client-identity", "issuer")]


class UnlockedIdentity(Protocol):
    """A contractor's unlocked identity, or something that speaks for one: no private key comes out of it."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message`."""
        ...

    def seal_seed(self, seed: SecretBytes, context: bytes) -> bytes:
        """Wrap the seed of a one-time key, bound to `context`."""
        ...

    def open_seed(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Undo `seal_seed`.

        Raises:
            DecryptionError: another identity's, another context, or altered.
        """
        ...


class Identity:
    """A contractor's unlocked identity: it signs, and wraps the seeds of prekeys. An `UnlockedIdentity`."""

    __slots__ = ("__prekeys", "__signing", "public_key")

    def __init__(self, signing: SigningKey) -> None:
        """Take the signing key; the key that wraps seeds is derived from it."""
        self.__signing = signing
        self.__prekeys = derive_subkey(signing.seed(), _PREKEYS_LABEL)
        self.public_key: bytes = signing.public_key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message`."""
        return self.__signing.sign(message)

    def seal_seed(self, seed: SecretBytes, context: bytes) -> bytes:
        """Wrap the seed of a one-time key, bound to `context`."""
        return aead.wrap(self.__prekeys, seed, context)

    def open_seed(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Undo `seal_seed`.

        Raises:
            DecryptionError: another identity's, another context, or altered.
        """
        return aead.unwrap(self.__prekeys, wrapped, context)

    def __repr__(self) -> str:
        return f"<Identity {getattr(self, 'public_key', b'').hex()[:16]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("identities are not pickled or copied")


def create_identity(
    path: Path, passphrase: str | SecretBytes, parameters: Argon2idParameters = DEFAULT_COST
) -> Identity:
    """Make a contractor's identity and its file, in a directory that exists.

    Args:
        path: the file; an existing one is never overwritten.
        passphrase: not empty.
        parameters: the cost of a passphrase guess.

    Raises:
        KeystorePassphraseError: the passphrase is empty.
        KeystoreError: the file exists, or the file system refused.
    """
    passphrase = passphrase_secret(passphrase)
    key = SigningKey.generate()
    write_private(path, seal_keystore("identity", key.seed(), passphrase, parameters), replace=False)
    return Identity(key)


def open_identity(path: Path, passphrase: str | SecretBytes) -> Identity:
    """Open a contractor's identity.

    Raises:
        KeystorePassphraseError: the passphrase is wrong.
        KeystoreDamagedError: the file is truncated or altered.
        KeystoreForeignError: the file is something else, a root key's for example.
        KeystoreError: the file is missing or can't be read.
    """
    passphrase = passphrase_secret(passphrase)
    seed = open_keystore("identity", read_private(path, MAX_FILE_BYTES), passphrase)
    if len(seed) != SEED_BYTES:
        raise KeystoreDamagedError("the keystore holds no identity")
    return Identity(SigningKey(seed))


def store_signing_key(path: Path, key: SigningKey, root: RootKey, label: SigningKeyLabel, client_id: bytes) -> None:
    """Write one of a client's signing keys, wrapped by its root key.

    Args:
        path: the file; an existing one is never overwritten.
        key: what to store.
        root: wraps it.
        label: what the key is for; bound, so that one file can't stand in for the other.
        client_id: 32 bytes, bound too.

    Raises:
        KeystoreError: the file exists, or the file system refused.
    """
    store_wrapped(path, root, key.seed(), _context(label, client_id))


def load_signing_key(path: Path, root: RootKey, label: SigningKeyLabel, client_id: bytes) -> SigningKey:
    """Read one of a client's signing keys.

    Raises:
        KeystoreForeignError: wrapped by another root key.
        KeystoreDamagedError: altered, or a key of another label or client.
        KeystoreError: missing, or can't be read.
    """
    return SigningKey(load_wrapped(path, root, _context(label, client_id), SEED_BYTES))


def copy_signing_key(
    source: Path, old: RootKey, target: Path, new: RootKey, label: SigningKeyLabel, client_id: bytes
) -> None:
    """Write one of a client's signing keys into another file, under another root key.

    Raises:
        KeystoreError: or one of its kinds, as `load_signing_key` and `store_signing_key`.
    """
    store_signing_key(target, load_signing_key(source, old, label, client_id), new, label, client_id)


def _context(label: SigningKeyLabel, client_id: bytes) -> bytes:
    return _LABEL + encode_record(_SigningKeyContext(client_id, label))
