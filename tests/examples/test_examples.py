"""The three examples run together, as three actors would run them, each in a process of its own."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "labelvault" / "story" / "example"


def run(script: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
        cwd=ROOT,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def fingerprint(output: str) -> str:
    """Return the fingerprint that an example printed."""
    found = re.search(r"our fingerprint: (\S+)", output)
    assert found
    return found[1]


def test_the_examples_play_together(tmp_path: Path) -> None:
    """Client, platform and contractor meet at one vault: sealed, claimed, opened, closed, counted."""
    vault = f"sqlite:///{tmp_path}/vault.db"
    lab, ada = tmp_path / "lab", tmp_path / "ada"
    for home in (lab, ada):
        home.with_suffix(".passphrase").write_text(secrets.token_hex(16))

    assert run("platform_embed.py", "queues", vault).stdout == ""
    sealed = run("client_issue_keys.py", "setup", lab, vault, PROJECT).stdout
    assert re.search(r"sealed \d+ new, 0 changed, 0 as they were", sealed)
    assert "sealed 0 new, 0 changed" in run("client_issue_keys.py", "setup", lab, vault, PROJECT).stdout

    card = run("contractor_decrypt.py", "card", ada, tmp_path / "ada.card").stdout
    invite = tmp_path / "ada.invite"
    run("client_issue_keys.py", "invite", lab, tmp_path / "ada.card", fingerprint(card), invite)
    run("contractor_decrypt.py", "join", ada, invite, fingerprint(sealed))

    item = run("platform_embed.py", "claim", vault, "ada").stdout.strip()
    issuer = subprocess.Popen(
        [sys.executable, str(ROOT / "examples/client_issue_keys.py"), "answer", str(lab), "60"], env=_environment()
    )
    try:
        shown = run("contractor_decrypt.py", "open", ada, item, "good").stdout
        paid = once_paid(vault)
    finally:
        issuer.terminate()
        issuer.wait()
    assert "── task: " in shown
    assert "── guideline: rating.md" in shown
    assert "closed, erased by process-exit" in shown
    assert re.fullmatch(r"client [0-9a-f]{64}: [0-9a-f]{64}  1 tasks\n", paid)
    with_text = (PROJECT / "guidelines" / "rating.md").read_bytes()[:40]
    assert with_text not in (tmp_path / "vault.db").read_bytes()


def test_the_examples_work_ahead_of_time(tmp_path: Path) -> None:
    """No issuer runs: prekeys in a file one way, a lease in a file the other, issued while the vault is away."""
    vault = f"sqlite:///{tmp_path}/vault.db"
    lab, ada = tmp_path / "lab", tmp_path / "ada"
    for home in (lab, ada):
        home.with_suffix(".passphrase").write_text(secrets.token_hex(16))
    run("platform_embed.py", "queues", vault)
    sealed = run("client_issue_keys.py", "setup", lab, vault, PROJECT).stdout
    card = run("contractor_decrypt.py", "card", ada, tmp_path / "ada.card").stdout
    run("client_issue_keys.py", "invite", lab, tmp_path / "ada.card", fingerprint(card), tmp_path / "ada.invite")
    run("contractor_decrypt.py", "join", ada, tmp_path / "ada.invite", fingerprint(sealed))
    item = run("platform_embed.py", "claim", vault, "ada").stdout.strip()
    run("contractor_decrypt.py", "prekeys", ada, 2, tmp_path / "ada.prekeys")
    away = tmp_path / "away.db"
    (tmp_path / "vault.db").rename(away)
    out = tmp_path / "ada.leases"
    words = ("ahead", lab, "ada", tmp_path / "ada.prekeys", out, item)
    assert run("client_issue_keys.py", *words).stdout == "1 leases, 1 prekeys left\n"
    away.rename(tmp_path / "vault.db")
    assert run("contractor_decrypt.py", "take", ada, out).stdout.startswith("1 tasks")
    shown = run("contractor_decrypt.py", "open", ada, item, "good").stdout
    assert "── task: " in shown
    assert "closed, erased by process-exit" in shown


def once_paid(vault: str) -> str:
    """What `pay` prints once the issuer has acked an answer."""
    for _ in range(600):
        if paid := run("platform_embed.py", "pay", vault).stdout:
            return paid
        time.sleep(0.1)
    raise AssertionError("no answer was accepted")


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run an example until the block ends."""
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    started = subprocess.Popen(command, cwd=ROOT, env=_environment(), stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.terminate()
        started.communicate(timeout=30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def private(path: Path, text: str) -> Path:
    """Write a file that only its owner reads."""
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_examples_play_together_over_http(tmp_path: Path) -> None:
    """The platform is a FastAPI application with the vault inside; the others know its address and a token each."""
    url, port = f"sqlite:///{tmp_path}/platform/vault.db", free_port()
    site = f"http://127.0.0.1:{port}"
    lab, ada = tmp_path / "lab", tmp_path / "ada"
    for home in (lab, ada):
        private(home.with_suffix(".passphrase"), secrets.token_hex(16))
    found = re.search(r"our id: ([0-9a-f]{64})", run("client_issue_keys.py", "init", lab, f"{site}/lv").stdout)
    assert found
    client = found[1]
    card = run("contractor_decrypt.py", "card", ada, tmp_path / "ada.card").stdout
    found = re.search(r"our key: ([0-9a-f]{64})", card)
    assert found
    key = found[1]

    token = {name: secrets.token_hex(32) for name in ("lab", "ada", "bob", "office")}
    lines = (
        f"lab:{token['lab']}:client={client}\n"
        f"ada:{token['ada']}:contractor={client}/{key}\n"
        f"bob:{token['bob']}:contractor={client}/{'0b' * 32}\n"
        f"office:{token['office']}\n"
    )
    tokens = private(tmp_path / "tokens", lines)
    private(lab / "vault.token", token["lab"])
    private(ada / "vault.token", token["ada"])

    def ask(method: str, path: str, name: str | None) -> httpx.Response:
        headers = {} if name is None else {"authorization": f"Bearer {token[name]}"}
        return httpx.request(method, site + path, headers=headers, trust_env=False, timeout=30)

    with running("platform_embed.py", "serve", url, tokens, "--port", port) as platform:
        deadline = time.monotonic() + 60
        while True:
            with suppress(httpx.TransportError):
                assert ask("GET", "/queues", "office").json() == []
                break
            assert platform.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sealed = run("client_issue_keys.py", "setup", lab, f"{site}/lv", PROJECT).stdout
        assert re.search(r"sealed \d+ new, 0 changed, 0 as they were", sealed)
        invite = tmp_path / "ada.invite"
        run("client_issue_keys.py", "invite", lab, tmp_path / "ada.card", fingerprint(card), invite)
        run("contractor_decrypt.py", "join", ada, invite, fingerprint(sealed))

        queues = ask("GET", "/queues", "ada").json()
        assert sum(queue["waiting"] for queue in queues) > 1
        task = ask("POST", "/claims/next", "ada").json()
        other = ask("POST", "/claims/next", "bob").json()
        assert other["item"] != task["item"]
        with running("client_issue_keys.py", "answer", lab, 60):
            shown = run("contractor_decrypt.py", "open", ada, task["item"], "good").stdout
            once_paid(url)
        assert "── task: " in shown
        assert "closed, erased by process-exit" in shown

        refused = {
            ("GET", "/queues", None): 401,
            ("POST", "/claims/next", None): 401,
            ("GET", "/pay", None): 401,
            ("POST", "/claims/next", "lab"): 403,
            ("POST", "/claims/next", "office"): 403,
            ("GET", "/pay", "ada"): 403,
            ("POST", f"/claims/{task['claim']}/finish", "bob"): 404,
            ("POST", f"/claims/{'00' * 16}/finish", "ada"): 404,
        }
        mailbox = f"/lv/v1/mailboxes/{'00' * 32}/messages"
        refused |= {("GET", mailbox, "office"): 401, ("GET", mailbox, "ada"): 400}
        assert {asked: ask(*asked).status_code for asked in refused} == refused
        for _ in range(2):
            assert ask("POST", f"/claims/{task['claim']}/finish", "ada").status_code == 204
        assert ask("GET", "/pay", "office").json() == {client: {key: 1}}
        counts = ask("GET", "/queues", "office").json()
        assert (sum(each["done"] for each in counts), sum(each["claimed"] for each in counts)) == (1, 1)
    assert run("platform_embed.py", "pay", url).stdout == f"client {client}: {key}  1 tasks\n"
    assert (PROJECT / "guidelines/rating.md").read_bytes()[:40] not in (tmp_path / "platform/vault.db").read_bytes()


@pytest.mark.parametrize("script", ["client_issue_keys.py", "contractor_decrypt.py", "platform_embed.py"])
def test_an_example_without_arguments_shows_its_usage(script: str) -> None:
    """Called with nothing, an example says how to call it."""
    shown = run(script, check=False)
    assert shown.returncode == 1
    assert f"python {script}" in shown.stderr


def test_G7_a_platform_counts_each_clients_acks_apart(tmp_path: Path) -> None:
    """Whoever makes himself a client and accepts answers of his own is owed nothing by another one."""
    world = World(tmp_path)
    stranger = world.create_client("stranger")
    theirs = stranger.create_project("own", floor_bytes=256)
    theirs.seal(world.source)
    me, _ = world.worker()
    rogue = world.contractor("rogue")
    world.enrol(rogue, "rogue", stranger)
    world.join(rogue, "rogue", lab=stranger, project=theirs)
    for lab, who, item, answers in (
        (world.lab, me, world.task(), 1),
        (stranger, rogue, world.task("one", theirs), 1),
        (stranger, rogue, world.task("two", theirs), 2),
    ):
        issuer = world.issuer(lab)
        with who.open_task(item, exchange=issuer.handle) as task:
            for _ in range(answers):
                task.submit("good")
        issuer.answer()
    shown = run("platform_embed.py", "pay", world.vault).stdout.splitlines()
    world.close()
    counts = {line.split()[1].rstrip(":"): line.split()[2:] for line in shown}
    assert counts == {
        world.lab.client_id.hex(): [me.public_key.hex(), "1", "tasks"],
        stranger.client_id.hex(): [rogue.public_key.hex(), "2", "tasks"],
    }


def test_a_wrong_fingerprint_enrols_nobody(tmp_path: Path) -> None:
    """The issuance script refuses a card whose spoken fingerprint is another's, and writes no invite."""
    lab, ada = tmp_path / "lab", tmp_path / "ada"
    for home in (lab, ada):
        home.with_suffix(".passphrase").write_text(secrets.token_hex(16))
    vault = f"sqlite:///{tmp_path}/vault.db"
    run("platform_embed.py", "queues", vault)
    sealed = run("client_issue_keys.py", "setup", lab, vault, PROJECT).stdout
    run("contractor_decrypt.py", "card", ada, tmp_path / "ada.card")
    refused = run(
        "client_issue_keys.py", "invite", lab, tmp_path / "ada.card", fingerprint(sealed), tmp_path / "x", check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("EnrolmentError")
    assert not (tmp_path / "x").exists()
