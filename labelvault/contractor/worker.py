"""The parent's end of an opening in a child process: it signs, and never holds a key that opens, nor plaintext."""

import os
import socket
import stat
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from labelvault.contractor.answering import Answer
from labelvault.contractor.approval import BY_MAILBOX, Approving
from labelvault.contractor.channel import rebuilt, receive, send
from labelvault.contractor.display import DEFAULT_WIDTH
from labelvault.contractor.fetching import Items, hand_on
from labelvault.contractor.isolated import Isolated, Process
from labelvault.contractor.membership import Membership
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.parts import OpenedAs
from labelvault.contractor.renewal import Leases, closed_with_both
from labelvault.contractor.steps import steps_of
from labelvault.contractor.submitting import Submit
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import LabelVaultError, LeaseClosedError, LeaseError
from labelvault.wire.codec import Value
from labelvault.wire.frame import Signed
from labelvault.wire.messages import OpenRequest

_EXIT_TIMEOUT_S: Final = 10


def start_child() -> tuple[Isolated, socket.socket]:
    """Start an opening process, which waits for `begin`; return it and our end of its channel."""
    ours, theirs = socket.socketpair()
    with theirs:
        return Isolated("child", theirs), ours


def begin_child(channel: socket.socket, *, readable: bool = False, writes: bool = False) -> dict[str, Any]:
    """Have an opening process harden itself and make its one-time key; return what it says of both.

    Args:
        channel: our end.
        readable: leave out what keeps other programs of this user from reading its memory.
        writes: it is to write into a folder.

    Raises:
        LeaseError: it can't.
        EOFError, OSError: it is gone.
    """
    send(channel, {"command": "begin", "readable": readable, "writes": writes})
    first: dict[str, Any] = receive(channel)[0]
    if "error" in first:
        raise LeaseError(f"the opening process did not start: {first['message']}")
    return first


