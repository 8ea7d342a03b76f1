"""Replacing the root wrapping key, or the passphrase that it rests under: all that the old one wraps, wrapped anew.

Everything is written beside first, into `root.new/`. Renaming that to `root.ready/` is the one step that decides:
before it the home is the old root's, whatever else happened; from then on the new one's, and what is left to do (moving
files to their places, the old keystore's end) needs no key, so whoever opens the home next does it.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.client.backupstage import alone
from labelvault.database import Database
from labelvault.errors import KeystoreError
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import erase_file, make_private_dir, move_private, read_private, remove_dir, write_private
from labelvault.keys.identity import copy_signing_key
from labelvault.keys.kek import KekFiles
from labelvault.keys.root import FILE_NAME, RootKey, RootKeyProvider
from labelvault.keys.submission import rewrap_submission_key
from labelvault.ledger.entries import Entry, Rotated

KEK_FOLDER: Final = "keks"
_STAGED: Final = "root.new"
_READY: Final = "root.ready"
_DONE: Final = "root.done"
_SUBMISSION: Final = ".submission"
"""Ends the name of a staged submission key, which goes into `client.db`."""
_NO_KEYSTORE: Final = "no-keystore"
"""Stands among the staged files where the new root keeps no `root.keystore`: the old one ends without a successor."""
_ROOT_ID: Final = "root_key_id"
"""Named value: what the home is wrapped under, once it was replaced."""
_MAX_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class Rerooting:
    """What replacing the root key works on.

    Attributes:
        old: the root key as it is.
        client: 32 bytes.
        record: appends entries and signs a checkpoint, inside the open transaction.
        now: the client's time.
    """

    home: Path
    database: Database
    old: RootKey
    client: bytes
    record: Callable[[Sequence[Entry]], None]
    now: datetime


def check_root(home: Path, database: Database, root: RootKey) -> None:
    """Make sure, inside a transaction, that `root` is what this home is wrapped under.

    Raises:
        KeystoreError: the root key was replaced meanwhile.
    """
    known = database.meta(_ROOT_ID)
    if (known is not None and known != root.key_id) or (home / _READY).exists():
        raise KeystoreError(
            "the root key was replaced meanwhile; nothing was changed",
            next_step="Run it again, with the new passphrase.",
        )


def rotate_root(task: Rerooting, provider: RootKeyProvider) -> RootKey:
    """Replace the root key, and return the new one; see `Client.rotate_root`.

    Raises:
        KeystoreError: something can't be read, or not be written, or another process does this: the old root key stays.
        StoreError: `client.db` refused.
    """
    busy = KeystoreError(
        "another process replaces the root key, or makes a backup of this home; nothing was changed",
        next_step="Wait until it is done.",
    )
    # Two at once would put files under both new roots into one directory, and only one of these roots is kept.
    with alone(task.home, busy):
        return _rotate(task, provider)


def _rotate(task: Rerooting, provider: RootKeyProvider) -> RootKey:
    home, staged = task.home, task.home / _STAGED
    with task.database.transaction():
        check_root(home, task.database, task.old)
    if not (home / "identity.key").is_file():
        raise KeystoreError(
            "identity.key is not here, so it can't be wrapped anew; nothing was changed",
            next_step="Put it back from where it is kept offline, then run this again.",
        )
    remove_dir(staged)
    make_private_dir(staged)
    new = provider.create(staged)
    if not (staged / FILE_NAME).exists():
        write_private(staged / _NO_KEYSTORE, b"", replace=False)
    copy_signing_key(home / "identity.key", task.old, staged / "identity.key", new, "client-identity", task.client)
    copy_signing_key(home / "issuer.key", task.old, staged / "issuer.key", new, "issuer", task.client)
    _stage(task, new)
    with task.database.transaction():
        check_root(home, task.database, task.old)
        _stage(task, new)  # What was made since; from here on nothing is.
        move_private(staged, home / _READY)
        _settle(home, task.database)
        _conclude(task.database, new, task.record, task.now)
    _clean(home, task.database)
    return new


def forget_staged(home: Path, kek_id: bytes, project: bytes | None = None) -> None:
    """Erase what a killed replacement of the root key left staged of a project, inside a transaction.

    One that is under way stages again what it still finds, in a transaction of its own.

    Args:
        home: which.
        kek_id: whose generations go, 16 bytes.
        project: its id, if the key of its answers goes too.

    Raises:
        KeystoreError: the file system refused.
    """
    staged = home / _STAGED
    if not staged.is_dir():
        return
    for path in staged.glob(f"{kek_id.hex()}.*.kek"):
        erase_file(path, overwrite=True)
    if project is not None:
        erase_file(staged / (project.hex() + _SUBMISSION), overwrite=True)


def settle_root(home: Path) -> None:
    """Finish what a replacement of the root key had decided before it was interrupted; needs no key.

    Raises:
        KeystoreError, StoreError: the file system or `client.db` refused.
    """
    if (home / _READY).exists():
        with closing(Database(home / "client.db", CLIENT_SCHEMA)) as database, database.transaction():
            _settle(home, database)


def conclude_root(
    home: Path,
    database: Database,
    root: RootKey,
    record: Callable[[Sequence[Entry]], None],
    now: Callable[[], datetime],
) -> None:
    """Put on record a replacement that `settle_root` finished.

    Raises:
        KeystoreError, StoreError: the file system or `client.db` refused.
    """
    if (home / _READY).exists():
        at = now()
        with database.transaction():
            _conclude(database, root, record, at)
    if (home / _READY).exists() or (home / _DONE).exists():
        _clean(home, database)


def _clean(home: Path, database: Database) -> None:
    """Erase what is left among the staged files, once it counts for nothing."""
    with database.transaction():
        remove_dir(home / _DONE)
        if (home / _READY).exists():
            # Another name first: zeros under the old one would be taken for keys by whoever opens the home.
            move_private(home / _READY, home / _DONE)
    remove_dir(home / _DONE)


def _conclude(database: Database, root: RootKey, record: Callable[[Sequence[Entry]], None], now: datetime) -> None:
    if database.meta(_ROOT_ID) != root.key_id:
        database.set_meta(_ROOT_ID, root.key_id)
        record([Rotated(at=now, what="root", project=None, generation=0)])


def _stage(task: Rerooting, new: RootKey) -> None:
    """Write what is not staged yet, and drop what was destroyed meanwhile."""
    staged = task.home / _STAGED
    source = KekFiles(task.home / KEK_FOLDER, task.old, task.client)
    target = KekFiles(staged, new, task.client)
    rows = task.database.rows("SELECT project, kek_id, submission_wrapped FROM projects")
    wanted = set()
    for project, kek_id, wrapped in rows:
        for generation in source.generations(bytes(kek_id)):
            path = target.path(bytes(kek_id), generation)
            wanted.add(path.name)
            if not path.exists():
                target.store(bytes(project), source.load(bytes(project), bytes(kek_id), generation))
        submission = staged / (bytes(project).hex() + _SUBMISSION)
        if wrapped:
            wanted.add(submission.name)
            if not submission.exists():
                again = rewrap_submission_key(task.old, new, task.client, bytes(project), bytes(wrapped))
                write_private(submission, again, replace=False)
    for path in staged.iterdir():
        if path.suffix in (".kek", _SUBMISSION) and path.name not in wanted:
            erase_file(path, overwrite=True)


def _settle(home: Path, database: Database) -> None:
    """Move everything to its place, inside a transaction; the keystore last. May be repeated."""
    ready = home / _READY
    try:
        names = sorted(path.name for path in ready.iterdir())
    except FileNotFoundError:
        return  # Another process was faster.
    for name in names:
        if name.endswith(_SUBMISSION):
            # Stays where it is until the transaction is durable.
            database.execute(
                "UPDATE projects SET submission_wrapped = ? WHERE project = ? AND shredded_ms IS NULL",
                read_private(ready / name, _MAX_BYTES),
                bytes.fromhex(name.removesuffix(_SUBMISSION)),
            )
        elif name.endswith(".kek"):
            move_private(ready / name, home / KEK_FOLDER / name)
        elif name not in (FILE_NAME, _NO_KEYSTORE):
            move_private(ready / name, home / name)
    if FILE_NAME in names:
        erase_file(home / FILE_NAME, overwrite=True)
        move_private(ready / FILE_NAME, home / FILE_NAME)
    elif _NO_KEYSTORE in names:
        erase_file(home / FILE_NAME, overwrite=True)
