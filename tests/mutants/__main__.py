"""Turns single operators, numbers, arguments and words of the core into others, and looks whether a test notices.

mutmut makes the mutants, and records which tests reach which function. There are thousands, and one that survives costs
all the tests that reach it; so a run takes a random sample for as long as it is given, and says how large that was and
how far the score may be off. What survived is written to docs/assurance-mutants.md with the reasons in reasons.toml.
"""

import argparse
import contextlib
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = ROOT / "mutants"
RESULTS: Final = WORK / "sampled.json"
STATS: Final = WORK / "mutmut-stats.json"
PAGE: Final = ROOT / "docs/assurance-mutants.md"
REASONS: Final = Path(__file__).with_name("reasons.toml")
TESTS_MAX_S: Final = 120.0
"""Of the tests that reach a mutant, its own room's first, then the quickest, at most so many seconds' worth."""
ELSEWHERE: Final = {
    "envelope.filenames": ("tests/contractor/test_output.py",),
    "issuer.ahead": ("tests/contractor/test_ahead.py",),
    "issuer.log": ("tests/auditor", "tests/client/test_exposure.py"),
    "issuer.state": ("tests/contractor/test_ahead.py",),
    "keys.cards": ("tests/contractor/test_presence.py",),
    "keys.doctor": ("tests/keys/test_doctor.py", "tests/cli/test_doctor.py"),
    "keys.files": ("tests/client/test_shredding.py", "tests/client/test_rerooting.py"),
    "keys.identity": ("tests/client/test_rerooting.py",),
    "keys.kek": ("tests/client/test_rotating.py",),
    "keys.submission": ("tests/client/test_rerooting.py", "tests/client/test_collecting.py"),
    "ledger.checkpoint": ("tests/ledger/test_export.py",),
    "ledger.export": ("tests/ledger/test_export.py",),
    "ledger.stating": ("tests/auditor", "tests/client/test_exposure.py"),
    "wire.frame": ("tests/wire/test_frame.py",),
    "wire.ids": ("tests/contractor/test_presence.py",),
}
"""What the rooms' own tests don't reach, but those of the actors do."""
CAUGHT: Final = ("killed", "timeout", "mended")
CONTROL: Final = 20
"""The tests of every twentieth mutant are run without it, too."""
_USAGE_ERROR: Final = 4
_FIRST: Final = "labelvault.wire.times.*"
"""mutmut makes all mutants, and its record of tests, before it runs any; so it is told to run a few."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant.

    `killed`; `timeout`, which is killed too; `mended`, if only a test that was written after it had survived kills it;
    `survived`; or `unreached` by any test here.
    """

    name: str
    outcome: str
    change: str

    @property
    def room(self) -> str:
        """The room of the mutated code."""
        return self.name.split(".")[1]


