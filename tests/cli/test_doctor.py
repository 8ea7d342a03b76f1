"""The doctors: each names the real problem and what mends it, and changes nothing."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from labelvault.cli import exits
from tests.cli.conftest import PASSPHRASE


def told(ran, name):
    """Return (verdict, found, mend) of each check of one name."""
    return [(each["verdict"], each["found"], each["mend"]) for each in ran.json["checks"] if each["name"] == name]


def doctor(world, cli, actor, home, *more):
    """Run one actor's doctor without a passphrase."""
    return cli(actor, "doctor", "--home", world.folder / home, "--json", *more)


def test_homes_in_order_have_no_problem(world, cli):
    """All three exit with 0, every check has a name and a finding, and what is not well says what to do."""
    world.admit()
    for actor, home in (("client", "client"), ("vendor", "vendor"), ("contractor", "ada")):
        more = ("--vault", world.vault) if actor == "vendor" else ()
        ran = doctor(world, cli, actor, home, *more)
        assert ran.code == exits.OK, ran.json
        assert ran.json["ok"] is True
        for each in ran.json["checks"]:
            assert each["verdict"] in ("ok", "warning")
            assert each["found"]
            assert (each["mend"] == "") == (each["verdict"] == "ok"), each
        shown = cli(actor, "doctor", "--home", world.folder / home, *more)
        assert "0 problems" in shown.out
    assert told(doctor(world, cli, "client", "client"), "hybrid KEM")[0][0] == "ok"


def test_a_passphrase_lets_it_look_deeper(world, cli):
    """The keys are opened; a wrong passphrase is a problem of its own."""
    world.admit()
    ran = world.client("doctor", "--json")
    assert told(ran, "keys") == [
        ("ok", "the passphrase opens the root key, and it the issuer's and those of 1 projects", "")
    ]
    assert told(world.contractor("doctor", "--json"), "keys")[0][0] == "ok"
    world.passphrase_file.write_text("wrong\n")
    for ran in (world.client("doctor", "--json"), world.contractor("doctor", "--json")):
        assert ran.code == exits.UNWELL
        assert told(ran, "keys")[0][0] == "problem"
        assert "does not open" in told(ran, "keys")[0][1]


def test_a_missing_vault_folder_is_named_as_that(world, cli):
    """Not as a database that can't be opened."""
    world.admit()
    (world.folder / "vendor").rename(world.folder / "elsewhere")
    for actor, home in (("client", "client"), ("contractor", "ada")):
        ran = doctor(world, cli, actor, home)
        assert ran.code == exits.UNWELL
        ((verdict, found, mend),) = told(ran, "vault")
        assert (verdict, f"the folder {world.folder / 'vendor'} is missing" in found, "typo" in mend) == (
            "problem",
            True,
            True,
        )
    ran = doctor(world, cli, "vendor", "vendor", "--vault", world.vault)
    assert "is missing" in told(ran, "vault")[0][1]


@pytest.mark.parametrize("actor", ["client", "contractor", "vendor"])
def test_a_missing_home_says_how_to_make_one(tmp_path, cli, actor):
    """Nothing is made by looking."""
    ran = cli(actor, "doctor", "--home", tmp_path / "none", "--json")
    assert ran.code == exits.UNWELL
    (last,) = [each for each in ran.json["checks"] if each["verdict"] == "problem"]
    assert f"labelvault {actor} init" in last["mend"]
    assert not (tmp_path / "none").exists()


def test_damaged_key_files_are_named_without_a_passphrase(world, cli):
    """A cut or altered keystore shows by its checksum."""
    world.admit()
    for actor, home, name in (("client", "client", "root.keystore"), ("contractor", "ada", "identity.key")):
        file = world.folder / home / name
        file.write_bytes(file.read_bytes()[:-5])
        ran = doctor(world, cli, actor, home)
        assert (told(ran, name)[0][0], "truncated or altered" in told(ran, name)[0][1]) == ("problem", True)


def test_what_others_can_read_is_named(world, cli):
    """An open home is a problem, an open file in a private one a warning; a link or a file of others is one too."""
    home = world.folder / "client"
    (home / "note").write_text("x")
    (home / "note").chmod(0o644)
    assert told(doctor(world, cli, "client", "client"), "home")[0][0] == "warning"
    home.chmod(0o755)
    ((verdict, found, mend),) = told(doctor(world, cli, "client", "client"), "home")
    assert (verdict, "0755" in found, mend) == ("problem", True, f"Run: chmod -R go-rwx {home}")
    home.chmod(0o700)
    (home / "note").unlink()
    (home / "link").symlink_to("/etc/hostname")
    assert "symbolic link" in told(doctor(world, cli, "client", "client"), "home")[0][1]


