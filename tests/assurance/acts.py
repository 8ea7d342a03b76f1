"""What is cut off, killed and denied its disk: one act of each kind, by real actors over real files.

`python -m tests.assurance.acts ACT` does an act in a process of its own, in the folder of all actors. It marks each
thing that it was told is done: from there on it must hold, whatever happens to the machine.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from labelvault.client import Limits, Scope
from labelvault.contractor import Contractor
from labelvault.errors import LabelVaultError
from labelvault.issuer.service import Issuer
from labelvault.ledger.entries import Granted, ReceiptEntry, Released, Revoked, Rotated
from labelvault.vendor import Vault
from labelvault.wire.frame import parse_frame
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import Lease
from tests.assurance.disk import MARK
from tests.world import LIMITS, MINUTE, PASSPHRASE, World, entries, lease_outer, rows, write_file

HERE = Path()
REFUSED = 3
_SEALED_ITEMS = "SELECT item, version FROM items WHERE version IS NOT NULL"
NEW_TASKS = ("six", "seven", "eight")


class Place(World):
    """The world that is in this process's folder, at the time at which it was made.

    The vault's address is relative to the folder, so that a copy of all is a world of its own.
    """

    def __init__(self, time: datetime) -> None:
        self.folder, self.passphrase = HERE, PASSPHRASE
        self.clock = _Still(time)  # type: ignore[assignment]
        self._open = []
        self.vault = f"sqlite:///{HERE}/vendor/vault.db"
        self.source = Path("../source")
        self.lab = self.open_client()
        self.project = self.lab.project("eval")
        self.told = False

    def mark(self, what: str) -> None:
        """Say that something is done, as its caller was told; on the file descriptor that strace sees."""
        if self.told:
            os.write(1, f"{MARK}{what}\n".encode())

    def ada(self) -> Contractor:
        """The contractor."""
        return self.reopen("ada")


class _Still:
    """A clock that stands."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time


def prepare(folder: Path) -> dict[str, str]:
    """Make the world that all acts begin in; return what they need to know of it."""
    (folder / "disk").mkdir()
    with chdir(folder / "disk"):
        facts = _prepare()
    # What is sealed lies outside: it is the client's own, and no act changes it.
    (folder / "disk" / "source").rename(folder / "source")
    write_file(folder / "source", "tasks/w3.jsonl", rows(*NEW_TASKS))
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def _prepare() -> dict[str, str]:
    world = World(HERE)
    # Each lease that an act leaves open, and the act is done again, holds one.
    me, joined = world.worker(limits=Limits(max_open=20, max_total=50, per_hour=50, lease_ttl_s=3600))
    issuer, relay = world.issuer(), world.relay()
    with me.open_task(world.task("two"), exchange=issuer.handle):
        pass
    request = world.ask(me, joined, world.task("one"))
    relay.post(issuer_mailbox(world.lab.client_id), request.data)
    facts = {
        "time": world.clock.time.isoformat(),
        "waiting": request.hash.hex(),
        "ada": me.public_key.hex(),
        "task": world.task("three").hex(),
    }
    world.close()
    return facts


def _seal(place: Place) -> None:
    report = place.project.seal(place.source)
    assert not report.errors
    place.mark("sealed")


def _grant(place: Place) -> None:
    granted = place.project.grant("ada", Scope(batches=["w1"]), expires_at=place.clock() + 60 * MINUTE, limits=LIMITS)
    place.mark(f"granted {granted.grant_id.hex()}")


def _release(place: Place) -> None:
    issuer = place.issuer()
    issuer.answer()
    place.mark("released")
    issuer.close()


def _close(place: Place) -> None:
    issuer, me = place.issuer(), place.ada()
    task = me.open_task(place.task("three"), exchange=issuer.handle)
    place.mark(f"opened {task.lease_id.hex()}")
    task.close()
    place.mark(f"closed {task.lease_id.hex()}")
    me.close()
    issuer.answer()
    # A receipt that could not be posted waits at the contractor.
    if (task.lease_id, "closed") in {(each.lease_id, each.event) for each in entries(place, ReceiptEntry)}:
        place.mark(f"taken {task.lease_id.hex()}")


def _rotate(place: Place) -> None:
    place.project.rotate_kek()
    place.mark("rotated")


def _revoke(place: Place) -> None:
    place.lab.revoke_contractor("ada")
    place.mark("revoked")


def _claim(place: Place) -> None:
    with Vault.open(place.vault, clock=place.clock) as vault:
        for queue in vault.queues():
            claim = vault.claim(queue, "ada", ttl_s=900)
            assert claim is not None
            place.mark(f"claimed {claim.item.hex()} {claim.id.hex()}")
            if queue is vault.queues()[0]:
                vault.finish(claim)


