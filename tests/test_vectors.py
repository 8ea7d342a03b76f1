"""The committed vectors: each fault is refused as it says by every public entry, and its valid twin is accepted."""

from collections import Counter
from pathlib import Path

import pytest

from tests.vectors.craft import Sealed
from tests.vectors.entries import ENTRIES, outcome
from tests.vectors.form import FOLDER, differences, load, names
from tests.vectors.generate import build

NAMES = names()
FAULTS = [name for name in NAMES if load(name).twin is not None]
VALID = [name for name in NAMES if load(name).twin is None]
LEAST_FAULTS = 60
AREAS = {"header", "payload", "wrap", "card", "certificate", "grant", "request", "lease", "receipt", "checkpoint"}
AREAS |= {"submission", "ack", "approval", "assignment", "prekey-bundle", "status", "ahead", "backup", "share"}


def test_vectors_are_there() -> None:
    """An empty or thinned-out folder is a failure: every area has faults, and all areas together many."""
    assert len(FAULTS) >= LEAST_FAULTS
    faults, valid = (Counter(load(name).area for name in group) for group in (FAULTS, VALID))
    assert set(faults) == set(valid) == set(ENTRIES) >= AREAS
    assert min(faults.values()) >= 5


@pytest.mark.parametrize("name", FAULTS)
def test_F1_P1_fault_is_refused_and_its_valid_twin_accepted(name: str, tmp_path: Path) -> None:
    """By every entry of the area: the twin passes, and the fault raises exactly the named error."""
    vector = load(name)
    assert vector.twin is not None
    twin = load(vector.twin)
    entries = ENTRIES[vector.area]
    assert set(vector.refused) | set(vector.accepted) == set(entries)
    assert vector.refused
    assert not set(vector.refused) & set(vector.accepted)
    for number, (label, entry) in enumerate(entries.items()):
        assert outcome(entry, twin.inputs, tmp_path / f"{number}-twin") is None, label
        assert outcome(entry, vector.inputs, tmp_path / f"{number}-fault") == vector.refused.get(label), label


@pytest.mark.parametrize("name", VALID)
def test_valid_vector_is_accepted(name: str, tmp_path: Path) -> None:
    """By every entry of its area."""
    for number, entry in enumerate(ENTRIES[load(name).area].values()):
        assert outcome(entry, load(name).inputs, tmp_path / str(number)) is None


@pytest.mark.parametrize("name", FAULTS)
def test_fault_differs_from_its_twin_where_it_says(name: str) -> None:
    """One input, two where one names the other; and in that input, the fields or bytes that the file lists."""
    vector = load(name)
    assert vector.twin is not None
    twin = load(vector.twin)
    assert twin.twin is None
    assert twin.area == vector.area
    assert vector.inputs.keys() == twin.inputs.keys()
    changed = {key for key in twin.inputs if twin.inputs[key] != vector.inputs[key]}
    assert changed == set(vector.changes)
    assert 1 <= len(changed) <= 2
    assert vector.differs == tuple(differences(vector, twin))


def test_every_valid_vector_is_some_faults_twin_or_stands_for_a_variant() -> None:
    """Names say which is which."""
    for name in VALID:
        assert name.partition("_")[2].startswith("valid")
    assert not [name for name in FAULTS if name.partition("_")[2].startswith("valid")]


def test_generator_writes_the_committed_files() -> None:
    """Byte for byte, none missing and none left over: signing, hashing and encoding are what they were."""
    made = build(Sealed(anew=False))
    assert sorted(made) == NAMES
    for name, text in made.items():
        assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text, name


def test_sealing_anew_gives_other_bytes_that_open_alike(tmp_path: Path) -> None:
    """What can't be made the same twice is not the same twice, so that nothing here has a fixed nonce."""
    kept, anew = Sealed(anew=False), Sealed(anew=True)
    build(anew)
    assert kept._kept.keys() == anew._kept.keys()
    assert not set(kept._kept.values()) & set(anew._kept.values())