def test_a_clock_behind_known_times_is_named(world, cli):
    """The client's own ledger time, and at a contractor the issuer's."""
    world.admit()
    later = int((time.time() + 86400) * 1000).to_bytes(8, "big")
    for home, file, key in (("client", "client.db", "clock_ms"), ("ada", "state.db", "issuer_ms")):
        with contextlib.closing(sqlite3.connect(world.folder / home / file)) as db, db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, later))
        ran = doctor(world, cli, "client" if home == "client" else "contractor", home)
        ((verdict, found, mend),) = told(ran, "clock")
        assert (verdict, "has passed already" in found, "clock right" in mend) == ("problem", True, True)


def test_a_ledger_that_was_rewritten_is_named(world, cli):
    """Without a passphrase: the certificate says under which key to verify."""
    with contextlib.closing(sqlite3.connect(world.folder / "client" / "client.db")) as db, db:
        db.execute("DELETE FROM ledger_entries WHERE number = (SELECT max(number) FROM ledger_entries)")
    ((verdict, found, _),) = told(doctor(world, cli, "client", "client"), "ledger")
    assert (verdict, "is cut" in found) == ("problem", True)


def test_frozen_projects_and_a_missing_identity_are_warned_about(world, cli):
    """Both may be meant so."""
    assert world.client("freeze", "ferry").code == exits.OK
    (world.folder / "client" / "identity.key").rename(world.folder / "offline")
    ran = doctor(world, cli, "client", "client")
    assert ran.code == exits.OK
    assert "'ferry' is frozen" in told(ran, "projects")[0][1]
    assert "offline" in told(ran, "identity.key")[0][1]
    assert told(world.client("doctor", "--json"), "keys")[0][0] == "ok"


def test_files_beyond_their_lease_and_receipts_that_wait_are_named(world, cli, issuer):
    """The files of an opening that is over, by the lease that closes them; and what the vault was not told."""
    world.enrol()
    terms = ("--expires", "1h", "--max-open", 1, "--max-total", 5, "--per-hour", 5, "--lease-ttl", "1s")
    invite = world.folder / "short.invite"
    assert world.client("grant", "ferry", "ada", "--batch", "week-14", *terms, "--invite", invite).code == 0
    assert world.contractor("join", invite, "--fingerprint", world.fingerprint).code == 0
    opened = world.contractor("open", world.tasks["fa-1042"], "--to", world.folder / "task", "--json").json
    time.sleep(1.2)
    ran = doctor(world, cli, "contractor", "ada")
    ((verdict, found, mend),) = told(ran, "openings")
    assert (verdict, str(world.folder / "task") in found) == ("problem", True)
    assert mend == f"Run: labelvault contractor close {opened['lease'][:12]}"
    assert "without a receipt" in told(doctor(world, cli, "client", "client"), "leases")[0][1]
    (world.folder / "vendor").rename(world.folder / "elsewhere")
    assert world.contractor("close", opened["lease"]).code == 0
    assert "1 were not posted" in told(doctor(world, cli, "contractor", "ada"), "receipts")[0][1]
    (world.folder / "elsewhere").rename(world.folder / "vendor")


def test_grants_that_end_or_have_not_begun_are_said(world, cli):
    """Before joining, before the grant begins, and when it is over."""
    world.enrol()
    assert "nothing was joined" in told(doctor(world, cli, "contractor", "ada"), "grants")[0][1]
    for more, verdict, text in (
        (("--not-before", "1d"), "warning", "has not begun"),
        (("--expires", "1h"), "warning", "joined; the newest ends"),
        (("--expires", "1s"), "problem", "has expired"),
    ):
        assert world.grant("ada", *more).code == 0
        words = ("join", world.folder / "ada.invite", "--fingerprint", world.fingerprint)
        assert world.contractor(*words).code == 0
        time.sleep(1.1 if "1s" in more else 0)
        ((found_verdict, found, mend),) = told(doctor(world, cli, "contractor", "ada"), "grants")
        assert (found_verdict, text in found, bool(mend)) == (verdict, True, True), found


