"""A witness cosigns what extends all that it saw, keeps forks as evidence, and never moves backwards."""

from datetime import timedelta
from pathlib import Path

import pytest

from labelvault.errors import (
    ClockError,
    ForkError,
    FormatError,
    KeystoreError,
    KeystorePassphraseError,
    LabelVaultError,
    LedgerError,
    RollbackError,
    SignatureError,
)
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, sign_checkpoint, verify_checkpoint
from labelvault.ledger.cosignature import cosignature_by
from labelvault.ledger.extension import parse_extension
from labelvault.witness import Witness, seen_ledgers
from tests.witness.ledger import Ledger
from tests.world import CHEAP, PASSPHRASE, Clock, bytes_of, state_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def witness(home: Path, clock: Clock) -> Witness:
    return Witness.create(home, "witness.example/ada", PASSPHRASE, parameters=CHEAP, clock=clock)


def refused(witness: Witness, home: Path, kind: type[LabelVaultError], data: bytes, **options) -> LabelVaultError:
    """What is refused with this kind exactly, and changes nothing."""
    before = state_of(home)
    with pytest.raises(kind) as caught:
        witness.cosign(data, **options)
    assert type(caught.value) is kind
    assert state_of(home) == before
    return caught.value


def newest(home: Path) -> Checkpoint:
    (seen,) = seen_ledgers(home)
    return seen.checkpoint


def test_a_ledger_is_cosigned_as_it_grows(witness: Witness, home: Path, clock: Clock) -> None:
    """From an export, from a proof, and the same again; the issuer's key is named once."""
    ledger = Ledger().grow(4)
    first = witness.cosign(ledger.export(), issuer=ledger.issuer)
    assert (first.origin, first.size, first.before, first.follows) == (ledger.origin, 5, None, None)
    found = cosignature_by(first.note, witness.key)
    assert found is not None
    assert (found.size, found.at) == (5, clock().replace(microsecond=0))
    assert verify_checkpoint(first.note, ledger.name, ledger.key.public_key, ledger.origin).root == ledger.root()
    ledger.grow(3)
    assert (witness.cosign(ledger.proof(5)).before, newest(home).size) == (5, 8)
    ledger.grow(1)
    assert (witness.cosign(ledger.export()).before, newest(home).size) == (8, 9)
    clock.advance(timedelta(hours=1))
    again = witness.cosign(ledger.note().encode())
    assert (again.before, again.size, newest(home).root) == (9, 9, ledger.root())
    later = cosignature_by(again.note, witness.key)
    assert later is not None
    assert later.at - found.at == timedelta(hours=1)


def test_the_empty_ledger_is_the_beginning_of_any(witness: Witness, home: Path) -> None:
    """Size 0 is cosigned, and what comes then needs no proof; a claim of entries under it is refused."""
    ledger = Ledger()
    assert witness.cosign(ledger.note(0).encode(), issuer=ledger.issuer).size == 0
    assert witness.cosign(ledger.note(1).encode()).before == 0
    assert newest(home).size == 1
    refused(witness, home, RollbackError, ledger.note(0).encode())


def test_a_first_checkpoint_may_come_alone_or_with_an_empty_proof(witness: Witness, home: Path) -> None:
    """But not with a proof that it extends what was never seen."""
    ledger = Ledger().grow(4)
    refused(witness, home, LedgerError, ledger.proof(2), issuer=ledger.issuer)
    assert witness.cosign(f"old 0\n\n{ledger.note()}".encode(), issuer=ledger.issuer).size == 5


def test_an_unknown_ledger_needs_its_key(witness: Witness, home: Path) -> None:
    """No key is taken from what is signed by it, nor another client's."""
    ledger = Ledger().grow(1)
    refused(witness, home, LedgerError, ledger.export())
    refused(witness, home, LedgerError, ledger.export(), issuer=Ledger(client=bytes(32)).issuer)
    refused(witness, home, LedgerError, ledger.export(), issuer=Ledger(2).issuer)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    refused(witness, home, LedgerError, ledger.export(), issuer=Ledger(2).issuer)


