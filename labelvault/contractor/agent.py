"""The agent: holds one contractor's unlocked identity for a bounded time, in a hardened process, and signs with it.

It never gives a private key out. What it signs it parses first (`agent_rules`). A prekey it hands to an opening process
that it starts itself, and passes on that process's channel. One such process it keeps ready, because starting one takes
long. It answers whoever is the same user, one at a time, and ends when its time is over, after a while without work, or
when told to.
"""

import os
import selectors
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from labelvault.contractor import agent_socket
from labelvault.contractor.agent_rules import check_to_sign
from labelvault.contractor.channel import receive, send
from labelvault.contractor.clock import elapsed_s
from labelvault.contractor.harden import harden
from labelvault.contractor.isolated import Isolated
from labelvault.contractor.steps import Step, facts
from labelvault.contractor.worker import begin_child, start_child
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import FormatError, KeystoreError, LabelVaultError
from labelvault.keys.files import make_private_dir, read_private
from labelvault.keys.identity import UnlockedIdentity, open_identity
from labelvault.keys.prekeys import PrekeyFiles
from labelvault.wire.codec import Value
from labelvault.wire.ids import client_id

_LOOK_S: Final = 1.0
_QUIET_S: Final = 0.1
"""Without a request for so long, it starts the process that is kept ready: not while another one is opening."""
_CLIENT_TIMEOUT_S: Final = 5.0


class Agent:
    """The agent's loop."""

    def __init__(
        self, home: Path, identity: UnlockedIdentity, for_s: float, idle_s: float, hardening: tuple[Step, ...] = ()
    ) -> None:
        """Serve one home.

        Args:
            home: the contractor's.
            identity: unlocked.
            for_s: how long to live, in seconds.
            idle_s: how long to live without work.
            hardening: what came of hardening this process.
        """
        self._home = home
        self._identity = identity
        self._hardening = hardening
        self._end_s = elapsed_s() + for_s
        self._idle_s = idle_s
        self._idle_end_s = elapsed_s() + idle_s
        self._client: bytes | None = None
        self._children: list[Isolated] = []
        self._ready: tuple[Isolated, socket.socket] | None = None
        self._told_to_end = False

    def left_s(self) -> float:
        """Return how many seconds are left, 0 once it is over."""
        return max(0.0, min(self._end_s, self._idle_end_s) - elapsed_s())

    def run(self, listener: socket.socket) -> None:
        """Serve until the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            # It looks every second: a waiting selector does not notice that the machine was suspended.
            while not self._told_to_end and (left := self.left_s()) > 0:
                if selector.select(min(left, _LOOK_S if self._is_ready() else _QUIET_S)):
                    if self.left_s() > 0:
                        connection, _ = listener.accept()
                        with connection:
                            self._serve(connection)
                elif not self._is_ready():
                    self._ready = self._started()
                self._children = [child for child in self._children if child.alive()]

    def _serve(self, connection: socket.socket) -> None:
        """Answer one request. Whoever is slow, gone or wrong costs no more than a few seconds."""
        connection.settimeout(_CLIENT_TIMEOUT_S)
        with suppress(OSError, EOFError, FormatError):
            if agent_socket.peer(connection)[1] != os.geteuid():
                return
            message, descriptors = receive(connection)
            for descriptor in descriptors:
                os.close(descriptor)
            try:
                answer, passed = self._do(message)
            except (LabelVaultError, OSError) as error:
                answer, passed = {"error": str(error)[:500]}, None
            try:
                send(connection, answer, () if passed is None else (passed.fileno(),))
            finally:
                if passed is not None:
                    passed.close()

    def _do(self, message: Any) -> tuple[dict[str, Value], socket.socket | None]:
        if not isinstance(message, dict):
            raise FormatError("not a request to an agent")
        command = message.get("command")
        if command == "status":
            return self._status(), None
        if command == "stop":
            self._told_to_end = True
            return {"stopping": True}, None
        if command == "process":
            self._idle_end_s = elapsed_s() + self._idle_s
            child, channel = self._take_ready()
            return {"pid": child.pid}, channel
        field = message.get({"sign": "data", "prekey": "public_key", "seal": "seed"}.get(str(command), ""))
        if not isinstance(field, bytes):
            raise FormatError("not a request to an agent")
        self._idle_end_s = elapsed_s() + self._idle_s
        if command == "sign":
            check_to_sign(field, self._identity.public_key, self._bound_to())
            return {"signature": self._identity.sign(field)}, None
        if command == "seal":
            context = message.get("context")
            if not isinstance(context, bytes):
                raise FormatError("not a request to an agent")
            return {"wrapped": self._identity.seal_seed(SecretBytes(field), context)}, None
        return self._prekey(field, bool(message.get("writes")))

    def _status(self) -> dict[str, Value]:
        return {
            "public_key": self._identity.public_key,
            "left_s": int(max(0.0, self._end_s - elapsed_s())),
            "idle_left_s": int(self.left_s()),
            "hardening": facts(self._hardening),
        }

    def _bound_to(self) -> bytes:
        """Return the client's id: read once, and kept whatever becomes of the file."""
        if self._client is None:
            self._client = client_id(read_private(self._home / "client.pin", 32))
        return self._client

    def _started(self) -> tuple[Isolated, socket.socket]:
        started = start_child()
        self._children.append(started[0])
        return started

    def _is_ready(self) -> bool:
        """Tell whether an opening process waits, or is on its way to."""
        return self._ready is not None and self._ready[0].alive()

    def _take_ready(self) -> tuple[Isolated, socket.socket]:
        """Return the opening process that was kept ready, or else a new one, and the end of its channel."""
        taken = self._ready if self._is_ready() else None
        self._ready = None
        return taken or self._started()

    def _prekey(self, public_key: bytes, writes: bool) -> tuple[dict[str, Value], socket.socket]:
        """Give an opening process a prekey; return the end of its channel."""
        seed = PrekeyFiles(self._home / "prekeys", self._identity).seed(public_key)
        child, channel = self._take_ready()
        try:
            channel.settimeout(_CLIENT_TIMEOUT_S * 2)
            first = begin_child(channel, writes=writes)
            send(channel, {"command": "prekey", "seed": seed.reveal()})
            receive(channel)
            channel.settimeout(None)
        except (OSError, EOFError) as error:
            child.kill()
            channel.close()
            raise KeystoreError("the opening process did not start") from error
        return {"pid": child.pid, **first}, channel


def main() -> None:
    """Unlock with what comes through the channel whose descriptor is the one argument, say so there, and serve."""
    if os.fork():
        # Nobody's child, so that nobody has to wait for it.
        os._exit(0)
    hardening = harden()
    channel = socket.socket(fileno=int(sys.argv[1]))
    told, _ = receive(channel)
    home = Path(told["home"])
    try:
        make_private_dir(home)
        held = agent_socket.lock(home)
        if held is None:
            raise KeystoreError("an agent runs already for this home")
        identity = open_identity(home / "identity.key", SecretBytes(told.pop("passphrase")))
        listener = agent_socket.listen(home)
    except (LabelVaultError, OSError) as error:
        send(channel, {"error": str(error)[:500], "kind": type(error).__name__})
        return
    agent = Agent(home, identity, told["for_s"], told["idle_s"], hardening)
    send(channel, {"ready": True})
    channel.close()
    agent.run(listener)
    # Before anything is let go: whoever finds the name finds the agent of that name.
    agent_socket.remove(home)
    listener.close()


if __name__ == "__main__":
    main()
