"""An opened task in this process: the library's way, for a helper that renders by itself."""

import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import NoReturn, TypeAlias

from labelvault.contractor.answering import Answer
from labelvault.contractor.approval import BY_MAILBOX, Approving
from labelvault.contractor.asking import AnyExchange
from labelvault.contractor.clock import Deadline
from labelvault.contractor.onetime import NextKey
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.parts import Opened, OpenedPart
from labelvault.contractor.renewal import Leases, Renewed, closed_with_both
from labelvault.contractor.submitting import Submit
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import LabelVaultError, LeaseClosedError, LeaseExpiredError

OpenRenewed: TypeAlias = Callable[[Renewed, OneTimeKey, Opened], Opened]


class Task:
    """A task and what it requires, until it is closed or expires.

    Use it in a `with` block: leaving drops the content and posts the close receipt, marked `best-effort`, since this
    process lives on and Python can't promise to wipe its memory. `Contractor.begin` opens in a process that exits.
    """

    def __init__(
        self, opened: Opened, deadline: Deadline, leases: Leases, open_renewed: OpenRenewed, on_submit: Submit
    ) -> None:
        """Made by `Contractor.open_task`.

        Args:
            opened: what the lease opened.
            deadline: when it ends.
            leases: gets further ones, and says what is closed.
            open_renewed: opens one of those, with its key, in place of what was opened before.
            on_submit: submits an answer under the newest of them.
        """
        self._opened: Opened | None = opened
        self._deadline = deadline
        self._leases = leases
        self._open_renewed = open_renewed
        self._on_submit = on_submit
        self._key = NextKey()
        self._lock = threading.RLock()

    @property
    def lease_id(self) -> bytes:
        """Of the newest lease, 32 bytes."""
        return self._leases.outer.lease_id

    @property
    def item(self) -> bytes:
        """The task's id, 16 bytes."""
        return self._leases.outer.item

    @property
    def expires_at(self) -> datetime:
        """When the newest lease ends, by the issuer's clock."""
        return self._leases.outer.expires_at

    def remaining_s(self) -> float:
        """Return seconds until the lease ends."""
        return self._deadline.remaining_s()

    def _live(self) -> Opened:
        if self._opened is None:
            raise LeaseClosedError("the task was closed")
        if self._deadline.remaining_s() <= 0:
            self.close()
            raise LeaseExpiredError("the lease has expired; the task was closed")
        return self._opened

    @property
    def part(self) -> OpenedPart:
        """The task itself.

        Raises:
            LeaseClosedError, LeaseExpiredError: it is over. So do all below.
        """
        return self._live().task

    @property
    def required(self) -> tuple[OpenedPart, ...]:
        """What opened with it: guidelines, rubrics, attachments."""
        return self._live().required

    @property
    def name(self) -> str:
        """The task's name."""
        return self.part.name

    @property
    def kind(self) -> str:
        """`task`."""
        return self.part.kind

    @property
    def media_type(self) -> str:
        """Of the content."""
        return self.part.media_type

    @property
    def labels(self) -> dict[str, str]:
        """What the client attached."""
        return self.part.labels

    @property
    def content(self) -> bytes:
        """The task's bytes."""
        return self.part.content

    @property
    def text(self) -> str:
        """The task's content as text."""
        return self.part.text

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

    def renew(
        self, *, timeout_s: float = 30.0, exchange: AnyExchange = None, approving: Approving = BY_MAILBOX
    ) -> bool:
        """Get a lease that replaces this one before it ends; see `Opening.renew`.

        Args:
            timeout_s: how long to wait for the issuer, in seconds.
            exchange: how to reach the issuer, as in `Contractor.open_task`.
            approving: at a desk, how to reach its presence device.

        Returns:
            Whether the content is another one now.

        Raises:
            LeaseClosedError, LeaseExpiredError: it is over, or what was granted did not open: then it is closed now;
                all that `open_task` raises, too, and the lease stays as it is.
        """
        with self._lock:
            before = self._live()
            renewed = self._leases.renew(self._key.make, timeout_s, exchange, approving)
            try:
                key, asked_s = self._key.take()
                opened = self._open_renewed(renewed, key, before)
                self._leases.opened(opened.known, [])
            except LabelVaultError as error:
                self.close()
                raise closed_with_both(error) from error
            newer = opened.named != before.named
            if newer:
                before.close()
            self._opened = opened
            self._deadline.renew(opened.outer, asked_s)
            return newer

    def close(self) -> None:
        """Drop the content and say so to the issuer. Closing again does nothing."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
                # Of a renewal that is under way: its lease may be made and recorded, and nobody is to open it.
                self._key = NextKey()
                self._leases.closed("best-effort")

    def __reduce__(self) -> NoReturn:
        # A copy would outlive the close.
        raise TypeError("tasks are not pickled or copied")

    def __enter__(self) -> "Task":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
