"""What starting loads: counted, since times are a lottery. Row 13 of docs/performance.md has the times."""

import json
import subprocess
import sys

import pytest

from labelvault.contractor.isolated import _folders

_HEAVY = {"asyncio", "pydantic", "httpx", "starlette", "uvicorn", "pyarrow", "keyring", "logging", "concurrent.futures"}
_TERMINAL = {"click", "rich"}
_CONTRACTOR_OPEN = """
import click
from labelvault.cli.contractor import command
assert command.get_command(click.Context(command), "open") is not None
"""
_STARTS = {
    "vendor": (
        "import labelvault.vendor",
        _HEAVY | _TERMINAL | {"cryptography", "sqlite3", "subprocess", "labelvault.stores.sqlite"},
        75,
    ),
    "opening process": (
        "import labelvault.contractor.child",
        _HEAVY | _TERMINAL | {"sqlite3", "subprocess", "labelvault.stores.sqlite", "labelvault.contractor.contractor"},
        230,
    ),
    "contractor open": (
        _CONTRACTOR_OPEN,
        _HEAVY | {"labelvault.client", "labelvault.issuer", "labelvault.vendor"},
        430,
    ),
}


def loaded(code: str) -> set[str]:
    """The modules of a new interpreter that ran some code, without those that it begins with; no start-up file runs."""
    at_start = "import json, sys; before = set(sys.modules)"
    told = "print(json.dumps(sorted(set(sys.modules) - before)))"
    script = f"{at_start}; sys.path += {_folders()!r}\n{code}\n{told}"
    words = [sys.executable, "-I", "-S", "-c", script]
    return set(json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout))


@pytest.mark.parametrize("start", _STARTS)
def test_what_starts_loads_nothing_heavy_and_no_more_than_its_budget(start: str) -> None:
    """No event loop, no models, no logging, no transport that is not used; and bounded in number."""
    code, forbidden, budget = _STARTS[start]
    found = loaded(code)
    assert found & forbidden == set()
    assert budget * 0.5 < len(found) <= budget


def test_what_is_loaded_later_is_there_when_asked_for() -> None:
    """All public names of the contractor's room, each from its module; an unknown one is an AttributeError."""
    code = (
        "import labelvault.contractor as room\n"
        "assert 'labelvault.contractor.contractor' not in sys.modules\n"
        "for name in room.__all__: assert getattr(room, name).__name__ == name\n"
        "assert set(room._HOMES) == set(room.__all__)\n"
        "assert not hasattr(room, 'Nothing')"
    )
    assert "labelvault.contractor.contractor" in loaded(code)
