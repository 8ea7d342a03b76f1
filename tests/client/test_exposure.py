"""The client's exposure statement: named, signed, complete or not, and shown as page and CSV without harm."""

import csv
import html
import io
import re
import shlex
import socket
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from labelvault.auditor import verify_statement
from labelvault.client import ExposureStatement, statement_csv, statement_html
from labelvault.client.exposure_plot import SERIES, timeline
from labelvault.client.exposure_words import INCOMPLETE, grade, headline, remarks, verifying, why
from labelvault.errors import EnrolmentError, FormatError, LedgerError, ProjectError, StoreError
from labelvault.ledger.statement import read_statement
from labelvault.ledger.verdicts import VERDICTS
from labelvault.wire.tiers import WAIVED
from tests.browser import CHROMIUM, browse, pixels
from tests.client.exposing import HOSTILE, History, begin_epoch
from tests.world import MINUTE, World, dump, rows, write_file


@pytest.fixture
def history(world: World) -> History:
    """Something to state."""
    return History(world)


def stated(history: History, surface: str = "vendor") -> ExposureStatement:
    return history.world.lab.statement(surface, history.start, history.end)


def by_name(found: ExposureStatement) -> dict[str, str]:
    return {item.name: item.verdict for item in found.items}


def test_every_item_gets_its_verdict_by_name(history: History) -> None:
    """For the vendor's host, a device, and all: the worst of an item's versions, with who and through what."""
    history.move_on()
    at_vendor = stated(history)
    assert by_name(at_vendor) == {
        "one": "closed-before",
        "two": "unconfirmed",
        "three": "exposed",
        "four": "elsewhere",
        "five": "never-opened",
        "how.md": "exposed",
        "picture.png": "exposed",
        "score.md": "never-opened",
        "answers.jsonl": "never-opened",
    }
    guideline = next(item for item in at_vendor.items if item.name == "how.md")
    assert [(version.version, version.verdict) for version in guideline.versions] == [(1, "exposed"), (2, "exposed")]
    assert any("through 2 tasks" in line for line in why(guideline))
    assert at_vendor.contractors == at_vendor.waived == ("desk 7",)
    assert by_name(stated(history, "desk:desk 7")) == by_name(at_vendor)
    assert by_name(stated(history, "contractor:ada"))["four"] == "exposed"
    assert by_name(stated(history, "contractor:ada"))["three"] == "elsewhere"
    assert stated(history, "all").totals()["exposed"] == 4


def test_the_statement_is_signed_and_changes_nothing(history: History) -> None:
    """Its file is the issuer's, with a row for each version; stating leaves ledger and catalog as they were."""
    before = dump(history.world.client_db)
    found = stated(history)
    signed, rows_ = read_statement(found.file, history.world.lab.certificate.message.issuer)
    assert signed.message == found.statement
    assert len(rows_) == sum(len(item.versions) for item in found.items) == 10
    assert dump(history.world.client_db) == before


def test_a_window_that_the_ledger_has_not_outlived_is_incomplete(history: History) -> None:
    """Loudly, until the ledger has an entry after its end; a window in the future, too."""
    assert not stated(history).statement.complete
    assert remarks(stated(history))[0] == INCOMPLETE
    history.move_on()
    assert stated(history).statement.complete
    assert INCOMPLETE not in remarks(stated(history))
    future = history.world.lab.statement("vendor", history.start, history.world.clock() + timedelta(days=1))
    assert not future.statement.complete


def test_C9_a_clock_that_ran_ahead_completes_no_window_that_is_yet_to_come(history: History) -> None:
    """An entry of years ahead stands in the ledger, and an hour later something is released in the window."""
    world = history.world
    there = world.clock()
    world.clock.advance(timedelta(days=2000))
    history.move_on()
    world.clock.advance(there - world.clock())
    end = there + timedelta(hours=5)
    early = world.lab.statement("vendor", history.start, end)
    assert by_name(early)["five"] == "never-opened"
    assert not early.statement.complete
    history.wait(60)
    history.open_at_desk("five")
    assert by_name(world.lab.statement("vendor", history.start, end))["five"] == "exposed"
    history.wait(300)
    assert world.lab.statement("vendor", history.start, end).statement.complete


