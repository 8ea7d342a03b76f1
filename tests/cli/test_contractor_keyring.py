"""The passphrase in the operating system's keyring: a real one, in a session of its own, and what happens without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labelvault.cli import exits

PASSPHRASE = "a passphrase that only the keyring has"
ROOT = Path(__file__).resolve().parents[2]
MISSING = [name for name in ("dbus-run-session", "gnome-keyring-daemon") if shutil.which(name) is None]
SESSION = """
set -eu
printf unlocked | gnome-keyring-daemon --unlock --components=secrets > /dev/null
lv() { "$PYTHON" -m labelvault contractor "$@" --home "$LV_HOME" --json; }
lv keyring status
lv keyring set --passphrase-file wrong || true
lv keyring status
lv keyring set --passphrase-file right
lv keyring status
rm right
lv agent start --keyring --for 2m --idle 2m
lv list
cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ > processes 2> /dev/null || true
lv agent stop
lv keyring remove
lv keyring remove
lv agent start --keyring || true
"""


def environment(folder: Path) -> dict[str, str]:
    """A session that starts from nothing of the user's."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "LV_HOME": str(folder / "home"),
        # Settings that must not count.
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "KEYRING_PROPERTY_PREFERRED_COLLECTION": "/org/freedesktop/secrets/collection/elsewhere",
        "KEYRING_PROPERTY_SCHEME": "KeePassXC",
        "KEYRING_PROPERTY_GET_PASSWORD": "an attribute, not a method",
    }


def in_a_session(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script on a session bus of its own."""
    ran = subprocess.run(
        ["dbus-run-session", "--", "bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder),
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A contractor's home, and files with the right and a wrong passphrase."""
    for name, text in (("right", PASSPHRASE), ("wrong", "another one")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    command = [sys.executable, "-m", "labelvault", "contractor", "init", "--label", "a laptop"]
    command += ["--passphrase-file", str(tmp_path / "right"), "--home", str(tmp_path / "home")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_X2_the_keyring_unlocks_the_agent_and_the_passphrase_is_nowhere_else(folder: Path) -> None:
    """Set, used and removed; a wrong passphrase is not kept; no file, argument or environment has it meanwhile."""
    ran = in_a_session(folder, SESSION)
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    none, refused, still, kept, has, agent, listed, stopped, removed, again, without = said
    assert (none, still, kept, has) == ({"kept": False}, {"kept": False}, {"kept": True}, {"kept": True})
    assert refused["error"]["kind"] == "KeystorePassphraseError"
    assert agent["running"]
    assert listed["openings"] == []
    assert (stopped, removed, again) == ({"stopped": True}, {"removed": True}, {"removed": False})
    assert without["error"]["kind"] == "KeystoreError"
    assert "keyring set" in without["error"]["next"]
    for file in folder.rglob("*"):
        # The keyring's own file is encrypted under its own password.
        if file.is_file():
            assert PASSPHRASE.encode() not in file.read_bytes(), file


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_a_keyring_that_stays_locked_gives_and_takes_nothing(folder: Path) -> None:
    """Nobody is there to unlock it: a typed error with a next step, for each command, and no passphrase anywhere."""
    session = """
    set -eu
    printf unlocked | gnome-keyring-daemon --unlock --components=secrets > /dev/null
    lv() { "$PYTHON" -m labelvault contractor "$@" --home "$LV_HOME" --json; }
    lv keyring set --passphrase-file right
    dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \\
        org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login > /dev/null
    lv keyring status || echo $?
    lv keyring set --passphrase-file right || echo $?
    lv agent start --keyring --for 2m --idle 2m || echo $?
    """
    ran = in_a_session(folder, session)
    kept, *rest = [json.loads(line) for line in ran.stdout.splitlines()]
    assert kept == {"kept": True}
    assert [each["error"]["kind"] for each in rest[::2]] == ["KeystoreError"] * 3
    assert rest[1::2] == [exits.KEYS] * 3
    assert PASSPHRASE not in ran.stdout + ran.stderr


def test_without_a_keyring_it_says_what_to_do(folder: Path) -> None:
    """No session bus: a typed error with a next step, and nothing is kept anywhere."""
    command = [sys.executable, "-m", "labelvault", "contractor", "keyring", "set", "--json"]
    command += ["--home", str(folder / "home"), "--passphrase-file", str(folder / "right")]
    bus = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/none"}
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment(folder) | bus, timeout=60, check=False
    )
    assert ran.returncode == exits.KEYS, ran.stdout + ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert error["kind"] == "KeystoreError"
    assert "--passphrase-file" in error["next"]
    assert PASSPHRASE not in ran.stdout + ran.stderr


def test_without_the_extra_it_names_it(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core and the command line work without the keyring's packages."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "keyring"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keyring", None)
    ran = cli("contractor", "keyring", "status", "--home", folder / "home")
    assert ran.code == exits.USAGE
    assert "labelvault[keyring]" in " ".join(ran.err.split())
