"""How values are written on the command line: durations, moments, ids."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO: Final = re.compile(r"(.+?)(?: |-)ago")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DURATION: Final = re.compile(r"([0-9]{1,7})([smhdw])")


class WrongUsage(click.UsageError):
    """A usage error that knows better than `--help` what to do.

    Attributes:
        next_step: one sentence.
    """

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


class DurationType(click.ParamType[object]):
    """`45s`, `30m`, `12h`, `7d`, `2w`: a `timedelta` above zero."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse, or end with a usage error."""
        if isinstance(value, timedelta):
            return value
        found = _DURATION.fullmatch(str(value))
        if found is None or int(found[1]) == 0:
            self.fail("write a duration as 45s, 30m, 12h, 7d or 2w", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


class MomentType(click.ParamType[object]):
    """A duration from now, or an ISO 8601 time with its offset: `2026-05-01T18:00:00Z`."""

    name = "duration or time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        """Parse, or end with a usage error; a time needs its offset: whose midnight would it be?"""
        if isinstance(value, timedelta | datetime):
            return value
        text = str(value)
        if _DURATION.fullmatch(text):
            return DURATION.convert(text, param, ctx)
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self.fail("write 7d, 12h or a time like 2026-05-01T18:00:00Z", param, ctx)
        if time.tzinfo is None:
            self.fail("say which time zone: 2026-05-01T18:00:00Z or ...+02:00", param, ctx)
        return time.astimezone(UTC)


class PastType(click.ParamType[object]):
    """`3d ago`, `now`, a time with its offset, or a day in UTC: a `datetime`."""

    name = "time"

    def __init__(self, *, until: bool = False) -> None:
        """Take a day for its first millisecond, or with `until` for its last, or for now if it is not over."""
        self._until = until

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse, or end with a usage error."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if text == "now":
            return from_now(timedelta(0))
        if (found := _AGO.fullmatch(text)) or _DURATION.fullmatch(text):
            return ago(DURATION.convert(found[1] if found else text, param, ctx))
        if _DAY.fullmatch(text):
            first = from_now(MOMENT.convert(f"{text}T00:00:00Z", param, ctx))
            return _last_of(first) if self._until else first
        return from_now(MOMENT.convert(text, param, ctx))


class HexId(click.ParamType[object]):
    """An id in hex, of a fixed number of bytes."""

    name = "id"

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Parse, or end with a usage error."""
        if isinstance(value, bytes):
            return value
        text = str(value).lower()
        if re.fullmatch(f"[0-9a-f]{{{2 * self._size_bytes}}}", text) is None:
            self.fail(f"an id here is {2 * self._size_bytes} hexadecimal digits", param, ctx)
        return bytes.fromhex(text)


class IdStart(click.ParamType[object]):
    """An id in hex, or its first eight digits or more."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse, or end with a usage error."""
        text = str(value).lower()
        if re.fullmatch("[0-9a-f]{8,64}", text) is None:
            self.fail("write an id as 8 or more hexadecimal digits", param, ctx)
        return text


def the_one(start: str, ids: Iterable[bytes], none: str = "See the ids: labelvault contractor list.") -> bytes:
    """Return the one id that begins so.

    Args:
        start: hex digits.
        ids: to look among.
        none: what to do when none begins so.

    Raises:
        WrongUsage: none does, or several.
    """
    found = [each for each in ids if each.hex().startswith(start)]
    if len(found) != 1:
        raise WrongUsage(
            f"{'several ids begin' if found else 'nothing here begins'} with {start}",
            "Write more digits of it." if found else none,
        )
    return found[0]


DURATION: Final = DurationType()
MOMENT: Final = MomentType()
PAST: Final = PastType()
UNTIL: Final = PastType(until=True)
ITEM_ID: Final = HexId(16)
PUBLIC_KEY: Final = HexId(32)
ID_START: Final = IdStart()


def _last_of(day: datetime) -> datetime:
    """Return the last millisecond of a day that begins then; of one that is under way, now."""
    now, last = from_now(timedelta(0)), day + (timedelta(days=1) - timedelta(milliseconds=1))
    return now if day <= now < last else last


def ago(value: timedelta | datetime) -> datetime:
    """Turn what `MOMENT` parsed into a time that lies back, in whole milliseconds."""
    return from_now(-value if isinstance(value, timedelta) else value)


def from_now(value: timedelta | datetime) -> datetime:
    """Turn what `MOMENT` parsed into a time, in whole milliseconds."""
    time = value if isinstance(value, datetime) else datetime.now(UTC) + value
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
