"""Reading a long ledger the short way: the same verdicts, keys, root and times as by decoding all of it."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.ledger.entries import Alarmed, Certified, Denied, Enrolled, Entry, Restored, Sealed, encode_entry
from labelvault.ledger.exposure import all_contractors, vendor_host
from labelvault.ledger.scan import Reading, naming, needed
from labelvault.ledger.tree import leaf_hash, root_of_leaves
from labelvault.ledger.verdicts import Window, verdicts
from labelvault.wire.times import from_ms
from tests.ledger.test_exposure import ADA, BEN, CONTRACTORS, DESK, ENTRIES, MINUTES, START, at

EARLY = from_ms(1000)
OTHERS = st.one_of(
    st.builds(lambda minutes, key: Enrolled(at(minutes), key, "desk", True), MINUTES, CONTRACTORS),
    st.builds(lambda minutes, key: Enrolled(at(minutes), key, "helper", False), MINUTES, CONTRACTORS),
    st.builds(
        lambda minutes: Alarmed(at(minutes), bytes(32), ADA, bytes(16), bytes(16), "honey"), st.integers(-40, 300)
    ),
    st.builds(lambda minutes: Denied(at(minutes), bytes(32), BEN, bytes(16), "unknown"), st.integers(-40, 300)),
    st.builds(lambda minutes: Certified(at(minutes), DESK, 1, bytes(32), bytes(16)), MINUTES),
    st.builds(lambda: Sealed(EARLY, bytes(16), b"t" * 16, 1, bytes(32))),
    st.builds(lambda minutes: Restored(at(minutes), bytes(16), 3, bytes(32), START.replace(year=2020)), MINUTES),
)


def raw(entries: Iterable[Entry]) -> list[bytes]:
    return [encode_entry(entry) for entry in entries]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(ENTRIES, ENTRIES, OTHERS), max_size=16), st.frozensets(CONTRACTORS), MINUTES)
def test_L4_the_short_way_gives_the_same(entries: list[Entry], surface: frozenset[bytes], minutes: float) -> None:
    """Whatever clocks did, leaving entries out changes no verdict, and no key on any surface."""
    window = Window(surface, at(minutes), at(minutes + 30))
    assert verdicts(needed(raw(entries)), window) == verdicts(entries, window)
    named = list(naming(raw(entries)))
    assert vendor_host(named) == vendor_host(entries)
    assert all_contractors(named) == all_contractors(entries)
    assert [each for each in named if isinstance(each, Restored)] == [e for e in entries if isinstance(e, Restored)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(ENTRIES, OTHERS), max_size=40))
def test_L1_the_running_root_is_the_trees(entries: list[Entry]) -> None:
    """Entries that go by one by one give size, root and latest time of all."""
    reading = Reading()
    assert list(reading.through(raw(entries))) == raw(entries)
    assert reading.size == len(entries)
    assert reading.root == root_of_leaves([leaf_hash(each) for each in raw(entries)])
    assert reading.latest == max((entry.at for entry in entries), default=None)
