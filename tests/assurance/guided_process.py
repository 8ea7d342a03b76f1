"""`python -m tests.assurance.guided_process PARSER [--into=FOLDER] [libFuzzer options]`: fuzz a parser by coverage.

Until something leaves it that must not, or for `-runs=N`. It begins with the parser's corpus, and keeps what it finds
in `build/fuzz/PARSER`. Needs atheris (Linux on x86-64), which rewrites the library as it is imported, so nothing of it
is imported before.
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
        print("atheris is not installed here; `make assurance` mutates without it", file=sys.stderr)  # noqa: T201
        return 2
    with atheris.instrument_imports(include=["labelvault"]):
        from tests.assurance.parsers import CORPUS, PARSERS, judge
    known = {parser.name: parser for parser in PARSERS}
    if not arguments or arguments[0] not in known:
        print(f"name a parser: {', '.join(known)}", file=sys.stderr)  # noqa: T201
        return 2
    parser = known[arguments[0]]
    places = [each.removeprefix("--into=") for each in arguments[1:] if each.startswith("--into=")]
    options = [each for each in arguments[1:] if not each.startswith("--into=")]
    found = Path(places[0]) / parser.name if places else ROOT / "build" / "fuzz" / parser.name
    found.mkdir(parents=True, exist_ok=True)
    own = ["-max_len=65536", "-timeout=10", *options, str(found), str(CORPUS / parser.name)]
    atheris.Setup([sys.argv[0], *own], lambda data: judge(parser, data, measured=False))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