class Worker:
    """A child process that has made a one-time key and waits for its lease."""

    def __init__(
        self,
        started: tuple[Process, socket.socket] | None = None,
        begun: dict[str, Any] | None = None,
        *,
        readable: bool = False,
        writes: bool = False,
    ) -> None:
        """Start the child, or take one that the agent has started.

        Args:
            started: the process, and our end of its channel.
            begun: what it said if it has begun; then it has its prekey already.
            readable: as for `begin_child`.
            writes: likewise.

        Raises:
            LeaseError: it did not start.
        """
        self.has_prekey = begun is not None
        self._process: Process
        try:
            self._process, self._channel = started or start_child()
        except OSError as error:
            raise LeaseError("the opening process did not start") from error
        try:
            first = begin_child(self._channel, readable=readable, writes=writes) if begun is None else begun
            self.one_time_key: bytes = first["one_time_key"]
            self.hardening = steps_of(first["hardening"])
        except LeaseError:
            self.stop()
            raise
        except (EOFError, OSError) as error:
            self.stop()
            raise LeaseError("the opening process did not start") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.alive()

    def open(
        self,
        membership: Membership,
        request: Signed[OpenRequest],
        lease: bytes,
        folder: Path | None,
        items: Items,
    ) -> tuple[OpenedAs, list[tuple[int, int]]]:
        """Hand the child its lease, and whatever it fetches; it checks and opens.

        Args:
            membership: under which the lease was verified.
            request: that it answers.
            lease: its frame.
            folder: where files are written, if they are.
            items: the way to the vault.

        Returns:
            What may be known of the opening, and (device, inode) of the files that it wrote, if it was given a folder.

        Raises:
            LabelVaultError: what the child found, as the kind that it was there.
        """
        return self._open(_handed_over(membership, request, lease), folder, items)

    def take_prekey(self, seed: SecretBytes) -> None:
        """Hand the child the seed of a prekey, which nobody else needs any more.

        Raises:
            LeaseClosedError: the child has ended.
        """
        self._call({"command": "prekey", "seed": seed.reveal()})
        self.has_prekey = True

    def open_ahead(
        self,
        membership: Membership,
        contractor: bytes,
        lease: bytes,
        *,
        folder: Path | None,
        items: Items,
    ) -> tuple[OpenedAs, list[tuple[int, int]]]:
        """Hand the child a lease that was issued ahead; it has the prekey.

        Args:
            membership: under which the lease was verified.
            contractor: our own key, 32 bytes.
            lease: the lease's frame.
            folder: as for `open`.
            items: likewise.

        Returns:
            As `open`.

        Raises:
            LabelVaultError: what the child found, as the kind that it was there.
        """
        return self._open({**_known(membership, contractor, lease), "ahead": True}, folder, items)

    def _open(
        self, handed_over: dict[str, Value], folder: Path | None, items: Items
    ) -> tuple[OpenedAs, list[tuple[int, int]]]:
        message: Value = {"command": "open", "folder": None if folder is None else str(folder), **handed_over}
        answer = self._call(message, items=items)
        return _known_of(answer), [(device, inode) for device, inode in answer["opened"]]

    def prepare(self) -> bytes:
        """Have the child make another one-time key, to renew its lease; return the public half.

        Raises:
            LeaseClosedError: the child has ended.
        """
        key: bytes = self._call({"command": "prepare"})["one_time_key"]
        return key

    def renew(
        self, membership: Membership, request: Signed[OpenRequest], lease: bytes, items: Items
    ) -> tuple[bool, OpenedAs]:
        """Hand the child the lease that renews its own, and whatever it fetches; arguments as for `open`.

        Returns:
            Whether it brought other content; and what may be known of it.

        Raises:
            LabelVaultError: what the child found, as the kind that it was there; the child has ended then.
        """
        answer = self._call({"command": "renew", **_handed_over(membership, request, lease)}, items=items)
        return answer["newer"], _known_of(answer)

    def show(self, descriptor: int, width: int, colour: bool) -> None:
        """Have the child write its task as text to a descriptor of ours, for so many columns, in colour or not.

        Raises:
            LeaseClosedError: the child has ended.
        """
        self._call({"command": "show", "width": width, "colour": int(colour)}, (descriptor,))

    def _call(self, message: Value, descriptors: tuple[int, ...] = (), items: Items | None = None) -> Any:
        try:
            send(self._channel, message, descriptors)
            answer, _ = receive(self._channel)
            while items is not None and "fetch" in answer:
                hand_on(self._channel, answer, items)
                answer, _ = receive(self._channel)
        except (EOFError, OSError) as error:
            raise LeaseClosedError("the opening process has ended") from error
        if "error" in answer:
            raise rebuilt(answer)
        return answer

    def stop(self) -> None:
        """End the child and wait until it has exited: from then on nothing holds its keys and plaintext."""
        try:
            send(self._channel, {"command": "close"})
        except OSError:
            self._process.kill()
        self._channel.close()
        if not self._process.wait(_EXIT_TIMEOUT_S):
            self._process.kill()


def _known_of(answer: dict[str, Any]) -> OpenedAs:
    return OpenedAs(answer["version"], answer["epoch"], answer["index"], answer["entry_hash"])


def _handed_over(membership: Membership, request: Signed[OpenRequest], lease: bytes) -> dict[str, Value]:
    return {**_known(membership, request.frame.signer, lease), "request": request.data}


def _known(membership: Membership, contractor: bytes, lease: bytes) -> dict[str, Value]:
    return {
        "contractor": contractor,
        "identity_key": membership.identity_key,
        "invite": membership.invite.data,
        "certificate": membership.certificate.data,
        "lease": lease,
    }


