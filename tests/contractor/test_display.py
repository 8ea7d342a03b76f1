"""X6: untrusted text only shows on a terminal, it never acts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.contractor.display import safe_terminal_text

PLAIN = "plain text, \u00fcml\u00e4ut, \u56de\u7b54\tand tabs\n"
CASES = {
    PLAIN: PLAIN,
    "\x1b[31mred\x1b[0m": "red",
    "\x9b31mred\x9b0m": "red",
    "\x1b[2J\x1b[Hcleared": "cleared",
    "\x1b]0;title\x07shown": "shown",
    "\x1b]52;c;c3RvbGVu\x1b\\shown": "shown",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x1bP1$r\x1b\\\x90q\x9cshown": "shown",
    "\x1b]unterminated\nnot swallowed": "]unterminated\nnot swallowed",
    "\x1b(0lines\x1b(B": "lines",
    "a\x1b\x1b[31m[31mb": "a[31mb",
    "a\x1b\x9b31m[31mb": "a[31mb",
    "over\rprinted": "over\nprinted",
    "dos\r\nlines\x0bvt\x0cff\x85nel\u2028ls\u2029ps": "dos\nlines\nvt\nff\nnel\nls\nps",
    "back\b\bspace\x7f\0\x07": "backspace",
    "access\u202edenied\u2066x\u2069\u200e\u061c": "accessdeniedx",
    "zero\u200bwidth\ufeff\u00ad\U000e0041": "zerowidth",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f468\u200d\U0001f4bb": (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f468\u200d\U0001f4bb"
    ),
    "lone\ud800surrogate": "lone\ufffdsurrogate",
}


@pytest.mark.parametrize(("text", "shown"), CASES.items(), ids=ascii)
def test_X6_hostile_text_only_shows(text: str, shown: str) -> None:
    """Each trick comes out as the stated harmless text."""
    assert safe_terminal_text(text) == shown


@given(st.text() | st.text("\x1b[]\\P0123;m\x07\x9b\x9c\r\n\u202ea"))
def test_X6_no_text_keeps_a_mark_that_acts(text: str) -> None:
    """No control, format or surrogate is left but newline, tab, joiners; cleaning again changes nothing."""
    shown = safe_terminal_text(text)
    acting = {mark for mark in shown if unicodedata.category(mark) in ("Cc", "Cf", "Cs")}
    assert acting <= set("\n\t\u200c\u200d")
    assert safe_terminal_text(shown) == shown
    shown.encode()


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_plain_text_is_unchanged(text: str) -> None:
    """What doesn't act is shown as it is."""
    assert safe_terminal_text(text) == text
