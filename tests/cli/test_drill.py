"""`labelvault drill`: what it is given, what it prints, and its exit code."""

import shutil

import pytest

from labelvault.cli import exits
from tests.cli.conftest import EXAMPLE


@pytest.fixture
def stolen(world, tmp_path):
    """A copy of the vendor's folder."""
    shutil.copytree(world.folder / "vendor", tmp_path / "stolen")
    return tmp_path / "stolen"


def test_a_stolen_vault_opens_nothing(stolen, cli):
    """Nothing opens, no known text is there: exit code 0, as JSON and as prose."""
    for vault in (stolen, f"sqlite:///{stolen}/vault.db"):
        ran = cli("drill", "--vault", vault, "--known", EXAMPLE, "--json")
        assert ran.code == exits.OK, ran
        assert (ran.json["payloads"], ran.json["opened"], ran.json["plaintext_hits"]) == (13, [], 0)
    ran = cli("drill", "--vault", stolen)
    assert ran.code == exits.OK
    assert "13 sealed item versions" in ran.out


def test_found_text_exits_9_and_is_shown(stolen, cli):
    """A planted copy of a guideline is found."""
    (stolen / "cache.tmp").write_bytes(b"\0" * 100 + (EXAMPLE / "guidelines" / "tone.md").read_bytes()[50:250])
    ran = cli("drill", "--vault", stolen, "--known", EXAMPLE)
    assert ran.code == exits.MORE_THAN_STATED
    assert "guidelines/tone.md" in ran.out
    assert cli("drill", "--vault", stolen, "--known", EXAMPLE, "--json").code == exits.MORE_THAN_STATED


def test_a_stolen_passphrase_finds_an_identity_that_opens_nothing(stolen, world, cli):
    """A contractor's key only signs: it is found and listed, and nothing opens."""
    world.admit()
    words = ("--contractor", world.folder / "ada", "--passphrase-file", world.passphrase_file)
    ran = cli("drill", "--vault", stolen, *words)
    assert ran.code == exits.OK, ran
    assert "identity" in ran.out
    ran = cli("drill", "--vault", stolen, *words, "--json")
    assert ran.json["key_counts"] == {"identity": 1}
    assert ran.json["opened"] == []


def test_a_missing_vault_is_refused(tmp_path, cli):
    """An empty folder would look like success; what is not there is an error."""
    ran = cli("drill", "--vault", tmp_path / "none", "--json")
    assert ran.code == exits.BAD_INPUT
    assert ran.json["error"]["kind"] == "DrillError"
