"""The client's facade: a home with its keys and `client.db`, and everything that a lab does with them.

A home holds `root.keystore` (or whatever the root provider keeps), `identity.key` and `issuer.key` wrapped by the root,
`keks/` with one wrapped KEK a file, `client.db`, and `config.json` with the vault's address.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

from labelvault.client import access, browsing, queries, rerooting, shredding
from labelvault.client.browsing import LedgerLine, ProjectRecord
from labelvault.client.exposure import ExposureStatement, make_statement
from labelvault.client.grants import task_batch_id
from labelvault.client.home import create_home, read_vault_address
from labelvault.client.key_records import ShredReport
from labelvault.client.project import Project
from labelvault.client.records import ContractorRecord, GrantRecord, LedgerSummary, StatedItem
from labelvault.client.versions import current_kek
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.random import random_bytes
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES
from labelvault.errors import EnrolmentError, GrantError, KeystoreError, ProjectError, StoreError
from labelvault.issuer.log import Log
from labelvault.issuer.release import IssuerIdentity
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.issuer.service import Issuer
from labelvault.issuer.state import State
from labelvault.keys.cards import client_fingerprint
from labelvault.keys.identity import load_signing_key
from labelvault.keys.kek import KekFiles
from labelvault.keys.root import RootKey, RootKeyProvider
from labelvault.keys.submission import load_submission_key, make_submission_key
from labelvault.keys.token import read_token
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Entry
from labelvault.relay import Relay, open_relay
from labelvault.relay.local import utc_now
from labelvault.wire.frame import Signed, open_frame, sign_message
from labelvault.wire.ids import ID_BYTES, ClientId, ProjectId, client_id
from labelvault.wire.messages import Invite, IssuerCertificate
from labelvault.wire.times import to_ms, truncate


class Client:
    """A lab's home, opened.

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
        rerooting.conclude_root(home, self.database, root, self.record, self.now)

    @classmethod
    def create(
        cls, home: Path, root: RootKeyProvider, vault: str, *, clock: Callable[[], datetime] = utc_now
    ) -> "Client":
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
    def open(cls, home: Path, root: RootKeyProvider, *, clock: Callable[[], datetime] = utc_now) -> "Client":
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

    def __enter__(self) -> "Client":
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

    def relay(self) -> Relay:
        """Return the way to the vault.

        Raises:
            RelayError: it can't be reached.
        """
        if self._relay is None:
            self._relay = open_relay(self.vault, token=read_token(self._home))
        return self._relay

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

    def record(self, entries: Sequence[Entry]) -> None:
        """Append ledger entries and sign a checkpoint, inside an open transaction."""
        for entry in entries:
            self._log.append(entry)
        self._log.sign(self.issuer_identity.name, self.issuer_identity.signer)

    def _newest_certificate(self) -> Signed[IssuerCertificate]:
        frame = self.database.scalar("SELECT frame FROM certificates ORDER BY serial DESC LIMIT 1")
        return open_frame(bytes(frame), IssuerCertificate, self.identity_key)

    # Projects

    def create_project(self, name: str, *, floor_bytes: int = DEFAULT_FLOOR_BYTES) -> Project:
        """Make a project with a KEK of its own.

        Args:
            name: the client's name for it; never leaves the client.
            floor_bytes: nothing is padded to less; 256 to 1,048,576.

        Raises:
            ProjectError: the name is taken, empty or too long, or the floor is out of its bounds.
            KeystoreError: the KEK can't be stored.
        """
        if not name.strip() or len(name.encode()) > access.MAX_NAME_BYTES:
            raise ProjectError(
                f"a project's name has 1 to {access.MAX_NAME_BYTES} bytes", next_step="Choose another name."
            )
        if not 256 <= floor_bytes <= 1024 * 1024:
            raise ProjectError(
                "the padding floor lies outside 256 to 1,048,576 bytes", next_step="Choose another --floor-bytes."
            )
        if self.database.row("SELECT 1 FROM projects WHERE name = ?", name):
            raise ProjectError(
                f"there is a project named {name!r} already",
                next_step="Seal into it (labelvault client seal PROJECT FOLDER), or choose another name.",
            )
        project = ProjectId(random_bytes(ID_BYTES))
        kek = self.keks.create(project)
        submission_key, wrapped = make_submission_key(self._root, self.client_id, project)
        with self.database.transaction():
            self.check_root()
            self.database.execute(
                "INSERT INTO projects VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, NULL, NULL)",
                project,
                name,
                floor_bytes,
                kek.kek_id,
                kek.generation,
                submission_key,
                wrapped,
                to_ms(self.now()),
            )
        return Project(self, project, name)

    def project(self, name: str) -> Project:
        """Return a project by its name.

        Raises:
            ProjectError: there is none of that name.
        """
        row = self.database.row("SELECT project FROM projects WHERE name = ?", name)
        if row is None:
            raise ProjectError(
                f"there is no project named {name!r}",
                next_step="See what there is: labelvault client ls; or make it: labelvault client project create.",
            )
        return Project(self, ProjectId(bytes(row[0])), name)

    def submission_key(self, project: bytes) -> OneTimeKey:
        """Unwrap the key that a project's answers are sealed to.

        Raises:
            ShreddedError: it was destroyed.
            KeystoreError: it is not this project's.
        """
        current_kek(self.database, project)
        wrapped = self.database.scalar("SELECT submission_wrapped FROM projects WHERE project = ?", project)
        return load_submission_key(self._root, self.client_id, project, bytes(wrapped))

    def projects(self) -> list[Project]:
        """List projects by name."""
        rows = self.database.rows("SELECT project, name FROM projects ORDER BY name")
        return [Project(self, ProjectId(bytes(project)), str(name)) for project, name in rows]

    def project_records(self) -> list[ProjectRecord]:
        """List projects by name, with their state and how much of everything they have."""
        return browsing.project_records(self.database)

    # Contractors

    def enroll(self, card: bytes, *, fingerprint: str, name: str) -> ContractorRecord:
        """Enrol a contractor whose card and spoken fingerprint belong together.

        Args:
            card: the card's bytes, however they came.
            fingerprint: what the contractor read aloud, out of band.
            name: what the client calls it.

        Raises:
            EnrolmentError: the fingerprint is another card's, or name or key are taken.
            SignatureError: the card is not signed by its own keys, or a key is no valid one.
            FormatError: these bytes are no card.
        """
        access.enroll(self, card, fingerprint, name)
        return self.contractor(name)

    def contractors(self) -> list[ContractorRecord]:
        """List enrolled contractors by name."""
        return queries.contractors(self.database)

    def contractor(self, name: str) -> ContractorRecord:
        """Return a contractor by its name.

        Raises:
            EnrolmentError: none of that name is enrolled.
        """
        for record in self.contractors():
            if record.name == name:
                return record
        raise EnrolmentError(
            f"no contractor named {name!r} is enrolled",
            next_step="See who is: labelvault client ls; or enrol a card: labelvault client enroll CARD --name NAME.",
        )

    # Grants

    def grants(self, project: str | None = None) -> list[GrantRecord]:
        """List grants, newest last, of one project or of all."""
        return queries.grants(self.database, self.identity_key, project, self.now())

    def find_grant(self, start: str) -> bytes:
        """Return the id of the one grant whose id begins so.

        Args:
            start: hex digits.

        Raises:
            GrantError: none does, or several.
        """
        return queries.find_grant(self.database, start)

    def invite(self, grant_id: bytes) -> bytes:
        """Make the one file with which a contractor joins.

        Args:
            grant_id: 16 bytes.

        Raises:
            GrantError: no such grant.
            KeystoreError: the identity key can't be used.
        """
        row = self.database.row("SELECT frame, project FROM grants WHERE grant_id = ?", grant_id)
        if row is None:
            raise GrantError("there is no grant of this id", next_step=queries.SEE_GRANTS)
        invite = Invite(
            client=self.client_id,
            project=bytes(row[1]),
            certificate=self.certificate.data,
            grant=bytes(row[0]),
            vault=self.vault,
            at=self.now(),
        )
        return sign_message(invite, self.identity()).data

    def revoke_grant(self, grant_id: bytes) -> bool:
        """Refuse everything that stands on a grant, at once and for good. What was opened stays seen.

        Returns:
            Whether a status that says so is at the vault already; if not, the next one is.

        Raises:
            GrantError: no such grant.
        """
        return access.revoke(self, "grants", "grant_id", "grant", grant_id)

    def revoke_contractor(self, name: str) -> bool:
        """Refuse everything that a contractor's key asks for, at once and for good. What was opened stays seen.

        Returns:
            As `revoke_grant`.

        Raises:
            EnrolmentError: no such contractor.
        """
        return access.revoke(self, "contractors", "key", "contractor", self.contractor(name).key)

    def revoke_batch(self, project: str, batch: str) -> bool:
        """Refuse every task of a batch to everybody, at once and for good, also tasks that are sealed into it later.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
            GrantError: it has no batch of tasks of this name.
        """
        found = self.project(project)
        return access.revoke(self, "batches", "batch", "batch", task_batch_id(self.database, found.project_id, batch))

    def revoke_project(self, name: str) -> bool:
        """Refuse everything of a project to everybody, at once and for good; `freeze` is what can be undone.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
        """
        return access.revoke(self, "projects", "project", "project", self.project(name).project_id)

    def freeze(self, project: str) -> bool:
        """Stop all releases of a project, until `unfreeze`.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
        """
        return access.set_frozen(self, self.project(project).project_id, frozen=True)

    def unfreeze(self, project: str) -> bool:
        """Allow releases of a project again.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
        """
        return access.set_frozen(self, self.project(project).project_id, frozen=False)

    def shred(self, project: str, *, confirm: str) -> ShredReport:
        """Destroy a project's keys for good: KEKs, wraps, and the key of its answers. What it sealed opens no more.

        Leases that live go on opening until they end. Copies of this home that were made elsewhere still hold the keys:
        destroy those, too. Killed anywhere, the project stays shut, and calling it again goes on.

        Args:
            project: its name.
            confirm: its name once more, from whoever wants this.

        Raises:
            ProjectError: no such project, or the names differ: nothing was changed.
            ShreddedError: it was shredded already.
            KeystoreError: a key's file can't be destroyed.
            StoreError: `client.db` refused, or another process keeps it from being cleaned.
        """
        shredding.check_confirmed(project, confirm)
        found, now = self.project(project).project_id, self.now()
        return shredding.shred(self.database, self.keks, found, self.record, now)

    # Issuer and ledger

    def issuer(self) -> Issuer:
        """Return an issuer with connections of its own; it may run in another thread.

        It reaches the vault when it first needs it, so it issues ahead without one.
        """
        return Issuer(
            Database(self._home / "client.db", CLIENT_SCHEMA),
            self.identity_key,
            self.client_id,
            self.issuer_identity,
            self.keks,
            lambda: open_relay(self.vault, token=read_token(self._home)),
            self._clock,
        )

    def verify_ledger(self, older: str | None = None) -> LedgerSummary:
        """Recompute the whole ledger against its newest checkpoint.

        Args:
            older: a signed note that someone kept; the ledger must extend it.

        Raises:
            LedgerError: an entry was altered, dropped, added or reordered, or the ledger forked from `older`.
        """
        return queries.verify_ledger(self._log, self.issuer_identity, older)

    def export_ledger(self, epoch: bytes | None = None) -> bytes:
        """Return a ledger as one file that verifies offline with public keys only.

        Args:
            epoch: of an older one, from before a restore, 16 bytes; None for the newest.

        Raises:
            LedgerError: there is none of this epoch, or it does not hold together.
        """
        log = self._log if epoch is None else Log(self.database, self.client_id, epoch)
        issuer = queries.issuer_keys(self.database, self.identity_key).get(log.epoch)
        return queries.ledger_export(log, self.issuer_identity.name, issuer)

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
        """Return all entries in order."""
        return self._log.entries()

    def stated(self, contractors: Sequence[str] | None, start: datetime, end: datetime) -> list[StatedItem]:
        """Say what the ledger states as open at a surface in a window.

        Args:
            contractors: names whose keys lay on the surface; None for the vendor's host alone.
            start: aware UTC.
            end: aware UTC.

        Returns:
            One row for each item version and release.
        """
        names = {record.key: record.name for record in self.contractors()}
        keys = None
        if contractors is not None:
            keys = frozenset(self.contractor(name).key for name in contractors)
        return queries.stated(self.database, self.ledger_entries(), keys, names, start, end)

    def statement(self, surface: str, start: datetime, end: datetime, project: str | None = None) -> ExposureStatement:
        """State, signed, what could be read at a surface in a window: a verdict for every item version.

        Args:
            surface: `vendor` (its host, with every desk), `desk:NAME`, `contractor:NAME` or `all`.
            start: when somebody may first have held it, aware UTC in whole milliseconds.
            end: when that was over; included.
            project: only this one's items.

        Raises:
            FormatError: another surface, a time that the ledger can't hold, or a window that ends before it begins.
            EnrolmentError, ProjectError: no such contractor, desk or project.
            LedgerError: the ledger does not hold together.
        """
        return make_statement(self, surface, start, end, project)
