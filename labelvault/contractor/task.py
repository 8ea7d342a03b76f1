"""An opened task in this process: the library's way, for a helper that renders by itself."""

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import NoReturn

from labelvault.contractor.answering import Answer
from labelvault.contractor.approval import BY_MAILBOX, Approving
from labelvault.contractor.clock import Deadline
from labelvault.contractor.outbox import SubmissionRecord
from labelvault.contractor.parts import Opened, OpenedPart
from labelvault.contractor.submitting import Submit
from labelvault.errors import LeaseClosedError, LeaseExpiredError


class Task:
    """A task and what it requires, until it is closed or expires.

    Use it in a `with` block: leaving drops the content and posts the close receipt, marked `best-effort`, since this
    process lives on and Python can't promise to wipe its memory. `Contractor.begin` opens in a process that exits.
    """

    def __init__(self, opened: Opened, deadline: Deadline, on_close: Callable[[], None], on_submit: Submit) -> None:
        """Made by `Contractor.open_task`."""
        self._opened: Opened | None = opened
        self._outer = opened.outer
        self._deadline = deadline
        self._on_close = on_close
        self._on_submit = on_submit

    @property
    def lease_id(self) -> bytes:
        """32 bytes."""
        return self._outer.lease_id

    @property
    def item(self) -> bytes:
        """The task's id, 16 bytes."""
        return self._outer.item

    @property
    def expires_at(self) -> datetime:
        """When the lease ends, by the issuer's clock."""
        return self._outer.expires_at

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

    def close(self) -> None:
        """Drop the content and say so to the issuer. Closing again does nothing."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            self._on_close()

    def __reduce__(self) -> NoReturn:
        # A copy would outlive the close.
        raise TypeError("tasks are not pickled or copied")

    def __enter__(self) -> "Task":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
