"""The contractor: joins with an invite, opens one task at a time, closes it, and says so.

Keys that open anything live for one opening, in a child process that exits when it closes. May import: `errors`,
`crypto`, `wire`, `envelope`, `keys`, `relay`, `database`; never `client`, `issuer` or `ledger`.
"""

from labelvault.contractor.agent_client import (
    AgentIdentity,
    AgentStatus,
    agent_status,
    find_agent,
    start_agent,
    stop_agent,
)
from labelvault.contractor.ahead import AheadOfTime
from labelvault.contractor.approval import Approving, FolderDevice
from labelvault.contractor.contractor import Contractor
from labelvault.contractor.harden import Step
from labelvault.contractor.held import HeldLease, Taken
from labelvault.contractor.membership import Membership
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.parts import Opened, OpenedPart
from labelvault.contractor.presence import PresenceDevice
from labelvault.contractor.presence_checks import Question
from labelvault.contractor.records import OpeningRecord
from labelvault.contractor.task import Task
from labelvault.contractor.worker import Opening
from labelvault.wire.messages import Invite

__all__ = [
    "AheadOfTime",
    "AgentIdentity",
    "AgentStatus",
    "Approving",
    "Contractor",
    "FolderDevice",
    "HeldLease",
    "Invite",
    "Membership",
    "Opened",
    "OpenedPart",
    "Opening",
    "OpeningRecord",
    "PresenceDevice",
    "Question",
    "SubmissionRecord",
    "Taken",
    "Step",
    "Task",
    "agent_status",
    "find_agent",
    "start_agent",
    "stop_agent",
]
