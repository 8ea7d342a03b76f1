"""What every client command starts with: a home, a passphrase, an open client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from labelvault.cli.options import Passphrase, home_option, json_option, passphrase_options
from labelvault.client import Client, PassphraseRoot

_F = TypeVar("_F", bound=Callable[..., Any])


def client_options(command: _F) -> _F:
    """Add `--home`, the passphrase's sources and `--json`."""
    return home_option("client")(passphrase_options(json_option(command)))


@contextmanager
def opened(home: Path, passphrase: Passphrase) -> Iterator[Client]:
    """Open the client of a home and close it again."""
    with Client.open(home, PassphraseRoot(passphrase.read())) as client:
        yield client
