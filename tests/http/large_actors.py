"""A client and a contractor for `test_large_items.py`, each run in a process of its own: `python -m … STEP FOLDER`.

Both know the vault by its address and token only. The last line says what they held in memory at most.
"""

import hashlib
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.contractor import Contractor
from labelvault.crypto.kdf import Argon2idParameters

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
PASSPHRASE = "only for tests"
NAME = "attachments/large.bin"


def _client(folder: Path) -> Client:
    return Client.open(folder / "lab", PassphraseRoot(PASSPHRASE, parameters=CHEAP))


def seal(folder: Path) -> dict:
    """Seal the folder."""
    with _client(folder) as lab:
        report = lab.project("p").seal(folder / "source")
        assert not report.errors
        return {"new": report.new, "same": report.same}


def invite(folder: Path) -> dict:
    """Grant all batches, and write the invite."""
    with _client(folder) as lab:
        project = lab.project("p")
        limits = Limits(max_open=9, max_total=9, per_hour=9, lease_ttl_s=3600)
        ends = datetime.now(UTC) + timedelta(hours=2)
        grant = project.grant("ada", Scope(batches=project.batches()), expires_at=ends, limits=limits)
        (folder / "invite").write_bytes(lab.invite(grant.grant_id))
        return {"task": project.items("task")[0].item.hex(), "fingerprint": lab.fingerprint}


def read(folder: Path) -> dict:
    """Open the task; read its attachment whole, in order, and then at places of its own."""
    asked = json.loads((folder / "asked.json").read_text())
    with Contractor.open(folder / "ada", PASSPHRASE) as me:
        me.join((folder / "invite").read_bytes(), fingerprint=asked["fingerprint"])
        with me.open_task(bytes.fromhex(asked["task"]), timeout_s=60) as task:
            (part,) = task.required
            whole = hashlib.sha256()
            for piece in part.pieces():
                whole.update(piece)
            choose, ranges = random.Random(2), []
            with part.open() as stream:
                for _ in range(50):
                    offset, length = choose.randrange(part.size), choose.randrange(100_000)
                    stream.seek(offset)
                    ranges.append([offset, length, hashlib.sha256(stream.read(length)).hexdigest()])
            return {"size": part.size, "large": part.is_large, "whole": whole.hexdigest(), "ranges": ranges}


def peak_bytes(pid: object = "self") -> int:
    """Return the most memory that a process has held at once; counted anew since it was started."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("this kernel does not say")


if __name__ == "__main__":
    found = {"seal": seal, "invite": invite, "read": read}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write(json.dumps(found | {"peak_bytes": peak_bytes()}) + "\n")
