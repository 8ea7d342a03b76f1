"""The benchmark of large files, held to its promises: flat memory, and every byte and range as it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024


def run(size_mib: int, where: Path) -> dict[str, dict[str, float]]:
    """Run the benchmark, which compares what was opened, and 1,000 ranges, with the source."""
    command = [sys.executable, "-m", "benchmarks.streams", "--size-mib", str(size_mib), "--where", str(where), "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, float]] = json.loads(ended.stdout)
    assert set(found) == {"copy", "seal", "seal again", "open", "1,000 ranges", "seal file", "open file"}
    assert list(where.iterdir()) == []
    return found


def test_a_thousand_random_ranges_of_64_MiB_equal_the_source(tmp_path: Path) -> None:
    """Sealed, opened to disk and read in ranges, through client, vault, issuer and contractor."""
    found = run(72, tmp_path)
    assert all(step["peak_bytes"] < 200 * MIB for step in found.values())


@pytest.mark.slow
def test_4_GiB_pass_in_less_than_200_MiB(tmp_path: Path) -> None:
    """An attachment of 4 GiB: sealed, compared, opened and read in ranges, with flat memory; it shows the times."""
    found = run(4096, tmp_path)
    sys.stdout.write(json.dumps(found, indent=1))
    for step in found.values():
        assert step["peak_bytes"] < 200 * MIB
