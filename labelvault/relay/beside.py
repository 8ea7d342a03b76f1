"""Storing batches at the vault in a process of its own, so that the next one is sealed meanwhile.

Threads would not do: each of SQLite's many short steps gives up the interpreter's lock, and waits to get it back. What
goes to the process is what goes to the vault: no key and no plaintext gets there.
"""

import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import labelvault
from labelvault import errors
from labelvault.crypto.hashing import HASH_BYTES
from labelvault.errors import FormatError, LabelVaultError, RelayError
from labelvault.relay.protocol import StoredItem
from labelvault.wire.codec import decode, encode

SIZE_BYTES: Final = 4
MAX_ANSWER_BYTES: Final = 16 * 1024
_SIZES: Final = struct.Struct(">HHII")
_KEPT_ENVIRONMENT: Final = ("SYSTEMROOT",)
_END_S: Final = 10.0
# The package's own folder is put on the path, since -I drops PYTHONPATH and the working directory.
_BOOT: Final = "import sys; sys.path.insert(0, sys.argv.pop()); from labelvault.relay.beside_child import main; main()"


class Beside:
    """Puts one batch at a time, in a process that ends with `close`, or when this one does."""

    def __init__(self, address: str, *, token: str | None = None) -> None:
        """Start the process. What is wrong with the address is told by the first `settle`.

        Args:
            address: as for `labelvault.relay.open_relay`.
            token: likewise; it goes through a pipe.
        """
        package = str(Path(labelvault.__file__).parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, address, package],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            # Ctrl-C is for the parent, which ends it.
            start_new_session=True,
        )
        self._to = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._send(sized((token or "").encode()))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended: 0 with its input; None while it runs."""
        return self._process.poll()

    def begin(self, items: Sequence[StoredItem]) -> None:
        """Hand a batch over; `settle` says what became of it.

        Args:
            items: as for `Relay.put_items`.

        Raises:
            RelayError: the process has ended.
        """
        self._send(len(items).to_bytes(SIZE_BYTES, "big"))
        for item in items:
            self._send(_head(item))
            self._send(item.payload)
        self._flush()

    def settle(self) -> None:
        """Wait until the batch is stored.

        Raises:
            ConflictError, FormatError, StoreError, RelayError: as `Relay.put_items`.
        """
        head = self._answers.read(SIZE_BYTES)
        data = (
            self._answers.read(min(int.from_bytes(head, "big"), MAX_ANSWER_BYTES)) if len(head) == SIZE_BYTES else b""
        )
        try:
            answer = decode(data, max_bytes=MAX_ANSWER_BYTES)
        except FormatError:
            raise self._ended() from None
        if isinstance(answer, dict) and "kind" in answer:
            raise _rebuilt(answer)

    def close(self) -> None:
        """End the process; a batch that is under way is stored or not."""
        # Where it has ended already, what was still to be sent is of no use.
        with suppress(OSError):
            self._to.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def _send(self, data: bytes) -> None:
        try:
            self._to.write(data)
        except OSError as error:
            raise self._ended() from error

    def _flush(self) -> None:
        try:
            self._to.flush()
        except OSError as error:
            raise self._ended() from error

    def _ended(self) -> RelayError:
        return RelayError("the process that stores at the vault has ended", next_step="Run it again.")


def _head(item: StoredItem) -> bytes:
    """Return what goes before a payload. The sizes need no bounds: what is wrong with an item, its store says."""
    parts = (item.header, item.queue or b"", *item.leaves)
    sizes = _SIZES.pack(len(item.header), len(item.queue or b""), len(item.leaves), len(item.payload))
    return b"".join((sizes, *parts))


def read_item(source: BinaryIO) -> StoredItem:
    """Read an item that `Beside` sent.

    Raises:
        EOFError: the other side is gone.
    """
    header, queue, leaves, payload = _SIZES.unpack(exactly(source, _SIZES.size))
    head = exactly(source, header + queue + leaves * HASH_BYTES)
    found = tuple(head[at : at + HASH_BYTES] for at in range(header + queue, len(head), HASH_BYTES))
    return StoredItem(head[:header], exactly(source, payload), found, head[header : header + queue] or None)


def exactly(source: BinaryIO, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        EOFError: the other side is gone.
    """
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data


def sized(data: bytes) -> bytes:
    """Return data with its length, u32, before it."""
    return len(data).to_bytes(SIZE_BYTES, "big") + data


def answer_of(error: LabelVaultError | None) -> bytes:
    """Return the answer to a batch: nothing, or what was raised."""
    if error is None:
        return sized(encode({}))
    # A path in it may be no text.
    text = str(error)[:4096].encode("utf-8", "replace").decode("utf-8")
    return sized(encode({"kind": type(error).__name__, "text": text, "next_step": error.next_step}))


def _rebuilt(answer: Mapping[str, object]) -> LabelVaultError:
    kind = getattr(errors, str(answer["kind"]), None)
    if kind not in (errors.ConflictError, errors.FormatError, errors.StoreError):
        kind = RelayError
    next_step = answer.get("next_step")
    error: LabelVaultError = kind(str(answer.get("text")), next_step=next_step if isinstance(next_step, str) else None)
    return error
