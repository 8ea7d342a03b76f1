"""`labelvault client backup` and `restore`, as people type them."""

from labelvault.cli import exits


def test_a_home_is_backed_up_and_restored(world, cli):
    """The keystore is spoken of each time; the restored home verifies, its old grants are shown as ended."""
    world.enrol()
    file, home = world.folder / "monday.backup", world.folder / "restored"
    ran = world.client("backup", file)
    assert ran.code == exits.OK
    assert "root.keystore is not in it" in ran.out + ran.err
    made = world.client("backup", file, "--json").json
    assert (made["has_identity"], made["number"]) == (True, 1)
    assert (world.folder / "monday.backup.01").is_file()
    keystore = world.folder / "client" / "root.keystore"
    passphrase = ("--passphrase-file", world.passphrase_file)
    ran = cli("client", "restore", file, "--keystore", keystore, "--home", home, *passphrase, "--json")
    assert ran.code == exits.OK, ran.err
    assert ran.json["known"] == made["size"]
    verified = cli("client", "ledger", "verify", "--home", home, *passphrase, "--json").json
    assert [each["size"] for each in verified["before"]] == [made["size"]]
    shown = cli("client", "ledger", "verify", "--home", home, *passphrase).out
    assert "before a restore" in shown
    old = verified["before"][0]["origin"].rsplit("/")[-1]
    ran = cli("client", "ledger", "export", "--epoch", old, "-o", world.folder / "old", "--home", home, *passphrase)
    assert ran.code == exits.OK


