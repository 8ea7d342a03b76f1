"""What all tests share: how hard hypothesis searches, and where the real labeling project is."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA_VARIABLE = "LABELVAULT_REAL_DATA"

# `ci` finds the same counter-examples on every machine; `--hypothesis-profile=quick` is for the edit loop.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of a real labeling project, which is not part of this repository."""
    named = os.environ.get(REAL_DATA_VARIABLE)
    if named is not None:
        folder = Path(named)
        if not folder.is_dir():
            pytest.fail(f"{REAL_DATA_VARIABLE} is set, but is not a folder")
        return folder.resolve()
    folder = ROOT.parent / "shared" / "data" / "assistant-eval"
    if not folder.is_dir():
        pytest.skip(f"no real project: {folder} is absent and {REAL_DATA_VARIABLE} is not set")
    return folder


@pytest.fixture(autouse=True)
def _measured_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let agents, which inherit next to nothing, measure coverage; an opening process could not write it down."""
    from labelvault.contractor import isolated

    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        start = "'{0}' == 'agent' and __import__('coverage').process_startup(); "
        measured = isolated._BOOT.replace("from labelvault", start + "from labelvault").replace("{}", "{0}")
        monkeypatch.setattr(isolated, "_BOOT", measured)
        monkeypatch.setattr(isolated, "PASSED_ENVIRONMENT", (*isolated.PASSED_ENVIRONMENT, "COVERAGE_PROCESS_CONFIG"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that no worker is left with it alone at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(ROOT / "tests" / "story"))
