"""What people, crashes and the post do: each act by the actors' real code, and told to the rules."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Final

from labelvault.client import restore
from labelvault.contractor import Task
from labelvault.contractor.approval import Approving
from labelvault.contractor.exchange import answered
from labelvault.errors import ClockError, ConflictError, FormatError, LabelVaultError
from labelvault.story.simulator.places import Device, Lab, join, text_of
from labelvault.story.simulator.rules import Books, Held
from labelvault.story.simulator.thefts import rob
from labelvault.story.simulator.world import Simulator
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import frame_hash, parse_frame
from labelvault.wire.framefile import pack_frames, unpack_frames
from labelvault.wire.ids import ClientId, contractor_mailbox, issuer_mailbox, prekey_lease_id
from labelvault.wire.messages import Lease, OpenRequest
from labelvault.wire.presence import Approval, ApprovalRequest
from labelvault.wire.schema import decode_record

PREKEYS: Final = 2
_CLAIMED_S: Final = 3600


@dataclass(frozen=True)
class Mail:
    """What becomes of a request and its answer on their way.

    Attributes:
        lost: the request does not arrive; the vendor keeps it for later.
        late: how long it lies at the vendor's.
        twice: it is delivered once more after its answer.
        unanswered: the answer does not arrive.
        altered: the answer arrives with a bit flipped.
        watched: a thief looks into the asking process while it waits.
    """

    lost: bool = False
    late: timedelta = timedelta(0)
    twice: bool = False
    unanswered: bool = False
    altered: bool = False
    watched: bool = False

    @property
    def arrives(self) -> bool:
        """Whether an answer comes back whole."""
        return not (self.lost or self.unanswered or self.altered)


PROMPT: Final = Mail()


@dataclass
class Acts:
    """The acts.

    Attributes:
        decided: what the rules said of each request: why it was denied, or "".
        said: what they said of the last one that somebody asked; None if it did not come to that.
        delivered: every message that ever reached an issuer.
        lost: messages that a vendor kept back, and for which lab.
        anew: whether what was issued last was new.
        offered: files of prekeys, by device.
        issued: files of leases, by device.
        wrong: what the rules said where an issuer gave another answer.
        approvals: cosignatures that phones gave.
        copies: what a device held when its home was copied.
        backups: what a client knew when it was backed up.
    """

    world: Simulator
    decided: dict[bytes, str] = field(default_factory=dict)
    said: str | None = None
    delivered: list[bytes] = field(default_factory=list)
    lost: list[tuple[str, bytes]] = field(default_factory=list)
    anew: bool = False
    offered: dict[str, list[bytes]] = field(default_factory=dict)
    issued: dict[str, list[bytes]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    approvals: list[bytes] = field(default_factory=list)
    copies: dict[str, Held] = field(default_factory=dict)
    backups: dict[str, Books] = field(default_factory=dict)

    # The post

    def passes(self, lab: Lab) -> None:
        """An issuer takes what waits for it; so do the rules, and both give the same answers."""
        world, host = self.world, self.world.hosts[lab.name]
        expected: dict[bytes, bool] = {}
        boxes: set[bytes] = set()
        for _, data in host.waiting(issuer_mailbox(ClientId(lab.id))):
            self.delivered.append(data)
            with suppress(FormatError):
                why = world.rules.arrives(lab.id, data, world.clock())
                if why is not None:
                    self.decided[frame_hash(data)] = why
                    expected[frame_hash(data)] = not why
                    boxes.add(contractor_mailbox(ClientId(lab.id), parse_frame(data).signer))
        for box in boxes:
            host.lose(box)
        lab.issuer.answer()
        answers = [parse_frame(data) for box in boxes for _, data in host.waiting(box)]
        found = {answered(frame): frame.type == Lease.TYPE for frame in answers}
        self.wrong += [f"{self.decided[of]!r} by the rules" for of, lease in expected.items() if found.get(of) != lease]

    def delivers(self, lab: Lab, data: bytes) -> None:
        """Something reaches an issuer's mailbox, and the issuer."""
        lab.relay.post(issuer_mailbox(ClientId(lab.id)), data)
        self.passes(lab)

    def asks_by(self, device: Device, what: object, mail: Mail) -> Callable[[bytes], bytes | None]:
        """How a device's request gets to the issuer, and the answer back."""
        world, lab = self.world, self.world.lab_of(device)

        self.said = None

        def way(data: bytes) -> bytes | None:
            request = decode_record(OpenRequest, parse_frame(data).body)
            world.rules.asks(device.name, what, request.one_time_key)
            if mail.watched:
                rob(world, device, alive=True)
            world.clock.advance(mail.late)
            if mail.lost:
                self.lost.append((lab.name, data))
                world.thief.overhears(data)
                return None
            self.delivers(lab, data)
            if mail.twice:
                self.delivers(lab, data)
            self.said = self.decided.get(frame_hash(data))
            answer = self._answer(device, frame_hash(data))
            if mail.altered and answer is not None:
                answer = answer[:-9] + bytes([answer[-9] ^ 1]) + answer[-8:]
            return None if mail.unanswered else answer

        return way

    def _answer(self, device: Device, of: bytes) -> bytes | None:
        world, lab = self.world, self.world.lab_of(device)
        box = contractor_mailbox(ClientId(lab.id), device.me.public_key)
        for number, data in world.host_of(device).waiting(box):
            if answered(parse_frame(data)) == of:
                lab.relay.ack(box, number)
                return data
        return None

    # At a device

    def on_the_phone(self, device: Device, *, yes: bool = True) -> Approving:
        """How a desk asks its phone, and what its owner says."""
        return Approving(way=lambda data: self.asked(device, data) if yes else None)

    def asked(self, device: Device, data: bytes) -> bytes | None:
        """The owner of a phone says yes, if the phone lets him."""
        if device.phone is None:
            return None
        request = decode_record(ApprovalRequest, parse_frame(data).body)
        answer = device.phone.approve(device.phone.examine(data))
        self.world.rules.approved(device.me.public_key, request.body, self.world.clock())
        self.approvals.append(decode_record(Approval, parse_frame(answer).body).cosignature)
        self.world.thief.overhears(data + answer)
        return answer

    def opens(self, device: Device, task: bytes, mail: Mail = PROMPT, *, yes: bool = True) -> Task | LabelVaultError:
        """Somebody opens a task, and is answered."""
        world, what = self.world, object()
        try:
            opened = device.me.open_task(
                task, exchange=self.asks_by(device, what, mail), approving=self.on_the_phone(device, yes=yes)
            )
        except LabelVaultError as error:
            world.rules.given_up(device.name, what)
            return error
        world.rules.given_up(device.name, what)
        self._shown(device, opened)
        return opened

    def opens_ahead(self, device: Device, task: bytes) -> Task | LabelVaultError:
        """Somebody opens a task with a lease that was issued ahead."""
        try:
            opened = device.me.open_task(task, offline=True)
        except LabelVaultError as error:
            self.sweeps(device)
            return error
        self.sweeps(device)
        self._shown(device, opened)
        return opened

    def _shown(self, device: Device, task: Task) -> None:
        world = self.world
        lent = world.rules.lent(task.lease_id)
        world.leases_of.setdefault(task, []).append(task.lease_id)
        if task not in device.tasks:
            device.tasks.append(task)
        world.rules.opened(device.name, task, lent.opens)

    def renews(self, device: Device, task: Task, mail: Mail = PROMPT, *, yes: bool = True) -> bool | LabelVaultError:
        """Somebody goes on with a task before it ends."""
        try:
            task.renew(exchange=self.asks_by(device, task, mail), approving=self.on_the_phone(device, yes=yes))
        except LabelVaultError as error:
            return error
        self._shown(device, task)
        return True

    def closes(self, device: Device, task: Task) -> None:
        """Somebody is done with a task."""
        task.close()
        self.world.dropped(device, task)

    def closes_orphan(self, device: Device) -> None:
        """Somebody closes what a crash left open on record."""
        lease = device.orphans.pop()
        device.me.close_opening(lease)
        self.world.rules.closed(device.name, None, {lease})

    def crashes(self, device: Device) -> None:
        """A device's process is killed, and started again."""
        device.orphans = [lease for task in device.tasks for lease in self.world.leases_of.pop(task)]
        device.restart()
        self.world.rules.crashed(device.name)

    def sweeps(self, device: Device) -> None:
        """A device looks through its leases, as it does now and then."""
        world = self.world
        held = world.rules.devices[device.name]
        with suppress(ClockError):
            device.me.ahead.erase_expired()
            world.rules.swept(device.name, device.clock())
        at_hand = [bytes.fromhex(path.stem) for path in (device.home / "leases").glob("*.lease")]
        held.at_hand = {lease: (world.rules.lent(lease).key, world.rules.lent(lease).expires_at) for lease in at_hand}

    def claims(self, device: Device, task: bytes) -> None:
        """A vendor lets somebody work on all of a task's queue that is free."""
        lab = self.world.lab_of(device)
        queue = self.world.rules.books[lab.id].batch.get(task)
        while queue is not None and lab.vault.claim(queue, device.me.public_key.hex(), ttl_s=_CLAIMED_S) is not None:
            pass

    def makes_prekeys(self, device: Device) -> None:
        """Somebody makes one-time keys, and hands over their public halves; not with a clock that runs behind."""
        self.sweeps(device)
        try:
            data = device.me.ahead.make_prekeys(PREKEYS)
        except ClockError:
            return
        self.world.rules.devices[device.name].prekeys |= dict(_prekeys(data))
        self.offered.setdefault(device.name, []).append(data)
        self.world.overheard(data)

    def takes(self, device: Device, file: bytes) -> None:
        """Somebody takes leases and a status from a file; one of before a restore is refused."""
        with suppress(LabelVaultError):
            device.me.take(file)
        self.sweeps(device)

    def keeps_copy(self, device: Device) -> None:
        """Somebody's home is copied, while nothing runs there."""
        self.crashes(device)
        device.me.close()
        copy = self.world.place / f"{device.name}-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(device.home, copy)
        device.restart()
        self.copies[device.name] = deepcopy(self.world.rules.devices[device.name])

    def puts_back(self, device: Device) -> None:
        """The copy is put in the home's place, with all that was erased there since."""
        self.crashes(device)
        device.me.close()
        shutil.rmtree(device.home)
        shutil.copytree(self.world.place / f"{device.name}-copy", device.home)
        device.restart()
        device.orphans.clear()
        self.world.rules.devices[device.name] = deepcopy(self.copies[device.name])

    # At a client

    def grants(self, lab: Lab, device: Device, lasts: timedelta) -> None:
        """A client gives somebody another grant."""
        until = self.world.clock() + lasts
        join(device.role, lab.client, lab.project, device.me, device.phone, until)
        self.world.granted(lab, device)

    def revokes(self, lab: Lab, grant: bytes) -> None:
        """A client takes a grant back."""
        grant_id = lab.client.database.scalar("SELECT grant_id FROM grants WHERE hash = ?", grant)
        lab.client.revoke_grant(bytes(grant_id))
        self.world.rules.books[lab.id].grants[grant].revoked = True

    def closes_batch(self, lab: Lab, name: str) -> None:
        """A client takes a batch back from everybody."""
        lab.client.revoke_batch("eval", name)
        batch = lab.client.database.scalar("SELECT batch FROM batches WHERE name = ? AND gold = 0", name)
        self.world.rules.books[lab.id].closed_batches.add(bytes(batch))

    def freezes(self, lab: Lab, *, frozen: bool) -> None:
        """A client stops all releases, or lets them go on."""
        if frozen:
            lab.client.freeze("eval")
        else:
            lab.client.unfreeze("eval")
        self.world.rules.books[lab.id].frozen = frozen

    def seals(self, lab: Lab, path: str) -> None:
        """A client seals a new version of a file; once more, where the vault has another one of that number."""
        world = self.world
        number = world.sealings.get((lab.name, path), 1) + 1
        world.sealings[lab.name, path] = number
        sealed = None
        while sealed is None:
            with suppress(ConflictError):
                sealed = lab.project.seal_file(path, BytesIO(text_of(lab.name, path, number)))
        world.contents[lab.id, sealed.item, sealed.version] = text_of(lab.name, path, number)
        world.rules.sealed(lab.id, sealed.item, sealed.version)

    def rotates(self, lab: Lab) -> None:
        """A client replaces its project's KEK."""
        lab.project.rotate_kek()
        self.world.rules.rotated(lab.id)

    def issues(self, lab: Lab, device: Device, task: bytes, offer: bytes, *, post: bool) -> LabelVaultError | None:
        """A client issues a lease ahead, for a file or through the vault."""
        world = self.world
        grant = device.me.memberships()[0].grant
        name = grant.message.grant_id
        try:
            report = lab.issuer.issue(name, [task], unpack_frames(offer))
        except LabelVaultError as error:
            return error
        self.anew = any(not lease.again for lease in report.leases)
        for lease in report.leases:
            if not lease.again:
                prekey = next(
                    each for each in _prekeys(offer) if prekey_lease_id(grant.hash, each[0]) == lease.lease_id
                )
                world.rules.issued(lab.id, lease.lease_id, grant.hash, task, prekey, world.clock())
        file = pack_frames(report.frames)
        world.overheard(file)
        self.issued.setdefault(device.name, []).append(file)
        if post:
            lab.issuer.ahead.deliver(report)
        return None

    def restarts(self, lab: Lab) -> Lab:
        """A client's processes are killed, and started again."""
        lab.close()
        self.world.labs[lab.name] = lab.reopened()
        return self.world.labs[lab.name]

    def backs_up(self, lab: Lab) -> None:
        """A client makes a backup."""
        file = self.world.place / f"{lab.name}.backup"
        file.unlink(missing_ok=True)
        lab.client.backup(file)
        self.backups[lab.name] = deepcopy(self.world.rules.books[lab.id])

    def restores(self, lab: Lab) -> Lab:
        """A client's home is lost, and comes back from its backup."""
        world = self.world
        lab.close()
        shutil.rmtree(lab.home)
        restore(lab.home, lab.root, world.place / f"{lab.name}.backup", clock=world.clock)
        lab = world.labs[lab.name] = lab.reopened()
        world.ledgers.pop(lab.name, None)
        world.rules.restored(lab.id, self.backups[lab.name], lab.client.certificate.message.epoch, world.clock())
        return lab


def _prekeys(file: bytes) -> list[tuple[bytes, datetime]]:
    """The keys in a file of bundles, with their ends."""
    bundles = [decode_record(PrekeyBundle, parse_frame(frame).body) for frame in unpack_frames(file)]
    return [(key, bundle.expires_at) for bundle in bundles for key in bundle.keys]
