"""The child's own loop, in this process and with a clock of the test's: commands, errors, and its end."""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labelvault.contractor.channel import MAX_MESSAGE_BYTES, receive, send
from labelvault.contractor.child import Child
from labelvault.contractor.fetching import hand_on
from labelvault.contractor.opening import make_request
from labelvault.errors import FormatError
from labelvault.wire.frame import Signed
from labelvault.wire.messages import OpenRequest
from tests.world import DAY, GUIDELINE, TASK, World, identity


class Loop:
    """A child's loop in a thread, and the parent's end of its socket."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.me, self.joined = world.worker()
        self.channel, self._theirs = socket.socketpair()
        self.channel.settimeout(60)
        self._child = Child(self._theirs, world.clock)
        self._thread = threading.Thread(target=self._child.run)
        self._thread.start()
        first = self.call({"command": "begin", "readable": False, "writes": False})
        assert first["hardening"] == []
        self.key: bytes = first["one_time_key"]

    def close(self) -> None:
        self.channel.close()
        assert self.ended()
        self._theirs.close()

    def ended(self, timeout_s: float = 60) -> bool:
        """Whether the loop ends by itself in that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def call(self, message: dict[str, Any], *descriptors: int) -> Any:
        send(self.channel, message, descriptors)
        answer, _ = receive(self.channel)
        while "fetch" in answer:
            hand_on(self.channel, answer, self.world.relay())
            answer, _ = receive(self.channel)
        return answer

    def request(self, name: str = "one") -> Signed[OpenRequest]:
        return make_request(self.joined, identity(self.me), self.world.task(name), self.key, self.world.clock())

    def command(self, request: Signed[OpenRequest], lease: bytes | None) -> dict[str, Any]:
        assert lease is not None
        return {
            "command": "open",
            "contractor": self.me.public_key,
            "identity_key": self.joined.identity_key,
            "invite": self.joined.invite.data,
            "certificate": self.joined.certificate.data,
            "request": request.data,
            "lease": lease,
            "folder": None,
        }

    def open(self) -> None:
        request = self.request()
        answer = self.world.issuer().handle(request.data)
        told = self.call(self.command(request, answer))
        # Where the ledger records it: ids and hashes, and nothing that the process holds.
        assert told.keys() == {"opened", "version", "epoch", "index", "entry_hash"}
        assert (told["opened"], told["version"]) == ([], 1)


@pytest.fixture
def loop(world: World) -> Iterator[Loop]:
    """A child that has made its key and waits."""
    made = Loop(world)
    yield made
    made.close()


def test_it_opens_once_shows_to_a_descriptor_and_ends_on_close(loop: Loop) -> None:
    """Plaintext goes to the descriptor; nothing of it comes over the socket. A second open is refused and ends it."""
    loop.open()
    reader, writer = os.pipe()
    assert loop.call({"command": "show"}, writer) == {"shown": True}
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    assert TASK in text
    assert GUIDELINE in text
    for wrong in ({"command": "show"}, {"command": "dance"}, {}, {"command": 3}):
        answer = loop.call(wrong)
        assert answer["error"] == "FormatError"
        assert TASK not in str(answer)
    send(loop.channel, {"command": "close"})
    assert loop.ended()


def test_a_key_opens_one_lease_only(loop: Loop) -> None:
    """A second lease to the same child is refused: its key is gone."""
    loop.open()
    request = loop.request("two")
    issuer = loop.world.issuer()
    answer = loop.call(loop.command(request, issuer.handle(request.data)))
    assert answer["error"] == "FormatError"
    assert loop.ended()


def test_it_checks_the_lease_by_itself(loop: Loop) -> None:
    """A lease of another request, sent by a confused or stolen parent, is refused; then the child ends."""
    first, second = loop.request("one"), loop.request("two")
    lease = loop.world.issuer().handle(first.data)
    answer = loop.call(loop.command(second, lease))
    assert answer["error"] == "LeaseError"
    assert loop.ended()


def test_R4_it_ends_when_the_wall_clock_jumps_past_the_leases_end(loop: Loop) -> None:
    """It doesn't sleep until the end that it computed once: within a second or so it looks again."""
    loop.open()
    assert not loop.ended(0.2)
    loop.world.clock.advance(DAY)
    assert loop.ended()


def test_it_ends_with_its_parent(loop: Loop) -> None:
    """The other end closed, it goes."""
    loop.open()
    loop.channel.close()
    assert loop.ended()


def test_messages_between_the_processes_are_bounded() -> None:
    """A length that claims more than the bound is refused before anything is read; a cut message is the end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
        with pytest.raises(FormatError):
            receive(theirs)
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall((10).to_bytes(4, "big") + b"123")
        ours.close()
        with pytest.raises(EOFError):
            receive(theirs)
