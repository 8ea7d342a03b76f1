"""The agent: one a home, for a bounded time, signing what a contractor sends, giving no key out, gone when stopped."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Scope
from labelvault.client.ahead import issue
from labelvault.contractor import Contractor, agent_socket, agent_status, find_agent, start_agent, stop_agent
from labelvault.contractor.agent import Agent
from labelvault.contractor.agent_rules import check_to_sign
from labelvault.contractor.channel import receive, send
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.drill.capture import capture_process, descendants
from labelvault.errors import (
    DrillError,
    FormatError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
    LabelVaultError,
)
from labelvault.wire.frame import parse_to_sign, sign_message
from labelvault.wire.framefile import pack_frames
from labelvault.wire.messages import Card
from tests.contractor.test_begin import shown
from tests.world import PASSPHRASE, World, bytes_of, identity, wait_gone

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the agent needs Linux")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")


@pytest.fixture
def home(world: World) -> Iterator[Path]:
    """A contractor's home that has joined; whatever agent it has is stopped."""
    me, _ = world.worker()
    me.close()
    yield world.folder / "ada"
    stop_agent(world.folder / "ada")


def by_agent(world: World) -> Contractor:
    """The contractor, opened through its agent."""
    found = find_agent(world.folder / "ada")
    assert found is not None
    return world._kept(Contractor.open(world.folder / "ada", found, clock=world.clock))


def raw(home: Path, message: Any) -> Any:
    """What the agent answers to one message."""
    reached = agent_socket.connect(home)
    assert reached is not None
    with reached[0] as connection:
        send(connection, message)
        return receive(connection)[0]


def test_with_an_agent_a_task_is_opened_without_the_passphrase(world: World, home: Path) -> None:
    """Request and receipts are signed through it; the client's ledger sees no difference."""
    assert find_agent(home) is None
    started = start_agent(home, PASSPHRASE)
    assert started.pid != os.getpid()
    with world.serving():
        opening = by_agent(world).begin(world.task(), timeout_s=60)
        assert shown(opening) == "[True, True, True, True]"
        assert opening.renew(timeout_s=60) is False
        opening.close()
    assert opening.erased == "process-exit"
    assert stop_agent(home) is True
    wait_gone(started.pid)
    assert find_agent(home) is None
    assert stop_agent(home) is False
    assert not (home / agent_socket.SOCKET).exists()


def ready(agent: int) -> int:
    """The process that the agent keeps ready, once it does."""
    end = time.monotonic() + 60
    while not (found := descendants(agent)) and time.monotonic() < end:
        time.sleep(0.02)
    (pid,) = found
    return pid


def test_the_agent_keeps_an_opening_process_ready_and_hands_it_out_once(world: World, home: Path) -> None:
    """It is the one that opens, hardened; then there is another, and one that was killed is not handed out."""
    agent = start_agent(home, PASSPHRASE).pid
    kept = ready(agent)
    with world.serving(), by_agent(world).begin(world.task(), timeout_s=60) as opening:
        assert opening.pid == kept
        assert "Seccomp:\t2" in Path(f"/proc/{kept}/status").read_text()
    wait_gone(kept)
    other = ready(agent)
    assert other != kept
    os.kill(other, signal.SIGKILL)
    wait_gone(other)
    with world.serving(), by_agent(world).begin(world.task("two"), timeout_s=60) as opening:
        assert opening.pid not in (kept, other)
        assert shown(opening)
    last = ready(agent)
    assert stop_agent(home)
    wait_gone(last)


def test_a_lease_issued_ahead_is_opened_without_any_seed_leaving_the_agent(world: World, home: Path) -> None:
    """The agent starts the opening process and passes on its channel; `open_seed` is refused."""
    started = start_agent(home, PASSPHRASE)
    me = by_agent(world)
    prekeys = me.ahead.make_prekeys(1)
    me.take(pack_frames(issue(world.lab, "ada", Scope(items=["one"]), prekeys=prekeys).frames))
    opening = me.begin(world.task(), offline=True)
    assert shown(opening) == "[True, True, True, True]"
    found = find_agent(home)
    assert found is not None
    with pytest.raises(KeystoreError, match="gives no key out"):
        found.open_seed(b"", b"")
    opening.close()
    assert opening.erased == "process-exit"
    wait_gone(opening.pid)
    assert started.pid != opening.pid


