"""`labelvault client ...`: every command, its JSON, its refusals."""

import contextlib
import shutil
import sqlite3
import stat

import pytest

from labelvault.cli import exits
from labelvault.crypto.merkle import leaf_hash
from tests.cli.conftest import EXAMPLE


def test_init_prints_the_fingerprint_and_refuses_a_second_time(tmp_path, cli, passphrase_file):
    """A home is made once; running init again changes nothing."""
    where = ("--home", tmp_path / "c", "--passphrase-file", passphrase_file)
    ran = cli("client", "init", "--vault", f"sqlite:///{tmp_path}/v.db", *where)
    assert ran.code == exits.OK
    assert "Fingerprint: " in ran.out
    before = {file: file.read_bytes() for file in (tmp_path / "c").iterdir() if file.is_file()}
    again = cli("client", "init", "--vault", f"sqlite:///{tmp_path}/other.db", *where, "--json")
    assert again.code == exits.KEYS
    assert again.json["error"]["kind"] == "KeystoreError"
    assert {file: file.read_bytes() for file in (tmp_path / "c").iterdir() if file.is_file()} == before


def test_a_wrong_passphrase_is_refused(world):
    """The exit code says that it is the key file's matter, and nothing else happens."""
    world.passphrase_file.write_text("wrong\n")
    ran = world.client("ls", "--json")
    assert ran.code == exits.KEYS
    assert ran.json["error"]["kind"] == "KeystorePassphraseError"


def test_without_a_passphrase_source_nobody_is_asked(world, cli):
    """In a script a missing passphrase is wrong usage, not a hanging prompt."""
    ran = cli("client", "ls", "--home", world.folder / "client")
    assert ran.code == exits.USAGE
    assert "--passphrase-file" in ran.err


def test_sealing_again_seals_nothing_and_says_what_one_opening_brings(world):
    """The second run finds everything unchanged; the batches and what each task requires are listed."""
    ran = world.client("seal", "ferry", EXAMPLE, "--json")
    assert ran.code == exits.OK
    assert (ran.json["new"], ran.json["changed"], ran.json["same"]) == (0, 0, 13)
    assert sum(each["tasks"] for each in ran.json["openings"]) == 7
    assert {each["batch"] for each in ran.json["openings"]} == {"week-14", "week-15"}
    shown = world.client("seal", "ferry", EXAMPLE)
    assert "0 new, 0 changed, 13 same" in shown.out
    assert "rating.md" in shown.out


def test_a_bad_row_is_named_with_its_line_and_the_rest_is_sealed(world, tmp_path):
    """Exit code 7, file and line; the good new row is sealed all the same."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    tasks = project / "tasks" / "week-15.jsonl"
    tasks.write_text(tasks.read_text() + "{broken\n" + '{"id": "fa-1099", "text": "new"}\n')
    ran = world.client("seal", "ferry", project, "--json")
    assert ran.code == exits.BAD_INPUT
    (error,) = ran.json["errors"]
    assert (error["file"], error["line"]) == ("tasks/week-15.jsonl", 4)
    assert ran.json["new"] == 1
    shown = world.client("seal", "ferry", project)
    assert "tasks/week-15.jsonl:4" in shown.err


@pytest.mark.parametrize("words", [("seal", "nosuch", EXAMPLE), ("ls", "nosuch"), ("freeze", "nosuch")])
def test_an_unknown_project_is_refused(world, words):
    """The error names it and says what to do next."""
    ran = world.client(*words, "--json")
    assert ran.code == exits.BAD_INPUT
    assert ran.json["error"]["kind"] == "ProjectError"


def test_ls_lists_projects_contractors_and_grants(world):
    """Everything that a client manages, as tables and as one object."""
    world.admit()
    facts = world.client("ls", "--json").json
    assert [each["name"] for each in facts["projects"]] == ["ferry"]
    assert [each["name"] for each in facts["contractors"]] == ["ada"]
    (grant,) = facts["grants"]
    assert (grant["contractor"], grant["tier"], grant["presence"]) == ("ada", "helper", "device")
    assert (grant["max_open"], grant["max_total"], grant["per_hour"], grant["lease_ttl_s"]) == (1, 9, 50, 1800)
    shown = world.client("ls").out
    assert all(word in shown for word in ("ferry", "ada", "a laptop", "0/9", facts["fingerprint"]))


def test_ls_of_a_project_lists_items_of_one_kind(world):
    """Names, kinds and versions are the client's to see."""
    facts = world.client("ls", "ferry", "--kind", "gold", "--json").json
    assert [each["name"] for each in facts["items"]] == ["calibration.jsonl"]
    assert "calibration.jsonl" in world.client("ls", "ferry").out
    assert world.client("ls", "--kind", "gold").code == exits.USAGE


