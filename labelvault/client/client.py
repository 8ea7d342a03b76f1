"""The client's facade: a home with its keys and `client.db`, and everything that a lab does with them.

A home holds `root.keystore` (or whatever the root provider keeps), `identity.key` and `issuer.key` wrapped by the root,
`keks/` with one wrapped KEK a file, `client.db`, and `config.json` with the vault's address.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from labelvault.client import access, browsing, queries, shredding
from labelvault.client.browsing import ProjectRecord
from labelvault.client.containing import contain
from labelvault.client.containment_plan import make_plan, read_case
from labelvault.client.containment_records import NO_ORDERS, ContainmentPlan, ContainmentReport, Orders
from labelvault.client.drilling import Loot, drill_again
from labelvault.client.exposure import ExposureStatement, make_statement
from labelvault.client.grants import task_batch_id
from labelvault.client.key_records import ShredReport
from labelvault.client.opened import OpenedClient
from labelvault.client.project import Project
from labelvault.client.records import ContractorRecord, GrantRecord, Progress, StatedItem
from labelvault.client.versions import current_kek
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.random import random_bytes
from labelvault.envelope.padding import DEFAULT_FLOOR_BYTES
from labelvault.errors import EnrolmentError, GrantError, ProjectError
from labelvault.keys.submission import load_submission_key, make_submission_key
from labelvault.wire.frame import open_frame, sign_message
from labelvault.wire.ids import ID_BYTES, ProjectId
from labelvault.wire.messages import Grant, Invite
from labelvault.wire.times import to_ms


class Client(OpenedClient):
    """A lab's home, opened: `create` makes one, `open` opens it.

    Attributes:
        client_id: 32 bytes, the hash of the identity key.
        vault: the vault's address.
        certificate: the issuer's, signed by the identity key.
    """

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
        issuer = self.certificate.message.issuer
        return queries.grants(self.database, self.identity_key, issuer, project, self.now())

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
        if open_frame(bytes(row[0]), Grant, self.identity_key).message.issuer != self.certificate.message.issuer:
            raise GrantError(
                "this grant ended when the home was restored",
                next_step="Grant anew: labelvault client grant PROJECT CONTRACTOR.",
            )
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
        access.revoke(self, "grants", "grant_id", "grant", grant_id)
        return access.announced(self)

    def revoke_contractor(self, name: str) -> bool:
        """Refuse everything that a contractor's key asks for, at once and for good. What was opened stays seen.

        Returns:
            As `revoke_grant`.

        Raises:
            EnrolmentError: no such contractor.
        """
        access.revoke(self, "contractors", "key", "contractor", self.contractor(name).key)
        return access.announced(self)

    def revoke_desk(self, name: str) -> bool:
        """Refuse everything that a desk's key asks for, as `revoke_contractor` does; a person is left alone.

        Returns:
            As `revoke_grant`.

        Raises:
            EnrolmentError: no such contractor, or no desk.
        """
        if self.contractor(name).tier != "desk":
            raise EnrolmentError(
                f"{name!r} is no desk, but a contractor with a helper",
                next_step=f"If you mean this person: labelvault client revoke contractor {name}.",
            )
        return self.revoke_contractor(name)

    def revoke_batch(self, project: str, batch: str) -> bool:
        """Refuse every task of a batch to everybody, at once and for good, also tasks that are sealed into it later.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
            GrantError: it has no batch of tasks of this name.
        """
        found = self.project(project)
        access.revoke(self, "batches", "batch", "batch", task_batch_id(self.database, found.project_id, batch))
        return access.announced(self)

    def revoke_project(self, name: str) -> bool:
        """Refuse everything of a project to everybody, at once and for good; `freeze` is what can be undone.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
        """
        access.revoke(self, "projects", "project", "project", self.project(name).project_id)
        return access.announced(self)

    def freeze(self, project: str) -> bool:
        """Stop all releases of a project, until `unfreeze`.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
        """
        access.set_frozen(self, self.project(project).project_id, frozen=True)
        return access.announced(self)

    def unfreeze(self, project: str) -> bool:
        """Allow releases of a project again.

        Returns:
            As `revoke_grant`.

        Raises:
            ProjectError: no such project.
            GrantRevokedError: it was revoked.
        """
        project_id = self.project(project).project_id
        access.check_not_revoked(self, project_id)
        access.set_frozen(self, project_id, frozen=False)
        return access.announced(self)

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
            BackupError: a backup that began before is being made.
        """
        shredding.check_confirmed(project, confirm)
        found, now = self.project(project).project_id, self.now()
        return shredding.shred(self.home, self.database, self.keks, found, self.record, now)

    # What the ledger states

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

    def plan_containment(self, statement: bytes, orders: Orders = NO_ORDERS) -> ContainmentPlan:
        """Say what `contain` would do, with counts. Writes nothing, not even the time.

        Raises:
            FormatError: not a statement's file.
            SignatureError, LedgerError: not this client's, or altered; or the ledger does not hold together.
            EnrolmentError, GrantError: somebody can't take over as `orders` say.
            ClockError: this machine's clock runs behind.
        """
        return make_plan(self, read_case(self, statement), orders)

    def contain(
        self,
        statement: bytes,
        orders: Orders = NO_ORDERS,
        *,
        loot: Loot | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ContainmentReport:
        """Contain what a statement states: freeze, revoke, drop, seal again, pass on; then let the drill loose.

        Projects that are concerned are frozen. Every identity whose key lay on the surface is revoked, and the vault
        told, which drops leases that wait there. What is exposed, unconfirmed or unknown, by the statement or by the
        ledger since, and is current, becomes a new version under a fresh key, read back before it is current. Open work
        goes to the successors that `orders` name. Killed anywhere, or failing in part, calling it again goes on; when
        all is done, it changes nothing.

        Args:
            statement: its file, from this client.
            orders: what is to be decided by people.
            loot: copies of what was stolen, for the drill, which then comes before anything is thawed.
            progress: called after each item that is sealed again, project by project.

        Returns:
            What was done. What could not be is in it, and as it was.

        Raises:
            As `plan_containment`: nothing was changed.
            StoreError: `client.db` refused.
            DrillError: the drill can't read the loot; all that comes before it is done.
        """
        drill = None if loot is None else partial(drill_again, self, loot)
        return contain(self, statement, orders, drill, progress)