def test_the_agent_signs_nothing_but_what_a_contractor_sends(world: World, home: Path) -> None:
    """Cards, other labels, other clients, other signers, truncated or trailing bytes: refused, and no signature."""
    me = world.reopen("ada")
    joined = me.memberships()[0]
    taken: list[bytes] = []

    class Spy:
        public_key = me.public_key

        def sign(self, message: bytes) -> bytes:
            taken.append(message)
            return identity(me).sign(message)

    key = OneTimeKey.generate().public_key
    make_request(joined, Spy(), world.task(), key, world.clock())
    (good,) = taken
    other = sign_message(Card("helper", "x", None, world.clock()), Spy())
    card = taken[-1]
    assert other.frame.signer == me.public_key
    start_agent(home, PASSPHRASE)
    assert len(raw(home, {"command": "sign", "data": good})["signature"]) == 64
    swapped = good.replace(joined.client, bytes(32))
    stranger = good.replace(me.public_key, bytes(32))
    refused = [b"", b"x", card, good[:-1], good + b"x", good[1:], swapped, stranger, os.urandom(300)]
    for each in refused:
        answer = raw(home, {"command": "sign", "data": each})
        assert list(answer) == ["error"], each
    malformed: Any
    for malformed in ({"command": "seed"}, {"command": "sign"}, [], {"command": "sign", "data": "text"}, None):
        assert list(raw(home, malformed)) == ["error"]
    assert agent_status(home) is not None


def test_P1_what_a_signer_is_given_parses_back_and_any_flipped_byte_is_another_message(world: World) -> None:
    """The agent's parser accepts exactly what `sign_message` makes."""
    me, joined = world.worker()
    taken: list[bytes] = []

    class Spy:
        public_key = me.public_key

        def sign(self, message: bytes) -> bytes:
            taken.append(message)
            return bytes(64)

    make_request(joined, Spy(), world.task(), OneTimeKey.generate().public_key, world.clock())
    (data,) = taken
    frame = parse_to_sign(data)
    assert frame.type == "open-request"
    assert check_to_sign(data, me.public_key, joined.client) == "open-request"
    for size in range(len(data)):
        with pytest.raises(FormatError):
            parse_to_sign(data[:size])
    for at in range(90):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(LabelVaultError):
            check_to_sign(flipped, me.public_key, joined.client)


def test_a_wrong_passphrase_starts_nothing(home: Path) -> None:
    """The error is that of the passphrase, and neither process nor socket is left."""
    with pytest.raises(KeystorePassphraseError):
        start_agent(home, "wrong")
    assert find_agent(home) is None
    assert not (home / agent_socket.SOCKET).exists()
    with pytest.raises(FormatError):
        start_agent(home, PASSPHRASE, lasts=timedelta(days=2))
    with pytest.raises(FormatError):
        start_agent(home, PASSPHRASE, idle=timedelta(0))


def test_two_starts_at_once_give_one_agent(home: Path) -> None:
    """The others are told so."""
    results: list[Any] = []

    def start() -> None:
        try:
            results.append(start_agent(home, PASSPHRASE).pid)
        except KeystoreError as error:
            results.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(isinstance(each, int) for each in results) == 1
    assert results.count("an agent runs already for this home") == 2
    status = agent_status(home)
    assert status is not None
    assert status.pid in results


def test_a_killed_agents_socket_is_noticed_and_replaced(home: Path) -> None:
    """Until then there is no agent, whatever lies there."""
    first = start_agent(home, PASSPHRASE).pid
    os.kill(first, signal.SIGKILL)
    wait_gone(first)
    assert (home / agent_socket.SOCKET).exists()
    assert find_agent(home) is None
    assert stop_agent(home) is False
    second = start_agent(home, PASSPHRASE).pid
    assert second != first
    assert find_agent(home) is not None


@pytest.mark.parametrize("what", ["symlink", "file", "directory", "lock"])
def test_X1_a_socket_path_that_is_something_else_is_refused(home: Path, tmp_path: Path, what: str) -> None:
    """Neither used nor replaced."""
    path = home / (agent_socket.LOCK if what == "lock" else agent_socket.SOCKET)
    elsewhere = socket.socket(socket.AF_UNIX)
    elsewhere.bind(str(tmp_path / "real.sock"))
    if what == "file":
        path.write_text("mine")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "real.sock")
    before = os.lstat(path)
    if what != "lock":
        with pytest.raises(KeystoreForeignError):
            find_agent(home)
    with pytest.raises(KeystoreForeignError):
        start_agent(home, PASSPHRASE)
    assert os.lstat(path).st_ino == before.st_ino
    elsewhere.close()
    path.rmdir() if what == "directory" else path.unlink()


