"""Known plaintext is found at every offset, in every length that counts, and nowhere else."""

import random

import pytest

from labelvault.drill import known
from labelvault.drill.evidence import Source
from labelvault.drill.known import FILE_RUN_BYTES, MEMORY_RUN_BYTES, Entry, KnownSearch, read_known
from labelvault.errors import DrillError

TEXT = b"Prefer the answer that names its sources; then the shorter one, if both are right."


def search(data, entries, kind="file", baseline=()):
    """Runs in one source, as (offset, length, labels)."""
    found = KnownSearch(entries, baseline).search([Source("place", data, kind)])
    return [(run.offset, run.length, run.labels) for run in found]


@pytest.mark.parametrize("kind", ["file", "capture"])
def test_the_shortest_run_is_found_at_every_offset(kind):
    """Whatever part of a text, wherever it stands; one byte less is no find."""
    numbers = random.Random(1)
    least = FILE_RUN_BYTES if kind == "file" else MEMORY_RUN_BYTES
    entries = [Entry("guide.md", TEXT, False)]
    for _ in range(300):
        start, offset = numbers.randrange(len(TEXT) - least), numbers.randrange(100)
        before = b"\xfe" * offset
        assert search(before + TEXT[start : start + least] + b"\xfe", entries, kind) == [(offset, least, ("guide.md",))]
        assert search(before + TEXT[start : start + least - 1] + b"\xfe", entries, kind) == []


@pytest.mark.parametrize("length", [100, 128, 129, 500, 70_000])
def test_runs_are_as_long_as_they_are(length):
    """A long run is one find, up to 64 KiB to either side."""
    text = random.Random(2).randbytes(80_000)
    (first, *rest) = search(b"-" * 77 + text[5 : 5 + length] + b"-" * 9, [Entry("file", text, False)])
    assert first[0] == 77
    assert min(length, 1 << 16) <= first[1] <= length
    assert sum(run[1] for run in rest) >= length - first[1] - 12


def test_pieces_that_are_read_at_a_time_lose_nothing():
    """A run across the border of two pieces is found."""
    for shift in range(12):
        data = bytearray((1 << 20) + 100)
        at = (1 << 20) - shift
        data[at : at + 12] = TEXT[:12]
        assert search(bytes(data), [Entry("guide.md", TEXT, False)]) == [(at, 12, ("guide.md",))]


def test_large_texts_are_indexed_in_slabs_that_lose_nothing(monkeypatch):
    """A run across the border of two slabs is found."""
    monkeypatch.setattr(known, "_SLAB_BYTES", 4096)
    text = random.Random(3).randbytes(20_000)
    for at in range(4096 - 24, 4097):
        assert search(b"--" + text[at : at + 24] + b"--", [Entry("small", TEXT, False), Entry("file", text, False)])


def test_a_run_that_two_texts_share_names_both():
    """Which of them was there can't be told from it."""
    other = b"Elsewhere: " + TEXT[:40] + b" and so on"
    entries = [Entry("guide.md", TEXT, False), Entry("other.md", other, False)]
    assert search(b"~" + TEXT[3:30] + b"~", entries) == [(1, 27, ("guide.md", "other.md"))]
    assert search(b"~" + TEXT[3:60] + b"~", entries) == [(1, 57, ("guide.md",))]


def test_texts_do_not_run_into_each_other():
    """The end of one known file and the beginning of the next are no known text."""
    entries = [Entry("one", b"abcdefghijklmnopqrst", False), Entry("two", b"uvwxyz0123456789ABCD", False)]
    assert search(b"--opqrstuvwxyz0--", entries) == []


def test_trivial_runs_are_no_finds():
    """Blanks, rules and zeros stand everywhere."""
    entries = [Entry("table.md", b"|" + b"-" * 40 + b"|" + b" " * 40 + b"\n" * 20 + b"=-" * 10, False)]
    for data in (b"-" * 60, b" " * 60, b"\n" * 30, b" \n" * 20, b"=-" * 12, bytes(100)):
        assert search(data, entries) == []


def test_what_a_process_without_secrets_holds_is_no_find():
    """Only runs that stand in the baseline as a whole are dropped."""
    entries = [Entry("guide.md", TEXT, False)]
    data = b"~~" + TEXT[:60] + b"~~"
    assert search(data, entries, "capture", [b"lib" + TEXT[:60] + b"rary"]) == []
    assert search(data, entries, "capture", [b"lib" + TEXT[:59] + b"rary"]) == [(2, 60, ("guide.md",))]
    assert search(data, entries, "capture", [b"nothing"]) == [(2, 60, ("guide.md",))]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-32-le"])
def test_text_is_found_as_python_holds_it(codec):
    """Letters beyond Latin-1 make a str take two or four bytes a character."""
    text = "Prüfe zuerst – ohne Vorwissen – ob die Antwort stimmt."
    assert search(b"~~" + text.encode(codec) + b"~~", [Entry("guide.md", text.encode(), False)], "capture")


@pytest.mark.parametrize("kind", ["file", "capture", "name", "row"])
def test_names_count_as_whole_lines(kind):
    """A name of 12 bytes or more anywhere; a part of it is no find."""
    entries = [Entry("names.txt:3", b"week fourteen", True)]
    assert search(b"xxweek fourteenyy", entries, kind) == [(2, 13, ("names.txt:3",))]
    assert search(b"xxweek fourteeyy", entries, kind) == []


@pytest.mark.parametrize("kind", ["file", "name", "row"])
def test_short_names_count_where_they_stand_apart(kind):
    """From 6 bytes on; within a word, or in memory, they would be chance."""
    entries = [
        Entry("ids.txt:1", b"q-0081", True),
        Entry("ids.txt:2", b"q-82", True),
        Entry("ids.txt:3", b" " * 7, True),
    ]
    assert search(b'{"q-0081":' + b" " * 9 + b" q-82", entries, kind) == [(2, 6, ("ids.txt:1",))]
    assert search(b"q-00812 aq-0081", entries, kind) == []
    assert search(b"q-0081", entries, "capture") == []


def test_the_folder_is_read_as_it_says(tmp_path):
    """Lines of the two lists, whole other files, folders below; an empty folder is an error."""
    with pytest.raises(DrillError):
        read_known(tmp_path)
    (tmp_path / "names.txt").write_bytes(b"first name\n\nsecond name\r\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "ids.txt").write_bytes(b"a file of its own\n")
    (tmp_path / "empty").write_bytes(b"")
    assert read_known(tmp_path) == [
        Entry("names.txt:1", b"first name", True),
        Entry("names.txt:3", b"second name", True),
        Entry("tasks/ids.txt", b"a file of its own\n", False),
    ]
