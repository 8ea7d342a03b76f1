"""A witness in a process of its own, for races and kills over one home.

`python -m tests.witness.worker HOME [CALLS]`: for each line of stdin, a file's name, cosign that file and print
`[before, size]`, or the error's kind, as JSON. With CALLS the process dies by SIGKILL at that file-system call.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from labelvault.errors import LabelVaultError
from labelvault.witness import Witness
from tests.world import PASSPHRASE

CALLS = ("open", "write", "fsync", "rename", "link", "unlink")


def die_at(number: int) -> None:
    """Count the calls that change files, and die before one of them."""
    left = [number]

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(home: Path, calls: int) -> None:
    witness = Witness.open(home, PASSPHRASE)
    say("ready")
    for line in sys.stdin:
        data = Path(line.strip()).read_bytes()
        if calls:
            die_at(calls)
        try:
            made = witness.cosign(data)
            say(json.dumps([made.before, made.size]))
        except LabelVaultError as error:
            say(json.dumps(type(error).__name__))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
