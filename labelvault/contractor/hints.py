"""Ids for a shell's completion: out of a contractor's home, without a passphrase, and without any key."""

from contextlib import closing
from pathlib import Path
from typing import Literal

from labelvault.contractor.records import OpeningLog

Wanted = Literal["leases", "items", "grants"]


def contractor_hints(home: Path, wanted: Wanted) -> list[str]:
    """Return what may stand at a place of a command line.

    Args:
        home: the contractor's.
        wanted: leases that are open, items that were opened, or grants that were joined.

    Raises:
        StoreError: there is no home, or it can't be read.
    """
    if wanted == "grants":
        return sorted(path.stem for path in (home / "invites").glob("*.invite"))
    with closing(OpeningLog(home / "state.db")) as log:
        found = log.all()
    if wanted == "leases":
        return [each.lease_id.hex() for each in found if each.state == "open"]
    return sorted({each.item.hex() for each in found})
