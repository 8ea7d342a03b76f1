"""Labs and devices with real homes, in one process under one clock; made once, then begun again from copies."""

import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final

from labelvault.client import Client, Limits, Project, Scope
from labelvault.contractor import Contractor, PresenceDevice, Task
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.issuer.service import Issuer
from labelvault.keys.files import make_private_dir
from labelvault.keys.identity import Identity, open_identity
from labelvault.keys.root import LocalRootKey
from labelvault.relay import Relay, open_relay
from labelvault.relay.local import utc_now
from labelvault.vendor import Vault
from labelvault.wire.times import truncate

PASSPHRASE: Final = "a passphrase of the simulator"  # noqa: S105 - of homes that live for a second
TASKS: Final = {"one": "w1", "two": "w1", "three": "w2"}
"""Task to batch."""
FILES: Final = ("guidelines/how.md", *(f"tasks/{batch}/{task}.md" for task, batch in TASKS.items()))
"""That are opened, and sealed again now and then."""
LIMITS: Final = Limits(max_open=2, max_total=8, per_hour=6, lease_ttl_s=3600)
_CHEAP: Final = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)


class Clock:
    """A clock that stands still until it is told otherwise. It begins with the system's time, as vaults go by that."""

    def __init__(self) -> None:
        """Begin now."""
        self.time = truncate(utc_now())

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time

    def advance(self, by: timedelta) -> datetime:
        """Move on, or back; return the time that it is then."""
        self.time += by
        return self.time


class OwnClock:
    """The clock of a device, which somebody may set.

    Attributes:
        off: how far it is ahead of the world's.
    """

    def __init__(self, world: Clock) -> None:
        """Begin with the right time."""
        self._world = world
        self.off = timedelta(0)

    def __call__(self) -> datetime:
        """Return what it shows."""
        return self._world() + self.off


class KeptRoot:
    """A root key that somebody carries about: a keystore without the time that a passphrase takes."""

    def __init__(self) -> None:
        """Make the key."""
        self._key = LocalRootKey(SecretBytes(random_bytes(32)))

    def create(self, home: Path) -> LocalRootKey:
        """Begin a home with it."""
        make_private_dir(home)
        return self._key

    def open(self, home: Path) -> LocalRootKey:
        """Open a home with it."""
        del home
        return self._key


@dataclass(frozen=True)
class Role:
    """Somebody who works for a lab.

    Attributes:
        name: of the home's folder.
        tier: `helper` or `desk`.
        batches: that he is granted.
        phone: whether a device of his approves what the desk opens.
    """

    name: str
    lab: str
    tier: str
    batches: tuple[str, ...]
    phone: bool = False


CAST: Final = (
    Role("ada", "lab", "helper", ("w1",)),
    Role("ben", "lab", "helper", ("w1", "w2")),
    Role("desk", "lab", "desk", ("w1",), phone=True),
    # The same person once more, for another client, with an identity of its own.
    Role("ada-too", "mill", "helper", ("w1",)),
    Role("kiosk", "mill", "desk", ("w1", "w2")),
)


class Lab:
    """A client, opened, with its issuer; and the vendor's own way to the vault."""

    def __init__(self, home: Path, root: KeptRoot, clock: Clock) -> None:
        """Open a home."""
        self.home = home
        self.name = home.name
        self.clock = clock
        self.root = root
        self.client = Client.open(home, root, clock=clock)
        self.project: Project = self.client.project("eval")
        self.issuer: Issuer = self.client.issuer()
        self.relay: Relay = open_relay(self.client.vault)
        self.vault = Vault.open(self.client.vault, clock=clock)

    @property
    def id(self) -> bytes:
        """The client's id."""
        return self.client.client_id

    def close(self) -> None:
        """Let go of all; nothing is said before."""
        self.issuer.close()
        self.client.close()
        self.relay.close()
        self.vault.close()

    def reopened(self) -> "Lab":
        """Open the home anew, as processes do that start."""
        return Lab(self.home, self.root, self.clock)


