"""How long an exposure statement takes over a long ledger, and how much memory.

    python benchmarks/exposure.py --entries 1000000 --days 100 --surface vendor

It makes a client's home in a temporary directory, fills its ledger with openings (a task and two guidelines each, by
helpers and desks; nine of ten are closed), and states one day in a process of its own. The last line is a JSON object.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgpack

from labelvault.client import Client, PassphraseRoot
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.ledger.checkpoint import Checkpoint, sign_checkpoint
from labelvault.ledger.scan import Reading
from labelvault.vendor import Vault

PASSPHRASE = "only for measuring"  # noqa: S105
START = datetime(2026, 3, 1, tzinfo=UTC)
PER_LEASE = 4
"""Entries: released, opened, submitted, closed."""


def packed(kind: str, **fields: Any) -> bytes:
    """An entry's canonical bytes, made faster than the issuer makes them."""
    entry = {name: fields[name] for name in sorted(fields)}
    return bytes(msgpack.packb({"entry": entry, "format": 1, "kind": kind}))


def ms(time: datetime) -> int:
    """Milliseconds since 1970."""
    return int(time.timestamp() * 1000)


def history(count: int, days: int, contractors: int = 40) -> Iterator[bytes]:
    """Yield about so many entries over so many days."""
    project = b"p" * 16
    items = max(100, count // 50)
    ids = [number.to_bytes(16, "big") for number in range(items)]
    keys = [bytes([number]) * 32 for number in range(1, contractors + 1)]
    desks = set(keys[::4])
    at = ms(START)
    for item in ids:
        yield packed("sealed", at=at, project=project, item=item, version=1, digest=item * 2)
    for key in keys:
        tier = "desk" if key in desks else "helper"
        yield packed("enrolled", at=at, contractor=key, tier=tier, presence_key=False)
    leases = (count - items - contractors) // PER_LEASE
    step = days * 86_400_000 // max(1, leases)
    for number in range(leases):
        at += step
        key, task = keys[number % contractors], ids[2 + number % (items - 2)]
        desk = key in desks
        lease = number.to_bytes(32, "big")
        yield packed(
            "released",
            at=at,
            lease_id=lease,
            grant_hash=key,
            contractor=key,
            project=project,
            tier="desk" if desk else "helper",
            presence="waived" if desk else "device",
            task=task,
            items=[{"digest": item * 2, "item": item, "version": 1} for item in (task, ids[0], ids[1])],
            issued_at=at,
            expires_at=at + 1_800_000,
            replaces=None,
        )
        for event in ("opened", "submitted", "closed"):
            erased = None if event != "closed" else "best-effort" if number % 50 == 0 else "process-exit"
            if event != "closed" or number % 10:
                yield packed("receipt", at=at + 1000, lease_id=lease, contractor=key, event=event, erased=erased)


def fill(client: Client, count: int, days: int) -> int:
    """Put entries behind those that are there, and sign a checkpoint over all; the tree's nodes are left out."""
    log, reading = client._log, Reading()
    start = log.size()
    for _ in reading.through(log.stream(start)):
        pass
    with client.database.transaction():
        for number, data in enumerate(reading.through(history(count, days)), start):
            client.database.execute("INSERT INTO ledger_entries VALUES (?, ?, ?)", log.epoch, number, data)
        identity = client.issuer_identity
        checkpoint = Checkpoint(log.origin, reading.size, reading.root)
        log.keep_checkpoint(sign_checkpoint(checkpoint, identity.name, identity.signer))
    return reading.size


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def state(home: Path, surface: str, days: int) -> None:
    """State a day in the middle, and print how long that took and how much memory this process had at most."""
    with Client.open(home, PassphraseRoot(PASSPHRASE)) as client:
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        middle = START + timedelta(days=days // 2)
        found = client.statement(surface, middle, middle + timedelta(days=1))
        seconds = time.perf_counter() - begun
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts = {"seconds": round(seconds, 1), "peak_mib": most // 1024, "before_mib": before // 1024}
    tell(json.dumps({**facts, "versions": found.statement.totals.rows, "totals": found.totals()}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--surface", default="vendor")
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.state is not None:
        state(chosen.state, chosen.surface, chosen.days)
        return
    with tempfile.TemporaryDirectory() as folder:
        home, vault = Path(folder) / "client", f"sqlite:///{folder}/vault.db"
        Vault.open(vault).close()
        cheap = PassphraseRoot(PASSPHRASE, parameters=Argon2idParameters(memory_kib=8192, passes=1, lanes=1))
        with Client.create(home, cheap, vault, clock=lambda: START) as client:
            begun = time.perf_counter()
            size = fill(client, chosen.entries, chosen.days)
        tell(f"{size:,} entries made in {time.perf_counter() - begun:.0f} s")
        again = [sys.executable, __file__, "--days", str(chosen.days), "--surface", chosen.surface]
        subprocess.run([*again, "--state", str(home)], check=True)


if __name__ == "__main__":
    main()
