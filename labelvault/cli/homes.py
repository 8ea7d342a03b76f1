"""Where a vendor's home remembers the vault's address."""

from pathlib import Path
from typing import Final

import click

ADDRESS_FILE: Final = "vault-address"
_MAX_BYTES: Final = 1000


def write_address(home: Path, address: str) -> None:
    """Remember the vault's address; the same again changes nothing.

    Raises:
        click.UsageError: another address is remembered already.
    """
    file = home / ADDRESS_FILE
    if file.exists() and read_address(home) != address:
        raise click.UsageError(f"{home} already belongs to another vault: {read_address(home)}")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text(address + "\n", encoding="utf-8")


def read_address(home: Path) -> str:
    """Return the remembered address.

    Raises:
        click.UsageError: none is remembered.
    """
    try:
        return (home / ADDRESS_FILE).read_text(encoding="utf-8")[:_MAX_BYTES].strip()
    except FileNotFoundError:
        raise click.UsageError("no vault here yet: run labelvault vendor init, or give --vault URL") from None
