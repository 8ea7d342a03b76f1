"""The diagrams are what their script draws, say in words what they show, and bring nothing that acts."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs import build_diagrams

DOCS = Path(__file__).resolve().parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["keys.svg", "opening.svg"])
def test_a_diagram_is_up_to_date_and_told_in_words(name: str) -> None:
    """The file is byte for byte what `make docs` writes; it has a title and a description, and no foreign reference."""
    source = (DOCS / name).read_text(encoding="utf-8")
    assert source == build_diagrams.diagrams()[name], "run `make docs`"
    drawing = ET.fromstring(source)  # noqa: S314 - our own file
    assert drawing.findtext(f"{SVG}title")
    assert len(drawing.findtext(f"{SVG}desc") or "") > 500
    assert {each.tag.removeprefix(SVG) for each in drawing.iter()} <= {
        *("svg", "title", "desc", "style", "defs", "marker", "path", "rect", "circle", "g", "text", "tspan")
    }
    assert re.findall(r'(?:href|url\()[^)"]*', source.replace("url(#", "")) == []


@pytest.mark.parametrize("name", ["keys.svg", "opening.svg"])
def test_all_words_of_a_diagram_are_inside_it(name: str) -> None:
    """No line of text begins or, at 7.6 pixels a letter, ends outside the page."""
    drawing = ET.fromstring((DOCS / name).read_text(encoding="utf-8"))  # noqa: S314 - our own file
    texts = list(drawing.iter(f"{SVG}text"))
    assert len(texts) > 25
    for each in texts:
        width = 7.6 * len("".join(each.itertext()))
        start = float(each.attrib["x"]) - (width / 2 if "middle" in each.get("class", "") else 0)
        assert start >= 0
        assert start + width <= float(drawing.attrib["width"]), "".join(each.itertext())
