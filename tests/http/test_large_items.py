"""A large file from a client to a contractor over HTTP, with vendor, client, issuer and contractor as processes.

None of them holds more than a small part of it in memory at any time.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labelvault.client import Client, PassphraseRoot
from labelvault.contractor import Contractor
from labelvault.vendor import Vault
from tests.http.large_actors import CHEAP, NAME, PASSPHRASE, peak_bytes
from tests.http.serving import OTHER_TOKEN, TOKEN
from tests.http.test_processes import ROOT, private, process, served
from tests.http.test_streams import begun, soon, status_of
from tests.stores.samples import item

MIB = 1024 * 1024
SIZE = 300 * MIB + 12_345
MOST = 200 * MIB

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see a process's memory")


def actor(step, folder, within=()):
    """Run one step in a process of its own; return what it says."""
    ended = subprocess.run(
        [*within, sys.executable, "-m", "tests.http.large_actors", step, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def write_source(folder, size):
    """Write a folder with one large attachment and a task that requires it."""
    for name in ("attachments", "tasks"):
        (folder / name).mkdir(parents=True)
    made, left = random.Random(1), size
    with (folder / NAME).open("wb") as stream:
        while left:
            left -= stream.write(made.randbytes(min(left, MIB)))
    (folder / "tasks/w.jsonl").write_text('{"id": "one", "file": "large.bin"}\n')
    (folder / "labelvault.toml").write_text('[tasks]\nattachments = ["file"]\n')


@pytest.fixture
def homes(tmp_path):
    """Make the homes of client and contractor for an address; give the folder that holds both."""

    def make(address):
        private(tmp_path / "passphrase", PASSPHRASE + "\n")
        root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
        with (
            Client.create(tmp_path / "lab", root, address) as lab,
            Contractor.create(tmp_path / "ada", PASSPHRASE, parameters=CHEAP) as ada,
        ):
            lab.create_project("p")
            named = {"client": lab.client_id.hex(), "contractor": ada.public_key.hex()}
            (tmp_path / "ids.json").write_text(json.dumps(named))
            lab.enroll(ada.card(), fingerprint=ada.card_fingerprint, name="ada")
        private(tmp_path / "lab/vault.token", TOKEN)
        private(tmp_path / "ada/vault.token", OTHER_TOKEN)
        return tmp_path

    return make


def test_300_MiB_pass_over_http_in_flat_memory(tmp_path, homes):
    """Sealed, opened in ranges and compared, while no process ever holds 200 MiB; the vault has every byte once."""
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    tokens = private(tmp_path / "tokens", f"lab:{TOKEN}\nada:{OTHER_TOKEN}\n")
    with served(url, "--token-file", tokens) as (address, vendor):
        folder = homes(address)
        write_source(folder / "source", SIZE)
        sealed = actor("seal", folder)
        assert sealed["new"] == 2
        again = actor("seal", folder)
        assert (again["new"], again["same"]) == (0, 2)
        asked = actor("invite", folder)
        (folder / "asked.json").write_text(json.dumps(asked))
        words = ("client", "issuer", "run", "--home", folder / "lab", "--passphrase-file", folder / "passphrase")
        with process(*words):
            opened = actor("read", folder)
        peaks = [sealed["peak_bytes"], again["peak_bytes"], opened["peak_bytes"], peak_bytes(vendor.pid)]
    assert max(peaks) < MOST, peaks
    assert (opened["size"], opened["large"]) == (SIZE, True)
    with (folder / "source" / NAME).open("rb") as source:
        assert opened["whole"] == hashlib.file_digest(source, "sha256").hexdigest()
        for offset, length, digest in opened["ranges"]:
            source.seek(offset)
            assert hashlib.sha256(source.read(length)).hexdigest() == digest
    with Vault.open(url) as vault:
        assert vault.check() == []
        assert vault.status().items == 2
    (payload,) = (tmp_path / "vendor/vault.db.payloads").iterdir()
    assert SIZE < payload.stat().st_size < SIZE * 1.12


def test_C1_a_client_that_is_killed_in_the_middle_leaves_nothing(tmp_path, homes):
    """No half file stays at the vault, and sealing again goes on."""
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    payloads = tmp_path / "vendor/vault.db.payloads"
    tokens = private(tmp_path / "tokens", f"lab:{TOKEN}\n")
    with served(url, "--token-file", tokens) as (address, _):
        folder = homes(address)
        write_source(folder / "source", 200 * MIB)
        command = [sys.executable, "-m", "tests.http.large_actors", "seal", str(folder)]
        client = subprocess.Popen(command, cwd=ROOT)
        try:
            soon(lambda: payloads.exists() and any(each.stat().st_size > MIB for each in payloads.iterdir()), 60)
            client.send_signal(signal.SIGSTOP)
            (part,) = payloads.iterdir()
            assert part.suffix == ".part"
        finally:
            client.kill()
            client.wait()
        soon(lambda: not any(payloads.iterdir()))
        with Vault.open(url) as vault:
            assert vault.status().items == 0
        shutil.rmtree(folder / "source")
        write_source(folder / "source", 20 * MIB)
        assert actor("seal", folder)["new"] == 2
    with Vault.open(url) as vault:
        assert (vault.status().items, vault.check()) == (2, [])


def test_C1_a_service_that_ends_in_the_middle_leaves_nothing(tmp_path):
    """Told to end while a stream is under way, it breaks that off, exits with 0 and leaves no half file."""
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    payloads = tmp_path / "vendor/vault.db.payloads"
    tokens = private(tmp_path / "tokens", f"lab:{TOKEN}\n")
    with served(url, "--token-file", tokens) as (address, vendor), begun(address, item(size=3 * MIB)) as sender:
        soon(lambda: payloads.exists() and any(payloads.iterdir()))
        vendor.send_signal(signal.SIGTERM)
        _, said = vendor.communicate(timeout=30)
        assert vendor.returncode == 0, said
        assert "Traceback" not in said
        assert status_of(sender) == 503
    assert list(payloads.iterdir()) == []
    with Vault.open(url) as vault:
        assert vault.status().items == 0
