"""msgpack without its compiled half."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import msgpack.fallback
import pytest


@contextmanager
def pure_python() -> Iterator[None]:
    """Let the codec use msgpack's pure-Python unpacker and packer."""

    def unpackb(data: bytes, **options: Any) -> Any:
        unpacker = msgpack.fallback.Unpacker(None, max_buffer_size=len(data), **options)
        unpacker.feed(data)
        return unpacker._unpack()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msgpack, "unpackb", unpackb)
        patch.setattr(msgpack, "packb", lambda value, **options: msgpack.fallback.Packer(**options).pack(value))
        yield
