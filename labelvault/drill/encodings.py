"""Keys that were written as text: hex, base64, Python's own spelling of bytes, lists of numbers.

Text filters are sound too: of 43 base64 characters of a random key at least three are upper case and three
are lower case letters (fewer than three of one sort: 1.7e-7), and what is decoded must pass
`entropy.may_be_key`.
"""

import ast
import binascii
import re
from collections.abc import Iterator
from typing import Final

from labelvault.drill.entropy import KEY_BYTES, may_be_key
from labelvault.drill.evidence import View

# Possessive, so that no input makes them backtrack. Line ends within a run are what wrapping at a width
# leaves.
_NUMERIC: Final = re.compile(rb"[0-9A-Fa-fx:, \\-]{64,}+")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64,}+")
_SPACED_HEX: Final = re.compile(rb"(?:0x|\\x)?[0-9A-Fa-f]{2}(?:(?:[:, -]|, |\\x|,? ?0x)[0-9A-Fa-f]{2}){31,}+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{22,}+(?:(?:\r?\n|\\n)[A-Za-z0-9+/_-]++)*+")
_LITERAL: Final = re.compile(rb"""b'(?:[^'\\\n]|\\.){8,4096}+'|b"(?:[^"\\\n]|\\.){8,4096}+\"""")
_NUMBERS: Final = re.compile(rb"[0-9]{1,3}+(?:, ?[0-9]{1,3}+){31,}+")
_BREAKS: Final = re.compile(rb"\r?\n|\\n")
_PAIR: Final = re.compile(rb"[0-9A-Fa-f]{2}(?![xX])")
_LEAST_BASE64: Final = 43
_LEAST_OF_EACH_CASE: Final = 3
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_OTHERS_THAN: Final = {
    "upper": bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    "lower": bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz")),
}


def encoded_keys(data: View) -> Iterator[tuple[int, str, bytes]]:
    """Yield (offset, encoding, key) for every 32 bytes that may be a key and stand in `data` as text."""
    for match in _NUMERIC.finditer(data):
        for at, encoding, key in _numeric(match[0]):
            yield match.start() + at, encoding, key
    yield from _base64(data)
    for match in _LITERAL.finditer(data):
        yield from _windows(_literal(match[0]), match.start(), "literal", 1)


def _numeric(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    for match in _HEX.finditer(text):
        run = match[0]
        for phase in (0, 1):
            whole = run[phase : phase + (len(run) - phase) // 2 * 2]
            yield from _windows(bytes.fromhex(whole.decode()), match.start() + phase, "hex", 2)
    for match in _SPACED_HEX.finditer(text):
        run = match[0].replace(b"0x", b"").replace(b"\\x", b" ")
        pairs = b"".join(_PAIR.findall(run))
        yield from _windows(bytes.fromhex(pairs.decode()), match.start(), "hex", 3)
    for match in _NUMBERS.finditer(text):
        values = [int(value) for value in match[0].split(b",")]
        yield from _windows(bytes(min(value, 255) for value in values), match.start(), "numbers", 2)


def _base64(data: View) -> Iterator[tuple[int, str, bytes]]:
    for match in _BASE64.finditer(data):
        run = _BREAKS.sub(b"", match[0])
        if len(run) < _LEAST_BASE64:
            continue
        if any(len(run.translate(None, others)) < _LEAST_OF_EACH_CASE for others in _OTHERS_THAN.values()):
            continue
        run = run.translate(_URL_SAFE)
        for phase in range(4):
            part = run[phase:]
            # A character too many holds six bits that end no byte; otherwise fill up with zeros.
            part = part[: len(part) - (len(part) % 4 == 1)]
            decoded = binascii.a2b_base64(part + b"A" * (-len(part) % 4))
            # At every byte: the key may have been encoded alone, or amid a longer message.
            for at in range(len(decoded) - KEY_BYTES + 1):
                key = decoded[at : at + KEY_BYTES]
                if may_be_key(key):
                    yield match.start() + phase + at // 3 * 4, "base64", key


def _literal(text: bytes) -> bytes:
    try:
        value = ast.literal_eval(text.decode("latin-1"))
    except (SyntaxError, ValueError, MemoryError):
        # Looks like Python's spelling of bytes, and isn't.
        return b""
    return value if isinstance(value, bytes) else b""


def _windows(decoded: bytes, start: int, encoding: str, width: int) -> Iterator[tuple[int, str, bytes]]:
    for at in range(len(decoded) - KEY_BYTES + 1):
        key = decoded[at : at + KEY_BYTES]
        if may_be_key(key):
            yield start + width * at, encoding, key
