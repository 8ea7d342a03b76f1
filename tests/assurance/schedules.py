"""Two or three actors at once over real connections, in every order of their steps, or in many.

A step is a transaction, or a statement outside one: what a writer does within its transaction nobody else sees, and
nobody else writes meanwhile. Whatever the order, the outcome must be that of one actor after the other.
"""

import itertools
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labelvault.client import Limits
from labelvault.crypto.hpke import OneTimeKey
from labelvault.database import Database
from labelvault.errors import LabelVaultError
from labelvault.ledger.entries import Released
from labelvault.stores.sqlite_files import Connections
from labelvault.vendor import Vault
from labelvault.wire.frame import parse_frame
from labelvault.wire.ids import issuer_mailbox
from tests.assurance.acts import Place
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.crashes import remembering_keys
from tests.world import World, denial_code, entries

MAX_OPEN = 2
WAIT_S = 60.0


class Stage:
    """Lets threads take their steps one at a time, in an order that is set."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._turn = threading.Condition()
        self._current: int | None = None
        self._ready: set[int] = set()
        self._over: set[int] = set()

    def step(self) -> None:
        """Called before each step: wait for the turn. Threads that are no actors go on."""
        me = getattr(self._mine, "number", None)
        if me is None:
            return
        with self._turn:
            self._ready.add(me)
            self._current = None
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._current == me, WAIT_S), "an actor got no turn"
            self._ready.discard(me)

    def run(self, actors: Sequence[Callable[[], Any]], order: Sequence[int]) -> tuple[list[Any], list[int]]:
        """Run actors to their ends; return what each gave, or the error that it raised, and how many steps it took.

        Args:
            actors: each in a thread of its own.
            order: whose turn it is, step by step; who is through is passed over, and what is left goes in turn.
        """
        results: list[Any] = [None] * len(actors)
        steps = [0] * len(actors)

        def act(number: int) -> None:
            self._mine.number = number
            try:
                results[number] = actors[number]()
            except LabelVaultError as error:
                results[number] = type(error).__name__
            except BaseException as error:  # noqa: BLE001 - told by the thread that waits for it
                results[number] = error
            with self._turn:
                self._over.add(number)
                self._current = None
                self._turn.notify_all()

        threads = [threading.Thread(target=act, args=(number,)) for number in range(len(actors))]
        everybody = set(range(len(actors)))
        for thread in threads:
            thread.start()
        for number in itertools.chain(order, itertools.cycle(range(len(actors)))):
            with self._turn:
                settled = self._turn.wait_for(lambda: self._ready | self._over == everybody, WAIT_S)
                assert settled, "an actor neither ends nor comes to its next step: it waits for another's lock"
                if self._over == everybody:
                    break
                if number in self._over:
                    continue
                steps[number] += 1
                self._ready.discard(number)
                self._current = number
                self._turn.notify_all()
        for thread in threads:
            thread.join()
        return results, steps

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Make each transaction, and each statement outside one, a step."""
        run, read, write = Database._run, Connections.read, Connections.write

        def stepped(database: Database, statement: str, parameters: tuple[Any, ...]) -> Any:
            if database._depth == 0:
                self.step()
            return run(database, statement, parameters)

        def reading(files: Connections) -> Any:
            self.step()
            return read(files)

        def writing(files: Connections) -> Any:
            self.step()
            return write(files)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "_run", stepped)
            patch.setattr(Connections, "read", reading)
            patch.setattr(Connections, "write", writing)
            yield


@dataclass(frozen=True)
class Prepared:
    """What the actors' parts are made of: messages that were signed beforehand, in hex."""

    time: datetime
    open_one: bytes
    same_key: bytes
    other_key: bytes
    third: bytes
    renewal: bytes
    receipt: bytes
    waiting: bytes
    grant_id: bytes
    keys: dict[bytes, bytes]