def test_growth_that_nothing_shows_is_refused(witness: Witness, home: Path) -> None:
    """A checkpoint alone, a proof from another size, or one of another tree: no evidence, and no cosignature."""
    ledger = Ledger().grow(4)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    ledger.grow(3)
    error = refused(witness, home, LedgerError, ledger.note().encode())
    assert error.next_step is not None
    assert "prove --from 5" in error.next_step
    refused(witness, home, LedgerError, ledger.proof(4))
    refused(witness, home, LedgerError, ledger.proof(6))
    wrong = parse_extension(ledger.proof(5).decode())
    other = parse_extension(Ledger().grow(7, mark=3).proof(5).decode())
    mixed = f"{other.text().partition(chr(10) * 2)[0]}\n\n{wrong.note}"
    refused(witness, home, LedgerError, mixed.encode())
    assert witness.cosign(ledger.proof(5)).size == 8


@pytest.mark.parametrize("how", ["note", "export", "proof"])
def test_L2_a_second_ledger_of_the_same_size_is_a_fork(witness: Witness, home: Path, how: str) -> None:
    """Both signed checkpoints are kept in files, and this ledger is never cosigned again, whichever is shown."""
    ledger = Ledger().grow(4)
    kept = witness.cosign(ledger.export(), issuer=ledger.issuer).note
    forked = ledger.fork(3, 2)
    data = {"note": forked.note().encode(), "export": forked.export(), "proof": forked.proof(2)}[how]
    with pytest.raises(ForkError) as caught:
        witness.cosign(data)
    error = caught.value
    assert (error.older, error.newer) == (kept, forked.note())
    assert [Path(each).read_text() for each in error.kept] == [kept, forked.note()]
    for text, root in zip((error.older, error.newer), (ledger.root(), forked.root()), strict=True):
        assert verify_checkpoint(text, ledger.name, ledger.key.public_key, ledger.origin).root == root
    (seen,) = seen_ledgers(home)
    assert (seen.checkpoint.root, seen.evidence) == (ledger.root(), Path(error.kept[0]).parent)
    before = state_of(home)
    for again in (ledger.export(), ledger.grow(2).export(), forked.export(), ledger.proof(5)):
        with pytest.raises(ForkError) as caught:
            witness.cosign(again)
        assert caught.value.kept == error.kept
    assert state_of(home) == before


@pytest.mark.parametrize("at", [1, 3, 4])
def test_L2_a_rewritten_entry_in_a_longer_ledger_is_a_fork(witness: Witness, home: Path, at: int) -> None:
    """The evidence holds a proof, too: of what the longer ledger begins with instead."""
    ledger = Ledger().grow(4)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    forked = ledger.fork(at, 9)
    with pytest.raises(ForkError) as caught:
        witness.cosign(forked.export())
    proof = parse_extension((Path(caught.value.kept[0]).parent / "proof").read_text())
    proof.check(Checkpoint(ledger.origin, 5, forked.root(5)), claimed_checkpoint(caught.value.newer))
    assert forked.root(5) != ledger.root()
    assert newest(home).size == 5


@pytest.mark.parametrize("size", [3, 4])
def test_L2_a_fork_is_found_at_any_size_that_was_ever_cosigned(witness: Witness, size: int) -> None:
    """Also where it is smaller than the newest, as long as one of our checkpoints lies within it."""
    ledger = Ledger().grow(2)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    witness.cosign(ledger.grow(5).export())
    with pytest.raises(ForkError) as caught:
        witness.cosign(ledger.fork(2, size - 2).export())
    assert claimed_checkpoint(caught.value.older).size == 3


def test_L2_a_smaller_checkpoint_is_refused(witness: Witness, home: Path) -> None:
    """An old one of the true ledger is no fork, and gets no cosignature that would look new."""
    ledger = Ledger().grow(6)
    witness.cosign(ledger.export(4), issuer=ledger.issuer)
    witness.cosign(ledger.export())
    for data in (
        ledger.export(4),
        ledger.export(6),
        ledger.note(4).encode(),
        ledger.note(6).encode(),
        ledger.proof(2, 6),
    ):
        refused(witness, home, RollbackError, data)


@pytest.mark.parametrize("data", [b"", b"x", b"{", b"\xff\xfe", b"old 1\n", b'{"checkpoint":"x"}\n'])
def test_what_is_no_checkpoint_is_refused(witness: Witness, home: Path, data: bytes) -> None:
    """With the parser's error, and nothing is written."""
    refused(witness, home, FormatError, data, issuer=Ledger().issuer)


