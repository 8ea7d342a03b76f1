"""Several frames in one file, to be carried by hand: prekeys one way, leases and a status the other."""

from collections.abc import Iterable
from typing import Final

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_BYTES

FRAMES_MARK: Final = b"labelvault frames 1\n"
MAX_FRAMES: Final = 100_000
MAX_FRAMES_FILE_BYTES: Final = 256 * 1024 * 1024


def pack_frames(frames: Iterable[bytes]) -> bytes:
    """Return a file's bytes: a mark, then each frame behind its length (u32, big-endian).

    Raises:
        FormatError: no frame, too many, or one of a size that none has.
    """
    parts = [FRAMES_MARK]
    for frame in frames:
        if not 1 <= len(frame) <= MAX_BYTES:
            raise FormatError("a frame of a size that none has")
        parts += (len(frame).to_bytes(4, "big"), frame)
    if not 3 <= len(parts) <= 1 + 2 * MAX_FRAMES:
        raise FormatError(f"a file of frames has 1 to {MAX_FRAMES} of them")
    return b"".join(parts)


def unpack_frames(data: bytes) -> tuple[bytes, ...]:
    """Return the frames of a file; none of them is parsed or believed.

    Raises:
        FormatError: not such a file, cut short, or out of bounds.
    """
    if not data.startswith(FRAMES_MARK) or len(data) > MAX_FRAMES_FILE_BYTES:
        raise FormatError("not a file of LabelVault messages")
    frames: list[bytes] = []
    at = len(FRAMES_MARK)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        end = at + 4 + size
        if not 1 <= size <= MAX_BYTES or end > len(data) or len(frames) == MAX_FRAMES:
            raise FormatError("a file of LabelVault messages that is cut short or out of bounds")
        frames.append(data[at + 4 : end])
        at = end
    if not frames:
        raise FormatError("a file of LabelVault messages with nothing in it")
    return tuple(frames)