def test_what_is_unknown_stands_in_the_headline(world: World) -> None:
    """Nothing is exposed, all is unknown: neither the sentence nor its colour says that all is well."""
    world.lab.freeze("eval")
    begin_epoch(world, world.clock())
    lab = world.open_client()
    start = world.clock.advance(MINUTE)
    world.clock.advance(MINUTE)
    lab.freeze("eval")
    found = lab.statement("all", start, start)
    items = len(found.items)
    assert (found.totals()["unknown"], found.statement.complete) == (items, True)
    assert headline(found).startswith(f"0 of {items} items could be read")
    assert headline(found).endswith(f"; of {items} more nothing is known.")
    assert grade(found) == "open"
    assert '<h1 class="open">' in statement_html(found).decode()


def test_only_what_is_in_no_doubt_is_shown_as_good(history: History) -> None:
    """Exposed, incomplete, erasure unconfirmed, and none of these."""
    lab, before = history.world.lab, history.world.clock() - timedelta(days=9)
    assert grade(stated(history)) == "bad"
    assert grade(lab.statement("contractor:ada", before, history.start)) == "bad"
    history.move_on()
    history.world.enrol(history.world.contractor("eve"), "eve")
    assert grade(lab.statement("contractor:eve", before, history.start)) == "good"
    assert grade(lab.statement("contractor:eve", before, history.world.clock())) == "open"


def test_words_say_what_was_waived(history: History) -> None:
    """The weaker statement, in so many words, and the result in one sentence."""
    found = stated(history)
    assert any(WAIVED in remark and "desk 7" in remark for remark in remarks(found))
    assert headline(found).startswith("3 of 9 items could be read at the vendor's host between ")
    assert not any(WAIVED in remark for remark in remarks(stated(history, "contractor:ada")))


@pytest.mark.parametrize(
    ("surface", "kind"),
    [
        ("desk:ada", EnrolmentError),
        ("desk:nobody", EnrolmentError),
        ("contractor:", FormatError),
        ("host", FormatError),
    ],
)
def test_another_surface_is_refused(history: History, surface: str, kind: type[Exception]) -> None:
    """What is no surface, and a helper that is called a desk."""
    with pytest.raises(kind):
        stated(history, surface)


def test_windows_and_projects_are_checked(history: History) -> None:
    """Backwards, naive, and a project that is not there."""
    lab = history.world.lab
    for start, end in ((history.end, history.start), (history.start.replace(tzinfo=None), history.end)):
        with pytest.raises(FormatError):
            lab.statement("vendor", start, end)
    with pytest.raises(ProjectError):
        lab.statement("vendor", history.start, history.end, "none")
    other = lab.create_project("other")
    assert len(lab.statement("vendor", history.start, history.end, other.name).items) == 0


def test_L2_a_ledger_that_was_changed_is_not_stated(history: History) -> None:
    """An entry that was altered in the database gives another root: no statement is made of it."""
    database = history.world.lab.database
    (data,) = database.row("SELECT entry FROM ledger_entries WHERE number = 9") or ()
    with database.transaction():
        database.execute("UPDATE ledger_entries SET entry = ? WHERE number = 9", data[:-30] + b"!" + data[-29:])
    with pytest.raises(LedgerError):
        stated(history)


def test_R8_a_ledger_that_follows_another_is_stated_with_it(history: History) -> None:
    """After a restore the older ledger's items are there, and unknown at best; the gap is in the statement."""
    history.move_on()
    lab = history.world.lab
    old, reading, newer = begin_epoch(history.world, history.end)
    found = history.world.open_client().statement("vendor", history.start, history.end)
    assert [each.epoch for each in found.statement.ledgers] == [old.epoch, newer.epoch]
    assert [(gap.since, gap.until) for gap in found.statement.gaps] == [(reading.latest, newer.at)]
    assert (found.totals()["exposed"], found.totals()["unknown"]) == (3, 6)
    assert any("the ledger has a gap" in remark for remark in remarks(found))
    exports = [lab.export_ledger(epoch) for epoch in (old.epoch, newer.epoch)]
    assert verify_statement(found.file, exports, lab.fingerprint).statement == found.statement
    with pytest.raises(LedgerError):
        lab.export_ledger(bytes(16))


