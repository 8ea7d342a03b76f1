"""`python -m tests.assurance.guided PARSER [libFuzzer options]`: fuzz one parser by coverage until something leaves it.

Needs atheris, which is in no lock file: install it into the environment by hand. It begins with the parser's corpus,
and keeps what it finds in `build/fuzz/PARSER`.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Fuzz; returns only if it can't, or was told to end."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ModuleNotFoundError:
        print("atheris is not installed here; `make assurance-long` mutates without it", file=sys.stderr)  # noqa: T201
        return 2
    with atheris.instrument_imports(include=["labelvault"]):
        from tests.assurance.parsers import CORPUS, PARSERS, judge
    known = {parser.name: parser for parser in PARSERS}
    if not arguments or arguments[0] not in known:
        print(f"name a parser: {', '.join(known)}", file=sys.stderr)  # noqa: T201
        return 2
    parser = known[arguments[0]]
    found = ROOT / "build" / "fuzz" / parser.name
    found.mkdir(parents=True, exist_ok=True)
    own = ["-max_len=65536", "-timeout=10", *arguments[1:], str(found), str(CORPUS / parser.name)]
    atheris.Setup([sys.argv[0], *own], lambda data: judge(parser, data, measured=False))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
