"""The command line: one group per actor, and no logic: parse, call, render, map errors to exit codes.

May import every room, and is the only one that imports click and rich, which the core install lacks:
importing this package loads neither, and `main` says how to get them. The groups are loaded one by one as
they are used, so that a `labelvault vendor ...` process never loads code that can decrypt.
"""

import io
import sys
from importlib.util import find_spec
from typing import Final, NoReturn

_NEEDED: Final = ("click", "rich")


def main() -> NoReturn:
    """Run the `labelvault` command on this process's arguments and exit with its code.

    Works without the `cli` extra: it then prints the one line that installs it, and exits with 2.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        print("The command line needs two more packages: pip install 'labelvault[cli]'", file=sys.stderr)
        raise SystemExit(2)
    from labelvault.cli.app import run

    for stream in (sys.stdout, sys.stderr):
        # Names are in any language, terminals not: show what can be shown instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    raise SystemExit(run(sys.argv[1:]))