def test_backups_at_the_vault_are_listed_and_restored(world, cli):
    """By client id and keystore alone, as on a bare machine; that the vault may hide some is said."""
    ran = world.client("backup", "--to-vault")
    client = world.client("ls", "--json").json["client"]
    assert client in ran.out + ran.err
    made = world.client("backup", "--to-vault", "--json").json
    given = ("--keystore", world.folder / "client" / "root.keystore", "--passphrase-file", world.passphrase_file)
    place = ("--from-vault", client, "--vault", world.vault)
    listed = cli("client", "restore", *place, "--list", *given, "--json").json["backups"]
    assert [(each["version"], each["number"]) for each in listed] == [(2, 1), (1, 0)]
    shown = cli("client", "restore", *place, "--list", *given)
    assert "needs the 1 before it" in shown.out
    assert "hides newer ones" in shown.out + shown.err
    ran = cli("client", "restore", *place, *given, "--home", world.folder / "restored")
    assert ran.code == exits.OK, ran.err
    assert "Unknown: what was released from" in ran.out + ran.err
    assert "hides newer ones" in ran.out + ran.err
    ran = cli("client", "restore", *place, "--version", "1", *given, "--home", world.folder / "older", "--json")
    assert (ran.json["version"], ran.json["known"] <= made["size"]) == (1, True)
    note = world.folder / "kept.note"
    assert world.client("freeze", "ferry").code == exits.OK
    assert world.client("ledger", "verify", "-o", note).code == exits.OK
    ran = cli("client", "restore", *place, *given, "--against", note, "--home", world.folder / "third", "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.AUTHENTICITY, "BackupError")
    assert not (world.folder / "third").exists()


def test_the_doctor_tells_of_the_newest_backup_and_shredding_of_those_that_hold_keys(world, cli):
    """None is a warning; one that was just made is not; shredding names it."""

    def found():
        ran = cli("client", "doctor", "--home", world.folder / "client", "--json")
        return next((each["verdict"], each["found"]) for each in ran.json["checks"] if each["name"] == "backup")

    assert found()[0] == "warning"
    file = world.folder / "monday.backup"
    assert world.client("backup", file).code == exits.OK
    assert (found()[0], str(file) in found()[1]) == ("ok", True)
    shown = world.client("shred", "ferry", "--yes-shred", "ferry").out
    assert "Backups that may still hold these keys" in shown
    assert file.name in shown


def test_what_can_not_be_restored_says_why_and_writes_nothing(world, cli):
    """A damaged file, a home that is there, no file at all, and both at once."""
    file, home = world.folder / "monday.backup", world.folder / "restored"
    assert world.client("backup", file).code == exits.OK
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    (world.folder / "damaged").write_bytes(data)
    given = ("--keystore", world.folder / "client" / "root.keystore", "--passphrase-file", world.passphrase_file)
    ran = cli("client", "restore", world.folder / "damaged", "--home", home, *given, "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.AUTHENTICITY, "BackupError")
    ran = cli("client", "restore", file, "--home", world.folder / "client", *given, "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.KEYS, "KeystoreError")
    assert cli("client", "restore", "--home", home, *given).code == exits.USAGE
    both = ("--from-vault", "x" * 64, "--vault", world.vault)
    assert cli("client", "restore", file, *both, "--home", home, *given).code == exits.USAGE
    assert cli("client", "restore", *both, "--home", home, *given).code == exits.USAGE
    assert cli("client", "restore", file, "--list", "--home", home, *given).code == exits.USAGE
    assert world.client("backup").code == exits.USAGE
    assert world.client("backup", file, "--to-vault").code == exits.USAGE
    assert not home.exists()


def test_a_copy_of_the_ledger_is_kept_and_taken_over(world, cli):
    """How it stands is told; away, nothing changes and the way out is said; a restore has nothing unknown with it."""
    copies, backup = world.folder / "copies", world.folder / "monday.backup"
    assert world.client("ledger", "replicate", copies).code == exits.UNREACHABLE
    assert world.client("ledger", "replicate", "--json").json == {"copy": None}
    copies.mkdir()
    shown = world.client("ledger", "replicate", copies)
    assert shown.code == exits.OK
    assert "Nothing leaves the issuer that is not in the copy" in shown.out + shown.err
    assert world.client("backup", backup).code == exits.OK
    assert world.client("freeze", "ferry").code == exits.OK
    assert world.client("ledger", "replicate", "--json").json["copy"]["behind"] == 0

    def doctor():
        ran = cli("client", "doctor", "--home", world.folder / "client", "--json")
        return next(each["verdict"] for each in ran.json["checks"] if each["name"] == "ledger copy")

    assert doctor() == "ok"
    copies.rename(world.folder / "away")
    ran = world.client("unfreeze", "ferry")
    assert ran.code == exits.UNREACHABLE
    assert "ledger replicate --off" in ran.err
    assert doctor() == "problem"
    (world.folder / "away").rename(copies)
    keystore = ("--keystore", world.folder / "client" / "root.keystore", "--passphrase-file", world.passphrase_file)
    ran = cli("client", "restore", backup, *keystore, "--ledger", copies, "--home", world.folder / "restored")
    assert ran.code == exits.OK, ran.err
    assert "Nothing is unknown" in ran.out + ran.err
    ran = world.client("freeze", "ferry")
    assert ran.code == exits.UNREACHABLE
    assert "took it over" in ran.err
    assert world.client("ledger", "replicate", "--off").code == exits.OK
    assert world.client("ledger", "replicate", "--off", "--force").code == exits.OK
    assert world.client("ledger", "replicate", copies, "--off").code == exits.USAGE
    assert world.client("ledger", "replicate", "--best-effort").code == exits.USAGE
    best = world.folder / "best"
    best.mkdir()
    shown = world.client("ledger", "replicate", best, "--best-effort")
    assert "stays unknown" in shown.out + shown.err


def test_shares_replace_a_lost_keystore(world, cli):
    """Three of five people, a new passphrase, and the backup comes back; two are not enough, and nothing is written."""
    backup, folder = world.folder / "monday.backup", world.folder / "shares"
    assert world.client("backup", backup).code == exits.OK
    ran = world.client("quorum", "split", "--needed", "3", "--shares", "5", "--to", folder, "--json")
    assert ran.code == exits.OK, ran.err
    files = [folder / f"share-{number}.txt" for number in range(1, 6)]
    assert ran.json["files"] == [str(file) for file in files]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert not any(file.read_text().split("\n")[2] in ran.out + ran.err for file in files)
    assert world.client("quorum", "split", "--needed", "3", "--shares", "5", "--to", folder).code == exits.KEYS
    assert world.client("quorum", "split", "--needed", "3", "--shares", "2", "--to", folder).code == exits.USAGE
    passphrase = world.folder / "new-passphrase"
    passphrase.write_text("another passphrase\n")
    passphrase.chmod(0o600)
    keystore = world.folder / "recovered.keystore"
    given = ("--to", keystore, "--passphrase-file", passphrase)
    ran = cli("client", "quorum", "recover", *files[:2], *given)
    assert ran.code == exits.KEYS
    assert "3 of these shares are needed" in ran.err
    assert not keystore.exists()
    ran = cli("client", "quorum", "recover", files[4], files[0], files[2], *given)
    assert ran.code == exits.OK, ran.err
    restored = ("--home", world.folder / "restored", "--passphrase-file", passphrase)
    assert cli("client", "restore", backup, "--keystore", keystore, *restored).code == exits.OK
    assert cli("client", "ledger", "verify", *restored).code == exits.OK
    assert cli("client", "quorum", "recover", files[4], files[0], files[2], *given).code == exits.KEYS
