"""What a client shows witnesses and keeps of their word, over a real home, a witness's home and an auditor's check."""

import shutil
from pathlib import Path

import pytest

from labelvault.auditor import verify_witnessed
from labelvault.client import Client, PassphraseRoot
from labelvault.client.recovering import restore
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import ForkError, FormatError, LedgerError, QuorumError, RollbackError, SignatureError
from labelvault.ledger.checkpoint import claimed_checkpoint
from labelvault.ledger.cosignature import CosignerKey, cosign
from labelvault.ledger.extension import parse_extension
from labelvault.ledger.note import VerifierKey, parse_verifier_key, signature_line, split_note
from labelvault.witness import Witness, seen_ledgers
from tests.world import CHEAP, PASSPHRASE, World, dump


def witness(world: World, name: str = "w1") -> Witness:
    return Witness.create(
        world.folder / name, f"witness.example/{name}", PASSPHRASE, parameters=CHEAP, clock=world.clock
    )


def issuer_of(world: World) -> VerifierKey:
    return parse_verifier_key(world.lab.verify_ledger().verifier_key)


def refused(world: World, kind: type[Exception], note: str, *keys: CosignerKey) -> Exception:
    """What the client does not keep, with this kind exactly."""
    before = dump(world.client_db)
    with pytest.raises(kind) as caught:
        world.lab.add_cosignatures(note, keys)
    assert type(caught.value) is kind
    assert dump(world.client_db) == before
    return caught.value


def test_a_ledger_is_proved_cosigned_and_verified_by_quorum(world: World) -> None:
    """From the client's proof to the auditor's verdict, by files; what came later is signed by the issuer only."""
    one, two = witness(world, "w1"), witness(world, "w2")
    first = one.cosign(world.lab.prove_ledger(0), issuer=issuer_of(world))
    assert world.lab.add_cosignatures(first.note, [one.key]).size == first.size
    second = two.cosign(world.lab.prove_ledger(0), issuer=issuer_of(world))
    assert world.lab.add_cosignatures(second.note, [two.key]).size == first.size
    kept = world.lab.cosigned()
    assert kept is not None
    assert [name for name, _, _ in split_note(kept.note)[1]][1:] == ["witness.example/w1", "witness.example/w2"]
    world.worker()
    again = one.cosign(world.lab.prove_ledger(first.size))
    assert again.size > first.size == again.before
    world.lab.add_cosignatures(again.note, [one.key])
    export = world.lab.export_cosigned()
    world.lab.freeze("eval")
    checked = verify_witnessed(export, issuer_of(world), kept=[kept.note], witnesses=[one.key, two.key], quorum=2)
    assert (checked.size, checked.covered) == (again.size, first.size)
    assert [each.size for each in checked.cosignatures] == [again.size, first.size]
    assert verify_witnessed(export, issuer_of(world), witnesses=[one.key]).covered == again.size
    whole = verify_witnessed(world.lab.export_ledger(), issuer_of(world), kept=[again.note], witnesses=[one.key])
    assert (whole.size, whole.covered) == (again.size + 1, again.size)
    assert verify_witnessed(world.lab.export_ledger(), issuer_of(world)).covered is None
    for data, keys, quorum in ((export, [two.key], 1), (export, [one.key, two.key], 2), (export, [one.key], 2)):
        with pytest.raises(QuorumError):
            verify_witnessed(data, issuer_of(world), witnesses=keys, quorum=quorum)


def test_L2_an_auditor_sees_a_fork_against_what_a_witness_cosigned(world: World) -> None:
    """A home that was copied and went on twice: the witness refuses the other one, and so does who kept its note."""
    me = witness(world)
    copied = world.folder / "copied"
    world.lab.close()
    shutil.copytree(world.home, copied)
    world.lab = world.open_client()
    world.project = world.lab.project("eval")
    world.worker()
    true = me.cosign(world.lab.prove_ledger(0), issuer=issuer_of(world))
    other = Client.open(copied, PassphraseRoot(PASSPHRASE, parameters=CHEAP), clock=world.clock)
    for _ in range(9):
        other.freeze("eval")
        other.unfreeze("eval")
    export = other.export_ledger()
    with pytest.raises(ForkError) as caught:
        verify_witnessed(export, issuer_of(world), kept=[true.note], witnesses=[me.key])
    assert claimed_checkpoint(caught.value.older).size == true.size
    with pytest.raises(LedgerError):
        me.cosign(other.prove_ledger(true.size))
    with pytest.raises(ForkError) as caught:
        me.cosign(export)
    assert caught.value.newer == other.verify_ledger().checkpoint
    (seen,) = seen_ledgers(world.folder / "w1")
    assert seen.evidence is not None
    # The client hears of it, too, when the other home's checkpoint comes to it.
    stolen = cosign(other.verify_ledger().checkpoint, me.key.name, me._signer, world.clock())
    other.close()
    error = refused(world, ForkError, stolen, me.key)
    assert isinstance(error, ForkError)
    assert error.newer == world.lab.verify_ledger().checkpoint


