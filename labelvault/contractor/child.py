"""The process that opens one task: it alone holds one-time key, DEKs and plaintext, and ends when the task closes.

All that it has is one Unix socket, to its parent: commands come by it, and sealed items. Plaintext never goes to the
parent: it goes to a descriptor that the parent hands over, or into a directory. It imports no more than this takes, and
nothing once it holds a key.
"""

import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labelvault.contractor.channel import error_facts, receive, send
from labelvault.contractor.clock import Deadline
from labelvault.contractor.display import DEFAULT_WIDTH
from labelvault.contractor.fetching import ParentsItems, check_live, large_items, reader
from labelvault.contractor.harden import confine_to, harden
from labelvault.contractor.membership import Membership, read_certificate, read_invite
from labelvault.contractor.onetime import NextKey
from labelvault.contractor.opening import lease_outer, open_lease, read_ahead_lease, read_lease
from labelvault.contractor.output import OutputDirectory, filled
from labelvault.contractor.parts import Opened, OpenedAs
from labelvault.contractor.show import render
from labelvault.contractor.steps import facts
from labelvault.crypto.aead import KEY_BYTES, open_payload, seal_payload
from labelvault.crypto.hpke import OneTimeKey, seal
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import FormatError, LabelVaultError, LeaseError
from labelvault.pipeline import ahead
from labelvault.relay.local import utc_now
from labelvault.wire.codec import Value
from labelvault.wire.frame import Signed, open_frame
from labelvault.wire.messages import Lease, LeaseOuter, OpenRequest

_LOOK_S: Final = 1.0


