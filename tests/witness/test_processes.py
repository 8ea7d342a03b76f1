"""One witness's home, several processes: no two updates at a time move it backwards, and a kill leaves old or new."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labelvault.errors import LabelVaultError
from labelvault.ledger.cosignature import cosignature_by
from labelvault.witness import Witness, seen_ledgers
from tests.witness.ledger import Ledger
from tests.world import CHEAP, PASSPHRASE

SIZES = range(2, 42)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def witness(home: Path) -> Witness:
    return Witness.create(home, "witness.example/ada", PASSPHRASE, parameters=CHEAP)


def start(home: Path, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.witness.worker", str(home), *map(str, arguments)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_L4_concurrent_updates_never_move_backwards(witness: Witness, home: Path, tmp_path: Path) -> None:
    """Four processes offer all sizes, each in its own order: every update begins where the one before it ended."""
    ledger = Ledger().grow(max(SIZES))
    witness.cosign(ledger.export(1), issuer=ledger.issuer)
    files = []
    for size in SIZES:
        files.append(tmp_path / f"{size}.jsonl")
        files[-1].write_bytes(ledger.export(size))
    workers = [start(home) for _ in range(4)]
    order = random.Random(4)
    for worker in workers:
        # Mostly upwards, so that many are taken; never the same way twice.
        mine = sorted(files, key=lambda file: int(file.stem) + order.uniform(-6, 6))
        assert worker.stdin is not None
        worker.stdin.write("".join(f"{file}\n" for file in mine))
        worker.stdin.flush()
    answers = []
    for worker in workers:
        out, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0
        answers += [json.loads(line) for line in out.splitlines()]
    assert len(answers) == 4 * len(SIZES)
    taken = sorted(answer for answer in answers if isinstance(answer, list))
    assert {answer for answer in answers if isinstance(answer, str)} == {"RollbackError"}
    steps = sorted({(before, size) for before, size in taken if before != size})
    assert len(steps) > 5
    assert [before for before, _ in steps] == [1, *[size for _, size in steps[:-1]]]
    (seen,) = seen_ledgers(home)
    assert seen.checkpoint.size == steps[-1][1] == max(SIZES)
    assert cosignature_by(seen.note, witness.key) is not None


def test_L2_of_two_forks_offered_at_once_one_is_cosigned(witness: Witness, home: Path, tmp_path: Path) -> None:
    """Whichever comes first; the other is evidence, and from then on neither is taken."""
    ledger = Ledger().grow(3)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    files = []
    for mark in range(4):
        files.append(tmp_path / f"{mark}.jsonl")
        files[-1].write_bytes(ledger.fork(4, 2, mark=mark).export())
    workers = [start(home) for _ in files]
    for worker, file in zip(workers, files, strict=True):
        assert worker.stdin is not None
        worker.stdin.write(f"{file}\n")
        worker.stdin.flush()
    answers = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert sorted(answers, key=str) == ["ForkError", "ForkError", "ForkError", [4, 6]]
    (seen,) = seen_ledgers(home)
    assert seen.evidence is not None
    older, newer = ((seen.evidence / name).read_text() for name in ("older.note", "newer.note"))
    assert older == seen.note
    assert older.splitlines()[:2] == newer.splitlines()[:2]
    assert older.splitlines()[2] != newer.splitlines()[2]


@pytest.mark.parametrize("fork", [False, True])
def test_C1_a_kill_at_any_step_leaves_the_old_state_or_the_new_one(
    witness: Witness, home: Path, tmp_path: Path, fork: bool
) -> None:
    """What left the process was durable; what was not, is taken the next time; evidence is whole or not there."""
    ledger = Ledger().grow(3)
    witness.cosign(ledger.export(), issuer=ledger.issuer)
    offered = ledger.fork(2, 4) if fork else Ledger().grow(6)
    file = tmp_path / "next.jsonl"
    file.write_bytes(offered.export())
    calls, killed = 0, 0
    while True:
        calls += 1
        worker = start(home, calls)
        out, _ = worker.communicate(f"{file}\n", timeout=120)
        (seen,) = seen_ledgers(home)
        assert seen.checkpoint.root in (ledger.root(), Ledger().grow(6).root())
        if seen.evidence is not None:
            assert {path.name for path in seen.evidence.iterdir() if path.suffix != ".tmp"} == {
                "older.note",
                "newer.note",
                "proof",
            }
        if worker.returncode != -signal.SIGKILL:
            break
        assert out == ""
        killed += 1
    assert killed > 4
    assert json.loads(out) == ("ForkError" if fork else [7, 7])
    if fork:
        with pytest.raises(LabelVaultError):
            witness.cosign(ledger.export())
    else:
        assert seen.checkpoint.size == 7
