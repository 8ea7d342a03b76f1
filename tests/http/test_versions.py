"""Old versions, and files from pipes, with the vault over HTTP."""

import io

import pytest

from labelvault.relay.http import HttpRelay
from labelvault.vendor import Vault
from tests.client.test_large import content_of
from tests.http.serving import TOKEN, serving_vault
from tests.world import write_file
from tests.world_fixtures import template, world

__all__ = ["template", "world"]

MIB = 1024 * 1024


@pytest.fixture
def remote(world, monkeypatch):
    """A world whose client reaches its vault over HTTP."""
    with Vault.open(world.vault) as vault, serving_vault(vault) as address:
        relay = HttpRelay(address, token=TOKEN)
        monkeypatch.setattr(world.lab, "relay", lambda: relay)
        yield world
        relay.close()


@pytest.mark.parametrize("size", [100, 3 * MIB, 20 * MIB])
def test_an_old_version_is_read_and_sealed_again_over_one_relay(remote, size):
    """Reading goes on while the new version is sent: neither waits for the other for ever."""
    project, first = remote.project, content_of(size)
    item = project.seal_file("attachments/film.bin", io.BytesIO(first)).item
    write_file(remote.source, "attachments/film.bin", b"two")
    assert project.seal(remote.source).changed == 1
    assert not project.compare(item, 1).same_content
    assert project.restore_version(item, 1).version == 3
    assert project.compare(item, 1).same_content
    out = remote.folder / "out"
    assert not project.export(out).faults
    assert (out / "attachments/film.bin").read_bytes() == first
    remote.lab.verify_ledger()
