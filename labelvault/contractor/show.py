"""An opened task as text for a terminal. What was sealed is untrusted: it can show, but not act."""

from typing import Final

from labelvault.contractor.display import DEFAULT_WIDTH, safe_terminal_text
from labelvault.contractor.layout import MAX_LAID_OUT, Layout, Style, indented_json
from labelvault.contractor.parts import Opened, OpenedPart

_RULE: Final = "─"
_DELIMITERS: Final = {"text/csv": ",", "text/tab-separated-values": "\t"}
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def render(opened: Opened, width: int = DEFAULT_WIDTH, *, colour: bool = False) -> str:
    """Return what is required first, then the task, so that the task stands above the prompt.

    Args:
        opened: what to show.
        width: of the terminal, in columns.
        colour: whether to use styles; the escape sequences of `Style` are the only ones that come out.
    """
    layout = Layout(width, colour)
    return "\n".join(_part(part, layout, width) for part in (*opened.required, opened.task))


def _part(part: OpenedPart, layout: Layout, width: int) -> str:
    title = f"{_RULE * 2} {part.kind}: {_line(part.name)} "
    labels = "".join(f"{_line(name)}: {_line(value)}\n" for name, value in part.labels.items())
    return f"{layout.styled(title.ljust(width, _RULE), Style.BOLD)}\n{labels}{_body(part, layout)}\n"


def _line(text: str) -> str:
    """Return a name or a label on one line, so that it can't pass for a line of ours."""
    return safe_terminal_text(text).replace("\n", " ").replace("\t", " ")


def _body(part: OpenedPart, layout: Layout) -> str:
    kind = part.media_type
    if part.is_large or not (kind.startswith("text/") or kind in ("application/json", "application/jsonl")):
        return _as_file(part)
    text = safe_terminal_text(part.text)
    laid_out = _laid_out(part, text, layout) if len(text) <= MAX_LAID_OUT else None
    return text if laid_out is None else laid_out


def _laid_out(part: OpenedPart, text: str, layout: Layout) -> str | None:
    kind = part.media_type
    if kind == "application/json":
        return indented_json(text)
    if kind == "application/jsonl":
        return layout.json_lines(text)
    if kind == "text/markdown":
        return layout.markdown(text)
    if kind in _DELIMITERS:
        return layout.delimited(text, _DELIMITERS[kind])
    return None


def _as_file(part: OpenedPart) -> str:
    dimensions = None if part.is_large else image_size(part.content)
    shape = "" if dimensions is None else f"{dimensions[0]:,} × {dimensions[1]:,} pixels, "
    return f"({_line(part.media_type)}, {shape}{part.size:,} bytes; open with --to DIR to get the file)"


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height that a PNG, GIF or JPEG says it has, None for anything else; nothing is decoded."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _JPEG_SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None
