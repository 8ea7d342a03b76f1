"""Random histories: whatever is offered in whatever order and form, what was cosigned is one ledger, and only grows."""

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelvault.crypto.sign import SigningKey
from labelvault.errors import ForkError, LabelVaultError
from labelvault.ledger.checkpoint import claimed_checkpoint
from labelvault.ledger.cosignature import cosignature_by
from labelvault.witness import Witness
from tests.witness.ledger import Ledger
from tests.world import Clock

SIZE = 12
FORMS = ("note", "export", "proof")
OFFERS = st.tuples(st.integers(0, 2), st.integers(0, SIZE), st.sampled_from(FORMS), st.integers(0, SIZE))


def offered(ledger: Ledger, size: int, form: str, old: int) -> bytes:
    """A file as its owner would write it; a proof may begin anywhere."""
    if form == "note":
        return ledger.note(size).encode()
    return ledger.export(size) if form == "export" else ledger.proof(max(1, min(old, size)), max(1, size))


@settings(max_examples=150, deadline=None)
@given(at=st.integers(1, SIZE - 1), again=st.integers(1, SIZE - 1), offers=st.lists(OFFERS, max_size=12))
@example(at=3, again=3, offers=[(0, 0, "export", 0), (0, 5, "note", 0), (1, 9, "export", 0), (0, 9, "export", 0)])
@example(at=6, again=2, offers=[(0, 4, "export", 0), (1, 9, "proof", 4), (2, 3, "export", 0), (0, 12, "export", 0)])
def test_L2_what_was_cosigned_is_one_ledger_and_only_grows(
    at: int, again: int, offers: list[tuple[int, int, str, int]]
) -> None:
    """Of three ledgers that part from each other anywhere, under one name and key; after a fork nothing is cosigned."""
    true = Ledger().grow(SIZE - 1)
    ledgers = [true, true.fork(at, SIZE - at, mark=8), true.fork(again, SIZE - again, mark=9)]
    with tempfile.TemporaryDirectory() as folder:
        witness = Witness(Path(folder), "witness.example/ada", SigningKey.generate(), Clock())
        notes: list[str] = []
        forked = False
        for which, size, form, old in offers:
            data = offered(ledgers[which], size, form, old)
            try:
                made = witness.cosign(data, issuer=true.issuer)
            except ForkError as fork:
                forked = True
                pair = [claimed_checkpoint(each) for each in (fork.older, fork.newer)]
                assert not [each for each in ledgers if all(each.root(one.size) == one.root for one in pair)]
                continue
            except LabelVaultError:
                continue
            assert not forked
            notes.append(made.note)
        seen = [claimed_checkpoint(note) for note in notes]
        assert [each.size for each in seen] == sorted(each.size for each in seen)
        assert all(cosignature_by(note, witness.key) is not None for note in notes)
        assert [each for each in ledgers if all(each.root(one.size) == one.root for one in seen)]