@as_root
def test_another_users_socket_is_refused(home: Path) -> None:
    """By its owner, and by who listens on it."""
    start_agent(home, PASSPHRASE)
    os.chown(home / agent_socket.SOCKET, 65534, 65534)
    with pytest.raises(KeystoreForeignError, match="another user"):
        find_agent(home)
    os.chown(home / agent_socket.SOCKET, 0, 0)
    assert find_agent(home) is not None


@as_root
def test_another_user_is_not_answered(home: Path) -> None:
    """Even where the file's mode would let them: the kernel says who asks."""
    start_agent(home, PASSPHRASE)
    home.chmod(0o711)
    (home / agent_socket.SOCKET).chmod(0o666)
    for user, size in ((65534, 0), (0, 4)):
        child = os.fork()
        if not child:
            got = 99
            try:
                os.chdir(home)
                os.setuid(user)
                got = _answered(agent_socket.SOCKET)
            finally:
                os._exit(got)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == size


def _answered(path: str) -> int:
    """How many of an answer's first four bytes come."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        try:
            send(connection, {"command": "status"})
            return len(connection.recv(4))
        except ConnectionError:
            return 0


def test_it_ends_when_its_time_is_over_and_when_nothing_is_asked(home: Path) -> None:
    """Both are mandatory; status does not count as work."""
    for terms in ({"lasts": timedelta(seconds=2)}, {"idle": timedelta(seconds=2)}):
        pid = start_agent(home, PASSPHRASE, **terms).pid
        time.sleep(0.5)
        assert agent_status(home) is not None
        wait_gone(pid)
        assert find_agent(home) is None


def test_a_request_after_the_end_is_not_answered(world: World, home: Path) -> None:
    """An agent whose time is over signs nothing, also if it has not noticed yet."""
    agent = Agent(home, world.reopen("ada")._identity, 0, 100)
    assert agent.left_s() == 0
    listener = agent_socket.listen(home)
    reached = agent_socket.connect(home)
    assert reached is not None
    agent.run(listener)
    listener.close()
    with reached[0] as connection, pytest.raises((EOFError, ConnectionError)):
        receive(connection)
    agent_socket.remove(home)


def test_who_says_nothing_costs_a_few_seconds(home: Path) -> None:
    """A connection that sends half a message is let go, and the next one is answered."""
    start_agent(home, PASSPHRASE)
    reached = agent_socket.connect(home)
    assert reached is not None
    reached[0].sendall(b"\x00\x00")
    assert agent_status(home) is not None
    reached[0].close()


def seed_of(home: Path) -> bytes:
    """The private key, as a thief with the passphrase has it."""
    from labelvault.keys.keystore import open_keystore, passphrase_secret

    data = (home / "identity.key").read_bytes()
    return open_keystore("identity", data, passphrase_secret(PASSPHRASE)).reveal()


@as_root
def test_C6_the_key_is_in_the_agents_memory_and_nowhere_once_it_has_stopped(home: Path, tmp_path: Path) -> None:
    """A scan finds it in the agent alone; after the stop the process is gone, and the home holds no copy."""
    script = f"""
import sys
from pathlib import Path
from datetime import timedelta
from labelvault.contractor import start_agent
print(start_agent(Path({str(home)!r}), {PASSPHRASE!r}).pid, flush=True)
"""
    started = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    pid = int(started.stdout)
    capture_process(pid, tmp_path / "before.mem")
    seed = seed_of(home)
    assert seed in (tmp_path / "before.mem").read_bytes()
    assert seed not in bytes_of(home)
    shown_to_all = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
    assert PASSPHRASE.encode() not in shown_to_all
    assert stop_agent(home)
    wait_gone(pid)
    with pytest.raises(DrillError):
        capture_process(pid, tmp_path / "after.mem")
    assert not (tmp_path / "after.mem").exists()


def test_its_process_is_hardened_and_says_how_far(home: Path) -> None:
    """Every step is reported; the ones that need no rights hold."""
    status = start_agent(home, PASSPHRASE)
    assert [step.name for step in status.hardening if not step.done and "swapped" not in step.name] == []
    assert all(step.done or step.why for step in status.hardening)
    limits = Path(f"/proc/{status.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    assert "NoNewPrivs:\t1" in Path(f"/proc/{status.pid}/status").read_text()
