"""`labelvault client ls`, `grants` and `ledger show`: parts, filters, names, and what fits a narrow terminal."""

from datetime import UTC, datetime

import pytest

from labelvault.cli import exits
from labelvault.cli.client_ledger import _what
from labelvault.client import LedgerLine
from labelvault.ledger import entries


def test_ls_shows_a_part_at_a_time(world):
    """What `next` says leads on to the rest, in prose and as JSON; totals are of all."""
    whole = world.client("ls", "ferry", "--json").json
    assert (whole["total"], whole["next"]) == (13, None)
    first = world.client("ls", "ferry", "--limit", 5, "--json").json
    assert (len(first["items"]), first["total"]) == (5, 13)
    rest = world.client("ls", "ferry", "--after", first["next"], "--json").json
    assert first["items"] + rest["items"] == whole["items"]
    shown = world.client("ls", "ferry", "--limit", 5)
    assert "5 of 13 items" in shown.out
    assert f"--after {first['next']}" in shown.out


@pytest.mark.parametrize(
    ("words", "total"),
    [
        (("--kind", "task"), 7),
        (("--batch", "week-15"), 3),
        (("--name", "rating"), 1),
        (("--name", "fa-104*"), 4),
        (("--name", "guidelines/"), 3),
        (("--changed-since", "1h"), 13),
        (("--changed-since", "2100-01-01T00:00:00Z"), 0),
        (("--kind", "task", "--batch", "week-15", "--name", "fa"), 3),
    ],
)
def test_ls_filters(world, words, total):
    """Each alone and together."""
    assert world.client("ls", "ferry", *words, "--json").json["total"] == total


@pytest.mark.parametrize(
    "words",
    [("--name", "x"), ("--after", "x"), ("ferry", "--versions", "x", "--name", "y"), ("ferry", "--limit", 0)],
)
def test_filters_need_a_project_and_their_values(world, words):
    """Nothing is ignored silently."""
    assert world.client("ls", *words).code == exits.USAGE


def test_ls_says_what_is_frozen(world):
    """A frozen project shows in prose and as JSON."""
    assert world.client("freeze", "ferry").code == exits.OK
    assert "frozen" in world.client("ls").out
    (project,) = world.client("ls", "--json").json["projects"]
    assert (project["frozen"], project["items"], project["batches"], project["grants"]) == (True, 13, 2, 0)


def test_grants_show_scope_and_use(world, issuer):
    """By name, with what was used in all and in the last hour."""
    world.admit()
    assert world.grant("ada", "--item", "fa-1041", "--not-before", "1d").code == 0
    assert world.contractor("open", world.tasks["fa-1042"], "--grant", oldest(world)).code == 0
    first, second = world.client("grants", "--json").json["grants"]
    assert (first["batches"], first["tasks"], first["total"], first["last_hour"]) == (["week-14"], [], 1, 1)
    assert (second["tasks"], second["total"]) == (["fa-1041"], 0)
    shown = world.client("grants", "ferry", "--contractor", "ada").out
    assert all(word in shown for word in ("week-14", "fa-1041", "1/9", "1/50", "30 min", "not begun", "active"))
    assert world.client("grants", "none").code == exits.BAD_INPUT
    assert world.client("grants", "--contractor", "eve").code == exits.KEYS
    assert world.client("revoke", "grant", first["grant"][:8]).code == exits.OK
    assert world.client("grants", "--json").json["grants"][0]["revoked"]


def oldest(world):
    """Return the id of the first grant."""
    return world.client("grants", "--json").json["grants"][0]["grant"]


def test_the_ledger_is_shown_with_names(world, issuer):
    """Every kind of entry that this story makes reads as a line of words."""
    world.admit()
    assert world.contractor("open", world.tasks["fa-1042"]).code == 0
    assert world.contractor("open", "00" * 16).code == exits.REFUSED
    assert world.client("freeze", "ferry").code == 0
    assert world.client("unfreeze", "ferry").code == 0
    assert world.client("revoke", "grant", oldest(world)).code == 0
    assert world.client("revoke", "contractor", "ada").code == 0
    shown = world.client("ledger", "show", "--last", 100).out
    for words in (
        "serial 1",
        "rating.md, version 1, in ferry",
        "ada (helper)",
        "ferry to ada until",
        "fa-1042 with",
        "ada opened fa-1042",
        "ada closed fa-1042 (best-effort)",
        "ada: unknown",
        "ferry frozen",
        "ferry can be opened again",
        "grant ada on ferry",
        "contractor ada",
    ):
        assert words in shown, words


def test_the_ledger_is_shown_by_kind_and_as_json(world):
    """Ids and fields are the entry's own; names stand beside them."""
    world.enrol()
    (entry,) = world.client("ledger", "show", "--type", "enrolled", "--json").json["entries"]
    assert (entry["type"], entry["tier"], entry["names"]) == ("enrolled", "helper", {"contractor": "ada"})
    assert len(entry["contractor"]) == 64
    two = world.client("ledger", "show", "--last", 2, "--json").json["entries"]
    assert two[1]["number"] == two[0]["number"] + 1
    assert world.client("ledger", "show", "--type", "bogus").code == exits.USAGE


def test_ids_are_cut_where_they_do_not_fit_and_taken_back(world, monkeypatch):
    """At 80 columns no id is folded, and what is shown is enough for the commands."""
    world.admit()
    item = world.client("ls", "ferry", "--kind", "gold", "--json").json["items"][0]["item"]
    assert item in world.client("ls", "ferry", "--kind", "gold").out
    monkeypatch.setenv("COLUMNS", "80")
    shown = world.client("ls", "ferry", "--kind", "gold").out
    assert item not in shown
    assert item[:12] in shown
    assert "calibration.jsonl" in shown
    assert len(shown.splitlines()) == 4
    assert world.client("ls", "ferry", "--versions", item[:12]).code == exits.OK
    for words in (("ls",), ("grants",), ("ledger", "show")):
        assert max(map(len, world.client(*words).out.splitlines())) <= 80, words


AT = datetime(2026, 5, 1, tzinfo=UTC)
ID, KEY = b"\x0a" * 16, b"\x0b" * 32


@pytest.mark.parametrize(
    ("entry", "names", "text"),
    [
        (entries.Rotated(AT, "kek", ID, 3), {"project": "ferry"}, "key 3 of ferry"),
        (entries.Rotated(AT, "root", None, 0), {}, "root key"),
        (entries.Shredded(AT, ID, 2, 13), {}, "0a0a0a0a0a0a: 2 keys and 13 wraps destroyed"),
        (entries.Restored(AT, ID, 7, KEY, AT), {}, "known up to entry 7, of 2026-05-01"),
        (entries.Alarmed(AT, KEY, KEY, ID, ID, "honey"), {"contractor": "ada"}, "ada asked for 0a0a0a0a0a0a of"),
        (entries.Junk(AT, AT, 5), {}, "5 messages that deserved no entry since 2026-05-01"),
        (entries.Revoked(AT, "batch", ID), {"id": "week-14 of ferry"}, "batch week-14 of ferry"),
        (entries.ReceiptEntry(AT, KEY, KEY, "opened", None), {}, "0b0b0b0b0b0b opened 0b0b0b0b0b0b"),
    ],
)
def test_every_kind_of_entry_reads_as_a_line(entry, names, text):
    """With names where there are any, else with the beginning of the id."""
    assert text in _what(LedgerLine(0, "x", entry, names))