def prepare() -> None:
    """Let mutmut write the mutants and its record of which tests reach what."""
    # Its own run of these few may fail or not: the record is written by then, from tests that all passed.
    subprocess.run(
        [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1", _FIRST],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(WORK)},
        check=False,
    )
    if not STATS.exists():
        raise SystemExit("mutmut wrote no record of the tests: one of them fails without any mutant")


def all_names() -> list[str]:
    """Return the names of all mutants, sorted."""
    metas = [json.loads(path.read_text(encoding="utf-8")) for path in WORK.rglob("*.meta")]
    return sorted(name for meta in metas for name in meta["exit_code_by_key"])


class Judge:
    """Runs tests against one mutant after the other, each in a fork of a process that has loaded them."""

    def __init__(self) -> None:
        import pytest

        stats = json.loads(STATS.read_text(encoding="utf-8"))
        self._reaching: dict[str, list[str]] = stats["tests_by_mangled_function_name"]
        self._durations: dict[str, float] = stats["duration_by_test"]
        config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
        self._arguments = ["-q", "-x", "--rootdir=.", *config["pytest_add_cli_args"]]
        os.chdir(WORK)
        sys.path.insert(0, str(WORK))
        os.environ["PYTHONPATH"] = str(WORK)
        os.environ["MUTANT_UNDER_TEST"] = ""
        with _silence():
            code = pytest.main([*self._arguments, "--collect-only", *config["pytest_add_cli_args_test_selection"]])
        if code != 0:
            raise SystemExit("the tests can't be collected")

    def __call__(self, name: str) -> Verdict:
        """Run the tests that reach a mutant."""
        tests = self._chosen(name)
        return Verdict(name, self._run(name, tests) if tests else "unreached", _change(name))

    def control(self, name: str) -> None:
        """Run the same tests against the code as it is: what fails without a mutant catches none."""
        tests = self._chosen(name)
        if tests and self._run("", tests) != "survived":
            raise SystemExit(f"without any mutant, these fail too: {tests}")

    def _chosen(self, name: str) -> list[str]:
        room, function = name.split(".")[1], name.rpartition("__mutmut_")[0]
        chosen: list[str] = []
        total_s = 0.0
        reaching = sorted(
            self._reaching.get(function, ()),
            key=lambda test: (not test.startswith(f"tests/{room}/"), self._durations[test], test),
        )
        for test in reaching:
            total_s += self._durations[test]
            if total_s > TESTS_MAX_S and chosen:
                break
            # Whole functions: some parameters' names can't be given on a command line, and would end the run unrun.
            whole = test.partition("[")[0]
            if whole not in chosen:
                chosen.append(whole)
        if not chosen:
            module = next((each for each in ELSEWHERE if function.startswith(f"labelvault.{each}.")), "")
            return list(ELSEWHERE.get(module, ()))
        return chosen

    def _run(self, name: str, tests: list[str]) -> str:
        child = os.fork()
        if child == 0:
            limit_s = int(60 + 10 * sum(self._durations.get(test, 0.0) for test in tests))
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
            os.environ["MUTANT_UNDER_TEST"] = name
            code = 1
            try:
                import pytest

                with _silence():
                    code = int(pytest.main([*self._arguments, *tests]))
            finally:
                os._exit(code)
        deadline_s = time.monotonic() + 900
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline_s:
                os.kill(child, 9)
            time.sleep(0.05)
        if os.WIFSIGNALED(status):
            return "timeout"
        if os.WEXITSTATUS(status) == _USAGE_ERROR:
            raise SystemExit(f"these tests can't be chosen: {tests}")
        return "killed" if os.WEXITSTATUS(status) != 0 else self._run_afresh(name, tests)

    def _run_afresh(self, name: str, tests: list[str]) -> str:
        """Run the tests in a new process: what their modules make when they are imported is the mutant's, too."""
        arguments = [sys.executable, "-m", "pytest", *self._arguments, *tests]
        environment = {**os.environ, "MUTANT_UNDER_TEST": name}
        try:
            code = subprocess.run(
                arguments, cwd=WORK, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900
            ).returncode
        except subprocess.TimeoutExpired:
            return "timeout"
        return "survived" if code == 0 else "killed"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        kept = os.dup(1), os.dup(2)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def _change(name: str) -> str:
    """Return what a mutant changes, as `function: before → after`, which is the same in every run."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    path = Path(*name.split(".")[:3]).with_suffix(".py")
    with contextlib.chdir(ROOT):
        lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    function = name.rpartition("__mutmut_")[0].split(".", 1)[1].replace("xǁ", "").replace("x_", "", 1).replace("ǁ", ".")
    gone = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    new = " ".join(line[1:].strip() for line in lines if line.startswith("+") and "def " not in line)
    return f"{function}: {gone} → {new}"


def interval(killed: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share after Wilson."""
    z, share = 1.96, killed / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return middle - half, middle + half


def page(verdicts: list[Verdict], total: int, seed: int, reasons: dict[str, str]) -> str:
    """Return the page, from all verdicts of a sample."""
    caught = [each for each in verdicts if each.outcome in CAUGHT]
    before = sum(each.outcome != "mended" for each in caught)
    (low, high), (old_low, old_high) = interval(len(caught), len(verdicts)), interval(before, len(verdicts))
    lines = [
        "# Changes of the core that no test notices",
        "",
        "<!-- Written by `make mutants`; the reasons stand in tests/mutants/reasons.toml. -->",
        "",
        "[mutmut](https://mutmut.readthedocs.io) changes one operator, number, argument, condition or word of `wire`,",
        "`envelope`, `keys`, `issuer` or `ledger` at a time. A mutant counts as caught if a test fails, or runs into a",
        "limit of time. What an error says to people is not changed; which error it is, is. Decorated functions,",
        "properties and what is not in a function can't be changed by the tool. Of the tests that reach a mutant at",
        f"most {TESTS_MAX_S:.0f} s' worth are run, and the actors' only where the core's don't reach it: the score is",
        "rather too low than too high.",
        "",
        f"There are {total:,} mutants. A random sample of **{len(verdicts):,}** (seed {seed}) was tried; "
        f"**{len(caught):,}** were caught:",
        f"**{len(caught) / len(verdicts):.1%}** (95 % interval: {low:.1%} to {high:.1%}).",
        f"{len(caught) - before} of them only by tests that were written because they had survived. Without those it",
        f"was {before / len(verdicts):.1%} ({old_low:.1%} to {old_high:.1%}), the better guess for other samples.",
        "",
        "| room | tried | caught |",
        "|---|---|---|",
    ]
    tried, found = Counter(each.room for each in verdicts), Counter(each.room for each in caught)
    lines += [
        f"| `{room}` | {tried[room]} | {found[room]} ({found[room] / tried[room]:.0%}) |" for room in sorted(tried)
    ]
    lines += ["", "## What survived", "", "| change | why it may stand |", "|---|---|"]
    for each in sorted(verdicts, key=lambda verdict: verdict.change):
        if each not in caught:
            shown = each.change.replace("|", "\\|").replace("`", "'")
            lines.append(f"| `{shown}` | {reasons.get(each.change, 'not looked at')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Sample, judge, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for how long mutants are tried")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are tried")
    parser.add_argument("--only", default="", help="a part of the names of those that are tried")
    parser.add_argument("--again", action="store_true", help="try what survived the last run once more")
    parser.add_argument("--page", action="store_true", help="only write the page, with the reasons as they are now")
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if not options.page:
        prepare()
        kept = _sample(options, kept)
    verdicts = [Verdict(*each) for each in kept["verdicts"]]
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))["reasons"]
    if not options.only:
        PAGE.write_text(page(verdicts, kept["total"], kept["seed"], reasons), encoding="utf-8")
    caught = sum(each.outcome in CAUGHT for each in verdicts)
    sys.stdout.write(f"{len(verdicts)} of {kept['total']} tried, {caught} caught: {caught / len(verdicts):.1%}\n")


def _sample(options: argparse.Namespace, kept: dict[str, Any]) -> dict[str, Any]:
    names = all_names()
    order = [name for name in names if options.only in name]
    random.Random(options.seed).shuffle(order)
    old = {each[0]: each for each in kept.get("verdicts", ())} if options.again else {}
    if options.again:
        order = [name for name, each in old.items() if each[1] in ("survived", "unreached")]
    judge, ends_s, verdicts = Judge(), time.monotonic() + 60 * options.minutes, dict(old)
    result: dict[str, Any] = {"total": len(names), "seed": options.seed, "verdicts": []}
    for name in order:
        if time.monotonic() > ends_s:
            break
        verdict = judge(name)
        if len(verdicts) % CONTROL == 0:
            judge.control(name)
        outcome = "mended" if options.again and verdict.outcome in CAUGHT else verdict.outcome
        verdicts[name] = [verdict.name, outcome, verdict.change]
        sys.stdout.write(f"{verdict.outcome:9} {verdict.change}\n")
        sys.stdout.flush()
        result["verdicts"] = list(verdicts.values())
        RESULTS.write_text(json.dumps(result), encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
