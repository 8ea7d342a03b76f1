"""The three examples run together, as three actors would run them, each in a process of its own."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

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
        shown = run("contractor_decrypt.py", "open", ada, item).stdout
    finally:
        issuer.terminate()
        issuer.wait()
    assert "── task: " in shown
    assert "── guideline: rating.md" in shown
    assert "closed, erased by process-exit" in shown
    assert re.search(r"^[0-9a-f]{64}  1 tasks$", run("platform_embed.py", "pay", vault).stdout, re.MULTILINE)
    with_text = (PROJECT / "guidelines" / "rating.md").read_bytes()[:40]
    assert with_text not in (tmp_path / "vault.db").read_bytes()


@pytest.mark.parametrize("script", ["client_issue_keys.py", "contractor_decrypt.py", "platform_embed.py"])
def test_an_example_without_arguments_shows_its_usage(script: str) -> None:
    """Called with nothing, an example says how to call it."""
    shown = run(script, check=False)
    assert shown.returncode == 1
    assert f"python {script}" in shown.stderr


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
