"""What rotating, re-keying and shredding report."""

from dataclasses import dataclass

from labelvault.client.backup_records import BackupRecord
from labelvault.client.records import ExportFault


@dataclass(frozen=True, slots=True)
class RekeyPlan:
    """What re-keying would seal again.

    Attributes:
        versions: (item id, version) of what is current and would be sealed again.
        sources: their paths; of a row, `#` and its id behind it.
        payload_bytes: what the vault stores of them.
        done: named versions that are not current any more.
    """

    versions: tuple[tuple[bytes, int], ...]
    sources: tuple[str, ...]
    payload_bytes: int
    done: int


@dataclass(frozen=True, slots=True)
class RekeyReport:
    """What re-keying sealed again.

    Attributes:
        versions: (item id, version) of the new versions, which are current.
        done: named versions that were not current any more, so there was nothing to do.
        faults: what could not be sealed again; it is as it was.
        dropped: wraps of older versions that were destroyed.
    """

    versions: tuple[tuple[bytes, int], ...]
    done: int
    faults: tuple[ExportFault, ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What rotating a KEK did.

    Attributes:
        generation: the one that is current now.
        rewrapped: wraps that this run moved under it.
        destroyed: older generations whose files this run destroyed.
        resumed: an earlier run had begun it.
    """

    generation: int
    rewrapped: int
    destroyed: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ShredReport:
    """What shredding a project destroyed.

    Attributes:
        keks: KEK generations.
        versions: wraps of item versions.
        answers: accepted answers that were not collected, and can't be opened any more.
        resumed: an earlier run had begun it.
        backups: those on record that may still hold its keys.
    """

    keks: int
    versions: int
    answers: int
    resumed: bool
    backups: tuple[BackupRecord, ...] = ()
