"""A witness's home, opened: it cosigns what extends all that it saw, and nothing else.

A home holds `witness.key` (Ed25519, under a passphrase), `witness.pub` (its verifier key, to give away), `lock`, and
what `labelvault.witness.seen` keeps. Whoever cosigns holds the lock from reading the newest checkpoint until the next
one is durable, so that two updates at a time never move backwards, and the cosignature leaves after that.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.merkle import EMPTY_ROOT
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    ClockError,
    ForkError,
    KeystoreError,
    KeystoreForeignError,
    LedgerError,
    RollbackError,
)
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.keys.identity import create_identity, open_identity
from labelvault.keys.keystore import DEFAULT_COST
from labelvault.ledger.checkpoint import Checkpoint
from labelvault.ledger.cosignature import CosignerKey, cosign, cosignature_by, parse_cosigner_key
from labelvault.ledger.note import MAX_NAME_CHARACTERS, VerifierKey
from labelvault.wire.frame import Signer
from labelvault.witness.chain import Follows, check_follows
from labelvault.witness.offer import Verified, check_grown, read_offer
from labelvault.witness.seen import Seen, SeenLedgers

_MAX_KEY_BYTES: Final = 4 * MAX_NAME_CHARACTERS + 100
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What was cosigned.

    Attributes:
        origin: of the ledger.
        size: of the checkpoint.
        before: size of the one that was seen before; None for the first of this ledger.
        note: the checkpoint, with our cosignature in it.
        follows: the ledger of before a restore, where this one follows one that was seen.
    """

    origin: str
    size: int
    before: int | None
    note: str
    follows: Follows | None


