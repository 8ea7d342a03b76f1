"""Verdicts: each one by its own case, the worst wins, and a brute-force model of random histories."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.ledger.entries import Entry, Released, Sealed
from labelvault.ledger.exposure import open_items
from labelvault.ledger.verdicts import MAX_INTERVALS, VERDICTS, Verdicts, VersionVerdict, Window, verdicts
from labelvault.wire.schema import decode_record, encode_record
from tests.ledger.test_exposure import ADA, BEN, DESK, END, GUIDE, OTHER, START, TASK, at, closed, released, revoked

PROJECT = bytes(16)
WINDOW = Window(frozenset({ADA}), START, END)


def sealed(item: bytes = TASK, version: int = 1, minutes: float = -600, project: bytes = PROJECT) -> Sealed:
    return Sealed(at=at(minutes), project=project, item=item, version=version, digest=bytes(32))


def found(*entries: Entry, window: Window = WINDOW) -> list[VersionVerdict]:
    return verdicts(entries, window)


def only(*entries: Entry, window: Window = WINDOW) -> VersionVerdict:
    (row,) = found(sealed(), *entries, window=window)
    return row


CASES: list[tuple[str, tuple[Entry, ...]]] = [
    ("never-opened", ()),
    ("elsewhere", (released(1, -30, BEN),)),
    ("elsewhere", (released(1, 30, BEN),)),
    ("closed-before", (released(1, -30), closed(1, -1))),
    ("closed-before", (released(1, -30), closed(1, -1), released(2, 30, BEN))),
    ("after", (released(1, 121, BEN),)),
    ("after", (released(1, -30), closed(1, -1), released(2, 121, BEN))),
    ("unconfirmed", (released(1, -90),)),
    ("unconfirmed", (released(1, -30), closed(1, -1, "best-effort"))),
    ("exposed", (released(1, -30),)),
    ("exposed", (released(1, -30), closed(1, 1))),
    ("exposed", (released(1, 60),)),
    ("exposed", (released(1, -90), released(2, 60))),
    ("exposed", (released(1, 121),)),
    ("after", (revoked(120), released(1, 121, BEN))),
]


@pytest.mark.parametrize(("verdict", "entries"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_each_verdict_by_its_case(verdict: str, entries: tuple[Entry, ...]) -> None:
    """One history, one verdict; what is exposed or unconfirmed says under which leases."""
    row = only(*entries)
    assert row.verdict == verdict
    assert bool(row.intervals) == (verdict in ("exposed", "unconfirmed"))
    assert decode_record(VersionVerdict, encode_record(row)) == row


def test_every_verdict_has_a_case() -> None:
    """A verdict that is added needs one; `unknown` has its own test."""
    assert {verdict for verdict, _ in CASES} | {"unknown"} == set(VERDICTS)


def test_R8_a_gap_leaves_unknown_what_was_sealed_before_its_end() -> None:
    """Nothing better is said of an item that could have been released unrecorded; nothing worse is taken back."""
    gap = (at(-240), at(-120))
    window = Window(WINDOW.contractors, START, END, gaps=(gap,))
    for entries in ((), (released(1, -30), closed(1, -1)), (released(1, -90),), (released(1, 30, BEN),)):
        assert only(*entries, window=window).verdict == "unknown"
    assert only(released(1, 30), window=window).verdict == "exposed"
    (row,) = found(sealed(minutes=-119), window=window)
    assert row.verdict == "never-opened"
    (row,) = found(sealed(minutes=-120), window=window)
    assert row.verdict == "unknown"


def test_a_guideline_is_exposed_through_the_tasks_that_required_it() -> None:
    """One row draws overlapping leases of several tasks together, and names a task where it was one."""
    rows = found(
        sealed(),
        sealed(OTHER),
        sealed(GUIDE),
        released(1, 0, items=(TASK, GUIDE)),
        released(2, 30, items=(OTHER, GUIDE)),
    )
    by_item = {row.item: row for row in rows}
    (guide,) = by_item[GUIDE].intervals
    assert (guide.leases, guide.task, guide.since, guide.until) == (2, None, at(0), at(90))
    (task,) = by_item[TASK].intervals
    assert (task.leases, task.task, task.contractor) == (1, TASK, ADA)


def test_an_item_with_thousands_of_leases_has_a_row_of_bounded_size() -> None:
    """Leases that don't overlap stay apart up to a bound; then they are drawn together, and none is lost."""
    surface = frozenset(bytes([number]) * 32 for number in range(150))
    entries = [
        released(100 * number + lease, 2 * lease * 0.1, bytes([number]) * 32, ttl=0.1)
        for number in range(150)
        for lease in range(3)
    ]
    window = Window(surface, START, END)
    (row,) = found(sealed(), *entries, window=window)
    assert len(row.intervals) == 150
    assert sum(interval.leases for interval in row.intervals) == 450
    more = [released(10_000 + number, 1, bytes([number]) * 32, tier="desk", presence="waived") for number in range(150)]
    (row,) = found(sealed(), *entries, *more, window=window)
    assert {interval.contractor for interval in row.intervals} == {None}
    assert len(row.intervals) <= MAX_INTERVALS
    assert sum(interval.leases for interval in row.intervals) == 600
    assert len(encode_record(row)) < 60_000


