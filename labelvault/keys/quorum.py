r"""Shares of the root key for people: any k of n give it back, fewer say nothing of it (docs/spec.md, section 8.8).

    share = u8 format ‖ root key id (16) ‖ u8 threshold ‖ u8 count ‖ u8 number ‖ part (32) ‖ check (8)

written as thirty words that can be read aloud and typed. The check finds a slip in one share; that shares belong
together, and that nobody gave another one, shows when the key that they give has the id that all of them name.
"""

import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.shares import MAX_SHARES, SECRET_BYTES, combine_shares, split_secret
from labelvault.errors import FormatError, KeystoreDamagedError, KeystoreError, KeystoreForeignError
from labelvault.keys.files import make_private_dir, move_private, remove_dir, write_private
from labelvault.keys.fingerprint import from_proquints, to_proquints
from labelvault.keys.root import ROOT_ID_BYTES, LocalRootKey, RootKey

SHARE_FORMAT: Final = 1
SHARE_BYTES: Final = 60
MAX_SHARE_FILE_BYTES: Final = 4096
_CHECK_LABEL: Final = b"labelvault/v1/share-check\0"
_CHECK_BYTES: Final = 8
_PART: Final = slice(4 + ROOT_ID_BYTES, 4 + ROOT_ID_BYTES + SECRET_BYTES)
_LINE_WORDS: Final = 6
_COMMENT: Final = "#"


@dataclass(frozen=True, slots=True)
class Share:
    """One share, read and checked for slips.

    Attributes:
        root: id of the root key, 16 bytes.
        threshold: how many give it back.
        count: how many were made.
        number: which one this is, from 1.
        part: what it holds.
    """

    root: bytes
    threshold: int
    count: int
    number: int
    part: SecretBytes = field(repr=False)


def split_root(root: RootKey, threshold: int, count: int) -> tuple[str, ...]:
    """Split a root key into shares, and try that they give it back; each is a text for one person.

    Args:
        root: the client's; it must have its bytes here, as one in a device has not.
        threshold: how many give it back, from 2 on.
        count: how many are made, at most 16.

    Raises:
        KeystoreError: a key in a device, numbers out of bounds, or the extra `quorum` is not installed.
    """
    if not isinstance(root, LocalRootKey):
        raise KeystoreError(
            "this root key is in a device and can't be split", next_step="Use the device's own way to back it up."
        )
    parts = split_secret(root.secret(), threshold, count)
    shares = tuple(_written(root.key_id, threshold, count, number, part) for number, part in enumerate(parts, 1))
    for first in range(count):
        recover_root([shares[(first + more) % count] for more in range(threshold)])
    return shares


def write_shares(folder: Path, shares: Sequence[str]) -> tuple[Path, ...]:
    """Write shares into a new directory, `share-1.txt` and so on, private; all of them or none.

    A process that is killed may leave them under a name that begins with a dot; the next run for this directory erases
    it.

    Raises:
        KeystoreError: something has its name, or the file system refused.
    """
    if os.path.lexists(folder):
        raise KeystoreError(f"{folder} is there already; nothing was written", next_step="Name a new directory: --to.")
    leftover = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.tmp")
    try:
        abandoned = [path for path in folder.parent.iterdir() if leftover.fullmatch(path.name)]
    except FileNotFoundError:
        abandoned = []
    except OSError as error:
        raise KeystoreError(f"{folder.parent} can't be read: {error.strerror}") from error
    for path in abandoned:
        remove_dir(path)  # Shares in clear, left by a run that was killed.
    stage = folder.with_name(f".{folder.name}.{random_bytes(8).hex()}.tmp")
    make_private_dir(stage)
    names = [f"share-{number}.txt" for number in range(1, len(shares) + 1)]
    try:
        for name, share in zip(names, shares, strict=True):
            write_private(stage / name, share.encode(), replace=False)
        move_private(stage, folder)
    except BaseException:
        remove_dir(stage)
        raise
    return tuple(folder / name for name in names)