@dataclass
class Device:
    """A contractor's home, opened, and what is open in its process.

    Attributes:
        me: the facade.
        tasks: that are on the screen.
        closed: that were, as far as the program still has them.
        orphans: leases of tasks that a crash left open on record.
    """

    role: Role
    home: Path
    identity: Identity
    clock: OwnClock
    phone: PresenceDevice | None = None
    tasks: list[Task] = field(default_factory=list)
    closed: list[Task] = field(default_factory=list)
    orphans: list[bytes] = field(default_factory=list)
    me: Contractor = field(init=False)

    def __post_init__(self) -> None:
        """Open the home."""
        self.me = Contractor(self.home, self.identity, self.clock)

    @property
    def name(self) -> str:
        """Of the role."""
        return self.role.name

    def restart(self) -> None:
        """End the process, with all that is in its memory, and start it anew."""
        self.tasks.clear()
        self.closed.clear()
        self.me.close()
        self.me = Contractor(self.home, self.identity, self.clock)


def text_of(lab: str, path: str, number: int) -> bytes:
    """The content of a lab's file at its n-th sealing; like no other's."""
    return f"{lab} {path} v{number}: what the people who know have written about it\n".encode() * 3


class Start:
    """Two labs with sealed projects, on one vault or on two, and everybody enrolled; to begin from again and again.

    Attributes:
        place: where it is played: always the same folder, as invites name the vault in it.
        keystores: for the thief: see `Thief`.
    """

    def __init__(self, folder: Path, *, shared: bool) -> None:
        """Make it.

        Args:
            folder: an empty one; in memory if there are to be many steps a second.
            shared: both labs are on one vault.
        """
        self.place = folder / "now"
        self._kept = folder / "start"
        self.roots = {"lab": KeptRoot(), "mill": KeptRoot()}
        self.identities: dict[str, Identity] = {}
        self.keystores: dict[bytes, bytes] = {}
        self.shared = shared
        self._make()
        self.place.rename(self._kept)

    def begin(self) -> None:
        """Put everything back as it was in the beginning."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._kept, self.place)

    def vault(self, lab: str) -> Path:
        """Where the database of a lab's vault is."""
        return self.place / ("vendor-1" if self.shared or lab == "lab" else "vendor-2") / "vault.db"

    @property
    def vaults(self) -> list[Path]:
        """The databases of all vaults."""
        return sorted({self.vault(lab) for lab in self.roots})

    def _make(self) -> None:
        self.place.mkdir()
        clock = Clock()
        for path in self.vaults:
            path.parent.mkdir()
            Vault.open(f"sqlite:///{path}").close()
        for name, root in self.roots.items():
            client = Client.create(self.place / name, root, f"sqlite:///{self.vault(name)}", clock=clock)
            project = client.create_project("eval", floor_bytes=256)
            # The same names everywhere: nothing of one client may mean anything to the other.
            for file in (*FILES, "gold/answers.md"):
                project.seal_file(file, BytesIO(text_of(name, file, 1)))
            for role in CAST:
                if role.lab == name:
                    self._enrol(role, client, project, clock)
            client.close()

    def _enrol(self, role: Role, client: Client, project: Project, clock: Clock) -> None:
        home = self.place / role.name
        phone = self._phone(role, clock) if role.phone else None
        with Contractor.create(
            home,
            PASSPHRASE,
            tier=role.tier,
            label=role.name,
            presence_key=None if phone is None else phone.public_key,
            parameters=_CHEAP,
            clock=clock,
        ) as me:
            if phone is not None:
                spoken = phone.take_card(me.finish_card(phone.cosign(me.draft())))
            else:
                spoken = me.card_fingerprint
            client.enroll(me.card(), fingerprint=spoken, name=role.name)
            self.identities[role.name] = open_identity(home / "identity.key", PASSPHRASE)
            join(role, client, project, me, phone, clock() + timedelta(days=30))
        if phone is not None:
            phone.close()

    def _phone(self, role: Role, clock: Clock) -> PresenceDevice:
        home = self.place / f"{role.name}-phone"
        made = PresenceDevice.create(home, PASSPHRASE, parameters=_CHEAP, clock=clock)
        self.identities[home.name] = open_identity(home / "presence.key", PASSPHRASE)
        return made


def join(
    role: Role, client: Client, project: Project, me: Contractor, phone: PresenceDevice | None, until: datetime
) -> bytes:
    """Grant, and have device and phone join; return the grant's hash."""
    grant = project.grant(
        role.name,
        Scope(batches=role.batches),
        expires_at=until,
        limits=LIMITS,
        waive_presence=role.tier == "desk" and not role.phone,
    )
    invite = client.invite(grant.grant_id)
    membership = me.join(invite, fingerprint=client.fingerprint)
    if phone is not None:
        phone.join(invite, fingerprint=client.fingerprint)
    return membership.grant.hash
