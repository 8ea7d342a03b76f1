"""What an auditor finds out with public keys alone: each way in which a statement can be wrong has its own error."""

import base64
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from labelvault.auditor import verify_statement
from labelvault.crypto.sign import SigningKey
from labelvault.errors import EnrolmentError, ForkError, FormatError, LedgerError, SignatureError, StatementError
from labelvault.ledger.checkpoint import Checkpoint, issuer_key_name, ledger_origin, sign_checkpoint
from labelvault.ledger.entries import Certified, Entry, Released, Restored, Sealed, encode_entry
from labelvault.ledger.export import export_ledger, verify_export
from labelvault.ledger.statement import Statement, summed, write_statement
from labelvault.ledger.stating import LedgerView, Question, state, view_of
from labelvault.ledger.tree import leaf_hash, root_of_leaves
from labelvault.wire.frame import Signer, sign_message
from labelvault.wire.ids import client_id
from labelvault.wire.messages import IssuerCertificate
from tests.client.exposing import History
from tests.ledger.test_exposure import ADA, END, START, at, released
from tests.ledger.test_verdicts import sealed
from tests.world import World


@pytest.fixture
def history(world: World) -> History:
    """Something to state, with an entry after the window."""
    made = History(world)
    made.move_on()
    return made


def made(history: History, surface: str = "vendor") -> bytes:
    return history.world.lab.statement(surface, history.start, history.end).file


@pytest.mark.parametrize("surface", ["vendor", "all", "desk:desk 7", "contractor:ada"])
def test_a_true_statement_verifies(history: History, surface: str) -> None:
    """From the spoken fingerprint, or the key itself, to the last row; with nothing of the client but two files."""
    lab = history.world.lab
    data, export = made(history, surface), lab.export_ledger()
    for client in (lab.fingerprint.upper().replace("-", " "), lab.identity_key):
        verify_statement(data, [export], client)
    checked = verify_statement(data, [export], lab.fingerprint)
    assert checked.statement == lab.statement(surface, history.start, history.end).statement
    assert (checked.later, checked.statement.complete) == (None, True)
    assert [each.size for each in checked.ledgers] == [each.stated.size for each in checked.ledgers]


def test_a_later_export_verifies_and_says_what_came_since(history: History) -> None:
    """The statement stands on the first entries; the same question over all of them is answered beside it."""
    data = made(history, "contractor:ada")
    history.issuer.handle(history.world.ask(history.ada, history.adas, history.world.task("five")).data)
    lab = history.world.lab
    checked = verify_statement(data, [lab.export_ledger()], lab.fingerprint)
    assert checked.later is not None
    # Ada's key lay on the surface and is not revoked: what was released to it since counts too.
    assert checked.later.exposed == checked.statement.totals.exposed + 1


def test_L2_kept_exports_are_compared(history: History) -> None:
    """An older export of the same ledger fits; one that was signed over other entries is a fork, with both notes."""
    lab, issuer = history.world.lab, history.world.lab.issuer_identity
    older = lab.export_ledger()
    history.move_on()
    data, newer = made(history), lab.export_ledger()
    verify_statement(data, [older, newer], lab.fingerprint)
    entries = [encode_entry(each) for each in lab.ledger_entries()[:9]]
    leaves = [leaf_hash(each) for each in reversed(entries)]
    origin = ledger_origin(lab.client_id, lab.certificate.message.epoch)
    note = sign_checkpoint(Checkpoint(origin, 9, root_of_leaves(leaves)), issuer.name, issuer.signer)
    with pytest.raises(ForkError) as caught:
        verify_statement(data, [export_ledger(entries[::-1], note), newer], lab.fingerprint)
    assert note == caught.value.older


def test_another_clients_statement_is_refused(history: History) -> None:
    """By fingerprint and by key, before anything else of it is believed; and what is no fingerprint."""
    other = history.world.create_client("other")
    data, export = made(history), history.world.lab.export_ledger()
    for client in (other.fingerprint, other.identity_key, "no words"):
        with pytest.raises(EnrolmentError):
            verify_statement(data, [export], client)


def test_an_export_that_is_too_old_or_missing_is_named(history: History) -> None:
    """Older than the statement; another client's; none at all; not an export."""
    lab = history.world.lab
    old = lab.export_ledger()
    history.move_on()
    data = made(history)
    with pytest.raises(StatementError, match="stands on"):
        verify_statement(data, [old], lab.fingerprint)
    foreign = history.world.create_client("other").export_ledger()
    for exports in ([], [foreign]):
        with pytest.raises(LedgerError):
            verify_statement(data, exports, lab.fingerprint)
    with pytest.raises(FormatError):
        verify_statement(data, [b"junk\n"], lab.fingerprint)
    with pytest.raises(FormatError):
        verify_statement(b"junk\n", [old], lab.fingerprint)


