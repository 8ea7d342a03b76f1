"""What there is to open, as far as this home knows: leases at hand, then what was opened before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from labelvault.contractor.contractor import Contractor

MAX_CHOICES: Final = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """One task to open.

    Attributes:
        item: the task's id, 16 bytes.
        why: `lease` if one is at hand, `open` if it is open elsewhere here, `opened` if it was before.
        until: the end of the lease at hand or of the open one; when it was opened last.
    """

    item: bytes
    why: str
    until: datetime


def choices(me: Contractor) -> list[Choice]:
    """List what this home could open, each task once: leases issued ahead first, then newest first, at most 20.

    What the client has assigned or the vault holds besides, it does not know.
    """
    found = {each.outer.item: Choice(each.outer.item, "lease", each.outer.expires_at) for each in me.ahead.leases()}
    for record in reversed(me.openings()):
        if record.item not in found:
            is_open = record.state == "open"
            until = record.expires_at if is_open else record.opened_at
            found[record.item] = Choice(record.item, "open" if is_open else "opened", until)
    return list(found.values())[:MAX_CHOICES]
