"""Ahead of time and with presence, between processes that meet only at a vault over HTTP, as people type commands."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from labelvault.cli import exits
from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.contractor import Contractor, PresenceDevice
from labelvault.ledger.entries import ReceiptEntry, Released
from labelvault.vendor import Vault
from tests.http.serving import OTHER_TOKEN, PLATFORM_TOKEN, TOKEN
from tests.http.test_processes import ROOT, private, process, served
from tests.world import CHEAP, DAY, TASK, write_project

WORDS = "a passphrase of the tests"
LIMITS = Limits(max_open=5, max_total=20, per_hour=20, lease_ttl_s=3600)
PATIENCE_S = 90


class Actors:
    """A client, a labeler, a desk and its owner's device, each with a home and a token of its own."""

    def __init__(self, folder, address, url):
        self.folder, self.url = folder, url
        self._passphrase = private(folder / "passphrase", WORDS + "\n")
        with Client.create(folder / "lab", PassphraseRoot(WORDS, parameters=CHEAP), address) as lab:
            self.client = lab.client_id
        with (
            Contractor.create(folder / "ada", WORDS, label="ada", parameters=CHEAP) as ada,
            PresenceDevice.create(folder / "phone", WORDS, parameters=CHEAP) as phone,
            Contractor.create(
                folder / "desk", WORDS, tier="desk", label="7", presence_key=phone.public_key, parameters=CHEAP
            ) as desk,
        ):
            self.ada, self.desk, self.phone = ada.public_key, desk.public_key, phone.public_key
            desk.finish_card(phone.cosign(desk.draft()))
        for home, token in (("lab", TOKEN), ("ada", OTHER_TOKEN), ("desk", "d" * 64), ("phone", "e" * 64)):
            private(folder / home / "vault.token", token)

    def tokens(self):
        """What the vendor hands out, each bound to its holder; desk and device may post to each other."""
        client, desk, phone = self.client.hex(), self.desk.hex(), self.phone.hex()
        return private(
            self.folder / "tokens",
            f"lab:{TOKEN}:client={client}\n"
            f"ada:{OTHER_TOKEN}:contractor={client}/{self.ada.hex()}\n"
            f"desk:{'d' * 64}:contractor={client}/{desk}/{phone}\n"
            f"phone:{'e' * 64}:contractor={client}/{phone}/{desk}\n",
        )

    def meet(self):
        """Seal, enrol, grant and join, over HTTP."""
        with (
            Client.open(self.folder / "lab", PassphraseRoot(WORDS)) as lab,
            Contractor.open(self.folder / "ada", WORDS) as ada,
            Contractor.open(self.folder / "desk", WORDS) as desk,
            PresenceDevice.open(self.folder / "phone", WORDS) as phone,
        ):
            project = lab.create_project("eval", floor_bytes=256)
            assert not project.seal(write_project(self.folder / "source")).errors
            self.tasks = {each.name: each.item for each in project.items("task")}
            spoken = {"ada": ada.card_fingerprint, "desk": phone.take_card(desk.card())}
            for name, me in (("ada", ada), ("desk", desk)):
                lab.enroll(me.card(), fingerprint=spoken[name], name=name)
                scope, end = Scope(batches=project.batches()), lab.now() + DAY
                grant = project.grant(name, scope, expires_at=end, limits=LIMITS)
                me.join(lab.invite(grant.grant_id), fingerprint=lab.fingerprint)
                if me is desk:
                    phone.join(lab.invite(grant.grant_id), fingerprint=lab.fingerprint)

    def words(self, role, home, *words):
        where = ("--home", self.folder / home, "--passphrase-file", self._passphrase)
        return (role, *words, *where, "--json")

    def run(self, role, home, *words, code=exits.OK):
        """Run a command to its end; return its last JSON line."""
        command = [sys.executable, "-m", "labelvault", *map(str, self.words(role, home, *words))]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    def ledger(self, kind):
        with Client.open(self.folder / "lab", PassphraseRoot(WORDS)) as lab:
            return [each for each in lab.ledger_entries() if isinstance(each, kind)]


@pytest.fixture
def actors(tmp_path):
    """They know the vault's address before it is served, as in life."""
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    made = Actors(tmp_path, f"http://127.0.0.2:{port}", url)
    platform = private(tmp_path / "platform-tokens", f"platform:{PLATFORM_TOKEN}\n")
    with served(url, "--token-file", made.tokens(), "--platform-token-file", platform, port=port):
        made.meet()
        yield made


