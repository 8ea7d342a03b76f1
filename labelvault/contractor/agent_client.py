"""The other end of the agent: starting and stopping it, and an identity that signs through it."""

import errno
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from labelvault import errors
from labelvault.contractor import agent_socket
from labelvault.contractor.channel import receive, send
from labelvault.contractor.isolated import Adopted, Isolated
from labelvault.contractor.steps import Step, steps_of
from labelvault.contractor.worker import Worker
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.verify import verify
from labelvault.errors import FormatError, KeystoreError, KeystoreForeignError
from labelvault.keys.cards import read_card, read_draft
from labelvault.keys.files import read_private
from labelvault.keys.keystore import passphrase_secret
from labelvault.wire.codec import MAX_BYTES, Value

DEFAULT_FOR: Final = timedelta(hours=8)
DEFAULT_IDLE: Final = timedelta(hours=1)
MAX_FOR: Final = timedelta(hours=24)
_EXIT_TIMEOUT_S: Final = 10.0
_GONE: Final = "Start it again: labelvault contractor agent start; or do without it: --no-agent."


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What a running agent says of itself.

    Attributes:
        pid: its process id, as the kernel knows it.
        public_key: of the identity that it holds.
        left_s: until its mandatory end, in seconds.
        idle_left_s: until it ends if nothing is asked of it.
        hardening: of its process.
    """

    pid: int
    public_key: bytes
    left_s: int
    idle_left_s: int
    hardening: tuple[Step, ...]


class AgentIdentity:
    """A contractor's identity that an agent holds; an `UnlockedIdentity` that gives no seed out."""

    def __init__(self, home: Path, public_key: bytes) -> None:
        """Made by `find_agent`."""
        self._home = home
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message that a contractor sends; the agent refuses to sign anything else.

        Raises:
            KeystoreError: the agent has ended, or refused.
            SignatureError: what it returned is no signature of this identity.
        """
        signature: bytes = _asked(self._home, {"command": "sign", "data": message})[0]["signature"]
        verify(self.public_key, message, signature)
        return signature

    def seal_seed(self, seed: SecretBytes, context: bytes) -> bytes:
        """Wrap the seed of a one-time key, bound to `context`.

        Raises:
            KeystoreError: the agent has ended.
        """
        request: Value = {"command": "seal", "seed": seed.reveal(), "context": context}
        wrapped: bytes = _asked(self._home, request)[0]["wrapped"]
        return wrapped

    def open_seed(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Refuse: a seed does not leave the agent.

        Raises:
            KeystoreError: always; `worker` opens with a prekey.
        """
        raise KeystoreError(
            "the agent gives no key out", next_step="Open in a process of its own, or with the passphrase: --no-agent."
        )

    def worker(self, prekey: bytes | None = None, *, readable: bool = False, writes: bool = False) -> Worker:
        """Take an opening process from the agent, which keeps one ready.

        Args:
            prekey: the public key of the one that it is to have, if it is to have one.
            readable: see `Worker`; of no effect with a prekey.
            writes: see `Worker`.

        Raises:
            KeystoreError: the agent has ended, or there is no such prekey.
            LeaseError: the process did not start.
        """
        request: Value = {"command": "process"}
        if prekey is not None:
            request = {"command": "prekey", "public_key": prekey, "writes": writes}
        answer, descriptors = _asked(self._home, request)
        if len(descriptors) != 1:
            raise KeystoreError("the agent handed no process over")
        channel = socket.socket(fileno=descriptors[0])
        try:
            begun = None if prekey is None else answer
            return Worker((Adopted(answer["pid"]), channel), begun, readable=readable, writes=writes)
        except BaseException:
            channel.close()
            raise


