"""Whether an exposure statement is true: recomputed from exported ledgers, from the client's fingerprint on."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, fields

from labelvault.auditor.ledgers import Exported, read_exports, verify_ledger
from labelvault.errors import EnrolmentError, LedgerError, StatementError
from labelvault.keys.cards import client_fingerprint
from labelvault.keys.fingerprint import check_fingerprint
from labelvault.ledger.checkpoint import ledger_origin
from labelvault.ledger.export import VerifiedLedger
from labelvault.ledger.statement import (
    StatedLedger,
    Statement,
    Totals,
    read_statement,
    statement_certificate,
    statement_frame,
)
from labelvault.ledger.stating import LedgerView, Question, state, view_of
from labelvault.ledger.verdicts import VersionVerdict
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import parse_frame
from labelvault.wire.ids import client_id


@dataclass(frozen=True, slots=True)
class CheckedLedger:
    """A ledger that a statement stands on.

    Attributes:
        stated: as the statement has it.
        size: of the export that it was checked with.
    """

    stated: StatedLedger
    size: int


@dataclass(frozen=True, slots=True)
class CheckedStatement:
    """A statement that follows from its ledgers.

    Attributes:
        statement: what was signed.
        rows: a verdict for each item version.
        fingerprint: of the client's identity key, which was the auditor's.
        ledgers: oldest first.
        later: totals of the same question over all that the exports hold, if that is more than the statement had.
    """

    statement: Statement
    rows: tuple[VersionVerdict, ...]
    fingerprint: str
    ledgers: tuple[CheckedLedger, ...]
    later: Totals | None


def verify_statement(data: bytes, exports: Sequence[bytes], client: str | bytes) -> CheckedStatement:
    """Verify a statement's file from the client's key to the last row.

    Args:
        data: the file.
        exports: of each ledger that it stands on, taken when it was stated or later; older ones besides are compared.
        client: the fingerprint of the client's identity key, or that key (32 bytes); from elsewhere than the file.

    Raises:
        EnrolmentError: the statement is another client's, or that is no fingerprint.
        SignatureError: certificate, statement or a checkpoint is not signed by whom it should be.
        StatementError: the ledgers give something else than is stated, or an export is too old.
        ForkError: two exports, or an export and the statement, contradict each other.
        LedgerError: rows are not those that are signed; an export is missing, is of a ledger that the statement does
            not stand on, or does not hold together.
        FormatError: no statement, or no export.
    """
    identity_key = parse_frame(statement_certificate(data)).signer
    _check_client(client, identity_key)
    its_id = client_id(identity_key)
    signed, certificate = open_certified(statement_frame(data), Statement, its_id)
    statement = signed.message
    issuer = certificate.message
    _, rows = read_statement(data, issuer.issuer)
    if statement.ledgers[-1].epoch != issuer.epoch:
        raise StatementError("the statement's newest ledger is not the one that its certificate is for")
    found = read_exports(exports)
    _check_all_stated(found, {ledger_origin(its_id, each.epoch) for each in statement.ledgers})
    newest = verify_ledger(found, its_id, issuer.epoch, issuer.issuer)
    older = [verify_ledger(found, its_id, each.epoch) for each in statement.ledgers[:-1]]
    verified = [*older, newest]
    views = [_view(ledger, stated) for ledger, stated in zip(verified, statement.ledgers, strict=True)]
    question = _question(statement)
    again, _ = state(views, question, client=its_id, certificate=statement.certificate, at=statement.at)
    wrong = [each.name for each in fields(Statement) if getattr(again, each.name) != getattr(statement, each.name)]
    if wrong:
        raise StatementError(
            f"the ledgers do not give what is stated: {', '.join(wrong)}",
            next_step="Don't rely on this statement; keep it and the export as evidence, and ask for a new one.",
        )
    whole = [view_of(each.entries, each.leaves, view.stated.epoch) for each, view in zip(verified, views, strict=True)]
    later = None
    if [each.stated.size for each in whole] != [each.size for each in statement.ledgers]:
        later = state(whole, question, client=its_id, certificate=statement.certificate, at=statement.at)[0].totals
    ledgers = tuple(
        CheckedLedger(stated, len(each.entries)) for stated, each in zip(statement.ledgers, verified, strict=True)
    )
    return CheckedStatement(statement, rows, client_fingerprint(identity_key), ledgers, later)


def _check_client(client: str | bytes, identity_key: bytes) -> None:
    if isinstance(client, str):
        check_fingerprint(client, client_fingerprint(identity_key))
    elif client != identity_key:
        raise EnrolmentError("the statement is not of the client with this key; do not go on")


def _check_all_stated(found: Sequence[Exported], stated: Set[str]) -> None:
    """Check that no export is passed over: a newer ledger of this client would say more than the statement."""
    for each in found:
        if each.origin not in stated:
            raise LedgerError(
                f"an export is of {each.origin}, on which the statement does not stand",
                next_step="If that is a newer ledger of this client, ask for a new statement; if not, leave it out.",
            )


def _view(ledger: VerifiedLedger, stated: StatedLedger) -> LedgerView:
    """Return the ledger as far as the statement stands on it."""
    if len(ledger.entries) < stated.size:
        raise StatementError(
            f"the export has {len(ledger.entries)} entries, and the statement stands on {stated.size}",
            next_step="Ask for an export of the ledger that is as new as the statement.",
        )
    view = view_of(ledger.entries[: stated.size], ledger.leaves[: stated.size], stated.epoch)
    if view.stated != stated:
        raise StatementError(
            "the statement stands on other entries than the export has, and one issuer signed both: a forked ledger",
            next_step="Keep both files: together they are evidence.",
        )
    return view


def _question(statement: Statement) -> Question:
    named = None
    if statement.surface in ("desk", "contractor"):
        if len(statement.contractors) != 1:
            raise StatementError("a desk or contractor is one key")
        (named,) = statement.contractors
    return Question(statement.surface, named, statement.start, statement.end, statement.project)
