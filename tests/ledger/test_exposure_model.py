"""L4 in full: random histories of a whole client, and an attacker simulated by what he holds, minute by minute.

The simulation knows nothing of the rules on the page. It plays devices with memories and disks, an issuer with books,
and an attacker who comes to some devices, takes all that lies there at every minute, keeps their keys, asks with them,
and forges what he can sign. Beside what he truly reads it keeps what the books can't rule out: there, a device holds
what it was given until the issuer took word of its process's exit, or its time was up, and after that it is in doubt.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from labelvault.ledger.entries import Entry, ReceiptEntry, Released, ReleasedItem, Revoked, Sealed, encode_entry
from labelvault.ledger.scan import needed
from labelvault.ledger.verdicts import Window, verdicts
from tests.ledger.test_exposure import START

HISTORIES = int(os.environ.get("LABELVAULT_HISTORIES", "10000"))
MINUTES = 90
PROJECT = bytes(16)
APPROVAL_MINUTES = 10
"""How long a request that was approved at the window's end can bring a lease, at most."""

Item = tuple[bytes, int]


@dataclass
class Device:
    """A helper's or a desk's.

    Attributes:
        memory: leases in live processes, with what they hold.
        disk: what files hold that were written and may never be wiped.
        books_open: leases that the issuer has to take for open, and until when they run.
        books_doubt: item versions of which it can't say that they are gone.
        receipts: on their way to the issuer: (arrives, lease, erased).
    """

    key: bytes
    tier: str
    presence: str
    revoked: bool = False
    memory: dict[int, set[Item]] = field(default_factory=dict)
    disk: set[Item] = field(default_factory=set)
    books_open: dict[int, tuple[int, set[Item]]] = field(default_factory=dict)
    books_doubt: dict[int, set[Item]] = field(default_factory=dict)
    receipts: list[tuple[int, int, str]] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)


