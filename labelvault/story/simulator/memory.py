"""What a capture of a process would hold, without one: all bytes that its objects reach."""

import gc
import sys
from collections.abc import Iterable, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any, Final

_LEAST_BYTES: Final = 16
_ROOM: Final = "labelvault.contractor"
_STORY: Final = "labelvault.story"


def bytes_held(roots: Iterable[object]) -> set[bytes]:
    """Return all byte strings and texts that objects reach, of 16 bytes or more.

    Not what belongs to the program and not to the actor: modules, classes, what functions see of their module, and
    this story itself. Objects of other languages (keys that a library has expanded, SQLite's pages) are not looked
    into.
    """
    # By identity, and kept alive, so that no other object gets the same.
    waiting, seen, found = list(roots), dict[int, object](), set[bytes]()
    while waiting:
        each = waiting.pop()
        if isinstance(each, bytes | bytearray | str):
            data = each.encode(errors="surrogatepass") if isinstance(each, str) else bytes(each)
            if len(data) >= _LEAST_BYTES:
                found.add(data)
        elif id(each) not in seen:
            seen[id(each)] = each
            waiting += _reached(each)
    return found


def _reached(each: object) -> list[Any]:
    if isinstance(each, type | ModuleType | FrameType) or type(each).__module__.startswith(_STORY):
        return []
    if isinstance(each, FunctionType) and each.__module__.startswith(_STORY):
        return []
    if isinstance(each, FunctionType):
        return [each.__closure__, each.__defaults__, each.__kwdefaults__]
    return gc.get_referents(each)


def frames_of_contractors() -> Iterator[object]:
    """Yield the local variables of a contractor's functions that are running now, below the caller."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_ROOM):
            yield from frame.f_locals.values()
        frame = frame.f_back
