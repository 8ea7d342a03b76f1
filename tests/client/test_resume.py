"""Killed from outside at any moment: the next run seals what was not done, and nothing that was."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labelvault.client import Client
from labelvault.client.sealing import WINDOW_ITEMS
from labelvault.vendor import Vault
from tests.client.test_large import content_of, put, summary
from tests.world import World, rows, write_file

MIB = 1024 * 1024
BEFORE = 9
"""Items of the world, sealed already."""
_SEAL = """
import sys
from pathlib import Path
from labelvault.client import Client, PassphraseRoot
from tests.world import CHEAP, PASSPHRASE
folder = Path(sys.argv[1])
with Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
    print("began", flush=True)
    lab.project("eval").seal(folder / "source", progress=lambda counts: print(counts.done, flush=True))
"""


def payloads(world: World) -> int:
    """How many files lie beside the vault's database, begun ones too."""
    return sum(1 for path in world.folder.rglob("*.payloads/**/*") if path.is_file())


def killed(world: World, when: Callable[[int], bool]) -> None:
    """Seal in a process, and kill it once `when` says so; it gets the number of items that are done."""
    command = [sys.executable, "-c", _SEAL, str(world.folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        lines = process.stdout
        assert lines.readline() == b"began\n"
        seen = [0]
        thread = threading.Thread(target=lambda: seen.extend(map(int, lines)))
        thread.start()
        end = time.monotonic() + 60
        while not when(seen[-1]):
            assert process.poll() is None, "it was done before it was killed"
            assert time.monotonic() < end
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        thread.join()


def current(lab: Client) -> dict[bytes, int]:
    """Current versions by item."""
    return {each.item: each.version for each in lab.project("eval").items()}


def check_resumes(world: World, total: int, low: int, high: int) -> None:
    """What was done by then stays as it is; a second run seals the rest, a third one nothing."""
    lab = world.open_client()
    lab.verify_ledger()
    done = current(lab)
    assert low <= len(done) - BEFORE <= high
    report = lab.project("eval").seal(world.source)
    assert summary(report) == (total - len(done), 0, len(done), 0, 0)
    after = current(lab)
    assert len(after) == total
    assert all(after[item] == version for item, version in done.items())
    assert summary(lab.project("eval").seal(world.source)) == (0, 0, total, 0, 0)
    lab.verify_ledger()
    out = world.folder / "out"
    assert not lab.project("eval").export(out).faults


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_C1_a_kill_among_large_files_costs_the_one_that_was_sealed(world: World, streams: int) -> None:
    """Five of 24 MiB, killed while one is stored: those before it are done, and only what is not is sealed again."""
    contents = {f"attachments/film-{number}.bin": content_of(24 * MIB, number) for number in range(5)}
    for name, content in contents.items():
        put(world, name, content)
    killed(world, lambda done: payloads(world) >= streams + 1)
    check_resumes(world, BEFORE + 5, streams, 4)
    for name, content in contents.items():
        assert (world.folder / "out" / name).read_bytes() == content
    # What the killed run left at the vault is collected as any broken upload is.
    with Vault.open(world.vault) as vault:
        vault.purge()


@pytest.mark.parametrize("windows", [1, 2])
def test_C1_a_kill_among_windows_costs_two_at_most(world: World, windows: int) -> None:
    """Rows and 24 MiB beside them, killed while a window is filled: all but that one and the one before it are done."""
    count = (windows + 1) * WINDOW_ITEMS + 100
    put(world, "attachments/film.bin", content_of(24 * MIB))
    write_file(world.source, "tasks/w9.jsonl", rows(*(f"row {number}" for number in range(count))))
    killed(world, lambda done: done >= windows * WINDOW_ITEMS + BEFORE + 1)
    lab = world.open_client()
    # The large file is one item, and what is sealed before it goes before it.
    assert (len(current(lab)) - BEFORE - 1) % WINDOW_ITEMS == 0
    check_resumes(world, BEFORE + 1 + count, (windows - 1) * WINDOW_ITEMS + 1, 1 + count)
