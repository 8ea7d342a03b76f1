"""The contractor: joins with an invite, opens one task at a time, closes it, and says so.

Keys that open anything live for one opening, in a child process that exits when it closes. May import: `errors`,
`crypto`, `wire`, `envelope`, `keys`, `relay`, `database`; never `client`, `issuer` or `ledger`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
    from labelvault.contractor.held import HeldLease, Taken
    from labelvault.contractor.membership import Membership
    from labelvault.contractor.outbox import SubmissionRecord
    from labelvault.contractor.parts import Opened, OpenedPart
    from labelvault.contractor.presence import PresenceDevice
    from labelvault.contractor.presence_checks import Question
    from labelvault.contractor.records import OpeningRecord
    from labelvault.contractor.steps import Step
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

_HOMES: Final = {
    "AgentIdentity": "labelvault.contractor.agent_client",
    "AgentStatus": "labelvault.contractor.agent_client",
    "AheadOfTime": "labelvault.contractor.ahead",
    "Approving": "labelvault.contractor.approval",
    "Contractor": "labelvault.contractor.contractor",
    "FolderDevice": "labelvault.contractor.approval",
    "HeldLease": "labelvault.contractor.held",
    "Invite": "labelvault.wire.messages",
    "Membership": "labelvault.contractor.membership",
    "Opened": "labelvault.contractor.parts",
    "OpenedPart": "labelvault.contractor.parts",
    "Opening": "labelvault.contractor.worker",
    "OpeningRecord": "labelvault.contractor.records",
    "PresenceDevice": "labelvault.contractor.presence",
    "Question": "labelvault.contractor.presence_checks",
    "Step": "labelvault.contractor.steps",
    "SubmissionRecord": "labelvault.contractor.outbox",
    "Taken": "labelvault.contractor.held",
    "Task": "labelvault.contractor.task",
    "agent_status": "labelvault.contractor.agent_client",
    "find_agent": "labelvault.contractor.agent_client",
    "start_agent": "labelvault.contractor.agent_client",
    "stop_agent": "labelvault.contractor.agent_client",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load what is asked for: the process that opens a task is made of a part of these modules."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