def make(folder: Path) -> Prepared:
    """A world with one lease that lives, one slot that is free, one claim, and a request that waits."""
    folder.mkdir()
    with chdir(folder):
        world = World(Path())
        me, joined = world.worker(limits=Limits(max_open=MAX_OPEN, max_total=5, per_hour=5, lease_ttl_s=3600))
        issuer = world.issuer()
        one, two, three = (world.task(name) for name in ("one", "two", "three"))
        live = world.ask(me, joined, one)
        issuer.handle(live.data)
        key = OneTimeKey.generate()
        asked = {
            "open_one": world.ask(me, joined, one, key=key),
            "same_key": world.ask(me, joined, two, key=key),
            "other_key": world.ask(me, joined, two),
            "third": world.ask(me, joined, three),
            "renewal": world.ask(me, joined, one, replaces=live.hash),
            "waiting": world.ask(me, joined, three),
        }
        world.relay().post(issuer_mailbox(world.lab.client_id), asked["waiting"].data)
        keys = {request.hash: request.message.one_time_key for request in (live, *asked.values())}
        made = {name: request.data for name, request in asked.items()}
        made["receipt"] = world.receipt(me, live)
        made["grant_id"] = joined.grant.message.grant_id
        time = world.clock.time
        world.close()
    return Prepared(time=time, keys=keys, **made)


def _answer(data: bytes | None) -> str:
    if data is None:
        return "nothing"
    kind = parse_frame(data).type
    return denial_code(data) if kind == "denial" else kind


def _handling(name: str) -> Callable[[Place, Prepared, int], Any]:
    return lambda place, prepared, _: _answer(place.issuer().handle(getattr(prepared, name)))


def _claim(place: Place, prepared: Prepared, me: int) -> Any:
    with Vault.open(place.vault, clock=place.clock) as vault:
        claim = vault.claim(vault.queues()[0], f"worker {me}", ttl_s=900)
        return None if claim is None else claim.item


def _finish(place: Place, prepared: Prepared, me: int) -> Any:
    with Vault.open(place.vault, clock=place.clock) as vault:
        claim = vault.claim(vault.queues()[0], f"worker {me}", ttl_s=900)
        if claim is None:
            return None
        vault.finish(claim)
        return claim.item


def _purge(place: Place, prepared: Prepared, me: int) -> Any:
    with Vault.open(place.vault, clock=place.clock) as vault:
        vault.purge()


def _mailbox(place: Place, prepared: Prepared, me: int) -> Any:
    report = place.issuer().answer()
    return report.released, tuple(sorted(report.denied.items()))


def _revoke(place: Place, prepared: Prepared, me: int) -> Any:
    return place.lab.revoke_grant(prepared.grant_id)


def _freeze(place: Place, prepared: Prepared, me: int) -> Any:
    return place.lab.freeze("eval")


PARTS: dict[str, Callable[[Place, Prepared, int], Any]] = {
    "open": _handling("open_one"),
    "open with the same key": _handling("same_key"),
    "open another": _handling("other_key"),
    "open a third": _handling("third"),
    "renew": _handling("renewal"),
    "close": _handling("receipt"),
    "answer the mailbox": _mailbox,
    "revoke": _revoke,
    "freeze": _freeze,
    "claim": _claim,
    "finish": _finish,
    "purge": _purge,
}
Outcome = tuple[tuple[Any, ...], Any]


