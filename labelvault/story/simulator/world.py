"""The world as it is now, the two views of it that are held against each other, and what each step ends with."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from labelvault.contractor import PresenceDevice, Task
from labelvault.errors import LeaseExpiredError
from labelvault.issuer.log import Log
from labelvault.ledger.entries import Released, decode_entry
from labelvault.story.simulator.host import Host
from labelvault.story.simulator.places import CAST, TASKS, Clock, Device, Lab, OwnClock, Start, text_of
from labelvault.story.simulator.rules import Books, Held, Rules, Terms, Version
from labelvault.story.simulator.thief import Thief
from labelvault.wire.framefile import unpack_frames

_MS: Final = timedelta(milliseconds=1)


class Simulator:
    """Two labs, their vendors, contractors and desks, and a thief who has read along since the beginning.

    Attributes:
        labs: by name.
        devices: by name.
        hosts: the vendors', by lab; one and the same where the labs share a vault.
        thief: what he really reads, by keys and bytes.
        rules: what he may read, by what happened.
        contents: of every version that was ever sealed.
        sealings: how often each file of each lab was sealed.
        leases_of: the leases of each task that is open, oldest first.
        ledgers: by lab and epoch, how many entries were read, and the leases in them.
    """

    def __init__(self, start: Start) -> None:
        """Begin, from the start."""
        start.begin()
        self.place: Path = start.place
        self.clock = Clock()
        self.labs = {name: Lab(start.place / name, root, self.clock) for name, root in start.roots.items()}
        self.devices = {role.name: self._device(role.name, start) for role in CAST}
        hosts = {path: Host(path) for path in start.vaults}
        self.hosts = {name: hosts[start.vault(name)] for name in self.labs}
        self.rules = Rules()
        self.contents: dict[Version, bytes] = {}
        self.sealings: dict[tuple[str, str], int] = {}
        self.thief = Thief(self.contents, start.keystores)
        self.leases_of: dict[Task, list[bytes]] = {}
        self.ledgers: dict[str, dict[bytes, tuple[int, set[bytes]]]] = {}
        for lab in self.labs.values():
            self._begin_books(lab)
        for device in self.devices.values():
            self.rules.devices[device.name] = Held()
        self.look()

    def _device(self, name: str, start: Start) -> Device:
        role = next(role for role in CAST if role.name == name)
        phone = None
        if role.phone:
            home = start.place / f"{name}-phone"
            phone = PresenceDevice(home, start.identities[home.name], self.clock)
        return Device(role, start.place / name, start.identities[name], OwnClock(self.clock), phone)

    def _begin_books(self, lab: Lab) -> None:
        database, client = lab.client.database, lab.id
        rows = database.rows("SELECT item, kind, batch, version, source FROM items ORDER BY source")
        guidelines = tuple(bytes(item) for item, kind, *_ in rows if kind == "guideline")
        kek = self.rules.new_kek()
        books = Books(
            client=client,
            project=lab.project.project_id,
            epoch=lab.client.certificate.message.epoch,
            contractors=frozenset(record.key for record in lab.client.contractors()),
            current={bytes(item): version for item, _, _, version, _ in rows},
            needs={bytes(item): guidelines for item, kind, *_ in rows if kind == "task"},
            batch={bytes(item): bytes(batch) for item, kind, batch, *_ in rows if kind == "task"},
            kek=kek,
            wraps={(client, bytes(item), version): kek for item, _, _, version, _ in rows},
            accept_from=self.clock() - timedelta(days=365),
        )
        self.rules.books[client] = books
        for item, _, _, version, source in rows:
            self.contents[client, bytes(item), version] = text_of(lab.name, source, 1)
        for device in self.devices_of(lab):
            self.granted(lab, device)

    def granted(self, lab: Lab, device: Device) -> None:
        """Write down a device's newest grant."""
        (membership, *_) = device.me.memberships()
        grant = membership.grant.message
        self.rules.books[lab.id].grants[membership.grant.hash] = Terms(
            contractor=grant.contractor,
            epoch=lab.client.certificate.message.epoch,
            batches=frozenset(grant.scope.batches),
            limits=grant.limits,
            expires_at=grant.expires_at,
            presence=grant.presence,
        )

    def close(self) -> None:
        """End all that runs."""
        for device in self.devices.values():
            device.me.close()
            if device.phone is not None:
                device.phone.close()
        for lab in self.labs.values():
            lab.close()
        for host in self.hosts.values():
            host.close()

    # Who belongs to whom

    def lab_of(self, device: Device) -> Lab:
        """Whom somebody works for."""
        return self.labs[device.role.lab]

    def host_of(self, device: Device) -> Host:
        """Where his messages go."""
        return self.hosts[device.role.lab]

    def host_of_client(self, client: bytes) -> Host:
        """Where a client's items lie."""
        return next(self.hosts[lab.name] for lab in self.labs.values() if lab.id == client)

    def devices_of(self, lab: Lab) -> Iterator[Device]:
        """Who works for a lab."""
        return (device for device in self.devices.values() if device.role.lab == lab.name)

    def task(self, lab: Lab, name: str) -> bytes:
        """A task's id."""
        path = f"tasks/{TASKS[name]}/{name}.md"
        return bytes(lab.client.database.scalar("SELECT item FROM items WHERE source = ?", path))

    # What each step ends with

    def settle(self) -> None:
        """Let a moment pass: screens drop what has expired, and the thief reads what is new at the vendors'."""
        self.clock.advance(_MS)
        for device in self.devices.values():
            for task in list(device.tasks):
                try:
                    _ = task.part
                except LeaseExpiredError:
                    self.dropped(device, task)
        self.look()

    def dropped(self, device: Device, task: Task) -> None:
        """A task was closed, or has closed itself."""
        device.tasks.remove(task)
        device.closed.append(task)
        self.rules.closed(device.name, task, set(self.leases_of.pop(task)))

    def look(self) -> None:
        """The thief reads what came to the vendors' disks."""
        for host in set(self.hosts.values()):
            host.read_new(self.thief.overhears, self.thief.sees_item)

    def overheard(self, file: bytes) -> None:
        """A file of messages went from one to another; the thief saw that, too."""
        for frame in unpack_frames(file):
            self.thief.overhears(frame)

    def differences(self) -> list[str]:
        """Hold what the thief reads to the rules, and the ledgers to what was released; return what is wrong."""
        reads, readable, found = self.thief.reads, self.rules.readable, list[str]()
        if reads != readable:
            found.append(f"against the rules the thief reads {self.named(reads - readable)}")
            found.append(f"by the rules he should read {self.named(readable - reads)}")
        for lab in self.labs.values():
            recorded, lent = self.recorded(lab), set(self.rules.books[lab.id].leases)
            if recorded != lent:
                found.append(f"{lab.name}'s ledger has {len(recorded - lent)} leases that nobody got")
                found.append(f"{lab.name}'s ledger lacks {len(lent - recorded)} leases")
        return found

    def recorded(self, lab: Lab) -> set[bytes]:
        """The leases that a lab's ledgers hold; what was read before is not read again."""
        read = self.ledgers.setdefault(lab.name, {})
        for (epoch,) in lab.client.database.rows("SELECT DISTINCT epoch FROM ledger_entries"):
            log, (begin, found) = Log(lab.client.database, lab.id, bytes(epoch)), read.get(epoch, (0, set[bytes]()))
            size = log.size()
            entries = map(decode_entry, log.stream(size, begin))
            read[epoch] = size, found | {entry.lease_id for entry in entries if isinstance(entry, Released)}
        return set().union(*(found for _, found in read.values()))

    def named(self, versions: set[Version]) -> list[str]:
        """Versions as people call them."""
        return sorted(self.contents[version].split(b":")[0].decode() for version in versions)
