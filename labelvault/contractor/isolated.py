"""Processes that hold keys: started isolated, with nothing but a channel, and waited for until they have exited."""

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import labelvault
from labelvault.errors import LeaseError

PASSED_ENVIRONMENT: tuple[str, ...] = ("SYSTEMROOT",)
"""Variables that such a process gets; Python on Windows can't start without this one."""
# The package's own folder is put on the path, since -I drops PYTHONPATH and the working directory with whatever they
# would inject; it is the folder that this process itself was loaded from.
_BOOT: Final = "import sys; sys.path.insert(0, sys.argv.pop()); from labelvault.contractor.{} import main; main()"


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

    def __init__(self, module: str, channel: socket.socket, *arguments: str, quiet: bool = False) -> None:
        """Start a module of this room; its `main` finds the channel's descriptor in its first argument.

        Args:
            module: its name in `labelvault.contractor`.
            channel: the other process's end; the caller closes its copy.
            arguments: further ones; no secrets.
            quiet: it outlives us, so it holds on to none of our descriptors.
        """
        package = Path(labelvault.__file__).parent.parent
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT.format(module), str(channel.fileno()), *arguments, str(package)],
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
