"""The world of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A client with a sealed project, and a vault."""
    made = World(tmp_path)
    yield made
    made.close()
