"""Project KEKs: one wrapped file for each generation, and the wraps of DEKs under them.

KEKs never stand in a database: shredding a project unlinks its files, and no copy lingers in a write-ahead
log.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, NoReturn

from labelvault.crypto import aead
from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import FormatError, KeystoreError
from labelvault.keys.files import erase_file, make_private_dir
from labelvault.keys.root import RootKey
from labelvault.keys.wrapped import load_wrapped, store_wrapped
from labelvault.wire.ids import ID_BYTES, KEY_ID_BYTES
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import Between, Fixed, UInt, encode_record

DEK_BYTES: Final = 32
MAX_GENERATION: Final = 2**31 - 1
_KEK_LABEL: Final = b"labelvault/v1/kek-file\0"
_WRAP_LABEL: Final = b"labelvault/v1/dek-wrap\0"


@dataclass(frozen=True, slots=True, eq=False)
class Kek:
    """A project's key-encryption key.

    Attributes:
        kek_id: 16 random bytes, the same through all generations.
        generation: 1 for the first; one more at each rotation.
        key: 32 bytes.
    """

    kek_id: bytes
    generation: int
    key: SecretBytes

    def __reduce__(self) -> NoReturn:
        raise TypeError("KEKs are not pickled or copied")


@dataclass(frozen=True, slots=True)
class _KekContext:
    """What a KEK's file stands for."""

    client: Annotated[bytes, Fixed(KEY_ID_BYTES)]
    project: Annotated[bytes, Fixed(ID_BYTES)]
    kek: Annotated[bytes, Fixed(ID_BYTES)]
    generation: Annotated[int, UInt(1, MAX_GENERATION)]


@dataclass(frozen=True, slots=True)
class _WrapContext:
    """What a wrapped DEK stands for [G8]."""

    header: Annotated[bytes, Between(1, 4096)]
    digest: Annotated[bytes, Fixed(HASH_BYTES)]
    kek: Annotated[bytes, Fixed(ID_BYTES)]
    generation: Annotated[int, UInt(1, MAX_GENERATION)]


