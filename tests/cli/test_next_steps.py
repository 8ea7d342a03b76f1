"""What people are told to do next, for everything that goes wrong in ordinary use: it has to be what helps."""

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import click
import pytest

from labelvault.cli import exits
from labelvault.cli.app import root
from tests.cli.conftest import EXAMPLE

TERMS = ("--expires", "7d", "--max-open", 1, "--max-total", 9, "--per-hour", 9, "--lease-ttl", "1h")


def without(option, *more):
    """Return the terms of a grant with one of them said otherwise."""
    at = TERMS.index(option)
    return (*TERMS[:at], *TERMS[at + 2 :], *more)


CLIENT = {
    "unknown project": (("ls", "none"), 7, "no project named 'none'", "labelvault client project create"),
    "unknown project to seal": (("seal", "none", EXAMPLE), 7, "no project named", "labelvault client ls"),
    "project that is there": (("project", "create", "ferry"), 7, "there is a project", "choose another name"),
    "project without a name": (("project", "create", " "), 7, "1 to 200 bytes", "Choose another name"),
    "floor": (("project", "create", "x", "--floor-bytes", 1), 7, "padding floor", "--floor-bytes"),
    "empty folder": (("seal", "ferry", "{folder}/client/keks"), 7, "has no files under", "folder that holds"),
    "no folder": (("seal", "ferry", "{folder}/none"), 2, "does not exist", "client seal --help"),
    "unknown item": (("ls", "ferry", "--versions", "x"), 7, "no item 'x'", "labelvault client ls PROJECT"),
    "unknown version": (
        ("export", "ferry", "{folder}/out", "--version-of", "rating.md:9"),
        7,
        "has no version 9",
        "client ls PROJECT --versions",
    ),
    "item twice": (
        ("export", "ferry", "{folder}/o", "--version-of", "rating.md:1", "--version-of", "rating.md:1"),
        7,
        "one version",
        "once",
    ),
    "unknown batch": (("grant", "ferry", "ada", "--batch", "x", *TERMS), 3, "no batch of tasks", "ls PROJECT --kind"),
    "unknown task": (("grant", "ferry", "ada", "--item", "x", *TERMS), 3, "no task 'x'", "ls PROJECT --kind task"),
    "unknown contractor": (("grant", "ferry", "eve", "--batch", "week-14", *TERMS), 5, "no contractor named", "enroll"),
    "grant that is over": (
        ("grant", "ferry", "ada", "--batch", "week-14", *without("--expires", "--expires", "2020-01-01T00:00:00Z")),
        3,
        "expired already",
        "--expires 7d",
    ),
    "grant that ends before it begins": (
        ("grant", "ferry", "ada", "--batch", "week-14", *TERMS, "--not-before", "9d"),
        3,
        "end before it begins",
        "later time than --not-before",
    ),
    "lease beyond its bound": (
        ("grant", "ferry", "ada", "--batch", "week-14", *without("--lease-ttl", "--lease-ttl", "8d")),
        2,
        "at most 7d",
        "client grant --help",
    ),
    "presence of a helper": (
        ("grant", "ferry", "ada", "--batch", "week-14", *TERMS, "--waive-presence"),
        3,
        "no presence to waive",
        "Leave --waive-presence out",
    ),
    "presence of a desk": (("grant", "ferry", "desk", "--batch", "week-14", *TERMS), 3, "presence", "--waive-presence"),
    "unknown grant": (("revoke", "grant", "00" * 4), 3, "no grant whose id begins", "labelvault client"),
    "invite to an unknown grant": (("invite", "00" * 16, "-o", "{folder}/x"), 3, "no grant", "labelvault client"),
    "revoking nobody": (("revoke", "contractor", "eve"), 5, "no contractor named 'eve'", "labelvault client ls"),
    "invite as a card": (
        ("enroll", "{folder}/ada.invite", "--name", "x", "--fingerprint", "{words}"),
        7,
        "this is an invite, not a card",
        "contractor card",
    ),
    "a file that is nothing": (
        ("enroll", "{folder}/passphrase", "--name", "x", "--fingerprint", "{words}"),
        5,
        "fingerprints differ",
        "right file",
    ),
    "a card again": (
        ("enroll", "{folder}/ada.card", "--name", "x", "--fingerprint", "{card}"),
        5,
        "enrolled already, as 'ada'",
        "Grant to 'ada'",
    ),
    "a name again": (
        ("enroll", "{folder}/new.card", "--name", "ada", "--fingerprint", "{new}"),
        5,
        "another contractor is named 'ada'",
        "another --name",
    ),
    "wrong fingerprint": (
        ("enroll", "{folder}/new.card", "--name", "x", "--fingerprint", "{words}"),
        5,
        "fingerprints differ",
        "read out again",
    ),
    "card that is not there": (
        ("enroll", "{folder}/none.card", "--name", "x", "--fingerprint", "{words}"),
        2,
        "does not exist",
        "client enroll --help",
    ),
    "a checkpoint of nothing": (("ledger", "verify", "--against", "{folder}/passphrase"), 7, "", "right file"),
    "a place that is not there": (("ledger", "export", "-o", "{folder}/no/such"), 7, "can't be written", "may write"),
    "init twice": (("init", "--vault", "sqlite:////x/y"), 5, "holds a client already", "another --home"),
}

