"""The README's code runs as it stands there."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All Python blocks, in order, in one namespace, on the example project."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    shutil.copytree(ROOT / "labelvault" / "story" / "example", tmp_path / "my-project")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102
    shown = capsys.readouterr().out
    assert "SealReport(new=" in shown
    assert "errors=()" in shown
    assert "rating.md" in shown
