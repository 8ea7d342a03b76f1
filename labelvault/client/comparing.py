"""Comparing two versions of an item: texts line by line, everything by size and hash; in bounded memory."""

import difflib
import hashlib
from dataclasses import dataclass
from typing import Final

from labelvault.client.reading import Origin, StoredVersion, VersionReader, named_version
from labelvault.client.records import ComparedVersion, VersionComparison
from labelvault.errors import FormatError

MAX_DIFF_BYTES: Final = 1024 * 1024
MAX_DIFF_LINES: Final = 10_000
"""Of either version; what is longer is compared by size and hash: line by line the work grows with the square."""
_TEXT_TYPES: Final = (
    "text/",
    "application/json",
    "application/jsonl",
    "application/toml",
    "application/yaml",
)
_NO_END: Final = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class _Read:
    version: ComparedVersion
    lines: list[str] | None


def compare_versions(origin: Origin, item: bytes, old: int, new: int) -> VersionComparison:
    """Read two versions of an item back and compare them; see `Project.compare`.

    Args:
        origin: where they are read from.
        item: 16 bytes.
        old: a version.
        new: another one.

    Raises:
        ProjectError: there is no such version.
        FormatError: both are one.
    """
    if old == new:
        raise FormatError("two versions are compared, not one with itself")
    versions = [named_version(origin, item, number) for number in (old, new)]
    reader = VersionReader(origin)
    left, right = (_read(reader, version) for version in versions)
    diff: tuple[str, ...] | None = None
    if left.lines is not None and right.lines is not None:
        diff = tuple(_unified(left.lines, right.lines, f"version {old}", f"version {new}"))
    return VersionComparison(item, versions[0].source, left.version, right.version, diff)


def _read(reader: VersionReader, version: StoredVersion) -> _Read:
    metadata = version.metadata
    state, kept, size = hashlib.sha256(), list[bytes](), 0
    is_text = metadata.media_type.startswith(_TEXT_TYPES)
    for piece in reader.pieces(version):
        state.update(piece)
        size += len(piece)
        if is_text and size <= MAX_DIFF_BYTES:
            kept.append(piece)
    compared = ComparedVersion(
        version.header.version,
        metadata.name,
        metadata.media_type,
        size,
        state.digest(),
        tuple((label.name, label.value) for label in metadata.labels),
        metadata.requires,
    )
    return _Read(compared, _lines(b"".join(kept)) if is_text and size <= MAX_DIFF_BYTES else None)


def _lines(content: bytes) -> list[str] | None:
    """Return a text's lines without their ends; None if it is no text, or too long."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    # By line feeds alone: any other mark belongs to a line, so that nothing that differs looks the same.
    lines = text.split("\n")
    # What ends without a line feed differs from what ends with one.
    lines[-1:] = [] if lines[-1] == "" else [lines[-1] + "\n"]
    return lines if len(lines) <= MAX_DIFF_LINES else None


def _unified(old: list[str], new: list[str], old_name: str, new_name: str) -> list[str]:
    found = []
    for line in difflib.unified_diff(old, new, old_name, new_name, lineterm=""):
        if line.endswith("\n"):
            found += [line[:-1], _NO_END]
        else:
            found.append(line)
    return found
