"""Processes that hold keys: started isolated, with nothing but a channel, and waited for until they have exited."""

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

from labelvault.errors import LeaseError

PASSED_ENVIRONMENT: tuple[str, ...] = ("SYSTEMROOT",)
"""Variables that such a process gets; Python on Windows can't start without this one."""
# -I drops PYTHONPATH and the working directory with whatever they would inject, and -S what runs at the start of every
# interpreter, .pth files above all. Where the packages are that it needs is said: where this process has them from.
_BOOT: str = "import sys; sys.path += sys.argv.pop().split(chr(10)); from labelvault.contractor.{} import main; main()"
_PACKAGES: Final = ("labelvault", "cryptography", "nacl", "_cffi_backend", "msgpack")


class Process(Protocol):
    """A process that was started here, or by the agent."""

    @property
    def pid(self) -> int:
        """Its id."""
        ...

    def alive(self) -> bool:
        """Tell whether it still runs."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for its exit; return whether it has exited."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Isolated:
    """A child of this process. A `Process`."""

    def __init__(self, module: str, channel: socket.socket, *, quiet: bool = False) -> None:
        """Start a module of this room; its `main` finds the channel's descriptor in its first argument.

        Args:
            module: its name in `labelvault.contractor`.
            channel: the other process's end; the caller closes its copy.
            quiet: it outlives us, so it holds on to none of our descriptors.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT.format(module), str(channel.fileno()), "\n".join(_folders())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            pass_fds=(channel.fileno(),),
            # No variable of this process's environment reaches the one that holds keys.
            env={name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ},
            # Ctrl-C is for the parent, which closes in order.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._process.pid

    def alive(self) -> bool:
        """See `Process`."""
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> bool:
        """See `Process`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """See `Process`."""
        self._process.kill()
        self._process.wait()


def _folders() -> list[str]:
    """Return the folders that hold the packages, each once."""
    found = {}
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            place = Path(spec.origin).parent
            found[str(place.parent if spec.submodule_search_locations else place)] = True
    return list(found)


class Adopted:
    """A process that is not our child, held by a descriptor, so that its id can't come to mean another (Linux)."""

    def __init__(self, pid: int) -> None:
        """Take hold of it.

        Raises:
            LeaseError: there is none.
        """
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError as error:
            raise LeaseError(f"process {pid} has ended") from error
        self._pid = pid

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._pid

    def alive(self) -> bool:
        """See `Process`."""
        return not self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """See `Process`."""
        return bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def kill(self) -> None:
        """See `Process`."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        select.select([self._descriptor], [], [])
