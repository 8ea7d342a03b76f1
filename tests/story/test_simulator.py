"""The simulated world: a walk that hypothesis makes small where it fails, and the thief and the rules by themselves."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from labelvault.contractor import Task
from labelvault.crypto.secret import SecretBytes
from labelvault.drill import run as drill
from labelvault.errors import DeniedError, LabelVaultError, RequestTimeoutError
from labelvault.story.simulator import Acts, Crook, Mail, Simulator, Start, thefts
from labelvault.story.simulator.memory import bytes_held
from labelvault.story.simulator.places import PASSPHRASE
from tests.assurance.walk import STEPS, Step, Walk

T = TypeVar("T")
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Made once: a world begins from a copy."""
    return Start(tmp_path_factory.mktemp("simulator"), shared=True)


class World:
    """A world, with all that acts in it."""

    def __init__(self, start: Start) -> None:
        self.now = Simulator(start)
        self.acts = Acts(self.now)
        self.crook = Crook(self.acts)
        self.ada, self.desk = self.now.devices["ada"], self.now.devices["desk"]
        self.lab = self.now.labs["lab"]
        self.one, self.two = self.now.task(self.lab, "one"), self.now.task(self.lab, "two")

    def opened(self, name: str = "ada", task: bytes | None = None) -> Task:
        """A task that somebody opened."""
        found = self.acts.opens(self.now.devices[name], task or self.one)
        assert isinstance(found, Task)
        return found

    def read(self) -> list[str]:
        """What the thief reads, which the rules allow."""
        self.now.settle()
        assert self.now.differences() == []
        assert self.now.thief.tries_everything() <= self.now.thief.reads
        return self.now.named(self.now.thief.reads)


@pytest.fixture
def world(start: Start) -> Iterator[World]:
    """A world of its own."""
    made = World(start)
    yield made
    made.now.close()


ONE = ["lab guidelines/how.md v1", "lab tasks/w1/one.md v1"]


class Drawn:
    """Chooses as hypothesis does."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def one(self, among: Sequence[T]) -> T:
        return self._data.draw(st.sampled_from(list(among)))


class Walking(RuleBasedStateMachine):
    """A walk whose steps hypothesis chooses."""

    start: Start

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk(self.start)

    def teardown(self) -> None:
        """As a walk by seeds ends."""
        try:
            self.walk.finish()
        finally:
            self.walk.close()


def as_rule(step: Step) -> Callable[..., None]:
    """A step as hypothesis has it."""

    def act(self: Walking, data: st.DataObject) -> None:
        self.walk.take(step, Drawn(data))

    act.__name__ = step.name
    return precondition(lambda self: bool(step.can(self.walk)))(rule(data=st.data())(act))


def machine(start: Start) -> type[Walking]:
    """All steps as rules."""
    return type("Machine", (Walking,), {"start": start} | {step.name: as_rule(step) for step in STEPS})


def test_G1_G2_G3_G4_G5_G6_G7_at_each_step_the_thief_reads_what_the_rules_allow(start: Start) -> None:
    """Whatever happens in whatever order: he opens all of it, and nothing else."""
    assert len(STEPS) >= 30
    run_state_machine_as_test(
        machine(start),
        settings=settings(
            max_examples=10,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_G1_all_that_lies_at_the_vendors_opens_nothing(world: World) -> None:
    """Payloads, requests and leases alone."""
    world.opened()
    assert world.read() == []


def test_G2_a_device_that_is_taken_alive_gives_what_is_open_there(world: World) -> None:
    """The task and its guideline; a disk at rest gives nothing, and nor does what was closed before."""
    task = world.opened()
    thefts.rob(world.now, world.ada, alive=False)
    assert world.read() == []
    thefts.rob(world.now, world.ada, alive=True)
    assert world.read() == ONE
    world.acts.closes(world.ada, task)
    world.opened(task=world.two)
    assert world.read() == ONE


def test_G3_what_was_closed_is_not_opened_by_what_is_stolen_later(world: World) -> None:
    """All was recorded, then disk, memory and passphrase are taken."""
    world.acts.closes(world.ada, world.opened())
    thefts.rob(world.now, world.ada, alive=True)
    assert world.read() == []


def test_G3_a_key_in_the_memory_of_who_waits_opens_what_he_waits_for(world: World) -> None:
    """A thief who looks on at the right moment; the answer goes astray, and he has it all the same."""
    found = world.acts.opens(world.ada, world.one, Mail(watched=True, unanswered=True))
    assert isinstance(found, RequestTimeoutError)
    assert world.read() == ONE


def test_G2_at_a_desk_each_approval_opens_one_task_to_a_thief(world: World) -> None:
    """Without one nothing, with a late or another's nothing; with a fresh one that task."""
    thefts.rob(world.now, world.desk, alive=True)
    assert world.crook.asks(world.desk, world.one) == "presence"
    assert world.crook.asks(world.desk, world.one, approval="person", waits=6 * MINUTE) == "presence"
    assert world.read() == []
    assert world.crook.asks(world.desk, world.one, approval="person") == ""
    assert world.crook.asks(world.desk, world.two, approval="old") == "presence"
    assert world.read() == ONE


def test_G4_a_thief_with_a_helpers_key_gets_what_its_grant_allows_until_it_is_revoked(world: World) -> None:
    """In scope and within the caps; then nothing more."""
    thefts.rob(world.now, world.ada, alive=False)
    assert world.crook.asks(world.ada, world.one) == ""
    assert world.crook.asks(world.ada, world.now.task(world.lab, "three")) == "unknown"
    grant = world.ada.me.memberships()[0].grant.hash
    world.acts.revokes(world.lab, grant)
    assert world.crook.asks(world.ada, world.two) == "revoked"
    assert world.read() == ONE


