"""`labelvault client exposure` and `verify-statement`: totals first, every way to fail with its own exit code."""

import json

import pytest

from labelvault.cli import exits


@pytest.fixture
def stated(world, issuer):
    """A world in which ada opened a task; the statement's file, an export, and a window round the opening."""
    world.admit()
    assert world.contractor("open", world.tasks["fa-1042"]).code == exits.OK
    files = {name: world.folder / f"s.{name}" for name in ("jsonl", "html", "csv")}
    ran = world.client(
        *("exposure", "--surface", "contractor:ada", "--from", "1h ago", "--to", "2100-01-01"),
        *("-o", files["jsonl"], "--html", files["html"], "--csv", files["csv"], "--json"),
    )
    assert ran.code == exits.OK, ran
    assert world.client("ledger", "export", "-o", world.folder / "ledger").code == exits.OK
    return ran.json, files, world.folder / "ledger"


def test_exposure_says_totals_items_and_writes_files(world, stated):
    """As JSON, all of it by name; the files are there; and the ledger has not outlived the window."""
    facts, files, _ = stated
    assert facts["totals"]["exposed"] == sum(facts["totals"].values()) - facts["totals"]["never-opened"] > 1
    assert facts["headline"].endswith(" UTC.")
    assert (facts["complete"], facts["contractors"]) == (False, ["ada"])
    task = next(item for item in facts["items"] if item["name"] == "fa-1042")
    (version,) = task["versions"]
    assert [each["contractor"] for each in version["intervals"]] == ["ada"]
    assert files["html"].read_bytes().startswith(b"<!doctype html>")
    assert files["csv"].read_bytes().startswith(b"\xef\xbb\xbf")
    assert set(facts["written"]) == {"statement", "html", "csv"}


def test_exposure_reads_on_a_terminal(world, stated, monkeypatch):
    """The sentence first, INCOMPLETE at once behind it, then totals, then items with reasons, at 80 columns too."""
    monkeypatch.setenv("COLUMNS", "80")
    ran = world.client("exposure", "--surface", "contractor:ada", "--from", "1h", "--to", "2100-01-01")
    lines = ran.out.splitlines()
    assert "items could be read on the device of “ada” between" in " ".join(lines[:2])
    assert ran.out.index("INCOMPLETE") < ran.out.index("Totals") < ran.out.index("fa-1042")
    assert "Warning: the statement is not complete" in ran.err
    assert "ask again with --to 2100-01-01T23:59:59.999Z" in " ".join(ran.err.split())
    assert max(map(len, lines)) <= 80
    clean = world.client("exposure", "--surface", "vendor", "--from", "2026-01-01", "--to", "2026-01-02T00:00:00Z")
    assert clean.out.startswith("0 of 13 items could be read at the vendor's host between 2026-01-01 00:00 and")
    assert "No contractor's key lay there" in clean.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--surface", "vendor", "--from", "yesterday", "--to", "now"), exits.USAGE),
        (("--surface", "vendor", "--from", "2026-05-01T10:00:00", "--to", "now"), exits.USAGE),
        (("--surface", "vendor", "--from", "now", "--to", "1d ago"), exits.BAD_INPUT),
        (("--surface", "host", "--from", "1d", "--to", "now"), exits.BAD_INPUT),
        (("--surface", "desk:ada", "--from", "1d", "--to", "now"), exits.KEYS),
        (("--surface", "vendor", "--from", "1d", "--to", "now", "--project", "none"), exits.BAD_INPUT),
    ],
)
def test_what_can_not_be_stated_is_said(world, words, code):
    """No statement, no file."""
    world.enrol()
    file = world.folder / "none.jsonl"
    assert world.client("exposure", *words, "-o", file).code == code
    assert not file.exists()


def test_no_output_overwrites_another(world):
    """Whoever names one file twice would be left with a page in place of the statement."""
    file, page = world.folder / "s.jsonl", world.folder / "." / "s.jsonl"
    ran = world.client("exposure", "--surface", "vendor", "--from", "1d", "--to", "now", "-o", file, "--html", page)
    assert ran.code == exits.USAGE
    assert not file.exists()


def test_verify_statement_needs_no_home(world, stated, cli):
    """By words or by a file with them; it says what was verified, and that it is incomplete."""
    facts, files, ledger = stated
    words = world.folder / "fingerprint"
    words.write_text(world.fingerprint + "\n")
    for client in (world.fingerprint, words):
        ran = cli("verify-statement", files["jsonl"], "--ledger", ledger, "--client", client)
        assert ran.code == exits.OK
        assert "exactly what the ledgers give" in ran.out
        assert "INCOMPLETE" in ran.out
    checked = cli("verify-statement", files["jsonl"], "--ledger", ledger, "--client", words, "--json").json
    assert checked["root"] == facts["root"]
    assert sum(checked["totals"].values()) == facts["versions"]


def test_verify_statement_exits_by_what_failed(world, stated, cli):
    """Another client, an altered row, an altered ledger, an old export, a file that is no statement."""
    _, files, ledger = stated
    data = files["jsonl"].read_bytes().splitlines(keepends=True)
    rows, junk, short = world.folder / "rows", world.folder / "junk", world.folder / "short"
    rows.write_bytes(b"".join([*data[:1], *data[2:], data[1]]))
    junk.write_bytes(b"no statement\n")
    lines = ledger.read_bytes().splitlines(keepends=True)
    short.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    other = "lusab-" * 7 + "lusab"
    for file, book, client, code, kind in (
        (files["jsonl"], ledger, other, exits.KEYS, "EnrolmentError"),
        (rows, ledger, world.fingerprint, exits.AUTHENTICITY, "LedgerError"),
        (files["jsonl"], short, world.fingerprint, exits.AUTHENTICITY, "LedgerError"),
        (junk, ledger, world.fingerprint, exits.BAD_INPUT, "FormatError"),
        (files["jsonl"], junk, world.fingerprint, exits.BAD_INPUT, "FormatError"),
    ):
        ran = cli("verify-statement", file, "--ledger", book, "--client", client, "--json")
        assert (ran.code, json.loads(ran.out)["error"]["kind"]) == (code, kind)


def test_a_text_that_is_too_long_for_a_file_is_no_fingerprint(world, stated, cli):
    """It is looked at as words, and says so; nothing is said of a path. Likewise a verifier key."""
    _, files, ledger = stated
    ran = cli("verify-statement", files["jsonl"], "--ledger", ledger, "--client", "x" * 5000)
    assert ran.code == exits.KEYS
    assert "File name" not in ran.err
    ran = cli("ledger", "verify", ledger, "--issuer", "x" * 5000)
    assert ran.code == exits.BAD_INPUT
    assert "File name" not in ran.err


def test_check_ledger_holds_the_client_to_its_ledger(world, stated):
    """All of this device's leases are in the export; one that is cut does not verify; nothing joined is said."""
    _, _, ledger = stated
    ran = world.contractor("check-ledger", ledger)
    assert ran.code == exits.OK, ran
    assert "Every lease of this device stands in the ledger." in ran.out
    assert world.contractor("open", world.tasks["fa-1041"]).code == exits.OK
    facts = world.contractor("check-ledger", ledger, "--json").json
    assert (len(facts["found"]), len(facts["later"])) == (1, 1)
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert world.contractor("check-ledger", ledger).code == exits.AUTHENTICITY
    world.enrol("ben")
    assert world.contractor("check-ledger", ledger, home="ben").code == exits.KEYS
