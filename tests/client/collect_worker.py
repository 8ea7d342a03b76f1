"""A process that collects and kills itself at its N-th write, flush, link, unlink or database statement.

python -m tests.client.collect_worker HOME FOLDER N
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelvault.client import Client, PassphraseRoot
from labelvault.database import Database
from tests.world import CHEAP, PASSPHRASE

left = int(sys.argv[3])


def counted(real: Callable[..., Any]) -> Callable[..., Any]:
    """Count a call, and die before the last one that is allowed."""

    def call(*arguments: Any, **options: Any) -> Any:
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    return call


def main() -> None:
    """Collect once."""
    with Client.open(Path(sys.argv[1]), PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
        project = lab.project("eval")
        for name in ("write", "fsync", "link", "unlink", "rename", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        Database._run = counted(Database._run)  # type: ignore[method-assign]
        project.collect(Path(sys.argv[2]))
    sys.stdout.write(str(int(sys.argv[3]) - left))


if __name__ == "__main__":
    main()