def test_a_wrong_fingerprint_enrols_nobody(world):
    """The card of somebody else is refused, and no contractor appears."""
    assert world.contractor("init", "--label", "x").code == exits.OK
    card = world.folder / "ada.card"
    assert world.contractor("card", "-o", card).code == exits.OK
    ran = world.client("enroll", card, "--name", "ada", "--fingerprint", world.fingerprint, "--json")
    assert ran.code == exits.KEYS
    assert ran.json["error"]["kind"] == "EnrolmentError"
    assert world.client("ls", "--json").json["contractors"] == []


def test_without_a_terminal_the_fingerprint_has_to_be_given(world):
    """Nobody can be asked, so the command says which option."""
    assert world.contractor("init", "--label", "x").code == exits.OK
    assert world.contractor("card", "-o", world.folder / "c.card").code == exits.OK
    ran = world.client("enroll", world.folder / "c.card", "--name", "ada")
    assert ran.code == exits.USAGE
    assert "--fingerprint" in ran.err


def test_something_else_than_a_card_is_refused(world, tmp_path):
    """Bytes of another kind are a format error."""
    (tmp_path / "x.card").write_bytes(b"not a card")
    ran = world.client("enroll", tmp_path / "x.card", "--name", "x", "--fingerprint", world.fingerprint)
    assert ran.code in (exits.BAD_INPUT, exits.KEYS)
    assert world.client("ls", "--json").json["contractors"] == []


@pytest.mark.parametrize("left_out", ["--expires", "--max-open", "--max-total", "--per-hour", "--lease-ttl"])
def test_no_limit_and_no_expiry_can_be_left_out(world, left_out):
    """All are mandatory: there is no default that lets through."""
    world.enrol()
    terms = {"--expires": "7d", "--max-open": 1, "--max-total": 9, "--per-hour": 9, "--lease-ttl": "1h"}
    terms.pop(left_out)
    words = [word for pair in terms.items() for word in pair]
    ran = world.client("grant", "ferry", "ada", "--batch", "week-14", *words)
    assert ran.code == exits.USAGE
    assert left_out in ran.err
    assert world.client("ls", "--json").json["grants"] == []


def test_a_grant_without_a_scope_is_refused(world):
    """Nothing named is nothing allowed."""
    world.enrol()
    terms = ("--expires", "7d", "--max-open", 1, "--max-total", 9, "--per-hour", 9, "--lease-ttl", "1h")
    assert world.client("grant", "ferry", "ada", *terms).code == exits.USAGE
    ran = world.client("grant", "ferry", "ada", "--batch", "gold", *terms, "--json")
    assert ran.code == exits.REFUSED
    assert ran.json["error"]["kind"] == "GrantScopeError"


def test_a_desk_needs_presence_or_the_weaker_statement_in_so_many_words(world):
    """Waiving is said aloud, each time."""
    world.enrol("desk", "desk")
    assert world.grant("desk").code == exits.REFUSED
    ran = world.grant("desk", "--waive-presence", "--json")
    assert ran.code == exits.OK
    assert ran.json["presence"] == "waived"
    assert ran.json["statement"] == (
        "Presence is waived: a thief at this desk gets what was open, plus what max_total and rate let through in the "
        "window; max_open never binds a thief."
    )
    assert "max_open never binds a thief" in " ".join(world.grant("desk", "--waive-presence").out.split())


