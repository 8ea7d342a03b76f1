"""The fixtures of the in-process world: one template a session, and a copy of it for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world's folder to copy: making one takes longer than most tests."""
    folder = tmp_path_factory.mktemp("world")
    World(folder).close()
    return folder


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[World]:
    """A client with a sealed project, and a vault."""
    made = World(tmp_path, template)
    yield made
    made.close()
