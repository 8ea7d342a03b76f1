"""Where a vendor's home remembers the vault's address."""

from pathlib import Path
from typing import Final

from labelvault.cli.values import WrongUsage

ADDRESS_FILE: Final = "vault-address"
_MAX_BYTES: Final = 1000


def write_address(home: Path, address: str) -> None:
    """Remember the vault's address; the same again changes nothing.

    Raises:
        WrongUsage: another address is remembered already.
    """
    file = home / ADDRESS_FILE
    if file.exists() and read_address(home) != address:
        raise WrongUsage(
            f"{home} already belongs to another vault: {read_address(home)}",
            "Give another --home DIR, or leave --vault out.",
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text(address + "\n", encoding="utf-8")


def read_address(home: Path) -> str:
    """Return the remembered address.

    Raises:
        WrongUsage: none is remembered.
    """
    try:
        return (home / ADDRESS_FILE).read_text(encoding="utf-8")[:_MAX_BYTES].strip()
    except FileNotFoundError:
        raise WrongUsage(
            f"no vault is known in {home}", "Make one: labelvault vendor init; or say where it is: --vault URL."
        ) from None
