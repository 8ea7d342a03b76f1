"""What thieves do: take what somebody holds, and then ask, approve, close and repeat in his name."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from labelvault.contractor.approval import DirectDevice, ask_device
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import LabelVaultError
from labelvault.keys.identity import Identity
from labelvault.story.simulator.memory import frames_of_contractors
from labelvault.story.simulator.places import PASSPHRASE, Device, Lab
from labelvault.story.simulator.thief import Wrap
from labelvault.story.simulator.world import Simulator
from labelvault.wire.frame import Signed, cosign, sign_message
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.messages import OpenRequest, Receipt

if TYPE_CHECKING:
    from labelvault.story.simulator.acts import Acts

_PATIENT = timedelta(minutes=10)


def rob(world: Simulator, device: Device, *, alive: bool) -> None:
    """Take all that a device's disk holds, and its passphrase; and its memory, if it is running."""
    for path in sorted(device.home.rglob("*")):
        if path.is_file():
            world.thief.takes_file(path.read_bytes(), PASSPHRASE.encode())
    if alive:
        world.thief.takes_memory([device.me, *device.tasks, *device.closed, *frames_of_contractors()])
    world.rules.stolen(device.name, alive=alive)


def rob_phone(world: Simulator, device: Device) -> None:
    """Take the disk of a desk's phone, and its passphrase."""
    for path in sorted(device.home.with_name(f"{device.name}-phone").rglob("*")):
        if path.is_file():
            world.thief.takes_file(path.read_bytes(), PASSPHRASE.encode())


def rob_keks(world: Simulator, lab: Lab) -> None:
    """Take a client's KEKs, and the root key that opens them."""
    for path in (lab.home / "keks").glob("*.kek"):
        kek_id, generation, _ = path.name.split(".")
        kek = lab.client.keks.load(lab.project.project_id, bytes.fromhex(kek_id), int(generation))
        world.thief.takes_kek(kek)
    world.rules.stolen_keks(lab.id)


def rob_catalog(world: Simulator, lab: Lab) -> None:
    """Take a client's catalog: every wrap that stands in it."""
    rows = lab.client.database.rows(
        "SELECT item, version, digest, wrapped, kek_id, kek_generation FROM versions WHERE length(wrapped) > 0"
    )
    world.thief.takes_catalog(
        Wrap(
            ItemHeader(ITEM_FORMAT, lab.id, lab.project.project_id, bytes(item), version).encode(),
            bytes(digest),
            bytes(wrapped),
            bytes(kek_id),
            generation,
        )
        for item, version, digest, wrapped, kek_id, generation in rows
    )
    world.rules.stolen_catalog(lab.id)


class Crook:
    """A thief who goes on with what he took.

    He needs no more than the stolen identity: which grants there are is in the requests at the vendor's.
    """

    def __init__(self, acts: "Acts") -> None:
        """Work in a world."""
        self.acts = acts
        self.world = acts.world

    def identity_of(self, device: Device) -> Identity | None:
        """What signs for a device, if it was stolen."""
        return self.world.thief.identities.get(device.me.public_key)

    def asks(
        self, device: Device, task: bytes, *, approval: str = "none", waits: timedelta = timedelta(0)
    ) -> str | None:
        """Ask for a task in somebody's name, with a one-time key of his own.

        Args:
            device: whose identity was stolen.
            task: its id.
            approval: at a desk with a phone: `none`; `person`, who is asked and says yes; `ahead`, the same, but dated
                for when it will be used; `phone`, which was stolen; `old`, an approval of something else.
            waits: how long he keeps the signed request.

        Returns:
            Why the rules say that it is denied, "" if it is released; None if it never came to that.
        """
        identity, world, lab = self.identity_of(device), self.world, self.world.lab_of(device)
        if identity is None:
            return None
        key = OneTimeKey.generate()
        world.thief.learns(key.seed().reveal())
        world.rules.learns_key(key.public_key)
        request = self._signed(device, identity, task, key.public_key, approval)
        if request is None:
            return None
        world.clock.advance(waits)
        self.acts.delivers(lab, request.data)
        return self.acts.decided.get(request.hash)

    def _signed(
        self, device: Device, identity: Identity, task: bytes, key: bytes, approval: str
    ) -> Signed[OpenRequest] | None:
        world, now = self.world, self.world.clock()
        membership = device.me.memberships()[0]
        request = make_request(membership, identity, task, key, now)
        record = replace(request.message, expires_at=now + _PATIENT)
        if approval == "ahead":
            record = replace(record, at=now + _PATIENT, expires_at=now + 2 * _PATIENT)
        if approval == "none" or device.phone is None:
            return sign_message(record, identity)
        record = replace(record, approved_at=now + _PATIENT if approval == "ahead" else now)
        cosignature = b""
        if approval in ("person", "ahead"):
            way = DirectDevice(lambda data: self.acts.asked(device, data))
            try:
                cosignature = ask_device(record, membership, identity, way, now)
            except LabelVaultError:
                return None
        elif approval == "phone":
            phone = world.thief.identities.get(device.phone.public_key)
            if phone is None:
                return None
            cosignature = cosign(record, identity.public_key, phone)
            world.rules.approved(identity.public_key, sign_message(record, identity).frame.body, now)
        elif self.acts.approvals:
            cosignature = self.acts.approvals[-1]
        return sign_message(record, identity, cosignature)

    def forges(self, device: Device, task: bytes) -> bytes:
        """Ask in somebody's name without his key."""
        world, lab = self.world, self.world.lab_of(device)
        key = OneTimeKey.generate()
        world.thief.learns(key.seed().reveal())
        world.rules.learns_key(key.public_key)
        request = make_request(device.me.memberships()[0], device.identity, task, key.public_key, world.clock())
        data = request.data[:-70] + bytes([request.data[-70] ^ 1]) + request.data[-69:]
        world.rules.forged.add(data)
        self.acts.delivers(lab, data)
        return data

    def closes(self, device: Device, lease: bytes, task: bytes) -> None:
        """Say in somebody's name that a lease is closed, which frees its slot."""
        identity, lab = self.identity_of(device), self.world.lab_of(device)
        if identity is not None:
            receipt = Receipt(lab.id, lab.project.project_id, lease, task, "closed", "process-exit", self.world.clock())
            self.acts.delivers(lab, sign_message(receipt, identity).data)
