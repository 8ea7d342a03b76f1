"""Killing a process before any durable step of an operation on a client's home: flush, name, removal, commit."""

import os
import signal
from collections.abc import Callable
from typing import Any

from labelvault.client import Client
from labelvault.database import Database
from labelvault.errors import LabelVaultError
from tests.world import World

_CALLS = ((os, "fsync"), (os, "rename"), (os, "link"), (os, "unlink"), (os, "rmdir"), (Database, "_run"))
_STATEMENTS = ("BEGIN IMMEDIATE", "COMMIT", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
NEVER = 10**9
Operation = Callable[[Client], Any]


class _Steps:
    """Counts steps once it is told to, and kills this process before one of them."""

    def __init__(self, last: int) -> None:
        self.done = -1
        self._last = last

    def watch(self) -> None:
        for owner, name in _CALLS:
            setattr(owner, name, self._watched(getattr(owner, name), only_statements=name == "_run"))

    def _watched(self, real: Callable[..., Any], *, only_statements: bool) -> Callable[..., Any]:
        def stepped(*arguments: Any, **options: Any) -> Any:
            if self.done >= 0 and (not only_statements or arguments[1] in _STATEMENTS):
                if self.done == self._last:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.done += 1
            return real(*arguments, **options)

        return stepped


def steps_done(world: World, operation: Operation, last: int = NEVER) -> int | None:
    """Do something with the home in a process of its own that is killed before a step.

    Args:
        world: whose home; no transaction of this process is open on it.
        operation: gets the opened client.
        last: which step, from 0.

    Returns:
        How many steps it took, or None if it was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            steps = _Steps(last)
            steps.watch()
            lab = world.open_client()
            steps.done = 0
            operation(lab)
            os.write(writer, steps.done.to_bytes(4, "big"))
            code = 0
        except BaseException as error:  # noqa: BLE001 - it is told; nothing of the parent's may run on in here
            os.write(2, f"{error!r}\n".encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        done = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.WEXITSTATUS(status) == 0
    return int.from_bytes(done, "big")


def killed_leaving(world: World, operation: Operation, found: Callable[[], bool]) -> None:
    """Kill an operation at one step after the other, until it has left what is looked for."""
    world.lab.close()
    for last in range(100):
        assert steps_done(world, operation, last) is None
        if found():
            break
    assert found()
    world.lab = world.open_client()
    world.project = world.lab.project("eval")


def forked(act: Callable[[], object]) -> int:
    """Run in a child process; return its wait status. It raises nothing into this one."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except LabelVaultError:
            code = 3
        except BaseException:  # noqa: BLE001 - a child must never come back into the test
            code = 4
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]