LIES: dict[str, Callable[[Statement], dict[str, Any]]] = {
    "contractors": lambda s: {"contractors": ()},
    "complete": lambda s: {"complete": not s.complete},
    "start": lambda s: {"start": s.start - timedelta(hours=2)},
    "root": lambda s: {"root": bytes(32)},
    "ledgers": lambda s: {"ledgers": (dataclasses.replace(s.ledgers[0], root=bytes(32)),)},
    "size": lambda s: {"ledgers": (dataclasses.replace(s.ledgers[0], size=s.ledgers[0].size - 3),)},
    "epoch": lambda s: {"ledgers": (dataclasses.replace(s.ledgers[0], epoch=bytes(16)),)},
    "surface": lambda s: {"surface": "all"},
    "project": lambda s: {"project": bytes(16)},
}


@pytest.mark.parametrize("lie", list(LIES))
def test_what_an_issuer_signs_falsely_is_found(history: History, lie: str) -> None:
    """Even the certified issuer can't leave a desk, an hour, a ledger's end or a row out."""
    lab = history.world.lab
    found = lab.statement("vendor", history.start, history.end)
    _, rows = state_of(history)
    false = dataclasses.replace(found.statement, **LIES[lie](found.statement))
    frame = sign_message(false, lab.issuer_identity.signer).data
    data = write_like(frame, found.file)
    with pytest.raises(LedgerError):
        verify_statement(data, [lab.export_ledger()], lab.fingerprint)


def test_a_row_that_is_made_better_is_found(history: History) -> None:
    """Rows, totals and root that agree with each other, signed by the issuer, and not what the ledger gives."""
    lab = history.world.lab
    statement, rows = state_of(history)
    better = [dataclasses.replace(row, verdict="never-opened", tasks=0, intervals=()) for row in rows]
    totals, root = summed(better)
    data = write_statement(dataclasses.replace(statement, totals=totals, root=root), better, lab.issuer_identity.signer)
    with pytest.raises(StatementError, match="totals, root"):
        verify_statement(data, [lab.export_ledger()], lab.fingerprint)


def state_of(history: History) -> tuple[Statement, Any]:
    lab = history.world.lab
    origin = ledger_origin(lab.client_id, lab.certificate.message.epoch)
    key = lab.issuer_identity.signer.public_key
    ledger = verify_export(lab.export_ledger(), origin=origin, name=issuer_key_name(lab.client_id), public_key=key)
    view = view_of(ledger.entries, ledger.leaves, lab.certificate.message.epoch)
    question = Question("vendor", None, history.start, history.end, None)
    now = history.world.clock()
    return state([view], question, client=lab.client_id, certificate=lab.certificate.data, at=now)


def write_like(frame: bytes, file: bytes) -> bytes:
    """A statement's file with another frame before the same rows."""
    return b'{"statement":"%s"}\n' % base64.b64encode(frame) + file.partition(b"\n")[2]


def test_who_signed_is_checked_first(history: History) -> None:
    """A key that the client did not certify, a certificate that the client did not sign, and one that has ended."""
    lab, thief = history.world.lab, SigningKey.generate()
    statement, rows = state_of(history)
    export = lab.export_ledger()
    with pytest.raises(SignatureError):
        verify_statement(write_statement(statement, rows, thief), [export], lab.fingerprint)
    forged = sign_message(dataclasses.replace(lab.certificate.message, issuer=thief.public_key), thief).data
    forgery = dataclasses.replace(statement, certificate=forged)
    with pytest.raises(EnrolmentError):
        verify_statement(write_statement(forgery, rows, thief), [export], lab.fingerprint)
    late = dataclasses.replace(statement, at=lab.certificate.message.expires_at)
    with pytest.raises(SignatureError):
        verify_statement(write_statement(late, rows, lab.issuer_identity.signer), [export], lab.fingerprint)


# Two ledgers: the second follows the first from a backup on.

OLD, NEW, IDENTITY = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
CLIENT = client_id(IDENTITY.public_key)
OLD_EPOCH, NEW_EPOCH = b"o" * 16, b"n" * 16


def exported(entries: list[Entry], epoch: bytes, signer: Signer) -> bytes:
    raw = [encode_entry(each) for each in entries]
    checkpoint = Checkpoint(ledger_origin(CLIENT, epoch), len(raw), root_of_leaves([leaf_hash(each) for each in raw]))
    return export_ledger(raw, sign_checkpoint(checkpoint, issuer_key_name(CLIENT), signer))


