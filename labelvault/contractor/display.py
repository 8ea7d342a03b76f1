"""Untrusted text on a terminal. What a sealed item says was written by someone else and may try to act."""

import re
import unicodedata
from typing import Final

DEFAULT_WIDTH: Final = 78
"""Columns of a terminal, where nobody says how many it has."""

# Whole escape sequences (ECMA-48): control sequences; then strings (OSC, DCS, SOS, PM, APC) that end on the
# same line; then two-character ones. A string without its end is not matched: dropping only its start keeps
# what follows readable, where a terminal would swallow it.
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n\r]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]+[0-~]"
)
_LINE_ENDS: Final = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Joiners, which Persian, Indic scripts and emoji need. They reorder and hide nothing.
_KEPT_FORMATS: Final = ("\u200c", "\u200d")


def safe_terminal_text(text: str) -> str:
    """Return `text` so that printing it only shows it.

    Escape sequences (colours, titles, clipboard writes, cursor moves), control characters, bidirectional
    controls, and invisible format characters are removed; every kind of line end becomes a newline, so that
    nothing overprints; tabs and newlines stay. What is not text (lone surrogates) becomes U+FFFD. The result
    holds no character of Unicode's categories Cc, Cf and Cs other than those named, however the input was
    nested, and cleaning it again changes nothing.

    It does not judge what the text says, nor letters that look alike.
    """
    plain = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    return "".join(map(_safe_mark, plain))


def _safe_mark(mark: str) -> str:
    if mark in "\n\t" or mark in _KEPT_FORMATS:
        return mark
    category = unicodedata.category(mark)
    if category == "Cs":
        return "\ufffd"
    return "" if category in ("Cc", "Cf") else mark
