"""Ending cleanly: signals as something to wait for beside input, so that nothing is cut in the middle."""

import os
import select
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Whether the process was told to end.

    Attributes:
        asked: a signal came.
    """

    def __init__(self, reader: int, writer: int) -> None:
        """Take a pipe; `told_to_end` makes and closes it."""
        self._reader = reader
        self._writer = writer
        self.asked = False

    def ask(self) -> None:
        """Tell it; safe in a signal handler."""
        self.asked = True
        # A full pipe wakes up just as well.
        with suppress(BlockingIOError):
            os.write(self._writer, b"!")

    def wait(self, inputs: Sequence[int], timeout_s: float) -> list[int]:
        """Wait for input, a signal or the time; return which descriptors of `inputs` can be read."""
        # The pipe is never drained: once told, every wait returns at once.
        ready, _, _ = select.select([*inputs, self._reader], [], [], max(0.0, timeout_s))
        return [each for each in ready if each != self._reader]

    @contextmanager
    def as_event(self) -> Iterator[threading.Event]:
        """Give an event that is set when the process is told to end.

        A thread sets it, not the signal handler: `Event.set` in a handler deadlocks when the signal comes
        while the same thread is inside `Event.wait`.
        """
        event, over = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.is_set() and not self.asked:
                self.wait([], 0.2)
            event.set()

        watcher = threading.Thread(target=watch, name="signals", daemon=True)
        watcher.start()
        try:
            yield event
        finally:
            over.set()
            watcher.join()


@contextmanager
def told_to_end() -> Iterator[Ending]:
    """Catch SIGINT, SIGTERM and SIGHUP for a while, and put back what handled them before."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ending = Ending(reader, writer)

    def told(number: int, frame: FrameType | None) -> None:
        ending.ask()

    before = {number: signal.signal(number, told) for number in _NUMBERS}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


@contextmanager
def interrupted_by_any() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does: raise KeyboardInterrupt, so that everything is cleaned up."""

    def told(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
