"""Fixtures of the HTTP tests: a vault, its service, and the relay to it."""

import pytest

from labelvault.relay.http import HttpRelay
from labelvault.vendor import Vault
from tests.http.serving import TOKEN, serving_vault
from tests.stores.samples import NOW


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/vault.db"


@pytest.fixture
def vault(url):
    opened = Vault.open(url, lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def address(vault):
    with serving_vault(vault) as found:
        yield found


@pytest.fixture
def relay(address):
    opened = HttpRelay(address, token=TOKEN)
    yield opened
    opened.close()