def test_a_proof_begins_at_any_size_that_was(world: World) -> None:
    """And at no other; each holds against the witness's own checkpoint."""
    size = world.lab.verify_ledger().size
    for old in (0, 1, size - 1, size):
        assert parse_extension(world.lab.prove_ledger(old).decode()).old == old
    for old in (-1, size + 1, 2**70):
        with pytest.raises(LedgerError):
            world.lab.prove_ledger(old)
    with pytest.raises(LedgerError):
        world.lab.prove_ledger(0, bytes(16))


def test_what_no_witness_said_is_not_kept(world: World) -> None:
    """A bare checkpoint, a stranger's line, a line that does not verify, another client's checkpoint."""
    me, other = witness(world), witness(world, "w2")
    bare = world.lab.verify_ledger().checkpoint
    good = me.cosign(bare.encode(), issuer=issuer_of(world)).note
    refused(world, LedgerError, bare, me.key)
    refused(world, LedgerError, good, other.key)
    value = bytearray(split_note(good)[1][-1][2])
    value[-1] ^= 1
    refused(world, SignatureError, bare + signature_line(me.key.name, me.key.key_id, bytes(value)), me.key)
    refused(world, SignatureError, _flipped(good), me.key)
    refused(world, FormatError, "x", me.key)
    refused(world, LedgerError, good, CosignerKey(me.key.name, other.key.public_key))
    stranger = world.create_client("stranger").verify_ledger().checkpoint
    refused(world, LedgerError, cosign(stranger, me.key.name, me._signer, world.clock()), me.key)
    with pytest.raises(LedgerError):
        world.lab.export_cosigned()
    assert world.lab.cosigned() is None


def _flipped(note: str) -> str:
    """The note with a bit of the issuer's signature flipped."""
    lines = note.split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("— labelvault.issuer/"))
    name, key_id, value = split_note(note)[1][0]
    lines[at] = signature_line(name, key_id, value[:-1] + bytes([value[-1] ^ 1])).rstrip("\n")
    return "\n".join(lines)


def test_lines_of_strangers_are_not_kept(world: World) -> None:
    """Whoever carries the file could fill the note with lines that nobody asked for."""
    me = witness(world)
    note = world.lab.verify_ledger().checkpoint
    for number in range(10):
        note = cosign(note, f"stranger.example/{number}", SigningKey(SecretBytes(bytes([number]) * 32)), world.clock())
    note = me.cosign(note.encode(), issuer=issuer_of(world)).note
    kept = world.lab.add_cosignatures(note, [me.key]).note
    assert len(split_note(kept)[1]) == 2


def test_an_older_checkpoint_is_kept_beside_the_newest(world: World) -> None:
    """Answers of witnesses come in any order; the largest is what is handed on."""
    me, other = witness(world), witness(world, "w2")
    early = me.cosign(world.lab.prove_ledger(0), issuer=issuer_of(world))
    world.worker()
    late = other.cosign(world.lab.prove_ledger(0), issuer=issuer_of(world))
    for made, key in ((late, other.key), (early, me.key)):
        world.lab.add_cosignatures(made.note, [key])
        kept = world.lab.cosigned()
        assert kept is not None
        assert kept.size == late.size
    with pytest.raises(RollbackError):
        other.cosign(early.note.encode())


def test_L2_a_restored_clients_ledger_is_cosigned_as_the_one_that_follows(world: World, tmp_path: Path) -> None:
    """From a real backup and restore: the witness sees the link, and what the restore lost."""
    me = witness(world)
    world.lab.backup(tmp_path / "lab.backup")
    at_backup = world.lab.verify_ledger().size
    me.cosign(world.lab.export_ledger(), issuer=issuer_of(world))
    world.worker()
    me.cosign(world.lab.export_ledger())
    seen = world.lab.verify_ledger().size
    old = world.lab.ledgers()[-1].log.epoch
    root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
    keystore = world.home / "root.keystore"
    restore(world.folder / "again", root, tmp_path / "lab.backup", keystore=keystore, clock=world.clock)
    restored = world.open_client("again")
    new = restored.verify_ledger()
    made = me.cosign(
        restored.export_ledger(), issuer=parse_verifier_key(new.verifier_key), before=[restored.export_ledger(old)]
    )
    assert made.follows is not None
    assert (made.follows.size, made.follows.lost, made.follows.shown) == (at_backup, seen - at_backup, at_backup)
    restored.freeze("eval")
    assert me.cosign(restored.prove_ledger(made.size)).size == made.size + 1
