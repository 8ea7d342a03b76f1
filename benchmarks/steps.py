"""Steps that run in a process of their own each, so that each has a memory peak of its own."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step took.

    Attributes:
        seconds: as it said itself: without starting and opening homes.
        peak_bytes: resident, at most, of its process.
        beside_bytes: likewise of the largest process that it started.
    """

    seconds: float
    peak_bytes: int
    beside_bytes: int


def in_own_process(module: str, step: str, folder: Path, *arguments: str) -> Measured:
    """Run a step of a module whose `main` is `run_step`."""
    command = [sys.executable, "-m", module, step, str(folder), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    return Measured(**json.loads(done.stdout))


def run_step(steps: Mapping[str, Callable[..., float]], arguments: list[str]) -> None:
    """Run the step that the arguments name, and print what it took.

    Args:
        steps: each takes a folder and further arguments, and returns seconds.
        arguments: of the command line.
    """
    step, folder, *rest = arguments
    seconds = steps[step](Path(folder), *rest)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    found: dict[str, Any] = {"seconds": seconds}
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    found["beside_bytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    sys.stdout.write(json.dumps(found))
