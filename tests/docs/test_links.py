"""Every link of every page leads to a file of the repository, and to a heading in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = {".venv", ".git", "build", "mutants", "node_modules"}
PAGES = sorted(path for path in ROOT.rglob("*.md") if not HIDDEN & set(path.relative_to(ROOT).parts))


def without_code(text: str) -> str:
    """Return a page without its fenced blocks and its inline code, in which brackets mean something else."""
    return re.sub(r"(?<!\[)`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page's headings get: lowercase, no marks, hyphens for spaces, numbers for twins."""
    found: dict[str, int] = {}
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors = set()
    for title in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        there = target.exists() and (not name or target.is_relative_to(ROOT))
        if not there or (anchor and (target.suffix != ".md" or anchor not in anchors_of(target))):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Relative links name files and folders of this repository, and headings that are there."""
    assert broken(page) == []


def test_every_page_is_reached_from_the_readme() -> None:
    """Whoever follows links from README.md comes to every page of docs/."""
    reached: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            todo += target.glob("*.md") if target.is_dir() else [target] if target.suffix == ".md" else []
    assert [page for page in PAGES if page.parent.is_relative_to(ROOT / "docs") and page not in reached] == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """A file that is missing, a heading that is missing, and a place outside are all found."""
    page = ROOT / "docs" / "README.md"
    assert broken(page) == []
    assert "tutorial.md" in page.read_text(encoding="utf-8")
    assert {"who-holds-which-key", "the-life-of-one-opening"} <= anchors_of(ROOT / "docs" / "overview.md")
    made = tmp_path / "page.md"
    made.write_text("# One\n\n[a](none.md) [b](#one) [c](#two) [d](../../etc) `[e](f)` [g](https://example.com)\n")
    assert broken(made) == ["none.md", "#two", "../../etc"]
