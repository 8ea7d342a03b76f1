"""What a doctor looks at on the machine: versions, what else runs in the interpreter, memory, clock, disk."""

import resource
import shutil
import sys
import tomllib
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from labelvault.errors import StoreError
from labelvault.health import guarded, machine, places

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_X3_pth_files_with_an_import_line_are_warned_about(tmp_path):
    """A line that begins with `import` runs at every start; paths and comments don't."""
    (tmp_path / "bad.pth").write_text("import os; print()\n")
    (tmp_path / "tab.pth").write_text("import\tos\n")
    (tmp_path / "fine.pth").write_text("# import x\n/some/import path\n")
    (check,) = machine.startup({}, [tmp_path, tmp_path / "none"])
    assert (check.verdict, check.found) == ("warning", ".pth files that import: bad.pth, tab.pth")
    assert check.mend


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP"])
def test_X3_the_environment_that_brings_code_in_is_warned_about(name):
    """By name only: the value may be anything."""
    checks = machine.startup({name: "/tmp/secret-place"}, [])
    assert any(name in each.found and each.verdict == "warning" for each in checks)
    assert not any("secret-place" in each.found for each in checks)


def test_X3_sitecustomize_is_warned_about(tmp_path, monkeypatch):
    """It runs at every start too."""
    (tmp_path / "sitecustomize.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sitecustomize", raising=False)
    assert any("sitecustomize" in each.found for each in machine.startup({}, []))


def test_X3_a_tracer_is_a_problem(monkeypatch):
    """It reads every key."""
    monkeypatch.setattr(machine, "_tracer", lambda: 4711)
    assert any(each.verdict == "problem" and "4711" in each.found for each in machine.startup({}, []))


def test_many_names_are_counted(tmp_path):
    """A few are shown."""
    for number in range(9):
        (tmp_path / f"{number}.pth").write_text("import os\n")
    (check,) = machine.startup({}, [tmp_path])
    assert check.found.endswith("3.pth and 5 more")


def test_nothing_else_is_ok():
    """Without any of these."""
    assert [each.verdict for each in machine.startup({}, [])] == ["ok"]


def test_core_files_and_swap_are_warned_about(monkeypatch):
    """Both write memory to a disk."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (-1, -1))
    monkeypatch.setattr(machine, "_lines", lambda path: ["head", "/swapfile"])
    assert [each.verdict for each in machine.memory()] == ["warning", "warning"]
    monkeypatch.setattr(resource, "getrlimit", lambda which: (0, -1))
    monkeypatch.setattr(machine, "_lines", lambda path: ["head"])
    assert [each.verdict for each in machine.memory()] == ["ok"]


@pytest.mark.parametrize(
    ("now", "seen", "verdict"),
    [
        (NOW, None, "ok"),
        (NOW, NOW + timedelta(seconds=60), "ok"),
        (NOW, NOW + timedelta(hours=1), "problem"),
        (NOW.replace(year=1970), None, "problem"),
        (NOW.replace(year=2150), None, "problem"),
    ],
)
def test_clocks(now, seen, verdict):
    """A plausible year, and not behind a time that has passed."""
    assert machine.clock(now, seen).verdict == verdict


def test_packages_that_are_missing_old_or_slow(monkeypatch):
    """Each says what to run."""
    assert machine.packages().verdict == "ok"
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert machine.packages().verdict == "warning"
    assert "not installed: cli, service, parquet, keyring, quorum" in machine.extras().found
    monkeypatch.setattr(machine, "version", lambda name: "49.1")
    assert (machine.packages().verdict, "cryptography>=50" in machine.packages().mend) == ("problem", True)

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", missing)
    assert "not installed" in machine.packages().found


def test_every_extra_is_looked_for():
    """Save those for developing, measuring and the examples, pyproject.toml's are the doctor's."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    others = {"bench", "dev", "examples", "mutants"}
    assert set(machine._EXTRAS) == set(project["project"]["optional-dependencies"]) - others


def test_an_old_python_is_a_problem(monkeypatch):
    """The package would not install there, but a copied one runs."""
    assert machine.python().verdict == "ok"
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (4, 0))
    assert machine.python().verdict == "problem"


@pytest.mark.parametrize(("free", "verdict"), [(1 << 40, "ok"), (1 << 29, "warning"), (1 << 20, "problem")])
def test_room_on_the_disk(monkeypatch, tmp_path, free, verdict):
    """A full disk is said before a write fails."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(free))
    assert places.room(tmp_path).verdict == verdict


def test_a_look_that_fails_is_a_problem_that_says_so():
    """Library errors bring their own next step; those of the system get the given one."""

    def refuse():
        raise StoreError("it is gone", next_step="Look elsewhere.")

    def fail():
        raise PermissionError(13, "Permission denied", "/x")

    assert guarded("a", refuse, "Mend it.").mend == "Look elsewhere."
    check = guarded("a", fail, "Mend it.")
    assert (check.verdict, check.found, check.mend) == ("problem", "Permission denied: /x", "Mend it.")
