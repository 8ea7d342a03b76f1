"""What the story's tests share."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def stated():
    """Make a stated item as the client's ledger names it."""

    def make(name, kind="task", item="0a" * 16, version=1):
        return SimpleNamespace(name=name, kind=kind, item=bytes.fromhex(item), version=version)

    return make
