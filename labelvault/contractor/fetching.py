"""How sealed items get from the vault to where they are opened: straight, or through the parent of an opening process.

That process has no way to a vault. It asks its parent, who hands on what the vault gave, and trusts that no more than a
vault.
"""

import select
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from labelvault.contractor.channel import error_facts, rebuilt, receive, receive_bytes, send
from labelvault.contractor.clock import Deadline
from labelvault.contractor.parts import LargeItems
from labelvault.crypto.hashing import HASH_BYTES
from labelvault.errors import FormatError, LabelVaultError, LeaseClosedError, LeaseExpiredError
from labelvault.relay.protocol import MAX_PAYLOAD_BYTES, ItemPart
from labelvault.wire.codec import Value
from labelvault.wire.items import LEAF_BYTES, ItemHeader

_ENDED: Final = "the opening was ended while its items were fetched"


class Items(Protocol):
    """What of a `Relay` an opening needs."""

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """See `Relay`."""
        ...

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """See `Relay`."""
        ...


class ParentsItems:
    """An opening process's `Items`: one question at a time to its parent, whichever thread asks."""

    def __init__(self, channel: socket.socket) -> None:
        """Ask over the channel that commands come by, while one of them is being done."""
        self._channel = channel
        self._asking = threading.Lock()

    def check_wanted(self) -> None:
        """Look whether the parent still wants what it asked for.

        Raises:
            LeaseClosedError: it said something else meanwhile, or is gone.
        """
        # Where another thread waits for an answer, that one is told.
        if self._asking.acquire(blocking=False):
            try:
                if select.select([self._channel], [], [], 0)[0]:
                    raise LeaseClosedError(_ENDED)
            finally:
                self._asking.release()

    def read_item(
        self, client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None
    ) -> ItemPart:
        """See `Relay`.

        Raises:
            LeaseClosedError: the parent wants no more, or is gone.
        """
        asked = {"fetch": "item", "client": client, "item": item, "version": version, "offset": offset}
        answer, data = self._asked({**asked, "length": length})
        return ItemPart(answer["header"], answer["size"], data)

    def read_leaves(self, client: bytes, item: bytes, version: int) -> tuple[bytes, ...]:
        """See `Relay`; raises as `read_item`."""
        _, data = self._asked({"fetch": "leaves", "client": client, "item": item, "version": version})
        return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))

    def _asked(self, question: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        with self._asking:
            try:
                send(self._channel, question)
                answer, _ = receive(self._channel)
                if "error" in answer:
                    raise rebuilt(answer)
                if "bytes" not in answer:
                    raise LeaseClosedError(_ENDED)
                if answer["bytes"] > MAX_PAYLOAD_BYTES:
                    raise FormatError("more than any item has")
                return answer, receive_bytes(self._channel, answer["bytes"])
            except (EOFError, OSError) as error:
                raise LeaseClosedError(_ENDED) from error


def hand_on(channel: socket.socket, question: dict[str, Any], items: Items) -> None:
    """Answer one question of `ParentsItems`.

    Args:
        channel: to the opening process.
        question: a message with `fetch` in it.
        items: the way to the vault. What it raises is told to the process, which knows what to make of it.

    Raises:
        OSError: the process is gone.
    """
    answer: dict[str, Value] = {}
    try:
        key = question["client"], question["item"], question["version"]
        if question["fetch"] == "leaves":
            data = b"".join(items.read_leaves(*key))
        else:
            part = items.read_item(*key, question["offset"], question["length"])
            answer, data = {"header": part.header, "size": part.size}, part.data
    except LabelVaultError as error:
        send(channel, error_facts(error))
        return
    send(channel, {**answer, "bytes": len(data)})
    channel.sendall(data)


def reader(items: Items) -> Callable[[ItemHeader], ItemPart]:
    """Return how `open_lease` fetches items: most in one call, the largest their first leaf only."""

    def read(header: ItemHeader) -> ItemPart:
        first = items.read_item(header.client, header.item, header.version, 0, LEAF_BYTES)
        if first.size == len(first.data) or first.size > MAX_PAYLOAD_BYTES:
            return first
        rest = items.read_item(header.client, header.item, header.version, len(first.data))
        return ItemPart(first.header, first.size, first.data + rest.data)

    return read


def large_items(items: Items, guard: Callable[[], None]) -> LargeItems:
    """Return how `open_lease` reads ranges.

    Args:
        items: stays open as long as anything is read.
        guard: raises once the opening is over.
    """
    return LargeItems(
        lambda header: items.read_leaves(header.client, header.item, header.version),
        lambda header, offset, length: items.read_item(header.client, header.item, header.version, offset, length).data,
        guard,
    )


def check_live(deadline: Deadline) -> None:
    """Refuse to go on after the lease's end.

    Raises:
        LeaseExpiredError: it has come.
    """
    if deadline.remaining_s() <= 0:
        raise LeaseExpiredError("the lease has expired")