CONTRACTOR = {
    "card as an invite": (
        ("join", "{folder}/ada.card", "--fingerprint", "{words}"),
        7,
        "this is a card, not an invite",
        "client invite",
    ),
    "card as a further invite": (("join", "{folder}/ada.card"), 7, "this is a card, not an invite", "client invite"),
    "somebody else's invite": (("join", "{folder}/desk.invite"), 5, "another contractor's key", "contractor card"),
    "another client": (
        ("join", "{folder}/ada.invite", "--fingerprint", "{card}"),
        5,
        "fingerprints differ",
        "read out again",
    ),
    "unknown lease": (("close", "00" * 4), 2, "nothing here begins", "labelvault contractor list"),
    "unknown grant": (("open", "00" * 16, "--grant", "00" * 16), 3, "no grant of this id", "contractor list"),
    "init twice": (("init", "--label", "x"), 5, "holds a contractor already", "another --home"),
}


@pytest.fixture
def told(world):
    """A world with ada and a desk admitted and one more card, and a way to run rows of the tables above."""
    world.admit()
    world.enrol("desk", "desk")
    assert world.grant("desk", "--waive-presence").code == 0
    assert world.contractor("init", "--label", "new", home="new").code == 0
    card = world.folder / "new.card"
    cards = {
        "new": world.contractor("card", "-o", card, "--json", home="new").json["fingerprint"],
        "card": world.contractor("card", "-o", world.folder / "ada.card", "--json").json["fingerprint"],
    }

    def run(actor, row):
        words, code, message, step = row
        filled = [str(each).format(folder=world.folder, words=world.fingerprint, **cards) for each in words]
        ran = getattr(world, actor)(*filled, "--json")
        error = ran.json["error"]
        assert (ran.code, message in error["message"], step in error["next"]) == (code, True, True), error
        lines = getattr(world, actor)(*filled).err.splitlines()
        assert lines[-1] == f"Next: {error['next']}"

    return run


def test_a_client_is_told_what_helps(told):
    """Each ordinary mistake has its exit code, names what is wrong and what to do."""
    for row in CLIENT.values():
        told("client", row)


def test_a_contractor_is_told_what_helps(told):
    """As for the client."""
    for row in CONTRACTOR.values():
        told("contractor", row)


def error_of(ran):
    """Return code, message and next step."""
    return ran.code, ran.json["error"]["message"], ran.json["error"]["next"]


def test_a_wrong_passphrase_and_a_missing_home_differ(world, cli):
    """One asks to type again, the other where the home is."""
    other = world.folder / "other"
    other.write_text("wrong\n")
    other.chmod(0o600)
    code, message, step = error_of(
        cli("client", "ls", "--home", world.folder / "client", "--passphrase-file", other, "--json")
    )
    assert (code, "does not open" in message, "passphrase again" in step) == (5, True, True)
    for actor, label in (("client", "--vault URL"), ("contractor", "--label LABEL")):
        word = "ls" if actor == "client" else "list"
        ran = cli(actor, word, "--home", world.folder / "none", "--passphrase-file", other, "--json")
        code, message, step = error_of(ran)
        assert (code, "holds no" in message, "--home DIR" in step, label in step) == (5, True, True, True)


def test_before_joining_a_contractor_is_told_to_join(world):
    """Opening needs an invite first."""
    world.enrol()
    code, message, step = error_of(world.contractor("open", "00" * 16, "--json"))
    assert (code, "nothing was joined" in message, "contractor join INVITE" in step) == (3, True, True)


def test_denials_say_what_helps(world, issuer):
    """Unknown, over the cap, revoked: each with its code and its next step."""
    world.admit()

    def denied(item):
        ran = world.contractor("open", item, "--json")
        return ran.code, ran.json["error"]["code"], ran.json["error"]["next"]

    assert denied("00" * 16) == (3, "unknown", exits.DENIALS["unknown"])
    task, other = list(world.tasks.values())[:2]
    assert world.contractor("open", task, "--to", world.folder / "out").code == 0
    assert denied(other) == (3, "limit-open", exits.DENIALS["limit-open"])
    assert world.client("revoke", "contractor", "ada").code == 0
    assert denied(other) == (3, "revoked", exits.DENIALS["revoked"])
    assert world.client("freeze", "ferry").code == 0


def test_grants_that_are_not_yet_or_no_longer_valid(world):
    """Neither needs the issuer to be told."""
    world.enrol()
    world.grant("ada", "--not-before", "1d")
    assert world.contractor("join", world.folder / "ada.invite", "--fingerprint", world.fingerprint).code == 0
    code, message, step = error_of(world.contractor("open", "00" * 16, "--json"))
    assert (code, "not valid before 20" in message, "Wait until" in step) == (3, True, True)
    short = ("--expires", "1s", "--max-open", 1, "--max-total", 9, "--per-hour", 9, "--lease-ttl", "1h")
    invite = world.folder / "short.invite"
    assert world.client("grant", "ferry", "ada", "--batch", "week-14", *short, "--invite", invite).code == 0
    assert world.contractor("join", invite).code == 0
    time.sleep(1.1)
    code, message, step = error_of(world.contractor("open", "00" * 16, "--json"))
    assert (code, "expired" in message, "new grant" in step) == (3, True, True)


