"""The drill after containment: an attacker with all that was stolen, and with the vault as it is now.

He is a process of his own (`python -m labelvault.drill`) and gets folders only: copies of what was stolen, and sealed
bytes that this reads from the vault, as anybody who holds it could. None of this client's code or keys goes along.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labelvault.client.containment_plan import Case
from labelvault.client.containment_records import ContainmentFinding, OpenedAfter
from labelvault.errors import DrillError, NotFoundError
from labelvault.relay.protocol import Relay
from labelvault.stores import open_store
from labelvault.wire.items import LEAF_BYTES

if TYPE_CHECKING:
    from labelvault.client.client import Client

_AT_ONCE_BYTES: Final = 16 * LEAF_BYTES
_SCRATCH: Final = "drill-"


@dataclass(frozen=True, slots=True)
class Loot:
    """Copies of what was stolen, as it was at the end of the window.

    Attributes:
        folders: of the vendor's store, of homes, backups; captures of processes in `captures/*.mem`.
        passphrase_files: stolen passphrases, tried on every key file.
        baselines: captures of processes that ran the same code and never held a secret: what is there too is no key.
    """

    folders: tuple[Path, ...]
    passphrase_files: tuple[Path, ...] = ()
    baselines: tuple[Path, ...] = ()


def drill_again(client: "Client", loot: Loot, case: Case) -> ContainmentFinding:
    """Let the attacker loose, and hold what he opened against what is stated.

    Args:
        client: whose vault is read; all versions that it has of the projects that the statement is about.
        loot: what was stolen.
        case: what is stated.

    Raises:
        DrillError: the attacker could not read something, or failed.
        StoreError, RelayError: the vault can't be read, or there is no room for a copy of it.
    """
    stated = {version for versions in case.exposed.values() for version in versions}
    # In the home, which nobody else reads; what is copied is as public as the vault. A killed drill left its own.
    for left in client.home.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=client.home) as scratch:
        copied = _copy_vault(client, Path(scratch), case)
        found = _attacked(Path(scratch), loot)
    exposed = {item for item, _ in stated}
    current = dict(client.database.rows("SELECT item, version FROM items WHERE version IS NOT NULL"))
    ours = client.client_id.hex()
    opened = tuple(
        OpenedAfter(
            name=each["name"],
            kind=each["kind"],
            item=item,
            version=version,
            stated=(item, version) in stated,
            current=current.get(item) == version,
        )
        for each in found["opened"]
        if each["client"] == ours
        for item, version in [(bytes.fromhex(each["item"]), int(each["version"]))]
    )
    return ContainmentFinding(
        stated=len(stated),
        renewed=sum(1 for item, version in copied - stated if item in exposed and current.get(item) == version),
        opened=opened,
        foreign=len(found["opened"]) - len(opened),
        payloads=found["payloads"],
        leases=found["leases"],
        candidates=found["candidates"],
        keys=found["key_counts"],
    )


def _copy_vault(client: "Client", folder: Path, case: Case) -> set[tuple[bytes, int]]:
    """Copy what the vault gives out, and return which versions those are."""
    copied = set()
    relay = client.relay()
    store = open_store(f"sqlite:///{folder / 'vault.db'}", create=True)
    try:
        for project in case.projects:
            rows = client.database.rows(
                "SELECT v.item, v.version FROM items i JOIN versions v ON v.item = i.item"
                " WHERE i.project = ? AND v.digest != x'' ORDER BY v.item, v.version",
                project,
            )
            for item, version in rows:
                try:
                    part = relay.read_item(client.client_id, bytes(item), version, 0, _AT_ONCE_BYTES)
                except NotFoundError:
                    # Nobody gets from it what it does not have.
                    continue
                pieces = _pieces(relay, (client.client_id, bytes(item), version), part.data, part.size)
                store.put_stream(part.header, part.size, pieces, None, case.now)
                copied.add((bytes(item), version))
    finally:
        store.close()
    return copied


def _pieces(relay: Relay, name: tuple[bytes, bytes, int], data: bytes, size: int) -> Iterator[bytes]:
    """Yield a payload's leaves, of which `data` is the beginning."""
    offset = 0
    while True:
        if not data:
            raise DrillError("the vault serves less of an item than it says that it has")
        yield from (data[at : at + LEAF_BYTES] for at in range(0, len(data), LEAF_BYTES))
        offset += len(data)
        if offset >= size:
            return
        data = relay.read_item(*name, offset, _AT_ONCE_BYTES).data


def _attacked(vault: Path, loot: Loot) -> dict[str, Any]:
    command = [sys.executable, "-m", "labelvault.drill", "--json", "--vault", str(vault)]
    for option, paths in (
        ("--folder", loot.folders),
        ("--passphrase-file", loot.passphrase_files),
        ("--baseline", loot.baselines),
    ):
        command += [word for path in paths for word in (option, str(path))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DrillError(f"the drill failed with {done.returncode}: {done.stderr.strip()[-300:]}")
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise DrillError("the drill gave no report") from error
    return found
