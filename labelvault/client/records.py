"""What the client's facade hands out: plain values, without keys."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from labelvault.errors import LabelVaultError, ProjectError
from labelvault.wire.messages import Limits


@dataclass(frozen=True, slots=True)
class ContractorRecord:
    """An enrolled contractor.

    Attributes:
        name: what the client calls it.
        key: its identity key, 32 bytes.
        tier: `helper` or `desk`.
        host_label: what its card says of the host; declared, not attested.
        presence_key: 32 bytes at a desk that has a presence device, else None.
        revoked: whether it was revoked, for good.
    """

    name: str
    key: bytes
    tier: str
    host_label: str
    presence_key: bytes | None
    revoked: bool

    @property
    def has_presence(self) -> bool:
        """Whether the card names a presence device."""
        return self.presence_key is not None


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """A grant and what was used of it.

    Attributes:
        grant_id: 16 bytes.
        presence: `device`, `key` or `waived`.
        open: leases that are live now.
        total: leases ever, renewals included.
        revoked: whether it, its contractor or its project was revoked; or it is of before a restore, which ends all.
        last_hour: leases of the last 3,600 s.
        batches: names of the batches whose tasks may be opened.
        tasks: names of the single tasks that may be.
    """

    grant_id: bytes
    contractor: str
    project: str
    tier: str
    presence: str
    not_before: datetime
    expires_at: datetime
    limits: Limits
    open: int
    total: int
    revoked: bool
    last_hour: int
    batches: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item's current version.

    Attributes:
        item: 16 bytes.
        batch: the batch's name, for tasks and gold.
        size: of the content, in bytes.
        payload_bytes: what the vault stores.
        requires: item ids, 16 bytes each.
    """

    item: bytes
    name: str
    kind: str
    batch: str | None
    version: int
    size: int
    payload_bytes: int
    sealed_at: datetime
    requires: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far sealing or exporting is.

    Attributes:
        done: items.
        total: about how many there are.
        content_bytes: of the content of those that are done, and of what was read so far of a large one.
        total_bytes: of all content, about.
    """

    done: int
    total: int
    content_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class OpeningSummary:
    """What one opening of a task brings, for the tasks of a batch that bring the same.

    Attributes:
        batch: the batch's name.
        tasks: how many tasks.
        requires: names of all that opens with each of them.
    """

    batch: str
    tasks: int
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealReport:
    """What sealing a folder did.

    Attributes:
        new: items sealed for the first time.
        changed: items sealed as a new version.
        same: items left as they were.
        gone: items of the catalog that the folder no longer has; they stay sealed.
        errors: what could not be sealed, each with file and line; nothing else was lost by it.
        openings: what one opening brings.
        honey: decoys that went along; they are in none of the numbers above.
        honey_pending: decoys that wait for more new items that stand in no queue.
    """

    new: int
    changed: int
    same: int
    gone: int
    errors: tuple[ProjectError, ...]
    openings: tuple[OpeningSummary, ...]
    honey: int = 0
    honey_pending: int = 0


@dataclass(frozen=True, slots=True)
class HoneyRecord:
    """A decoy.

    Attributes:
        item: 16 bytes.
        planted_at: when it was asked for.
        sealed_at: when it went to the vault; None while it waits for items to go along with.
        payload_bytes: what the vault stores; None while it waits.
    """

    item: bytes
    planted_at: datetime
    sealed_at: datetime | None
    payload_bytes: int | None


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """What sealing puts into one of the queues that the vendor sees, under a random id.

    Attributes:
        batch: its name, which the vendor does not see.
        tasks: in the folder.
        sealed: of these, what would be sealed now.
    """

    batch: str
    tasks: int
    sealed: int


@dataclass(frozen=True, slots=True)
class SealPlan:
    """What sealing a folder would do. Nothing was done.

    Attributes:
        new: sources of items that would be sealed for the first time: a path; of a row, `#` and its id behind it.
        changed: sources of items that would be sealed as a new version.
        same: how many would be left as they are.
        gone: how many of the catalog the folder no longer has.
        errors: as in `SealReport`.
        openings: likewise.
        sizes: what the vendor would see of new and changed items: (padded and sealed size in bytes, how many).
        queues: likewise; what is no task stands in none.
        honey: decoys that would go along at most, at sizes of new or old items in no queue; they are not in `sizes`.
        honey_pending: decoys that would go on waiting.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    gone: int
    errors: tuple[ProjectError, ...]
    openings: tuple[OpeningSummary, ...]
    sizes: tuple[tuple[int, int], ...]
    queues: tuple[QueueSummary, ...]
    honey: int = 0
    honey_pending: int = 0


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of an item.

    Attributes:
        size: of the content, in bytes.
        payload_bytes: what the vault stores.
        current: whether it is the one that is opened.
    """

    version: int
    size: int
    payload_bytes: int
    sealed_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """One of two versions that were compared.

    Attributes:
        size: of the content, in bytes.
        sha256: of the content, 32 bytes.
        labels: (name, value).
        requires: item ids, 16 bytes each.
    """

    version: int
    name: str
    media_type: str
    size: int
    sha256: bytes
    labels: tuple[tuple[str, str], ...]
    requires: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Two versions of an item, read back and compared.

    Attributes:
        item: 16 bytes.
        source: its path; of a row, `#` and its id behind it.
        diff: lines of a unified diff, without their ends; plaintext. None if one of them is no text, or too long.
    """

    item: bytes
    source: str
    old: ComparedVersion
    new: ComparedVersion
    diff: tuple[str, ...] | None = field(repr=False)

    @property
    def same_content(self) -> bool:
        """Whether both hold the same bytes."""
        return (self.old.size, self.old.sha256) == (self.new.size, self.new.sha256)


