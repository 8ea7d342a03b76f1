"""`labelvault client rotate` and `shred`."""

import os
from datetime import timedelta

import pytest

from labelvault.client import Client, PassphraseRoot
from labelvault.ledger.entries import Rotated, Shredded
from tests.cli.conftest import EXAMPLE, PASSPHRASE


def entries(world, kind):
    """Ledger entries of a kind."""
    with world.library() as client:
        return [each for each in client.ledger_entries() if isinstance(each, kind)]


def test_rotate_kek_says_what_it_did_and_what_it_can_not_do(world):
    """Generations and counts, and the limit in plain words; in JSON too, with events."""
    ran = world.client("rotate", "kek", "ferry")
    assert ran.code == 0
    assert "ferry is under generation 2 of its key: 13 wraps moved, 1 older generations destroyed." in ran.out
    assert "Whoever copied both the old key and the old catalog still opens" in ran.out
    facts = world.client("rotate", "kek", "ferry", "--json").json
    assert facts == {"project": "ferry", "generation": 3, "rewrapped": 13, "destroyed": 1, "resumed": False}
    assert [each.generation for each in entries(world, Rotated)] == [2, 3]
    assert world.client("seal", "ferry", EXAMPLE, "--json").json["same"] == 13
    assert world.client("rotate", "kek", "nothing").code == 7


def test_rotate_root_changes_the_passphrase(world, tmp_path):
    """The old one opens nothing any more, the new one everything."""
    new = tmp_path / "new"
    new.write_text("tr0ub4dor\n", encoding="utf-8")
    new.chmod(0o600)
    ran = world.client("rotate", "root", "--new-passphrase-file", new)
    assert ran.code == 0
    assert "opens with the new passphrase only" in ran.out
    assert "Copies of the old home still open with the old passphrase" in ran.out.replace("\n", " ")
    assert world.client("ls").code == 5
    world.passphrase_file.write_text("tr0ub4dor\n", encoding="utf-8")
    assert world.client("doctor").code in (0, 10)
    assert world.client("export", "ferry", tmp_path / "out").code == 0
    with Client.open(world.folder / "client", PassphraseRoot("tr0ub4dor")) as client:
        assert [each.what for each in client.ledger_entries() if isinstance(each, Rotated)] == ["root"]
    # By descriptor, and back.
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE.encode() + b"\n")
    os.close(writer)
    assert world.client("rotate", "root", "--new-passphrase-fd", reader, "--json").code == 0
    world.passphrase_file.write_text(PASSPHRASE + "\n", encoding="utf-8")
    assert world.client("ls").code == 0


@pytest.mark.parametrize("words", [(), ("--new-passphrase-file", "EMPTY"), ("--new-passphrase-fd", "9999")])
def test_without_a_new_passphrase_nothing_is_changed(world, tmp_path, words):
    """Nobody to ask, an empty file, a descriptor that is none."""
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    ran = world.client("rotate", "root", *(empty if word == "EMPTY" else word for word in words))
    assert ran.code == 2
    assert "new passphrase" in ran.err or "empty" in ran.err or "9999" in ran.err
    assert world.client("ls").code == 0
    assert entries(world, Rotated) == []


def test_shred_needs_the_name_and_tells_of_copies(world):
    """Without terminal and option it does nothing; with another name neither; then it is for good."""
    for words, code in (((), 2), (("--yes-shred", "Ferry"), 7)):
        assert world.client("shred", "ferry", *words).code == code
        assert entries(world, Shredded) == []
    ran = world.client("shred", "ferry", "--yes-shred", "ferry")
    assert ran.code == 0
    said = ran.out.replace("\n", " ")
    assert "ferry is shredded: 1 KEKs, 13 wraps and the key of its answers are destroyed." in said
    assert "Copies of this home that were made elsewhere" in said
    assert "stay readable on their devices until they are closed or expire" in said
    assert world.client("ls", "--json").json["projects"][0]["shredded"] is True
    assert "shredded" in world.client("ls").out
    for command in (("seal", "ferry", EXAMPLE), ("rotate", "kek", "ferry"), ("shred", "ferry", "--yes-shred", "ferry")):
        ran = world.client(*command)
        assert ran.code == 3
        assert "was shredded" in ran.err
        assert "Its keys are gone for good" in ran.err


def test_rekey_plans_seals_again_and_says_what_stays(world):
    """A dry run changes nothing; named items become new versions; a name that is none is refused."""
    name = "guidelines/rating.md"
    plan = world.client("rekey", "ferry", name, "--dry-run", "--json").json
    assert [(each["source"], each["version"]) for each in plan["items"]] == [(name, 1)]
    assert "nothing was sealed" in world.client("rekey", "ferry", name, "--dry-run").out
    assert len(world.client("ls", "ferry", "--versions", name, "--json").json["versions"]) == 1
    ran = world.client("rekey", "ferry", name)
    assert ran.code == 0
    assert "1 sealed again under fresh keys; 0 have newer versions already; 0 failed." in ran.out
    assert "The old versions stay readable to whoever has their keys." in ran.out.replace("\n", " ")
    assert len(world.client("ls", "ferry", "--versions", name, "--json").json["versions"]) == 2
    world.client("backup", world.folder / "monday")
    ran = world.client("rekey", "ferry", name, "--drop-old")
    assert "2 older wraps destroyed." in ran.out.replace("\n", " ")
    assert "Backups that may still hold these keys: destroy them" in ran.out
    assert "monday" in ran.out
    assert "2 wraps before version 3 destroyed" in world.client("ledger", "show", "--last", 1).out
    ran = world.client("diff", "ferry", name, 1)
    assert (ran.code, "was destroyed" in ran.err) == (3, True)
    for words, code in (((), 2), (("nothing",), 7), ((name, "--exposed", EXAMPLE / name), 2)):
        assert world.client("rekey", "ferry", *words).code == code
    assert world.client("rekey", "ferry", "--exposed", EXAMPLE / name).code == 7


def test_rekey_takes_what_a_statement_says(world, tmp_path):
    """Nothing was ever released, so a statement about everybody exposes nothing."""
    with world.library() as client:
        now = client.now()
        stated = client.statement("all", now - timedelta(hours=1), now, "ferry")
    file = tmp_path / "all.statement"
    file.write_bytes(stated.file)
    facts = world.client("rekey", "ferry", "--exposed", file, "--json").json
    assert facts == {"project": "ferry", "items": [], "done": 0, "faults": [], "dropped": 0, "backups": []}