def hostile(history: History) -> ExposureStatement:
    """A statement in which an item's name and a contractor's would act if they could."""
    world = history.world
    write_file(world.source, "tasks/w3.jsonl", rows(HOSTILE))
    world.project.seal(world.source)
    eve = world.contractor("eve")
    world.enrol(eve, "\u202e@SUM(1)<b>")
    joined = world.join(eve, "\u202e@SUM(1)<b>")
    history.issuer.handle(world.ask(eve, joined, world.task(HOSTILE)).data)
    history.move_on()
    return world.lab.statement("all", history.start, world.clock())


def test_X6_csv_cells_are_no_formulas(history: History) -> None:
    """Names that begin like a formula are quoted as text; a line each for every interval."""
    read = list(csv.DictReader(io.StringIO(statement_csv(hostile(history)).decode("utf-8-sig"))))
    assert any(line["name"] == "'" + HOSTILE for line in read)
    assert any(line["contractor"].startswith("\\u202e@SUM") for line in read)
    for line in read:
        assert not any(str(value).lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "|")) for value in line.values())
    assert {line["verdict"] for line in read if not line["contractor"]} >= {"never-opened", "closed-before"}


@pytest.mark.parametrize("name", ["x;=1+1", "x; @SUM(1)", 'x;"=1', "\uff1d1", "x;\uff0b1"])
def test_X6_csv_cells_are_no_formulas_where_semicolons_separate(world: World, name: str) -> None:
    """Many countries' spreadsheets do that, and some take wide signs for signs."""
    write_file(world.source, "tasks/w3.jsonl", rows(name))
    world.project.seal(world.source)
    found = world.lab.statement("all", world.clock(), world.clock())
    data = statement_csv(found).decode("utf-8-sig")
    assert any(item.name == name for item in found.items)
    for separator in ",;":
        for line in csv.reader(io.StringIO(data), delimiter=separator):
            assert not [cell for cell in line if cell.lstrip(' "').startswith(tuple("=+-@|%\uff1d\uff0b\uff0d\uff20"))]


def test_X6_the_pages_headline_hides_nothing(world: World) -> None:
    """The surface's own name stands in title, headline and remarks."""
    name = "desk\u202e 7\x00<b>"
    desk = world.contractor("desk 7", tier="desk")
    world.enrol(desk, name)
    world.join(desk, name, waive_presence=True)
    page = statement_html(world.lab.statement(f"desk:{name}", world.clock(), world.clock())).decode()
    assert page.count("desk\\u202e 7\\x00&lt;b&gt;") >= 3
    assert not any(mark in page for mark in ("\u202e", "\0", "<b>"))


def test_the_command_to_verify_with_is_one_command(history: History) -> None:
    """Whatever the file is called."""
    words = shlex.split(verifying(stated(history), "my; rm 'it'.jsonl"))
    assert words[:4] == ["labelvault", "verify-statement", "my; rm 'it'.jsonl", "--ledger"]


