"""The tutorial, read by somebody who types all of it: processes, files and HTTP are real."""

from pathlib import Path

import pytest

from tests.docs.reader import Reader, blocks_of, shows

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_the_tutorial_runs_as_it_stands_there(tmp_path: Path) -> None:
    """Every command does what the page says, and the host that it builds holds nothing readable."""
    with Reader(tmp_path / "desk") as reader:
        assert reader.read(TUTORIAL) >= 15
        folder = reader.folder
    text = (folder / "lab/project/guidelines/rating.md").read_bytes()[:40]
    stored = {path: path.read_bytes() for path in (folder / "vendor").rglob("*") if path.is_file()}
    assert folder / "vendor/vault.db" in stored
    assert not [path for path, data in stored.items() if text in data]


def test_the_tutorial_installs_what_it_uses() -> None:
    """The one block that is not typed here makes the environment, with the extras that the page needs."""
    (install,) = (block for block in blocks_of(TUTORIAL) if "install" in block.words)
    assert install.text.splitlines()[-1] == "pip install './labelvault[cli,service]'"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```sh\nfalse\ntrue\n```\n", "ended with 1"),
        ("```sh\nexit 3\n```\n", "ended with 3"),
        ("```sh exit=3\n(exit 4)\n```\n", "ended with 4, not 3"),
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "page.md:4: the page shows"),
        ("```text\ntwo\n```\n", "the output of nothing"),
        ("```ruby\nputs 1\n```\n", "nobody runs ruby"),
        ("```python\nraise SystemExit(2)\n```\n", "ended with 2"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(tmp_path: Path, page: str, complaint: str) -> None:
    """Whoever types a page finds a command that fails, and an output that is another."""
    file = tmp_path / "page.md"
    file.write_text(page)
    with Reader(tmp_path / "desk") as reader, pytest.raises(AssertionError, match=complaint):
        reader.read(file)


def test_terminals_keep_what_was_typed(tmp_path: Path) -> None:
    """Variables stay in a terminal; another has its own; a second command in it ends the first."""
    file = tmp_path / "page.md"
    file.write_text(
        "```sh\nname=ada\n```\n```sh\necho $name\n```\n```text\nada\n```\n"
        "```sh terminal=two\necho up; sleep 600\n```\n```text\nup\n```\n"
        '```sh terminal=two\necho "and ${name-none}"; sleep 600\n```\n```text\nand none\n```\n'
        "```toml file=kept.toml\na = 1\n```\n```sh\ncat kept.toml\n```\n```text\na = 1\n```\n"
    )
    with Reader(tmp_path / "desk") as reader:
        assert reader.read(file) == 5


def test_only_what_differs_from_run_to_run_counts_as_equal() -> None:
    """Ids, fingerprints, times and sizes may differ; words, small counts and missing lines may not."""
    other = "2f0c6b8a0f4d4a7b8f9be0d8cfc0a5c1"
    assert shows("id   0c3f7bd1f4f4a1c5a3a2b8b7c5f6e1d0\n", f"id {other}")
    assert shows("until 2026-12-02 13:04:41Z (6 d 23 h)", "until 2027-01-01 00:00:00Z (1 d 2 h)")
    assert shows("a\nb\nc", "a\n...\nc")
    assert not shows("a\nb\nc", "a\nc")
    assert not shows("opened 1", "opened 0")
    assert not shows("Revoked.", "...\nIssued.")
