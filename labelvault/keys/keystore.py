"""The passphrase keystore: one secret in one file, under Argon2id and XChaCha20-Poly1305.

A file is `MAGIC ‖ body ‖ SHA-256(MAGIC ‖ body)`; the body is a canonical record of header (version, kind,
cost, salt) and ciphertext; magic and header are the ciphertext's associated data. The hash is no protection
against an attacker, who can compute it too: it tells a damaged file from a wrong passphrase, so that nobody
discards a good file or keeps guessing at a bad one.
"""

import unicodedata
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from labelvault.crypto import aead, kdf
from labelvault.crypto.hashing import HASH_BYTES, tagged_hash
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    DecryptionError,
    FormatError,
    KeystoreDamagedError,
    KeystoreForeignError,
    KeystorePassphraseError,
)
from labelvault.wire.schema import Between, Fixed, OneOf, UInt, decode_record, encode_record

KeystoreKind = Literal["root", "identity"]

MAGIC: Final = b"labelvault keystore\n"
VERSION: Final = 1
MAX_SECRET_BYTES: Final = 1024
MAX_FILE_BYTES: Final = 4096
DEFAULT_COST: Final = Argon2idParameters()
_HASH_LABEL: Final = b"labelvault/v1/keystore\0"


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands in clear before the ciphertext, authenticated with it."""

    version: Annotated[int, UInt(VERSION, VERSION)]
    kind: Annotated[str, OneOf("root", "identity")]
    memory_kib: Annotated[int, UInt(8 * 1024, 2 * 1024 * 1024)]
    passes: Annotated[int, UInt(1, 16)]
    lanes: Annotated[int, UInt(1, 16)]
    salt: Annotated[bytes, Fixed(kdf.SALT_BYTES)]


@dataclass(frozen=True, slots=True)
class KeystoreBody:
    """Header and ciphertext, as read."""

    header: _Header
    ciphertext: Annotated[bytes, Between(aead.WRAP_OVERHEAD_BYTES + 1, aead.WRAP_OVERHEAD_BYTES + MAX_SECRET_BYTES)]


def seal_keystore(
    kind: KeystoreKind,
    secret: SecretBytes,
    passphrase: str | SecretBytes,
    parameters: Argon2idParameters = DEFAULT_COST,
) -> bytes:
    """Encrypt a secret under a passphrase.

    Whoever holds the result can guess passphrases offline, each guess at the cost that `parameters` name.

    Args:
        kind: what the secret is; `open_keystore` must ask for the same.
        secret: 1 to 1,024 bytes.
        passphrase: not empty.
        parameters: the cost; recorded in the file.

    Raises:
        KeystorePassphraseError: the passphrase is empty.
        FormatError: the secret is empty or too large.
    """
    passphrase = passphrase_secret(passphrase)
    salt = random_bytes(kdf.SALT_BYTES)
    header = _Header(VERSION, kind, parameters.memory_kib, parameters.passes, parameters.lanes, salt)
    key = kdf.derive_key(passphrase, salt, parameters)
    body = KeystoreBody(header, aead.wrap(key, secret, _associated_data(header)))
    data = MAGIC + encode_record(body)
    return data + tagged_hash(_HASH_LABEL, data)


def open_keystore(kind: KeystoreKind, data: bytes, passphrase: str | SecretBytes) -> SecretBytes:
    """Decrypt a keystore.

    Args:
        kind: what the secret must be.
        data: the whole file.
        passphrase: the one that it was sealed under.

    Raises:
        KeystoreForeignError: no keystore, of another version, of another kind, or of a cost out of bounds.
        KeystoreDamagedError: a keystore that was truncated or altered.
        KeystorePassphraseError: the file is whole, but this passphrase does not open it.
    """
    passphrase = passphrase_secret(passphrase)
    body = read_keystore(kind, data)
    header = body.header
    parameters = Argon2idParameters(header.memory_kib, header.passes, header.lanes)
    try:
        key = kdf.derive_key(passphrase, header.salt, parameters)
        return aead.unwrap(key, body.ciphertext, _associated_data(header))
    except DecryptionError as error:
        raise KeystorePassphraseError("the passphrase does not open this keystore") from error


def read_keystore(kind: KeystoreKind, data: bytes) -> KeystoreBody:
    """Read a keystore without opening it: is it whole, and what it should be? Needs no passphrase, proves no key.

    Args:
        kind: what the secret must be.
        data: the whole file.

    Raises:
        KeystoreForeignError, KeystoreDamagedError: as `open_keystore`.
    """
    # Compared over the shorter of the two, so that a file cut within the magic still counts as damaged.
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise KeystoreForeignError("not a LabelVault keystore")
    whole, checksum = data[:-HASH_BYTES], data[-HASH_BYTES:]
    if tagged_hash(_HASH_LABEL, whole) != checksum:
        raise KeystoreDamagedError("the keystore is truncated or altered; the passphrase was not tried")
    try:
        body = decode_record(KeystoreBody, whole[len(MAGIC) :], max_bytes=MAX_FILE_BYTES)
    except FormatError as error:
        raise KeystoreForeignError("a keystore of a version or form that is not known here") from error
    if body.header.kind != kind:
        raise KeystoreForeignError(f"the keystore holds a key of kind {body.header.kind}, not {kind}")
    return body


def passphrase_secret(passphrase: str | SecretBytes) -> SecretBytes:
    """Return a passphrase as bytes to derive from: text is put in Unicode's composed form (NFC) and UTF-8.

    The same passphrase typed on another system may come decomposed; after NFC (as RFC 8265, section 4.2,
    asks) it is the same again. Callers put the result in the argument's place, so that no frame keeps the
    text.

    Raises:
        KeystorePassphraseError: it is empty.
    """
    if isinstance(passphrase, str):
        # surrogatepass: an undecodable byte from a command line is as good as any other, and the error that
        # refusing it raises would carry the whole passphrase.
        text = unicodedata.normalize("NFC", passphrase)
        passphrase = SecretBytes(text.encode("utf-8", "surrogatepass"))
    if len(passphrase) == 0:
        raise KeystorePassphraseError("the passphrase is empty")
    return passphrase


def _associated_data(header: _Header) -> bytes:
    return MAGIC + encode_record(header)
