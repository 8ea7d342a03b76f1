"""The one-time key of a request that is on its way."""

from labelvault.contractor.clock import elapsed_s
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import FormatError


class NextKey:
    """One key at a time, and when it was made: before its request was, so a lease's life may be counted from then."""

    def __init__(self) -> None:
        self._made: tuple[OneTimeKey, float] | None = None

    def make(self) -> bytes:
        """Make a key in place of the one before; return its public half."""
        key = OneTimeKey.generate()
        self._made = (key, elapsed_s())
        return key.public_key

    def take(self) -> tuple[OneTimeKey, float]:
        """Return the key and the time that its lease's life counts from; it is given out once.

        Raises:
            FormatError: there is none.
        """
        if self._made is None:
            raise FormatError("there is no key that this lease could be sealed to")
        made, self._made = self._made, None
        return made
