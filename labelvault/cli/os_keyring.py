"""The operating system's keyring, as a place for a passphrase. Needs the extra `keyring`.

One fixed backend for each platform: no plug-in is looked for, and neither an environment variable nor a file of
settings can put another one in its place.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from labelvault.errors import KeystoreError

_SERVICE: Final = "labelvault"
_START_ONE: Final = "Start and unlock the desktop's keyring, GNOME Keyring for example, or use --passphrase-file."


def store(home: Path, passphrase: str) -> None:
    """Keep a home's passphrase; one that is kept already is replaced.

    Raises:
        KeystoreError: there is no keyring, or it stayed locked.
        click.UsageError: the extra is not installed.
    """
    _ask(lambda keyring: keyring.set_password(_SERVICE, _account(home), passphrase))


def read(home: Path) -> str:
    """Return a home's passphrase.

    Raises:
        KeystoreError: none is kept, there is no keyring, or it stayed locked.
        click.UsageError: the extra is not installed.
    """
    found = _ask(lambda keyring: keyring.get_password(_SERVICE, _account(home)))
    if not isinstance(found, str):
        raise KeystoreError(
            "the keyring has no passphrase of this home", next_step="Put it there: labelvault contractor keyring set."
        )
    return found


def remove(home: Path) -> bool:
    """Forget a home's passphrase; return whether one was kept.

    Raises:
        KeystoreError: there is no keyring, or it stayed locked.
        click.UsageError: the extra is not installed.
    """
    if not holds(home):
        return False
    _ask(lambda keyring: keyring.delete_password(_SERVICE, _account(home)))
    return True


def holds(home: Path) -> bool:
    """Tell whether a home's passphrase is kept; raises as `remove`."""
    return _ask(lambda keyring: keyring.get_password(_SERVICE, _account(home))) is not None


def _account(home: Path) -> str:
    return str(home.absolute())


def _ask(question: Callable[[Any], Any]) -> Any:
    try:
        from keyring import errors

        backend = _backend()
    except ModuleNotFoundError as error:
        raise click.UsageError("the keyring needs the extra: pip install 'labelvault[keyring]'") from error
    # What goes wrong is named by its kind alone: a frame of a foreign error holds the passphrase.
    failure: str
    try:
        return question(backend)
    except errors.KeyringLocked:
        failure = "the keyring is locked"
    except Exception as error:  # noqa: BLE001 - D-Bus, the desktop and the library fail each in their own ways
        failure = f"no keyring answers ({type(error).__name__})"
    raise KeystoreError(failure, next_step=_START_ONE)


def _backend() -> Any:
    backend = _fixed_backend()
    # The library takes settings of any name from KEYRING_PROPERTY_...; one chooses another collection, which may be
    # open to everybody.
    vars(backend).clear()
    return backend


def _fixed_backend() -> Any:
    if sys.platform == "darwin":
        from keyring.backends import macOS

        return macOS.Keyring()
    if sys.platform == "win32":
        from keyring.backends import Windows

        return Windows.WinVaultKeyring()
    from keyring.backends import SecretService

    backend: Any = SecretService.Keyring  # untyped
    return backend()