def test_a_clock_that_was_set_back_is_named(world):
    """The home has seen a later time than the clock says."""
    with closing(sqlite3.connect(world.folder / "client" / "client.db")) as db, db:
        later = int((time.time() + 86400) * 1000)
        db.execute("UPDATE meta SET value = ? WHERE key = 'clock_ms'", (later.to_bytes(8, "big"),))
    code, message, step = error_of(world.client("freeze", "ferry", "--json"))
    assert (code, "has passed already" in message, "Set the clock" in step) == (8, True, True)


def test_a_silent_issuer_is_said_to_be_asked_about(world):
    """A contractor can't start it, so is told whom to ask."""
    world.admit()
    ran = world.contractor("open", next(iter(world.tasks.values())), "--timeout", 0.2, "--json")
    code, message, step = error_of(ran)
    assert (code, "no answer" in message, "Ask the client" in step) == (6, True, True)


@pytest.mark.parametrize(
    ("address", "message", "step"),
    [
        ("sqlite:////nowhere/at/all/v.db", "the folder /nowhere/at/all is missing", "typo"),
        ("sqlite:///{folder}/vendor/typo.db", "there is no vault at", "typo"),
        ("sqlite:///{folder}/vendor", "that is no file", "typo"),
        ("sqlite://x", "not a sqlite:/// ... URL", "sqlite:////absolute/path"),
        ("sqlite:///", "followed by the path", "sqlite:////absolute/path"),
        ("http://127.0.0.1:9", "can't be reached", "server runs"),
        ("http://example.com", "this machine only", "address"),
    ],
)
def test_a_vault_that_is_not_there_is_named(world, address, message, step):
    """Whether folder, file, form or server is at fault is said, and nothing is made."""
    address = address.format(folder=world.folder)
    (world.folder / "client" / "config.json").write_text(json.dumps({"vault": address}))
    code, said, advice = error_of(world.client("issuer", "run", "--once", "--json"))
    assert (code, message.replace("/// ...", "///...") in said, step in advice) == (6, True, True), (said, advice)
    assert not (world.folder / "vendor" / "typo.db").exists()


@pytest.mark.parametrize(
    ("content", "message", "step"),
    [
        ("{", "not valid JSON", "config.json"),
        ("{}", "exactly the vault's address", "config.json"),
    ],
)
def test_a_broken_configuration_is_named(world, content, message, step):
    """The one file that people may write by hand says how."""
    (world.folder / "client" / "config.json").write_text(content)
    code, said, advice = error_of(world.client("ls", "--json"))
    assert (code, message in said, step in advice) == (5, True, True)


@pytest.mark.parametrize(
    ("content", "mode", "message", "step"),
    [
        ("secret-token", 0o644, "can be read by others", "chmod 600"),
        ("two words", 0o600, "holds no token", "one line"),
        ("höhle", 0o600, "holds no token", "one line"),
    ],
)
def test_a_token_that_is_none_is_named(world, content, mode, message, step):
    """It is never shown."""
    token = world.folder / "client" / "vault.token"
    token.write_text(content)
    token.chmod(mode)
    code, said, advice = error_of(world.client("seal", "ferry", EXAMPLE, "--json"))
    assert (code, message in said, step in advice, content in said) == (5, True, True, False)


def test_a_vendor_is_told_what_helps(cli, tmp_path):
    """No vault known, another one known, and a mistyped one."""
    home = ("--home", tmp_path / "v", "--json")
    code, said, advice = error_of(cli("vendor", "status", *home))
    assert (code, "no vault is known" in said, "vendor init" in advice) == (2, True, True)
    assert cli("vendor", "init", *home).code == 0
    code, said, advice = error_of(cli("vendor", "init", "--vault", f"sqlite:///{tmp_path}/o.db", *home))
    assert (code, "belongs to another vault" in said, "--home DIR" in advice) == (2, True, True)
    code, said, advice = error_of(cli("vendor", "ls", "--vault", f"sqlite:///{tmp_path}/no/v.db", *home))
    assert (code, "is missing" in said, "typo" in advice) == (6, True, True)


def test_every_command_that_is_advised_is_there():
    """All `labelvault ...` in the package's own texts begin with the words of a real command."""
    package = Path(__file__).resolve().parents[2] / "labelvault"
    texts = "\n".join(path.read_text() for path in package.rglob("*.py"))
    found = set(
        re.findall(r"labelvault ((?:client|vendor|contractor|drill|demo|doctor|completion)(?: [a-z-]+)*)", texts)
    )
    assert len(found) > 20
    for words in found:
        command: click.Command | None = root
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), word)
            assert command is not None, words