def test_an_invite_is_written_again(world):
    """It holds no secret, and its file is private all the same."""
    world.enrol()
    granted = world.grant("ada", "--json").json
    target = world.folder / "again.invite"
    ran = world.client("invite", granted["grant"], "-o", target, "--json")
    assert ran.json["fingerprint"] == world.fingerprint
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert world.contractor("join", target, "--fingerprint", world.fingerprint).code == exits.OK
    assert world.client("invite", "00" * 16, "-o", world.folder / "none").code == exits.REFUSED
    assert not (world.folder / "none").exists()


def test_revoking_says_what_it_cannot_undo(world):
    """A grant, or a contractor, is revoked; the limits of that are said."""
    world.enrol()
    granted = world.grant("ada", "--json").json
    ran = world.client("revoke", "grant", granted["grant"], "--json")
    assert ran.json["revoked"] == {"grant": granted["grant"]}
    assert "can't undo" in ran.json["not_undone"]
    assert world.client("ls", "--json").json["grants"][0]["revoked"]
    assert "can't undo" in world.client("revoke", "contractor", "ada").out
    assert world.client("ls", "--json").json["contractors"][0]["revoked"]
    for kind in ("contractor", "desk"):
        assert world.client("revoke", kind, "nobody").code == exits.KEYS
    assert "revoked" in world.client("ls").out


def test_freeze_and_unfreeze(world):
    """A project stops and goes on."""
    assert world.client("freeze", "ferry", "--json").json == {"project": "ferry", "frozen": True}
    assert world.client("unfreeze", "ferry", "--json").json == {"project": "ferry", "frozen": False}


def test_issuer_once_reports_one_pass(world):
    """`--once` answers what waits and ends."""
    ran = world.client("issuer", "run", "--once", "--json")
    nothing = {"released": 0, "denied": {}, "receipts": 0, "submissions": {}, "prekeys": 0, "junk": 0, "alarms": {}}
    assert ran.json == nothing
    assert "0 released" in world.client("issuer", "run", "--once").out


def test_the_ledger_verifies_and_is_exported(world):
    """The export is a file, and the older checkpoint still holds when the ledger has grown."""
    note = world.folder / "older.note"
    first = world.client("ledger", "verify", "-o", note, "--json").json
    assert note.read_text() == first["checkpoint"]
    world.enrol()
    later = world.client("ledger", "verify", "--against", note, "--json").json
    assert later["size"] == first["size"] + 1
    assert later["origin"] == first["origin"]
    assert "holds together" in world.client("ledger", "verify", "--against", note).out
    ran = world.client("ledger", "export", "-o", world.folder / "ledger", "--json")
    assert ran.json["bytes"] == (world.folder / "ledger").stat().st_size


def test_a_ledger_that_does_not_extend_an_older_one_is_refused(world):
    """A checkpoint of another history is noticed."""
    world.enrol()
    lines = world.client("ledger", "verify", "--json").json["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) - 1)
    (world.folder / "forged.note").write_text("\n".join(lines))
    ran = world.client("ledger", "verify", "--against", world.folder / "forged.note")
    assert ran.code in (exits.AUTHENTICITY, exits.BAD_INPUT)


def test_an_export_that_cannot_be_written_is_bad_input(world):
    """The place is at fault, not a key."""
    ran = world.client("ledger", "export", "-o", world.folder / "no" / "such" / "place", "--json")
    assert ran.code == exits.BAD_INPUT
    assert ran.json["error"]["kind"] == "OutputError"


def test_an_older_note_that_is_not_text_is_refused(world):
    """Not UTF-8 is a format error, no traceback."""
    (world.folder / "binary.note").write_bytes(b"\xff\xfe")
    assert world.client("ledger", "verify", "--against", world.folder / "binary.note").code == exits.BAD_INPUT


def test_a_dry_run_says_what_would_be_sealed_and_touches_nothing(world, tmp_path):
    """As tables and as one object; vault, catalog and ledger stay byte for byte, and a fault is exit code 7."""

    def everything():
        folders = (world.folder / "client", world.folder / "vendor")
        return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}

    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    (project / "tasks" / "extra.csv").write_text("id,text\nfa-2000,new\n")
    before = everything()
    ran = world.client("seal", "ferry", project, "--dry-run", "--json")
    assert ran.code == exits.OK
    assert (ran.json["new"], ran.json["changed"], ran.json["same"]) == (["tasks/extra.csv#fa-2000"], [], 13)
    assert sum(each["items"] for each in ran.json["vendor_sees"]["sizes"]) == 1
    assert {"batch": "extra", "tasks": 1, "sealed": 1} in ran.json["vendor_sees"]["queues"]
    shown = world.client("seal", "ferry", project, "--dry-run")
    assert all(words in shown.out for words in ("tasks/extra.csv#fa-2000", "1 new", "nothing was sealed", "rating.md"))
    (project / "tasks" / "extra.csv").write_text("id,text\nfa-2000\n")
    shown = world.client("seal", "ferry", project, "--dry-run")
    assert shown.code == exits.BAD_INPUT
    assert "tasks/extra.csv:2" in shown.err
    assert everything() == before