def recover_root(shares: Sequence[str]) -> LocalRootKey:
    """Put a root key together.

    Args:
        shares: at least as many as are needed; more are looked at, and have to fit, too.

    Raises:
        KeystoreDamagedError: one is no share, or has a slip; it says which, and in which word if it can.
        KeystoreForeignError: they are of different root keys or splits, or one is not what was given out.
        KeystoreError: one is there twice, there are too few, or the extra `quorum` is not installed.
    """
    read = [_read(text, place) for place, text in enumerate(shares, 1)]
    if not read:
        raise KeystoreError("no share was given")
    first = read[0]
    if any((each.root, each.threshold, each.count) != (first.root, first.threshold, first.count) for each in read):
        raise KeystoreForeignError("these shares are of different root keys, or were made at different times")
    by_number = {each.number: each.part for each in read}
    if len(by_number) < len(read):
        raise KeystoreError("a share was given twice", next_step=f"Give {first.threshold} different ones.")
    if len(read) < first.threshold:
        raise KeystoreError(
            f"{first.threshold} of these shares are needed, and {len(read)} were given", next_step="Ask for more."
        )
    numbers = sorted(by_number)
    found = [
        LocalRootKey(combine_shares({number: by_number[number] for number in chosen}))
        for chosen in (numbers[at : at + first.threshold] for at in range(len(numbers) - first.threshold + 1))
    ]
    if any(not hmac.compare_digest(each.key_id, first.root) for each in found):
        raise KeystoreForeignError(
            "these shares don't give the root key that they name: one of them is not what was given out",
            next_step="Try again with another one in the place of each.",
        )
    return found[0]


def read_share(text: str) -> Share:
    """Read a share: its words, and lines that begin with `#`, which don't count.

    Raises:
        KeystoreDamagedError: it is none, or has a slip.
    """
    return _read(text, 0)


def _read(text: str, place: int) -> Share:
    name = f"share {place}" if place else "the share"
    if len(text) > MAX_SHARE_FILE_BYTES:
        raise KeystoreDamagedError(f"{name} is too long to be one")
    words = " ".join(line for line in text.splitlines() if not line.lstrip().startswith(_COMMENT))
    try:
        data = from_proquints(words)
    except FormatError as error:
        raise KeystoreDamagedError(f"{name}: {error}") from error
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(data) != SHARE_BYTES:
        raise KeystoreDamagedError(f"{name} has {len(data) // 2} words, not {SHARE_BYTES // 2}")
    if not hmac.compare_digest(check, tagged_hash(_CHECK_LABEL, body)[:_CHECK_BYTES]):
        raise KeystoreDamagedError(f"{name} has a slip in it: compare each word")
    threshold, count, number = body[1 + ROOT_ID_BYTES : 4 + ROOT_ID_BYTES]
    if body[0] != SHARE_FORMAT or not (2 <= threshold <= count <= MAX_SHARES and 1 <= number <= count):
        raise KeystoreDamagedError(f"{name} is of another version")
    return Share(body[1 : 1 + ROOT_ID_BYTES], threshold, count, number, SecretBytes(body[_PART]))


def _written(root: bytes, threshold: int, count: int, number: int, part: SecretBytes) -> str:
    body = bytes([SHARE_FORMAT]) + root + bytes([threshold, count, number]) + part.reveal()
    words = to_proquints(body + tagged_hash(_CHECK_LABEL, body)[:_CHECK_BYTES]).split("-")
    lines = [" ".join(words[at : at + _LINE_WORDS]) for at in range(0, len(words), _LINE_WORDS)]
    return "\n".join(
        [
            f"# LabelVault: share {number} of {count} of root key {root.hex()}.",
            f"# Any {threshold} of them give the key back, and with it everything. Show it to nobody, keep it offline.",
            *lines,
            "",
        ]
    )