def claim(actors, contractor, name):
    """The platform, which is the vendor's own process beside the vault, keeps a task for somebody, and no other."""
    with Vault.open(actors.url) as vault:
        taken = []
        for queue in vault.queues():
            while (claimed := vault.claim(queue, contractor.hex(), ttl_s=900)) is not None:
                taken.append(claimed)
        for claimed in taken:
            if claimed.item != actors.tasks[name]:
                vault.release_claim(claimed.id)
    assert actors.tasks[name] in [claimed.item for claimed in taken], "nobody can claim it"


def test_R5_prekeys_leases_and_status_between_processes(actors):
    """No issuer runs when the task opens; the vault hands the lease out with its claim; a revocation ends it."""
    ada = ("contractor", "ada")
    assert actors.run(*ada, "prekeys", "-n", "3", "--post")["left"] == 3
    issued = actors.run("client", "lab", "issue", "--contractor", "ada", "--item", "one", "--item", "two", "--post")
    assert len(issued["leases"]) == 2
    one, two = (actors.tasks[name].hex() for name in ("one", "two"))
    refused = actors.run(*ada, "open", one, "--offline", code=exits.REFUSED)
    assert refused["error"]["kind"] == "LeaseError"
    claim(actors, actors.ada, "one")
    assert actors.run(*ada, "status")["status_at"] is not None
    opened = actors.run(*ada, "open", one, "--offline")
    assert (opened["state"], opened["erased"]) == ("closed", "process-exit")
    assert opened["lease"] in {each["lease"] for each in issued["leases"]}
    assert actors.run(*ada, "list")["at_hand"] == []
    assert len(list((actors.folder / "ada" / "prekeys").iterdir())) == 2
    assert actors.run(*ada, "open", one, "--offline", code=exits.REFUSED)["error"]["kind"] == "LeaseError"
    actors.run("client", "lab", "revoke", "contractor", "ada")
    actors.run("client", "lab", "status", "--post")
    claim(actors, actors.ada, "two")
    refused = actors.run(*ada, "open", two, "--offline", code=exits.REFUSED)
    assert refused["error"]["kind"] == "LeaseError"
    with process(*actors.words("client", "lab", "issuer", "run")):
        end = time.monotonic() + PATIENCE_S
        while not (closed := [each for each in actors.ledger(ReceiptEntry) if each.event == "closed"]):
            assert time.monotonic() < end
            time.sleep(0.2)
    assert [each.lease_id.hex() for each in closed] == [opened["lease"]]
    assert closed[0].at <= datetime.now(UTC)
    everything = b"".join(path.read_bytes() for path in (actors.folder / "vendor").rglob("*") if path.is_file())
    assert TASK.encode() not in everything


@contextmanager
def agreeing(actors, asked):
    """A person at the device, who says yes to whatever is shown, and remembers it."""
    words = actors.words("contractor", "phone", "approve", "--watch")
    device = subprocess.Popen(
        [sys.executable, "-m", "labelvault", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    def answer():
        assert device.stdin is not None
        assert device.stdout is not None
        for line in device.stdout:
            told = json.loads(line)
            if told["event"] == "asked":
                asked.append(told)
                device.stdin.write("y\n")
                device.stdin.flush()

    person = threading.Thread(target=answer)
    person.start()
    try:
        yield
    finally:
        device.terminate()
        device.wait(timeout=20)
        person.join()
        for pipe in (device.stdin, device.stdout):
            if pipe is not None:
                pipe.close()


def test_F14_a_desk_opens_once_its_owners_device_says_yes(actors):
    """Desk, device, issuer and vault are four processes; without the device nothing is released."""
    one = actors.tasks["one"].hex()
    desk = ("contractor", "desk", "open", one)
    with process(*actors.words("client", "lab", "issuer", "run")):
        alone = actors.run(*desk, "--approval-timeout", "1", code=exits.UNREACHABLE)
        assert alone["error"]["kind"] == "ApprovalTimeoutError"
        assert actors.ledger(Released) == []
        asked: list[dict[str, object]] = []
        with agreeing(actors, asked):
            opened = actors.run(*desk)
        assert (opened["item"], opened["state"], opened["erased"]) == (one, "closed", "process-exit")
    assert {(each["item"], each["desk_label"], each["assigned"]) for each in asked} == {(one, "7", None)}
    (released,) = actors.ledger(Released)
    assert (released.contractor, released.presence, released.task.hex()) == (actors.desk, "key", one)
