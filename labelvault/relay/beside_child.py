"""The process behind `labelvault.relay.beside`: reads batches, stores them, and ends with its input."""

import sys
from typing import BinaryIO

from labelvault.errors import LabelVaultError
from labelvault.relay import open_relay
from labelvault.relay.beside import SIZE_BYTES, answer_of, exactly, read_item
from labelvault.relay.protocol import Relay


def main() -> None:
    """Serve until the input ends."""
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    relay: Relay | None = None
    try:
        token = exactly(source, _size(source)).decode() or None
        while True:
            items = [read_item(source) for _ in range(_size(source))]
            error: LabelVaultError | None = None
            try:
                if relay is None:
                    relay = open_relay(sys.argv[1], token=token)
                relay.put_items(items)
            except LabelVaultError as caught:
                error = caught
            answers.write(answer_of(error))
            answers.flush()
            # It may be 32 MiB, while the next one comes.
            del items
    except EOFError:
        pass
    finally:
        if relay is not None:
            relay.close()


def _size(source: BinaryIO) -> int:
    return int.from_bytes(exactly(source, SIZE_BYTES), "big")
