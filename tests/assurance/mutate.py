"""A seeded mutator that knows msgpack and lines of text: what it makes gets further into a parser than noise does.

Containers, fields and nested records are altered as such, their neighbours left whole; then bytes are, now and then.
"""

from dataclasses import dataclass, field
from random import Random

import msgpack

MAX_INPUT_BYTES = 64 * 1024
INTEGERS = (0, 1, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    b"",
    b"\0",
    b"a" * 33,
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    "é".encode(),
    "\u202e\u2066".encode(),
    "\U0001f600".encode(),
    b"../x",
)
ODD = (
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\xca\x7f\xc0\x00\x00",
    b"\xcb\x7f\xf8" + bytes(6),
    b"\xcb\x3f\xf0" + bytes(6),
    b"\xd0\xff",
    b"\xd3\x80" + bytes(7),
    b"\xff",
    b"\xd4\x01\x00",
    b"\xd6\xff" + bytes(4),
    b"\xd7\xff" + bytes(8),
    b"\xc7\x0c\xff" + bytes(12),
    b"\x90",
    b"\x80",
    b"\x91" * 12 + b"\xc0",
    b"\x81\xa0" * 12 + b"\xc0",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x81\xc4\x01a\xc0",
    b"\x81\x01\xc0",
    b"\x81\xc0\xc0",
)
"""Values: floats, NaN, negative integers, extensions, depth, lengths that claim gigabytes, keys that are bytes."""


