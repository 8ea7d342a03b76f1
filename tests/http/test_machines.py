"""The whole story between vendor, issuer and contractor, which share no file, over a network that nobody can trust."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.contractor import Contractor
from labelvault.errors import (
    ConflictError,
    DeniedError,
    FormatError,
    LabelVaultError,
    NotFoundError,
    RelayError,
    RequestTimeoutError,
    StoreError,
    TamperedError,
)
from labelvault.ledger.entries import Denied, ReceiptEntry, Released
from labelvault.relay import http_send
from labelvault.relay.local import utc_now
from labelvault.vendor import Vault
from tests.http.hostile import FAULTS, Forward, Hostile
from tests.http.serving import OTHER_TOKEN, PLATFORM_TOKEN, TOKEN, serving
from tests.http.test_processes import ROOT, private, process, served
from tests.world import CHEAP, DAY, GUIDELINE, write_project

WORDS = "a passphrase of the tests"
TYPED = (
    ConflictError,
    DeniedError,
    FormatError,
    NotFoundError,
    RelayError,
    RequestTimeoutError,
    StoreError,
    TamperedError,
)
"""What a fault may end in."""
TERMS = Limits(max_open=30, max_total=60, per_hour=60, lease_ttl_s=600)


@pytest.mark.parametrize("faults", ["none", "lost_reply", "all"])
def test_the_story_between_machines(tmp_path, monkeypatch, faults):
    """G3, G4, G6, L3: a fault ends in a typed error or a clean retry; a thief of all that is left opens nothing."""
    monkeypatch.setattr(http_send, "_PAUSE_S", 0.001)
    chance, turn = random.Random(11), [0]

    def plan(asked):
        turn[0] += 1
        if faults == "all":
            return chance.choice(list(FAULTS)) if chance.random() < 0.25 else None
        return faults if faults != "none" and turn[0] % 5 == 0 else None

    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    hostile = Hostile(Forward(f"http://127.0.0.2:{port}"), plan)
    with serving(hostile, "127.0.0.3") as address:
        story = _Machines(tmp_path, address)
        tokens = private(
            tmp_path / "tokens",
            f"lab:{TOKEN}:client={story.lab.client_id.hex()}\n"
            f"ada:{OTHER_TOKEN}:contractor={story.lab.client_id.hex()}/{story.me.public_key.hex()}\n",
        )
        platform = private(tmp_path / "platform-tokens", f"platform:{PLATFORM_TOKEN}\n")
        words = ("--token-file", tokens, "--platform-token-file", platform)
        try:
            with served(url, *words, port=port) as (upstream, _):
                story.play(upstream)
                story.revoke()
            story.check()
        finally:
            story.close()
    assert bool(hostile.done) == (faults != "none")
    if faults == "all":
        assert len({fault for fault, _ in hostile.done}) >= 6
    with Vault.open(url) as vault:
        assert vault.check() == []
        closed = {each.item for each in vault.receipts() if each.event == "closed" and each.erased == "process-exit"}
        assert {story.task} <= closed
    _drill(tmp_path)


class _Machines:
    """Client and contractor, who know the vault's address and a token each."""

    def __init__(self, folder, address):
        self.folder = folder
        self.passphrase = private(folder / "passphrase", WORDS + "\n")
        self.lab = Client.create(folder / "lab", PassphraseRoot(WORDS, parameters=CHEAP), address)
        self.me = Contractor.create(folder / "ada", WORDS, label="ada", parameters=CHEAP)
        private(folder / "lab/vault.token", TOKEN)
        private(folder / "ada/vault.token", OTHER_TOKEN)
        self.refused: list[LabelVaultError] = []
        self.opened: list[bytes] = []
        self.task = b""

    def close(self):
        self.lab.close()
        self.me.close()

    def insist(self, step):
        """Do a step until it comes to its end; whatever else comes out of it is a typed error."""
        deadline = time.monotonic() + 90
        while True:
            try:
                return step()
            except TYPED as error:
                self.refused.append(error)
                assert time.monotonic() < deadline, self.refused[-5:]

    def issuing(self):
        """The issuer, a process of its own."""
        words = ("client", "issuer", "run", "--home", self.folder / "lab", "--passphrase-file", self.passphrase)
        return process(*words, "--json")

    def play(self, upstream):
        """Seal, enrol, grant, join, claim, open, close, receipts."""
        project = self.lab.create_project("eval", floor_bytes=256)
        source = write_project(self.folder / "source")
        report = self.insist(lambda: project.seal(source))
        assert not report.errors
        assert self.insist(lambda: project.seal(source)).same == 9
        self.lab.enroll(self.me.card(), fingerprint=self.me.card_fingerprint, name="ada")
        grant = project.grant("ada", Scope(batches=project.batches()), expires_at=utc_now() + DAY, limits=TERMS)
        self.me.join(self.lab.invite(grant.grant_id), fingerprint=self.lab.fingerprint)
        self.task = self._claim(upstream)
        assert self.task in {each.item for each in project.items("task")}
        with self.issuing():
            for _ in range(3):
                self.insist(self._open)
            deadline = time.monotonic() + 60
            while not self._closed():
                with suppress(*TYPED):
                    self.me.post_due_receipts()
                # A receipt that the network made away with is gone: another opening brings another.
                if time.monotonic() > deadline - 50:
                    with suppress(*TYPED):
                        self._open()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def _claim(self, upstream):
        headers = {"authorization": f"Bearer {PLATFORM_TOKEN}", "labelvault-version": "1"}
        with httpx.Client(base_url=upstream, headers=headers, trust_env=False) as http:
            for queue in http.get("/v1/queues").json()["queues"]:
                wanted = {name: queue[name] for name in ("queue", "client", "project")}
                wanted |= {"contractor": self.me.public_key.hex(), "ttl_s": 600}
                claim = http.post("/v1/claims", json=wanted).json()["claim"]
                if claim is not None:
                    return bytes.fromhex(claim["item"])
        raise AssertionError("no task waits")

    def _open(self):
        with self.me.begin(self.task, timeout_s=5) as opening:
            reader, writer = os.pipe()
            opening.show(writer)
            os.close(writer)
            with os.fdopen(reader) as shown:
                assert GUIDELINE in shown.read()
            self.opened.append(opening.lease_id)

    def _closed(self):
        return [e for e in self.lab.ledger_entries() if isinstance(e, ReceiptEntry) and e.event == "closed"]

    def revoke(self):
        """A contractor who is revoked opens nothing more, however often it asks and whatever comes over the network."""
        self.lab.revoke_contractor("ada")
        before, seen = len(self.opened), set()
        deadline = time.monotonic() + 90
        with self.issuing():
            while "revoked" not in seen:
                with pytest.raises(TYPED) as no:
                    self._open()
                seen.add(no.value.code if isinstance(no.value, DeniedError) else type(no.value).__name__)
                assert time.monotonic() < deadline, seen
        assert len(self.opened) == before

    def check(self):
        """The ledger holds together and covers all that was opened; nothing was released after the revocation."""
        self.lab.verify_ledger()
        entries = list(self.lab.ledger_entries())
        released = [each for each in entries if isinstance(each, Released)]
        assert self.opened
        assert set(self.opened) <= {each.lease_id for each in released}
        assert {each.task for each in released} == {self.task}
        assert len(released) <= TERMS.max_total
        denied = [at for at, each in enumerate(entries) if isinstance(each, Denied) and each.code == "revoked"]
        assert denied
        assert not any(isinstance(each, Released) for each in entries[denied[0] :])


def _drill(folder: Path) -> None:
    """Hand copies of vendor's and contractor's folders to the attacker, passphrase included."""
    shutil.copytree(folder / "vendor", folder / "stolen/vendor")
    shutil.copytree(folder / "ada", folder / "stolen/ada", ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy(folder / "tokens", folder / "stolen/vendor/tokens")
    words = ["drill", "--vault", folder / "stolen/vendor", "--contractor", folder / "stolen/ada", "--json"]
    words += ["--passphrase-file", folder / "passphrase", "--known", folder / "source"]
    ended = subprocess.run(
        [sys.executable, "-m", "labelvault", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert found["payloads"] >= 9
    assert found["opened"] == []
