"""One-time keys made ahead of time: each private seed in one file of its own, which is what is erased.

Never in a database, whose write-ahead log keeps copies. A file is encrypted under a key that only the unlocked identity
has; so what ends a prekey is that its file is gone, and what guards it until then is the passphrase.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from labelvault.crypto import aead
from labelvault.crypto.hpke import SEED_BYTES, OneTimeKey
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import DecryptionError, FormatError, KeystoreDamagedError, KeystoreError
from labelvault.keys.files import erase_file, make_private_dir, read_private, write_private
from labelvault.keys.identity import UnlockedIdentity
from labelvault.wire.ahead import OneTimeKeyBytes
from labelvault.wire.ids import KEY_ID_BYTES
from labelvault.wire.schema import Fixed, decode_record, encode_record

MAX_PREKEY_FILE_BYTES: Final = 4096
_NAME: Final = re.compile(r"[0-9a-f]{32}\.prekey")
_LEFTOVER: Final = re.compile(r"\.([0-9a-f]{32}\.prekey)\.[0-9a-f]{16}\.tmp")
_LABEL: Final = b"labelvault/v1/prekey-file\0"


@dataclass(frozen=True, slots=True)
class PrekeyFile:
    """A file: the public key and its end in clear, and the wrapped seed."""

    public_key: OneTimeKeyBytes
    expires_at: datetime
    wrapped: Annotated[bytes, Fixed(SEED_BYTES + aead.WRAP_OVERHEAD_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PrekeyContext:
    """What the wrap is bound to."""

    contractor: Annotated[bytes, Fixed(KEY_ID_BYTES)]
    public_key: OneTimeKeyBytes
    expires_at: datetime


class PrekeyFiles:
    """The directory of a contractor's prekeys."""

    def __init__(self, directory: Path, identity: UnlockedIdentity) -> None:
        """Use a directory.

        Args:
            directory: made, with mode 0700, when the first prekey is.
            identity: wraps and unwraps seeds.
        """
        self._directory = directory
        self._identity = identity

    def create(self, expires_at: datetime) -> bytes:
        """Make a one-time key and its file; return the public key, 1,216 bytes.

        Raises:
            KeystoreError: the file system refused; no file is left.
        """
        make_private_dir(self._directory)
        key = OneTimeKey.generate()
        context = _context(self._identity, key.public_key, expires_at)
        record = PrekeyFile(key.public_key, expires_at, self._identity.seal_seed(key.seed(), context))
        path = self._directory / f"{random_bytes(16).hex()}.prekey"
        write_private(path, encode_record(record), replace=False)
        return key.public_key

    def public_keys(self) -> list[tuple[bytes, datetime]]:
        """Return public key and end of each prekey that is left; no file is decrypted."""
        return [(record.public_key, record.expires_at) for _, record in self._files()]

    def seed(self, public_key: bytes) -> SecretBytes:
        """Decrypt the seed of a prekey.

        Raises:
            KeystoreError: there is none of this public key: it was used, has expired, or was made elsewhere.
            KeystoreDamagedError: its file was altered, or is another identity's.
        """
        for path, record in self._files():
            if record.public_key == public_key:
                try:
                    return open_prekey(self._identity, record)
                except DecryptionError as error:
                    raise KeystoreDamagedError(f"{path} is altered, or another identity's") from error
        raise KeystoreError("there is no such prekey here: it was used, has expired, or was made elsewhere")

    def erase(self, *public_keys: bytes) -> None:
        """Erase prekeys; absent is erased. What `keys.files.erase_file` can't promise, this can't either.

        Raises:
            KeystoreError: the file system refused; it may still be there.
        """
        wanted = set(public_keys)
        for path, record in self._files():
            if record.public_key in wanted:
                erase_file(path, overwrite=True)

    def erase_all(self) -> int:
        """Erase whatever is in the directory, damaged files and what interrupted writes left too; return how many.

        Raises:
            KeystoreError: the file system refused.
        """
        names = [path.name for path in self._listed()]
        leftovers = {found[1] for name in names if (found := _LEFTOVER.fullmatch(name))}
        whole = {name for name in names if _NAME.fullmatch(name)}
        for name in whole | leftovers:
            erase_file(self._directory / name, overwrite=True)
        return len(whole)

    def erase_expired(self, now: datetime) -> int:
        """Erase prekeys whose end has come; return how many.

        Raises:
            KeystoreError: the file system refused.
        """
        expired = [path for path, record in self._files() if now >= record.expires_at]
        for path in expired:
            erase_file(path, overwrite=True)
        return len(expired)

    def _files(self) -> Iterator[tuple[Path, PrekeyFile]]:
        for path in self._listed():
            # What is damaged opens nothing; it goes with `erase_all`. What another process erased meanwhile is gone.
            if _NAME.fullmatch(path.name):
                with suppress(FormatError, KeystoreError):
                    data = read_private(path, MAX_PREKEY_FILE_BYTES)
                    yield path, decode_record(PrekeyFile, data, max_bytes=MAX_PREKEY_FILE_BYTES)

    def _listed(self) -> list[Path]:
        try:
            return sorted(self._directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeystoreError(f"{self._directory} can't be read: {error.strerror}") from error


def open_prekey(identity: UnlockedIdentity, record: PrekeyFile) -> SecretBytes:
    """Return the seed in a prekey's file.

    Raises:
        DecryptionError: another identity's, or altered.
    """
    return identity.open_seed(record.wrapped, _context(identity, record.public_key, record.expires_at))


def _context(identity: UnlockedIdentity, public_key: bytes, expires_at: datetime) -> bytes:
    return _LABEL + encode_record(PrekeyContext(identity.public_key, public_key, expires_at))