class Child:
    """One opening, from one-time key to exit."""

    def __init__(
        self,
        channel: socket.socket,
        clock: Callable[[], datetime] = utc_now,
        at_end: Callable[[], None] | None = None,
        *,
        hardens: bool = False,
    ) -> None:
        """Wait for commands.

        Args:
            channel: to the parent.
            clock: the wall clock, aware UTC.
            at_end: called at the lease's end, whatever else goes on.
            hardens: harden this process before it has a key.
        """
        self._channel = channel
        self._clock = clock
        self._at_end = at_end
        self._hardens = hardens
        self._items = ParentsItems(channel)
        self._key = NextKey()
        self._begun = False
        self._opened: Opened | None = None
        self._deadline: Deadline | None = None
        self._prekey: OneTimeKey | None = None

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
            if command == "begin":
                self._begin(message)
            elif command == "close":
                return False
            elif not self._begun:
                raise FormatError("this process has not begun")
            elif command == "open":
                self._open(message)
                # Written to disk, keys and plaintext have no more business in memory.
                return message["folder"] is None
            elif command == "prekey":
                self._prekey = OneTimeKey(SecretBytes(message["seed"]))
                send(self._channel, {"prekey": True})
            elif command == "prepare":
                if self._opened is None:
                    raise FormatError("nothing is open to renew")
                send(self._channel, {"one_time_key": self._key.make()})
            elif command == "renew":
                newer, known = self._renew(message)
                send(self._channel, {"newer": newer, **asdict(known)})
            elif command == "show":
                self._show(descriptors, message.get("width", DEFAULT_WIDTH), bool(message.get("colour")))
                send(self._channel, {"shown": True})
            else:
                raise FormatError("not a command")
        except (LabelVaultError, OSError) as error:
            # Nobody may be left to hear it.
            with suppress(OSError):
                send(self._channel, error_facts(error))
            # What was asked for is opened or nothing is: the lease that a renewal replaced has lost its slot.
            return command not in ("open", "renew")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _begin(self, message: dict[str, Any]) -> None:
        """Harden this process, make the one-time key, and tell its public half, and what came of hardening."""
        if self._begun:
            raise FormatError("this process has begun already")
        steps = harden(readable=message["readable"], writes=message["writes"]) if self._hardens else ()
        self._begun = True
        send(self._channel, {"one_time_key": self._key.make(), "hardening": facts(steps)})

    def _open(self, message: dict[str, Any]) -> None:
        """Open the task, and say what may be known of it; what is written to a folder is erased if nobody hears it."""
        if self._deadline is not None:
            raise FormatError("this process has opened its task already")
        lease, outer, membership, key = self._leased(message)
        large = large_items(self._items, self._check_wanted)
        if message["folder"] is None:
            if self._at_end is not None:
                # A thread: this one may hang in a write to someone who does not read.
                threading.Thread(target=_wait_for, args=(self._deadline, self._at_end), daemon=True).start()
            self._opened = open_lease(lease, outer, key, membership, reader(self._items), large)
            send(self._channel, {"opened": [], **asdict(self._opened.known)})
            return
        with filled(Path(message["folder"])) as directory:
            if self._hardens:
                confine_to(directory)
            opened = open_lease(lease, outer, key, membership, reader(self._items), large)
            write_parts(directory, opened)
            files: list[Value] = [[device, inode] for device, inode in directory.inodes()]
            send(self._channel, {"opened": files, **asdict(opened.known)})

    def _leased(self, message: dict[str, Any]) -> tuple[Signed[Lease], LeaseOuter, Membership, OneTimeKey]:
        """Verify the lease that came, and begin to count its time."""
        key, asked_s = self._key.take()
        if not message.get("ahead"):
            membership, request = _requested(message)
            lease, outer = read_lease(message["lease"], request, membership, self._clock())
            self._deadline = Deadline(outer, asked_s, self._clock)
            return lease, outer, membership, key
        if self._prekey is None:
            raise FormatError("this process was given no prekey")
        (key, self._prekey), membership, now = (self._prekey, None), _membership(message), self._clock()
        item, contractor = lease_outer(message["lease"]).item, message["contractor"]
        lease, outer = read_ahead_lease(message["lease"], key.public_key, item, contractor, membership, now)
        self._deadline = Deadline.since_issue(outer, now, self._clock)
        return lease, outer, membership, key

    def _renew(self, message: dict[str, Any]) -> tuple[bool, OpenedAs]:
        """Go over to the lease that renews this opening; return whether it brought other content, and its facts."""
        if self._opened is None or self._deadline is None:
            raise FormatError("nothing is open to renew")
        key, asked_s = self._key.take()
        membership, request = _requested(message)
        lease, outer = read_lease(message["lease"], request, membership, self._clock())
        if outer.item != self._opened.outer.item:
            raise LeaseError("the lease is for another task than the one that is open")
        # Until it has opened, the old lease's end stands.
        large = large_items(self._items, self._check_wanted)
        opened = open_lease(lease, outer, key, membership, reader(self._items), large, before=self._opened)
        newer = opened.named != self._opened.named
        if newer:
            self._opened.close()
        self._opened = opened
        self._deadline.renew(outer, asked_s)
        return newer, opened.known

    def _check_wanted(self) -> None:
        """Stop the writing of a large item when the lease ends, or the parent wants no more or is gone.

        Raises:
            LeaseExpiredError, LeaseClosedError: so it is.
        """
        if self._deadline is not None:
            check_live(self._deadline)
        self._items.check_wanted()

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


def write_parts(directory: OutputDirectory, opened: Opened) -> None:
    """Write a task and what it requires into a directory.

    Raises:
        OutputError: it can't be written there; what was written stays until it is erased.
    """
    for part in (opened.task, *opened.required):
        with ahead(part.pieces()) as pieces:
            directory.write_pieces(part.name, pieces)


def _rehearse() -> None:
    """Open something that is no secret: libraries load files at their first use, and later none is in reach."""
    key, dek = OneTimeKey.generate(), SecretBytes(random_bytes(KEY_BYTES))
    key.open(seal(key.public_key, b"", b""), b"")
    open_payload(dek, seal_payload(dek, b"", b""), b"")


def main() -> None:
    """Run on the socket whose descriptor is the first argument, and end without looking back."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _rehearse()
    Child(channel, at_end=lambda: os._exit(0), hardens=True).run()
    # Nothing here is worth an orderly end, and a shorter one holds the key for less time.
    os._exit(0)


if __name__ == "__main__":
    main()