class Witness:
    """A witness's home, opened."""

    def __init__(self, home: Path, name: str, key: Signer, clock: Callable[[], datetime]) -> None:
        """Open a home; use `create` or `open`."""
        self._home = home
        self._signer = key
        self._clock = clock
        self._seen = SeenLedgers(home)
        self.key: CosignerKey = CosignerKey(name, key.public_key)

    @classmethod
    def create(
        cls,
        home: Path,
        name: str,
        passphrase: str | SecretBytes,
        *,
        parameters: Argon2idParameters = DEFAULT_COST,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> "Witness":
        """Make a home with a new key.

        Args:
            home: a directory that is made, with mode 0700.
            name: that it cosigns under: a URL without its scheme, `witness.example/ada`, which need not exist.
            passphrase: protects the key.
            parameters: the cost of a passphrase guess.
            clock: says the time, aware UTC; cosignatures are dated by it.

        Raises:
            KeystoreError: there is a witness in this home already; or the file system refused.
            FormatError: the name can't stand in a note.
        """
        home = Path(home)
        if (home / "witness.key").exists():
            raise KeystoreError(
                f"{home} holds a witness already; nothing was changed",
                next_step="Use it as it is (labelvault ledger list), or give another --home DIR.",
            )
        # The name is checked before anything is written, with a key that any name fits.
        CosignerKey(name, _ANY_KEY)
        make_private_dir(home)
        write_private(home / "lock", b"", replace=True)
        made = cls(home, name, create_identity(home / "witness.key", passphrase, parameters), clock)
        write_private(home / "witness.pub", str(made.key).encode(), replace=True)
        return made

    @classmethod
    def open(
        cls,
        home: Path,
        passphrase: str | SecretBytes,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> "Witness":
        """Open a home.

        Raises:
            KeystoreError: or one of its kinds: no witness there, wrong passphrase, damaged or foreign files.
        """
        home = Path(home)
        known = witness_key(home)
        witness = cls(home, known.name, open_identity(home / "witness.key", passphrase), clock)
        if witness.key != known:
            raise KeystoreForeignError(f"{home / 'witness.pub'} is another key's than witness.key")
        return witness

    def cosign(self, data: bytes, *, issuer: VerifierKey | None = None, before: Sequence[bytes] = ()) -> Cosigned:
        """Cosign a checkpoint, if it extends all that this witness saw of its ledger.

        Args:
            data: the checkpoint's note, a proof that brings one, or an export.
            issuer: the key that signs it, as its client tells: needed once for each ledger, and kept.
            before: of a ledger that was begun by a restore: exports of the older ones that it follows.

        Raises:
            ForkError: its issuer signed two ledgers under one name, now or before; both checkpoints are kept, and this
                ledger is not cosigned any more.
            RollbackError: a larger checkpoint of it was cosigned before.
            LedgerError: nothing shows that it extends what was seen; or it is not signed by its issuer.
            SignatureError, FormatError: not what it claims to be.
            ClockError: this machine's clock is behind the last cosignature of this ledger.
            KeystoreError: the home can't be read or written; nothing was cosigned.
        """
        offer = read_offer(data)
        origin = offer.claimed.origin
        with self._locked():
            newest = self._seen.find(origin)
            key = _issuer(newest, issuer, origin)
            offered = offer.verified(key)
            self._check_not_accused(origin)
            follows = None
            if newest is None:
                follows = self._check_begins(offered, before)
            else:
                self._check_extends(newest, offered)
            note = cosign(offered.note, self.key.name, self._signer, self._now(newest))
            self._seen.keep(offered.checkpoint, note, key)
        size = None if newest is None else newest.checkpoint.size
        return Cosigned(origin, offered.checkpoint.size, size, note, follows)

    def _now(self, newest: Seen | None) -> datetime:
        now = self._clock()
        last = None if newest is None else cosignature_by(newest.note, self.key)
        if last is not None and now < last.at:
            raise ClockError(
                f"this machine's clock is behind the last cosignature of this ledger, of {last.at.isoformat()}"
            )
        return now.replace(microsecond=0)

    def _check_not_accused(self, origin: str) -> None:
        if self._seen.evidence(origin) is not None:
            older, newer = self._seen.accused(origin)
            raise self._fork("this ledger was forked, and is not cosigned any more", origin, older, newer, None)

    def _check_begins(self, offered: Verified, before: Sequence[bytes]) -> Follows | None:
        """Check the first checkpoint of a ledger: what it follows, if its client had one before."""
        checkpoint = offered.checkpoint
        client = checkpoint.origin.rpartition("/")[0]
        known = [each for each in self._seen.all() if each.origin.rpartition("/")[0] == client]
        if not known:
            empty = Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
            if offered.extension is not None:
                offered.extension.check(empty, checkpoint)
            return None
        found = check_follows(offered, known, before, self._seen.within)
        if isinstance(found, str):
            last = max(known, key=lambda each: each.checkpoint.size)
            raise self._fork(found, checkpoint.origin, last.note, offered.note, None)
        return found

    def _check_extends(self, newest: Seen, offered: Verified) -> None:
        size = offered.checkpoint.size
        if (found := self._seen.within(newest.origin, size)) is not None:
            seen, note = found
            if offered.root_at(seen.size) not in (None, seen.root):
                raise self._fork(
                    f"its first {seen.size} entries are not those that were cosigned before",
                    newest.origin,
                    note,
                    offered.note,
                    offered.proof_from(seen.size),
                )
        if size < newest.checkpoint.size:
            raise RollbackError(
                f"a checkpoint of {size} entries, after one of {newest.checkpoint.size} was cosigned",
                next_step="Ask the client for its newest checkpoint: labelvault client ledger prove.",
            )
        check_grown(newest.checkpoint, offered)

    def _fork(self, message: str, origin: str, older: str, newer: str, proof: str | None) -> ForkError:
        kept = self._seen.accuse(origin, older, newer, proof)
        return ForkError(
            message,
            older,
            newer,
            tuple(map(str, kept)),
            next_step="Keep both checkpoints: together they are evidence. Ask the client, and tell other witnesses.",
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the home: of several processes one at a time reads, decides and writes."""
        try:
            descriptor = os.open(self._home / "lock", _LOCK, 0o600)
        except OSError as error:
            raise KeystoreError(f"{self._home / 'lock'} can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def seen_ledgers(home: Path) -> list[Seen]:
    """Return what a witness saw, by origin; its passphrase is not needed, as nothing of it is secret.

    Raises:
        KeystoreError, FormatError: no witness there, or a file is not what was written.
    """
    witness_key(home)
    return SeenLedgers(Path(home)).all()


def witness_key(home: Path) -> CosignerKey:
    """Return a witness's verifier key; its passphrase is not needed.

    Raises:
        KeystoreError, FormatError: no witness there, or a file is not what was written.
    """
    home = Path(home)
    if not (home / "witness.key").is_file():
        raise KeystoreError(
            f"{home} holds no witness",
            next_step="Give --home DIR if it is elsewhere, or make one: labelvault ledger init --name NAME.",
        )
    if not (home / "witness.pub").is_file():
        raise KeystoreError(
            f"{home} is unfinished: `labelvault ledger init` was interrupted",
            next_step=f"Remove {home}, which holds nothing that counts yet, and run init again.",
        )
    try:
        return parse_cosigner_key(read_private(home / "witness.pub", _MAX_KEY_BYTES).decode())
    except UnicodeDecodeError as error:
        raise KeystoreError(f"{home / 'witness.pub'} is not what was written") from error


_ANY_KEY: Final = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
"""The curve's base point: a valid key."""


def _issuer(newest: Seen | None, given: VerifierKey | None, origin: str) -> VerifierKey:
    if newest is None:
        if given is None:
            raise LedgerError(
                "this ledger is new to this witness, and nobody said which key signs it",
                next_step="Have the client read its verifier key out (labelvault client ledger verify): --issuer KEY.",
            )
        if given.name.split("/")[1:] != origin.split("/")[1:2]:
            raise LedgerError("the verifier key is another client's than the ledger")
        return given
    if given is not None and given != newest.issuer:
        raise LedgerError(
            "another key than the one that signed this ledger so far",
            next_step="Leave --issuer out: each ledger has one key, and a restored client begins a new ledger.",
        )
    return newest.issuer
