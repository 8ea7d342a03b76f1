"""`labelvault vendor ...`: init, status, ls, purge."""

import stat

import pytest

from labelvault.cli import exits


@pytest.fixture
def home(tmp_path, cli):
    """A vendor's home with an empty vault."""
    folder = tmp_path / "vendor"
    assert cli("vendor", "init", "--home", folder).code == exits.OK
    return folder


def test_init_creates_the_vault_and_remembers_its_address(tmp_path, cli):
    """The vault is there, private, and later commands find it."""
    folder = tmp_path / "vendor"
    ran = cli("vendor", "init", "--home", folder, "--json")
    assert ran.code == exits.OK
    assert ran.json == {"home": str(folder), "vault": f"sqlite:///{folder}/vault.db", "items": 0}
    assert stat.S_IMODE((folder / "vault.db").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cli("vendor", "status", "--home", folder).code == exits.OK


def test_init_again_changes_nothing(home, cli):
    """Running init twice is harmless; another vault for the same home is refused."""
    assert cli("vendor", "init", "--home", home).code == exits.OK
    before = (home / "vault-address").read_text()
    ran = cli("vendor", "init", "--home", home, "--vault", f"sqlite:///{home}/other.db")
    assert ran.code == exits.USAGE
    assert (home / "vault-address").read_text() == before
    assert not (home / "other.db").exists()


@pytest.mark.parametrize("command", ["status", "ls", "purge"])
def test_commands_need_a_vault(tmp_path, cli, command):
    """Without init and without --vault the user is told about both, and nothing is created."""
    ran = cli("vendor", command, "--home", tmp_path / "none", "--json")
    assert ran.code == exits.USAGE
    assert "vendor init" in ran.json["error"]["next"]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (
            ["status"],
            {"items", "item_bytes", "pending_messages", "acked_messages", "receipts", "stored_bytes"},
        ),
        (["ls"], {"queues"}),
        (["ls", "--items"], {"queues", "items"}),
        (["purge"], {"messages", "claims", "files"}),
    ],
)
def test_reports_come_as_json_and_as_tables(home, cli, command, keys):
    """Each reporting command prints one object with --json, and prose without."""
    assert keys <= set(cli("vendor", *command, "--home", home, "--json").json)
    ran = cli("vendor", *command, "--home", home)
    assert ran.code == exits.OK
    assert ran.out
    assert "\x1b" not in ran.out


def test_a_vault_that_is_no_database_is_refused(tmp_path, cli):
    """A foreign file is neither opened nor changed."""
    foreign = tmp_path / "x.db"
    foreign.write_bytes(b"not a database, but long enough to look at" * 20)
    before = foreign.read_bytes()
    ran = cli("vendor", "status", "--vault", f"sqlite:///{foreign}", "--json")
    assert ran.code == exits.UNREACHABLE
    assert ran.json["error"]["kind"] == "StoreError"
    assert foreign.read_bytes() == before


@pytest.mark.parametrize("command", ["status", "ls", "purge"])
def test_a_mistyped_address_makes_no_vault(cli, tmp_path, command):
    """Only init creates; everything else says that nothing is there."""
    ran = cli("vendor", command, "--vault", f"sqlite:///{tmp_path}/typo.db", "--json")
    assert ran.code == exits.UNREACHABLE
    assert "no vault" in ran.json["error"]["message"]
    assert not (tmp_path / "typo.db").exists()