def _purge(place: Place) -> None:
    with Vault.open(place.vault, clock=place.clock) as vault:
        vault.purge()
        place.mark("purged")


ACTS: dict[str, Callable[[Place], None]] = {
    "seal": _seal,
    "grant": _grant,
    "release": _release,
    "close": _close,
    "rotate": _rotate,
    "revoke": _revoke,
    "claim": _claim,
    "purge": _purge,
}


@contextmanager
def opened(folder: Path, facts: dict[str, str]) -> Iterator[Place]:
    """Start anew on what is there."""
    with chdir(folder):
        place = Place(datetime.fromisoformat(facts["time"]))
        try:
            yield place
        finally:
            place.close()


def must_hold(folder: Path, act: str, facts: dict[str, str], done: list[str]) -> None:
    """Open what a cut, a kill or a full disk has left: it is whole, all that was marked is there, and all goes on.

    Args:
        folder: of all actors; it is used up.
        act: what was being done.
        facts: of `prepare`.
        done: what was marked.

    Raises:
        AssertionError: something is missing, or half there.
        LabelVaultError: something does not open.
    """
    with opened(folder, facts) as place:
        place.lab.verify_ledger()
        database = place.lab.database
        released = {entry.lease_id for entry in entries(place, Released)}
        leases = {bytes(row[0]) for row in database.rows("SELECT lease_id FROM leases")}
        assert leases == released, "leases and ledger differ"
        _vault(place, released, facts, done)
        _marks(place, released, done)
        _goes_on(place, act, facts)


def _vault(place: Place, released: set[bytes], facts: dict[str, str], done: list[str]) -> None:
    with Vault.open(place.vault, clock=place.clock) as vault:
        assert not vault.check(), "the vault finds damage"
        relay = vault.relay()
        box = contractor_mailbox(place.lab.client_id, bytes.fromhex(facts["ada"]))
        handed = [data for _, data in relay.fetch(box, limit=100)]
        given = {lease_outer(data).lease_id for data in handed if parse_frame(data).type == Lease.TYPE}
        assert given <= released, "a lease has left that is not in the ledger"
        stored = {(info.item, info.version) for info in vault.items()}
        known = {(bytes(item), version) for item, version in place.lab.database.rows(_SEALED_ITEMS)}
        assert known <= stored, "the catalog names what the vault does not hold"
        states = {each.item: each for each in vault.tasks()}
        for claimed in (each.split() for each in done if each.startswith("claimed")):
            assert states[bytes.fromhex(claimed[1])].state != "waiting", "a claim was lost"


def _marks(place: Place, released: set[bytes], done: list[str]) -> None:
    kinds: dict[str, Any] = {"granted": Granted, "revoked": Revoked, "rotated": Rotated}
    for what, *arguments in (each.split() for each in done):
        if what in kinds:
            assert entries(place, kinds[what]), f"not {what} after all"
        if what == "granted":
            assert bytes.fromhex(arguments[0]) in {each.grant_id for each in place.lab.grants()}
        if what == "sealed":
            assert set(NEW_TASKS) <= {item.name for item in place.project.items("task")}
        if what in ("opened", "closed", "taken"):
            lease = bytes.fromhex(arguments[0])
            assert lease in released, "an opened lease is not in the ledger"
            if what != "opened":
                me = place.ada()
                (found,) = [each for each in me.openings() if each.lease_id == lease]
                assert found.state == "closed", "a close was forgotten"
            if what == "taken":
                events = {(each.lease_id, each.event) for each in entries(place, ReceiptEntry)}
                assert (lease, "closed") in events, "a receipt that was taken is not in the ledger"
    if "revoked" in done:
        assert place.lab.contractor("ada").revoked


def _goes_on(place: Place, act: str, facts: dict[str, str]) -> None:
    """What was cut off is done once more; the request that waited is answered; a task opens, if anybody may."""
    if act != "claim":
        ACTS[act](place)
        _marks(place, {entry.lease_id for entry in entries(place, Released)}, _WANTED.get(act, []))
    issuer: Issuer = place.issuer()
    issuer.answer()
    place.lab.verify_ledger()
    if not _over(place):
        assert bytes.fromhex(facts["waiting"]) in {entry.lease_id for entry in entries(place, Released)}
        with place.ada().open_task(bytes.fromhex(facts["task"]), exchange=issuer.handle) as task:
            assert task.text
            assert task.required


_WANTED = {"seal": ["sealed"], "rotate": ["rotated"], "revoke": ["revoked"]}
"""What must be so after an act that was done once more."""


def _over(place: Place) -> bool:
    return place.lab.contractor("ada").revoked


def main(act: str) -> int:
    """Do one act; say so if it ended in an error of ours."""
    try:
        with opened(HERE, json.loads(Path("../facts.json").read_text())) as place:
            place.told = True
            ACTS[act](place)
    except LabelVaultError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
