"""What a statement says, out of ledgers and a question: the same for the issuer who signs it and for whoever checks it.

Whoever recomputes a statement calls `state` with the statement's own question and compares: keys on the surface, gaps,
completeness, totals and root all follow from the entries.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from labelvault.errors import EnrolmentError, LedgerError, StatementError
from labelvault.ledger.entries import Entry, Restored
from labelvault.ledger.exposure import all_contractors, vendor_host
from labelvault.ledger.statement import MAX_STATED_CONTRACTORS, Gap, StatedLedger, Statement, summed
from labelvault.ledger.tree import root_of_leaves
from labelvault.ledger.verdicts import Verdicts, Window


@dataclass(frozen=True, slots=True)
class LedgerView:
    """One ledger, as far as it is known; its entries are known to give its root.

    Attributes:
        stated: which, how many entries, and the root over them.
        naming: yields the entries that name keys or an older ledger, at least.
        needed: yields the entries that decide verdicts, at least.
        latest: of its entries' times; None if it has none.
        root_at: gives the root over its first entries.
    """

    stated: StatedLedger
    naming: Callable[[], Iterable[Entry]]
    needed: Callable[[], Iterable[Entry]]
    latest: datetime | None
    root_at: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Question:
    """What a statement is asked.

    Attributes:
        surface: `vendor` (every desk's key), `all`, or `desk` or `contractor`.
        named: the one key on the surface, 32 bytes; with `desk` and `contractor` only.
        start: of the window.
        end: of the window; included.
        project: only its items, 16 bytes; None for all.
    """

    surface: str
    named: bytes | None
    start: datetime
    end: datetime
    project: bytes | None


def state(
    views: Sequence[LedgerView], question: Question, *, client: bytes, certificate: bytes, at: datetime
) -> tuple[Statement, Verdicts]:
    """Return the statement that answers a question, and its rows.

    Args:
        views: every ledger of the client, oldest first.
        question: what is asked.
        client: the client's id, 32 bytes.
        certificate: the frame of the issuer's certificate.
        at: when it is stated.

    Raises:
        FormatError: a time that can't stand on the wire, or a window that ends before it begins.
        EnrolmentError: the named key is not that of a desk, or of no contractor.
        LedgerError: a ledger follows another one that is not there, or not as it says.
        StatementError: more keys on the surface than a statement can name.
    """
    contractors = surface_keys((entry for view in views for entry in view.naming()), question)
    if len(contractors) > MAX_STATED_CONTRACTORS:
        raise StatementError(
            f"{len(contractors)} keys lie on this surface, and a statement names at most {MAX_STATED_CONTRACTORS}",
            next_step="State desks or contractors one by one.",
        )
    gaps = gaps_of(views)
    window = Window(
        contractors, question.start, question.end, question.project, tuple((gap.since, gap.until) for gap in gaps)
    )
    rows = Verdicts((entry for view in views for entry in view.needed()), window)
    totals, root = summed(rows)
    latest = views[-1].latest
    statement = Statement(
        client=client,
        project=question.project,
        surface=question.surface,
        contractors=tuple(sorted(contractors)),
        start=question.start,
        end=question.end,
        # Both: an entry of a clock that ran ahead says nothing of a time that is yet to come.
        complete=latest is not None and latest > question.end and at > question.end,
        ledgers=tuple(view.stated for view in views),
        gaps=gaps,
        totals=totals,
        root=root,
        certificate=certificate,
        at=at,
    )
    return statement, rows


def surface_keys(entries: Iterable[Entry], question: Question) -> frozenset[bytes]:
    """Return the contractor keys on a surface.

    Raises:
        EnrolmentError: a named key is none of a desk, or of no contractor.
    """
    only_desks = question.surface in ("vendor", "desk")
    known = vendor_host(entries) if only_desks else all_contractors(entries)
    if question.surface in ("vendor", "all"):
        return known
    if question.named is None or question.named not in known:
        raise EnrolmentError(f"the ledger knows no {question.surface} with this key")
    return frozenset({question.named})


def gaps_of(views: Sequence[LedgerView]) -> tuple[Gap, ...]:
    """Return the times of which no ledger here knows; check that each ledger follows the one before it."""
    found = []
    before: LedgerView | None = None
    for view in views:
        restored = next((entry for entry in view.naming() if isinstance(entry, Restored)), None)
        if restored is None and before is not None:
            raise LedgerError("a ledger does not say that it follows the one before it")
        if restored is not None:
            if before is None or before.stated.epoch != restored.epoch:
                raise LedgerError(
                    f"the ledger follows another one, of epoch {restored.epoch.hex()}, that is not here",
                    next_step="Give an export of that one too.",
                )
            if before.stated.size < restored.size or before.root_at(restored.size) != restored.root:
                raise LedgerError("the older ledger is not the one that the newer one follows")
            # A later copy of the old ledger makes the gap shorter. Nothing but the restore itself, which says that all
            # until then is known, shows that it was the last one.
            since = restored.backup_at if before.latest is None else max(restored.backup_at, before.latest)
            if since < restored.at:
                found.append(Gap(since, restored.at))
        before = view
    return tuple(found)


def view_of(entries: Sequence[Entry], leaves: Sequence[bytes], epoch: bytes) -> LedgerView:
    """Return the view of a ledger whose entries were all decoded.

    Args:
        entries: all of them, in order.
        leaves: their leaf hashes.
        epoch: 16 bytes.
    """
    return LedgerView(
        stated=StatedLedger(epoch, len(entries), root_of_leaves(leaves)),
        naming=lambda: entries,
        needed=lambda: entries,
        latest=max((entry.at for entry in entries), default=None),
        root_at=lambda size: root_of_leaves(leaves[:size]),
    )
