"""An opened task as plain text for a terminal. What was sealed is untrusted: it can show, but not act."""

import json
from typing import Final

from labelvault.contractor.display import safe_terminal_text
from labelvault.contractor.parts import Opened, OpenedPart

_RULE: Final = "─"
_WIDTH: Final = 78


def render(opened: Opened) -> str:
    """Return what is required first, then the task, so that the task stands above the prompt."""
    return "\n".join(_part(part) for part in (*opened.required, opened.task))


def _part(part: OpenedPart) -> str:
    title = f"{_RULE * 2} {part.kind}: {safe_terminal_text(part.name)} "
    labels = "".join(
        f"{safe_terminal_text(name)}: {safe_terminal_text(value)}\n" for name, value in part.labels.items()
    )
    return f"{title.ljust(_WIDTH, _RULE)}\n{labels}{_body(part)}\n"


def _body(part: OpenedPart) -> str:
    if part.is_large:
        return _as_file(part)
    if part.media_type == "application/json":
        return safe_terminal_text(_json(part.text))
    if part.media_type.startswith("text/") or part.media_type == "application/jsonl":
        return safe_terminal_text(part.text)
    return _as_file(part)


def _as_file(part: OpenedPart) -> str:
    return f"({part.media_type}, {part.size:,} bytes; open with --to DIR to get the file)"


def _json(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
