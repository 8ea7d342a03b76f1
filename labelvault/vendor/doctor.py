"""Is a vendor's vault in order? Every look says what it found and how to mend it; nothing is changed."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from labelvault.errors import LabelVaultError
from labelvault.health import Check, guarded, ok, problem
from labelvault.health.machine import machine
from labelvault.health.places import private, room
from labelvault.stores import open_store
from labelvault.stores.sqlite_files import parse_sqlite_url

_KEYS: Final = ("root.keystore", "identity.key", "issuer.key", "keks")


def examine_vendor(home: Path, address: str | None, now: datetime, public: tuple[str, ...] = ()) -> list[Check]:
    """Look at a vendor's home, its machine and its vault.

    Args:
        home: the vendor's.
        address: of the vault, if one is known.
        now: what this machine's clock says, aware UTC.
        public: names of files in the home that hold nothing private.
    """
    checks = machine(now, None)
    if Path(home).is_dir():
        checks.append(private("home", Path(home), public))
        checks += _no_keys(Path(home))
    if address is None:
        mend = "Make one: labelvault vendor init; or say where it is: --vault URL."
        return [*checks, problem("vault", f"no vault is known in {home}", mend)]
    try:
        path = parse_sqlite_url(address)
    except LabelVaultError as error:
        return [*checks, problem("vault", str(error), error.next_step or "")]
    return [*checks, *_vault(path, address, now)]


def _no_keys(home: Path) -> Iterator[Check]:
    for name in _KEYS:
        if (home / name).exists():
            mend = "Take it away from this machine: a vendor holds no key, and who breaks in here would."
            yield problem("keys", f"{name} lies in the vendor's home", mend)


def _vault(path: Path, address: str, now: datetime) -> Iterator[Check]:
    there = guarded("vault", lambda: _opened(address, now), "Put it back from a backup; see labelvault vendor ls.")
    yield there
    if not path.parent.is_dir():
        return
    yield room(path.parent)
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            yield problem("vault", f"{place} can't be written to", "Give this user the right, or mount it writable.")
    if path.is_file() and path.stat().st_mode & 0o077:
        yield problem("vault", f"others can use {path}", f"Run: chmod 600 {path}")
    payloads = path.with_name(path.name + ".payloads")
    if payloads.is_dir():
        yield private("payloads", payloads)


def _opened(address: str, now: datetime) -> Check:
    store = open_store(address, create=False)
    try:
        found = store.status(now)
    finally:
        store.close()
    text = f"{address} opens: {found.items} items, {found.pending_messages} messages wait"
    return ok("vault", text)