@dataclass
class Node:
    """A value as it is encoded: bytes, or a container of nodes.

    Attributes:
        kind: `leaf`, `array`, `map` (keys and values in turn), or `nested` (bytes that hold one value again).
        raw: of a leaf.
        parts: of the others.
    """

    kind: str
    raw: bytes = b""
    parts: list["Node"] = field(default_factory=list)

    def copy(self) -> "Node":
        """A tree that can be altered."""
        return Node(self.kind, self.raw, [part.copy() for part in self.parts])

    def encode(self) -> bytes:
        """The bytes."""
        if self.kind == "leaf":
            return self.raw
        inner = b"".join([part.encode() for part in self.parts])
        if self.kind == "nested":
            return _head("bin", len(inner)) + inner
        return _head(self.kind, len(self.parts) // (2 if self.kind == "map" else 1)) + inner


_HEADS = {"array": (0x90, 15, 0xDC), "map": (0x80, 15, 0xDE), "bin": (0, -1, 0xC4), "text": (0xA0, 31, 0xD9)}


def _head(kind: str, size: int, width: int | None = None) -> bytes:
    """A length as it is encoded: in its shortest form, or with so many bytes."""
    short, most, lead = _HEADS[kind]
    if width is None and size <= most:
        return bytes([short | size])
    widths = (1, 2, 4) if kind in ("bin", "text") else (2, 4)
    used = width if width is not None and width in widths else next(each for each in widths if size < 1 << 8 * each)
    return bytes([lead + widths.index(used)]) + (size % (1 << 8 * used)).to_bytes(used, "big")


def tree_of(value: object) -> Node:
    """A decoded value as nodes; bytes that hold a map are looked into."""
    if isinstance(value, dict):
        parts = [tree_of(part) for key in sorted(value) for part in (key, value[key])]
        return Node("map", parts=parts)
    if isinstance(value, list | tuple):
        return Node("array", parts=[tree_of(part) for part in value])
    if isinstance(value, bytes) and value[:1] and value[0] >> 4 in (0x8, 0xD):
        try:
            inner = msgpack.unpackb(value)
        except Exception:  # noqa: BLE001 - whatever does not decode is left as it is
            inner = None
        if isinstance(inner, dict):
            return Node("nested", parts=[tree_of(inner)])
    return Node("leaf", msgpack.packb(value))


def _all(node: Node) -> list[Node]:
    found = [node]
    for part in node.parts:
        found += _all(part)
    return found


def mutate_msgpack(tree: Node, rng: Random) -> bytes:
    """Alter one to three places of a value, and now and then its bytes."""
    made = tree.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        nodes = _all(made)
        _alter(nodes[rng.randrange(len(nodes))], rng)
    data = made.encode()
    if rng.random() < 0.15:
        data = mutate_bytes(data, rng)
    return data[:MAX_INPUT_BYTES]


def _alter(node: Node, rng: Random) -> None:
    if node.kind == "leaf":
        _alter_leaf(node, rng)
    elif node.kind == "nested" and rng.random() < 0.5:
        inner = mutate_bytes(node.parts[0].encode(), rng)
        node.kind, node.raw, node.parts = "leaf", _head("bin", len(inner)) + inner, []
    elif node.kind in ("map", "array") and node.parts:
        _alter_container(node, rng)
    else:
        node.kind, node.raw, node.parts = "leaf", _odd(rng), []


def _alter_leaf(node: Node, rng: Random) -> None:
    way, raw = rng.randrange(6), node.raw
    content = _content(raw)
    if way == 0 or content is None:
        node.raw = _odd(rng)
    elif way == 1:
        # The same content as another type, or with a length in another form.
        node.raw = _head(rng.choice(("bin", "text")), len(content), rng.choice((None, 1, 2, 4))) + content
    elif way == 2:
        other = rng.choice(
            (content[:-1], content + b"\0", content * 2, content[: len(content) // 2], bytes(len(content)))
        )
        node.raw = _head("text" if raw[0] >> 5 == 5 or raw[0] in (0xD9, 0xDA, 0xDB) else "bin", len(other)) + other
    elif way == 3 and content:
        at = rng.randrange(len(content))
        node.raw = raw[: len(raw) - len(content) + at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    elif way == 4:
        text = rng.choice(TEXTS) * rng.choice((1, 1, 1, 40, 3000 if rng.random() < 0.1 else 2))
        node.raw = _head(rng.choice(("bin", "text")), len(text)) + text
    else:
        node.raw = _head("bin", max(0, len(content) + rng.choice((-1, 1, 200)))) + content


def _content(raw: bytes) -> bytes | None:
    """What is inside a text or bytes; None of other leaves."""
    lead = raw[0]
    if 0xA0 <= lead <= 0xBF:
        return raw[1:]
    for first, width in ((0xC4, 1), (0xC5, 2), (0xC6, 4), (0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if lead == first:
            return raw[1 + width :]
    return None


def _odd(rng: Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(ODD)
    number = rng.choice(INTEGERS) + rng.choice((0, 0, 0, 1))
    width = rng.choice([each for each in (1, 2, 4, 8) if number < 1 << 8 * each] or [8])
    number %= 1 << 64
    if rng.random() < 0.5:
        packed: bytes = msgpack.packb(number)
        return packed
    return bytes([0xCC + (1, 2, 4, 8).index(width)]) + number.to_bytes(width, "big")


def _alter_container(node: Node, rng: Random) -> None:
    step = 2 if node.kind == "map" else 1
    count = len(node.parts) // step
    way, at = rng.randrange(7), rng.randrange(count) * step
    entry = node.parts[at : at + step]
    if way == 0:
        del node.parts[at : at + step]
    elif way == 1:
        node.parts[at:at] = [part.copy() for part in entry]
    elif way == 2 and count > 1:
        other = rng.randrange(count) * step
        node.parts[at : at + step], node.parts[other : other + step] = node.parts[other : other + step], entry
    elif way == 3:
        node.parts += [
            part.copy()
            for _ in range(
                rng.choice((1, 2, 2, 3, 20, 300 if rng.random() < 0.2 else 2, 5000 if rng.random() < 0.01 else 2))
            )
            for part in entry
        ]
    elif way == 4:
        new = [Node("leaf", _head("text", len(name := rng.choice(TEXTS))) + name)] if step == 2 else []
        node.parts[at:at] = [*new, Node("leaf", _odd(rng))]
    else:
        # Whole, with a count in another form, or one that does not fit.
        inner = b"".join([part.encode() for part in node.parts])
        claimed = count if way == 5 else rng.choice((count - 1, count + 1, 0, 2**16 - 1, 2**32 - 1))
        node.raw = _head(node.kind, claimed, rng.choice((None, 2, 4)) if way == 5 else None) + inner
        node.kind, node.parts = "leaf", []


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Flip, cut, insert, repeat or move bytes."""
    if not data:
        return rng.randbytes(rng.randrange(1, 9))
    at, way = rng.randrange(len(data)), rng.randrange(7)
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 32)))
    if way == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 64))) + data[at:]
    if way == 3:
        return data[:at] + data[at:end] * rng.choice((2, 3, 100)) + data[end:]
    if way == 4:
        return data[:at] + data[end:]
    if way == 5:
        return data[:at] + rng.choice(ODD) + data[end:]
    return data + rng.choice((b"\0", b"\n", b"\xc0", data[:at], rng.randbytes(9)))


TOKENS = (
    *(b"", b"\0", b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"#", b"../..", b"%00", b"\x1b[2J", b"\xff", b"\xef\xbb\xbf"),
    *(
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[[",
        b"]]",
        b",",
        b":",
        b"=",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"====",
        b"A" * 70,
    ),
    *(b"null", b"true", b"NaN", b"-1", b"1e999", b"9" * 5000, b"0x10", b"1.0", b"18446744073709551616"),
    *("\u2014 ".encode(), "\u2028".encode(), "\u202e".encode(), b"[" * 2000, b'{"a":' * 2000),
)


def mutate_text(data: bytes, rng: Random) -> bytes:
    """Alter lines, or put odd pieces between and over the words of a text."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines, way = data.split(b"\n"), rng.randrange(8)
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        if way == 0:
            lines.insert(other, lines[at])
        elif way == 1 and len(lines) > 1:
            del lines[at]
        elif way == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif way == 3:
            lines[at:at] = [lines[at]] * rng.choice((2, 2, 20, 1000 if rng.random() < 0.01 else 2))
        elif way in (4, 5):
            start = rng.randrange(len(lines[at]) + 1)
            end = min(len(lines[at]), start + rng.choice((0, 0, 1, 4)))
            lines[at] = lines[at][:start] + rng.choice(TOKENS) + lines[at][end:]
        else:
            lines[at] = mutate_bytes(lines[at], rng)
        data = b"\n".join(lines)[:MAX_INPUT_BYTES]
    return data