class World:
    """One history.

    Attributes:
        taken: what the attacker truly read.
        exposed: what the books can't rule out that he read while it was open, or with a key that he took.
        doubtful: what may have lain about when he came.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chance = self.random.random
        kinds = [("helper", "device"), ("helper", "device"), ("desk", "key"), ("desk", "waived")]
        self.devices = [Device(bytes([65 + n]) * 32, *kinds[n]) for n in range(self.random.randint(1, 4))]
        self.surface = [each for each in self.devices if chance() < 0.6]
        self.came = self.random.randint(0, MINUTES)
        self.left = min(self.came + self.random.choice((0, 0, 5, 15, 40)), MINUTES)
        self.now = 0
        self.skew = 0
        self.entries: list[Entry] = []
        self.leases = 0
        self.taken: set[Item] = set()
        self.exposed: set[Item] = set()
        self.doubtful: set[Item] = set()
        self.released_to: dict[Item, set[tuple[bytes, bool]]] = {}
        self.versions: dict[bytes, int] = {}
        guides = [b"g%015d" % n for n in range(2)]
        self.tasks = {b"t%015d" % n: [g for g in guides if chance() < 0.5] for n in range(5)}
        for item in (*guides, *self.tasks):
            self.seal(item)

    def at(self) -> datetime:
        """The issuer's time, which a clock that ran back shows earlier than it is."""
        return START + timedelta(minutes=self.now) - timedelta(seconds=self.skew)

    @property
    def inside(self) -> bool:
        return self.came <= self.now <= self.left

    def seal(self, item: bytes) -> None:
        self.versions[item] = self.versions.get(item, 0) + 1
        self.entries.append(Sealed(self.at(), PROJECT, item, self.versions[item], bytes(32)))

    def release(
        self, device: Device, task: bytes, ttl: int, replaces: int | None = None, *, thief: bool = False
    ) -> int:
        """The issuer records, then answers; the lease may reach its device or the thief."""
        self.leases += 1
        number = self.leases
        items = [(item, self.versions[item]) for item in (task, *self.tasks[task])]
        self.entries.append(
            Released(
                at=self.at(),
                lease_id=number.to_bytes(32, "big"),
                grant_hash=bytes(32),
                contractor=device.key,
                project=PROJECT,
                tier=device.tier,
                presence=device.presence,
                task=task,
                items=tuple(ReleasedItem(*item, bytes(32)) for item in items),
                issued_at=self.at(),
                expires_at=self.at() + timedelta(minutes=ttl),
                replaces=None if replaces is None else replaces.to_bytes(32, "big"),
            )
        )
        for item in items:
            self.released_to.setdefault(item, set()).add((device.key, self.now > self.left))
        device.books_open[number] = (self.now + ttl, set(items))
        device.ends[number] = self.now + ttl
        if thief:
            self.taken |= set(items)
        elif self.random.random() < 0.9:
            device.memory[number] = set(items)
        # A key that was taken opens what comes to it later; the presence key was never there to be taken.
        late = self.now > self.left and device in self.surface
        if late and (device.presence != "key" or self.now - self.left <= APPROVAL_MINUTES):
            self.exposed |= set(items)
            if device.presence != "key":
                self.taken |= set(items)
        return number

    def close(self, device: Device, number: int, erased: str) -> None:
        """The process exits, or a file is unlinked; word of it takes its time, and may be lost."""
        held = device.memory.pop(number, set())
        if erased == "best-effort":
            device.disk |= held
        if self.random.random() < 0.85:
            device.receipts.append((self.now + self.random.choice((0, 0, 0, 1, 8)), number, erased))

    def take_receipts(self, device: Device) -> None:
        """The issuer records what came; whoever holds the keys could have signed it."""
        for receipt in [each for each in device.receipts if each[0] <= self.now]:
            device.receipts.remove(receipt)
            _, number, erased = receipt
            self.entries.append(ReceiptEntry(self.at(), number.to_bytes(32, "big"), device.key, "closed", erased))
            believed = self.now < self.came or device not in self.surface
            if believed and erased == "process-exit":
                device.books_open.pop(number, None)
                device.books_doubt.pop(number, None)
            elif believed and number in device.books_open:
                device.books_doubt[number] = device.books_open.pop(number)[1]

    def act(self) -> None:
        """Somebody does something."""
        what, device = self.random.random(), self.random.choice(self.devices)
        if what < 0.5 and not device.revoked:
            task = self.random.choice(list(self.tasks))
            ttl = self.random.choice((3, 10, 30))
            # Issued ahead: it lives long, and may never be opened.
            if device.tier == "helper" and self.random.random() < 0.2:
                ttl = 60
            number = self.release(device, task, ttl)
            if self.random.random() < 0.2:
                # Renewed: one process, two leases, and one exit for both.
                self.release(device, task, ttl + 5, number)
        elif what < 0.8 and device.memory:
            number = self.random.choice(list(device.memory))
            self.close(device, number, self.random.choice(("process-exit", "process-exit", "best-effort")))
        elif what < 0.86 and device.memory:
            # A crash: nothing is left, and nobody says so.
            device.memory.pop(self.random.choice(list(device.memory)))
        elif what < 0.9:
            self.seal(self.random.choice(list(self.versions)))
        elif what < 0.92 and not device.revoked:
            device.revoked = True
            self.entries.append(Revoked(self.at(), "contractor", device.key))
        elif what < 0.95 and device in self.surface and self.came <= self.now:
            # The thief asks with the key that he took, as long as it counts.
            if not device.revoked and (device.presence != "key" or self.inside):
                self.release(device, self.random.choice(list(self.tasks)), 10, thief=True)
        elif what < 0.98 and device in self.surface and self.came <= self.now and device.ends:
            # Or signs that somebody's process has exited.
            device.receipts.append((self.now, self.random.choice(list(device.ends)), "process-exit"))

    def play(self) -> None:
        """Minute by minute."""
        for self.now in range(MINUTES + 1):
            for device in self.devices:
                for number, (end, items) in list(device.books_open.items()):
                    if end <= self.now:
                        del device.books_open[number]
                        device.books_doubt[number] = items
                for number in [each for each in device.memory if device.ends[each] <= self.now]:
                    del device.memory[number]
            if self.now == self.came:
                self.doubtful = self.lying_about()
            if self.inside:
                self.loot()
            for device in self.devices:
                self.take_receipts(device)
            for _ in range(self.random.choice((0, 0, 1, 2))):
                # A clock that ran back by some seconds; never across a minute.
                self.skew = self.random.choice((0, 0, 0, 20))
                self.act()
                self.skew = 0
                if self.inside:
                    self.loot()

    def lying_about(self) -> set[Item]:
        return {item for each in self.surface for items in each.books_doubt.values() for item in items}

    def loot(self) -> None:
        for device in self.surface:
            self.taken |= device.disk.union(*device.memory.values())
            for _, items in device.books_open.values():
                self.exposed |= items

    def verdict(self, item: Item) -> str:
        """What a person would say who had watched the books."""
        released = self.released_to.get(item, set())
        if item in self.exposed:
            return "exposed"
        if item in self.doubtful:
            return "unconfirmed"
        if any(late for _, late in released):
            return "after"
        if any(key == each.key for key, _ in released for each in self.surface):
            return "closed-before"
        return "elsewhere" if released else "never-opened"


def histories() -> Iterator[tuple[int, World]]:
    for seed in range(HISTORIES):
        world = World(seed)
        world.play()
        yield seed, world


def test_L4_the_statement_equals_the_model_on_random_histories() -> None:
    """Each version's verdict is the model's; all that the attacker truly read is exposed, or in doubt."""
    seen: dict[str, int] = {}
    for seed, world in histories():
        start, end = (START + timedelta(minutes=each) for each in (world.came, world.left))
        window = Window(frozenset(each.key for each in world.surface), start, end)
        rows = verdicts(needed(map(encode_entry, world.entries)) if seed % 20 == 0 else world.entries, window)
        found = {(row.item, row.version): row.verdict for row in rows}
        assert found == {item: world.verdict(item) for item in found}, seed
        assert {item for item, verdict in found.items() if verdict in ("exposed", "unconfirmed")} >= world.taken, seed
        for verdict in found.values():
            seen[verdict] = seen.get(verdict, 0) + 1
    # Every verdict but the one that needs a restore came up often enough to mean something.
    kinds = ("exposed", "unconfirmed", "after", "closed-before", "elsewhere")
    assert min(seen.get(each, 0) for each in kinds) > HISTORIES / 4, seen
