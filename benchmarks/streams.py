"""Rows 5 to 7: one large file, sealed and opened from disk to disk, and read in ranges; each step in its own process.

What is compared goes from a file that is in the page cache to a new file, and ends when what was written is flushed:
a copy loop, Tink and age by an fsync of ours, as neither flushes anything by itself. Before each step the disk is at
rest, and memory for the new file is at hand: a virtual machine gives free pages back to its host within seconds, and
then the first write to each takes ten times as long.

LabelVault has two lines. `seal file` and `open file` are what a peer does: from a file to a file by the envelope alone,
digest included; and from there to a file, each byte checked. `seal` and `open` are all of it: from a project's folder
into a vault, with source hash, catalog, ledger and the vault's rows; and from the request through the issuer's release
to a contractor's folder.

Run alone, it shows every step's time and peak: `python -m benchmarks.streams --size-mib 1024`.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import files
from benchmarks.files import MIB, SOURCE, begin
from benchmarks.home import PASSPHRASE, Home
from benchmarks.lines import Line, absent, at_least
from benchmarks.measure import Effort, Times
from benchmarks.peers import age, tink
from benchmarks.steps import Measured, in_own_process, run_step
from labelvault.client.projectfile import parse_project_file
from labelvault.contractor import Contractor
from labelvault.contractor.child import write_parts
from labelvault.contractor.output import filled

_RANGES: Final = 1000
_OVER_MS: Final = 3.0
_TOUCHED_MIB: Final = 3.0
_ROWS: Final = (("copy", 0.75), ("tink", 1.3), ("age", 2.0))
"""What sealing and opening are held against, and the targets."""
_NAMES: Final = {
    "copy": "a plain copy loop",
    "tink": "Tink streaming, 1 MiB segments",
    "age": "age (pyrage)",
    "primitives": "Cobblestone-256 and SHA-256 in memory, on all cores",
}
_WHOLE: Final = {"seal": "folder to vault", "open": "request to folder"}
_TOLD_PEAKS: Final = frozenset({"seal", "open", "seal file", "open file"})


def make(folder: Path, size: int, *, sparse: bool = False) -> None:
    """Make vault, client, contractor, and a folder with one large attachment and a task that requires it."""
    source, home = folder / "source", Home(folder)
    for name in ("attachments", "tasks"):
        (source / name).mkdir(parents=True)
    made, left = random.Random(1), size  # noqa: S311 - data to measure with
    with (folder / SOURCE).open("wb") as stream:
        if sparse:
            left = left % MIB
            stream.truncate(size)
        # Piece by piece: a child's peak begins with what its parent holds when it starts.
        while left:
            left -= stream.write(made.randbytes(min(left, MIB)))
    (source / "tasks/w.jsonl").write_text('{"id": "one", "file": "large.bin"}\n')
    (source / "labelvault.toml").write_text('[tasks]\nattachments = ["file"]\n')
    home.make()


def seal(folder: Path) -> float:
    """Seal the folder into the vault."""
    # Loads what reads a folder's settings: peers are loaded before their time begins, too, and starting is row 13.
    parse_project_file("")
    with Home(folder).client() as (_, project):
        begun = begin(folder)
        report = project.seal(folder / "source")
        taken = time.perf_counter() - begun
    if report.errors or report.new != 2:
        raise SystemExit(f"sealing failed: {report}")
    return taken


def seal_again(folder: Path) -> float:
    """Seal the unchanged folder: hash and compare."""
    with Home(folder).client() as (_, project):
        begun = time.perf_counter()
        if project.seal(folder / "source").same != 2:
            raise SystemExit("something was sealed again")
        return time.perf_counter() - begun


def unseal(folder: Path) -> float:
    """Open the task, and write all that it requires to disk, in this process."""
    home = Home(folder)
    with home.client() as (lab, project), lab.issuer() as issuer:
        made, _ = home.join(lab, project)
        (item,) = project.items("task")
        with made as ada:
            begun = begin(folder)
            with ada.open_task(item.item, exchange=issuer.handle) as task, filled(folder / "opened") as directory:
                write_parts(directory, task._live())
            return time.perf_counter() - begun


def ranges(folder: Path, count: str = str(_RANGES)) -> float:
    """Read random ranges, and compare them with the source."""
    home, choose = Home(folder), random.Random(2)  # noqa: S311 - places to read at
    with home.client() as (lab, project), Contractor.open(folder / "ada", PASSPHRASE) as ada, lab.issuer() as issuer:
        (item,) = project.items("task")
        with ada.open_task(item.item, exchange=issuer.handle) as task, (folder / SOURCE).open("rb") as source:
            (part,) = task.required
            begun = time.perf_counter()
            with part.open() as stream:
                for _ in range(int(count)):
                    offset, length = choose.randrange(part.size), choose.randrange(100_000)
                    stream.seek(offset)
                    source.seek(offset)
                    if stream.read(length) != source.read(length):
                        raise SystemExit("a range is not what the source has")
            return time.perf_counter() - begun


def _bytes_read() -> int:
    """Return how many bytes this process has read so far, from files or their caches; Linux only."""
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split()[1])


def places(folder: Path, count: str) -> float:
    """Read 1 MiB at random places, sealed and plain in turn; write what both took, and what the sealed read touched."""
    home, choose = Home(folder), random.Random(3)  # noqa: S311 - places to read at
    begun, found = time.perf_counter(), list[tuple[float, float, int]]()
    with home.client() as (lab, project), lab.issuer() as issuer:
        made, _ = home.join(lab, project)
        (item,) = project.items("task")
        with made as ada, ada.open_task(item.item, exchange=issuer.handle) as task:
            (part,) = task.required
            with part.open() as stream, (folder / SOURCE).open("rb", buffering=0) as source:
                stream.read(1)
                for _ in range(int(count)):
                    offset, before = choose.randrange(part.size - MIB), _bytes_read()
                    started = time.perf_counter()
                    stream.seek(offset)
                    read = stream.read(MIB)
                    between, touched = time.perf_counter(), _bytes_read() - before
                    if os.pread(source.fileno(), MIB, offset) != read:
                        raise SystemExit("a range is not what the source has")
                    found.append((between - started, time.perf_counter() - between, touched))
    (folder / "places.json").write_text(json.dumps(found))
    return time.perf_counter() - begun


STEPS: Final[dict[str, Callable[..., float]]] = {
    "copy": files.copy,
    "seal file": files.seal_file,
    "open file": files.open_file,
    "seal primitives": lambda folder: files.primitives(folder, "seal"),
    "open primitives": lambda folder: files.primitives(folder, "open"),
    "seal": seal,
    "seal again": seal_again,
    "open": unseal,
    "1,000 ranges": ranges,
    "places": places,
    "seal tink": lambda folder: files.tink(folder, seal=True),
    "open tink": lambda folder: files.tink(folder, seal=False),
    "seal age": lambda folder: files.age(folder, seal=True),
    "open age": lambda folder: files.age(folder, seal=False),
}
_OWN_STEPS: Final = ("copy", "seal", "seal again", "open", "1,000 ranges", "seal file", "open file")


def _check_opened(folder: Path, *opened: str) -> None:
    digests = set()
    for name in (SOURCE, *opened):
        with (folder / name).open("rb") as stream:
            digests.add(hashlib.file_digest(stream, "sha256").digest())
    if len(digests) != 1:
        raise SystemExit("what was opened is not what was sealed")


def _in_turn(effort: Effort, size: int, peers: list[str]) -> tuple[Times, int]:
    """Seal and open with each, in turn, in an order that changes; what one round wrote is gone before the next."""
    contenders = ["copy", "file", "", "primitives", *peers]
    pairs = {name: [f"{what} {name}".strip() for what in ("seal", "open")] for name in contenders} | {"copy": ["copy"]}
    times, peak = Times([step for steps in pairs.values() for step in steps]), 0
    for number in range(effort.size(3, 1)):
        folder = effort.folder / str(number)
        folder.mkdir()
        make(folder, size)
        start = number % len(contenders)
        for name in contenders[start:] + contenders[:start]:
            for step in pairs[name]:
                found = in_own_process(__name__, step, folder)
                times.add(step, found.seconds)
                if step in _TOLD_PEAKS:
                    peak = max(peak, found.peak_bytes)
            written = [path for path in folder.iterdir() if path.name.startswith(f"{name}.")]
            _check_opened(folder, *(path.name for path in written if path.suffix == ".opened"))
            for path in written:
                path.unlink()
        _check_opened(folder, "opened/large.bin")
        shutil.rmtree(folder)
    return times, peak


def rows(effort: Effort) -> Iterator[Line]:
    """Measure rows 5 to 7."""
    size = effort.size(1024, 16)
    gone = {name: peer.absent for name, peer in (("tink", tink()), ("age", age())) if peer.absent}
    times, peak = _in_turn(effort, size * MIB, [name for name in ("tink", "age") if name not in gone])
    for row, what in ((5, "seal"), (6, "open")):
        for step, how in ((f"{what} file", "file to file"), (what, _WHOLE[what])):
            work, ours = f"{what} a file of {size} MiB, {how}, MiB/s", size / times.median(step)
            for name, target in _ROWS:
                if name in gone:
                    yield absent(row, work, ours, _NAMES[name], gone[name], target)
                    continue
                other = "copy" if name == "copy" else f"{what} {name}"
                theirs, ratio = size / times.median(other), times.times_as_fast(step, other)
                yield at_least(row, work, ours, _NAMES[name], theirs, ratio, target)
            other = f"{what} primitives"
            theirs, ratio = size / times.median(other), times.times_as_fast(step, other)
            yield at_least(row, work, ours, _NAMES["primitives"], theirs, ratio, None)
    yield Line(5, "memory to seal or open it, MiB at most", peak / MIB, "nothing", None, None)
    yield from _places(effort)


def _places(effort: Effort) -> Iterator[Line]:
    size, folder = effort.size(4096, 80), effort.folder / "places"
    folder.mkdir()
    make(folder, size * MIB, sparse=True)
    in_own_process(__name__, "seal", folder)
    in_own_process(__name__, "places", folder, str(effort.size(200, 10)))
    found = json.loads((folder / "places.json").read_text())
    ours, plain = (statistics.median(each[at] for each in found) * 1000 for at in (0, 1))
    over = statistics.median(each[0] - each[1] for each in found) * 1000
    touched = max(each[2] for each in found) / MIB
    work, name = f"read 1 MiB at a random place of {size} MiB", "plaintext from a file"
    yield Line(7, f"{work}, ms", ours, name, plain, ours / plain, f"≤ {_OVER_MS:g} ms over", over <= _OVER_MS)
    target = f"≤ {_TOUCHED_MIB:g} MiB"
    yield Line(7, f"{work}, MiB touched at most", touched, name, 1.0, touched, target, touched <= _TOUCHED_MIB)


def _alone(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__.splitlines()[0])
    parser.add_argument("--size-mib", type=int, default=256, help="size of the file (default: 256)")
    parser.add_argument("--json", action="store_true", help="one JSON object for all")
    parser.add_argument("--where", type=Path, default=None, help="folder for temporary files")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="labelvault-streams-", dir=chosen.where))
    try:
        make(folder, chosen.size_mib * MIB)
        found = {step: in_own_process("benchmarks.streams", step, folder) for step in _OWN_STEPS}
        _check_opened(folder, "opened/large.bin", "file.opened")
    finally:
        shutil.rmtree(folder)
    if chosen.json:
        facts = {step: {"seconds": each.seconds, "peak_bytes": each.peak_bytes} for step, each in found.items()}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    base = found["copy"].seconds
    sys.stdout.write(f"{chosen.size_mib} MiB\n{'':14}{'seconds':>10}{'of a copy':>11}{'MiB/s':>9}{'peak MiB':>10}\n")
    for step, each in found.items():
        sys.stdout.write(_shown(step, each, chosen.size_mib, base))


def _shown(step: str, found: Measured, size_mib: int, base: float) -> str:
    speed = "" if step == "1,000 ranges" else f"{size_mib / found.seconds:.0f}"
    return f"{step:14}{found.seconds:10.2f}{found.seconds / base:10.1f}x{speed:>9}{found.peak_bytes / MIB:10.0f}\n"


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in STEPS:
        run_step(STEPS, sys.argv[1:])
    else:
        _alone(sys.argv[1:])
