"""SECURITY.md names only tests that exist, and leaves no guarantee without one."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def defined_tests() -> set[str]:
    """Return `tests/…/test_x.py::test_y` of every test function in the repository."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return found


def guarantees() -> dict[str, str]:
    """Return the text of each guarantee, G1 to G12."""
    parts = re.split(r"^### (G\d+) ", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_guarantee_names_tests_that_exist() -> None:
    """G1 to G12 each name at least one test, and every named test is defined."""
    sections = guarantees()
    assert list(sections) == [f"G{number}" for number in range(1, 13)]
    known = defined_tests()
    for name, text in sections.items():
        named = re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", text)
        assert named, f"{name} names no test"
        assert set(named) <= known, f"{name} names tests that don't exist: {sorted(set(named) - known)}"