def test_what_the_issuer_did_not_sign_changes_nothing(witness: Witness, home: Path) -> None:
    """Anyone could send it: it is no evidence against the client."""
    ledger = Ledger().grow(4)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    forged = Ledger(1).grow(4, mark=7)
    forged.key = Ledger(5).key
    refused(witness, home, LedgerError, forged.export())
    refused(witness, home, LedgerError, forged.note().encode())
    text = ledger.grow(1).note()
    refused(witness, home, SignatureError, text.replace("\n6\n", "\n7\n").encode())
    assert witness.cosign(ledger.export()).size == 6


def test_R4_a_clock_set_back_dates_nothing(witness: Witness, home: Path, clock: Clock) -> None:
    """A later cosignature is never older than an earlier one."""
    ledger = Ledger().grow(1)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    clock.advance(timedelta(hours=-1))
    refused(witness, home, ClockError, ledger.grow(1).export())
    clock.advance(timedelta(hours=2))
    assert witness.cosign(ledger.export()).size == 3


def test_G7_clients_are_apart(witness: Witness, home: Path) -> None:
    """A fork of one client's ledger ends nothing of another's."""
    one, other = Ledger().grow(2), Ledger(2, client=bytes(32)).grow(2)
    witness.cosign(one.export(), issuer=one.issuer)
    witness.cosign(other.export(), issuer=other.issuer)
    with pytest.raises(ForkError):
        witness.cosign(one.fork(1, 2).export())
    assert witness.cosign(other.grow(1).export()).size == 4
    assert {each.origin: each.evidence is None for each in seen_ledgers(home)} == {
        one.origin: False,
        other.origin: True,
    }


# Restores


def test_L2_a_restored_ledger_follows_the_one_that_was_seen(witness: Witness, home: Path) -> None:
    """Its `restored` entry says which; where that was cosigned at this size, nothing else is needed."""
    old = Ledger().grow(4)
    witness.cosign(old.export(), issuer=old.issuer)
    new = old.restored(2, 5).grow(2)
    made = witness.cosign(new.export(), issuer=new.issuer)
    assert made.follows is not None
    assert (made.follows.origin, made.follows.size, made.follows.lost, made.follows.shown) == (old.origin, 5, 0, 5)
    assert {each.origin for each in seen_ledgers(home)} == {old.origin, new.origin}


def test_L2_entries_between_are_shown_by_the_older_ledgers_export(witness: Witness, home: Path) -> None:
    """The backup knew more than the witness, or less: what the restore lost is said."""
    old = Ledger().grow(9)
    witness.cosign(old.export(4), issuer=old.issuer)
    new = old.restored(2, 7).grow(2)
    error = refused(witness, home, LedgerError, new.export(), issuer=new.issuer)
    assert old.epoch.hex() in str(error.next_step)
    refused(witness, home, LedgerError, new.export(), issuer=new.issuer, before=[old.export(6)])
    made = witness.cosign(new.export(), issuer=new.issuer, before=[old.export(7)])
    assert made.follows is not None
    assert (made.follows.size, made.follows.lost, made.follows.shown) == (7, 0, 4)


def test_L2_what_a_restore_lost_is_said(witness: Witness) -> None:
    """The witness saw more than the backup held."""
    old = Ledger().grow(9)
    witness.cosign(old.export(4), issuer=old.issuer)
    witness.cosign(old.export(10))
    new = old.restored(2, 6)
    made = witness.cosign(new.export(), issuer=new.issuer, before=[old.export(6)])
    assert made.follows is not None
    assert (made.follows.size, made.follows.lost, made.follows.shown) == (6, 4, 4)


def test_L2_a_new_ledger_that_follows_nothing_is_a_fork(witness: Witness, home: Path) -> None:
    """Or another one than was seen: so nobody gets rid of a ledger by beginning another."""
    old = Ledger().grow(4)
    witness.cosign(old.export(), issuer=old.issuer)
    rewritten = old.fork(2, 3)
    for number, new in enumerate((Ledger(2).grow(3), rewritten.restored(3, 5), rewritten.restored(4, 5))):
        before = [rewritten.export()] if number == 2 else []
        with pytest.raises(ForkError) as caught:
            witness.cosign(new.export(), issuer=new.issuer, before=before)
        assert Path(caught.value.kept[0]).read_text() != Path(caught.value.kept[1]).read_text()
        with pytest.raises(ForkError):
            witness.cosign(new.grow(1).export(), issuer=new.issuer, before=before)
    assert newest(home).size == 5
    assert witness.cosign(old.grow(1).export()).size == 6