def test_G3_a_prekey_that_is_stolen_opens_its_lease_whenever_that_comes(world: World) -> None:
    """And one that was erased at the close does not."""
    for _ in range(2):
        world.acts.makes_prekeys(world.ada)
    offers = world.acts.offered["ada"]
    world.acts.issues(world.lab, world.ada, world.two, offers[0], post=False)
    world.acts.takes(world.ada, world.acts.issued["ada"][0])
    task = world.acts.opens_ahead(world.ada, world.two)
    assert isinstance(task, Task)
    world.acts.closes(world.ada, task)
    thefts.rob(world.now, world.ada, alive=True)
    assert world.read() == []
    world.acts.issues(world.lab, world.ada, world.one, offers[1], post=False)
    assert world.read() == ONE


def test_G8_a_stolen_kek_opens_only_what_a_stolen_catalog_of_its_time_wraps(world: World) -> None:
    """Neither alone opens anything, nor the old key with the catalog as it is after a rotation."""
    thefts.rob_keks(world.now, world.lab)
    world.acts.rotates(world.lab)
    thefts.rob_catalog(world.now, world.lab)
    assert world.read() == []
    thefts.rob_keks(world.now, world.lab)
    assert len(world.read()) == 5
    assert all(name.startswith("lab ") for name in world.read())


def test_G4_who_has_no_key_gets_no_answer(world: World) -> None:
    """A request that nobody signed."""
    before = world.now.recorded(world.lab)
    world.crook.forges(world.ada, world.one)
    assert world.read() == []
    assert world.now.recorded(world.lab) == before


def test_a_restored_home_has_its_erased_prekeys_again_and_the_rules_say_so(world: World) -> None:
    """What was closed before opens to who steals the home that was put back."""
    world.acts.makes_prekeys(world.ada)
    world.acts.keeps_copy(world.ada)
    world.acts.issues(world.lab, world.ada, world.one, world.acts.offered["ada"][0], post=False)
    world.acts.takes(world.ada, world.acts.issued["ada"][0])
    task = world.acts.opens_ahead(world.ada, world.one)
    assert isinstance(task, Task)
    world.acts.closes(world.ada, task)
    thefts.rob(world.now, world.ada, alive=True)
    assert world.read() == []
    world.acts.puts_back(world.ada)
    thefts.rob(world.now, world.ada, alive=True)
    assert world.read() == ONE


def test_R8_after_a_restore_nothing_of_before_is_answered(world: World) -> None:
    """Neither the contractor's old grant nor a request that was kept back."""
    world.acts.backs_up(world.lab)
    world.acts.opens(world.ada, world.one, Mail(lost=True))
    world.acts.restores(world.lab)
    world.now.clock.advance(3 * MINUTE)
    ((name, kept),) = world.acts.lost
    world.acts.delivers(world.now.labs[name], kept)
    found = world.acts.opens(world.ada, world.one)
    assert isinstance(found, DeniedError)
    assert world.read() == []


def test_the_rules_are_told_apart_from_a_library_that_breaks_them(world: World) -> None:
    """A thief who reads more than the rules allow shows, and so does one who reads less, or a ledger with a gap."""
    world.opened()
    world.now.settle()
    assert world.now.differences() == []
    version = next(iter(world.now.contents))
    world.now.thief.reads.add(version)
    assert "against the rules the thief reads" in world.now.differences()[0]
    world.now.thief.reads.clear()
    world.now.rules.readable.add(version)
    assert "by the rules he should read" in world.now.differences()[1]
    world.now.rules.readable.clear()
    lease = next(iter(world.now.rules.books[world.lab.id].leases))
    del world.now.rules.books[world.lab.id].leases[lease]
    assert "leases that nobody got" in world.now.differences()[0]


def test_the_thief_finds_what_the_drill_finds(world: World, tmp_path: Path) -> None:
    """With the same stolen bytes: the long way, in the drill's own order, opens the same."""
    world.acts.makes_prekeys(world.ada)
    world.acts.issues(world.lab, world.ada, world.two, world.acts.offered["ada"][0], post=True)
    world.opened()
    thefts.rob(world.now, world.ada, alive=False)
    world.read()
    found = drill(
        world.now.hosts["lab"].path.parent, contractors=[world.ada.home], passphrases=[SecretBytes(PASSPHRASE.encode())]
    )
    opened = {(bytes.fromhex(each.client), bytes.fromhex(each.item), each.version) for each in found.opened}
    assert opened == world.now.thief.reads != set()


def test_memory_holds_secrets_in_slots_and_closures_and_not_the_programs_own() -> None:
    """As a capture of the process would show them; modules and classes are not the actor's."""
    secret, hidden = SecretBytes(b"a secret in a slot, 32 bytes wide"), b"in a closure, sixteen or more"

    def closure() -> bytes:
        return hidden

    found = bytes_held([{"key": [secret]}, closure])
    assert {b"a secret in a slot, 32 bytes wide", hidden} <= found
    assert len(found) < 10


def test_a_vault_is_put_back_under_those_who_use_it(world: World) -> None:
    """What was sealed since is gone, and opening it says so; nothing else is opened in its place."""
    host = world.now.hosts["lab"]
    host.keep_copy()
    world.acts.seals(world.lab, "tasks/w1/one.md")
    host.roll_back()
    assert isinstance(world.acts.opens(world.ada, world.one), LabelVaultError)
    assert world.acts.said == ""
    assert isinstance(world.acts.opens(world.ada, world.two), Task)
    assert world.read() == []
