"""The client (the AI lab): seals projects, enrols contractors, grants, invites, revokes, and runs the issuer.

May import: everything but `vendor`, `contractor`, `drill`, `story` and `cli`.
"""

from labelvault.client.assigning import AssignmentRecord
from labelvault.client.backup_records import BackupRecord, BackupReport, LedgerCopy, RestoreReport, StoredBackup
from labelvault.client.browsing import ItemFilter, ItemPage, LedgerLine, ProjectRecord
from labelvault.client.client import Client
from labelvault.client.containment_records import (
    ContainmentFault,
    ContainmentFinding,
    ContainmentPlan,
    ContainmentReport,
    DropStep,
    FreezeStep,
    OpenedAfter,
    Orders,
    ReissueStep,
    RekeyStep,
    RevokeStep,
)
from labelvault.client.drilling import Loot
from labelvault.client.events import Event
from labelvault.client.exposure import ExposureStatement, ItemVerdict, StatedInterval, StatedItems, StatedVersion
from labelvault.client.exposure_csv import statement_csv
from labelvault.client.exposure_page import statement_html
from labelvault.client.grants import Limits, Scope
from labelvault.client.key_records import RekeyPlan, RekeyReport, RotationReport, ShredReport
from labelvault.client.project import Project
from labelvault.client.records import (
    AsideRecord,
    CollectReport,
    ComparedVersion,
    ContractorRecord,
    CosignedLedger,
    ExportFault,
    ExportReport,
    GrantRecord,
    HoneyRecord,
    ItemRecord,
    LedgerSummary,
    OpeningSummary,
    Progress,
    QueueSummary,
    RestoredVersion,
    SealedFile,
    SealPlan,
    SealReport,
    StatedItem,
    VersionComparison,
    VersionRecord,
)
from labelvault.client.recovering import AtVault, backups_at_vault, recover_root, restore
from labelvault.client.watching import Watch
from labelvault.issuer.ahead import IssuedLease, IssueReport
from labelvault.issuer.passes import AnswerReport
from labelvault.issuer.service import Issuer
from labelvault.keys.root import PassphraseRoot, RootKey, RootKeyProvider
from labelvault.wire.messages import Card, Grant

__all__ = [
    "AnswerReport",
    "AsideRecord",
    "AssignmentRecord",
    "AtVault",
    "BackupRecord",
    "BackupReport",
    "Card",
    "Client",
    "CollectReport",
    "ComparedVersion",
    "ContainmentFault",
    "ContainmentFinding",
    "ContainmentPlan",
    "ContainmentReport",
    "ContractorRecord",
    "CosignedLedger",
    "DropStep",
    "Event",
    "ExportFault",
    "ExportReport",
    "ExposureStatement",
    "FreezeStep",
    "Grant",
    "GrantRecord",
    "HoneyRecord",
    "IssueReport",
    "IssuedLease",
    "Issuer",
    "ItemFilter",
    "ItemPage",
    "ItemRecord",
    "ItemVerdict",
    "LedgerCopy",
    "LedgerLine",
    "LedgerSummary",
    "Limits",
    "OpeningSummary",
    "Loot",
    "OpenedAfter",
    "Orders",
    "PassphraseRoot",
    "Progress",
    "Project",
    "ProjectRecord",
    "QueueSummary",
    "ReissueStep",
    "RekeyPlan",
    "RekeyReport",
    "RestoreReport",
    "RestoredVersion",
    "RekeyStep",
    "RevokeStep",
    "RootKey",
    "RootKeyProvider",
    "RotationReport",
    "Scope",
    "SealPlan",
    "SealReport",
    "SealedFile",
    "ShredReport",
    "StatedInterval",
    "StatedItem",
    "StatedItems",
    "StatedVersion",
    "StoredBackup",
    "VersionComparison",
    "VersionRecord",
    "Watch",
    "backups_at_vault",
    "recover_root",
    "restore",
    "statement_csv",
    "statement_html",
]
