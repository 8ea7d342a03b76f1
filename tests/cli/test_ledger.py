"""`labelvault ledger` and its counterparts at the client: files one way and the other, exit codes, what is shown."""

import shutil

import pytest

from labelvault.cli import exits
from labelvault.client import Client, PassphraseRoot
from labelvault.witness import Witness
from tests.cli.conftest import CHEAP, PASSPHRASE


@pytest.fixture
def witness(world, cli):
    """A witness's home with a cheap passphrase, and a way to run its commands."""
    Witness.create(world.folder / "w1", "witness.example/w1", PASSPHRASE, parameters=CHEAP)

    def call(command, *words):
        secret = () if command == "list" else ("--passphrase-file", world.passphrase_file)
        return cli("ledger", command, *words, "--home", world.folder / "w1", *secret)

    return call


@pytest.fixture
def key(world):
    """The client's verifier key in a file."""
    file = world.folder / "lab.key"
    file.write_text(world.client("ledger", "verify", "--json").json["verifier_key"] + "\n")
    return file


def prove(world, *words):
    file = world.folder / "ledger.proof"
    ran = world.client("ledger", "prove", *words, "-o", file)
    assert ran.code == exits.OK, ran
    return file


def test_a_ledger_is_witnessed_by_files_alone(world, witness, key, cli):
    """Proof, cosignature, back to the client, out to a reader who asks for the witness."""
    note, export, pub = (world.folder / name for name in ("note", "export", "w1/witness.pub"))
    ran = witness("cosign", prove(world), "--issuer", key, "-o", note, "--json")
    assert (ran.code, ran.json["before"], ran.json["follows"]) == (exits.OK, None, None)
    kept = world.client("ledger", "add-cosignature", note, "--witness", pub, "--json")
    assert (kept.code, kept.json["size"]) == (exits.OK, ran.json["size"])
    assert world.client("ledger", "verify", "--json").json["cosigned"] == ran.json["size"]
    assert world.client("ledger", "export", "--cosigned", "-o", export).code == exits.OK
    whole = cli("ledger", "verify", export, "--issuer", key, "--witness", pub, "--json")
    assert (whole.code, whole.json["covered"], whole.json["size"]) == (exits.OK, ran.json["size"], ran.json["size"])
    assert [each["name"] for each in whole.json["cosignatures"]] == ["witness.example/w1"]
    world.enrol()
    assert world.client("ledger", "export", "-o", export).code == exits.OK
    later = cli("ledger", "verify", export, "--issuer", key.read_text().strip(), "--kept", note, "--witness", pub)
    assert later.code == exits.OK
    assert f"Witnessed up to entry {ran.json['size']}; the 1 after it" in later.out
    again = witness("cosign", prove(world, "--from", ran.json["size"]), "-o", note)
    assert (again.code, "Cosigned: " in again.out) == (exits.OK, True)


def test_L2_a_fork_names_both_checkpoints_files(world, witness, key):
    """As two lines for people, and beside the error in JSON; the exit code is that of what is not authentic."""
    copy = shutil.copytree(world.folder / "client", world.folder / "copy")
    note = world.folder / "note"
    assert witness("cosign", prove(world), "--issuer", key, "-o", note).code == exits.OK
    note.unlink()
    world.enrol()
    assert (
        witness("cosign", prove(world, "--from", witness("list", "--json").json["ledgers"][0]["size"]), "-o", note).code
        == 0
    )
    note.unlink()
    with Client.open(copy, PassphraseRoot(PASSPHRASE)) as client:
        client.freeze("ferry")
        (world.folder / "forked").write_bytes(client.export_ledger())
    ran = witness("cosign", world.folder / "forked", "-o", note)
    assert ran.code == exits.AUTHENTICITY
    assert not note.exists()
    lines = ran.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["Error", "older", "newer", "Next"]
    again = witness("cosign", world.folder / "forked", "-o", note, "--json")
    assert again.json["error"]["kind"] == "ForkError"
    assert [again.json["error"][name] for name in ("older", "newer")] == [
        line.partition(": ")[2] for line in lines[1:3]
    ]
    listed = witness("list")
    assert "FORKED" in listed.out
    assert witness("list", "--json").json["ledgers"][0]["evidence"] is not None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--quorum", "1"), exits.USAGE),
        (("--witness", "nonsense"), exits.BAD_INPUT),
        (("--witness", "w+00000000+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"), exits.BAD_INPUT),
        (("--witness", "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"), exits.AUTHENTICITY),
        (("--kept", "stranger"), exits.AUTHENTICITY),
    ],
)
def test_what_is_not_witnessed_has_its_exit_code(world, key, cli, words, code):
    """A witness that said nothing, a checkpoint of another client, a key that is none."""
    export = world.folder / "export"
    assert world.client("ledger", "export", "-o", export).code == exits.OK
    root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
    if words[0] == "--kept":
        with Client.create(world.folder / "other", root, world.vault) as other:
            (world.folder / "stranger").write_text(other.verify_ledger().checkpoint)
        words = ("--kept", world.folder / "stranger")
    ran = cli("ledger", "verify", export, "--issuer", key, *words)
    assert ran.code == code, ran
    assert ran.out == ""
    assert "Next: " in ran.err


def test_a_refused_checkpoint_writes_nothing(world, witness, key):
    """And says what to do; so does one whose key nobody told."""
    note = world.folder / "note"
    ran = witness("cosign", prove(world), "-o", note)
    assert (ran.code, "--issuer KEY" in ran.err) == (exits.AUTHENTICITY, True)
    ran = witness("cosign", key, "--issuer", key, "-o", note)
    assert ran.code == exits.BAD_INPUT
    assert not note.exists()
    assert witness("list", "--json").json["ledgers"] == []


def test_a_witness_is_made_once(world, cli):
    """With its verifier key in a file to give away; a name that can't stand in a note makes none."""
    words = ("--home", world.folder / "w2", "--passphrase-file", world.passphrase_file)
    assert cli("ledger", "init", "--name", "two words", *words).code == exits.BAD_INPUT
    assert not (world.folder / "w2").exists()
    ran = cli("ledger", "init", "--name", "witness.example/w2", *words, "--json")
    assert ran.json["verifier_key"] == (world.folder / "w2" / "witness.pub").read_text()
    assert cli("ledger", "init", "--name", "witness.example/w2", *words).code == exits.KEYS
