"""Rotating a KEK: wraps a second on one core, without and with the catalog, beside what the primitives alone allow.

Run from the repository: `python benchmarks/rotation.py --items 100000`. The catalog is a real one, whose rows were
written without sealing anything: rotation looks at nothing but rows and KEK files.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labelvault.client import Client, PassphraseRoot
from labelvault.crypto import aead
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.keys.kek import Kek, Rewrapper, wrap_context, wrap_dek
from labelvault.vendor import Vault
from labelvault.wire.items import ITEM_FORMAT, ItemHeader

Row = tuple[bytes, bytes, bytes]
"""Item id, digest, wrap."""


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that something took: on the clock, and of this process's core."""
    clock, core = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - clock, time.process_time() - core


def wraps(client: bytes, project: bytes, kek: Kek, count: int) -> list[Row]:
    """Make rows as sealing would."""
    found = []
    for _ in range(count):
        item, digest = random_bytes(16), random_bytes(32)
        header = ItemHeader(ITEM_FORMAT, client, project, item, 1).encode()
        context = wrap_context(header, digest, kek.kek_id, kek.generation)
        found.append((item, digest, wrap_dek(kek, SecretBytes(random_bytes(32)), context)))
    return found


def primitives(kek: Kek, count: int) -> Callable[[], None]:
    """One unwrap and one wrap an item, with a context of the real size that is there already."""
    context = bytes(216)
    wrapped = aead.wrap(kek.key, SecretBytes(random_bytes(32)), context)

    def run() -> None:
        for _ in range(count):
            aead.wrap(kek.key, aead.unwrap(kek.key, wrapped, context), context)

    return run


def fill(lab: Client, project: bytes, kek: Kek, rows: Sequence[Row]) -> None:
    """Write rows into the catalog."""
    values = [
        (item, project, item.hex(), digest, wrapped, kek.kek_id, kek.generation, bytes(120))
        for item, digest, wrapped in rows
    ]
    with lab.database.transaction():
        lab.database.execute_many("INSERT INTO items VALUES (?1, ?2, 'task', ?3, ?3, NULL, 1)", [v[:3] for v in values])
        lab.database.execute_many(
            "INSERT INTO versions VALUES (?, 1, ?, 4168, ?, ?, ?, x'', ?, 0)", [(v[0], *v[3:]) for v in values]
        )


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    count = parser.parse_args().items
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vendor").mkdir()
        address = f"sqlite:///{folder}/vendor/vault.db"
        Vault.open(address).close()
        root = PassphraseRoot("only for measuring", parameters=Argon2idParameters(memory_kib=8192, passes=1, lanes=1))
        with Client.create(folder / "client", root, address) as lab:
            project = lab.create_project("p")
            kek_id = bytes(lab.database.scalar("SELECT kek_id FROM projects"))
            old = lab.keks.load(project.project_id, kek_id, 1)
            rows = wraps(lab.client_id, project.project_id, old, count)
            _, alone = timed(primitives(old, count))
            moving = Rewrapper(lab.client_id, project.project_id, old, Kek(kek_id, 2, SecretBytes(random_bytes(32))))
            _, core = timed(lambda: [moving.rewrap(item, 1, digest, wrapped) for item, digest, wrapped in rows])
            fill(lab, project.project_id, old, rows)
            clock, whole = timed(project.rotate_kek)
    found = {
        "items": count,
        "primitives_per_core_s": round(count / alone),
        "rewrapped_per_core_s": round(count / core),
        "rotated_per_core_s": round(count / whole),
        "rotated_per_s": round(count / clock),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