def test_keys_at_the_vendors_are_a_problem(world, cli):
    """A vendor holds none."""
    (world.folder / "vendor" / "root.keystore").write_bytes(b"x")
    ran = doctor(world, cli, "vendor", "vendor", "--vault", world.vault)
    assert ran.code == exits.UNWELL
    assert "root.keystore" in told(ran, "keys")[0][1]


def test_a_vault_that_others_can_read_or_that_is_none_is_named(world, cli):
    """Modes of database and payloads, and an address of no known kind."""
    database = world.folder / "vendor" / "vault.db"
    database.chmod(0o644)
    ran = doctor(world, cli, "vendor", "vendor", "--vault", world.vault)
    assert ("problem", f"others can use {database}", f"Run: chmod 600 {database}") in told(ran, "vault")
    ran = doctor(world, cli, "vendor", "vendor", "--vault", "postgres://x")
    assert told(ran, "vault")[0][0] == "problem"
    (world.folder / "vendor" / "vault.db.payloads").mkdir(mode=0o755)
    ran = doctor(world, cli, "vendor", "vendor", "--vault", world.vault)
    assert told(ran, "payloads")[0][0] == "problem"


@pytest.fixture
def served(world):
    """The vault over HTTP, in a process of its own; gives its address and a token."""
    tokens = world.folder / "tokens"
    tokens.write_text("client:" + "t" * 32 + "\n")
    tokens.chmod(0o600)
    command = ("vendor", "serve", "--port", "0", "--vault", world.vault, "--token-file", tokens, "--json")
    with subprocess.Popen([sys.executable, "-m", "labelvault", *map(str, command)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["listening"], "t" * 32
        finally:
            process.terminate()


def test_over_http_the_token_is_tried(world, cli, served):
    """Without one, with a wrong one, and with the right one."""
    address, token = served
    (world.folder / "client" / "config.json").write_text(json.dumps({"vault": address}))
    file = world.folder / "client" / "vault.token"
    ((verdict, found, mend),) = told(doctor(world, cli, "client", "client"), "vault")
    assert (verdict, "401" in found, "vault.token" in mend) == ("problem", True, True)
    file.write_text("x" * 32)
    file.chmod(0o600)
    assert told(doctor(world, cli, "client", "client"), "vault")[0][0] == "problem"
    file.write_text(token)
    ((verdict, found, _),) = told(doctor(world, cli, "client", "client"), "vault")
    assert (verdict, "the token is accepted" in found) == ("ok", True)


def test_the_doctor_finds_which_homes_there_are(world, cli, tmp_path):
    """One report for all; without a home the machine alone, and how to make one."""
    (world.folder / "vendor" / "vault-address").write_text(world.vault)
    ran = cli("doctor", "--homes", world.folder, "--json")
    assert ran.code == exits.OK, ran.json
    assert [each["actor"] for each in ran.json["homes"]] == ["client", "vendor"]
    assert "Client in" in cli("doctor", "--homes", world.folder).out
    (world.folder / "vendor" / "vault.db").unlink()
    ran = cli("doctor", "--homes", world.folder, "--json")
    assert (ran.code, ran.json["ok"]) == (exits.UNWELL, False)
    ran = cli("doctor", "--homes", tmp_path / "none", "--json")
    assert (ran.code, ran.json["homes"]) == (exits.OK, [])
    assert "client init" in cli("doctor", "--homes", tmp_path / "none").out


def test_looking_changes_nothing(world, cli):
    """Neither homes nor vault, save SQLite's own side files."""
    world.admit()

    def everything():
        return {
            path: path.read_bytes()
            for path in world.folder.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = everything()
    world.client("doctor")
    world.contractor("doctor")
    doctor(world, cli, "vendor", "vendor", "--vault", world.vault)
    assert everything() == before
    assert PASSPHRASE not in world.client("doctor").out


def test_the_vendors_doctor_loads_nothing_that_decrypts(world):
    """It runs on the vendor's host."""
    code = (
        "import json, sys\n"
        "from labelvault.cli.app import run\n"
        f"run(['vendor', 'doctor', '--vault', {world.vault!r}, '--json'])\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    rooms = ("envelope", "keys", "issuer", "client", "contractor", "drill", "story")
    assert not loaded & {f"labelvault.{room}" for room in rooms}
    assert "cryptography" not in loaded
