"""One project of a client: its items, and grants to open them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from labelvault.client.access import check_not_revoked
from labelvault.client.answers import AnswerReader
from labelvault.client.assigning import AssignmentRecord, assign
from labelvault.client.backupstage import erase_stage
from labelvault.client.catalog_project import CatalogProject
from labelvault.client.collecting import Collecting, aside
from labelvault.client.grants import GrantTerms, Scope, add_grant, resolve_scope
from labelvault.client.honey import plant
from labelvault.client.importing import ProjectFolder
from labelvault.client.key_records import RekeyPlan, RekeyReport, RotationReport
from labelvault.client.planning import plan_folder
from labelvault.client.records import (
    AsideRecord,
    CollectReport,
    ContractorRecord,
    GrantRecord,
    Progress,
    RestoredVersion,
    SealedFile,
    SealPlan,
    SealReport,
)
from labelvault.client.rekeying import exposed_versions, own_statement, plan_rekey, rekey
from labelvault.client.restoring import restore_version
from labelvault.client.rotating import Rotation, rotate_kek
from labelvault.client.sealing import seal_folder
from labelvault.client.single import seal_file
from labelvault.client.versions import ProjectKek, SealTarget, current_kek
from labelvault.envelope.stream import ByteSource
from labelvault.wire.messages import Limits
from labelvault.wire.times import truncate

if TYPE_CHECKING:
    pass


class Project(CatalogProject):
    """A project. Made by `Client.create_project` and `Client.project`.

    Attributes:
        name: what the client calls it; never leaves the client.
        project_id: 16 random bytes.
    """

    def seal(self, folder: Path, progress: Callable[[Progress], None] | None = None) -> SealReport:
        """Seal what is new or changed in a folder.

        Args:
            folder: with `guidelines/ rubrics/ gold/ tasks/ attachments/`, and perhaps a `labelvault.toml`.
            progress: called after each item.

        Returns:
            What was done. Faults are in it, each with file and line; they cost nothing but themselves.

        Raises:
            ProjectError: the folder, or its `labelvault.toml`, can't be used at all.
            StoreError, RelayError: catalog or vault failed; sealing again goes on where it stopped.
            KeystoreError: the project's KEK can't be used.
        """
        source = ProjectFolder(Path(folder))
        return seal_folder(source, self._target(source.settings.floor_bytes), progress)

    def seal_file(self, path: str, stream: ByteSource) -> SealedFile:
        """Seal one file from a stream of unknown length, such as a pipe, as if the folder had it under that path.

        What the stream gives waits in a file without a name in the client's home, encrypted under a key that this
        process alone has; then it is sealed like any large file. Up to 64 GiB; a task, 64 MiB. A `labelvault.toml` is
        not looked at: a file that is sealed already keeps labels and requirements, a new task requires all guidelines.
        The project folder is not touched: if it has other content there, its next `seal` seals that as changed.

        Args:
            path: under `guidelines/ rubrics/ gold/ tasks/ attachments/`; tasks that are rows need their folder.
            stream: binary, and read to its end, which is believed: who wrote into a pipe may have failed.

        Returns:
            What was done: nothing, if it is sealed as it is.

        Raises:
            ProjectError: no such path, the stream can't be read, or it gives more than an item or the way to the vault
                takes; nothing was sealed.
            StoreError, RelayError: disk, catalog or vault failed; the old version is current, or the new one.
            KeystoreError: the project's KEK can't be used.
        """
        return seal_file(self._target(), path, stream, self._client.home)

    def plan(self, folder: Path) -> SealPlan:
        """Say what `seal` would do, and what the vendor would see of it. Writes nothing, and needs no vault.

        Args:
            folder: as for `seal`.

        Raises:
            ProjectError: the folder, or its `labelvault.toml`, can't be used at all.
            StoreError: the catalog can't be read.
        """
        database, source = self._client.database, ProjectFolder(Path(folder))
        floor_bytes = int(database.scalar("SELECT floor_bytes FROM projects WHERE project = ?", self.project_id))
        return plan_folder(source, database, self.project_id, max(floor_bytes, source.settings.floor_bytes))

    def restore_version(self, item: bytes, version: int) -> RestoredVersion:
        """Make an old version current: read it back, check it, and seal it again as a new version under a fresh DEK.

        It takes constant memory, whatever the size. Its batch is the item's, as it is now. The project folder is not
        touched: if it still has other content, the next `seal` of it seals that as changed.

        Args:
            item: 16 bytes.
            version: not the current one.

        Raises:
            ProjectError: no such version, or it is current.
            TamperedError, DecryptionError: the vault served other bytes than were sealed; nothing was changed.
            StoreError, RelayError: catalog or vault failed; the old version is current, or the new one.
            FormatError: too large for the way to the vault.
            KeystoreError: a KEK can't be used.
        """
        return restore_version(self._origin(), self._target(), item, version)

    def exposed(self, statement: bytes) -> list[tuple[bytes, int]]:
        """Return (item id, version) of all of this project that a statement calls exposed, unconfirmed or unknown.

        Args:
            statement: its file, from this client.

        Raises:
            FormatError: not a statement's file.
            SignatureError, LedgerError: not one of this client's, or altered.
        """
        _, rows = own_statement(statement, self._client.client_id)
        return exposed_versions(rows, self.project_id)

    def plan_rekey(self, items: Sequence[bytes | tuple[bytes, int]]) -> RekeyPlan:
        """Say what `rekey` would do. Changes nothing.

        Raises:
            ProjectError: an item is not in the project.
        """
        return plan_rekey(self._origin(), items)

    def rekey(
        self,
        items: Sequence[bytes | tuple[bytes, int]],
        progress: Callable[[Progress], None] | None = None,
        *,
        drop_old: bool = False,
    ) -> RekeyReport:
        """Seal what was exposed again, as the next version under a fresh DEK, which is released from then on.

        Read back from the vault, checked, and sealed in constant memory. The exposed bytes stay readable to whoever has
        their key. Interrupted, each item has its old version or its new one as the current one; with versions named,
        calling it again goes on.

        Args:
            items: ids; or (id, version), as `exposed` gives them: one that is not current any more is done already.
            progress: called after each item.
            drop_old: destroy the wraps of these items' older versions too, on record. Nobody who has no other copy of
                their keys opens those any more, the client included; whoever was given a key still has it.

        Returns:
            What was done. What could not be is in it, and as it was.

        Raises:
            ProjectError: an item is not in the project; nothing was changed.
            ShreddedError: the project was shredded.
            RelayError: the vault can't be reached.
            StoreError, KeystoreError: catalog or keys can't be used.
            BackupError: wraps were dropped while a backup was being made, which has them; calling it again goes on.
        """
        report = rekey(self._origin(), self._target(), items, progress, drop_old=drop_old)
        if drop_old:
            erase_stage(self._client.home)
        return report

    def rotate_kek(self, progress: Callable[[Progress], None] | None = None) -> RotationReport:
        """Wrap all DEKs under a new KEK and destroy the old one. Touches neither the vault nor what is sealed.

        Issuers and sealing in other processes go on meanwhile. Interrupted, nothing is lost, and calling it again goes
        on. It shuts out whoever has the old KEK alone, or takes `client.db` later: a thief who has both as they were
        opens what was sealed by then, whatever is done now; `rekey` is for what is still needed of it.

        Args:
            progress: called after each transaction.

        Raises:
            ShreddedError: the project was shredded.
            KeystoreError: a KEK can't be stored or used.
            StoreError: `client.db` refused, or a wrap in it is damaged: then the old KEK is kept.
        """
        client = self._client
        now, check_root = client.now(), client.check_root
        rotation = Rotation(
            client.home, client.database, client.keks, client.client_id, self.project_id, client.record, check_root, now
        )
        return rotate_kek(rotation, progress)

    def _target(self, floor_bytes: int = 0) -> SealTarget:
        """Return where to seal to.

        Args:
            floor_bytes: the project's own padding floor counts if it is larger.
        """
        client, now = self._client, self._client.now()
        current_kek(client.database, self.project_id)
        floor = int(client.database.scalar("SELECT floor_bytes FROM projects WHERE project = ?", self.project_id))
        return SealTarget(
            database=client.database,
            relay=client.relay(),
            client=client.client_id,
            project=self.project_id,
            floor_bytes=max(floor, floor_bytes),
            kek=ProjectKek(client.database, client.keks, self.project_id),
            record=client.record,
            now=now,
            beside=client.beside,
        )

    def plant_honey(self, count: int) -> int:
        """Have decoys sealed by the next runs of `seal`, among what those seal for the first time.

        A decoy is of no use to anybody but a thief: asked for, it is denied like anything unknown and raises an alarm.
        It goes along with new items that stand in no queue (anything but tasks), never more of them than of those, so
        plant before such items are sealed. What unmasks decoys: SECURITY.md.

        Args:
            count: how many more, 1 or more; a project has at most 10,000.

        Returns:
            How many wait to be sealed now.

        Raises:
            ProjectError: fewer than one, or too many.
            ShreddedError: the project was shredded.
        """
        return plant(self._client.database, self.project_id, count, self._client.now())

    def collect(self, folder: Path, *, format: str = "jsonl") -> CollectReport:
        """Write the answers that came into new files of a folder, each answer once, also after a crash.

        First takes what waits in the mailbox, receipts too, without releasing anything. Files are `answers-0001.jsonl`
        and so on (docs/cli.md), mode 0600; answers that are neither JSON nor text are files beside them. What a run
        began and did not finish is finished first, where it was begun. Of several answers under one lease the highest
        `sequence` counts.

        Args:
            folder: made if it is not there.
            format: `jsonl`, or `label-studio`.

        Raises:
            FormatError: no such format.
            OutputError: the folder can't be written, or holds something else under a name that was begun.
            StoreError, RelayError: `client.db` or the vault failed; what is not written waits.
            KeystoreError: the project's submission key can't be used.
        """
        with self._client.issuer() as issuer:
            issuer.answer(release=False)
        return self._collecting().run(Path(folder), format)

    def collect_again(self, number: int, folder: Path, *, format: str = "jsonl") -> CollectReport:
        """Write the answers of one collection once more, into another folder; what was collected stays so.

        Raises:
            ProjectError: there is no such collection of this project.
            DecryptionError, TamperedError, NotFoundError: a large answer is not at the vault any more as it was.
            FormatError, OutputError, StoreError, RelayError, KeystoreError: as `collect`.
        """
        return self._collecting().again(number, Path(folder), format)

    def aside(self) -> list[AsideRecord]:
        """List answers that were not accepted or did not open, oldest first."""
        return aside(self._client.database, self.project_id)

    def _collecting(self) -> Collecting:
        client = self._client
        key = client.submission_key(self.project_id)
        reader = AnswerReader(client.database, client.relay(), client.client_id, key)
        return Collecting(client.database, reader, self.project_id, client.now())

    def grant(
        self,
        contractor: ContractorRecord | str,
        scope: Scope,
        *,
        expires_at: datetime,
        limits: Limits,
        not_before: datetime | None = None,
        waive_presence: bool = False,
    ) -> GrantRecord:
        """Let a contractor open tasks. Scope, limits and expiry are mandatory.

        Args:
            contractor: enrolled, by record or name.
            scope: what it may open.
            expires_at: aware UTC; no lease outlives it.
            limits: caps.
            not_before: aware UTC; now by default.
            waive_presence: for a desk without a presence device, at the price of the weaker statement.

        Raises:
            ShreddedError: the project was shredded.
            GrantError: or one of its kinds, as to what can't be granted.
            EnrolmentError: no such contractor.
            KeystoreError: the identity key can't be used.
        """
        client, now = self._client, self._client.now()
        check_not_revoked(client, self.project_id)
        record = client.contractor(contractor.name if isinstance(contractor, ContractorRecord) else contractor)
        terms = GrantTerms(limits, truncate(not_before) if not_before else now, truncate(expires_at), waive_presence)
        resolved = resolve_scope(client.database, self.project_id, scope)
        grant_id = add_grant(client, self.project_id, record, resolved, terms, now=now)
        return next(r for r in client.grants(self.name) if r.grant_id == grant_id)

    def assign(
        self,
        desk: ContractorRecord | str,
        items: Sequence[str | bytes],
        *,
        expires_at: datetime,
        label: str | None = None,
        post: bool = True,
    ) -> list[AssignmentRecord]:
        """Tell a desk's presence device which tasks the desk is meant to open. It authorises nothing.

        Args:
            desk: enrolled, by record or name.
            items: tasks, by id (16 bytes, or 32 hex digits) or name.
            expires_at: when the assignments end, aware UTC.
            label: what the device shows for each; the vendor relays it in clear. By default the first digits of the id.
            post: leave them at the vault for the device; else carry each record's `frame` to it.

        Raises:
            EnrolmentError: no such contractor.
            GrantError: or one of its kinds: it has no presence device, is not granted these tasks, or the time is over.
            FormatError: the label has more than 200 bytes.
            RelayError, StoreError: the vault can't be reached. Some may be posted by then; again doubles nothing.
        """
        record = self._client.contractor(desk if isinstance(desk, str) else desk.name)
        return assign(self._client, self.project_id, record, items, label, expires_at, post)
