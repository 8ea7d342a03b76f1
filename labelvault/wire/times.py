"""Times on the wire: aware UTC in code, whole Unix milliseconds in bytes (docs/spec.md, section 2.3)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from labelvault.errors import FormatError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
MAX_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last time that `datetime` can hold."""


def to_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970.

    Raises:
        FormatError: naive, not UTC, before 1970, or not a whole millisecond.
    """
    # A naive time has no offset at all.
    if moment.utcoffset() != timedelta(0):
        raise FormatError("a time must be aware and in UTC")
    ms, rest = divmod(moment - _EPOCH, _MILLISECOND)
    if rest or ms < 0:
        raise FormatError("a time must be a whole millisecond, not before 1970")
    return ms


def from_ms(ms: int) -> datetime:
    """Return the aware UTC time of `ms` milliseconds since 1970.

    Raises:
        FormatError: negative, or beyond the year 9999.
    """
    if not 0 <= ms <= MAX_MS:
        raise FormatError("a time lies outside 1970 to 9999")
    return _EPOCH + timedelta(milliseconds=ms)


def check_time(moment: datetime) -> datetime:
    """Return `moment` if it can stand on the wire.

    Raises:
        FormatError: as `to_ms`.
    """
    to_ms(moment)
    return moment


def truncate(moment: datetime) -> datetime:
    """Round down to a whole millisecond, as clocks tick finer than the wire.

    Raises:
        FormatError: naive or not UTC.
    """
    return check_time(moment.replace(microsecond=moment.microsecond // 1000 * 1000))
