"""A workforce that opens tasks, as a discrete-event simulation: how long people wait, and how busy issuers are.

    python -m benchmarks.simulate --contractors 100000 --issuers 1,2,4,8

Everybody works on one task at a time, and asks for the next one when it is done. A request waits at the vault until its
issuer fetches; an issuer takes all that waits, up to 100, in one transaction: what that takes is a commit, and so much
a message. Two receipts of each opening, that it was opened and closed, pass through the same queue, and nobody waits
for them. No two issuers share a ledger (each client has its own, and each home of a client with several), so people
are dealt to issuers once.

Times of a message and of a pass are arguments; `make bench` (row 8) measures them where the issuers are to run: "a
request more", "a receipt more", and "the pass itself".
"""

import argparse
import heapq
import json
import random
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_FETCH: Final = 100
_HOUR_S: Final = 3600.0
_ASK, _RECEIPT, _PASS, _DONE = range(4)


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated.

    Attributes:
        work_s: how long a person works on a task, on average; drawn from a log-normal distribution.
        spread: of that distribution's logarithm.
        shift_s: within which time all begin their day, evenly.
        release_s: an issuer's core time for a request.
        receipt_s: likewise for a receipt.
        commit_s: what a pass costs, however many messages it finds: a transaction of its own and one at the vault.
        way_s: from a device to the vault and back, and what the device does itself.
        poll_s: how long after a message came to an empty mailbox its issuer notices, at most.
        per_hour: openings that a grant allows in an hour.
        hours: how long is simulated.
    """

    contractors: int = 10_000
    issuers: int = 1
    work_s: float = 300.0
    spread: float = 0.8
    shift_s: float = 600.0
    release_s: float = 0.0008
    receipt_s: float = 0.0004
    commit_s: float = 0.003
    way_s: float = 0.05
    poll_s: float = 0.001
    per_hour: int = 30
    hours: float = 0.5
    seed: int = 1


@dataclass(slots=True)
class Found:
    """What came of it.

    Attributes:
        opened: openings.
        limited: requests that the hourly cap refused; each asks again once it may.
        waits_s: from asking to the lease, way included.
        busy: part of the time that the busiest issuer worked.
        longest: the longest queue before one issuer.
        most_in_an_hour: by one contractor, in any hour.
    """

    opened: int = 0
    limited: int = 0
    waits_s: list[float] = field(default_factory=list)
    busy: float = 0.0
    longest: int = 0
    most_in_an_hour: int = 0

    def percentile_s(self, part: float) -> float:
        """Return the wait that `part` of all openings stayed within."""
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


@dataclass(slots=True)
class _Issuer:
    waiting: deque[tuple[int, int, float]] = field(default_factory=deque)
    batch: list[tuple[int, int, float]] = field(default_factory=list)
    working: bool = False
    busy_s: float = 0.0


class _Run:
    """One simulation; the same world gives the same result."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._drawn = random.Random(world.seed)  # noqa: S311 - people, not keys
        self._issuers = [_Issuer() for _ in range(world.issuers)]
        self._recent = [deque[float]() for _ in range(world.contractors)]
        self._events: list[tuple[float, int, int, int]] = []
        self._number = 0
        self.found = Found()

    def run(self) -> Found:
        """Let everybody begin, and work through all events."""
        world, end_s = self._world, self._world.hours * _HOUR_S
        for who in range(world.contractors):
            self._at(self._drawn.random() * world.shift_s, _ASK, who)
        while self._events and self._events[0][0] <= end_s:
            now, _, kind, who = heapq.heappop(self._events)
            if kind == _PASS:
                self._fetch(now, who)
            elif kind == _DONE:
                self._committed(now, who)
            else:
                self._post(now, kind, who)
        self.found.busy = max(issuer.busy_s for issuer in self._issuers) / end_s
        return self.found

    def _at(self, time_s: float, kind: int, who: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (time_s, self._number, kind, who))

    def _post(self, now: float, kind: int, who: int) -> None:
        issuer = self._issuers[who % self._world.issuers]
        issuer.waiting.append((kind, who, now))
        self.found.longest = max(self.found.longest, len(issuer.waiting))
        if not issuer.working:
            issuer.working = True
            self._at(now + self._drawn.random() * self._world.poll_s, _PASS, who % self._world.issuers)

    def _fetch(self, now: float, which: int) -> None:
        issuer, world = self._issuers[which], self._world
        issuer.batch = [issuer.waiting.popleft() for _ in range(min(_FETCH, len(issuer.waiting)))]
        asks = sum(1 for kind, _, _ in issuer.batch if kind == _ASK)
        took = world.commit_s + asks * world.release_s + (len(issuer.batch) - asks) * world.receipt_s
        issuer.busy_s += took
        self._at(now + took, _DONE, which)

    def _committed(self, now: float, which: int) -> None:
        issuer = self._issuers[which]
        for kind, who, asked in issuer.batch:
            if kind == _ASK:
                self._answered(now, who, asked)
        issuer.working = bool(issuer.waiting)
        if issuer.working:
            self._at(now, _PASS, which)

    def _answered(self, now: float, who: int, asked: float) -> None:
        world, recent, found = self._world, self._recent[who], self.found
        while recent and recent[0] <= now - _HOUR_S:
            recent.popleft()
        if len(recent) >= world.per_hour:
            found.limited += 1
            self._at(recent[0] + _HOUR_S + world.way_s, _ASK, who)
            return
        recent.append(now)
        found.opened += 1
        found.most_in_an_hour = max(found.most_in_an_hour, len(recent))
        found.waits_s.append(now - asked + world.way_s)
        # The mean of a log-normal distribution is exp(mu + spread^2 / 2).
        work_s = world.work_s * self._drawn.lognormvariate(-world.spread * world.spread / 2, world.spread)
        self._at(now + world.way_s, _RECEIPT, who)
        self._at(now + world.way_s + work_s, _RECEIPT, who)
        self._at(now + world.way_s + work_s, _ASK, who)


