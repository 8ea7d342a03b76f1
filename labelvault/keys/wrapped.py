"""A secret in a file of its own, under the root key. KEKs and the client's signing keys rest so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError, FormatError, KeystoreDamagedError, KeystoreForeignError
from labelvault.keys.files import read_private, write_private
from labelvault.keys.root import ROOT_ID_BYTES, RootKey
from labelvault.wire.schema import Between, Fixed, decode_record, encode_record

MAX_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class _WrappedFile:
    """The file: which root key wrapped it, and the wrap (a device's wrap may be longer than ours)."""

    root: Annotated[bytes, Fixed(ROOT_ID_BYTES)]
    wrapped: Annotated[bytes, Between(1, 2048)]


def store_wrapped(path: Path, root: RootKey, secret: SecretBytes, associated_data: bytes) -> None:
    """Wrap a secret and write it to a new file.

    Args:
        path: the file; an existing one is never overwritten.
        root: wraps it.
        secret: up to 1 KiB.
        associated_data: what the file stands for; `load_wrapped` must give the same.

    Raises:
        KeystoreError: the file exists, or the file system refused.
    """
    record = _WrappedFile(root.key_id, root.wrap(secret, associated_data))
    write_private(path, encode_record(record), replace=False)


def load_wrapped(path: Path, root: RootKey, associated_data: bytes, size: int) -> SecretBytes:
    """Read and unwrap what `store_wrapped` wrote.

    Args:
        path: the file.
        root: the key that wrapped it.
        associated_data: what the file must stand for.
        size: how many bytes the secret has.

    Raises:
        KeystoreForeignError: another root key wrapped it.
        KeystoreDamagedError: truncated, altered, or standing for something else.
        KeystoreError: missing, or the file system refused.
    """
    try:
        record = decode_record(_WrappedFile, read_private(path, MAX_FILE_BYTES), max_bytes=MAX_FILE_BYTES)
    except FormatError as error:
        raise KeystoreDamagedError(f"{path} is truncated or altered") from error
    if record.root != root.key_id:
        raise KeystoreForeignError(f"{path} was wrapped by root key {record.root.hex()}, not by this one")
    try:
        secret = root.unwrap(record.wrapped, associated_data)
    except DecryptionError as error:
        raise KeystoreDamagedError(f"{path} is altered, or another file was put in its place") from error
    if len(secret) != size:
        raise KeystoreDamagedError(f"{path} holds {len(secret)} bytes, not {size}")
    return secret
