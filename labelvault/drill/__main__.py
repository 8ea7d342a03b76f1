"""`python -m labelvault.drill`: the attack as a process of its own, standard library only.

Exit codes: 0 whatever was opened (the caller compares it with what the ledger states), 1 if something stolen
can't be read, 2 for wrong usage.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from labelvault.crypto.secret import SecretBytes
from labelvault.drill.attack import run
from labelvault.errors import LabelVaultError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack and write what it found to standard output.

    Args:
        arguments: the command line without the program's name; None for this process's own.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        finding = run(
            options.vault,
            contractors=options.contractor,
            desks=options.desk,
            captures=options.capture,
            folders=options.folder,
            known=options.known,
            baseline=options.baseline,
            passphrases=[_passphrase(path) for path in options.passphrase_file],
            surface=options.surface,
        )
    except (LabelVaultError, OSError) as error:
        sys.stderr.write(f"labelvault drill: {error}\n")
        return 1
    text = json.dumps(finding.as_json(), indent=2) if options.json else "\n".join(finding.lines())
    sys.stdout.write(text + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m labelvault.drill",
        description="Find out what a thief can read with copies of stolen folders and captures of processes.",
    )
    parser.add_argument("--vault", required=True, help="sqlite:///... address or folder of the stolen vault")
    folders = {
        "contractor": "stolen home of a contractor",
        "desk": "stolen home of a desk",
        "capture": "capture of a live process's memory",
        "folder": "anything else that was stolen",
        "baseline": "capture of a process that ran the same code and held no secret",
        "passphrase-file": "stolen passphrase, tried on every key file",
    }
    for name, meaning in folders.items():
        help_text = f"{meaning}; repeatable"
        parser.add_argument(f"--{name}", action="append", default=[], type=Path, help=help_text)
    parser.add_argument("--known", type=Path, help="folder of plaintext, names.txt and ids.txt to look for")
    parser.add_argument("--surface", help="what the report calls this theft")
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    return parser


def _passphrase(path: Path) -> SecretBytes:
    return SecretBytes(path.read_bytes().rstrip(b"\r\n"))


if __name__ == "__main__":
    sys.exit(main())