def agent_status(home: Path) -> AgentStatus | None:
    """Return what the agent of a home says of itself; None if none runs. It does not count as work.

    Raises:
        KeystoreForeignError: what listens there is another user's, or holds another identity.
        KeystoreError: it did not answer.
    """
    home = Path(home)
    reached = agent_socket.connect(home)
    if reached is None:
        return None
    connection, pid = reached
    answer, _ = _exchanged(connection, {"command": "status"})
    if answer["public_key"] != _own_key(home):
        raise KeystoreForeignError("the agent holds another identity than this home's", next_step=_GONE)
    return AgentStatus(
        pid, answer["public_key"], answer["left_s"], answer["idle_left_s"], steps_of(answer["hardening"])
    )


def find_agent(home: Path) -> AgentIdentity | None:
    """Return the identity of a home through its running agent; None if none runs. Raises as `agent_status`."""
    status = agent_status(home)
    return None if status is None else AgentIdentity(Path(home), status.public_key)


def start_agent(
    home: Path,
    passphrase: str | SecretBytes,
    *,
    lasts: timedelta = DEFAULT_FOR,
    idle: timedelta = DEFAULT_IDLE,
) -> AgentStatus:
    """Start the agent of a home; it stays when this process ends.

    Args:
        home: a contractor's.
        passphrase: of its identity.
        lasts: when it ends, whatever is asked of it; at most a day.
        idle: when it ends if nothing is.

    Raises:
        KeystoreError: one runs already, or this is not Linux; or as `Contractor.open`.
        FormatError: the times are out of their bounds.
    """
    agent_socket.check_system()
    if not timedelta(0) < lasts <= MAX_FOR or idle <= timedelta(0):
        raise FormatError(f"an agent lives for at most {MAX_FOR // timedelta(hours=1)} hours")
    ours, theirs = socket.socketpair()
    with theirs:
        Isolated("agent", theirs, quiet=True).wait(_EXIT_TIMEOUT_S)
    with ours:
        told: Value = {
            "home": str(Path(home).absolute()),
            "passphrase": passphrase_secret(passphrase).reveal(),
            "for_s": int(lasts.total_seconds()),
            "idle_s": int(idle.total_seconds()),
        }
        try:
            send(ours, told)
            answer, _ = receive(ours)
        except (EOFError, OSError) as error:
            raise KeystoreError("the agent did not start") from error
    if "error" in answer:
        kind = getattr(errors, answer["kind"], KeystoreError)
        raise (kind if issubclass(kind, KeystoreError) else KeystoreError)(answer["error"])
    status = agent_status(home)
    if status is None:
        raise KeystoreError("the agent has ended at once")
    return status


def stop_agent(home: Path) -> bool:
    """End the agent of a home, and wait until it has exited; return whether one ran.

    Raises:
        KeystoreError: it did not exit.
    """
    reached = agent_socket.connect(Path(home))
    if reached is None:
        return False
    connection, pid = reached
    agent = Adopted(pid)
    _exchanged(connection, {"command": "stop"})
    if not agent.wait(_EXIT_TIMEOUT_S):
        agent.kill()
    return True


def _own_key(home: Path) -> bytes:
    """Return the public key that a home's card, or a desk's draft of one, is signed by."""
    if (home / "card").exists():
        return read_card(read_private(home / "card", MAX_BYTES)).frame.signer
    return read_draft(read_private(home / "card.draft", MAX_BYTES)).frame.signer


def _asked(home: Path, request: Value) -> tuple[dict[str, Any], list[int]]:
    reached = agent_socket.connect(home)
    if reached is None:
        raise KeystoreError("the agent has ended", next_step=_GONE)
    return _exchanged(reached[0], request)


def _exchanged(connection: socket.socket, request: Value) -> tuple[dict[str, Any], list[int]]:
    with connection:
        try:
            send(connection, request)
            answer, descriptors = receive(connection)
        except (EOFError, OSError, FormatError) as error:
            busy = isinstance(error, OSError) and error.errno in (None, errno.EAGAIN)
            what = "did not answer" if busy else "has ended"
            raise KeystoreError(f"the agent {what}", next_step=_GONE) from error
    if "error" in answer:
        raise KeystoreError(f"the agent refused: {answer['error']}", next_step=_GONE)
    return answer, descriptors
