"""Sealing and opening one large file, against a plain copy loop: seconds, ratio, peak memory, each in its own process.

Run from the repository: `python benchmarks/streams.py --size-mib 1024`. Needs about six times the size on the disk.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.contractor import Contractor
from labelvault.contractor.child import write_parts
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.vendor import Vault

MIB = 1024 * 1024
CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
PASSPHRASE = "only for measuring"  # noqa: S105
NAME = "attachments/large.bin"


def make(folder: Path, size: int) -> None:
    """Make vault, client, contractor, and a folder with one large attachment and a task that requires it."""
    source = folder / "source"
    for name in ("attachments", "tasks"):
        (source / name).mkdir(parents=True)
    # Piece by piece: a child's peak begins with what its parent holds when it starts.
    made, left = random.Random(1), size  # noqa: S311 - data to measure with
    with (source / NAME).open("wb") as stream:
        while left:
            left -= stream.write(made.randbytes(min(left, MIB)))
    (source / "tasks/w.jsonl").write_text('{"id": "one", "file": "large.bin"}\n')
    (source / "labelvault.toml").write_text('[tasks]\nattachments = ["file"]\n')
    (folder / "vendor").mkdir()
    address = f"sqlite:///{folder}/vendor/vault.db"
    Vault.open(address).close()
    with Client.create(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP), address) as lab:
        lab.create_project("p")
        with Contractor.create(folder / "ada", PASSPHRASE, parameters=CHEAP) as ada:
            lab.enroll(ada.card(), fingerprint=ada.card_fingerprint, name="ada")


def client(folder: Path) -> Client:
    """Open the client's home."""
    return Client.open(folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP))


def copy(folder: Path) -> float:
    """Copy the file in a plain loop, and flush it."""
    began = time.perf_counter()
    with (folder / "source" / NAME).open("rb", buffering=0) as source:
        descriptor = os.open(folder / "copied", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        while data := source.read(MIB):
            os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - began


def seal(folder: Path) -> float:
    """Seal the folder."""
    with client(folder) as lab:
        began = time.perf_counter()
        report = lab.project("p").seal(folder / "source")
        taken = time.perf_counter() - began
        if report.errors or report.new != 2:
            raise SystemExit(f"sealing failed: {report}")
        return taken


def seal_again(folder: Path) -> float:
    """Seal the unchanged folder: hash and compare."""
    with client(folder) as lab:
        began = time.perf_counter()
        if lab.project("p").seal(folder / "source").same != 2:
            raise SystemExit("something was sealed again")
        return time.perf_counter() - began


def unseal(folder: Path) -> float:
    """Open the task, and write all that it requires to disk, in this process."""
    with client(folder) as lab, Contractor.open(folder / "ada", PASSPHRASE) as ada:
        project, limits = lab.project("p"), Limits(max_open=9, max_total=9, per_hour=9, lease_ttl_s=3600)
        ends = datetime.now(UTC) + timedelta(hours=2)
        grant = project.grant("ada", Scope(batches=project.batches()), expires_at=ends, limits=limits)
        ada.join(lab.invite(grant.grant_id), fingerprint=lab.fingerprint)
        issuer = lab.issuer()
        (item,) = project.items("task")
        began = time.perf_counter()
        with ada.open_task(item.item, exchange=issuer.handle) as task:
            write_parts(folder / "opened", task._live())
        taken = time.perf_counter() - began
        issuer.close()
    return taken


def ranges(folder: Path) -> float:
    """Read 1,000 random ranges, and compare them with the source."""
    with client(folder) as lab, Contractor.open(folder / "ada", PASSPHRASE) as ada:
        issuer = lab.issuer()
        (item,) = lab.project("p").items("task")
        choose = random.Random(2)  # noqa: S311 - places to read at
        with ada.open_task(item.item, exchange=issuer.handle) as task, (folder / "source" / NAME).open("rb") as source:
            (part,) = task.required
            began = time.perf_counter()
            with part.open() as stream:
                for _ in range(1000):
                    offset, length = choose.randrange(part.size), choose.randrange(100_000)
                    stream.seek(offset)
                    source.seek(offset)
                    if stream.read(length) != source.read(length):
                        raise SystemExit("a range is not what the source has")
            taken = time.perf_counter() - began
        issuer.close()
    return taken


STEPS: dict[str, Callable[[Path], float]] = {
    "copy": copy,
    "seal": seal,
    "seal again": seal_again,
    "open": unseal,
    "1,000 ranges": ranges,
}


def measured(step: str, folder: Path) -> tuple[float, int]:
    """Run one step in a process of its own; return seconds and peak resident bytes."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return float(answer["seconds"]), int(answer["peak_bytes"])


def same(folder: Path) -> bool:
    """Say whether what was opened is what was sealed."""
    digests = []
    for path in (folder / "source" / NAME, folder / "opened/large.bin"):
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").digest())
    return digests[0] == digests[1]


def main() -> None:
    """Measure all steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=256, help="size of the file (default: 256)")
    parser.add_argument("--json", action="store_true", help="one JSON object for all")
    parser.add_argument("--where", type=Path, default=None, help="folder for temporary files")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        seconds = STEPS[arguments.step](arguments.folder)
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        sys.stdout.write(json.dumps({"seconds": seconds, "peak_bytes": peak}))
        return
    folder = Path(tempfile.mkdtemp(prefix="labelvault-streams-", dir=arguments.where))
    try:
        make(folder, arguments.size_mib * MIB)
        found = {step: measured(step, folder) for step in STEPS}
        if not same(folder):
            raise SystemExit("what was opened is not what was sealed")
    finally:
        shutil.rmtree(folder)
    if arguments.json:
        sys.stdout.write(json.dumps({step: {"seconds": s, "peak_bytes": p} for step, (s, p) in found.items()}) + "\n")
        return
    base = found["copy"][0]
    sys.stdout.write(f"{arguments.size_mib} MiB\n{'':14}{'seconds':>10}{'of a copy':>11}{'MiB/s':>9}{'peak MiB':>10}\n")
    for step, (seconds, peak) in found.items():
        speed = "" if step == "1,000 ranges" else f"{arguments.size_mib / seconds:.0f}"
        sys.stdout.write(f"{step:14}{seconds:10.2f}{seconds / base:10.1f}x{speed:>9}{peak / MIB:10.0f}\n")


if __name__ == "__main__":
    main()