def test_only_the_asked_project_is_stated() -> None:
    """Another project's items are left out, whatever was released of them."""
    other = b"q" * 16
    window = Window(WINDOW.contractors, START, END, project=other)
    rows = found(sealed(), sealed(OTHER, project=other), released(1, 0), window=window)
    assert [(row.project, row.item, row.verdict) for row in rows] == [(other, OTHER, "never-opened")]


def test_earlier_versions_are_part_of_an_items_verdict() -> None:
    """A new version that nobody opened does not hide that the old one was."""
    rows = Verdicts([sealed(), released(1, 0), sealed(version=2, minutes=200), sealed(OTHER)], WINDOW)
    assert [(row.item, row.version, row.verdict) for row in rows] == [
        (OTHER, 1, "never-opened"),
        (TASK, 1, "exposed"),
        (TASK, 2, "never-opened"),
    ]
    assert list(rows.worst()) == [(PROJECT, OTHER, "never-opened"), (PROJECT, TASK, "exposed")]


def test_a_version_that_nobody_opened_takes_little_memory() -> None:
    """A million of them are to fit beside all else in 300 MiB; rows are made one by one."""
    count = 20_000
    entries = (sealed(number.to_bytes(16, "big")) for number in range(count))
    tracemalloc.start()
    try:
        rows = Verdicts(entries, WINDOW)
        assert sum(1 for _ in rows) == len(rows) == count
        assert sum(1 for _ in rows.worst()) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * count


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["release", "close", "close badly", "revoke"]),
        st.sampled_from([ADA, BEN, DESK]),
        st.sampled_from([TASK, OTHER]),
        st.integers(1, 6),
        st.integers(0, 40),
    ),
    max_size=14,
)


@settings(max_examples=400)
@given(STEPS, st.sets(st.sampled_from([ADA, BEN, DESK])), st.booleans())
def test_L4_verdicts_equal_a_model_of_each_item(
    steps: list[tuple[str, bytes, bytes, int, int]], surface: set[bytes], gap: bool
) -> None:
    """Item by item, the rule read literally from the page gives the same; nothing that could be read is left out."""
    clock = -300.0
    entries: list[Entry] = [sealed(), sealed(OTHER)]
    gone: set[bytes] = set()
    for what, key, item, number, minutes in steps:
        clock += minutes
        if what == "release" and key not in gone:
            tier, presence = ("desk", "waived") if key == DESK else ("helper", "device")
            entries.append(released(number, clock, key, tier=tier, presence=presence, items=(item,)))
        elif what == "revoke":
            gone.add(key)
            entries.append(revoked(clock, key))
        elif what.startswith("close"):
            entries.append(closed(number, clock, "process-exit" if what == "close" else "best-effort", key))
    gaps = ((at(-400), at(-350)),) if gap else ()
    window = Window(frozenset(surface), START, END, gaps=gaps)
    rows = {row.item: row.verdict for row in found(*entries, window=window)}
    stated = open_items(entries, contractors=frozenset(surface), start=START, end=END)
    releases = [entry for entry in entries if isinstance(entry, Released)]
    for item in (TASK, OTHER):
        reasons = {each.reason for each in stated if each.item == item}
        mine = [each for each in releases if each.task == item]
        if reasons & {"open", "key-taken"}:
            expected = "exposed"
        elif gap:
            expected = "unknown"
        elif reasons:
            expected = "unconfirmed"
        elif any(each.issued_at > END for each in mine):
            expected = "after"
        elif any(each.contractor in surface for each in mine):
            expected = "closed-before"
        else:
            expected = "elsewhere" if mine else "never-opened"
        assert rows[item] == expected
