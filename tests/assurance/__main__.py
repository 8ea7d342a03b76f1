"""`python -m tests.assurance`: attack the claims, print one table, write it to `build/assurance.json`."""

import argparse
import json
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

import labelvault
from tests.assurance.check import DEFAULT_SEED, Check
from tests.assurance.checks import CHECKS
from tests.assurance.run import Tally, here, run

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "assurance.json"
FIGURES = ROOT / "docs" / "assurance-figures.json"
PACKAGES = ("cryptography", "pynacl", "msgpack", "pydantic", "hypothesis")


def versions() -> dict[str, str]:
    """Of whatever the figures depend on."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found |= {name: version(name) for name in PACKAGES}
    strace = shutil.which("strace")
    if strace is not None:
        said = subprocess.run([strace, "--version"], capture_output=True, text=True, check=False).stdout
        found["strace"] = said.split("\n")[0].rpartition(" ")[2]
    return found


def row(check: Check, tally: Tally) -> tuple[str, ...]:
    """One line of the table."""
    if tally.missing:
        return check.name, " ".join(check.attacks), f"[yellow]none: {tally.missing}[/]", "", ""
    failed = f"[red]{tally.failed:,}[/]" if tally.failed else "0"
    return check.name, " ".join(check.attacks), f"{tally.tried:,}", failed, f"{tally.seconds:.1f}"


def show(console: Console, found: dict[str, Tally], profile: str, seed: int, elapsed_s: float) -> None:
    """The table, then what it depends on, then what failed and how to see it again."""
    table = Table(title=f"Assurance, profile {profile}, seed {seed}", title_justify="left")
    for heading in ("check", "attacks", "tried", "failed", "s"):
        table.add_column(heading, justify="left" if heading in ("check", "attacks") else "right", overflow="fold")
    known = {check.name: check for check in CHECKS}
    for name, tally in found.items():
        table.add_row(*row(known[name], tally))
    tried, failed = sum(t.tried for t in found.values()), sum(t.failed for t in found.values())
    table.add_section()
    table.add_row("all", "", f"{tried:,}", f"{failed:,}", f"{elapsed_s:.0f}", style="bold")
    console.print(table)
    console.print(", ".join(f"{name} {number}" for name, number in versions().items()), highlight=False)
    for name, tally in found.items():
        for number, text in tally.failures:
            console.print(f"\n{name}, case {number}: python -m tests.assurance --only '{name}' --case {number}")
            console.print(text, markup=False, highlight=False)


def write(path: Path, found: dict[str, Tally]) -> None:
    """The table as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [{"check": name, "tried": tally.tried, "failed": tally.failed} for name, tally in found.items()]
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def record(found: dict[str, Tally], profile: str, seed: int) -> None:
    """Keep the figures that docs/assurance.md shows; those of checks that were not run now stay as they were."""
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"checks": {}}
    tried = {name: {"tried": tally.tried, "failed": tally.failed} for name, tally in found.items() if not tally.missing}
    checks = known["checks"] | tried
    figures = {
        "profile": profile,
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "checks": {check.name: checks[check.name] for check in CHECKS if check.name in checks},
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Parse, run, show; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.assurance", description=__doc__)
    parser.add_argument("--profile", choices=("slice", "default", "long"), default="default")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--only", action="append", choices=[check.name for check in CHECKS], help="this check; repeat")
    parser.add_argument("--case", type=int, help="this case of the one check")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/assurance.md")
    parser.add_argument("--library", type=Path, help="refuse to run with another copy of the library than this one")
    options = parser.parse_args()
    loaded = Path(labelvault.__file__).parent
    if options.library is not None and loaded != options.library.resolve():
        parser.error(f"the library that was loaded is {loaded}")
    console = Console()
    picked = [check for check in CHECKS if options.only is None or check.name in options.only]
    start = time.monotonic()
    if options.case is not None:
        if len(picked) != 1:
            parser.error("--case needs one --only")
        found = {picked[0].name: here(picked[0], options.seed, [options.case])}
    else:
        with console.status("") as status:

            def done(check: Check, tally: Tally) -> None:
                status.update(f"{check.name}: {tally.tried:,} tried, {tally.failed:,} failed")

            found = run(picked, options.profile, options.seed, processes=options.processes, done=done)
    elapsed_s = time.monotonic() - start
    show(console, found, options.profile, options.seed, elapsed_s)
    if options.case is None:
        write(options.output, found)
    if options.record:
        record(found, options.profile, options.seed)
    return int(any(tally.failed for tally in found.values()))


if __name__ == "__main__":
    sys.exit(main())