def test_X6_the_page_is_inert(history: History) -> None:
    """No script, no address, nothing unescaped, and a policy that lets nothing in but its own style."""
    page = statement_html(hostile(history)).decode()
    assert "<script" not in page
    assert "\u202e" not in page
    assert html.escape(HOSTILE) in page
    # No element brings an address, a style or a handler of its own.
    assert not re.search(r"<[^>]*\s(src|href|srcset|style|on\w+)\s*=", page)
    assert not re.search(r"url\(|@import|<(img|link|iframe|object|embed|base|form)\b", page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_page_says_it_all(history: History) -> None:
    """Headline, remarks, totals, each item, rules, limits and how to verify."""
    history.move_on()
    found = stated(history)
    text = html.unescape(statement_html(found).decode())
    for words in (
        headline(found),
        *remarks(found),
        *(line for item in found.items for line in why(item)),
        *(item.name for item in found.items),
        "labelvault verify-statement",
        found.fingerprint,
        "What it does not say",
    ):
        assert words in text, words


def test_the_timeline_counts_each_version_once(history: History) -> None:
    """In the window's middle: three versions at the desk, then four with the new guideline; the doubt goes on."""
    history.move_on()
    line = timeline(stated(history))
    assert set(line.counts) == set(SERIES)
    step = (line.end - line.start) / len(line.counts["desk-waived"])

    def at(minutes: int) -> dict[str, int]:
        place = (history.start + minutes * MINUTE - line.start) // step
        return {name: counts[place] for name, counts in line.counts.items() if counts[place]}

    # `two`, the guideline and the picture are in doubt from before; at the desk the latter two count as open.
    assert at(5) == {"unconfirmed": 3}
    assert at(15) == {"desk-waived": 3, "unconfirmed": 1}
    assert at(25) == {"desk-waived": 4, "unconfirmed": 1}
    assert line.most == 5


class Listener:
    """A proxy that would see whatever a browser asks for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(2)
                line = connection.recv(4096)
                if line == b"end":
                    return
                self.asked.append(line)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"end")
        self._thread.join()
        self._socket.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; .ci/run installs it")
@pytest.mark.parametrize("width", [1100, 500])
def test_X6_a_browser_shows_the_plot_and_asks_for_nothing(history: History, tmp_path: Path, width: int) -> None:
    """Rendered as it is meant to be: the plot's colours are on the picture, and no request left the page."""
    page = tmp_path / "statement.html"
    page.write_bytes(statement_html(hostile(history)))
    listener = Listener()
    try:
        shot = (f"--proxy-server=http://127.0.0.1:{listener.port}", f"--window-size={width},1800")
        browse(page, tmp_path, *shot, "--screenshot=shot.png")
        dom = browse(page, tmp_path, *shot, "--dump-dom").stdout.decode()
    finally:
        listener.close()
    # The browser itself may look for its maker; the page has no address to ask for but those of its hostile names.
    assert not [line for line in listener.asked if b"evil.example" in line or b"statement" in line]
    assert '<path class="s-desk-waived"' in dom
    assert "evil.example" not in re.sub(r">[^<]*<", "><", dom)
    colours = pixels(tmp_path / "shot.png")
    for colour in ((0xB3, 0x26, 0x1E), (0xD9, 0xA5, 0x14), (0xE6, 0xEC, 0xF7)):
        assert colours.get(colour, 0) > 500, colour


def test_items_are_the_rows_by_names_and_each_stands_once(history: History) -> None:
    """The worst first, then by path; counts fit; what the catalog has lost keeps its id; nothing once all is closed."""
    world = history.world
    (lost,) = [each.item for each in world.project.items("task") if each.name == "two"]
    world.lab.close()
    with closing(sqlite3.connect(world.client_db)) as db, db:
        db.execute("DELETE FROM versions WHERE item = ?", (lost,))
        db.execute("DELETE FROM items WHERE item = ?", (lost,))
    lab = world.open_client()
    found = lab.statement("vendor", history.start, history.end)
    items = list(found.items)
    assert [VERDICTS.index(each.verdict) for each in items] == sorted(VERDICTS.index(each.verdict) for each in items)
    assert sorted(each.item for each in items) == sorted({row.item for row in found.rows})
    assert [each for verdict in VERDICTS for each in found.items.of(verdict)] == items
    assert {verdict: found.items.count(verdict) for verdict in VERDICTS} == found.totals()
    counted = {kind: sum(found.totals(kind).values()) for kind in found.items.kinds}
    assert counted == Counter(each.kind for each in items)
    assert [(each.name, each.batch) for each in items if each.kind == "unknown"] == [(lost.hex(), None)]
    known = [each.item for each in lab.project("eval").items()]
    for verdict in VERDICTS:
        places = [known.index(each.item) for each in found.items.of(verdict) if each.item in known]
        assert places == sorted(places)
    lab.close()
    with pytest.raises(StoreError):
        list(found.items)
