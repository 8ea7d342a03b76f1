"""What every contractor command starts with: a home, a passphrase, an open contractor."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from labelvault.cli.options import Passphrase, home_option, json_option, passphrase_options
from labelvault.contractor import Contractor

_F = TypeVar("_F", bound=Callable[..., Any])


def contractor_options(command: _F) -> _F:
    """Add `--home`, the passphrase's sources and `--json`."""
    return home_option("contractor")(passphrase_options(json_option(command)))


@contextmanager
def opened(home: Path, passphrase: Passphrase) -> Iterator[Contractor]:
    """Open the contractor of a home and close it again."""
    with Contractor.open(home, passphrase.read()) as me:
        yield me
