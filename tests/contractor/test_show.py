"""Rendering: structure is told apart, nothing is left out, and what was sealed can't act on a terminal."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.contractor.layout import Layout, Style, columns
from labelvault.contractor.parts import Opened, OpenedAs, OpenedPart
from labelvault.contractor.show import image_size, render
from labelvault.envelope.metadata import Label, Metadata

KINDS = [
    "text/markdown",
    "application/json",
    "application/jsonl",
    "text/csv",
    "text/tab-separated-values",
    "text/plain",
]
ALLOWED = "|".join(re.escape(style.value) for style in Style)


def shown(content: bytes | str, media_type: str, *, name: str = "x", width: int = 60, colour: bool = False) -> str:
    """One task as it shows."""
    data = content if isinstance(content, bytes) else content.encode()
    metadata = Metadata("task", name, media_type, len(data), (Label(name, name),), ())
    part = OpenedPart(bytes(16), 1, metadata, data)
    known = OpenedAs(1, bytes(16), 0, bytes(32))
    return render(Opened(None, part, (), (), known), width, colour=colour)  # type: ignore[arg-type]


def test_markdown_shows_headings_lists_tables_and_code() -> None:
    """Each in a form of its own, and long lines wrapped at the width."""
    text = (
        "# Title\n\n- one " + "word " * 20 + "\n- two\n\n1. first\n\n> quoted\n\n"
        "| a | bee |\n|---|:-:|\n| 1 | 2 |\n\n```python\nx = '**no**'\n```\n\n---\n**bold** `code`\n"
    )
    found = shown(text, "text/markdown")
    for wanted in (
        "Title\n═════",
        "• one word",
        "\n  word",
        "• two",
        "1. first",
        "│ quoted",
        "a │ bee\n──┼────\n1 │ 2",
    ):
        assert wanted in found, found
    assert "    x = '**no**'" in found
    assert max(map(columns, found.splitlines())) <= 60
    styled = shown(text, "text/markdown", colour=True)
    assert f"{Style.BOLD.value}bold{Style.END.value} {Style.CODE.value}code{Style.END.value}" in styled


def test_tables_that_fit_are_tables_and_others_are_records() -> None:
    """CSV of short cells stands in columns, wide letters counted double; long cells are named and wrapped."""
    table = "name │ 数   │ n\n─────┼──────┼──\nada  │ 漢字 │ 1"
    assert table in shown("name,数,n\nada,漢字,1\n", "text/csv")
    found = shown('id,text\n1,"' + "word " * 30 + '"\n', "text/csv")
    assert "id: 1\ntext:\n  word word" in found
    assert found.count("word") == 30
    assert 'a,"b' in shown('a,"b', "text/csv")


def test_json_and_json_lines_are_indented() -> None:
    """Each line of JSON Lines under its number; what is no JSON shows as it is."""
    assert '{\n  "a": [\n    1\n  ]\n}' in shown('{"a":[1]}', "application/json")
    assert '1. {\n  "a": 1\n}\n2. {\n  "b": 2\n}' in shown('{"a":1}\n{"b":2}\n', "application/jsonl")
    assert "{nope" in shown("{nope", "application/json")
    assert "{nope" in shown('{"a":1}\n{nope\n', "application/jsonl")
    assert "[" * 100 in shown("[" * 100_000, "application/json")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big"), (640, 480)),
        (b"GIF89a" + (32).to_bytes(2, "little") + (16).to_bytes(2, "little"), (32, 16)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x40\x00\x80\x03", (128, 64)),
        (b"\xff\xd8\xff\xe0\x00\x00" * 50, None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_images_show_their_size_and_how_to_get_them(data: bytes, size: tuple[int, int] | None) -> None:
    """From the first bytes alone; nothing is decoded."""
    assert image_size(data) == size
    found = shown(data, "image/png")
    assert "--to DIR" in found
    assert ("pixels" in found) is (size is not None)


def test_X6_a_name_or_media_type_is_no_line_of_its_own() -> None:
    """A name with line ends can't show a second title, and a media type can't act."""
    found = shown("text", "text/plain", name="x\n── gold: y ───\rz")
    assert len([line for line in found.splitlines() if line.startswith("──")]) == 1
    assert "\x1b" not in shown(b"\0", "image/\x1b[31mpng")


HOSTILE = [
    "\x1b]8;;http://evil\x07click\x1b]8;;\x07",
    "\x1b[2J\x1b[31mred",
    "\u202egnp.exe",
    "a\rb\x08c\x00\x9b31m",
    "\x1b]52;c;ZXZpbA==\x07",
    "*\x1b*[1m*bold**",
    "`\x1b[1m`",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", [False, True])
def test_X6_hostile_text_cannot_act_in_any_form(kind: str, colour: bool) -> None:
    """Escapes raw, split, in cells, in JSON's own escapes, in names and labels: nothing but our styles comes out."""
    for bad in HOSTILE:
        texts = [bad, json.dumps({bad: bad}), f"| {bad} | b |\n|---|---|\n| {bad} | {bad} |", f'"{bad}",b\n1,"{bad}"']
        for text in texts:
            _harmless(shown(text, kind, name=bad, colour=colour), colour)


@given(text=st.text(max_size=300), kind=st.sampled_from(KINDS), width=st.integers(1, 120), colour=st.booleans())
def test_X6_no_text_gets_a_control_character_out(text: str, kind: str, width: int, colour: bool) -> None:
    """Whatever the text, form and width."""
    _harmless(shown(text.encode("utf-8", "surrogatepass"), kind, width=width, colour=colour), colour)


def _harmless(found: str, colour: bool) -> None:
    plain = re.sub(ALLOWED, "", found) if colour else found
    kept = "\n\t\u200c\u200d"
    assert not [mark for mark in plain if unicodedata.category(mark) in ("Cc", "Cf", "Cs") and mark not in kept]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", plain)


@given(words=st.lists(st.text("abcdefgh*`#|->1. ", min_size=1, max_size=30), max_size=20))
def test_markdown_loses_no_letter(words: list[str]) -> None:
    """Marks may become others, letters stay, in their order."""
    text = "\n".join(words)
    letters = [mark for mark in text if mark.isalpha()]
    assert [mark for mark in Layout(40, False).markdown(text) if mark.isalpha()] == letters