def test_export_gives_back_what_was_sealed_and_old_versions_too(world, tmp_path):
    """Into a directory that must be new; --version-of takes one item; ls names its versions."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    rating = next(project.rglob("rating.md"))
    old, path = rating.read_bytes(), str(rating.relative_to(project))
    rating.write_text("changed")
    assert world.client("seal", "ferry", project).code == exits.OK
    ran = world.client("export", "ferry", tmp_path / "out", "--json")
    assert ran.code == exits.OK
    assert (ran.json["items"], ran.json["faults"]) == (13, [])
    assert (tmp_path / "out" / path).read_text() == "changed"
    again = world.client("export", "ferry", tmp_path / "out", "--json")
    assert (again.code, again.json["error"]["kind"]) == (exits.BAD_INPUT, "OutputError")
    shown = world.client("export", "ferry", tmp_path / "one", "--version-of", f"{path}:1")
    assert shown.code == exits.OK
    assert "1 items in 1 files" in shown.out
    assert [p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()] == [old]
    listed = world.client("ls", "ferry", "--versions", path, "--json").json
    assert [(each["version"], each["size"], each["current"]) for each in listed["versions"]] == [
        (1, len(old), False),
        (2, 7, True),
    ]
    assert listed["item"] in world.client("ls", "ferry", "--versions", path).out


@pytest.mark.parametrize("text", ["rating.md", ":1", "rating.md:", "rating.md:0x1", "rating.md:1234567890", "x:²"])
def test_a_version_that_is_none_is_wrong_usage(world, tmp_path, text):
    """Nothing is made."""
    assert world.client("export", "ferry", tmp_path / "out", "--version-of", text).code == exits.USAGE
    assert not (tmp_path / "out").exists()


def test_versions_are_listed_of_a_project_only(world):
    """With a project, without a kind, and of an item that is there."""
    assert world.client("ls", "--versions", "x").code == exits.USAGE
    assert world.client("ls", "ferry", "--kind", "gold", "--versions", "x").code == exits.USAGE
    assert world.client("ls", "ferry", "--versions", "nothing").code == exits.BAD_INPUT


def test_export_names_what_the_vault_altered_or_lost(world, tmp_path):
    """Altered bytes decide the exit code; everything else is written."""
    altered = bytes.fromhex(next(iter(world.tasks.values())))
    with contextlib.closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db, db:
        (piece,) = db.execute("SELECT first_piece FROM items WHERE item = ?", (altered,)).fetchone()
        (data,) = db.execute("SELECT data FROM pieces WHERE number = ?", (piece,)).fetchone()
        other = bytes(len(data))
        db.execute("UPDATE pieces SET data = ?, leaf = ? WHERE number = ?", (other, leaf_hash(other), piece))
    ran = world.client("export", "ferry", tmp_path / "one", "--json")
    assert ran.code == exits.AUTHENTICITY
    assert [(each["item"], each["kind"]) for each in ran.json["faults"]] == [(altered.hex(), "TamperedError")]
    assert ran.json["items"] == 12
    with contextlib.closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db, db:
        db.execute("DELETE FROM pieces WHERE number = ?", (piece,))
        for each in ("tasks", "items"):
            db.execute(f"DELETE FROM {each} WHERE item = ?", (altered,))  # noqa: S608
    shown = world.client("export", "ferry", tmp_path / "two")
    assert shown.code == exits.UNREACHABLE
    assert "version 1" in shown.err
