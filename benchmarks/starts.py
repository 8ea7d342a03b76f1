"""Row 13: what starting costs: importing the vendor's half, and opening a task on the command line."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from benchmarks.actors import issuing, labelvault, unlocked
from benchmarks.home import Home, write_guidelines, write_tasks
from benchmarks.lines import Line
from benchmarks.measure import Effort, Times, once_in_turn, seconds

_PYTHON: Final = "python start"
_IMPORT_MS: Final = 200.0
_OPEN_MS: Final = 500.0


def _run(code: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def _shown(home: Home, item: str) -> float:
    """Return the seconds from the command's start until the task's text is there; then close it."""
    words = labelvault("contractor", "open", item, "--home", home.folder / "ada")
    begun = time.perf_counter()
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        found = b""
        while b"A line of text" not in found:
            if not (data := os.read(process.stdout.fileno(), 65536)):
                raise RuntimeError("the task did not open")
            found += data
        taken = time.perf_counter() - begun
        process.communicate(b"\n")
    return taken


def _over(work: str, name: str, times: Times, target_ms: float) -> Line:
    ours, python = times.median(name) * 1000, times.median(_PYTHON) * 1000
    target = f"≤ {target_ms:.0f} ms over"
    return Line(13, work, ours, _PYTHON, python, ours / python, target, ours - python <= target_ms)


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 13."""
    home, source = Home(effort.folder), effort.folder / "source"
    home.make()
    write_tasks(source, 1, 1000)
    write_guidelines(source, 1, 1000)
    with home.client() as (lab, project):
        project.seal(source)
        home.join(lab, project)[0].close()
        item = project.items("task")[0].item.hex()
    work: dict[str, Callable[[], float]] = {
        "vendor": partial(_run, "import labelvault.vendor"),
        "open": partial(_shown, home, item),
        _PYTHON: partial(_run, "pass"),
    }
    with issuing(home), unlocked(home):
        times = once_in_turn(work, effort.rounds)
    yield _over("import labelvault.vendor, ms", "vendor", times, _IMPORT_MS)
    yield _over("labelvault contractor open, to the text, unlocked, ms", "open", times, _OPEN_MS)
