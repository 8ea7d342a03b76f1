"""File names for opened items. What an item is called was chosen by someone else, on another kind of system."""

import re
import unicodedata
from typing import Final

MAX_NAME_BYTES: Final = 120
"""Room for a `-2` within what every common file system takes (143 bytes on eCryptfs, 255 elsewhere)."""

_MAX_INPUT: Final = 4096
_MAX_EXTENSION_BYTES: Final = 16
_DEFAULT_NAME: Final = "item"

# Separators and what Windows forbids; then what looks like them and is left alone by NFKC: division, fraction
# and set-minus slashes, the box diagonal, the ratio, letter and Hebrew colons.
_FORBIDDEN: Final = frozenset('/\\:*?"<>|') | frozenset("\u2044\u2215\u29f8\u2571\u2216\u29f5\u29f9\u2236\ua789\u05c3")
_UNFIT: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)\s*(?:\..*)?|desktop\.ini|autorun\.inf",
    re.I | re.S,
)


def safe_file_name(name: str) -> str:
    """Turn an item's name into a file name that is harmless on every common system.

    The result is one path component of 1 to 120 UTF-8 bytes, in Unicode form NFKC; without separators and
    their look-alikes, control, format or unassigned characters; it does not begin with a dot, dash or tilde,
    does not end with a dot or space, and is no name that Windows reserves. Letters that look alike are kept:
    names are in any language. Two names may give the same result.

    Args:
        name: any text; beyond 4,096 characters it is cut.
    """
    folded = unicodedata.normalize("NFKC", name[:_MAX_INPUT])
    marks = "".join(map(_plain, folded))
    stem, dot, extension = _trimmed(marks).rpartition(".")
    if not dot or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        stem, extension = _trimmed(marks), ""
    ending = f".{extension}" if extension else ""
    safe = _trimmed(_cut(stem, MAX_NAME_BYTES - 1 - len(ending.encode()))) + ending
    if not _trimmed(safe):
        return _DEFAULT_NAME
    # A leading dash is an option to a careless command, a tilde somebody's home.
    return f"_{safe}" if safe[0] in "-~." or _RESERVED.fullmatch(safe) else safe


def _plain(mark: str) -> str:
    """Return a character, or what stands for it in a file name."""
    category = unicodedata.category(mark)
    if category == "Zs":
        return " "
    return "_" if mark in _FORBIDDEN or category in _UNFIT else mark


def _trimmed(text: str) -> str:
    """Drop leading dots and spaces, which hide a file, and trailing ones, which Windows drops itself."""
    return text.strip(". ")


def _cut(text: str, max_bytes: int) -> str:
    """Return the longest start of `text` that has at most so many UTF-8 bytes."""
    return text.encode()[:max_bytes].decode("utf-8", "ignore")
