"""A walk through the simulated world: what may happen, a sentence each, in any order, and what holds after each step.

The same steps are taken by hypothesis, which makes failures small (tests/story/test_simulator.py), and by the
thousand with plain seeds (tests/assurance/stateful.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from labelvault.contractor import Task
from labelvault.errors import IssueRefusedError, LabelVaultError, StoreError, TamperedError
from labelvault.story.simulator import PROMPT, Acts, Crook, Device, Host, Lab, Mail, Simulator, Start, thefts
from labelvault.story.simulator.places import FILES, TASKS
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import parse_frame
from labelvault.wire.framefile import unpack_frames
from labelvault.wire.ids import ClientId, issuer_mailbox
from labelvault.wire.schema import decode_record

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
RECENT = 20
"""So many messages, the last ones, are delivered again rather than older ones, which are stale."""
BAD_MAIL = (
    Mail(lost=True),
    Mail(unanswered=True),
    Mail(altered=True),
    Mail(twice=True),
    Mail(late=4 * MINUTE),
    Mail(late=6 * MINUTE),
)


class Choice(Protocol):
    """Whoever decides what happens: hypothesis, or a seed."""

    def one(self, among: Sequence[T]) -> T:
        """One of them."""
        ...


@dataclass(frozen=True)
class Step:
    """What may happen.

    Attributes:
        weight: how often, beside others.
        can: whether there is what it needs.
    """

    name: str
    weight: int
    can: Callable[["Walk"], object]
    act: Callable[["Walk", Choice], None]


STEPS: list[Step] = []
Act = Callable[["Walk", Choice], None]


def step(weight: int, *, can: Callable[["Walk"], object] = lambda _: True) -> Callable[[Act], Act]:
    """Make a method one of the steps."""

    def add(act: Act) -> Act:
        STEPS.append(Step(act.__name__, weight, can, act))
        return act

    return add


class Walk:
    """A world, and the steps through it."""

    def __init__(self, start: Start) -> None:
        self.world = Simulator(start)
        self.acts = Acts(self.world)
        self.crook = Crook(self.acts)

    def take(self, what: Step, choose: Choice) -> None:
        """Take one step, and see that everything holds after it."""
        what.act(self, choose)
        self.world.settle()
        assert not self.world.differences()
        assert not self.acts.wrong

    def finish(self) -> None:
        """At the end: every key tried on every byte opens what was opened by and by, and the ledgers hold together."""
        assert self.world.thief.tries_everything() <= self.world.thief.reads == self.world.rules.readable
        for lab in self.world.labs.values():
            lab.client.verify_ledger()

    def close(self) -> None:
        """End all that runs."""
        self.world.close()

    # What steps are made of

    def device(self, choose: Choice, tier: str | None = None) -> Device:
        return choose.one([each for each in self.world.devices.values() if tier in (None, each.role.tier)])

    def lab(self, choose: Choice) -> Lab:
        return choose.one(list(self.world.labs.values()))

    @property
    def busy(self) -> list[Device]:
        """Devices with something on the screen."""
        return [each for each in self.world.devices.values() if each.tasks]

    @property
    def crashed(self) -> list[Device]:
        """Devices where something was left open on record."""
        return [each for each in self.world.devices.values() if each.orphans]

    @property
    def robbed(self) -> list[Device]:
        """Devices in whose name the thief can sign."""
        return [each for each in self.world.devices.values() if self.crook.identity_of(each) is not None]

    @property
    def frozen(self) -> list[Lab]:
        """Labs that release nothing."""
        return [each for each in self.world.labs.values() if self.world.rules.books[each.id].frozen]

    @property
    def copied(self) -> list[Host]:
        """Vendors who have a copy of their vault."""
        return [each for each in dict.fromkeys(self.world.hosts.values()) if each.has_copy]

    def named(self, names: Iterable[str]) -> list[Device]:
        """Devices by their names."""
        return [self.world.devices[name] for name in names]

    def task(self, choose: Choice, device: Device) -> bytes:
        """A task of the device's lab; of the other one now and then."""
        lab = self.world.lab_of(device)
        if choose.one(range(12)) == 11:
            lab = next(each for each in self.world.labs.values() if each is not lab)
        return self.world.task(lab, choose.one(list(TASKS)))

    def shows(self, device: Device, task: Task) -> None:
        """What is on the screen is what the client sealed, in the version that was current at the release."""
        lab = self.world.lab_of(device)
        lent = self.world.rules.lent(task.lease_id)
        shown = {(lab.id, part.item, part.version): part.content for part in (task.part, *task.required)}
        assert shown == {version: self.world.contents[version] for version in lent.opens}
        assert device.clock() < lent.expires_at == task.expires_at

    def judged(self, device: Device, found: Task | bool | LabelVaultError, mail: Mail = PROMPT) -> None:
        """Who asked got what the rules say: no more by whatever mail, and no less by good mail from a whole vault."""
        said = self.acts.said
        if isinstance(found, LabelVaultError):
            assert said != "" or not mail.arrives or not self.is_whole(device), f"released, and yet {found!r}"
        else:
            assert said == "", f"opened, though {said}"
            assert mail.arrives, "opened without an answer"

    def is_whole(self, device: Device) -> bool:
        """Whether the vault has all that was sealed."""
        lab, host = self.world.lab_of(device), self.world.host_of(device)
        return all(host.has((lab.id, *version)) for version in self.world.rules.books[lab.id].current.items())

    # At a device

    @step(14)
    def somebody_opens_a_task(self, choose: Choice) -> None:
        device = self.device(choose)
        found = self.acts.opens(device, self.task(choose, device))
        self.judged(device, found)
        if isinstance(found, Task):
            self.shows(device, found)

    @step(6)
    def a_request_or_its_answer_goes_astray(self, choose: Choice) -> None:
        device, mail = self.device(choose), choose.one(BAD_MAIL)
        self.judged(device, self.acts.opens(device, self.task(choose, device), mail), mail)

    @step(2)
    def a_thief_looks_on_while_somebody_asks(self, choose: Choice) -> None:
        device, mail = self.device(choose), Mail(watched=True)
        self.judged(device, self.acts.opens(device, self.task(choose, device), mail), mail)

    @step(2)
    def a_phone_says_no(self, choose: Choice) -> None:
        device = self.world.devices["desk"]
        found = self.acts.opens(device, self.task(choose, device), yes=False)
        assert isinstance(found, LabelVaultError)

    @step(6, can=lambda walk: walk.busy)
    def somebody_renews(self, choose: Choice) -> None:
        device = choose.one(self.busy)
        task, mail = choose.one(device.tasks), choose.one([PROMPT, PROMPT, Mail(unanswered=True), Mail(lost=True)])
        found = self.acts.renews(device, task, mail)
        self.judged(device, found, mail)
        if not isinstance(found, LabelVaultError):
            self.shows(device, task)

    @step(10, can=lambda walk: walk.busy)
    def somebody_closes(self, choose: Choice) -> None:
        device = choose.one(self.busy)
        self.acts.closes(device, choose.one(device.tasks))

    @step(3, can=lambda walk: walk.crashed)
    def somebody_closes_what_a_crash_left(self, choose: Choice) -> None:
        self.acts.closes_orphan(choose.one(self.crashed))

    @step(2)
    def a_device_crashes(self, choose: Choice) -> None:
        self.acts.crashes(self.device(choose))

    @step(3)
    def somebody_makes_prekeys(self, choose: Choice) -> None:
        self.acts.makes_prekeys(self.device(choose, "helper"))

    @step(6, can=lambda walk: walk.acts.issued)
    def somebody_takes_a_file(self, choose: Choice) -> None:
        device = choose.one(self.named(self.acts.issued))
        self.acts.takes(device, choose.one(self.acts.issued[device.name]))

    @step(6, can=lambda walk: walk.acts.issued)
    def somebody_opens_what_was_issued_ahead(self, choose: Choice) -> None:
        device = choose.one(self.named(self.acts.issued))
        at_hand = [self.world.rules.lent(lease).task for lease in self.world.rules.devices[device.name].at_hand]
        found = self.acts.opens_ahead(device, choose.one([*at_hand, self.task(choose, device)]))
        if isinstance(found, Task):
            self.shows(device, found)

    @step(3, can=lambda walk: walk.acts.issued)
    def a_vendor_hands_out_what_was_issued_ahead(self, choose: Choice) -> None:
        device = choose.one(self.named(self.acts.issued))
        task = self.task(choose, device)
        self.acts.claims(device, task)
        found = self.acts.opens_ahead(device, task)
        if isinstance(found, Task):
            self.shows(device, found)

    @step(2)
    def somebody_sets_a_clock(self, choose: Choice) -> None:
        self.device(choose).clock.off = choose.one([0, 0, 0, 1, -1, 30, -30 * 24 * 60, 10 * 365 * 24 * 60]) * MINUTE

    @step(1)
    def a_home_is_copied(self, choose: Choice) -> None:
        self.acts.keeps_copy(self.device(choose))

    @step(1, can=lambda walk: walk.acts.copies)
    def a_home_is_put_back(self, choose: Choice) -> None:
        self.acts.puts_back(choose.one(self.named(self.acts.copies)))

    # At a client

    @step(4)
    def a_client_grants_anew(self, choose: Choice) -> None:
        device = self.device(choose)
        self.acts.grants(self.world.lab_of(device), device, choose.one([30 * MINUTE, 600 * MINUTE]))

    @step(1)
    def a_client_revokes_a_grant(self, choose: Choice) -> None:
        lab = self.lab(choose)
        self.acts.revokes(lab, choose.one(list(self.world.rules.books[lab.id].grants)))

    @step(1)
    def a_client_revokes_a_batch(self, choose: Choice) -> None:
        self.acts.closes_batch(self.lab(choose), "w2")

    @step(1)
    def a_client_freezes(self, choose: Choice) -> None:
        self.acts.freezes(self.lab(choose), frozen=True)

    @step(6, can=lambda walk: walk.frozen)
    def a_client_thaws(self, choose: Choice) -> None:
        self.acts.freezes(choose.one(self.frozen), frozen=False)

    @step(2)
    def a_client_seals_a_new_version(self, choose: Choice) -> None:
        self.acts.seals(self.lab(choose), choose.one(FILES))

    @step(2)
    def a_client_rotates_its_kek(self, choose: Choice) -> None:
        self.acts.rotates(self.lab(choose))

    @step(6, can=lambda walk: walk.acts.offered)
    def a_client_issues_ahead(self, choose: Choice) -> None:
        device = choose.one(self.named(self.acts.offered))
        lab, offer = self.world.lab_of(device), choose.one(self.acts.offered[device.name][-3:])
        task = self.world.task(lab, choose.one(list(TASKS)))
        grant, now = device.me.memberships()[0].grant.hash, self.world.clock()
        why = self.world.rules.ahead(lab.id, grant, task, offered_at(offer), now)
        found = self.acts.issues(lab, device, task, offer, post=choose.one([True, False]))
        if isinstance(found, IssueRefusedError):
            assert why, f"refused: {found.code}"
        elif found is None:
            assert not why or not self.acts.anew, f"issued, though {why}"

    @step(1)
    def a_client_restarts(self, choose: Choice) -> None:
        self.acts.restarts(self.lab(choose))

    @step(1)
    def a_client_backs_up(self, choose: Choice) -> None:
        self.acts.backs_up(self.lab(choose))

    @step(1, can=lambda walk: walk.acts.backups)
    def a_client_comes_back_from_its_backup(self, choose: Choice) -> None:
        lab = self.acts.restores(self.world.labs[choose.one(list(self.acts.backups))])
        # And the vendor delivers at once what it has kept.
        for data in self.acts.delivered[-RECENT:]:
            self.acts.delivers(lab, data)
        self.world.clock.advance(choose.one([1, 3]) * MINUTE)
        for device in self.world.devices_of(lab):
            self.acts.grants(lab, device, 600 * MINUTE)

    @step(3)
    def an_issuer_takes_its_mail(self, choose: Choice) -> None:
        self.acts.passes(self.lab(choose))

    @step(2)
    def an_issuer_says_what_is_revoked(self, choose: Choice) -> None:
        lab = self.lab(choose)
        lab.issuer.ahead.post_status()

    # At a vendor

    @step(3)
    def a_vendor_keeps_mail_back(self, choose: Choice) -> None:
        lab = self.lab(choose)
        box = issuer_mailbox(ClientId(lab.id))
        self.acts.lost += [(lab.name, data) for data in self.world.hosts[lab.name].lose(box)]

    @step(4, can=lambda walk: walk.acts.lost)
    def a_vendor_delivers_late(self, choose: Choice) -> None:
        lab, data = choose.one(self.acts.lost)
        self.acts.delivers(self.world.labs[lab], data)

    @step(4, can=lambda walk: walk.acts.delivered)
    def a_vendor_delivers_again_or_to_another(self, choose: Choice) -> None:
        self.acts.delivers(self.lab(choose), choose.one(self.acts.delivered[-RECENT:]))

    @step(2)
    def a_vendor_serves_other_bytes(self, choose: Choice) -> None:
        device = self.device(choose)
        lab, host = self.world.lab_of(device), self.world.host_of(device)
        task = self.world.task(lab, choose.one(list(TASKS)))
        version = (lab.id, task, self.world.rules.books[lab.id].current[task])
        other = choose.one([each for each in self.world.contents if each != version])
        if host.has(version) and self.world.host_of_client(other[0]).has(other):
            own, foreign = host.payload(version), self.world.host_of_client(other[0]).payload(other)
            host.write_payload(
                version, choose.one([foreign, own[:-20] + own[-19:] + b"x", own[:-1] + bytes([own[-1] ^ 1])])
            )
            found = self.acts.opens(device, task)
            host.write_payload(version, own)
            assert isinstance(found, LabelVaultError), "opened bytes that nobody sealed"
            # The vault's own code may notice a size that does not fit; the device, all else.
            assert (self.acts.said == "") == isinstance(found, TamperedError | StoreError), (
                f"{self.acts.said}: {found!r}"
            )

    @step(1)
    def a_vault_is_copied(self, choose: Choice) -> None:
        self.world.hosts[self.lab(choose).name].keep_copy()

    @step(1, can=lambda walk: walk.copied)
    def a_vault_is_rolled_back(self, choose: Choice) -> None:
        choose.one(self.copied).roll_back()

    # A thief

    @step(2)
    def a_thief_takes_a_device(self, choose: Choice) -> None:
        device = self.device(choose)
        thefts.rob(self.world, device, alive=choose.one([True, False]))

    @step(1)
    def a_thief_takes_a_phone(self, choose: Choice) -> None:
        thefts.rob_phone(self.world, self.world.devices["desk"])

    @step(2)
    def a_thief_takes_a_clients_keks_or_its_catalog(self, choose: Choice) -> None:
        choose.one([thefts.rob_keks, thefts.rob_catalog])(self.world, self.lab(choose))

    @step(6, can=lambda walk: walk.robbed)
    def a_thief_asks_in_somebodys_name(self, choose: Choice) -> None:
        device, waits = choose.one(self.robbed), choose.one([timedelta(0), timedelta(0), 6 * MINUTE, 10 * MINUTE])
        self.crook.asks(device, self.task(choose, device), waits=waits)

    @step(4, can=lambda walk: walk.crook.identity_of(walk.world.devices["desk"]))
    def a_thief_asks_with_an_approval(self, choose: Choice) -> None:
        device, waits = self.world.devices["desk"], choose.one([timedelta(0), timedelta(0), 6 * MINUTE, 10 * MINUTE])
        approval = choose.one(["person", "person", "ahead", "phone", "old"])
        self.crook.asks(device, self.task(choose, device), approval=approval, waits=waits)

    @step(2)
    def a_thief_asks_without_the_key(self, choose: Choice) -> None:
        device = self.device(choose)
        self.crook.forges(device, self.task(choose, device))

    @step(2, can=lambda walk: walk.robbed)
    def a_thief_closes_in_somebodys_name(self, choose: Choice) -> None:
        device = choose.one(self.robbed)
        leases = self.world.rules.books[self.world.lab_of(device).id].leases
        if leases:
            lease = choose.one(list(leases))
            self.crook.closes(device, lease, leases[lease].task)

    # Time

    @step(10)
    def time_passes(self, choose: Choice) -> None:
        self.world.clock.advance(choose.one([1, 4, 20, 59, 61]) * MINUTE)
        for device in self.world.devices.values():
            self.acts.sweeps(device)


def offered_at(offer: bytes) -> datetime:
    """When a file of prekeys was made."""
    return decode_record(PrekeyBundle, parse_frame(unpack_frames(offer)[0]).body).at
