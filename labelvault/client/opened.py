"""A client's home, opened: its keys, `client.db`, the way to the vault, the issuer and the ledger."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from labelvault.client import backuprecords, browsing, cosigning, ledgers, replicating, rerooting
from labelvault.client.backup import back_up, back_up_to_vault
from labelvault.client.backup_records import BackupRecord, BackupReport, LedgerCopy
from labelvault.client.browsing import LedgerLine
from labelvault.client.home import create_home, read_vault_address
from labelvault.client.records import CosignedLedger, LedgerSummary
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.errors import KeystoreError, StoreError
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.issuer.replica import follow
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.issuer.service import Issuer
from labelvault.issuer.state import State
from labelvault.keys import quorum
from labelvault.keys.cards import client_fingerprint
from labelvault.keys.identity import load_signing_key
from labelvault.keys.kek import KekFiles
from labelvault.keys.root import RootKey, RootKeyProvider
from labelvault.keys.token import read_token
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.cosignature import CosignerKey
from labelvault.ledger.entries import Entry
from labelvault.relay import Relay, open_relay
from labelvault.relay.beside import Beside
from labelvault.relay.local import utc_now
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.ids import ClientId, client_id
from labelvault.wire.messages import IssuerCertificate
from labelvault.wire.times import truncate


class OpenedClient:
    """What every part of the client stands on; `labelvault.client.Client` is what is used.

    Attributes:
        client_id: 32 bytes, the hash of the identity key.
        vault: the vault's address.
        certificate: the issuer's, signed by the identity key.
        database: `client.db`; for this package's own modules.
        issuer_identity: the issuer's certified key; for this package's own modules.
        keks: wrapped KEKs; for this package's own modules.
    """

    def __init__(self, home: Path, root: RootKey, clock: Callable[[], datetime]) -> None:
        """Open a home; use `create` or `open`."""
        self._home = home
        self._root = root
        self._clock = clock
        self._relay: Relay | None = None
        self.database = Database(home / "client.db", CLIENT_SCHEMA)
        identity_key = self.database.meta("identity_key")
        if identity_key is None:
            raise StoreError("client.db is unfinished: `client init` was interrupted; remove the home and run it again")
        self.identity_key: bytes = identity_key
        self.client_id: ClientId = client_id(identity_key)
        self.vault = read_vault_address(home)
        self.certificate = self._newest_certificate()
        self.keks = KekFiles(home / rerooting.KEK_FOLDER, root, self.client_id)
        issuer_key = load_signing_key(home / "issuer.key", root, "issuer", self.client_id)
        if issuer_key.public_key != self.certificate.message.issuer:
            raise KeystoreError("issuer.key is not the key that the newest certificate names")
        name = issuer_key_name(self.client_id)
        self.issuer_identity = IssuerIdentity(self.certificate, issuer_key, name)
        self._state = State(self.database, identity_key, self.certificate.message)
        self._log = Log(self.database, self.client_id, self.certificate.message.epoch)
        # Looking at things works while the copy is away; what adds to the ledger does not.
        follow(self.database, self._log, self._log.newest_checkpoint())
        rerooting.conclude_root(home, self.database, root, self.record, self.now)

    @classmethod
    def create(cls, home: Path, root: RootKeyProvider, vault: str, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """Make a home: root key, identity, issuer and its certificate, empty catalog and ledger.

        Args:
            home: a directory that is made, with mode 0700; it must not hold a client yet.
            root: keeps the root wrapping key.
            vault: the vault's address, which goes into invites.
            clock: says the time, aware UTC.

        Raises:
            KeystoreError: there is a client in this home already; nothing was changed. Or the file system refused.
            StoreError: `client.db` can't be made.
        """
        home = Path(home)
        root_key = create_home(home, root, vault, truncate(clock()))
        return cls(home, root_key, clock)

    @classmethod
    def open(cls, home: Path, root: RootKeyProvider, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """Open a home.

        Raises:
            KeystoreError: or one of its kinds: no client there, wrong passphrase, damaged or foreign files.
            StoreError: `client.db` can't be used.
        """
        home = Path(home)
        if not (home / "client.db").is_file():
            raise KeystoreError(
                f"{home} holds no client",
                next_step="Give --home DIR if it is elsewhere, or make one: labelvault client init --vault URL.",
            )
        rerooting.settle_root(home)
        return cls(home, root.open(home), clock)

    def close(self) -> None:
        """Close database and relay."""
        self.database.close()
        if self._relay is not None:
            self._relay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """The directory of its keys and its database; only this user can look into it."""
        return self._home

    @property
    def fingerprint(self) -> str:
        """The fingerprint that contractors compare aloud before they join."""
        return client_fingerprint(self.identity_key)

    def now(self) -> datetime:
        """Return the client's time, in whole milliseconds: the issuer's, which never runs backwards.

        Raises:
            ClockError: this machine's clock is behind a time that was acted at already.
        """
        with self.database.transaction():
            return self._state.tick(self._clock())

    def peek_now(self) -> datetime:
        """Return what `now` would, and write nothing.

        Raises:
            ClockError: as `now`.
        """
        return self._state.peek(self._clock())

    def relay(self) -> Relay:
        """Return the way to the vault.

        Raises:
            RelayError: it can't be reached.
        """
        if self._relay is None:
            self._relay = open_relay(self.vault, token=read_token(self._home))
        return self._relay

    def beside(self) -> Beside:
        """Start a process that stores at the vault while this one works; the caller closes it."""
        return Beside(self.vault, token=read_token(self._home))

    def identity(self) -> SigningKey:
        """Unwrap the identity key; it is kept no longer than its one use, and the issuer never needs it.

        Raises:
            KeystoreError: `identity.key` is missing (kept offline, perhaps) or not this client's.
        """
        key = load_signing_key(self._home / "identity.key", self._root, "client-identity", self.client_id)
        if key.public_key != self.identity_key:
            raise KeystoreError("identity.key is not this client's")
        return key

    def check_root(self) -> None:
        """Make sure, inside a transaction, that the root key was not replaced since this home was opened.

        Raises:
            KeystoreError: it was; what this client would wrap could not be opened again.
        """
        rerooting.check_root(self._home, self.database, self._root)

    def rotate_root(self, new: RootKeyProvider) -> None:
        """Replace the root wrapping key by one that `new` makes: another passphrase, or another kind of root.

        All that the old one wraps is wrapped anew, and its keystore is destroyed. Killed anywhere, the home opens with
        the old root or with the new one. Copies of the old home still open with the old passphrase. Other processes on
        this home, an issuer too, have to be started anew.

        Args:
            new: its `create` is called on an empty directory in the home, whose files then move to the home.

        Raises:
            KeystoreError: `identity.key` is kept elsewhere, or a file can't be read or written.
            StoreError: `client.db` refused. After either the old root stays, unless the home has `root.ready`: then it
                is the new one's, and opening it again finishes what is left.
        """
        now = self.now()
        task = rerooting.Rerooting(self._home, self.database, self._root, self.client_id, self.record, now)
        self._root = rerooting.rotate_root(task, new)
        self.keks = KekFiles(self._home / rerooting.KEK_FOLDER, self._root, self.client_id)

    def split_root(self, threshold: int, count: int) -> tuple[str, ...]:
        """Split the root key into shares for people: texts of thirty words, any `threshold` of which give it back.

        With `labelvault.client.recover_root` they make a keystore, without the passphrase. After `rotate_root` they
        are of the old key, which still opens the backups of its time.

        Args:
            threshold: from 2 on; fewer shares say nothing of the key.
            count: how many are made, at most 16.

        Raises:
            KeystoreError: the root key is in a device, the numbers are out of bounds, or the extra `quorum` is not
                installed.
        """
        return quorum.split_root(self._root, threshold, count)

    def record(self, entries: Sequence[Entry]) -> None:
        """Append ledger entries and sign a checkpoint, inside an open transaction."""
        self._log.extend(entries)
        self._log.sign(self.issuer_identity.name, self.issuer_identity.signer)

    def _newest_certificate(self) -> Signed[IssuerCertificate]:
        frame = self.database.scalar("SELECT frame FROM certificates ORDER BY serial DESC LIMIT 1")
        return open_frame(bytes(frame), IssuerCertificate, self.identity_key)

    # Issuer and ledger

    def issuer(self, *, freeze_on_alarm: bool = False) -> Issuer:
        """Return an issuer with connections of its own; it may run in another thread.

        It reaches the vault when it first needs it, so it issues ahead without one.

        Args:
            freeze_on_alarm: stop a project's releases as soon as one of its decoys is asked for.
        """
        database = Database(self._home / "client.db", CLIENT_SCHEMA)
        follow(database, Log(database, self.client_id, self.certificate.message.epoch))
        return Issuer(
            database,
            self.identity_key,
            self.client_id,
            self.issuer_identity,
            self.keks,
            lambda: open_relay(self.vault, token=read_token(self._home)),
            self._clock,
            freeze_on_alarm=freeze_on_alarm,
        )

    def verify_ledger(self, older: str | None = None) -> LedgerSummary:
        """Recompute every ledger against its newest checkpoint: the one that is written, and those of before restores.

        Args:
            older: a signed note that someone kept of any of them; that ledger must extend it.

        Raises:
            LedgerError: an entry was altered, dropped, added or reordered, or a ledger forked from `older`.
            FormatError: `older` is no checkpoint.
        """
        return ledgers.verify_ledgers(self.ledgers(), older)

    def export_ledger(self, epoch: bytes | None = None) -> bytes:
        """Return a ledger as one file that verifies offline with public keys only.

        Args:
            epoch: of an older one, from before a restore, 16 bytes; None for the newest.

        Raises:
            LedgerError: there is none of this epoch, or it does not hold together.
        """
        ledger = ledgers.ledger_of(self.ledgers(), epoch)
        data = ledger.export()
        ledger.verify(data)
        return data

    def prove_ledger(self, old: int, epoch: bytes | None = None) -> bytes:
        """Return the newest checkpoint, with the proof that it continues an older one: what a witness is given.

        Args:
            old: entries that the witness saw; 0 if none.
            epoch: of an older ledger, from before a restore, 16 bytes; None for the newest.

        Raises:
            LedgerError: there is none of this epoch, or it never had so many entries, or it does not hold together.
        """
        return cosigning.prove(ledgers.ledger_of(self.ledgers(), epoch), old)

    def add_cosignatures(self, note: str, witnesses: Sequence[CosignerKey]) -> CosignedLedger:
        """Keep what witnesses say of a checkpoint, verified.

        Args:
            note: the checkpoint with their lines.
            witnesses: whose lines are kept.

        Raises:
            ForkError: our issuer signed it, and it is not of our ledger: the key, or a copy of this home, is in use
                elsewhere. Carries it, and our newest.
            LedgerError: about another ledger, or none of them cosigned it.
            SignatureError, FormatError: no note, or a signature in it is not valid.
        """
        return cosigning.add_cosignatures(self.database, self.ledgers(), note, witnesses)

    def cosigned(self, epoch: bytes | None = None) -> CosignedLedger | None:
        """Return the largest checkpoint that a witness cosigned, or None if there is none.

        Raises:
            LedgerError: there is no ledger of this epoch.
        """
        return cosigning.newest_cosigned(self.database, ledgers.ledger_of(self.ledgers(), epoch))

    def export_cosigned(self, epoch: bytes | None = None) -> bytes:
        """Return a ledger as far as witnesses cosigned it, with the checkpoint that they cosigned.

        Raises:
            LedgerError: nobody cosigned any of it, there is none of this epoch, or it does not hold together.
        """
        return cosigning.cosigned_export(self.database, ledgers.ledger_of(self.ledgers(), epoch))

    def ledgers(self) -> list[ledgers.KnownLedger]:
        """Return all ledgers, oldest first: one for each epoch, as far as it is known."""
        return ledgers.known_ledgers(self.database, self.identity_key)

    def backup(self, file: Path) -> BackupReport:
        """Seal a backup of this home under its root key, while its issuer and whoever seals go on.

        In it are catalog, grants, counters and ledgers, the wrapped KEKs, the vault's address and token, and the
        identity key if it is here. The root key is not: copy `root.keystore` apart, never to the vault. Nor is the
        issuer's key, which a restore makes anew.

        Args:
            file: a new file, whole or not there. If it is there, what changed since its newest part is added beside it,
                as `FILE.01` and so on; all parts before are opened first.

        Raises:
            BackupError: another backup of this home is being made, or what is there is none of this client, is damaged,
                incomplete or full.
            KeystoreForeignError: what is there was sealed under another root key.
            OutputError: the file can't be written.
            KeystoreError: a KEK does not open.
            StoreError: `client.db` refused.
        """
        return back_up(self, self._root, Path(file))

    def backup_to_vault(self, *, fresh: bool = False) -> BackupReport:
        """Seal a backup as `backup` does, and store it at the vault, as versions of an item that no queue names.

        What changed is added to what the vault has, which is fetched and opened first; when that has grown, a whole one
        is stored again. The vault deletes none.

        Args:
            fresh: store a whole one whatever the vault shows: where it lost some, or they don't open.

        Raises:
            BackupError: another backup is being made; or the vault shows less than it took, or what does not open.
            KeystoreError: a KEK does not open.
            ConflictError, StoreError, RelayError: `client.db` or the vault refused.
        """
        return back_up_to_vault(self, self._root, fresh=fresh)

    def backups(self) -> list[BackupRecord]:
        """Return the backups that this home knows of, newest last."""
        return backuprecords.backups(self.database)

    def replicate_ledger(self, folder: Path, *, best_effort: bool = False) -> None:
        """Keep a copy of the ledgers in a directory, from now on at each commit, whoever commits.

        What is committed is durable there before its answer leaves; where the copy can't be kept, nothing leaves and
        every change raises ReplicaError until it can be. A restore takes the copy over, and nothing is unknown then.
        A copy that was kept elsewhere before is ended.

        Args:
            folder: there already; on other disks than the home.
            best_effort: let answers leave also while the copy can't be kept. Then a restore can't rely on it, and the
                time from its last entry on stays unknown.

        Raises:
            ReplicaError: it can't be kept there, or the one before can't be ended.
        """
        replicating.replicate(self, Path(folder), best_effort=best_effort)

    def stop_replicating(self, *, force: bool = False) -> None:
        """Keep no copy of the ledger any more, and say so in the copy.

        Args:
            force: also where the copy can't be reached. It does not know then that it ended: destroy it, or a restore
                might take it for complete.

        Raises:
            ReplicaError: it can't be reached.
        """
        replicating.stop(self, force=force)

    def ledger_copy(self) -> LedgerCopy | None:
        """Return where a copy of the ledger is kept, and how far it is behind; None if none is."""
        return replicating.ledger_copy(self.database, self._log)

    def ledger_lines(self, last: int = 20, kind: str | None = None) -> list[LedgerLine]:
        """Return the newest entries, oldest first, with the catalog's names for what they name. Verifies nothing.

        Args:
            last: at most so many.
            kind: only entries of this kind, such as `released` or `denied`.

        Raises:
            FormatError: no such kind.
        """
        return browsing.ledger_lines(self.database, self._log, last, kind)

    def ledger_entries(self) -> list[Entry]:
        """Return the entries of all ledgers, oldest ledger first."""
        return [entry for ledger in self.ledgers() for entry in ledger.log.entries()]
