"""Vendor, issuer and contractor as processes that share no file, on loopback addresses of their own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from labelvault.cli import exits
from labelvault.cli.app import run
from labelvault.errors import RelayError
from labelvault.relay import http_send, open_relay
from labelvault.vendor import Vault
from tests.http.serving import OTHER_TOKEN, TOKEN
from tests.stores.samples import BOX

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def process(*words, within=()):
    """Run a labelvault command until the block ends; it is ended by its own process id.

    Args:
        words: of the command.
        within: a command that runs another one, somewhere else.
    """
    started = subprocess.Popen(
        [*within, sys.executable, "-m", "labelvault", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


def private(path, text):
    """Write a file that only its owner reads."""
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def tokens(tmp_path):
    return private(tmp_path / "tokens", f"lab:{TOKEN}\nada:{OTHER_TOKEN}\n")


@pytest.fixture
def vault_url(tmp_path):
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    return url


@contextmanager
def served(vault_url, *words, host="127.0.0.2", port=0, within=()):
    """Run `vendor serve`; give its address, once it listens, and its process."""
    command = ("vendor", "serve", "--vault", vault_url, "--host", host, "--port", port, "--json", *words)
    with process(*command, within=within) as running:
        line = running.stdout.readline()
        assert line, running.stderr.read()
        yield json.loads(line)["listening"], running


def test_serve_tells_strangers_nothing_and_ends_on_a_signal(vault_url, tokens, monkeypatch):
    """Without a token nothing; on SIGTERM it lets waiters go, ends with 0 and leaves no trace of a traceback."""
    monkeypatch.setattr(http_send, "_PAUSE_S", 0.001)
    with served(vault_url, "--token-file", tokens) as (address, running):
        with closing(open_relay(address)) as stranger, pytest.raises(RelayError, match="token"):
            stranger.fetch(BOX)
        with closing(open_relay(address, token=TOKEN)) as ours:
            ours.post(BOX, b"one")
            assert [text for _, text in ours.fetch(BOX, wait_s=1)] == [b"one"]
        started = time.monotonic()
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=20)
        assert running.returncode == 0, err
        assert time.monotonic() - started < 8
        assert "Traceback" not in err
        assert TOKEN not in out + err


def test_serve_without_tokens_serves_this_machine_only(vault_url):
    """It warns, and takes no name but this machine's for its own: a page of elsewhere can't rebind its way in."""
    import httpx

    with served(vault_url, host="127.0.0.1") as (address, running):
        with closing(open_relay(address)) as relay:
            relay.post(BOX, b"one")
        path = f"{address}/v1/mailboxes/{BOX.hex()}/messages"
        for host, status in (("evil.example", 401), ("localhost:1", 200), ("[::1]:1", 200), ("", 401)):
            headers = {"host": host, "labelvault-version": "1"}
            assert httpx.get(path, headers=headers, trust_env=False).status_code == status, host
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 0
    assert "no tokens" in err


@pytest.mark.parametrize("log", [True, False])
def test_serve_logs_requests_only_when_asked(vault_url, tokens, log):
    """A line has operation, caller, status and time; no token, path, mailbox or message."""
    words = ["--token-file", tokens, *(["--log"] if log else [])]
    with served(vault_url, *words, host="127.0.0.1") as (address, running):
        with closing(open_relay(address, token=TOKEN)) as relay:
            relay.post(BOX, b"a message that no log shows")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    lines = [line for line in err.splitlines() if "post" in line]
    assert len(lines) == log
    assert all(re.fullmatch(r"\S+ \S+ post 'lab' 204 \d+ ms", line) for line in lines)
    for secret in (TOKEN, BOX.hex(), "a message"):
        assert secret not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--token-file"),  # noqa: S104 - refused
        (["--host", "192.0.2.1"], "--token-file"),
        (["--behind-proxy"], "--token-file"),
        (["--host", "0.0.0.0", "--token-file", "TOKENS"], "in the clear"),  # noqa: S104 - refused
        (["--host", "vault.example", "--token-file", "TOKENS"], "in the clear"),
        (["--tls-cert", "TOKENS"], "belong together"),
        (["--tls-cert", "TOKENS", "--tls-key", "OPEN"], "chmod 600"),
        (["--token-file", "EMPTY"], "no token"),
        (["--platform-token-file", "EMPTY"], "no token"),
        (["--port", "TAKEN"], "can't listen"),
    ],
)
def test_serve_refuses_to_listen_carelessly(tmp_path, vault_url, tokens, capsys, words, said):
    """Strangers, tokens in the clear, open keys and empty lists: a usage error before anything listens."""
    private(tmp_path / "empty", "# nobody\n")
    shutil.copy(tokens, tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {
            "TOKENS": tokens,
            "EMPTY": tmp_path / "empty",
            "OPEN": tmp_path / "open",
            "TAKEN": taken.getsockname()[1],
        }
        code = run(["vendor", "serve", "--vault", vault_url, *(str(given.get(word, word)) for word in words)])
    assert code == exits.USAGE
    assert said in " ".join(capsys.readouterr().err.split())


def test_serve_refuses_an_open_token_file(tmp_path, vault_url, tokens, capsys):
    """Tokens that others can read are no tokens."""
    tokens.chmod(0o640)
    assert run(["vendor", "serve", "--vault", vault_url, "--token-file", str(tokens)]) == exits.UNREACHABLE
    assert "chmod 600" in capsys.readouterr().err


def test_without_the_extra_each_door_says_so(monkeypatch, vault_url, capsys):
    """The core install has no HTTP; what needs it names the extra."""
    for name in ("labelvault.relay.http", "labelvault.vendor.http"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RelayError, match="needs the extra `service`") as away:
        open_relay("https://vault.example")
    assert "labelvault[service]" in (away.value.next_step or "")
    assert run(["vendor", "serve", "--vault", vault_url]) == exits.USAGE
    assert "labelvault[service]" in " ".join(capsys.readouterr().err.split())
