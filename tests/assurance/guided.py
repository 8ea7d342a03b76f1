"""Parsers, fuzzed by coverage: `guided_process` does it to one of them, in a process that ends at the first fault."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.assurance.check import Cases, Check, Counts
from tests.assurance.parsers import PARSERS

ROOT = Path(__file__).resolve().parents[2]
RUNS = 20_000
"""Inputs of one case, so that starting the process weighs little."""
_CASES = 50
_TIMEOUT_S = 600


def guided(place: Path) -> Cases:
    """Each case is one process that fuzzes one parser."""

    def attempt(number: int, rng: Random) -> int:
        parser = PARSERS[number // _CASES]
        options = [f"-runs={RUNS}", f"-seed={rng.randrange(1, 2**31)}", f"-artifact_prefix={place}/", "-verbosity=0"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.assurance.guided_process", parser.name, f"--into={place}", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return RUNS

    return Cases(attempt, len(PARSERS) * _CASES)


def no_fuzzer() -> str | None:
    """Say why this can't run here."""
    return None if importlib.util.find_spec("atheris") else "atheris has no build for this system"


CHECKS = (
    Check(
        "parsers, by coverage",
        "inputs that reach new code are changed further (libFuzzer): only a parser's own kinds of error leave it",
        ("P1", "P4"),
        guided,
        Counts(1, 15, None),
        no_fuzzer,
    ),
)
