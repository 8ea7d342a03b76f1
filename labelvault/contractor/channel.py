"""What an opening process and its parent say to each other: length-prefixed canonical msgpack, and raw bytes behind it.

A Unix socket, both ways. Descriptors travel beside messages, errors as their kind and what they say.
"""

import socket
from typing import Any, Final

from labelvault import errors
from labelvault.errors import DeniedError, FormatError, LabelVaultError, RelayError
from labelvault.wire.codec import Value, decode, encode

MAX_MESSAGE_BYTES: Final = 256 * 1024


def send(channel: socket.socket, value: Value, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message, with open descriptors if there are any."""
    data = encode(value, max_bytes=MAX_MESSAGE_BYTES)
    data = len(data).to_bytes(4, "big") + data
    if descriptors:
        sent = socket.send_fds(channel, [data], list(descriptors))
        data = data[sent:]
    channel.sendall(data)


def receive(channel: socket.socket) -> tuple[Any, list[int]]:
    """Receive one message, and the descriptors that came with it.

    Raises:
        EOFError: the other side is gone.
        FormatError: not one of our messages.
    """
    head, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
    head += receive_bytes(channel, 4 - len(head)) if head else b""
    if len(head) < 4:
        raise EOFError
    size = int.from_bytes(head, "big")
    if size > MAX_MESSAGE_BYTES:
        raise FormatError("a message between processes is too long")
    return decode(receive_bytes(channel, size), max_bytes=MAX_MESSAGE_BYTES), list(descriptors)


def receive_bytes(channel: socket.socket, size: int) -> bytes:
    """Receive so many bytes that follow a message.

    Raises:
        EOFError: the other side is gone.
    """
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = channel.recv_into(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return bytes(data)


def error_facts(error: Exception) -> dict[str, Value]:
    """Return an error as it is told to the other side, which `rebuilt` undoes; a kind of others is a RelayError."""
    name = type(error).__name__
    kind = name if isinstance(error, LabelVaultError) and hasattr(errors, name) else RelayError.__name__
    return {"error": kind, "message": str(error)[:2000]}


def rebuilt(answer: dict[str, Any]) -> LabelVaultError:
    """Return an error that was told, as its kind; kinds that need more than a message become a RelayError."""
    found, message = getattr(errors, answer["error"], None), answer["message"]
    if isinstance(found, type) and issubclass(found, LabelVaultError) and not issubclass(found, DeniedError):
        try:
            return found(message)
        except TypeError:
            return RelayError(message)
    return RelayError(message)