@dataclass(frozen=True, slots=True)
class RestoredVersion:
    """An old version that was sealed again, as a new one.

    Attributes:
        item: 16 bytes.
        source: its path; of a row, `#` and its id behind it.
        path: of the file in the project folder, which was not touched.
        restored: the old version's number.
        version: the new one's, which is current.
        size: of the content, in bytes.
    """

    item: bytes
    source: str
    path: str
    restored: int
    version: int
    size: int


@dataclass(frozen=True, slots=True)
class SealedFile:
    """What sealing one file did.

    Attributes:
        item: 16 bytes.
        outcome: `new`, `changed` or `same`.
        version: the current one.
        size: of the content, in bytes.
    """

    item: bytes
    outcome: str
    version: int
    size: int


@dataclass(frozen=True, slots=True)
class ExportFault:
    """An item version that could not be given back.

    Attributes:
        source: its path; of a row, `#` and its id behind it.
        item: 16 bytes.
        error: why.
    """

    source: str
    item: bytes
    version: int
    error: LabelVaultError


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        items: how many were given back.
        files: in how many files.
        faults: what was not.
    """

    items: int
    files: int
    faults: tuple[ExportFault, ...]


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """A ledger that was recomputed and holds.

    Attributes:
        size: entries.
        origin: of its checkpoints.
        checkpoint: the newest signed note.
        verifier_key: the issuer's key in signed-note form, for whoever verifies an export.
        before: the ledgers of before each restore, oldest first, as far as they are known; they hold, too.
    """

    size: int
    origin: str
    checkpoint: str
    verifier_key: str
    before: tuple["LedgerSummary", ...] = ()


@dataclass(frozen=True, slots=True)
class CosignedLedger:
    """How far witnesses cosigned a ledger.

    Attributes:
        origin: which.
        size: entries under the checkpoint.
        note: the checkpoint, with the cosignatures.
    """

    origin: str
    size: int
    note: str


@dataclass(frozen=True, slots=True)
class StatedItem:
    """An item version that the ledger states as open at a surface.

    Attributes:
        item: 16 bytes.
        lease_id: 32 bytes, the release that opened it.
        contractor: the contractor's name.
        tier: `helper` or `desk`.
        erasure: how the ledger says its keys were erased.
    """

    name: str
    kind: str
    item: bytes
    version: int
    lease_id: bytes
    contractor: str
    tier: str
    erasure: str


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What collecting did.

    Attributes:
        files: what was written, or found whole: one for each collection.
        answers: in them.
        attachments: answers that are files of their own.
        aside: answers that did not open, and were kept aside with the reason; what the vault lacks or has altered is
            tried again by the next run.
    """

    files: tuple[Path, ...]
    answers: int
    attachments: int
    aside: int


@dataclass(frozen=True, slots=True)
class AsideRecord:
    """A submission that was not accepted, or could not be opened.

    Attributes:
        hash: of its frame, 32 bytes.
        lease_id: that it claims, 32 bytes.
        item: the lease's task, 16 bytes; None if there is no such lease.
        sequence: that it claims.
        contractor: the client's name for whoever signed it.
        reason: the verdict, or why it did not open.
        received_at: when the issuer took it.
    """

    hash: bytes
    lease_id: bytes
    item: bytes | None
    sequence: int
    contractor: str
    reason: str
    received_at: datetime