def view(entries: list[Entry], epoch: bytes) -> LedgerView:
    return view_of(entries, [leaf_hash(encode_entry(each)) for each in entries], epoch)


BEFORE: list[Entry] = [
    Certified(at(-900), OLD.public_key, 1, bytes(32), OLD_EPOCH),
    sealed(minutes=-850),
    released(1, -700, ttl=10),
]
LOST: list[Entry] = [released(2, -650, ttl=10)]
AFTER: list[Entry] = [
    Certified(at(-600), NEW.public_key, 2, bytes(32), NEW_EPOCH),
    Restored(at(-600), OLD_EPOCH, 3, root_of_leaves([leaf_hash(encode_entry(each)) for each in BEFORE]), at(-700)),
    Sealed(at(-500), bytes(16), b"n" * 16, 1, bytes(32)),
    Released(**{**{f.name: getattr(released(3, 0), f.name) for f in dataclasses.fields(Released)}, "at": at(130)}),
]
CERTIFICATE = sign_message(
    IssuerCertificate(CLIENT, NEW.public_key, 2, NEW_EPOCH, at(-600), at(6000), at(-600)), IDENTITY
).data


def two_ledgers(old: list[Entry]) -> bytes:
    question = Question("contractor", ADA, START, END, None)
    views = [view(old, OLD_EPOCH), view(AFTER, NEW_EPOCH)]
    statement, rows = state(views, question, client=CLIENT, certificate=CERTIFICATE, at=at(200))
    return write_statement(statement, rows, NEW)


@pytest.mark.parametrize("old", [BEFORE, BEFORE + LOST], ids=["as of the backup", "a later copy"])
def test_R8_a_statement_over_a_restore_verifies_and_shows_the_gap(old: list[Entry]) -> None:
    """The older ledger is vouched for by the newer one; what was sealed before the gap's end is unknown, at best."""
    exports = [exported(AFTER, NEW_EPOCH, NEW), exported(old, OLD_EPOCH, OLD)]
    checked = verify_statement(two_ledgers(old), exports, IDENTITY.public_key)
    (gap,) = checked.statement.gaps
    assert (gap.since, gap.until) == (old[-1].at, at(-600))
    assert {row.item: row.verdict for row in checked.rows} == {b"t" * 16: "exposed", b"n" * 16: "never-opened"}
    assert checked.statement.complete


def test_R8_an_export_of_a_ledger_that_is_not_stated_is_not_passed_over() -> None:
    """A statement on the ledger of before a restore, though the auditor has the newer one; another client's export."""
    certificate = sign_message(
        IssuerCertificate(CLIENT, OLD.public_key, 1, OLD_EPOCH, at(-900), at(6000), at(-900)), IDENTITY
    ).data
    question = Question("contractor", ADA, START, END, None)
    statement, rows = state([view(BEFORE, OLD_EPOCH)], question, client=CLIENT, certificate=certificate, at=at(200))
    data, old = write_statement(statement, rows, OLD), exported(BEFORE, OLD_EPOCH, OLD)
    assert verify_statement(data, [old], IDENTITY.public_key).statement == statement
    for other in (exported(AFTER, NEW_EPOCH, NEW), exported(BEFORE, bytes(16), NEW)):
        with pytest.raises(LedgerError, match="does not stand"):
            verify_statement(data, [old, other], IDENTITY.public_key)


def test_R8_a_ledger_that_is_left_out_or_exchanged_is_missed() -> None:
    """The older one missing; another one in its place; signed by another than its own issuer."""
    data, newer = two_ledgers(BEFORE), exported(AFTER, NEW_EPOCH, NEW)
    with pytest.raises(LedgerError):
        verify_statement(data, [newer], IDENTITY.public_key)
    with pytest.raises(LedgerError):
        verify_statement(data, [newer, exported(BEFORE, OLD_EPOCH, NEW)], IDENTITY.public_key)
    other: list[Entry] = [Certified(at(-900), NEW.public_key, 1, bytes(32), OLD_EPOCH), *BEFORE[1:]]
    with pytest.raises(LedgerError):
        verify_statement(data, [newer, exported(other, OLD_EPOCH, NEW)], IDENTITY.public_key)
    question = Question("all", None, START, END, None)
    for views in (
        [view(AFTER, NEW_EPOCH)],
        [view(other, OLD_EPOCH), view(AFTER, NEW_EPOCH)],
        [view(BEFORE, OLD_EPOCH)] * 2,
    ):
        with pytest.raises(LedgerError):
            state(views, question, client=CLIENT, certificate=CERTIFICATE, at=at(200))