def simulate(world: World) -> Found:
    """Run a world to its end."""
    return _Run(world).run()


def sweep(world: World, contractors: Sequence[int], issuers: Sequence[int]) -> list[tuple[World, Found]]:
    """Run a world with each number of people and issuers."""
    worlds = [replace(world, contractors=people, issuers=number) for number in issuers for people in contractors]
    return [(each, simulate(each)) for each in worlds]


def draw(results: Sequence[tuple[World, Found]], folder: Path) -> list[Path]:
    """Draw waits and load by the number of contractors, a line for each number of issuers."""
    if find_spec("matplotlib") is None:
        return []
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "labelvault"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number in sorted({world.issuers for world, _ in results}):
        own = [(world.contractors, found) for world, found in results if world.issuers == number]
        people = [count for count, _ in own]
        label = f"{number} issuer{'s' if number > 1 else ''}"
        left.plot(people, [found.percentile_s(0.99) for _, found in own], marker="o", label=label)
        right.plot(people, [100 * found.busy for _, found in own], marker="o", label=label)
    left.set_ylabel("99 of 100 openings wait at most, s")
    left.set_yscale("log")
    right.set_ylabel("busiest issuer, % of the time")
    for axes in (left, right):
        axes.set_xlabel("contractors")
        axes.set_xscale("log")
        axes.grid(visible=True, color="#e4e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(fontsize=8)
    paths = [folder / "workforce.png", folder / "workforce.svg"]
    figure.savefig(paths[0], dpi=120, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Simulate each combination, print a table, and write JSON and plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--contractors", type=_numbers, default=[1_000, 10_000, 30_000, 100_000])
    parser.add_argument("--issuers", type=_numbers, default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "out")
    for each in fields(World):
        if each.name not in ("contractors", "issuers"):
            option = f"--{each.name.replace('_', '-')}"
            parser.add_argument(option, type=type(each.default), default=each.default, help=f"default: {each.default}")
    chosen = vars(parser.parse_args())
    contractors, issuers, out = chosen.pop("contractors"), chosen.pop("issuers"), chosen.pop("out")
    results = sweep(World(**chosen), contractors, issuers)
    out.mkdir(parents=True, exist_ok=True)
    facts = [
        {
            **asdict(world),
            "opened": found.opened,
            "limited": found.limited,
            "p50_s": found.percentile_s(0.5),
            "p99_s": found.percentile_s(0.99),
            "busy": found.busy,
            "longest_queue": found.longest,
        }
        for world, found in results
    ]
    (out / "workforce.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draw(results, out)
    head = f"{'contractors':>11}{'issuers':>9}{'opened/s':>10}{'p50 ms':>9}{'p99 ms':>11}{'busiest':>9}{'queue':>9}"
    sys.stdout.write(f"{head}{'limited':>9}\n")
    for world, found in results:
        p50, p99 = (1000 * found.percentile_s(part) for part in (0.5, 0.99))
        rate = found.opened / world.hours / _HOUR_S
        sys.stdout.write(
            f"{world.contractors:>11,}{world.issuers:>9}{rate:>10.1f}{p50:>9.0f}{p99:>11,.0f}"
            f"{found.busy:>9.0%}{found.longest:>9,}{found.limited:>9,}\n"
        )


if __name__ == "__main__":
    main()
