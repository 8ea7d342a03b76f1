"""The process that opens one task: it alone holds one-time key, DEKs and plaintext, and ends when the task closes.

It speaks with its parent over one Unix socket, length-prefixed canonical msgpack both ways. Plaintext never goes to the
parent: it goes to a descriptor that the parent hands over, or into a directory.
"""

import os
import select
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from labelvault import errors
from labelvault.contractor.clock import Deadline
from labelvault.contractor.harden import Step, facts, harden
from labelvault.contractor.membership import Membership, read_certificate, read_invite
from labelvault.contractor.onetime import NextKey
from labelvault.contractor.opening import lease_outer, open_lease, read_ahead_lease, read_lease
from labelvault.contractor.output import OutputDirectory
from labelvault.contractor.parts import LargeItems, Opened, OpenedAs
from labelvault.contractor.show import DEFAULT_WIDTH, render
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    FormatError,
    LabelVaultError,
    LeaseClosedError,
    LeaseError,
    LeaseExpiredError,
    RelayError,
)
from labelvault.pipeline import ahead
from labelvault.relay import open_relay
from labelvault.relay.local import utc_now
from labelvault.relay.protocol import MAX_PAYLOAD_BYTES, ItemPart, Relay
from labelvault.wire.codec import Value, decode, encode
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.items import LEAF_BYTES, ItemHeader
from labelvault.wire.messages import OpenRequest

MAX_MESSAGE_BYTES: Final = 256 * 1024
_LOOK_S: Final = 1.0


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
    head += _read(channel, 4 - len(head)) if head else b""
    if len(head) < 4:
        raise EOFError
    size = int.from_bytes(head, "big")
    if size > MAX_MESSAGE_BYTES:
        raise FormatError("a message between processes is too long")
    return decode(_read(channel, size), max_bytes=MAX_MESSAGE_BYTES), list(descriptors)