class Theatre:
    """One world, copied for each schedule."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.prepared = make(folder / "before")
        self._place = folder / "now"
        self._serial: dict[tuple[str, ...], set[Outcome]] = {}

    def play(self, parts: Sequence[str], order: Sequence[int]) -> tuple[Outcome, list[int]]:
        """Let these parts be played at once in this order; return the outcome, and how many steps each took."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._folder / "before", self._place)
        stage = Stage()
        with chdir(self._place), ExitStack() as stack, remembering_keys():
            places = [Place(self.prepared.time) for _ in parts]
            for place in places:
                stack.callback(place.close)
            with stage.watching():
                actors = [
                    lambda number=number, part=part: PARTS[part](places[number], self.prepared, number)
                    for number, part in enumerate(parts)
                ]
                results, steps = stage.run(actors, order)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            return (_without_names(results), self._judged(places[0], results)), steps

    def _judged(self, place: Place, results: list[Any]) -> Any:
        """What must hold in any case; and what of the end tells one outcome from another."""
        place.lab.verify_ledger()
        released = entries(place, Released)
        keys = [self.prepared.keys[entry.lease_id] for entry in released]
        assert len(set(keys)) == len(keys), "a one-time key got two leases"
        (grant,) = place.lab.grants()
        assert grant.open <= MAX_OPEN, "more leases are open than may be"
        rows = place.lab.database.rows("SELECT count(*) FROM leases")
        assert rows == [(len(released),)], "leases and ledger differ"
        claimed = [result for result in results if isinstance(result, bytes)]
        assert len(set(claimed)) == len(claimed), "two claims on one task"
        with Vault.open(place.vault, clock=place.clock) as vault:
            assert not vault.check()
            states = tuple(sorted(each.state for each in vault.tasks()))
        return grant.open, len(released), grant.revoked, place.lab.project("eval").frozen, states

    def serial(self, parts: Sequence[str]) -> set[Outcome]:
        """The outcomes of one after the other, in every order."""
        known = tuple(parts)
        if known not in self._serial:
            orders = itertools.permutations(range(len(parts)))
            self._serial[known] = {
                self.play(parts, [number for number in order for _ in range(40)])[0] for order in orders
            }
        return self._serial[known]

    def check(self, parts: Sequence[str], order: Sequence[int]) -> None:
        """Play, and hold the outcome to those of one after the other.

        Raises:
            AssertionError: it is none of these, or something does not hold.
        """
        outcome, _ = self.play(parts, order)
        assert outcome in self.serial(parts), f"{parts} in order {order}: {outcome}"


def _without_names(results: Sequence[Any]) -> tuple[Any, ...]:
    """Which task a claim gets is chance; that it gets one is not."""
    return tuple("a task" if isinstance(result, bytes) else result for result in results)


def pairs(folder: Path) -> Cases:
    """Every order of the steps of every two parts."""
    theatre = Theatre(folder)
    alone = {part: theatre.play([part], [])[1][0] for part in PARTS}
    cases = []
    for two in itertools.combinations_with_replacement(PARTS, 2):
        # Beside another a part may take a step more or less than alone: what is left over goes in turn.
        first, second = (alone[part] for part in two)
        cases.append((two, first, second, math.comb(first + second, first)))
    ends = list(itertools.accumulate(count for *_, count in cases))

    def attempt(number: int, _: Random) -> None:
        place = next(at for at, end in enumerate(ends) if number < end)
        two, first, second, count = cases[place]
        theatre.check(two, interleaving(number - (ends[place] - count), first, second))

    return Cases(attempt, ends[-1])


def interleaving(number: int, first: int, second: int) -> list[int]:
    """The order of that number among all of so many zeros and so many ones."""
    order: list[int] = []
    while first or second:
        with_first = math.comb(first + second - 1, second) if first else 0
        if number < with_first:
            order.append(0)
            first -= 1
        else:
            number -= with_first
            order.append(1)
            second -= 1
    return order


def triples(folder: Path) -> Cases:
    """Three parts, and their steps in any order."""
    theatre = Theatre(folder)

    def attempt(_: int, rng: Random) -> None:
        parts = [rng.choice(list(PARTS)) for _ in range(3)]
        order = [number for number in range(3) for _ in range(12)]
        rng.shuffle(order)
        theatre.check(parts, order)

    return Cases(attempt)


CHECKS = (
    Check(
        "two at once",
        "every order of the steps of any two of open, renew, close, answer, revoke, freeze, claim, finish and purge: "
        "caps hold, a key works once, and the outcome is that of one after the other",
        ("C4", "C5", "C7", "R1", "R7"),
        pairs,
        Counts(60, None, None),
    ),
    Check(
        "three at once",
        "the same with three, their steps in random order",
        ("C4", "C5", "C7", "R7"),
        triples,
        Counts(30, 10_000, 100_000),
    ),
)
