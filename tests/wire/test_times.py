"""Times: aware UTC, whole milliseconds, 1970 to 9999; the same answer at both ends."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.wire.times import MAX_MS, check_time, from_ms, to_ms, truncate

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)


class NoOffset(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None


@given(st.integers(0, MAX_MS))
def test_times_round_trip(ms: int) -> None:
    """Every millisecond of the range is one time, and comes back."""
    moment = from_ms(ms)
    assert moment.tzinfo is UTC
    assert to_ms(moment) == ms
    assert truncate(moment) == check_time(moment) == moment


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_truncating_rounds_down_to_a_millisecond(moment: datetime) -> None:
    """By less than a millisecond, never up, so that no clock says a time before it comes."""
    rounded = truncate(moment)
    assert timedelta(0) <= moment - rounded < timedelta(milliseconds=1)
    assert from_ms(to_ms(rounded)) == rounded


def test_ends_of_the_range() -> None:
    """1970 and the last millisecond of 9999 are times; what lies beyond is not."""
    assert from_ms(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert from_ms(MAX_MS) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert to_ms(from_ms(MAX_MS)) == MAX_MS


@pytest.mark.parametrize("ms", [-1, -(2**63), MAX_MS + 1, 2**63 - 1, 2**64])
def test_P4_milliseconds_outside_the_range_are_refused(ms: int) -> None:
    """Before 1970 or after 9999: refused, never wrapped, and no OverflowError leaks."""
    with pytest.raises(FormatError):
        from_ms(ms)


@pytest.mark.parametrize(
    "moment",
    [
        NOW.replace(tzinfo=None),
        NOW.replace(tzinfo=NoOffset()),
        NOW.astimezone(timezone(timedelta(hours=2))),
        NOW.astimezone(timezone(timedelta(microseconds=-1))),
        NOW + timedelta(microseconds=1),
        NOW - timedelta(microseconds=1),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
    ids=str,
)
def test_R6_times_that_could_be_read_two_ways_are_refused(moment: datetime) -> None:
    """Naive, of another zone, finer than a millisecond or before 1970: refused by whatever takes a time."""
    with pytest.raises(FormatError):
        to_ms(moment)
    with pytest.raises(FormatError):
        check_time(moment)


@pytest.mark.parametrize(
    "moment",
    [NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(hours=2))), datetime(1969, 1, 1, tzinfo=UTC)],
    ids=str,
)
def test_R6_truncating_mends_nothing_but_the_resolution(moment: datetime) -> None:
    """A naive or local time stays refused."""
    with pytest.raises(FormatError):
        truncate(moment)


def test_R6_another_name_for_UTC_is_the_same_time() -> None:
    """A zone at offset zero says the same milliseconds."""
    assert to_ms(NOW.replace(tzinfo=timezone(timedelta(0), "GMT"))) == to_ms(NOW)


def test_R6_leap_second_is_no_time_of_its_own() -> None:
    """Unix milliseconds have no 23:59:60; the second after 23:59:59 is midnight at both ends."""
    before = to_ms(datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert from_ms(before + 1000) == datetime(2017, 1, 1, tzinfo=UTC)