def _read(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Child:
    """One opening, from one-time key to exit."""

    def __init__(
        self,
        channel: socket.socket,
        clock: Callable[[], datetime] = utc_now,
        at_end: Callable[[], None] | None = None,
        hardening: tuple[Step, ...] = (),
    ) -> None:
        """Make the one-time key, and tell its public half, and what came of hardening this process."""
        self._channel = channel
        self._clock = clock
        self._at_end = at_end
        self._key = NextKey()
        self._opened: Opened | None = None
        self._deadline: Deadline | None = None
        self._prekey: OneTimeKey | None = None
        send(channel, {"one_time_key": self._key.make(), "hardening": facts(hardening)})

    def run(self) -> None:
        """Serve the parent until the task closes, the lease ends, or the parent is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while True:
                # At the lease's end this process exits, whatever the parent does. It looks every second, because a
                # waiting selector notices neither a suspended machine nor a wall clock that jumps ahead.
                timeout = None if self._deadline is None else min(self._deadline.remaining_s(), _LOOK_S)
                if not selector.select(timeout):
                    if self._deadline is not None and self._deadline.remaining_s() <= 0:
                        return
                    continue
                try:
                    message, descriptors = receive(self._channel)
                except EOFError:
                    return
                if not self._serve(message, descriptors):
                    return

    def _serve(self, message: Any, descriptors: list[int]) -> bool:
        """Do one command; return whether to go on."""
        command = message.get("command") if isinstance(message, dict) else None
        try:
            if command == "open":
                files, known = self._open(message)
                try:
                    send(self._channel, {"opened": [[device, inode] for device, inode in files], **asdict(known)})
                except OSError:
                    # Nobody will know of these files.
                    if message["folder"] is not None:
                        with OutputDirectory.resume(Path(message["folder"]), frozenset(files)) as directory:
                            directory.erase()
                    raise
                # Written to disk, keys and plaintext have no more business in memory.
                return message["folder"] is None
            if command == "prekey":
                self._prekey = OneTimeKey(SecretBytes(message["seed"]))
                send(self._channel, {"prekey": True})
                return True
            if command == "prepare":
                if self._opened is None:
                    raise FormatError("nothing is open to renew")
                send(self._channel, {"one_time_key": self._key.make()})
                return True
            if command == "renew":
                newer, known = self._renew(message)
                send(self._channel, {"newer": newer, **asdict(known)})
                return True
            if command == "show":
                self._show(descriptors, message.get("width", DEFAULT_WIDTH), bool(message.get("colour")))
                send(self._channel, {"shown": True})
                return True
            if command == "close":
                return False
            raise FormatError("not a command")
        except (LabelVaultError, OSError) as error:
            # Nobody may be left to hear it.
            with suppress(OSError):
                send(self._channel, {"error": _kind(error), "message": str(error)[:2000]})
            # What was asked for is opened or nothing is: the lease that a renewal replaced has lost its slot.
            return command not in ("open", "renew")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _open(self, message: dict[str, Any]) -> tuple[list[tuple[int, int]], OpenedAs]:
        if self._deadline is not None:
            raise FormatError("this process has opened its task already")
        key, asked_s = self._key.take()
        if message.get("ahead"):
            if self._prekey is None:
                raise FormatError("this process was given no prekey")
            (key, self._prekey), membership, now = (self._prekey, None), _membership(message), self._clock()
            item, contractor = lease_outer(message["lease"]).item, message["contractor"]
            lease, outer = read_ahead_lease(message["lease"], key.public_key, item, contractor, membership, now)
            self._deadline = Deadline.since_issue(outer, now, self._clock)
        else:
            membership, request = _requested(message)
            lease, outer = read_lease(message["lease"], request, membership, self._clock())
            self._deadline = Deadline(outer, asked_s, self._clock)
        if message["folder"] is None and self._at_end is not None:
            # A thread: this one may hang in a read from the vault, or in a write to someone who does not read.
            threading.Thread(target=_wait_for, args=(self._deadline, self._at_end), daemon=True).start()
        relay = open_relay(membership.vault, token=message.get("token"))
        try:
            large = large_items(relay, partial(self._check_wanted, self._deadline))
            opened = open_lease(lease, outer, key, membership, reader(relay), large)
            if message["folder"] is not None:
                return write_parts(Path(message["folder"]), opened), opened.known
        finally:
            relay.close()
        self._opened = opened
        return [], opened.known

    def _renew(self, message: dict[str, Any]) -> tuple[bool, OpenedAs]:
        """Go over to the lease that renews this opening; return whether it brought other content, and its facts."""
        if self._opened is None or self._deadline is None:
            raise FormatError("nothing is open to renew")
        key, asked_s = self._key.take()
        membership, request = _requested(message)
        lease, outer = read_lease(message["lease"], request, membership, self._clock())
        if outer.item != self._opened.outer.item:
            raise LeaseError("the lease is for another task than the one that is open")
        relay = open_relay(membership.vault, token=message.get("token"))
        try:
            # Until it has opened, the old lease's end stands.
            large = large_items(relay, partial(self._check_wanted, self._deadline))
            opened = open_lease(lease, outer, key, membership, reader(relay), large, before=self._opened)
        finally:
            relay.close()
        newer = opened.named != self._opened.named
        if newer:
            self._opened.close()
        self._opened = opened
        self._deadline.renew(outer, asked_s)
        return newer, opened.known

    def _check_wanted(self, deadline: Deadline) -> None:
        """Stop the writing of a large item when the lease ends, or the parent wants no more or is gone.

        Raises:
            LeaseExpiredError, LeaseClosedError: so it is.
        """
        check_live(deadline)
        if select.select([self._channel], [], [], 0)[0]:
            raise LeaseClosedError("the opening was ended while its files were written")

    def _show(self, descriptors: list[int], width: int, colour: bool) -> None:
        if self._opened is None or len(descriptors) != 1:
            raise FormatError("nothing to show, or nowhere")
        with os.fdopen(os.dup(descriptors[0]), "w", encoding="utf-8", errors="replace") as target:
            target.write(render(self._opened, width, colour=colour))


def _wait_for(deadline: Deadline, at_end: Callable[[], None]) -> None:
    while (left := deadline.remaining_s()) > 0:
        time.sleep(min(left, _LOOK_S))
    at_end()


def _membership(message: dict[str, Any]) -> Membership:
    contractor, identity_key = message["contractor"], message["identity_key"]
    membership = read_invite(message["invite"], identity_key, contractor)
    certificate = read_certificate(message["certificate"], identity_key)
    return Membership(identity_key, membership.invite, certificate, membership.grant)


def _requested(message: dict[str, Any]) -> tuple[Membership, Signed[OpenRequest]]:
    return _membership(message), open_frame(message["request"], OpenRequest, message["contractor"])


def reader(relay: Relay) -> Callable[[ItemHeader], ItemPart]:
    """Return how `open_lease` fetches items through a relay: most in one call, the largest their first leaf only."""

    def read(header: ItemHeader) -> ItemPart:
        first = relay.read_item(header.client, header.item, header.version, 0, LEAF_BYTES)
        if first.size == len(first.data) or first.size > MAX_PAYLOAD_BYTES:
            return first
        rest = relay.read_item(header.client, header.item, header.version, len(first.data))
        return ItemPart(first.header, first.size, first.data + rest.data)

    return read


def large_items(relay: Relay, guard: Callable[[], None]) -> LargeItems:
    """Return how `open_lease` reads ranges through a relay.

    Args:
        relay: stays open as long as anything is read.
        guard: raises once the opening is over.
    """
    return LargeItems(
        lambda header: relay.read_leaves(header.client, header.item, header.version),
        lambda header, offset, length: relay.read_item(header.client, header.item, header.version, offset, length).data,
        guard,
    )


def check_live(deadline: Deadline) -> None:
    """Refuse to go on after the lease's end.

    Raises:
        LeaseExpiredError: it has come.
    """
    if deadline.remaining_s() <= 0:
        raise LeaseExpiredError("the lease has expired")


def write_parts(folder: Path, opened: Opened) -> list[tuple[int, int]]:
    """Write a task and what it requires into a new directory; return (device, inode) of each file.

    Raises:
        OutputError: it can't be written there; nothing is left behind.
    """
    with OutputDirectory.create(folder) as directory:
        try:
            for part in (opened.task, *opened.required):
                with ahead(part.pieces()) as pieces:
                    directory.write_pieces(part.name, pieces)
            return list(directory.inodes())
        except BaseException:
            directory.erase()
            raise


def _kind(error: Exception) -> str:
    name = type(error).__name__
    return name if isinstance(error, LabelVaultError) and hasattr(errors, name) else RelayError.__name__


def main() -> None:
    """Run on the socket whose descriptor is the first argument; a second one, `readable`, leaves memory readable."""
    hardening = harden(readable="readable" in sys.argv[2:])
    channel = socket.socket(fileno=int(sys.argv[1]))
    Child(channel, at_end=lambda: os._exit(0), hardening=hardening).run()


if __name__ == "__main__":
    main()
