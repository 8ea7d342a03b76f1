"""Durations, moments, ids and what is shown of untrusted names."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.cli import output, values


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_durations(text, seconds):
    """A number and one unit."""
    assert values.DURATION.convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d", "0s", "-1d", "1.5h", "7 d", "7D", "99999999d"])
def test_other_durations_are_refused(text):
    """Nothing is guessed."""
    with pytest.raises(click.BadParameter):
        values.DURATION.convert(text, None, None)


def test_a_moment_is_a_duration_or_a_time_with_its_zone():
    """ISO 8601 with an offset becomes UTC; a duration counts from now."""
    assert values.MOMENT.convert("2026-05-01T20:00:00+02:00", None, None) == datetime(2026, 5, 1, 18, tzinfo=UTC)
    before = datetime.now(UTC)
    later = values.from_now(values.MOMENT.convert("1h", None, None))
    assert timedelta(minutes=59) < later - before <= timedelta(hours=1, seconds=5)
    assert later.microsecond % 1000 == 0


@pytest.mark.parametrize("text", ["2026-05-01T20:00:00", "2026-05-01", "tomorrow", "2026-13-01T00:00:00Z"])
def test_a_time_without_its_zone_is_refused(text):
    """Nobody has to guess whose midnight is meant."""
    with pytest.raises(click.BadParameter):
        values.MOMENT.convert(text, None, None)


@pytest.mark.parametrize("text", ["", "00", "g" * 32, "0" * 31, "0" * 33, "0x" + "0" * 30])
def test_an_id_of_the_wrong_form_is_refused(text):
    """Ids are exactly so many hexadecimal digits."""
    with pytest.raises(click.BadParameter):
        values.ITEM_ID.convert(text, None, None)
    assert values.ITEM_ID.convert("0A" * 16, None, None) == b"\x0a" * 16


@given(st.text())
def test_visible_text_is_one_line_without_anything_that_acts(text):
    """Whatever a name holds, what is shown is printable, and its ASCII letters are still there."""
    shown = output.visible(text)
    assert shown.isprintable()
    assert len(shown) >= len(text)


def test_markup_in_a_name_is_not_interpreted():
    """A name can't colour itself."""
    assert output.cell("[red]x[/red]").plain == "[red]x[/red]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "over"), (0, "over"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_spans_are_two_units(seconds, text):
    """Time left is read at a glance."""
    assert output.span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB")])
def test_sizes(count, text):
    """Bytes for people."""
    assert output.size(count) == text