class Opening:
    """A task that is open in a child process. Close it, or use it in a `with` block.

    Attributes:
        folder: where its files are, if they were written; then the child has exited already.
    """

    def __init__(
        self,
        worker: Worker,
        leases: Leases,
        folder: Path | None,
        items: Items,
        on_close: Callable[["Opening"], None],
        on_submit: Submit,
    ) -> None:
        """Made by `Contractor.begin`."""
        self._worker = worker
        self._leases = leases
        self._items = items
        self._on_close = on_close
        self._on_submit = on_submit
        self._closed = False
        self._lock = threading.RLock()
        self.folder = folder
        self._left_file = False

    @property
    def lease_id(self) -> bytes:
        """Of the newest lease, 32 bytes."""
        return self._leases.outer.lease_id

    @property
    def item(self) -> bytes:
        """The task's id, 16 bytes."""
        return self._leases.outer.item

    @property
    def issued_at(self) -> datetime:
        """When the newest lease was issued, by the issuer's clock."""
        return self._leases.outer.issued_at

    @property
    def expires_at(self) -> datetime:
        """The newest lease's end; the child exits then by itself."""
        return self._leases.outer.expires_at

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._worker.pid

    @property
    def erased(self) -> str:
        """What the close receipt says: `process-exit`, or `best-effort` once content went into a file."""
        return "best-effort" if self.folder is not None or self._left_file else "process-exit"

    @property
    def alive(self) -> bool:
        """Whether the child still holds the task."""
        return self._worker.alive

    def show(self, descriptor: int, width: int = DEFAULT_WIDTH, *, colour: bool = False) -> None:
        """Write the task as text to a descriptor, such as `sys.stdout.fileno()`.

        Args:
            descriptor: where to.
            width: of the terminal, in columns.
            colour: whether its styles are wanted; nothing else in the text acts on a terminal.

        Raises:
            LeaseClosedError: it was closed, has expired, or was written to a folder.
        """
        # A regular file outlives the process: its close can't say `process-exit`.
        self._left_file |= stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._worker.show(descriptor, width, colour)

    def submit(
        self,
        answer: Answer,
        *,
        name: str | None = None,
        media_type: str | None = None,
        approving: Approving | None = BY_MAILBOX,
    ) -> SubmissionRecord:
        """Submit an answer; also after the close. See `Contractor.submit`."""
        return self._on_submit(answer, name, media_type, approving)

    def renew(self, *, timeout_s: float = 30.0, approving: Approving = BY_MAILBOX) -> bool:
        """Get a lease that replaces this one before it ends, without closing the task.

        It counts in the grant's `max_total` and `per_hour` like an opening, and passes every check again: at a desk
        with a presence device, a person approves again. If the task or what it requires was sealed anew meanwhile,
        the process opens that.

        Args:
            timeout_s: how long to wait for the issuer, in seconds.
            approving: at a desk, how to reach its presence device.

        Returns:
            Whether the content is another one now.

        Raises:
            DeniedError: the issuer said no; the lease stays as it is until its end.
            RequestTimeoutError, RelayError, StoreError: no answer; likewise. The next call asks the same again.
            LeaseClosedError: it was closed or has ended, or what was granted did not open: then it is closed now.
            LeaseError: its files were written to a folder, so no process holds it any more; all that `begin` raises,
                too, and the lease stays as it is.
        """
        with self._lock:
            if self.folder is not None:
                raise LeaseError("what was written to a folder is not renewed; close it and open the task again")
            if self._closed or not self.alive:
                raise LeaseClosedError("the task is closed, or its time is over")
            renewed = self._leases.renew(self._worker.prepare, timeout_s, None, approving)
            try:
                newer, known = self._worker.renew(renewed.membership, renewed.request, renewed.data, self._items)
            except LabelVaultError as error:
                self.close()
                raise closed_with_both(error) from error
            self._leases.opened(known, [])
            return newer

    def close(self) -> None:
        """End the child, wait for its exit, and post the receipts that say so. Closing again does nothing.

        A renewal that another thread waits for is waited for.

        Raises:
            OutputError: its files can't be removed; it stays open, and may be closed again.
        """
        with self._lock:
            if not self._closed:
                self._worker.stop()
                self._on_close(self)
                self._closed = True

    def __enter__(self) -> "Opening":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
