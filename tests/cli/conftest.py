"""How tests run the command line: in this process, through the entry point that maps errors to exit codes."""

import io
import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from labelvault.cli.app import run
from labelvault.client import Client, PassphraseRoot
from labelvault.contractor import Contractor
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.vendor import Vault

EXAMPLE = Path(__file__).resolve().parents[2] / "labelvault" / "story" / "example"
PASSPHRASE = "correct horse"


@dataclass
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def cli(capfd, monkeypatch):
    """Run a command with stdin that is no terminal, and room for its tables."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments, stdin=""):
        reader, writer = os.pipe()
        os.write(writer, stdin.encode())
        os.close(writer)
        with io.TextIOWrapper(os.fdopen(reader, "rb")) as given:
            monkeypatch.setattr(sys, "stdin", given)
            capfd.readouterr()
            code = run([str(each) for each in arguments])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def passphrase_file(tmp_path):
    """A passphrase as a file of its owner's."""
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file


CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)


class World:
    """A vendor, a client with the example project sealed, and contractors, to run commands on.

    Attributes:
        folder: holds one home an actor.
        tasks: name to id, in hex.
    """

    def __init__(self, folder):
        self.folder = folder
        self.vault = f"sqlite:///{folder}/vendor/vault.db"
        self.passphrase_file = folder / "passphrase"

    def build(self):
        """Create the vault and the client with a cheap passphrase, and seal the example."""
        self.passphrase_file.write_text(PASSPHRASE + "\n", encoding="utf-8")
        self.passphrase_file.chmod(0o600)
        Vault.open(self.vault).close()
        root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
        with Client.create(self.folder / "client", root, self.vault) as client:
            self.fingerprint = client.fingerprint
            project = client.create_project("ferry")
            project.seal(EXAMPLE)
            self.tasks = {each.name: each.item.hex() for each in project.items("task")}

    def use(self, cli):
        """Run commands with this."""
        self._cli = cli
        return self

    def client(self, *words, **options):
        """Run a client's command."""
        return self._actor("client", "client", *words, **options)

    def contractor(self, *words, home="ada", **options):
        """Run a contractor's command."""
        return self._actor("contractor", home, *words, **options)

    def _actor(self, role, home, *words, **options):
        where = ("--home", self.folder / home, "--passphrase-file", self.passphrase_file)
        return self._cli(role, *words, *where, **options)

    def enrol(self, home="ada", tier="helper"):
        """Create a contractor, with a cheap passphrase, and enrol its card."""
        with Contractor.create(self.folder / home, PASSPHRASE, tier=tier, label="a laptop", parameters=CHEAP) as made:
            fingerprint = made.card_fingerprint
        card = self.folder / f"{home}.card"
        assert self.contractor("card", "-o", card, home=home).code == 0
        assert self.client("enroll", card, "--name", home, "--fingerprint", fingerprint).code == 0

    def grant(self, home="ada", *more, max_open=1, **options):
        """Grant week 14, and return what the command did."""
        terms = ("--batch", "week-14", "--expires", "7d", "--max-open", max_open, "--max-total", 9)
        invite = ("--per-hour", 50, "--lease-ttl", "30m", "--invite", self.folder / f"{home}.invite")
        return self.client("grant", "ferry", home, *terms, *invite, *more, **options)

    def admit(self, home="ada", tier="helper", max_open=1):
        """Enrol, grant and join."""
        self.enrol(home, tier)
        waive = ("--waive-presence",) if tier == "desk" else ()
        assert self.grant(home, *waive, max_open=max_open).code == 0
        words = ("join", self.folder / f"{home}.invite", "--fingerprint", self.fingerprint)
        ran = self.contractor(*words, home=home)
        assert ran.code == 0, ran

    def library(self):
        """Open the client in this process."""
        return Client.open(self.folder / "client", PassphraseRoot(PASSPHRASE))


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A world that is built once, and a snapshot of its folder."""
    made = World(tmp_path_factory.mktemp("world"))
    made.build()
    snapshot = made.folder.with_name("snapshot")
    shutil.copytree(made.folder, snapshot)
    return made, snapshot


@pytest.fixture
def world(template, cli):
    """A vendor and a client with the example project sealed, as it was when it was built."""
    made, snapshot = template
    # Put back in place and not copied elsewhere: the vault's address is part of it.
    shutil.rmtree(made.folder)
    shutil.copytree(snapshot, made.folder)
    return made.use(cli)


@pytest.fixture
def issuer(world):
    """The client's issuer, answering in a thread of this process."""
    stop = threading.Event()

    def answer():
        with world.library() as client:
            running = client.issuer()
            running.run(stop, poll_s=0.02)
            running.close()

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    stop.set()
    thread.join()