class KekFiles:
    """The directory of a client's wrapped KEKs, as `<kek id>.<generation>.kek`."""

    __slots__ = ("__root", "_client_id", "_directory")

    def __init__(self, directory: Path, root: RootKey, client_id: bytes) -> None:
        """Use a directory.

        Args:
            directory: made, with mode 0700, when the first KEK is.
            root: wraps and unwraps.
            client_id: 32 bytes, bound into every file.
        """
        self._directory = directory
        self.__root = root
        self._client_id = client_id

    def create(self, project: bytes) -> Kek:
        """Make and store a project's first KEK.

        Args:
            project: the project's id, 16 bytes.

        Raises:
            KeystoreError: the file system refused.
        """
        return self.store(project, Kek(random_bytes(ID_BYTES), 1, _random_key()))

    def advance(self, project: bytes, kek: Kek) -> Kek:
        """Make and store the next generation of a KEK: the same id, a new random key. The old file stays.

        Raises:
            KeystoreError: that generation exists already, and is left as it is; or the file system refused.
        """
        return self.store(project, Kek(kek.kek_id, kek.generation + 1, _random_key()))

    def load(self, project: bytes, kek_id: bytes, generation: int) -> Kek:
        """Unwrap a stored KEK.

        Args:
            project: the project's id, 16 bytes.
            kek_id: 16 bytes.
            generation: from 1.

        Raises:
            KeystoreForeignError: wrapped by another root key.
            KeystoreDamagedError: altered, or of another client, project, id or generation.
            KeystoreError: missing, or can't be read.
        """
        context = self._context(project, kek_id, generation)
        key = load_wrapped(self.path(kek_id, generation), self.__root, context, aead.KEY_BYTES)
        return Kek(kek_id, generation, key)

    def generations(self, kek_id: bytes) -> list[int]:
        """Return which generations of a KEK have a file, oldest first.

        Raises:
            KeystoreError: the directory can't be read.
        """
        named = re.compile(rf"{kek_id.hex()}\.([1-9][0-9]{{0,9}})\.kek")
        try:
            names = [named.fullmatch(path.name) for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeystoreError(f"{self._directory} can't be read: {error.strerror}") from error
        return sorted(int(name[1]) for name in names if name is not None)

    def erase(self, kek_id: bytes, generation: int) -> None:
        """Overwrite and remove a generation's file; what `keys.files.erase_file` can't promise, this can't either.

        Raises:
            KeystoreError: the file system refused.
        """
        if self._directory.is_dir():
            erase_file(self.path(kek_id, generation), overwrite=True)

    def path(self, kek_id: bytes, generation: int) -> Path:
        """Return where a generation's file is, or would be."""
        return self._directory / f"{kek_id.hex()}.{generation}.kek"

    def store(self, project: bytes, kek: Kek) -> Kek:
        """Store a KEK, and return it.

        Raises:
            KeystoreError: that generation exists already, and is left as it is; or the file system refused.
        """
        context = self._context(project, kek.kek_id, kek.generation)
        make_private_dir(self._directory)
        store_wrapped(self.path(kek.kek_id, kek.generation), self.__root, kek.key, context)
        return kek

    def _context(self, project: bytes, kek_id: bytes, generation: int) -> bytes:
        return _KEK_LABEL + encode_record(_KekContext(self._client_id, project, kek_id, generation))


def wrap_context(header_bytes: bytes, digest: bytes, kek_id: bytes, generation: int) -> bytes:
    """Build the associated data of a wrapped DEK: the one place where it is built [G8].

    Args:
        header_bytes: the item's canonical header (format, client, project, item, version).
        digest: of the sealed item, 32 bytes; so a catalog that was swapped or rolled back certifies nothing
            that the client did not seal.
        kek_id: 16 bytes.
        generation: from 1.

    Raises:
        FormatError: a field is out of its bounds.
    """
    if len(digest) != HASH_BYTES:
        raise FormatError(f"a digest has {HASH_BYTES} bytes")
    if len(header_bytes) < HASH_BYTES:
        # No header of ours is so short; in what stands around it, it could be found twice.
        return _WRAP_LABEL + encode_record(_WrapContext(header_bytes, digest, kek_id, generation))
    before, between, behind = _around(len(header_bytes), kek_id, generation)
    return b"".join((before, digest, between, header_bytes, behind))


@lru_cache(maxsize=64)
def _around(header_size: int, kek_id: bytes, generation: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and behind digest and header in the contexts of one KEK."""
    header, digest = random_bytes(header_size), random_bytes(HASH_BYTES)
    before, rest = encode_record(_WrapContext(header, digest, kek_id, generation)).split(digest)
    between, behind = rest.split(header)
    return _WRAP_LABEL + before, between, behind


def wrap_dek(kek: Kek, dek: SecretBytes, context: bytes) -> bytes:
    """Wrap an item's DEK.

    Args:
        kek: the project's.
        dek: 32 bytes.
        context: from `wrap_context`.

    Returns:
        72 bytes, for the client's catalog only.
    """
    if len(dek) != DEK_BYTES:
        raise ValueError("a DEK has 32 bytes")
    return aead.wrap(kek.key, dek, context)


def unwrap_dek(kek: Kek, wrapped: bytes, context: bytes) -> SecretBytes:
    """Undo `wrap_dek`.

    Raises:
        DecryptionError: another KEK or context, or altered bytes; which one is not told.
    """
    return aead.unwrap(kek.key, wrapped, context)


class Rewrapper:
    """Moves wraps of one project's items from one generation of its KEK to another."""

    def __init__(self, client: bytes, project: bytes, old: Kek, new: Kek) -> None:
        """Take the keys.

        Args:
            client: 32 bytes.
            project: 16 bytes.
            old: that the wraps are under.
            new: that they go under; of the same id.
        """
        self._client = client
        self._project = project
        self._old = old
        self._new = new

    def rewrap(self, item: bytes, version: int, digest: bytes, wrapped: bytes) -> bytes:
        """Wrap a wrapped DEK under the new generation; see `wrap_context` for what it is bound to.

        Raises:
            DecryptionError: as `unwrap_dek`.
            FormatError: as `wrap_context`.
        """
        header = ItemHeader(ITEM_FORMAT, self._client, self._project, item, version).encode()
        old, new = self._old, self._new
        dek = unwrap_dek(old, wrapped, wrap_context(header, digest, old.kek_id, old.generation))
        return wrap_dek(new, dek, wrap_context(header, digest, new.kek_id, new.generation))


def _random_key() -> SecretBytes:
    return SecretBytes(random_bytes(aead.KEY_BYTES))
