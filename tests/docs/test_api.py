"""The API reference is what the docstrings say today, and no public name goes without one."""

import shutil
from pathlib import Path

import pytest

from docs import build_api

ROOT = Path(__file__).resolve().parents[2]


def test_the_api_reference_is_up_to_date() -> None:
    """Every page is byte for byte what `make docs` writes, and there is no other."""
    made = build_api.pages()
    assert len(made) == len(build_api.MODULES) + 1
    there = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").iterdir()}
    assert sorted(there) == sorted(made)
    old = [name for name, text in made.items() if there[name] != text]
    assert not old, f"run `make docs`: {old}"


@pytest.mark.parametrize(
    ("file", "line", "instead", "complaint"),
    [
        (
            "stores/base.py",
            '"""Release what is held open. Any later call raises StoreError."""',
            "",
            "Store.close has no",
        ),
        ("vendor/vault.py", '"""Return counts and bytes."""', "0", "Vault.status has no"),
        ("vendor/vault.py", "StoreError: a stored receipt is damaged.", "where a receipt is damaged", "exception"),
    ],
)
def test_a_public_name_that_is_not_documented_is_named(
    tmp_path: Path, file: str, line: str, instead: str, complaint: str
) -> None:
    """A missing docstring, or a section that can't be read, fails the build of the reference."""
    shutil.copytree(ROOT / "labelvault", tmp_path / "labelvault", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "labelvault" / file
    text = source.read_text(encoding="utf-8")
    assert text.count(line) == 1
    source.write_text(text.replace(line, instead), encoding="utf-8")
    with pytest.raises(build_api.UndocumentedError, match=complaint):
        build_api.pages(tmp_path)
