"""Completion: the script works in a shell, and names come out of homes without a passphrase and without keys."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelvault.cli import exits

BIN = Path(sys.executable).parent


def completed(*words):
    """Return what a shell would offer for the last word, by the protocol of the generated script."""
    environment = {
        **os.environ,
        "_LABELVAULT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(map(str, words)),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([BIN / "labelvault"], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_and_options_are_completed():
    """Groups, commands of a group, options of a command."""
    assert completed("labelvault", "con") == ["contractor"]
    assert completed("labelvault", "client", "led") == ["ledger"]
    assert "--dry-run" in completed("labelvault", "client", "seal", "--d")


def test_names_of_a_client_come_without_a_passphrase_and_without_keys(world):
    """Projects, contractors, batches and grants; revoked ones are not offered; all key files may be gone."""
    world.admit()
    grant = world.client("grants", "--json").json["grants"][0]["grant"]
    home = ("--home", world.folder / "client")
    for name in ("root.keystore", "identity.key", "issuer.key"):
        (world.folder / "client" / name).rename(world.folder / name)
    assert completed("labelvault", "client", "seal", *home, "f") == ["ferry"]
    assert completed("labelvault", "client", "seal", *home, "x") == []
    assert completed("labelvault", "client", "grant", *home, "ferry", "a") == ["ada"]
    assert completed("labelvault", "client", "grant", *home, "--batch", "week") == ["week-14", "week-15"]
    assert completed("labelvault", "client", "revoke", "grant", *home, grant[:3]) == [grant]
    for name in ("root.keystore", "identity.key", "issuer.key"):
        (world.folder / name).rename(world.folder / "client" / name)
    assert world.client("revoke", "contractor", "ada").code == exits.OK
    assert completed("labelvault", "client", "grant", *home, "ferry", "a") == []


def test_ids_of_a_contractor_come_without_a_passphrase(world, issuer):
    """Leases that are open, tasks that were opened, grants that were joined."""
    world.admit()
    task = world.tasks["fa-1042"]
    lease = world.contractor("open", task, "--to", world.folder / "out", "--json").json["lease"]
    grant = world.contractor("list", "--json").json["joined"]["grant"]
    home = ("--home", world.folder / "ada")
    (world.folder / "ada" / "identity.key").rename(world.folder / "away")
    assert completed("labelvault", "contractor", "close", *home, lease[:2]) == [lease]
    assert completed("labelvault", "contractor", "open", *home, task[:2]) == [task]
    assert completed("labelvault", "contractor", "open", *home, "--grant", grant[:2]) == [grant]
    (world.folder / "away").rename(world.folder / "ada" / "identity.key")
    assert world.contractor("close", lease).code == exits.OK
    assert completed("labelvault", "contractor", "close", *home, lease[:2]) == []


def test_a_home_that_is_not_there_offers_nothing_and_is_not_made(tmp_path):
    """A shell has no place for errors."""
    assert completed("labelvault", "client", "seal", "--home", tmp_path / "none", "x") == []
    assert completed("labelvault", "contractor", "close", "--home", tmp_path / "none", "x") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_where_it_goes(cli, shell):
    """Its first line is a comment; the rest names the program and its variable."""
    ran = cli("completion", shell)
    assert ran.code == exits.OK
    first, _, rest = ran.out.partition("\n")
    assert first.startswith("# ")
    assert f"labelvault completion {shell}" in first
    assert f"_LABELVAULT_COMPLETE={shell}_complete" in rest


def test_the_script_works_in_bash(world):
    """Evaluated in a real shell, its function fills in what the shell offers."""
    script = (
        'eval "$(labelvault completion bash)"\n'
        f"COMP_WORDS=(labelvault client seal --home {world.folder / 'client'} fe); COMP_CWORD=5\n"
        '_labelvault_completion labelvault && echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("ferry\n", 0), done.stderr
