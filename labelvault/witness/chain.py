"""Whether a ledger that was begun by a restore follows one that the witness saw: its `restored` entry says which one.

A restore begins a new ledger under a new name. Whoever could begin one that follows nothing would get rid of all that
the old one states, so a witness that saw an older ledger of the same client wants to be shown how the two are linked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from labelvault.errors import LedgerError
from labelvault.ledger.checkpoint import Checkpoint
from labelvault.ledger.entries import Restored
from labelvault.witness.offer import Verified, read_offer
from labelvault.witness.seen import Seen

Within = Callable[[str, int], tuple[Checkpoint, str] | None]
"""A ledger's largest checkpoint that was cosigned, of those up to a size, with its note."""
_EXPORT: Final = "labelvault client ledger export --epoch {} -o FILE, then --before FILE"


@dataclass(frozen=True, slots=True)
class Follows:
    """What a new ledger follows.

    Attributes:
        origin: the ledger of before the restore.
        size: how many entries of it the restore knew.
        lost: how many more the witness saw, which the restored client knows nothing of.
        shown: up to which entry they are shown to be those that the witness saw.
    """

    origin: str
    size: int
    lost: int
    shown: int


def check_follows(offered: Verified, known: Sequence[Seen], before: Sequence[bytes], within: Within) -> Follows | str:
    """Follow `restored` entries from a new ledger back to one that was seen.

    Args:
        offered: the new ledger's first checkpoint.
        known: ledgers of the same client that were seen.
        before: exports of older ledgers.
        within: finds what was cosigned of a ledger.

    Returns:
        What it follows; or how it contradicts what was seen, in words.

    Raises:
        LedgerError: what was handed in does not show it, either way; or does not hold together.
    """
    if offered.entries is None:
        raise LedgerError(
            "this client had another ledger before, and a checkpoint alone does not say what became of it",
            next_step="Cosign the new ledger's export first: labelvault client ledger export -o FILE.",
        )
    client = offered.checkpoint.origin.rpartition("/")[0]
    exports = {each.claimed.origin: each for each in map(read_offer, before) if each.export is not None}
    seen = {each.origin: each for each in known}
    restored = offered.restored
    while restored is not None:
        origin = f"{client}/{restored.epoch.hex()}"
        older = exports.pop(origin, None)
        if origin in seen:
            checked = None if older is None else older.verified(seen[origin].issuer)
            return _compared(seen[origin], restored, checked, within)
        if older is None:
            raise LedgerError(
                f"the new ledger follows {origin}, of which this witness saw nothing",
                next_step=f"Have it exported and give it: {_EXPORT.format(restored.epoch.hex())}.",
            )
        # Nobody told its key; but the newer ledger has its root, and only entries that give it are believed.
        checked = older.verified(older.certified())
        if checked.root_at(restored.size) != restored.root:
            raise LedgerError(f"the export of {origin} is not of the ledger that the new one follows")
        restored = checked.restored
    return "the client began a new ledger that does not follow the one that was seen"


def _compared(seen: Seen, restored: Restored, older: Verified | None, within: Within) -> Follows | str:
    size, root = restored.size, restored.root
    found = within(seen.origin, size if older is None else older.checkpoint.size)
    cosigned = None if found is None else found[0]
    if older is not None:
        if older.root_at(size) is None:
            raise LedgerError(f"the older ledger's export ends before entry {size}, which the new one follows")
        if older.root_at(size) != root or (cosigned is not None and older.root_at(cosigned.size) != cosigned.root):
            return "the client's older ledger is not the one that was cosigned"
    elif cosigned is None or cosigned.size != size:
        raise LedgerError(
            f"nothing shows that the {size} entries which the new ledger follows are those that this witness saw",
            next_step=f"Have the older ledger exported and give it: {_EXPORT.format(restored.epoch.hex())}.",
        )
    elif cosigned.root != root:
        return "the new ledger follows another one than was cosigned"
    shown = 0 if cosigned is None else min(cosigned.size, size)
    return Follows(seen.origin, size, max(0, seen.checkpoint.size - size), shown)
