"""Actors in processes of their own, as in life; each is ended when its block ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.home import PASSPHRASE, Home

_WAIT_S: Final = 30


def labelvault(*arguments: str | Path) -> list[str]:
    """Return the command line of a `labelvault` command."""
    return [sys.executable, "-m", "labelvault", *map(str, arguments)]


def passphrase_file(home: Home) -> Path:
    """Return a file with the passphrase of all homes, for its owner only."""
    path = home.folder / "passphrase"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, PASSPHRASE.encode() + b"\n")
        os.close(descriptor)
    return path


@contextmanager
def issuing(home: Home) -> Iterator[None]:
    """Run the client's issuer on the vault's mailbox."""
    words = ("client", "issuer", "run", "--home", home.folder / "client", "--passphrase-file", passphrase_file(home))
    with subprocess.Popen(labelvault(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            if process.stderr is None or "Answering" not in process.stderr.readline():
                raise RuntimeError("the issuer did not start")
            yield
        finally:
            process.terminate()
            process.wait(_WAIT_S)


@contextmanager
def serving(home: Home) -> Iterator[str]:
    """Serve a vault over HTTP on this machine; lend its address."""
    words = ("vendor", "serve", "--port", "0", "--vault", home.vault, "--home", home.folder / "vendor")
    with subprocess.Popen(labelvault(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if process.stdout is None or not (address := process.stdout.readline().strip()):
                raise RuntimeError("the vault did not start")
            yield address
        finally:
            process.terminate()
            process.wait(_WAIT_S)


@contextmanager
def unlocked(home: Home, name: str = "ada") -> Iterator[None]:
    """Keep a contractor's home unlocked by its agent."""
    place = ("--home", home.folder / name)
    words = labelvault("contractor", "agent", "start", *place, "--passphrase-file", passphrase_file(home))
    subprocess.run(words, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(labelvault("contractor", "agent", "stop", *place), check=True, capture_output=True)
