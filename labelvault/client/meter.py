"""Counts how far long work is, and tells whoever wants to know: after each item, and within large ones."""

from collections.abc import Callable

from labelvault.client.records import Progress


class Meter:
    """What sealing or exporting has done so far. Without a listener it counts for nobody."""

    __slots__ = ("_done", "_done_bytes", "_part_bytes", "_tell", "_total", "_total_bytes")

    def __init__(self, tell: Callable[[Progress], None] | None, total: int, total_bytes: int) -> None:
        """Begin at nothing.

        Args:
            tell: the listener.
            total: about how many items there are.
            total_bytes: about how many bytes they have; 0 if that is not known.
        """
        self._tell = tell
        self._total, self._total_bytes = total, total_bytes
        self._done = self._done_bytes = self._part_bytes = 0

    def passed(self, size: int) -> None:
        """Count bytes of the item that is under way."""
        self._part_bytes += size
        self._say()

    def finished(self, size: int) -> None:
        """Count an item as done, whatever was counted of it before.

        Args:
            size: of its content, in bytes.
        """
        self._done += 1
        self._done_bytes += size
        self._part_bytes = 0
        self._say()

    def _say(self) -> None:
        if self._tell is not None:
            content_bytes = self._done_bytes + self._part_bytes
            total_bytes = max(self._total_bytes, content_bytes)
            self._tell(Progress(self._done, max(self._done, self._total), content_bytes, total_bytes))
