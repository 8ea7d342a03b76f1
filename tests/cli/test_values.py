"""Durations, moments, ids and what is shown of untrusted names."""

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import tzset

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

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


def test_a_day_is_whole_from_its_first_moment_or_until_its_last():
    """Of today, until now: what is yet to come is no part of it; a day ahead is meant as it is said."""
    assert values.PAST.convert("2026-05-01", None, None) == datetime(2026, 5, 1, tzinfo=UTC)
    assert values.UNTIL.convert("2026-05-01", None, None) == datetime(2026, 5, 1, 23, 59, 59, 999000, tzinfo=UTC)
    assert values.UNTIL.convert("2100-01-01", None, None).date().isoformat() == "2100-01-01"
    before = values.from_now(timedelta(0))
    today = values.UNTIL.convert(before.date().isoformat(), None, None)
    assert before <= today <= values.from_now(timedelta(0))
    noon = "2026-05-01T12:00:00Z"
    assert values.UNTIL.convert(noon, None, None) == values.PAST.convert(noon, None, None)


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


@pytest.mark.parametrize("mark", ["\u3164", "\u2800", "\u034f", "\ufe0f", "\u200b", "\u202e", "\u00a0"])
def test_two_names_never_differ_by_what_nobody_sees(mark):
    """Blank letters, joiners and selectors are shown as what they are; letters and accents stay."""
    assert output.visible(f"desk{mark}7") != output.visible("desk7")
    assert mark not in output.visible(f"desk{mark}7")
    for name in ("Zoë", "Zoe\u0308", "한국어", "ภาษาไทย", "हिन्दी", "Việt"):
        assert output.visible(name) == name


def test_a_heap_of_accents_does_not_reach_into_other_lines():
    """Three on one letter are drawn; what is piled on them is shown as escapes."""
    shown = output.visible("a" + "\u0301" * 100)
    assert shown.startswith("a\u0301\u0301\u0301\\u0301")
    assert shown.count("\u0301") == 3


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


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes(count, text):
    """Bytes for people."""
    assert output.size(count) == text


def test_no_colour_is_unreadable_on_a_light_or_a_dark_terminal():
    """Yellow vanishes on white and dim on both; neither is used."""
    for path in (Path(__file__).resolve().parents[2] / "labelvault" / "cli").glob("*.py"):
        assert not re.search(r"""["'](?:bold )?(?:yellow|dim|white|black)["']""", path.read_text()), path


def test_times_are_local_on_a_terminal_and_utc_elsewhere(monkeypatch):
    """Whoever reads a screen need not count hours; whoever reads a file need not know where it was written."""
    time = datetime(2026, 4, 1, 12, tzinfo=UTC)
    assert output.moment(time) == "2026-04-01 12:00:00Z"
    monkeypatch.setenv("TZ", "Europe/Oslo")
    tzset()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert output.moment(time) == "2026-04-01 14:00:00+02:00"
    monkeypatch.setenv("TZ", "UTC")
    tzset()
    assert output.moment(time) == "2026-04-01 12:00:00Z"


def test_an_id_is_one_of_those_that_are_there():
    """None, one and several are told apart, and each says what to do."""
    ids = [b"\x0a" * 16, b"\x0a" * 15 + b"\x0b", b"\x0c" * 16]
    assert values.the_one("0c0c0c0c", ids) == ids[2]
    for start, message, step in (("0a0a0a0a", "several", "more digits"), ("0d0d0d0d", "nothing", "contractor list")):
        with pytest.raises(values.WrongUsage, match=message) as caught:
            values.the_one(start, ids)
        assert step in caught.value.next_step


def test_ids_of_any_length_are_told_apart():
    """What two ids share is never all that is shown of them."""
    first, second = b"\x0a" * 16, b"\x0a" * 8 + b"\x0b" * 8
    listing = output.table("t", ["id"], [(first,), (second,)])
    written = io.StringIO()
    Console(width=20, file=written).print(listing)
    shown = written.getvalue().split()
    assert len({each for each in shown if each.startswith("0a")}) == 2


def test_a_value_without_a_json_form_is_no_silent_text():
    """Only ids, times and paths are turned into text."""
    with pytest.raises(TypeError):
        output.Output(True).json({"x": object()})
