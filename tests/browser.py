"""Pages in a browser without a window, and the colours of what it shows."""

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Open a page in a browser without a window, with a home of its own."""
    assert CHROMIUM
    fixed = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions")
    return subprocess.run(
        [CHROMIUM, *fixed, *quiet, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC"},
    )


def pixels(file: Path) -> dict[tuple[int, int, int], int]:
    """Count a PNG's colours (8 bits a channel, not interlaced, as browsers write them)."""
    data = file.read_bytes()
    place, packed, head = 8, b"", b""
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        place += 12 + size
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    assert (depth, interlaced) == (8, 0)
    step = {2: 3, 6: 4}[colour]
    flat = zlib.decompress(packed)
    before = bytearray(width * step)
    counts: dict[tuple[int, int, int], int] = {}
    for row in range(height):
        start = row * (width * step + 1)
        filtered, line = flat[start], bytearray(flat[start + 1 : start + 1 + width * step])
        for at in range(len(line)):
            left = line[at - step] if at >= step else 0
            up, corner = before[at], before[at - step] if at >= step else 0
            line[at] = (line[at] + (0, left, up, (left + up) // 2, nearest(left, up, corner))[filtered]) & 0xFF
        for at in range(0, len(line), step):
            name = (line[at], line[at + 1], line[at + 2])
            counts[name] = counts.get(name, 0) + 1
        before = line
    return counts


def nearest(left: int, up: int, corner: int) -> int:
    """PNG's fourth filter, by Paeth."""
    return min((left, up, corner), key=lambda each: abs(left + up - corner - each))