def test_L2_a_new_ledger_needs_its_entries(witness: Witness, home: Path) -> None:
    """A checkpoint or a proof alone does not say what it follows."""
    old = Ledger().grow(4)
    witness.cosign(old.export(), issuer=old.issuer)
    new = old.restored(2, 5).grow(2)
    refused(witness, home, LedgerError, new.note().encode(), issuer=new.issuer)
    refused(witness, home, LedgerError, f"old 0\n\n{new.note()}".encode(), issuer=new.issuer)


def test_L2_a_ledger_that_was_missed_is_shown_by_its_export(witness: Witness, home: Path) -> None:
    """Two restores while the witness looked away: each names the one before, and only true exports link them."""
    old = Ledger().grow(4)
    witness.cosign(old.export(), issuer=old.issuer)
    missed = old.restored(2, 5).grow(3)
    new = missed.restored(3, 4).grow(1)
    refused(witness, home, LedgerError, new.export(), issuer=new.issuer)
    stranger = Ledger(2).grow(5)
    refused(witness, home, LedgerError, new.export(), issuer=new.issuer, before=[stranger.export()])
    made = witness.cosign(new.export(), issuer=new.issuer, before=[missed.export(), old.export()])
    assert made.follows is not None
    assert made.follows.origin == old.origin


# The home


def test_a_home_is_made_once_and_opens_with_its_passphrase(witness: Witness, home: Path) -> None:
    """No second key takes the first one's place, and no wrong passphrase opens it."""
    assert str(Witness.open(home, PASSPHRASE).key) == str(witness.key)
    before = state_of(home)
    with pytest.raises(KeystoreError):
        Witness.create(home, "witness.example/bob", PASSPHRASE, parameters=CHEAP)
    with pytest.raises(KeystorePassphraseError):
        Witness.open(home, "wrong")
    with pytest.raises(KeystoreError):
        Witness.open(home / "nowhere", PASSPHRASE)
    assert state_of(home) == before
    assert {path.stat().st_mode & 0o077 for path in home.rglob("*")} == {0}


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x1bb", "n" * 201])
def test_a_name_that_no_note_can_hold_makes_no_home(home: Path, name: str) -> None:
    """Nothing is written."""
    with pytest.raises(FormatError):
        Witness.create(home, name, PASSPHRASE, parameters=CHEAP)
    assert not home.exists()


def test_X2_the_key_is_in_no_file_but_its_keystore(witness: Witness, home: Path) -> None:
    """And in no representation."""
    seed = witness._signer._Identity__signing.seed().reveal()  # type: ignore[attr-defined]
    ledger = Ledger().grow(2)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    assert seed not in bytes_of(home)
    assert seed.hex().encode() not in bytes_of(home)
    assert seed.hex() not in repr(witness) + repr(vars(witness))


def test_a_write_that_fails_cosigns_nothing(witness: Witness, home: Path) -> None:
    """What can't be kept is not said."""
    ledger = Ledger().grow(2)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    folder = next((home / "ledgers").iterdir())
    (folder / f"{5:019}.note").mkdir()
    with pytest.raises(KeystoreError):
        witness.cosign(ledger.grow(2).export())
    (folder / f"{5:019}.note").rmdir()
    assert newest(home).size == 3
    assert witness.cosign(ledger.export()).size == 5


def test_a_checkpoint_of_a_foreign_file_is_not_believed(witness: Witness, home: Path) -> None:
    """A folder that holds another ledger's checkpoints is an error and not a fresh start."""
    ledger = Ledger().grow(2)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    folder = next((home / "ledgers").iterdir())
    other = Ledger(3)
    note = sign_checkpoint(Checkpoint(other.origin, 1, other.root(1)), other.name, other.key)
    (folder / f"{9:019}.note").write_text(note)
    with pytest.raises(KeystoreError):
        witness.cosign(ledger.grow(1).export())
