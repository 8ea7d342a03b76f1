"""Writes docs/assurance.md out of the catalogue, the tests' names and the figures of the last run: `make docs`."""

import ast
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "assurance.md"
FIGURES: Final = ROOT / "docs" / "assurance-figures.json"
# As a script, this folder and not the repository is on the path.
sys.path.insert(0, str(ROOT))

from tests.assurance.attacks import AREAS, ATTACKS  # noqa: E402
from tests.assurance.check import Check  # noqa: E402
from tests.assurance.checks import CHECKS  # noqa: E402

_LINES: Final = re.compile(r"test((?:_[A-Z]\d+)+)_")
_INTRODUCTION: Final = """\
# Assurance

What was tried against the claims of [SECURITY.md](../SECURITY.md), how often, and what is not covered. `make docs`
writes this page out of the catalogue of attacks, the names of the tests, and the figures of the last recorded runs.

- `make test` runs all tests, and a slice of each check below.
- `make assurance` runs the checks for some minutes on two cores, prints one table, and writes `build/assurance.json`.
  `ASSURANCE_ARGS='--only NAME --case NUMBER'` tries one case again: seed, check and number determine it.
- `make assurance-long` tries all cases where they can be counted, and millions where they can't.
- `make assurance-selftest` deletes one check of the library at a time, in a copy, and shows which check of this page
  notices.
- [model.md](model.md): the protocol and its thieves, searched exhaustively within stated bounds.
"""
_NOT_COVERED: Final = """\
## Not covered

- Power cuts are played on a model of a disk: content in sectors of 512 bytes in any order, names in the order in which
  they were made. A disk that says that it has synced and has not, or that damages what it did not write, is not in it.
  What is recorded is eight acts on a small home, not every command. States of the same bytes are looked at once.
- Two and three actors at once take turns at the borders of their transactions, over connections of one process. Races
  of processes are tests of their own; PostgreSQL is not there.
- The mutator has seeds and knows forms, and is not guided by coverage; atheris is, for fewer inputs, and has builds for
  Linux on x86-64 only. Pydantic, tomllib, the JSON of the standard library, and pyarrow behind its process are tried
  through our own parsers only.
- The world at random (`labelvault.story.simulator`) is one process: the memory that a thief takes there is what the
  contractor's objects reach, not its pages, so freed memory and what libraries keep are not in it; captures of real
  processes are `labelvault drill`'s, after chosen acts. Its devices open in their own process and not in a child of
  theirs, what elapses without a clock does not elapse, and answers, witnesses, shredding and containment are not in it:
  they have tests of their own. That a thief with KEK and catalog reads all of that client is in its rules, and he has
  neither old pages of a catalog's file nor backups.
- Primitives are the libraries' own. Comparisons in constant time are held to by a lint that goes by names, and not
  measured.
- Nobody outside has reviewed any of it.
"""


def named_by_line() -> dict[str, list[str]]:
    """The tests that bear each number, as `tests/…/test_x.py::test_y`."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := _LINES.match(node.name)):
                for line in match[1].strip("_").split("_"):
                    found[line].append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return {line: sorted(found[line]) for line in ATTACKS}


def figure(name: str, figures: dict[str, Any]) -> str:
    """How often a check was tried, and how often it failed."""
    known = figures["checks"].get(name)
    return "not yet" if known is None else f"{known['tried']:,} tried, {known['failed']:,} failed"


def _grouped(checks: list[Check], figures: dict[str, Any]) -> list[str]:
    """A line's checks with their figures; the parsers' as one."""
    told = [f"{check.name}: {figure(check.name, figures)}" for check in checks if not check.name.startswith("parser: ")]
    parsers = [figures["checks"].get(check.name) for check in checks if check.name.startswith("parser: ")]
    known = [each for each in parsers if each is not None]
    if known:
        tried, failed = (sum(each[what] for each in known) for what in ("tried", "failed"))
        told.append(f"{len(known)} parsers: {tried:,} tried, {failed:,} failed")
    return told


def page() -> str:
    """The page's text."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    tests = named_by_line()
    parts = [_INTRODUCTION, "## The last recorded run\n"]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    tried, failed = (sum(each[what] for each in figures["checks"].values()) for what in ("tried", "failed"))
    parts.append(
        f"{figures['date']}, profile {figures['profile']}, seed {figures['seed']}: {tried:,} cases tried, {failed:,}"
        f" failed, on {versions}.\n"
    )
    parts += ["| check | what is tried | tried | failed |", "|---|---|--:|--:|"]
    for check in CHECKS:
        known = figures["checks"].get(check.name)
        numbers = "not yet | " if known is None else f"{known['tried']:,} | {known['failed']:,}"
        parts.append(f"| {check.name} | {check.what} | {numbers} |")
    parts.append("\n## By attack\n")
    for area, name in AREAS.items():
        parts += [f"### {name}\n", "| | what is tried | tests | checks, and their last figures |", "|---|---|--:|---|"]
        for line, what in ATTACKS.items():
            if line.startswith(area):
                checks = _grouped([check for check in CHECKS if line in check.attacks], figures)
                parts.append(f"| {line} | {what} | {len(tests[line])} | {'; '.join(checks)} |")
        parts.append("")
    parts.append(_NOT_COVERED)
    parts.append("## Tests by attack\n")
    for line, named in tests.items():
        parts.append(f"**{line}** {ATTACKS[line]}\n")
        parts += [f"- `{test}`" for test in named] or ["- none of its own; see the checks above"]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
